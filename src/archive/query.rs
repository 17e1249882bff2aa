//! Answers a query from a head and a source of blocks.
//!
//! Always true:
//! - The answer is complete for the head, or an error names the block that is
//!   missing or wrong.
//! - Envelopes come sorted by (sent, hash), oldest first, each once.
//! - Memory holds the leaves of one window at most: [`WINDOW_BYTES`], as packs
//!   tell. A bucket that has more of what is wanted is searched by slices of its
//!   time.
//! - Blocks of a window are asked for in the same rounds, each once. Packs of many
//!   buckets are asked for before any leaf, so that how many rounds there are
//!   depends on what is found, not on how long the range is.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use serde::Serialize;

use super::ArchiveError;
use super::filter::{Filter, TopicFilter};
use super::fresh::Sealed;
use super::leaf::{LEAF_MAX, Record};
use super::plan::{BucketPlan, Plan};
use super::search::Search;
use super::times::Place;
use crate::blocks::{Block, BlockSource, Cid};

/// Bytes of leaves that are searched together.
pub const WINDOW_BYTES: u64 = 64 << 20;

/// Buckets whose packs are looked through together where some topics are wanted:
/// the days of a year. What is kept of them are the leaves that may hold the
/// topics, some 200 bytes for each.
pub const PACK_BUCKETS: usize = 400;

/// Up to how many topics are some; for more, most packs and leaves are wanted, and
/// as many buckets are taken as have [`WINDOW_BYTES`] in all.
const SOME_TOPICS: usize = 64;

/// From which end of time envelopes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By (sent, hash).
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

impl Order {
    /// Whether `place` comes after `other` in this order.
    pub fn is_after(self, place: Place, other: Place) -> bool {
        match self {
            Self::OldestFirst => place > other,
            Self::NewestFirst => place < other,
        }
    }
}

/// What a query has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Different blocks fetched.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rounds of fetches, each of which had to wait for the one before.
    pub rounds: u64,
}

/// The first envelopes of a query.
#[derive(Debug, Default)]
pub struct First {
    /// Them.
    pub records: Vec<Record>,
    /// Whether it stopped for their bytes, so that more may follow.
    pub more: bool,
    /// What they cost.
    pub cost: Cost,
}

/// A query being answered; iterate it for the envelopes.
pub struct Query<'s> {
    source: &'s dyn BlockSource,
    topics: TopicFilter,
    buckets: VecDeque<BucketPlan>,
    /// Buckets all of whose wanted leaves are known.
    ready: VecDeque<Search>,
    found: VecDeque<Record>,
    fetched: HashSet<Cid>,
    cost: Cost,
}

impl<'s> Query<'s> {
    /// Finds the way to the buckets; their contents are fetched as the query is
    /// iterated.
    pub fn new(
        source: &'s dyn BlockSource,
        sealed: &Sealed,
        filter: Filter,
    ) -> Result<Self, ArchiveError> {
        let plan = Plan::new(sealed, filter.clone());
        Self::over(source, plan, filter)
    }

    /// As [`Self::new`], by the packs of every day instead of the index of topics:
    /// it fetches more, and all that a query of each day alone would.
    pub fn by_days(
        source: &'s dyn BlockSource,
        sealed: &Sealed,
        filter: Filter,
    ) -> Result<Self, ArchiveError> {
        let plan = Plan::by_days(sealed, filter.clone());
        Self::over(source, plan, filter)
    }

    fn over(
        source: &'s dyn BlockSource,
        mut plan: Plan,
        filter: Filter,
    ) -> Result<Self, ArchiveError> {
        let mut query = Self {
            source,
            topics: filter.topics,
            buckets: VecDeque::new(),
            ready: VecDeque::new(),
            found: VecDeque::new(),
            fetched: HashSet::new(),
            cost: Cost::default(),
        };
        loop {
            let wants = plan.wants();
            if wants.is_empty() {
                break;
            }
            query.fetch(&wants, |block| plan.feed(block))?;
        }
        query.buckets = plan.finish().into();
        Ok(query)
    }

    /// Counts a block that the caller fetched on the way, such as the head.
    pub fn charge(&mut self, block: &Block) {
        if self.fetched.insert(*block.cid()) {
            self.cost.blocks += 1;
            self.cost.bytes += block.bytes().len() as u64;
        }
        self.cost.rounds += 1;
    }

