//! Finds the wanted envelopes of one bucket.
//!
//! A search is a machine without I/O, like [`super::plan::Plan`]. Its result is
//! sorted by (sent, hash), each envelope once.
//!
//! Always true: a leaf is fetched only if its parent says it may hold a wanted
//! envelope; every envelope given was hashed.

use std::collections::BTreeMap;

use super::ArchiveError;
use super::filter::Filter;
use super::leaf::{self, Record};
use super::pack::{LeafEntry, Pack};
use super::plan::BucketPlan;
use super::walk::Expected;
use crate::blocks::{Block, Cid, Codec};
use crate::whisper::Topic;

/// What to do with a block that is on its way.
#[derive(Clone, Debug)]
enum Step {
    /// A segment's root or a pack.
    Node(Expected),
    /// A leaf of which its pack says this.
    Leaf(Box<LeafEntry>),
    /// A leaf that holds so many envelopes of these topics.
    Counted(Vec<(Topic, u32)>),
}

/// The search of one bucket.
#[derive(Debug)]
pub struct Search {
    filter: Filter,
    wants: BTreeMap<Cid, Vec<Step>>,
    found: Vec<Record>,
}

impl Search {
    /// Looks for what `filter` wants in a bucket.
    pub fn new(bucket: &BucketPlan, filter: Filter) -> Self {
        let mut search = Self {
            filter,
            wants: BTreeMap::new(),
            found: Vec::new(),
        };
        for segment in &bucket.segments {
            search.want(segment.cid, Step::Node((*segment).into()));
        }
        for (leaf, topics) in &bucket.leaves {
            search.want(*leaf, Step::Counted(topics.clone()));
        }
        search
    }

    /// Blocks wanted now; none when the search is finished.
    pub fn wants(&self) -> Vec<Cid> {
        self.wants.keys().copied().collect()
    }

    /// Takes a verified block that was wanted; one that was not is ignored.
    pub fn feed(&mut self, block: &Block) -> Result<(), ArchiveError> {
        for step in self.wants.remove(block.cid()).unwrap_or_default() {
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

    fn want(&mut self, cid: Cid, step: Step) {
        self.wants.entry(cid).or_default().push(step);
    }

    fn take_node(&mut self, expected: &Expected, block: &Block) -> Result<(), ArchiveError> {
        if Codec::of(&expected.cid) == Some(Codec::Raw) {
            let mut count = 0;
            self.take_envelopes(block, |_| count += 1)?;
            if count != expected.sums.count || block.bytes().len() as u64 != expected.sums.bytes {
                return Err(ArchiveError::NotAsLinked { cid: expected.cid });
            }
            return Ok(());
        }
        match expected.pack(block)? {
            Pack::Leaves(leaves) => {
                for entry in leaves {
                    if self.filter.may_match_leaf(&entry) {
                        self.want(entry.cid, Step::Leaf(Box::new(entry)));
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
                    if self.filter.may_match_pack(child.first, next) {
                        self.want(child.cid, Step::Node(Expected::below(level, child)));
                    }
                }
            }
        }
        Ok(())
    }

    fn take_leaf(&mut self, entry: &LeafEntry, block: &Block) -> Result<(), ArchiveError> {
        let wrong = ArchiveError::NotAsLinked { cid: entry.cid };
        let mut topics = Vec::with_capacity(entry.runs.len());
        self.take_envelopes(block, |topic| count(&mut topics, topic))?;
        let says = entry.runs.iter().map(|run| (run.topic, run.count));
        if block.bytes().len() as u64 != entry.sums.bytes || !says.eq(topics) {
            return Err(wrong);
        }
        Ok(())
    }

    fn take_counted(&mut self, says: &[(Topic, u32)], block: &Block) -> Result<(), ArchiveError> {
        let mut topics = Vec::new();
        self.take_envelopes(block, |topic| count(&mut topics, topic))?;
        if says.iter().all(|line| topics.contains(line)) {
            Ok(())
        } else {
            Err(ArchiveError::NotAsLinked { cid: *block.cid() })
        }
    }

    /// Reads a leaf; tells `seen` each envelope's topic and keeps the wanted.
    fn take_envelopes(
        &mut self,
        block: &Block,
        mut seen: impl FnMut(Topic),
    ) -> Result<(), ArchiveError> {
        for envelope in leaf::scan(block.bytes()) {
            let envelope = envelope.map_err(|source| ArchiveError::Leaf {
                cid: *block.cid(),
                source,
            })?;
            seen(envelope.topic);
            if self.filter.matches(envelope.topic, envelope.sent) {
                self.found.push(envelope.hash());
            }
        }
        Ok(())
    }
}

fn count(topics: &mut Vec<(Topic, u32)>, topic: Topic) {
    match topics.last_mut() {
        Some((last, count)) if *last == topic => *count += 1,
        _ => topics.push((topic, 1)),
    }
}
