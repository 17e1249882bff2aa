//! Finds the wanted envelopes of one bucket.
//!
//! A search is a machine without I/O, like [`super::plan::Plan`]. Its result is
//! sorted by (sent, hash), each envelope once.
//!
//! Always true:
//! - A leaf is fetched only if its parent says it may hold a wanted envelope;
//!   every envelope given was hashed.
//! - Each block is read once for each kind of parent that names it, whatever
//!   number of them do: a tree that links a subtree many times costs no more
//!   than its blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::ArchiveError;
use super::filter::Filter;
use super::leaf::{self, LEAF_MAX, Record, Unhashed};
use super::pack::{LeafEntry, Pack, Run};
use super::plan::BucketPlan;
use super::walk::Expected;
use crate::blocks::{Block, Cid, Codec};
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::Topic;

/// What a parent says of a block.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// A segment's root or a pack.
    Node(Expected),
    /// A leaf of which its pack says this.
    Leaf(Arc<LeafEntry>),
    /// A leaf that holds so many envelopes of these topics.
    Counted(Arc<[(Topic, u32)]>),
}

/// All that was said of one block.
#[derive(Debug, Default)]
struct Said {
    steps: Vec<Step>,
    /// How many of them the block was read for.
    done: usize,
}

/// The search of one bucket.
#[derive(Debug)]
pub struct Search {
    filter: Filter,
    bounds: TimeRange,
    /// Packs and roots wanted: what they lead to is not known yet.
    packs: BTreeSet<Cid>,
    /// Leaves wanted, with the bytes that their parents say they have.
    leaves: BTreeMap<Cid, u64>,
    said: HashMap<Cid, Said>,
    found: Vec<Record>,
}

impl Search {
    /// Looks for what `filter` wants in a bucket.
    pub fn new(bucket: &BucketPlan, filter: Filter) -> Result<Self, ArchiveError> {
        let mut search = Self {
            filter,
            bounds: bucket.bounds,
            packs: BTreeSet::new(),
            leaves: BTreeMap::new(),
            said: HashMap::new(),
            found: Vec::new(),
        };
        for segment in &bucket.segments {
            search.want(segment.cid, Step::Node((*segment).into()))?;
        }
        for (leaf, topics) in &bucket.leaves {
            search.want(*leaf, Step::Counted(topics.as_slice().into()))?;
        }
        Ok(search)
    }

