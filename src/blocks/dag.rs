//! The way through a DAG whose blocks come from somewhere.
//!
//! A [`DagWalk`] is a machine without I/O: it says which blocks it wants next,
//! takes them in any order, and ends when nothing is wanted.
//!
//! Always true:
//! - A block is wanted because a block before it, verified and taken, links to
//!   it; no other is taken, and none twice.
//! - Depth, links and what is wanted at once are bounded, whatever the DAG.
//!
//! Memory: 40 bytes for each block of the DAG, 300 for each that is wanted.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::links::links;
use super::{Block, BlockError, BlockSource, Cid, Codec, check_cid, digest_of};

/// Deepest DAG walked, in links from its root. Ours are written with 20 at most.
pub const MAX_DAG_DEPTH: u32 = 1_024;

/// Most blocks wanted at once. Taking the deepest first keeps an archive of 1e9
/// envelopes below a quarter of this; the bound is for trees made to exhaust us.
pub const MAX_WANTED: usize = 1 << 20;

/// Blocks that may have come unasked before the stack is cleared of them: what
/// keeps a small walk from doing so at each block.
const SLACK: usize = 64;

/// Blocks asked for in one wave: two or three journeys' worth for a source that
/// has 32 under way, and 8 MiB of leaves.
pub const WAVE: usize = 256;

/// What tells blocks apart: the CID without what is the same in all of ours.
type Name = ([u8; 32], Codec);

/// A walk through the DAG below one block.
pub struct DagWalk<'a> {
    skip: &'a dyn Fn(&Cid) -> bool,
    /// Wanted, with their depth.
    wanted: HashMap<Name, u32>,
    /// The same to be asked for, the next last; some may have come unasked, as
    /// many as are wanted and [`SLACK`] more.
    stack: Vec<Cid>,
    /// Taken or skipped.
    done: HashSet<Name>,
}

impl<'a> DagWalk<'a> {
    /// Starts at `root`. What `skip` says yes to is not wanted, nor is what only
    /// it leads to.
    pub fn new(root: &Cid, skip: &'a dyn Fn(&Cid) -> bool) -> Result<Self, BlockError> {
        let mut walk = Self {
            skip,
            wanted: HashMap::new(),
            stack: Vec::new(),
            done: HashSet::new(),
        };
        walk.want(*root, 0)?;
        Ok(walk)
    }

    /// Blocks wanted now, at most `most`, the deepest first; they stay wanted
    /// until they are taken. None where all that is wanted was named before.
    pub fn next_wants(&mut self, most: usize) -> Vec<Cid> {
        let mut wants = Vec::new();
        while wants.len() < most
            && let Some(cid) = self.stack.pop()
        {
            if self.wants(&cid) {
                wants.push(cid);
            }
        }
        wants
    }

    /// Whether a block with this CID would be taken.
    pub fn wants(&self, cid: &Cid) -> bool {
        name_of(cid).is_ok_and(|name| self.wanted.contains_key(&name))
    }

    /// Whether the block was taken, or skipped.
    pub fn has_passed(&self, cid: &Cid) -> bool {
        name_of(cid).is_ok_and(|name| self.done.contains(&name))
    }

