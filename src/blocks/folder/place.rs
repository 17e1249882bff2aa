//! Parts of a block read again, where the whole was found right before.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{CarFolder, Read, io_error};
use crate::blocks::{Block, BlockError, BlockSource, Cid, check_cid};

/// Where a block lay when it was read and hashed last.
#[derive(Clone, Debug)]
pub struct Place {
    name: Arc<str>,
    offset: u64,
    len: u32,
}

impl CarFolder {
    /// The block `cid` names, hashed and found right, and where it lies.
    pub fn find(&self, cid: &Cid) -> Result<(Block, Place), BlockError> {
        check_cid(cid)?;
        if let Read::Block(block, place) = self.read(cid)? {
            return Ok((block, place));
        }
        // What is amended by this is found by the second look.
        self.get(cid)?;
        match self.read(cid)? {
            Read::Block(block, place) => Ok((block, place)),
            Read::Nowhere(_) => Err(BlockError::Missing { cid: *cid }),
        }
    }

    /// Fills `into` from byte `at` of the block that lay at `place`. Nothing is
    /// hashed: the caller has means of its own to tell whether these are the
    /// bytes that were found right.
    pub fn read_part(&self, place: &Place, at: u32, into: &mut [u8]) -> Result<(), BlockError> {
        let path = self.path(&place.name);
        let beyond = u64::from(at) + into.len() as u64 > u64::from(place.len);
        if beyond {
            return Err(BlockError::Corrupt {
                path,
                what: format!("a block of {} bytes ends before byte {at}", place.len),
            });
        }
        let file = self
            .handles
            .open(&place.name, &path)
            .map_err(io_error(&path))?;
        file.read_exact_at(into, place.offset + u64::from(at))
            .map_err(io_error(&path))
    }
}

impl Place {
    pub(super) fn new(name: &Arc<str>, at: &crate::index::Location) -> Self {
        Self {
            name: Arc::clone(name),
            offset: at.offset,
            len: at.len,
        }
    }
}
