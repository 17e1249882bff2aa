//! What of two archives is in one and not in the other.
//!
//! Always true:
//! - Exactly the envelopes that one holds and the other does not are given, or an
//!   error names the block that is missing or wrong; none after it pass for a
//!   complete answer.
//! - Subtrees with one CID are not read. Where the same time stands in different
//!   shapes, because one archive has closed a bucket that the other has not,
//!   equal sums are taken for equal sets, and only unequal ones are read.
//! - Blocks are read at most once for each time they stand in; memory holds
//!   [`BUCKETS`] buckets' windows, whatever their size.
//!
//! Two machines without I/O do it: [`calendar::CalendarDiff`] finds the buckets
//! that differ, [`bucket::BucketDiff`] what differs in one. Sums are the word of
//! whoever signed a head; who must not believe it verifies the head first.

pub mod bucket;
pub mod calendar;
mod run;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ops::ControlFlow;

use serde::Serialize;

use self::bucket::BucketDiff;
use self::calendar::{Bucket, CalendarDiff};
use super::ArchiveError;
use super::filter::{Filter, TopicFilter};
use super::fresh::Sealed;
use super::leaf::Record;
use super::pack::LeafEntry;
use super::query::Cost;
use crate::blocks::{Block, BlockSource, Cid};
use crate::time::TimeRange;

/// Buckets compared at a time, so that their blocks share rounds.
pub const BUCKETS: usize = 16;

/// One of the two archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Something for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides<T> {
    /// Of the first.
    pub a: T,
    /// Of the second.
    pub b: T,
}

impl<T> Sides<T> {
    /// That of one side.
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// That of one side, to change.
    pub fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}

/// How much is told of what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every envelope.
    Envelopes,
    /// How many of which topic: leaves are read only where packs do not say.
    Counts,
}

/// What one archive holds and the other does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// One envelope.
    Envelope(Record),
    /// All of a leaf, unread, as its pack describes it.
    Leaf(Box<LeafEntry>),
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which archive holds it.
    pub side: Side,
    /// The day or hour it was sent in.
    pub bucket: TimeRange,
    /// What it is.
    pub found: Found,
}

/// Why two archives could not be compared.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Fault {
    /// Whose block it is.
    pub side: Side,
    /// What is wrong with it.
    #[source]
    pub error: ArchiveError,
}

/// Which blocks of which archive are wanted.
pub type Wants = BTreeSet<(Side, Cid)>;

/// A comparison; iterate it for the differences, bucket by bucket in order of
/// time, within a bucket by key.
pub struct Diff<'s> {
    fetcher: Fetcher<'s>,
    topics: TopicFilter,
    detail: Detail,
    buckets: VecDeque<Bucket>,
    /// Buckets being compared, the front one giving.
    window: VecDeque<(Bucket, BucketDiff)>,
}

impl<'s> Diff<'s> {
    /// Finds the buckets that differ; their contents are fetched as the
    /// comparison is iterated.
    pub fn new(
        sources: Sides<&'s dyn BlockSource>,
        sealed: Sides<&Sealed>,
        filter: &Filter,
        detail: Detail,
    ) -> Result<Self, Fault> {
        let mut fetcher = Fetcher {
            sources,
            fetched: HashSet::new(),
            costs: Sides::default(),
            rounds: 0,
        };
        let mut calendar = CalendarDiff::new(sealed, filter.range);
        loop {
            let wants = calendar.wants();
            if wants.is_empty() {
                break;
            }
            fetcher.fetch(&wants, |side, block| calendar.feed(side, block))?;
        }
        let nothing = matches!(&filter.topics, TopicFilter::Any(topics) if topics.is_empty());
        Ok(Self {
            fetcher,
            topics: filter.topics.clone(),
            detail,
            buckets: if nothing {
                VecDeque::new()
            } else {
                calendar.finish().into()
            },
            window: VecDeque::new(),
        })
    }

