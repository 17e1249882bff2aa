//! What several suites share: an archive in memory, sealed by hand.

use bytes::Bytes;
use gwa::archive::fresh::{Pending, Sealed};
use gwa::archive::leaf::Record;
use gwa::archive::seal::{SealOutcome, SealRequest, seal};
use gwa::archive::watermark::Watermark;
use gwa::blocks::{BlockStore, MemoryStore};
use gwa::progress::Quiet;

/// An archive in memory, sealed by hand.
pub struct World {
    pub store: MemoryStore,
    pub sealed: Sealed,
    pub waiting: Vec<Record>,
    pub sequence: u64,
}

impl World {
    /// An empty archive.
    pub fn new() -> Self {
        let sealed = Sealed::default();
        Self {
            store: MemoryStore::default(),
            sealed,
            waiting: Vec::new(),
            sequence: 0,
        }
    }

    /// Seals what is due.
    pub fn seal(&mut self, watermark: Watermark) -> SealOutcome {
        let (due, later): (Vec<_>, Vec<_>) = self
            .waiting
            .drain(..)
            .partition(|r| watermark.covers(r.key.sent));
        self.waiting = later;
        self.sequence += 1;
        let read = |at: usize| -> Result<Bytes, _> { Ok(due[at].bytes.clone()) };
        let pending = due
            .iter()
            .enumerate()
            .map(|(at, r)| Pending {
                key: r.key,
                len: r.bytes.len(),
                at,
            })
            .collect();
        let request = SealRequest {
            store: &self.store as &dyn BlockStore,
            base: &self.sealed,
            pending,
            read: &read,
            watermark,
            sequence: self.sequence,
            max_open: 3,
        };
        let outcome = seal(request, &Quiet).expect("memory does not fail");
        self.sealed = outcome.sealed.clone();
        outcome
    }
}