    /// Whether nothing is wanted any more.
    pub fn is_finished(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Takes a verified block; false, and nothing done, where it is not wanted.
    pub fn feed(&mut self, block: &Block) -> Result<bool, BlockError> {
        let name = name_of(block.cid())?;
        let Some(depth) = self.wanted.remove(&name) else {
            return Ok(false);
        };
        self.done.insert(name);
        let links = links(block)?;
        let refused = |what: String| BlockError::NotADag {
            cid: *block.cid(),
            what,
        };
        if depth >= MAX_DAG_DEPTH && !links.is_empty() {
            return Err(refused(format!("links deeper than {MAX_DAG_DEPTH}")));
        }
        // The first link is to be on top.
        for link in links.into_iter().rev() {
            self.want(link, depth + 1)?;
        }
        if self.wanted.len() > MAX_WANTED {
            return Err(refused(format!("more than {MAX_WANTED} blocks wanted")));
        }
        if self.stack.len() > 2 * self.wanted.len() + SLACK {
            let wanted = &self.wanted;
            let is_wanted = |name| wanted.contains_key(&name);
            self.stack.retain(|cid| name_of(cid).is_ok_and(is_wanted));
        }
        Ok(true)
    }

    fn want(&mut self, cid: Cid, depth: u32) -> Result<(), BlockError> {
        let name = name_of(&cid)?;
        if self.done.contains(&name) || self.wanted.contains_key(&name) {
            return Ok(());
        }
        if (self.skip)(&cid) {
            self.done.insert(name);
        } else {
            self.wanted.insert(name, depth);
            self.stack.push(cid);
        }
        Ok(())
    }
}

fn name_of(cid: &Cid) -> Result<Name, BlockError> {
    Ok((digest_of(cid)?, check_cid(cid)?))
}

/// Walks on, wave by wave, with the blocks `source` gives.
pub fn walk_on(
    source: &(impl BlockSource + ?Sized),
    walk: &mut DagWalk<'_>,
    take: &mut dyn FnMut(Block) -> ControlFlow<()>,
) -> Result<(), BlockError> {
    loop {
        let wave = walk.next_wants(WAVE);
        if wave.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(ControlFlow::Continue(()));
        source.get_each(&wave, &mut |block| {
            outcome = walk.feed(&block).map(|wanted| {
                if wanted {
                    take(block)
                } else {
                    ControlFlow::Continue(())
                }
            });
            match outcome {
                Ok(flow) => flow,
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        if outcome?.is_break() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld::Ipld;

    use super::super::{BlockStore, Group, MemoryStore, Reuse};
    use super::*;

    fn leaf(text: &str) -> Block {
        Block::new(Codec::Raw, text.as_bytes().to_vec())
    }

    fn node(children: &[&Block]) -> Block {
        let links = children.iter().map(|block| Ipld::Link(*block.cid()));
        let bytes = serde_ipld_dagcbor::to_vec(&Ipld::List(links.collect())).unwrap();
        Block::new(Codec::DagCbor, bytes)
    }

    fn store(blocks: &[Block]) -> MemoryStore {
        let store = MemoryStore::default();
        let mut writer = store.begin(Group::Calendar, Reuse::Nothing).unwrap();
        for block in blocks {
            writer.put(block).unwrap();
        }
        writer.commit(blocks[0].cid()).unwrap();
        store
    }

    fn walked(
        store: &MemoryStore,
        root: &Block,
        skip: &dyn Fn(&Cid) -> bool,
    ) -> Result<Vec<Cid>, BlockError> {
        let mut given = Vec::new();
        store.get_dag(root.cid(), skip, &mut |block| {
            given.push(*block.cid());
            ControlFlow::Continue(())
        })?;
        Ok(given)
    }

    #[test]
    fn every_block_comes_once_and_after_one_that_links_to_it() {
        let (a, b) = (leaf("a"), leaf("b"));
        let left = node(&[&a, &b]);
        let right = node(&[&b, &left, &b]);
        let root = node(&[&left, &right, &a]);
        let all = [root.clone(), left, right, a, b];
        let given = walked(&store(&all), &root, &|_| false).unwrap();
        assert_eq!(given.len(), all.len());
        for (at, cid) in given.iter().enumerate().skip(1) {
            let linked = all
                .iter()
                .filter(|block| given[..at].contains(block.cid()))
                .any(|block| links(block).unwrap().contains(cid));
            assert!(linked, "{cid} came before its parents");
        }
    }

    #[test]
    fn what_is_skipped_is_neither_fetched_nor_walked() {
        let (a, b) = (leaf("a"), leaf("b"));
        let (held, other) = (node(&[&a]), node(&[&b]));
        let root = node(&[&held, &other]);
        // Neither what is skipped nor what it leads to is in the store.
        let store = store(&[root.clone(), other.clone(), b.clone()]);
        let given = walked(&store, &root, &|cid| cid == held.cid()).unwrap();
        assert_eq!(given, [*root.cid(), *other.cid(), *b.cid()]);
        assert!(walked(&store, &root, &|_| true).unwrap().is_empty());
        let error = walked(&store, &root, &|_| false).unwrap_err();
        assert_eq!(error.cid(), Some(*held.cid()));
    }

    #[test]
    fn whoever_has_enough_breaks_off() {
        let (a, b) = (leaf("a"), leaf("b"));
        let root = node(&[&a, &b]);
        let mut given = 0;
        store(&[root.clone(), a, b])
            .get_dag(root.cid(), &|_| false, &mut |_| {
                given += 1;
                match given {
                    2 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })
            .unwrap();
        assert_eq!(given, 2);
    }

    #[test]
    fn a_chain_without_end_is_refused_at_the_depth_bound() {
        let mut blocks = vec![leaf("bottom")];
        for _ in 0..MAX_DAG_DEPTH {
            let next = node(&[blocks.last().unwrap()]);
            blocks.push(next);
        }
        let allowed = blocks.last().unwrap().clone();
        let deeper = node(&[&allowed]);
        blocks.push(deeper.clone());
        let store = store(&blocks);
        let given = walked(&store, &allowed, &|_| false).unwrap();
        assert_eq!(given.len(), MAX_DAG_DEPTH as usize + 1);
        let error = walked(&store, &deeper, &|_| false).unwrap_err();
        assert!(matches!(error, BlockError::NotADag { .. }));
    }

    #[test]
    fn a_ladder_of_diamonds_costs_its_blocks_and_not_its_paths() {
        let mut blocks = vec![leaf("bottom")];
        for rung in 0..64 {
            let below = blocks.last().unwrap();
            let marks = [leaf(&format!("l{rung}")), leaf(&format!("r{rung}"))];
            let (left, right) = (node(&[below, &marks[0]]), node(&[below, &marks[1]]));
            let top = node(&[&left, &right]);
            blocks.extend(marks);
            blocks.extend([left, right, top]);
        }
        let top = blocks.last().unwrap().clone();
        let given = walked(&store(&blocks), &top, &|_| false).unwrap();
        assert_eq!(given.len(), blocks.len());
    }

    #[test]
    fn a_walk_whose_blocks_all_come_unasked_remembers_what_is_wanted_and_no_more() {
        let leaves: Vec<_> = (0..5_000).map(|n| leaf(&n.to_string())).collect();
        let skip = |_: &Cid| false;
        let root = node(&leaves.iter().collect::<Vec<_>>());
        let mut walk = DagWalk::new(root.cid(), &skip).unwrap();
        walk.feed(&root).unwrap();
        // In another order than they would have been asked for.
        for (at, leaf) in leaves.iter().rev().enumerate() {
            assert!(walk.feed(leaf).unwrap());
            assert!(walk.stack.len() <= 2 * (leaves.len() - at) + SLACK);
        }
        assert!(walk.is_finished() && walk.next_wants(1).is_empty());
        assert!(walk.stack.len() <= SLACK);
    }

    #[test]
    fn what_was_not_linked_is_not_taken() {
        let (a, stranger) = (leaf("a"), leaf("stranger"));
        let root = node(&[&a]);
        let skip = |_: &Cid| false;
        let mut walk = DagWalk::new(root.cid(), &skip).unwrap();
        assert!(!walk.feed(&a).unwrap(), "no parent has named it yet");
        assert!(walk.feed(&root).unwrap());
        assert!(!walk.feed(&stranger).unwrap());
        assert!(walk.feed(&a).unwrap());
        assert!(!walk.feed(&a).unwrap(), "it came already");
        assert!(walk.is_finished());
    }
}
