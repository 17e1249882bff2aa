//! What is not yet held of one segment.
//!
//! Always true: what is wanted was linked by a block that was taken, each once; a
//! node must be what its parent says, so that a tree costs no more than the sums
//! at its root promise.

use std::collections::{HashMap, HashSet};

use super::parts::Parts;
use crate::archive::ArchiveError;
use crate::archive::builder::SegmentRef;
use crate::archive::pack::Pack;
use crate::archive::walk::Expected;
use crate::blocks::{Block, Cid, Codec};

/// What a parent says of a block that is not yet known to be held.
enum Said {
    Node(Expected),
    /// A leaf of so many bytes.
    Leaf(u64),
}

/// What is to be looked for of one segment.
pub(super) struct Missing {
    said: HashMap<Cid, Said>,
    seen: HashSet<Cid>,
}

impl Missing {
    /// Everything below a segment's root, and the root.
    pub(super) fn new(segment: SegmentRef) -> Self {
        let said = if Codec::of(&segment.cid) == Some(Codec::Raw) {
            Said::Leaf(segment.sums.bytes)
        } else {
            Said::Node(segment.into())
        };
        Self {
            said: [(segment.cid, said)].into(),
            seen: [segment.cid].into(),
        }
    }

    /// Goes as far as what is held leads.
    pub(super) fn look(&mut self, parts: &mut Parts) -> Result<(), ArchiveError> {
        let mut todo = self.wants();
        while let Some(cid) = todo.pop() {
            if !parts.hold(&cid)? {
                continue;
            }
            match self.said.get(&cid) {
                Some(Said::Node(_)) => todo.extend(self.take_node(&parts.get(&cid)?)?),
                Some(Said::Leaf(_)) => drop(self.said.remove(&cid)),
                None => {}
            }
        }
        Ok(())
    }

    /// Blocks that are not held; none once the segment is.
    pub(super) fn wants(&self) -> Vec<Cid> {
        self.said.keys().copied().collect()
    }

    /// Takes a verified block that was wanted.
    pub(super) fn take(&mut self, block: &Block) -> Result<(), ArchiveError> {
        match self.said.get(block.cid()) {
            Some(Said::Leaf(len)) if *len != block.bytes().len() as u64 => {
                Err(ArchiveError::NotAsLinked { cid: *block.cid() })
            }
            Some(Said::Leaf(_)) => {
                self.said.remove(block.cid());
                Ok(())
            }
            Some(Said::Node(_)) => self.take_node(block).map(drop),
            None => Ok(()),
        }
    }

    /// Takes a node; gives what it made known.
    fn take_node(&mut self, block: &Block) -> Result<Vec<Cid>, ArchiveError> {
        let Some(Said::Node(expected)) = self.said.remove(block.cid()) else {
            return Ok(Vec::new());
        };
        let below: Vec<(Cid, Said)> = match expected.pack(block)? {
            Pack::Leaves(leaves) => {
                let leaves = leaves.into_iter();
                leaves
                    .map(|leaf| (leaf.cid, Said::Leaf(leaf.sums.bytes)))
                    .collect()
            }
            Pack::Packs { level, children } => {
                let children = children.iter();
                let below = |child| Said::Node(Expected::below(level, child));
                children.map(|child| (child.cid, below(child))).collect()
            }
        };
        let mut new = Vec::with_capacity(below.len());
        for (cid, said) in below {
            if !self.seen.insert(cid) {
                return Err(ArchiveError::NotAsLinked { cid });
            }
            self.said.insert(cid, said);
            new.push(cid);
        }
        Ok(new)
    }
}
