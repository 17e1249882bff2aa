//! What an archive takes in, and what its seals take.

use std::time::Duration;

use super::Counter;
use super::histogram::{Histogram, growing};

/// Bounds of sizes of envelopes: status-go's.
const SIZES: &[u64] = &growing::<11>(1_024, 2);

/// What an archive counts of itself.
#[derive(Debug)]
pub struct ArchiveMeters {
    /// Envelopes that were new, by the bytes of their RLP.
    pub appended: Histogram,
    /// Envelopes that merging with the heads of others brought.
    pub merged: Counter,
    /// Envelopes that were held already.
    pub duplicate: Counter,
    /// Envelopes that no block can hold.
    pub too_large: Counter,
    /// Envelopes of days that are no longer kept.
    pub too_old: Counter,
    /// Seals that gave a new head, by the time they took.
    pub seals: Histogram,
    /// Seals that failed.
    pub failed_seals: Counter,
    /// Envelopes that seals put under a head.
    pub sealed: Counter,
    /// Bytes of blocks that seals wrote.
    pub written: Counter,
}

impl Default for ArchiveMeters {
    fn default() -> Self {
        Self {
            appended: Histogram::of_bytes(SIZES),
            merged: Counter::default(),
            duplicate: Counter::default(),
            too_large: Counter::default(),
            too_old: Counter::default(),
            seals: Histogram::of_wide_durations(),
            failed_seals: Counter::default(),
            sealed: Counter::default(),
            written: Counter::default(),
        }
    }
}

impl ArchiveMeters {
    /// Envelopes that were new, in whatever way they came.
    pub fn taken_in(&self) -> u64 {
        self.appended.count() + self.merged.get()
    }

    /// A seal gave a new head over so many new envelopes, and wrote so many bytes.
    pub fn sealed(&self, took: Duration, envelopes: u64, written: u64) {
        self.seals.took(took);
        self.sealed.add(envelopes);
        self.written.add(written);
    }
}
