//! Answers a query from a head and a source of blocks.
//!
//! Always true:
//! - The answer is complete for the head, or an error names the block that is
//!   missing or wrong.
//! - Envelopes come sorted by (sent, hash), oldest first, each once.
//! - Memory holds what one window of buckets holds at most: [`WINDOW_BYTES`]. A
//!   larger bucket is searched by slices of its time.
//! - Blocks of a window are asked for in the same rounds, each once.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use serde::Serialize;

use super::ArchiveError;
use super::filter::{Filter, TopicFilter};
use super::fresh::Sealed;
use super::leaf::{LEAF_MAX, Record};
use super::plan::{BucketPlan, Plan};
use super::search::Search;
use crate::blocks::{Block, BlockSource, Cid};
use crate::time::{TimeRange, UnixSeconds};

/// Bytes of a bucket that are searched at once where every topic is wanted; a
/// larger bucket is searched in slices of its time.
pub const SLICE_BYTES: u64 = 64 << 20;

/// Bytes that buckets may hold at most to be searched together.
pub const WINDOW_BYTES: u64 = SLICE_BYTES;

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

/// A query being answered; iterate it for the envelopes.
pub struct Query<'s> {
    source: &'s dyn BlockSource,
    topics: TopicFilter,
    buckets: VecDeque<BucketPlan>,
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
        let mut query = Self {
            source,
            topics: filter.topics.clone(),
            buckets: VecDeque::new(),
            found: VecDeque::new(),
            fetched: HashSet::new(),
            cost: Cost::default(),
        };
        let mut plan = Plan::new(sealed, filter);
        loop {
            let wants = plan.wants();
            if wants.is_empty() {
                break;
            }
            query.fetch(&wants, |block| plan.feed(block))?;
        }
        query.buckets = plan
            .finish()
            .into_iter()
            .flat_map(|b| slices(b, &query.topics))
            .collect();
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

    /// The newest `limit` envelopes, oldest first; fetches no older bucket than
    /// it takes.
    pub fn newest(mut self, limit: usize) -> Result<(Vec<Record>, Cost), ArchiveError> {
        let mut newest: VecDeque<Record> = VecDeque::new();
        while newest.len() < limit
            && let Some(bucket) = self.buckets.pop_back()
        {
            for record in self.search(&[bucket])?.into_iter().rev() {
                if newest.len() == limit {
                    break;
                }
                newest.push_front(record);
            }
        }
        Ok((newest.into(), self.cost))
    }

    /// Takes buckets off the front that can be searched at once.
    fn window(&mut self) -> Vec<BucketPlan> {
        let mut window = Vec::new();
        let mut bytes = 0u64;
        while let Some(bucket) = self.buckets.front() {
            bytes = bytes.saturating_add(most_bytes(bucket));
            if !window.is_empty() && bytes > WINDOW_BYTES {
                break;
            }
            window.extend(self.buckets.pop_front());
        }
        window
    }

    /// What buckets that follow each other hold, in order. Their blocks are
    /// fetched in the same rounds.
    fn search(&mut self, buckets: &[BucketPlan]) -> Result<Vec<Record>, ArchiveError> {
        let mut searches = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let filter = Filter {
                topics: self.topics.clone(),
                range: bucket.range,
            };
            searches.push(Search::new(bucket, filter)?);
        }
        loop {
            // Which searches want a block: most want none that others do.
            let mut wanted: BTreeMap<Cid, Vec<usize>> = BTreeMap::new();
            for (at, search) in searches.iter().enumerate() {
                for cid in search.wants() {
                    wanted.entry(cid).or_default().push(at);
                }
            }
            if wanted.is_empty() {
                return Ok(searches.into_iter().flat_map(Search::finish).collect());
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

impl Iterator for Query<'_> {
    type Item = Result<Record, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.found.is_empty() {
            let window = self.window();
            if window.is_empty() {
                return None;
            }
            match self.search(&window) {
                Ok(found) => self.found = found.into(),
                Err(error) => {
                    // Nothing after a gap may pass for a complete answer.
                    self.buckets.clear();
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
    let segments = bucket.segments.iter().map(|segment| segment.sums.bytes);
    segments.fold(leaves, u64::saturating_add)
}

/// Cuts a large bucket's time into equal slices.
fn slices(bucket: BucketPlan, topics: &TopicFilter) -> Vec<BucketPlan> {
    // Saturating, because nothing has vouched for these figures yet.
    let bytes = bucket.segments.iter().fold(0u64, |bytes, segment| {
        bytes.saturating_add(segment.sums.bytes)
    });
    if matches!(topics, TopicFilter::Any(_)) || bytes <= SLICE_BYTES {
        return vec![bucket];
    }
    let span = bucket.range.to().since(bucket.range.from());
    let count = u32::try_from(bytes.div_ceil(SLICE_BYTES))
        .unwrap_or(u32::MAX)
        .min(span + 1);
    let step = (span + 1).div_ceil(count);
    let mut slices = Vec::new();
    let mut from = bucket.range.from();
    loop {
        let to = UnixSeconds(from.0.saturating_add(step - 1)).min(bucket.range.to());
        let Ok(range) = TimeRange::new(from, to) else {
            break;
        };
        slices.push(BucketPlan {
            range,
            ..bucket.clone()
        });
        if to == bucket.range.to() {
            break;
        }
        from = to.saturating_add(1);
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::builder::SegmentRef;
    use crate::archive::sums::Sums;

    #[test]
    fn a_large_bucket_is_searched_in_slices_that_cover_its_time_once() {
        let sums = Sums {
            count: 1,
            bytes: 10 * SLICE_BYTES + 1,
            ..Sums::default()
        };
        let range = TimeRange::new(UnixSeconds(0), UnixSeconds(86_399)).unwrap();
        let bucket = BucketPlan {
            range,
            bounds: range,
            segments: vec![SegmentRef {
                cid: Cid::default(),
                sums,
            }],
            leaves: BTreeMap::new(),
        };
        let slices = slices(bucket.clone(), &TopicFilter::All);
        assert_eq!(slices.len(), 11);
        assert_eq!(slices[0].range.from(), UnixSeconds(0));
        assert_eq!(slices[10].range.to(), UnixSeconds(86_399));
        for pair in slices.windows(2) {
            assert_eq!(pair[0].range.to().0 + 1, pair[1].range.from().0);
        }
    }
}
