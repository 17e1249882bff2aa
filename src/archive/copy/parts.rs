//! Blocks of one group, made durable while more of them come.

use crate::blocks::{Block, BlockError, BlockStore, BlockWriter, Cid, Group, Reuse};

/// Bytes that are written before they are made durable under a name: what an
/// interruption costs at most.
pub const PART_BYTES: u64 = 32 << 20;

/// Blocks of one group, made durable part by part.
pub(super) struct Parts<'s> {
    store: &'s dyn BlockStore,
    group: Group,
    /// The part being written, once there is a block for it.
    file: Option<Box<dyn BlockWriter + 's>>,
    bytes: u64,
    written: u64,
}

impl<'s> Parts<'s> {
    /// Nothing yet, of `group`.
    pub(super) fn new(store: &'s dyn BlockStore, group: Group) -> Self {
        Self {
            store,
            group,
            file: None,
            bytes: 0,
            written: 0,
        }
    }

    fn file(&mut self) -> Result<&mut (dyn BlockWriter + 's), BlockError> {
        if self.file.is_none() {
            self.file = Some(self.store.begin(self.group, Reuse::SameGroup)?);
        }
        Ok(&mut **self.file.as_mut().expect("it was begun just now"))
    }

    /// Whether the group holds a block. One that another group holds is taken
    /// over from there.
    pub(super) fn hold(&mut self, cid: &Cid) -> Result<bool, BlockError> {
        if self.file()?.leaves_out(cid)? {
            return Ok(true);
        }
        match self.store.get(cid) {
            Ok(block) => self.put(&block).map(|()| true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A block that is held: the part being written is read too.
    pub(super) fn get(&mut self, cid: &Cid) -> Result<Block, BlockError> {
        self.file()?.get(cid)
    }

    /// Writes a block, unless the group holds it.
    pub(super) fn put(&mut self, block: &Block) -> Result<(), BlockError> {
        self.file()?.put(block)?;
        self.bytes += block.bytes().len() as u64;
        if self.bytes >= PART_BYTES {
            self.commit(block.cid())?;
        }
        Ok(())
    }

    fn commit(&mut self, root: &Cid) -> Result<(), BlockError> {
        if let Some(file) = self.file.take() {
            self.written += file.commit(root)?.map_or(0, |file| file.bytes);
        }
        self.bytes = 0;
        Ok(())
    }

    /// Makes the last part durable; gives the bytes of all.
    pub(super) fn finish(mut self, root: &Cid) -> Result<u64, BlockError> {
        self.commit(root)?;
        Ok(self.written)
    }
}
