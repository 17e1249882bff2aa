//! Reads the leaves of a segment in order.
//!
//! Always true: a node is looked at only after its bytes were hashed against
//! the link its verified parent holds, and it must be what the parent said: the
//! level below, the same first key, the same sums. A segment's depth is bounded
//! by [`PACK_MAX_LEVEL`], because levels strictly fall; its width by the bytes
//! there are, because leaves strictly ascend: a subtree linked twice ends the
//! walk.
//!
//! [`PACK_MAX_LEVEL`]: super::pack::PACK_MAX_LEVEL

use super::ArchiveError;
use super::builder::SegmentRef;
use super::key::Key;
use super::leaf::{self, Record};
use super::pack::{LeafEntry, Pack, PackEntry};
use crate::blocks::{Block, BlockSource, Cid, Codec};
use crate::time::UnixSeconds;
use crate::whisper::Topic;

/// What a parent says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its CID.
    pub cid: Cid,
    /// What it holds.
    pub sums: super::sums::Sums,
    /// Level above the leaves, where the parent knows it.
    pub level: Option<u8>,
    /// Its first key, where the parent knows it.
    pub first: Option<Key>,
}

impl From<SegmentRef> for Expected {
    fn from(segment: SegmentRef) -> Self {
        Self {
            cid: segment.cid,
            sums: segment.sums,
            level: None,
            first: None,
        }
    }
}

impl Expected {
    /// What a pack at `level` says of one of its children.
    pub fn below(level: u8, child: &PackEntry) -> Self {
        Self {
            cid: child.cid,
            sums: child.sums,
            level: Some(level - 1),
            first: Some(child.first),
        }
    }

    /// Reads a verified block as the pack it should be.
    pub fn pack(&self, block: &Block) -> Result<Pack, ArchiveError> {
        let pack = Pack::decode(block.bytes()).map_err(|source| ArchiveError::Node {
            cid: self.cid,
            source,
        })?;
        let fits = self.level.is_none_or(|level| pack.level() == level)
            && self.first.is_none_or(|first| pack.first() == first)
            && pack.sums() == self.sums;
        if fits {
            Ok(pack)
        } else {
            Err(ArchiveError::NotAsLinked { cid: self.cid })
        }
    }

    /// Reads a verified raw block as the only leaf of its segment.
    pub fn only_leaf(&self, block: &Block) -> Result<LeafEntry, ArchiveError> {
        let records = decode_leaf(block)?;
        let entry = leaf::entry_of(self.cid, &records).map_err(|source| ArchiveError::Leaf {
            cid: self.cid,
            source,
        })?;
        if entry.sums == self.sums {
            Ok(entry)
        } else {
            Err(ArchiveError::NotAsLinked { cid: self.cid })
        }
    }
}

/// Every record of a verified leaf.
pub fn decode_leaf(block: &Block) -> Result<Vec<Record>, ArchiveError> {
    leaf::decode(block.bytes()).map_err(|source| ArchiveError::Leaf {
        cid: *block.cid(),
        source,
    })
}

/// Every record of a leaf, which must be exactly what its entry says.
pub fn decode_leaf_as(block: &Block, entry: &LeafEntry) -> Result<Vec<Record>, ArchiveError> {
    let records = decode_leaf(block)?;
    match leaf::entry_of(entry.cid, &records) {
        Ok(found) if found == *entry => Ok(records),
        _ => Err(ArchiveError::NotAsLinked { cid: entry.cid }),
    }
}

/// The leaf entries of a segment, in order; holds one pack for each level.
pub struct LeafWalk<'s> {
    source: &'s dyn BlockSource,
    /// Nodes still to visit, the next one last.
    todo: Vec<Todo>,
    /// First key of the leaf before, and where its last run ends.
    before: Option<(Key, (Topic, UnixSeconds))>,
}

enum Todo {
    Node(Expected),
    Leaf(Box<LeafEntry>),
}

impl<'s> LeafWalk<'s> {
    /// Walks the leaves below `root`.
    pub fn new(source: &'s dyn BlockSource, root: SegmentRef) -> Self {
        Self {
            source,
            todo: vec![Todo::Node(root.into())],
            before: None,
        }
    }

    fn step(&mut self) -> Result<Option<LeafEntry>, ArchiveError> {
        loop {
            match self.todo.pop() {
                None => return Ok(None),
                Some(Todo::Leaf(entry)) => {
                    let end = entry.runs.last().map(|run| (run.topic, run.last));
                    let start = (entry.first.topic, entry.first.sent);
                    let follows = self
                        .before
                        .is_none_or(|(first, end)| first < entry.first && end <= start);
                    if !follows {
                        return Err(ArchiveError::NotAsLinked { cid: entry.cid });
                    }
                    self.before = end.map(|end| (entry.first, end));
                    return Ok(Some(*entry));
                }
                Some(Todo::Node(expected)) => {
                    let block = self.source.get(&expected.cid)?;
                    if Codec::of(&expected.cid) == Some(Codec::Raw) {
                        let entry = expected.only_leaf(&block)?;
                        self.todo.push(Todo::Leaf(Box::new(entry)));
                        continue;
                    }
                    match expected.pack(&block)? {
                        Pack::Leaves(leaves) => {
                            self.todo
                                .extend(leaves.into_iter().rev().map(|l| Todo::Leaf(Box::new(l))));
                        }
                        Pack::Packs { level, children } => self.todo.extend(
                            children
                                .iter()
                                .rev()
                                .map(|child| Todo::Node(Expected::below(level, child))),
                        ),
                    }
                }
            }
        }
    }
}

impl Iterator for LeafWalk<'_> {
    type Item = Result<LeafEntry, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