    /// What it has cost so far, heads not counted.
    pub fn cost(&self) -> Cost {
        let (a, b) = (self.cost_of(Side::A), self.cost_of(Side::B));
        Cost {
            blocks: a.blocks + b.blocks,
            bytes: a.bytes + b.bytes,
            rounds: a.rounds,
        }
    }

    /// What of it came from one source. A round asks both.
    pub fn cost_of(&self, side: Side) -> Cost {
        Cost {
            rounds: self.fetcher.rounds,
            ..*self.fetcher.costs.of(side)
        }
    }

    /// Buckets that differ and are not compared yet.
    pub fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.window
            .iter()
            .map(|(bucket, _)| bucket)
            .chain(&self.buckets)
    }

    /// Leaves out buckets that the caller takes care of. To be called before the
    /// comparison is iterated.
    pub fn retain(&mut self, keep: impl FnMut(&Bucket) -> bool) {
        self.buckets.retain(keep);
    }

    fn step(&mut self) -> Result<Option<Difference>, Fault> {
        loop {
            while self.window.len() < BUCKETS
                && let Some(bucket) = self.buckets.pop_front()
            {
                let diff = BucketDiff::new(&bucket, self.topics.clone(), self.detail);
                self.window.push_back((bucket, diff));
            }
            let Some((bucket, front)) = self.window.front_mut() else {
                return Ok(None);
            };
            if let Some((side, found)) = front.take() {
                return Ok(Some(Difference {
                    side,
                    bucket: bucket.range,
                    found,
                }));
            }
            if front.is_finished() {
                self.window.pop_front();
                continue;
            }
            self.round()?;
        }
    }

    /// Fetches what the buckets of the window want next.
    fn round(&mut self) -> Result<(), Fault> {
        let mut wanted: BTreeMap<(Side, Cid), Vec<usize>> = BTreeMap::new();
        for (at, (_, diff)) in self.window.iter_mut().enumerate() {
            for want in diff.wants() {
                wanted.entry(want).or_default().push(at);
            }
        }
        let wants = wanted.keys().copied().collect();
        let window = &mut self.window;
        self.fetcher.fetch(&wants, |side, block| {
            let of = wanted.get(&(side, *block.cid())).into_iter().flatten();
            of.copied()
                .try_for_each(|at| window[at].1.feed(side, block))
        })?;
        for (_, diff) in &mut self.window {
            diff.settle();
        }
        Ok(())
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Difference, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.window.clear();
            self.buckets.clear();
        }
        step.transpose()
    }
}

/// Fetches from both sources, and counts.
struct Fetcher<'s> {
    sources: Sides<&'s dyn BlockSource>,
    fetched: HashSet<Cid>,
    costs: Sides<Cost>,
    rounds: u64,
}

impl Fetcher<'_> {
    /// Fetches one round's blocks, each from one source: what both sides want
    /// comes from the first.
    fn fetch(
        &mut self,
        wants: &Wants,
        mut feed: impl FnMut(Side, &Block) -> Result<(), ArchiveError>,
    ) -> Result<(), Fault> {
        self.rounds += 1;
        for side in Side::BOTH {
            let cids: Vec<Cid> = wants
                .iter()
                .filter(|(of, cid)| {
                    *of == side && (side == Side::A || !wants.contains(&(Side::A, *cid)))
                })
                .map(|(_, cid)| *cid)
                .collect();
            let fault = |error| Fault { side, error };
            let mut fed = Ok(());
            let cost = self.costs.of_mut(side);
            let got = self.sources.of(side).get_each(&cids, &mut |block| {
                if self.fetched.insert(*block.cid()) {
                    cost.blocks += 1;
                    cost.bytes += block.bytes().len() as u64;
                }
                for of in Side::BOTH {
                    if fed.is_ok() && wants.contains(&(of, *block.cid())) {
                        fed = feed(of, &block).map_err(|error| Fault { side: of, error });
                    }
                }
                match fed {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            fed?;
            got.map_err(|error| fault(error.into()))?;
        }
        Ok(())
    }
}
