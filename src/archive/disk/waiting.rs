//! Envelopes that are durable in the journal and not sealed yet.

use std::collections::BTreeMap;

use crate::archive::filter::Filter;
use crate::archive::fresh::Pending;
use crate::archive::key::Key;
use crate::archive::watermark::Watermark;
use crate::journal::Location;
use crate::time::UnixSeconds;
use crate::whisper::{EnvelopeHash, Topic};

/// What is known of one waiting envelope without reading it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    topic: Topic,
    len: u32,
    at: Location,
}

/// The waiting envelopes, by (sent, hash).
#[derive(Debug, Default)]
pub struct Waiting {
    entries: BTreeMap<(UnixSeconds, EnvelopeHash), Entry>,
    bytes: u64,
}

impl Waiting {
    /// How many wait.
    pub fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// When the first of them was sent.
    pub fn first(&self) -> Option<UnixSeconds> {
        self.entries.keys().next().map(|(sent, _)| *sent)
    }

    /// Whether an envelope waits.
    pub fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(&(key.sent, key.hash))
    }

    /// Notes an envelope that has become durable at `at`; false where it waits
    /// already.
    pub fn insert(&mut self, key: Key, len: usize, at: Location) -> bool {
        let std::collections::btree_map::Entry::Vacant(vacant) =
            self.entries.entry((key.sent, key.hash))
        else {
            return false;
        };
        let len = u32::try_from(len).expect("an envelope is below 4 GiB");
        vacant.insert(Entry {
            topic: key.topic,
            len,
            at,
        });
        self.bytes += u64::from(len);
        true
    }

    /// Forgets an envelope that is sealed.
    pub fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(&(key.sent, key.hash)) {
            self.bytes -= u64::from(entry.len);
        }
    }

    /// Notes that an envelope now lies elsewhere.
    pub fn moved(&mut self, key: &Key, at: Location) {
        if let Some(entry) = self.entries.get_mut(&(key.sent, key.hash)) {
            entry.at = at;
        }
    }

    /// Whether more waits than `count` envelopes or `bytes` bytes, and a seal up
    /// to `watermark` would at least halve it. What is dated ahead of its time
    /// can wait long; sealing for its sake would be in vain.
    pub fn exceeds(&self, count: u64, bytes: u64, watermark: Watermark) -> bool {
        if self.count() < count && self.bytes < bytes {
            return false;
        }
        let before = (watermark.at(), EnvelopeHash([0; 32]));
        let due = self.entries.range(..before).count();
        2 * due >= self.entries.len()
    }

    /// Everything sent before a watermark.
    pub fn due(&self, watermark: Watermark) -> Vec<Pending<Location>> {
        let before = (watermark.at(), EnvelopeHash([0; 32]));
        self.entries.range(..before).map(pending).collect()
    }

    /// Everything.
    pub fn all(&self) -> impl Iterator<Item = Pending<Location>> + '_ {
        self.entries.iter().map(pending)
    }

    /// What a filter wants after (sent, hash), in that order.
    pub fn matching<'w>(
        &'w self,
        filter: &'w Filter,
        after: Option<(UnixSeconds, EnvelopeHash)>,
    ) -> impl Iterator<Item = Pending<Location>> + 'w {
        let from = (filter.range.from(), EnvelopeHash([0; 32]));
        let to = (filter.range.to(), EnvelopeHash([0xff; 32]));
        self.entries
            .range(from..=to)
            .filter(move |(at, entry)| {
                after.is_none_or(|after| **at > after) && filter.topics.matches(entry.topic)
            })
            .map(pending)
    }
}

fn pending(((sent, hash), entry): (&(UnixSeconds, EnvelopeHash), &Entry)) -> Pending<Location> {
    Pending {
        key: Key {
            topic: entry.topic,
            sent: *sent,
            hash: *hash,
        },
        len: entry.len as usize,
        at: entry.at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::FileNumber;

    fn waiting(sent: impl IntoIterator<Item = u32>) -> Waiting {
        let mut waiting = Waiting::default();
        for (n, sent) in (0u8..).zip(sent) {
            let key = Key {
                topic: Topic([0; 4]),
                sent: UnixSeconds(sent),
                hash: EnvelopeHash([n; 32]),
            };
            let at = Location {
                file: FileNumber(1),
                offset: 0,
                len: 100,
            };
            assert!(waiting.insert(key, 100, at));
        }
        waiting
    }

    #[test]
    fn too_much_waits_only_where_a_seal_would_help() {
        let watermark = Watermark::at_or_before(UnixSeconds(600));
        let many = waiting(0..10);
        assert!(many.exceeds(10, u64::MAX, watermark));
        assert!(many.exceeds(u64::MAX, 1_000, watermark));
        assert!(!many.exceeds(11, 1_001, watermark));
        let ahead = waiting((0..4).chain(600..610));
        assert!(!ahead.exceeds(10, 0, watermark));
    }
}
