//! An archive opened for reading: by anyone, also while a daemon writes to it.

use std::path::{Path, PathBuf};

use super::blocks::Blocks;
use super::evicted::Evicted;
use super::heads::Heads;
use super::meta::Meta;
use super::{BLOCKS, DiskError, JOURNAL};
use crate::archive::ArchiveError;
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{BlockError, BlockSource, CarFolder, Cid};

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
            blocks: Blocks::new(folder, Heads::new(dir), Evicted::open(dir)?),
        })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its blocks, as a source that lives on its own.
    pub fn into_source(self) -> Box<dyn BlockSource> {
        Box::new(self.blocks)
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

/// The folder of the journal of the archive in `dir`.
pub fn journal_of(dir: &Path) -> PathBuf {
    dir.join(JOURNAL)
}

/// The blocks of a data folder, or of a copy of what of it is public: `heads/` and
/// `blocks/`; `None` where the folder has neither.
pub fn open_public(dir: &Path) -> Result<Option<Blocks>, BlockError> {
    let blocks = dir.join(BLOCKS);
    if !blocks.is_dir() {
        return Ok(None);
    }
    let folder = CarFolder::open_read_only(&blocks)?;
    // A data folder that evicted days says where they are; it is not asked there.
    let evicted = Evicted::open(dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "which days were evicted cannot be read");
        Evicted::none()
    });
    Ok(Some(Blocks::new(folder, Heads::new(dir), evicted)))
}

/// Fetches and checks the head `cid` names.
pub fn fetch_head(source: &dyn BlockSource, cid: &Cid) -> Result<Head, ArchiveError> {
    let block = source.get(cid)?;
    Head::decode(block).map_err(|source| ArchiveError::Head { cid: *cid, source })
}
