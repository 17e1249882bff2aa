//! An archive opened for reading: by anyone, also while a daemon writes to it.

use std::path::{Path, PathBuf};

use super::heads::Heads;
use super::meta::Meta;
use super::{BLOCKS, DiskError};
use crate::archive::ArchiveError;
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{Block, BlockError, BlockSource, CarFolder, Cid};

/// An archive's blocks, its heads among them.
pub struct Blocks {
    pub(super) folder: CarFolder,
    pub(super) heads: Heads,
}

impl Blocks {
    /// The heads among them.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The files of all others.
    pub fn folder(&self) -> &CarFolder {
        &self.folder
    }
}

impl BlockSource for Blocks {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.folder.get(cid) {
            Err(error) if error.is_missing() => self.heads.get(cid),
            other => other,
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.folder.has(cid)? || self.heads.has(cid)?)
    }
}

/// An archive opened for reading. It sees the files there were when it was
/// opened, and takes no lock.
pub struct Reader {
    dir: PathBuf,
    meta: Meta,
    blocks: Blocks,
}

impl Reader {
    /// Opens the archive in `dir`.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        let meta = Meta::read(dir)?.ok_or_else(|| DiskError::NoArchive {
            dir: dir.to_owned(),
        })?;
        let folder = CarFolder::open_read_only(&dir.join(BLOCKS))?;
        Ok(Self {
            dir: dir.to_owned(),
            meta,
            blocks: Blocks {
                folder,
                heads: Heads::new(dir),
            },
        })
    }

    /// What the archive is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Its blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Its files of blocks.
    pub fn folder(&self) -> &CarFolder {
        &self.blocks.folder
    }

    /// Its heads.
    pub fn heads(&self) -> &Heads {
        &self.blocks.heads
    }

    /// The first day whose envelopes are kept.
    pub fn kept_from(&self) -> Result<Day, DiskError> {
        super::kept_from(&self.dir)
    }

    /// The current head, `None` before the first seal.
    pub fn head(&self) -> Result<Option<Head>, DiskError> {
        self.blocks.heads.current()
    }
}

/// Fetches and checks the head `cid` names.
pub fn fetch_head(source: &dyn BlockSource, cid: &Cid) -> Result<Head, ArchiveError> {
    let block = source.get(cid)?;
    Head::decode(block).map_err(|source| ArchiveError::Head { cid: *cid, source })
}
