//! Figures for a monitor: counted where things happen, told in the text that
//! Prometheus reads.
//!
//! Always true:
//! - Counting costs a few atomic additions: no lock, no allocation, no clock of its
//!   own.
//! - The values of labels are words of this program, known before it runs. Who is on
//!   the other end (peer, address, topic, path) is never one, so that no stranger
//!   decides how many series there are.
//! - What counts never falls while the process runs.
//!
//! Elsewhere: what a scrape reads, and where it is served (`api::metrics`); what each
//! figure means (`docs/observability.md`).

mod archive;
mod counts;
mod exposition;
mod follow;
mod histogram;
mod http;
mod mail;

pub use archive::ArchiveMeters;
pub use counts::{Counter, Counts, Word};
pub use exposition::{Exposition, Labels};
pub use follow::FollowMeters;
pub use histogram::{Distribution, Histogram};
pub use http::{HttpMeters, Route, StatusClass};
pub use mail::{DeliveryFailure, MailMeters, SyncFailure};
