//! Finds what differs in one bucket.
//!
//! A machine without I/O: [`BucketDiff::wants`], [`BucketDiff::feed`], and once
//! everything wanted has come [`BucketDiff::settle`]; [`BucketDiff::take`] gives
//! what was found so far.
//!
//! Always true:
//! - What is found comes in order of key, each envelope once.
//! - Where each archive has one segment, only nodes without an equal in the other
//!   are read. A node waits while a higher one of the other side covers its keys:
//!   its equal may be in there.
//! - What is opened and not yet compared is bounded by [`WINDOW_BYTES`] and
//!   [`WINDOW_PACKS`] for each segment.

use std::collections::{BTreeMap, VecDeque};

use super::calendar::Bucket;
use super::run::{Depth, Item, Run, What};
use super::{Detail, Found, Side, Sides, Wants};
use crate::archive::ArchiveError;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::key::Key;
use crate::blocks::{Block, Cid};

/// Bytes of leaves that are opened ahead in one bucket, for each side.
pub const WINDOW_BYTES: u64 = 1 << 20;

/// Packs that are opened ahead in one bucket, for each side. One has 128 leaves
/// on average, which take 4 MB.
pub const WINDOW_PACKS: usize = 4;

/// An item that waits for a block: the run it is in, and its first key.
type Waiting = (usize, Option<Key>);

/// The comparison of one bucket.
#[derive(Debug)]
pub struct BucketDiff {
    sides: Sides<Vec<Run>>,
    detail: Detail,
    /// Whether each archive has one segment at most, of which all counts: then
    /// equal nodes mean equal sets.
    single: bool,
    wants: BTreeMap<(Side, Cid), Vec<Waiting>>,
    found: VecDeque<(Side, Found)>,
    found_bytes: u64,
}

impl BucketDiff {
    /// Compares what two archives hold of a bucket.
    pub fn new(bucket: &Bucket, topics: TopicFilter, detail: Detail) -> Self {
        let filter = Filter {
            topics,
            range: bucket.wanted,
        };
        let parts = &bucket.parts;
        let runs = |side: Side| -> Vec<Run> {
            let parts = parts.of(side).iter();
            parts.filter_map(|part| Run::new(part, &filter)).collect()
        };
        let single = Side::BOTH.into_iter().all(|side| {
            let parts = parts.of(side);
            parts.len() <= 1 && parts.iter().all(|part| part.counts == part.bounds)
        });
        let mut diff = Self {
            sides: Sides {
                a: runs(Side::A),
                b: runs(Side::B),
            },
            detail,
            single,
            wants: BTreeMap::new(),
            found: VecDeque::new(),
            found_bytes: 0,
        };
        diff.settle();
        diff
    }

    /// Blocks wanted now. None while what was found has grown large and is not
    /// taken, and none when the comparison is finished.
    pub fn wants(&mut self) -> Wants {
        self.wants.clear();
        if self.found_bytes < WINDOW_BYTES {
            if self.single {
                self.want_unequal();
            } else {
                self.want_fronts();
            }
        }
        self.wants.keys().copied().collect()
    }

    /// Takes a verified block that was wanted; one that was not is ignored.
    pub fn feed(&mut self, side: Side, block: &Block) -> Result<(), ArchiveError> {
        for (run, first) in self.wants.remove(&(side, *block.cid())).unwrap_or_default() {
            self.sides.of_mut(side)[run].open(first, block)?;
        }
        Ok(())
    }

    /// Compares as far as what has come goes.
    pub fn settle(&mut self) {
        for side in Side::BOTH {
            self.sides.of_mut(side).iter_mut().for_each(Run::settle);
        }
        while self.step() {}
    }

    /// The next difference found.
    pub fn take(&mut self) -> Option<(Side, Found)> {
        let found = self.found.pop_front();
        if let Some((_, found)) = &found {
            self.found_bytes -= weight(found);
        }
        found
    }

    /// Whether all is compared; what was found may still be there to take.
    pub fn is_finished(&self) -> bool {
        let done = |runs: &[Run]| runs.iter().all(|run| run.items.is_empty());
        done(&self.sides.a) && done(&self.sides.b)
    }

    /// Compares the fronts of both sides; false where a block is needed first, or
    /// nothing is left.
    fn step(&mut self) -> bool {
        let (a, b) = (front(&self.sides.a), front(&self.sides.b));
        let (alone, side) = match (&a, &b) {
            (None, None) => return false,
            (Some(a), None) => (*a, Side::A),
            (None, Some(b)) => (*b, Side::B),
            (Some((_, x)), Some((_, y))) => {
                let records = x.depth() == Depth::Record && y.depth() == Depth::Record;
                if (self.single || records) && x.equals(y) {
                    let first = x.first;
                    self.pop(Side::A, first);
                    self.pop(Side::B, first);
                    return true;
                }
                match (a, b) {
                    (Some(a), _) if x.is_before(y) => (a, Side::A),
                    (_, Some(b)) if y.is_before(x) => (b, Side::B),
                    _ => return false,
                }
            }
        };
        let (run, item) = alone;
        let found = match &item.what {
            What::Record(record) => Found::Envelope(record.clone()),
            What::Leaf(leaf) if self.tells_all(&self.sides.of(side)[run], item) => {
                Found::Leaf(leaf.clone())
            }
            _ => return false,
        };
        let first = item.first;
        self.found_bytes += weight(&found);
        self.found.push_back((side, found));
        self.pop(side, first);
        true
    }

