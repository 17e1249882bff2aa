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

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::ArchiveError;
use super::filter::Filter;
use super::leaf::{self, Record, Unhashed};
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
    wants: BTreeSet<Cid>,
    said: HashMap<Cid, Said>,
    found: Vec<Record>,
}

impl Search {
    /// Looks for what `filter` wants in a bucket.
    pub fn new(bucket: &BucketPlan, filter: Filter) -> Result<Self, ArchiveError> {
        let mut search = Self {
            filter,
            bounds: bucket.bounds,
            wants: BTreeSet::new(),
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

    /// Blocks wanted now; none when the search is finished.
    pub fn wants(&self) -> Vec<Cid> {
        self.wants.iter().copied().collect()
    }

    /// Takes a verified block that was wanted; one that was not is ignored.
    pub fn feed(&mut self, block: &Block) -> Result<(), ArchiveError> {
        if !self.wants.remove(block.cid()) {
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
        said.steps.push(step);
        self.wants.insert(cid);
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