    /// What it has cost so far.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The newest `limit` envelopes, oldest first.
    pub fn newest(self, limit: usize) -> Result<(Vec<Record>, Cost), ArchiveError> {
        let first = self.first(Order::NewestFirst, None, limit, usize::MAX)?;
        let mut newest = first.records;
        newest.reverse();
        Ok((newest, first.cost))
    }

    /// The first `limit` envelopes in `order`, of those after the place `after`, and
    /// in that order. It looks into one bucket, then into the next two, into four, so
    /// that rounds are few and at most about half of what is fetched is not needed.
    /// Once those found have `most_bytes` it looks no further.
    pub fn first(
        mut self,
        order: Order,
        after: Option<Place>,
        limit: usize,
        most_bytes: usize,
    ) -> Result<First, ArchiveError> {
        let newest = order == Order::NewestFirst;
        let is_wanted = |record: &Record| {
            let place = (record.key.sent, record.key.hash);
            after.is_none_or(|after| order.is_after(place, after))
        };
        let (mut first, mut bytes, mut more) = (Vec::new(), 0usize, false);
        let mut most = 1usize;
        while first.len() < limit {
            if self.ready.is_empty() && !self.prepare(most, newest)? {
                break;
            }
            if bytes >= most_bytes {
                more = true;
                break;
            }
            let window = self.window(most, newest);
            let mut records = self.search(window)?;
            if newest {
                records.reverse();
            }
            records.retain(is_wanted);
            records.truncate(limit - first.len());
            // Of one window what is beyond is left to the next call, but never all.
            let fit = records.iter().take_while(|record| {
                let is_beyond = bytes >= most_bytes;
                bytes = bytes.saturating_add(record.bytes.len());
                !is_beyond
            });
            let fit = fit.count();
            more = fit < records.len();
            records.truncate(fit);
            first.append(&mut records);
            if more {
                break;
            }
            most = most.saturating_mul(2);
        }
        Ok(First {
            records: first,
            more,
            cost: self.cost,
        })
    }

    /// Looks through the packs of the next buckets, at most `most` of them; false
    /// where there are none left.
    fn prepare(&mut self, most: usize, newest: bool) -> Result<bool, ArchiveError> {
        let some = matches!(&self.topics, TopicFilter::Any(topics) if topics.len() <= SOME_TOPICS);
        let mut searches: Vec<Search> = Vec::new();
        let mut bytes = 0u64;
        while searches.len() < most.min(PACK_BUCKETS) {
            let next = if newest {
                self.buckets.back()
            } else {
                self.buckets.front()
            };
            let Some(bucket) = next else {
                break;
            };
            bytes = bytes.saturating_add(most_bytes(bucket));
            if !some && !searches.is_empty() && bytes > WINDOW_BYTES {
                break;
            }
            let filter = Filter {
                topics: self.topics.clone(),
                range: bucket.range,
            };
            searches.push(Search::new(bucket, filter)?);
            if newest {
                self.buckets.pop_back();
            } else {
                self.buckets.pop_front();
            }
        }
        if newest {
            searches.reverse();
        }
        self.feed_all(&mut searches, |search| search.packs().collect())?;
        let found_any = !searches.is_empty();
        self.ready.extend(searches);
        Ok(found_any)
    }

    /// Takes buckets that can be searched at once, at most `most` of them.
    fn window(&mut self, most: usize, newest: bool) -> Vec<Search> {
        let mut window = Vec::new();
        let mut bytes = 0u64;
        while window.len() < most {
            let next = if newest {
                self.ready.back_mut()
            } else {
                self.ready.front_mut()
            };
            let Some(search) = next else {
                break;
            };
            bytes = bytes.saturating_add(search.leaf_bytes());
            if bytes > WINDOW_BYTES {
                // A bucket that is too large by itself is taken in parts.
                let part = match window.is_empty() {
                    true => search.split(WINDOW_BYTES, newest),
                    false => break,
                };
                if let Some(part) = part {
                    window.push(part);
                    break;
                }
            }
            window.extend(if newest {
                self.ready.pop_back()
            } else {
                self.ready.pop_front()
            });
        }
        if newest {
            window.reverse();
        }
        window
    }

    /// What the buckets of a window hold, in order.
    fn search(&mut self, mut window: Vec<Search>) -> Result<Vec<Record>, ArchiveError> {
        self.feed_all(&mut window, |search| search.leaves().collect())?;
        Ok(window.into_iter().flat_map(Search::finish).collect())
    }

