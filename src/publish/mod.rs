//! Heads on their way out and in: how an archive is told of, and found.
//!
//! Always true:
//! - What is told of an archive is its signed head; whoever reads it checks the
//!   signature before anything else is believed.
//! - Hints, of where its blocks are to be had, are only that: a wrong one costs a
//!   failed connection, never a wrong block.

pub mod announcement;
pub mod hints;
pub mod ipns;
pub mod roll;
pub mod share;

pub use announcement::{Announcement, AnnouncementError};
pub use hints::{Hints, HintsError};
pub use roll::{Heard, Listener, Roll};
pub use share::{Share, ShareError};
