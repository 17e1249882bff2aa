//! The archive format and its algorithms.
//!
//! Always true:
//! - The state is a function of the set of envelopes and the watermark: order
//!   of arrival, duplicates, times of sealing, merges and crashes never show.
//! - Everything here is pure over blocks; files and locks are.
//!
//! From the leaves up: [`key`] and [`sums`] say what a record is and amounts to,
//! [`splitter`] where sorted records are cut, [`leaf`], [`pack`] and [`builder`]
//! make a bucket into a segment, [`watermark`] says which buckets are closed.

pub mod builder;
pub mod calendar;
pub mod calendar_edit;
pub mod cbor;
pub mod copy;
pub mod diff;
pub mod disk;
pub mod error;
pub mod filter;
pub mod follow;
pub mod fresh;
pub mod habit;
pub mod head;
pub mod held;
pub mod key;
pub mod leaf;
pub mod merge;
pub mod pack;
pub mod parallel;
pub mod plan;
pub mod query;
pub mod seal;
pub mod search;
pub mod splitter;
pub mod sums;
#[doc(hidden)]
pub mod testing;
pub mod times;
pub mod topics;
pub mod union;
pub mod verify;
pub mod walk;
pub mod watermark;

pub use error::ArchiveError;