    /// Feeds searches what each wants, all of it in the same rounds.
    fn feed_all(
        &mut self,
        searches: &mut [Search],
        wants: impl Fn(&Search) -> Vec<Cid>,
    ) -> Result<(), ArchiveError> {
        loop {
            // Which searches want a block: most want none that others do.
            let mut wanted: BTreeMap<Cid, Vec<usize>> = BTreeMap::new();
            for (at, search) in searches.iter().enumerate() {
                for cid in wants(search) {
                    wanted.entry(cid).or_default().push(at);
                }
            }
            if wanted.is_empty() {
                return Ok(());
            }
            let wants: Vec<Cid> = wanted.keys().copied().collect();
            self.fetch(&wants, |block| {
                let of = wanted.get(block.cid()).into_iter().flatten();
                of.copied().try_for_each(|at| searches[at].feed(block))
            })?;
        }
    }

    fn fetch(
        &mut self,
        wants: &[Cid],
        mut feed: impl FnMut(&Block) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        self.cost.rounds += 1;
        let mut fed = Ok(());
        self.source.get_each(wants, &mut |block| {
            if self.fetched.insert(*block.cid()) {
                self.cost.blocks += 1;
                self.cost.bytes += block.bytes().len() as u64;
            }
            fed = feed(&block);
            match fed {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        fed
    }
}

impl Query<'_> {
    /// What the next window holds; `None` at the end.
    fn next_window(&mut self) -> Result<Option<Vec<Record>>, ArchiveError> {
        if self.ready.is_empty() && !self.prepare(usize::MAX, false)? {
            return Ok(None);
        }
        let window = self.window(usize::MAX, false);
        self.search(window).map(Some)
    }
}

impl Iterator for Query<'_> {
    type Item = Result<Record, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.found.is_empty() {
            match self.next_window() {
                Ok(Some(found)) => self.found = found.into(),
                Ok(None) => return None,
                Err(error) => {
                    // Nothing after a gap may pass for a complete answer.
                    self.buckets.clear();
                    self.ready.clear();
                    return Some(Err(error));
                }
            }
        }
        self.found.pop_front().map(Ok)
    }
}

/// Most bytes that searching a bucket can hold in memory.
fn most_bytes(bucket: &BucketPlan) -> u64 {
    let leaves = bucket.leaves.len() as u64 * LEAF_MAX;
    // Saturating, because nothing has vouched for these figures yet.
    let segments = bucket.segments.iter().map(|segment| segment.sums.bytes);
    segments.fold(leaves, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::{store_segment, traffic};
    use crate::blocks::{Group, MemoryStore};
    use crate::time::{DAY, TimeRange, UnixSeconds};

    fn bucket(store: &MemoryStore, count: usize) -> (BucketPlan, Vec<Record>) {
        let records = traffic(1, count, 20, 0, DAY);
        let segment = store_segment(&records, store, Group::Day(0))
            .unwrap()
            .unwrap();
        let range = TimeRange::new(UnixSeconds(0), UnixSeconds(DAY - 1)).unwrap();
        let plan = BucketPlan {
            range,
            bounds: range,
            segments: vec![segment],
            leaves: BTreeMap::new(),
        };
        (plan, records)
    }

    fn searched(query: &mut Query<'_>, plan: &BucketPlan, most: u64, newest: bool) -> Vec<Record> {
        let filter = Filter {
            topics: TopicFilter::All,
            range: plan.range,
        };
        let mut searches = [Search::new(plan, filter).unwrap()];
        query
            .feed_all(&mut searches, |search| search.packs().collect())
            .unwrap();
        let [mut rest] = searches;
        let mut parts = Vec::new();
        while let Some(part) = rest.split(most, newest) {
            parts.push(part);
            assert!(parts.len() < 10_000, "it never ends");
        }
        assert!(parts.len() > 2);
        parts.push(rest);
        if newest {
            parts.reverse();
        }
        query.search(parts).unwrap()
    }

    #[test]
    fn a_bucket_searched_in_slices_gives_what_it_gives_at_once() {
        let store = MemoryStore::default();
        let (plan, mut records) = bucket(&store, 2_000);
        let sealed = Sealed::default();
        let filter = Filter {
            topics: TopicFilter::All,
            range: TimeRange::ALL,
        };
        let mut query = Query::new(&store, &sealed, filter).unwrap();
        records.sort_by_key(|record| (record.key.sent, record.key.hash));
        for newest in [false, true] {
            assert_eq!(searched(&mut query, &plan, 100_000, newest), records);
        }
    }
}
