//! Which envelopes one side holds of a range, at one moment.
//!
//! Always true: sorted by (sent, hash), each once, all within the range, at most
//! [`MAX_ITEMS`].

use std::collections::HashSet;

use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::message::MAX_FRAME;
use crate::archive::key::Key;
use crate::time::TimeRange;
use crate::whisper::EnvelopeHash;

/// Envelopes compared at a time: 10 MiB of keys in memory, and 3 ms of sums for a
/// frame. A range that holds more is halved.
pub const MAX_ITEMS: usize = 1 << 17;

/// What one side holds of a range.
#[derive(Debug)]
pub struct Snapshot {
    range: TimeRange,
    keys: Vec<Key>,
    items: NegentropyStorageVector,
}

impl Snapshot {
    /// What `keys` are of `range`; `None` where those are too many.
    pub fn new(range: TimeRange, keys: impl IntoIterator<Item = Key>) -> Option<Self> {
        let mut kept = Vec::new();
        for key in keys {
            if range.contains(key.sent) {
                kept.push(key);
            }
            if kept.len() > MAX_ITEMS {
                return None;
            }
        }
        kept.sort_unstable_by_key(|key| (key.sent, key.hash));
        kept.dedup();
        let mut items = NegentropyStorageVector::with_capacity(kept.len());
        for key in &kept {
            items
                .insert(u64::from(key.sent.0), Id::from_byte_array(key.hash.0))
                .expect("the items are not sealed yet");
        }
        items.seal().expect("the items are sealed once");
        Some(Self {
            range,
            keys: kept,
            items,
        })
    }

    /// The range.
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// The envelopes.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Those of `hashes` that are in it, by (sent, hash).
    pub fn find(&self, hashes: &[EnvelopeHash]) -> Vec<Key> {
        let wanted: HashSet<_> = hashes.iter().collect();
        let wanted = |key: &&Key| wanted.contains(&key.hash);
        self.keys.iter().filter(wanted).copied().collect()
    }

    /// The answer to a frame of whoever began to compare; `None` where it is no
    /// frame.
    pub fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        self.protocol().reconcile(frame).ok()
    }

    /// The protocol over these items; each frame it makes keeps to the limit.
    pub(super) fn protocol(&self) -> Negentropy<'_, NegentropyStorageVector> {
        Negentropy::borrowed(&self.items, MAX_FRAME as u64)
            .expect("the limit of frames is above the least")
    }
}
