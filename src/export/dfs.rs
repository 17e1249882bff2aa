//! The blocks below a head, in depth-first order.

use std::collections::HashSet;

use crate::blocks::links::links;
use crate::blocks::{Block, BlockError, BlockSource, Cid};

/// Links between the head and its deepest block. Ours have 20 at most.
const MAX_DEPTH: u32 = 1_024;

/// Links that wait to be followed: a path through our widest nodes has some 5,000
/// of them.
const MAX_PENDING: usize = 1 << 20;

/// Every block that `root` leads to, parents before children, children in the
/// order in which their links stand, each once. After an error nothing comes.
///
/// Memory: about 120 bytes for each block given.
pub struct DepthFirst<'s> {
    source: &'s dyn BlockSource,
    pending: Vec<(Cid, u32)>,
    seen: HashSet<Cid>,
}

impl<'s> DepthFirst<'s> {
    /// Starts at `root`.
    pub fn new(source: &'s dyn BlockSource, root: Cid) -> Self {
        Self {
            source,
            pending: vec![(root, 0)],
            seen: HashSet::new(),
        }
    }

    fn step(&mut self, cid: Cid, depth: u32) -> Result<Block, BlockError> {
        let block = self.source.get(&cid)?;
        let below = links(&block)?;
        let refused = |what: String| BlockError::NotADag { cid, what };
        if depth >= MAX_DEPTH && !below.is_empty() {
            return Err(refused(format!("links deeper than {MAX_DEPTH}")));
        }
        if self.pending.len() + below.len() > MAX_PENDING {
            return Err(refused(format!("more than {MAX_PENDING} links wait")));
        }
        let below = below.into_iter().rev().map(|cid| (cid, depth + 1));
        self.pending.extend(below);
        Ok(block)
    }
}

impl Iterator for DepthFirst<'_> {
    type Item = Result<Block, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((cid, depth)) = self.pending.pop() {
            if self.seen.insert(cid) {
                return Some(self.step(cid, depth).inspect_err(|_| self.pending.clear()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld::Ipld;

    use super::*;
    use crate::blocks::{BlockStore, Codec, Group, MemoryStore, Reuse};

    fn leaf(text: &str) -> Block {
        Block::new(Codec::Raw, text.as_bytes().to_vec())
    }

    fn node(children: &[&Block]) -> Block {
        let links = children.iter().map(|block| Ipld::Link(*block.cid()));
        let bytes = serde_ipld_dagcbor::to_vec(&Ipld::List(links.collect())).unwrap();
        Block::new(Codec::DagCbor, bytes)
    }

    fn store(blocks: &[&Block]) -> MemoryStore {
        let store = MemoryStore::default();
        let mut writer = store.begin(Group::Calendar, Reuse::Nothing).unwrap();
        for block in blocks {
            writer.put(block).unwrap();
        }
        writer.commit(blocks[0].cid()).unwrap();
        store
    }

    #[test]
    fn parents_come_before_children_in_the_order_of_links_each_once() {
        let [a, b, c] = ["a", "b", "c"].map(leaf);
        let left = node(&[&b, &a]);
        let right = node(&[&left, &c, &a]);
        let root = node(&[&left, &right]);
        let store = store(&[&root, &left, &right, &a, &b, &c]);
        let given: Vec<_> = DepthFirst::new(&store, *root.cid())
            .map(|block| *block.unwrap().cid())
            .collect();
        let expected = [&root, &left, &b, &a, &right, &c].map(|block| *block.cid());
        assert_eq!(given, expected);
    }

    #[test]
    fn a_block_that_is_missing_ends_the_walk() {
        let [a, b] = ["a", "b"].map(leaf);
        let root = node(&[&a, &b]);
        let store = store(&[&root, &b]);
        let mut walk = DepthFirst::new(&store, *root.cid());
        assert!(walk.next().unwrap().is_ok());
        assert!(walk.next().unwrap().unwrap_err().is_missing());
        assert!(walk.next().is_none());
    }
}
