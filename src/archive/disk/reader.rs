//! An archive opened for reading: by anyone, also while a daemon writes to it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::heads::Heads;
use super::meta::Meta;
use super::{BLOCKS, DiskError, JOURNAL};
use crate::archive::ArchiveError;
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{
    Block, BlockError, BlockFile, BlockSource, BlockStore, BlockWriter, CarFolder, Cid, Group,
    Reuse,
};

/// An archive's blocks, its heads among them.
///
/// What this disk lacks is asked of the upstream, where one is set: a fork may
/// rest on a history that it never copied.
pub struct Blocks {
    pub(super) folder: CarFolder,
    pub(super) heads: Heads,
    upstream: RwLock<Option<Arc<dyn BlockSource>>>,
}

impl Blocks {
    pub(super) fn new(folder: CarFolder, heads: Heads) -> Self {
        Self {
            folder,
            heads,
            upstream: RwLock::default(),
        }
    }

    /// Where blocks are to be had that this disk lacks. They are hashed as they
    /// come, and not kept.
    pub fn set_upstream(&self, upstream: Option<Arc<dyn BlockSource>>) {
        *self
            .upstream
            .write()
            .unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    fn upstream(&self) -> Option<Arc<dyn BlockSource>> {
        let upstream = self.upstream.read().unwrap_or_else(PoisonError::into_inner);
        upstream.clone()
    }

    /// What this disk holds, and nothing else: for those for whom nothing is to be
    /// fetched.
    pub fn held(&self) -> Held<'_> {
        Held(self)
    }

    /// Lists which block lies in which file, for readers behind a plain web
    /// server. A list that lags misleads nobody, so a failure is only told.
    pub(super) fn list(&self) {
        if let Err(error) = self.folder.write_catalogues() {
            tracing::warn!("cannot list the blocks for web servers: {error}");
        }
    }

    /// A block that this disk holds.
    fn local(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.folder.get(cid) {
            Err(error) if error.is_missing() => self.heads.get(cid),
            other => other,
        }
    }

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
        match (self.local(cid), self.upstream()) {
            (Err(error), Some(upstream)) if error.is_missing() || error.is_corrupt() => {
                let found = upstream.get(cid)?;
                // It is asked for by an own link; a source of ours may lie too.
                Block::verify(cid, found.into_bytes())
            }
            (other, _) => other,
        }
    }

    /// Whether this disk holds it.
    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.folder.has(cid)? || self.heads.has(cid)?)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let mut lacking = Vec::new();
        for cid in cids {
            match self.local(cid) {
                Ok(block) => {
                    if take(block).is_break() {
                        return Ok(());
                    }
                }
                Err(error) if error.is_missing() || error.is_corrupt() => {
                    lacking.push((*cid, error));
                }
                Err(error) => return Err(error),
            }
        }
        match (lacking.is_empty(), self.upstream()) {
            (true, _) => Ok(()),
            (false, Some(upstream)) => {
                let cids: Vec<Cid> = lacking.into_iter().map(|(cid, _)| cid).collect();
                upstream.get_each(&cids, take)
            }
            (false, None) => Err(lacking.swap_remove(0).1),
        }
    }
}

/// The blocks that a disk holds.
pub struct Held<'a>(&'a Blocks);

impl BlockSource for Held<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.local(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.has(cid)
    }
}

/// What is written goes to this disk.
impl BlockStore for Blocks {
    fn begin(&self, group: Group, reuse: Reuse) -> Result<Box<dyn BlockWriter + '_>, BlockError> {
        self.folder.begin(group, reuse)
    }

    fn files(&self) -> Result<Vec<BlockFile>, BlockError> {
        self.folder.files()
    }

    fn cids(&self, name: &str) -> Result<Vec<Cid>, BlockError> {
        self.folder.cids(name)
    }

    fn remove(&self, name: &str) -> Result<(), BlockError> {
        self.folder.remove(name)
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
            blocks: Blocks::new(folder, Heads::new(dir)),
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
    Ok(Some(Blocks::new(folder, Heads::new(dir))))
}

/// Fetches and checks the head `cid` names.
pub fn fetch_head(source: &dyn BlockSource, cid: &Cid) -> Result<Head, ArchiveError> {
    let block = source.get(cid)?;
    Head::decode(block).map_err(|source| ArchiveError::Head { cid: *cid, source })
}