    /// Packs wanted now. When there are none, all leaves are known.
    pub fn packs(&self) -> impl Iterator<Item = Cid> + '_ {
        self.packs.iter().copied()
    }

    /// Leaves wanted now; the search is finished when nothing is wanted.
    pub fn leaves(&self) -> impl Iterator<Item = Cid> + '_ {
        self.leaves.keys().copied()
    }

    /// Bytes of the leaves wanted, as far as packs have told.
    pub fn leaf_bytes(&self) -> u64 {
        // Saturating, because nothing has vouched for these figures yet.
        self.leaves
            .values()
            .fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Where all leaves are known and have more than `most` bytes, splits off the
    /// part of the time that should have about as many: the last part for
    /// `newest`, else the first. `None` where the rest may be searched at once.
    pub fn split(&mut self, most: u64, newest: bool) -> Option<Self> {
        let range = self.filter.range;
        let parts = self.leaf_bytes().div_ceil(most.max(1));
        let span = u64::from(range.to().since(range.from())) + 1;
        let step = u32::try_from(span.div_ceil(parts.max(1))).unwrap_or(u32::MAX);
        if parts <= 1 || span <= 1 || !self.packs.is_empty() {
            return None;
        }
        let (early, late) = if newest {
            let at = UnixSeconds(range.to().0.saturating_sub(step));
            (at, at.saturating_add(1))
        } else {
            let at = UnixSeconds(range.from().0.saturating_add(step - 1));
            (at, at.saturating_add(1))
        };
        let early = TimeRange::new(range.from(), early).ok()?;
        let late = TimeRange::new(late, range.to()).ok()?;
        let (part, rest) = if newest { (late, early) } else { (early, late) };
        let part = self.within(part);
        *self = self.within(rest);
        Some(part)
    }

    /// The search of a part of the time, all leaves being known.
    fn within(&self, range: TimeRange) -> Self {
        let filter = Filter {
            topics: self.filter.topics.clone(),
            range,
        };
        let mut part = Self {
            filter,
            bounds: self.bounds,
            packs: BTreeSet::new(),
            leaves: BTreeMap::new(),
            said: HashMap::new(),
            found: Vec::new(),
        };
        for (cid, bytes) in &self.leaves {
            let Some(said) = self.said.get(cid) else {
                continue;
            };
            let may_hold = |step: &Step| match step {
                Step::Leaf(entry) => part.filter.may_match_leaf(entry),
                Step::Node(_) | Step::Counted(_) => true,
            };
            let steps: Vec<_> = said.steps[said.done..].to_vec();
            if steps.iter().any(may_hold) {
                part.leaves.insert(*cid, *bytes);
                part.said.insert(*cid, Said { steps, done: 0 });
            }
        }
        part
    }

    /// Takes a verified block that was wanted; one that was not is ignored.
    pub fn feed(&mut self, block: &Block) -> Result<(), ArchiveError> {
        let wanted = self.packs.remove(block.cid()) | self.leaves.remove(block.cid()).is_some();
        if !wanted {
            return Ok(());
        }
        let Some(said) = self.said.get_mut(block.cid()) else {
            return Ok(());
        };
        let steps = said.steps[said.done..].to_vec();
        said.done = said.steps.len();
        for step in steps {
            match step {
                Step::Node(expected) => self.take_node(&expected, block)?,
                Step::Leaf(entry) => self.take_leaf(&entry, block)?,
                Step::Counted(topics) => self.take_counted(&topics, block)?,
            }
        }
        Ok(())
    }

    /// What was found, sorted by (sent, hash).
    pub fn finish(self) -> Vec<Record> {
        let mut found = self.found;
        found.sort_unstable_by_key(|record| (record.key.sent, record.key.hash));
        found.dedup_by_key(|record| record.key.hash);
        found
    }

    /// Parents that say the same of a block ask for it once; of parents that
    /// contradict each other one is wrong.
    fn want(&mut self, cid: Cid, step: Step) -> Result<(), ArchiveError> {
        let said = self.said.entry(cid).or_default();
        if said.steps.contains(&step) {
            return Ok(());
        }
        let kind = std::mem::discriminant(&step);
        if said.steps.iter().any(|s| std::mem::discriminant(s) == kind) {
            return Err(ArchiveError::NotAsLinked { cid });
        }
        let leaf = match &step {
            Step::Node(expected) if Codec::of(&cid) == Some(Codec::Raw) => {
                Some(expected.sums.bytes)
            }
            Step::Node(_) => None,
            Step::Leaf(entry) => Some(entry.sums.bytes),
            Step::Counted(_) => Some(LEAF_MAX),
        };
        said.steps.push(step);
        match leaf {
            Some(bytes) => {
                self.leaves.insert(cid, bytes);
            }
            None => {
                self.packs.insert(cid);
            }
        }
        Ok(())
    }

    fn take_node(&mut self, expected: &Expected, block: &Block) -> Result<(), ArchiveError> {
        let wrong = || ArchiveError::NotAsLinked { cid: expected.cid };
        if Codec::of(&expected.cid) == Some(Codec::Raw) {
            let mut count = 0;
            self.take_envelopes(block, |_| count += 1)?;
            if count != expected.sums.count || block.bytes().len() as u64 != expected.sums.bytes {
                return Err(wrong());
            }
            return Ok(());
        }
        match expected.pack(block)? {
            Pack::Leaves(leaves) => {
                for entry in leaves {
                    let bounds = self.bounds;
                    let inside =
                        |run: &Run| bounds.contains(run.first) && bounds.contains(run.last);
                    if !entry.runs.iter().all(inside) {
                        return Err(wrong());
                    }
                    if self.filter.may_match_leaf(&entry) {
                        self.want(entry.cid, Step::Leaf(Arc::new(entry)))?;
                    }
                }
            }
            Pack::Packs { level, children } => {
                let nexts = children
                    .iter()
                    .skip(1)
                    .map(|child| Some(child.first))
                    .chain([None]);
                for (child, next) in children.iter().zip(nexts) {
                    if !self.bounds.contains(child.first.sent) {
                        return Err(wrong());
                    }
                    if self.filter.may_match_pack(child.first, next) {
                        self.want(child.cid, Step::Node(Expected::below(level, child)))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn take_leaf(&mut self, entry: &LeafEntry, block: &Block) -> Result<(), ArchiveError> {
        let mut runs = Vec::with_capacity(entry.runs.len());
        let mut first = None;
        self.take_envelopes(block, |envelope| {
            first.get_or_insert_with(|| envelope.clone().hash().key);
            count(&mut runs, envelope);
        })?;
        let fits = block.bytes().len() as u64 == entry.sums.bytes
            && first == Some(entry.first)
            && runs == entry.runs;
        if fits {
            Ok(())
        } else {
            Err(ArchiveError::NotAsLinked { cid: entry.cid })
        }
    }

    fn take_counted(&mut self, says: &[(Topic, u32)], block: &Block) -> Result<(), ArchiveError> {
        let mut runs = Vec::new();
        self.take_envelopes(block, |envelope| count(&mut runs, envelope))?;
        let holds = |(topic, count): &(Topic, u32)| {
            let at = runs.binary_search_by_key(topic, |run| run.topic);
            at.is_ok_and(|at| runs[at].count == *count)
        };
        if says.iter().all(holds) {
            Ok(())
        } else {
            Err(ArchiveError::NotAsLinked { cid: *block.cid() })
        }
    }

    /// Reads a leaf; shows `seen` each envelope and keeps the wanted.
    fn take_envelopes(
        &mut self,
        block: &Block,
        mut seen: impl FnMut(&Unhashed),
    ) -> Result<(), ArchiveError> {
        for envelope in leaf::scan(block.bytes()) {
            let envelope = envelope.map_err(|source| ArchiveError::Leaf {
                cid: *block.cid(),
                source,
            })?;
            if !self.bounds.contains(envelope.sent) {
                return Err(ArchiveError::NotAsLinked { cid: *block.cid() });
            }
            seen(&envelope);
            if self.filter.matches(envelope.topic, envelope.sent) {
                self.found.push(envelope.hash());
            }
        }
        Ok(())
    }
}

/// Counts the next envelope of a scan into the leaf's runs.
fn count(runs: &mut Vec<Run>, envelope: &Unhashed) {
    let sent: UnixSeconds = envelope.sent;
    match runs.last_mut() {
        Some(run) if run.topic == envelope.topic => {
            run.count += 1;
            run.last = sent;
        }
        _ => runs.push(Run {
            topic: envelope.topic,
            count: 1,
            first: sent,
            last: sent,
        }),
    }
}
