//! The blocks of a CAR, in depth-first order.
//!
//! Always true:
//! - Every block was hashed on the way out of the store.
//! - Links that wait, and how deep they lie, are bounded by constants; blocks that
//!   are remembered, so that none is given twice, by what all walks together may
//!   remember ([`Memory`]).
//! - What cannot be had ends the walk with an error: it is never passed over.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::denylist::Denylist;
use super::refusal::Refusal;
use super::resolve::{End, Resolved};
use crate::blocks::dag::MAX_DAG_DEPTH;
use crate::blocks::links::links;
use crate::blocks::{Block, BlockSource, Cid, digest_of};

/// Links that wait to be walked: a path through our widest nodes has some 5,000
/// of them. At 104 bytes each, 7 MB.
const MAX_PENDING: usize = 65_536;

/// Blocks of one answer, duplicates included: a terabyte of leaves. The bound is
/// for trees that link one child many times.
const MAX_BLOCKS: u64 = 1 << 25;

/// Blocks that all walks together may remember, at about 27 bytes each: 110 MB.
/// A mirror of more than 100,000,000 envelopes takes its years one by one, or
/// with duplicates.
const MAX_REMEMBERED: usize = 4 << 20;

/// How many of them a walk takes at a time.
const SHARE: u32 = 1_024;

/// What all walks together may remember.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_REMEMBERED)))
    }
}

/// A walk under way.
pub(super) struct Walk {
    source: Arc<dyn BlockSource>,
    denylist: Arc<Denylist>,
    pending: Vec<Pending>,
    seen: Option<Seen>,
    given: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    cid: Cid,
    depth: u32,
    /// Whether its links are walked too.
    deep: bool,
}

impl Walk {
    /// The blocks that `resolved` passed, then its end; with `all`, everything
    /// below that too. `memory` is where blocks are remembered, so that none is
    /// given twice; without it they are.
    pub(super) fn new(
        source: Arc<dyn BlockSource>,
        denylist: Arc<Denylist>,
        resolved: &Resolved,
        all: bool,
        memory: Option<&Memory>,
    ) -> Self {
        let pending = |deep| {
            move |cid: &Cid| Pending {
                cid: *cid,
                depth: 0,
                deep,
            }
        };
        let below = match &resolved.end {
            End::Block(cid) => std::slice::from_ref(cid),
            End::Within(links) if all => links,
            End::Within(_) => &[],
        };
        let passed = resolved.passed.iter().map(pending(false));
        let mut pending: Vec<_> = passed.chain(below.iter().map(pending(all))).collect();
        pending.reverse();
        Self {
            source,
            denylist,
            pending,
            seen: memory.map(Seen::new),
            given: 0,
        }
    }

    /// The next block; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Block>, Refusal> {
        while let Some(Pending { cid, depth, deep }) = self.pending.pop() {
            // An identity CID is its own data: there is no block to send.
            if cid.hash().code() == IDENTITY {
                continue;
            }
            if let Some(seen) = &mut self.seen
                && !seen.is_new(&cid)?
            {
                continue;
            }
            self.denylist.rules().check(&cid)?;
            let block = self.source.get(&cid)?;
            self.given += 1;
            if self.given > MAX_BLOCKS {
                return Err(Refusal::TooLarge);
            }
            if deep {
                self.descend(&block, depth)?;
            }
            return Ok(Some(block));
        }
        Ok(None)
    }

    /// Puts the links of `block` where the next are taken from.
    fn descend(&mut self, block: &Block, depth: u32) -> Result<(), Refusal> {
        let links = links(block)?;
        if links.is_empty() {
            return Ok(());
        }
        if depth >= MAX_DAG_DEPTH || self.pending.len() + links.len() > MAX_PENDING {
            return Err(Refusal::TooLarge);
        }
        let below = links.into_iter().rev().map(|cid| Pending {
            cid,
            depth: depth + 1,
            deep: true,
        });
        self.pending.extend(below);
        Ok(())
    }
}

/// Multihash code of the hash that is its own data.
pub(super) const IDENTITY: u64 = 0x00;

/// Blocks that were given.
struct Seen {
    /// Half of each digest, and its codec: who made two blocks whose halves are
    /// equal did 2^64 work to be sent one of them less.
    blocks: HashSet<(u8, [u8; 16])>,
    memory: Memory,
    shares: Vec<OwnedSemaphorePermit>,
}

impl Seen {
    fn new(memory: &Memory) -> Self {
        Self {
            blocks: HashSet::new(),
            memory: memory.clone(),
            shares: Vec::new(),
        }
    }

    /// Remembers `cid`; false where it was remembered already.
    fn is_new(&mut self, cid: &Cid) -> Result<bool, Refusal> {
        let digest = digest_of(cid)?;
        let (half, _) = digest.as_chunks::<16>();
        if !self
            .blocks
            .insert((u8::try_from(cid.codec()).unwrap_or(0), half[0]))
        {
            return Ok(false);
        }
        if self.blocks.len() > self.shares.len() * SHARE as usize {
            let memory = Arc::clone(&self.memory.0);
            let share = memory.try_acquire_many_owned(SHARE);
            self.shares.push(share.map_err(|_| Refusal::TooLarge)?);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
