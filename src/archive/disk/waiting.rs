//! Envelopes that are durable in the journal and not sealed yet.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::position::Arrived;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::fresh::Pending;
use crate::archive::key::Key;
use crate::archive::watermark::Watermark;
use crate::journal::Location;
use crate::rlpx::random::random_bytes;
use crate::time::UnixSeconds;
use crate::whisper::{EnvelopeHash, Topic};

/// What is known of one waiting envelope without reading it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    topic: Topic,
    len: u32,
    at: Location,
    /// Number of its arrival in this run.
    arrival: u64,
}

/// Of how many envelopes that were sealed the number of arrival is remembered,
/// so that readers are not given them twice: some 8 MB.
const REMEMBERED: usize = 1 << 17;

/// The last arrivals that are also known by their order: whoever keeps up is told what
/// is new without a look at all that waits. Some 400 KB.
const RECENT: usize = 1 << 13;

/// The waiting envelopes, by (sent, hash).
#[derive(Debug)]
pub struct Waiting {
    entries: BTreeMap<(UnixSeconds, EnvelopeHash), Entry>,
    bytes: u64,
    /// This run, and its arrivals so far.
    arrived: Arrived,
    /// The last of them, sealed meanwhile or not; the newest last.
    recent: VecDeque<(UnixSeconds, EnvelopeHash)>,
    /// Arrivals of this run that the last seals took, oldest first.
    sealed: VecDeque<HashMap<(UnixSeconds, EnvelopeHash), u64>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
            arrived: Arrived {
                run: u32::from_be_bytes(random_bytes()),
                count: 0,
            },
            recent: VecDeque::new(),
            sealed: VecDeque::new(),
        }
    }
}

/// Waiting envelopes in the order of their arrival.
#[derive(Debug)]
pub struct Arrivals {
    /// Each with its number.
    pub some: Vec<(u64, Pending<Location>)>,
    /// Whether more follow.
    pub more: bool,
    /// The last arrival there was.
    pub last: Arrived,
}

impl Waiting {
    /// How many wait.
    pub fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Bytes of them all.
    pub fn bytes(&self) -> u64 {
        self.bytes
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
        self.arrived.count += 1;
        vacant.insert(Entry {
            topic: key.topic,
            len,
            at,
            arrival: self.arrived.count,
        });
        self.bytes += u64::from(len);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((key.sent, key.hash));
        true
    }

    /// Forgets envelopes that are sealed, but for when they arrived.
    pub fn sealed(&mut self, keys: &[Key]) {
        let mut arrivals = HashMap::new();
        for key in keys {
            if let Some(entry) = self.entries.remove(&(key.sent, key.hash)) {
                self.bytes -= u64::from(entry.len);
                if keys.len() <= REMEMBERED {
                    arrivals.insert((key.sent, key.hash), entry.arrival);
                }
            }
        }
        self.sealed.push_back(arrivals);
        let mut remembered: usize = self.sealed.iter().map(HashMap::len).sum();
        while remembered > REMEMBERED
            && let Some(oldest) = self.sealed.pop_front()
        {
            remembered -= oldest.len();
        }
        self.sealed.retain(|arrivals| !arrivals.is_empty());
    }

    /// The arrivals so far.
    pub fn arrived(&self) -> Arrived {
        self.arrived
    }

    /// Where an envelope that waits lies.
    pub fn find(&self, key: &Key) -> Option<Location> {
        self.entries
            .get(&(key.sent, key.hash))
            .map(|entry| entry.at)
    }

    /// Whether a sealed envelope is known to be among these arrivals.
    pub fn was_among(&self, arrived: Arrived, key: &Key) -> bool {
        arrived.run == self.arrived.run
            && self
                .sealed
                .iter()
                .filter_map(|arrivals| arrivals.get(&(key.sent, key.hash)))
                .any(|arrival| *arrival <= arrived.count)
    }

