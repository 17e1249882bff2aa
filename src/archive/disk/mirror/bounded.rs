//! A source that gives so many bytes and no more.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::blocks::{Block, BlockError, BlockSource, Cid};

/// Gives blocks until they add up to more than was allowed; from then on it has
/// none.
pub(in crate::archive::disk) struct Bounded<'s> {
    source: &'s dyn BlockSource,
    most: u64,
    given: AtomicU64,
}

impl<'s> Bounded<'s> {
    /// `most` bytes of `source`.
    pub(in crate::archive::disk) fn new(source: &'s dyn BlockSource, most: u64) -> Self {
        Self {
            source,
            most,
            given: AtomicU64::new(0),
        }
    }

    /// Whether more was asked for than is given.
    pub(in crate::archive::disk) fn is_exceeded(&self) -> bool {
        self.given.load(Ordering::Relaxed) > self.most
    }

    fn count(&self, block: &Block) -> Result<(), BlockError> {
        let len = block.bytes().len() as u64;
        if self.given.fetch_add(len, Ordering::Relaxed) + len > self.most {
            return Err(BlockError::Missing { cid: *block.cid() });
        }
        Ok(())
    }
}

impl BlockSource for Bounded<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let block = self.source.get(cid)?;
        self.count(&block)?;
        Ok(block)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let mut counted = Ok(());
        self.source.get_each(cids, &mut |block| {
            counted = self.count(&block);
            match counted {
                Ok(()) => take(block),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        counted
    }
}