    /// Whether a leaf that is in one archive alone need not be read.
    fn tells_all(&self, run: &Run, item: &Item) -> bool {
        match &item.what {
            What::Leaf(leaf) => self.single && self.detail == Detail::Counts && run.wants_all(leaf),
            _ => false,
        }
    }

    /// Drops what stands at a key at the front of a side's runs.
    fn pop(&mut self, side: Side, first: Option<Key>) {
        for run in self.sides.of_mut(side) {
            if run.items.front().is_some_and(|item| item.first == first) {
                run.items.pop_front();
            }
        }
    }

    /// Wants the front of every run, as far as its window goes.
    fn want_fronts(&mut self) {
        for side in Side::BOTH {
            let runs = self.sides.of(side);
            let share = WINDOW_BYTES / (runs.len() as u64).max(1);
            for (at, run) in runs.iter().enumerate() {
                let mut window = Window::new(share);
                for item in &run.items {
                    if !window.takes(item) {
                        break;
                    }
                    if let Some(cid) = item.cid() {
                        let of = self.wants.entry((side, cid)).or_default();
                        of.push((at, item.first));
                    }
                }
            }
        }
    }

    /// Wants the nodes of either side that have no equal in the other, and over
    /// which none hangs that may hold it.
    fn want_unequal(&mut self) {
        let empty = VecDeque::new();
        let items = |side: Side| self.sides.of(side).first().map_or(&empty, |run| &run.items);
        let (a, b) = (items(Side::A), items(Side::B));
        let mut window = Sides {
            a: Window::new(WINDOW_BYTES),
            b: Window::new(WINDOW_BYTES),
        };
        // The last item passed on each side that has no equal.
        let mut passed: Sides<Option<&Item>> = Sides::default();
        let (mut i, mut j) = (0, 0);
        let mut wanted = Vec::new();
        loop {
            let (side, item, others) = match (a.get(i), b.get(j)) {
                (None, None) => break,
                (Some(x), Some(y)) if x.equals(y) => {
                    (i, j) = (i + 1, j + 1);
                    continue;
                }
                (Some(x), y) if y.is_none_or(|y| x.first <= y.first) => {
                    i += 1;
                    (Side::A, x, b.range(j..))
                }
                (_, Some(y)) => {
                    j += 1;
                    (Side::B, y, a.range(i..))
                }
                (Some(_), None) => unreachable!("where nothing follows, the guard holds"),
            };
            // What waits may wait for a node far behind it.
            if !window.of_mut(side).takes(item) && !wanted.is_empty() {
                break;
            }
            let over = passed.of(side.other()).filter(|o| !o.is_before(item));
            let mut over = over.into_iter().chain(others);
            let mut alone = true;
            let waits = over
                .by_ref()
                .take_while(|other| !item.is_before(other))
                .inspect(|_| alone = false)
                .any(|other| other.depth() > item.depth());
            *passed.of_mut(side) = Some(item);
            let told = alone && !waits && self.tells_all(&self.sides.of(side)[0], item);
            if let Some(cid) = item.cid().filter(|_| !waits && !told) {
                wanted.push(((side, cid), item.first));
            }
        }
        for (want, first) in wanted {
            self.wants.entry(want).or_default().push((0, first));
        }
    }
}

/// The item of a side that stands first, and its run. Where a record and a node
/// start at one key it is the node, so that the record waits for it.
fn front(runs: &[Run]) -> Option<(usize, &Item)> {
    let fronts = runs.iter().enumerate();
    fronts
        .filter_map(|(at, run)| Some((at, run.items.front()?)))
        .min_by_key(|(_, item)| (item.first, std::cmp::Reverse(item.depth())))
}

/// What may still be opened ahead on one side.
struct Window {
    bytes: u64,
    packs: usize,
}

impl Window {
    fn new(bytes: u64) -> Self {
        Self {
            bytes,
            packs: WINDOW_PACKS,
        }
    }

    /// Whether one more item may be open at a time; the first always may.
    fn takes(&mut self, item: &Item) -> bool {
        let left = self.bytes > 0 && self.packs > 0;
        self.bytes = self.bytes.saturating_sub(item.bytes());
        self.packs -= usize::from(left && item.depth() > Depth::Leaf);
        left
    }
}

/// Bytes a difference holds in memory, about.
fn weight(found: &Found) -> u64 {
    match found {
        Found::Envelope(record) => record.bytes.len() as u64,
        Found::Leaf(leaf) => leaf.weight(),
    }
}