    /// What waits of the wanted topics and is not among `given`: the first
    /// `limit` by arrival.
    pub fn arrivals(&self, given: Arrived, topics: &TopicFilter, limit: usize) -> Arrivals {
        let after = if given.run == self.arrived.run {
            given.count
        } else {
            0
        };
        let new = self.arrived.count.saturating_sub(after);
        let mut some = match usize::try_from(new) {
            Ok(new) if new <= self.recent.len() => self.last_arrivals(new, topics, limit),
            _ => self.all_arrivals(after, topics),
        };
        let more = some.len() > limit;
        if more {
            some.select_nth_unstable_by_key(limit, |(arrival, _)| *arrival);
            some.truncate(limit);
        }
        some.sort_unstable_by_key(|(arrival, _)| *arrival);
        Arrivals {
            some,
            more,
            last: self.arrived,
        }
    }

    /// What waits of the wanted topics and arrived after the arrival `after`.
    fn all_arrivals(&self, after: u64, topics: &TopicFilter) -> Vec<(u64, Pending<Location>)> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.arrival > after && topics.matches(entry.topic))
            .map(|entry| (entry.1.arrival, pending(entry)))
            .collect()
    }

    /// The same of the last `new` arrivals, by arrival, and one more than `limit` at
    /// most.
    fn last_arrivals(
        &self,
        new: usize,
        topics: &TopicFilter,
        limit: usize,
    ) -> Vec<(u64, Pending<Location>)> {
        let places = self.recent.range(self.recent.len() - new..);
        places
            // What was sealed meanwhile is here no more.
            .filter_map(|place| self.entries.get_key_value(place))
            .filter(|(_, entry)| topics.matches(entry.topic))
            .map(|entry| (entry.1.arrival, pending(entry)))
            .take(limit.saturating_add(1))
            .collect()
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
    use proptest::prelude::*;

    use super::*;
    use crate::journal::FileNumber;

    fn waiting(sent: impl IntoIterator<Item = u32>) -> Waiting {
        let mut waiting = Waiting::default();
        for (n, sent) in (0u8..).zip(sent) {
            let key = Key {
                topic: Topic([n % 3; 4]),
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

    proptest! {
        #[test]
        fn who_keeps_up_is_told_what_a_look_at_all_that_waits_tells(
            sent in proptest::collection::vec(0..9_u32, 0..60),
            sealed in 0..60_usize,
            given in 0..70_u64,
            limit in 0..20_usize,
            wanted in proptest::option::of(0..3_u8),
        ) {
            let mut waiting = waiting(sent);
            let due: Vec<_> = waiting.all().map(|pending| pending.key).take(sealed).collect();
            waiting.sealed(&due);
            let given = Arrived { count: given, ..waiting.arrived };
            let topics = match wanted {
                None => TopicFilter::All,
                Some(n) => TopicFilter::Any([Topic([n; 4])].into()),
            };
            let told = waiting.arrivals(given, &topics, limit);
            waiting.recent.clear();
            let looked = waiting.arrivals(given, &topics, limit);
            let numbers = |arrivals: &Arrivals| {
                let some = arrivals.some.iter();
                some.map(|(arrival, pending)| (*arrival, pending.key)).collect::<Vec<_>>()
            };
            prop_assert_eq!(numbers(&told), numbers(&looked));
            prop_assert_eq!((told.more, told.last), (looked.more, looked.last));
        }
    }

    #[test]
    fn only_the_last_arrivals_are_known_by_their_order() {
        let count = u32::try_from(RECENT).unwrap() + 5;
        let mut waiting = Waiting::default();
        for n in 0..count {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            let key = Key {
                topic: Topic([0; 4]),
                sent: UnixSeconds(count - n),
                hash: EnvelopeHash(hash),
            };
            let at = Location {
                file: FileNumber(1),
                offset: 0,
                len: 100,
            };
            waiting.insert(key, 100, at);
        }
        assert_eq!(waiting.recent.len(), RECENT);
        for given in [0, 4, 5, 6] {
            let given = Arrived {
                count: given,
                ..waiting.arrived
            };
            let told = waiting.arrivals(given, &TopicFilter::All, 3);
            let numbers: Vec<_> = told.some.iter().map(|(arrival, _)| *arrival).collect();
            let first = given.count + 1;
            assert_eq!(numbers, [first, first + 1, first + 2]);
            assert!(told.more);
        }
    }
}
