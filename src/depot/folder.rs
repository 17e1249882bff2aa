//! A depot in a folder: another disk, a share of the network.
//!
//! It is laid out as the public folder of an archive is: `HEAD`, `heads/`, and
//! under `blocks/` the files with their catalogues. Any web server serves it, and
//! it is a source of blocks as it stands.
//!
//! Always true:
//! - The folder itself is never made: one that is not there is a disk that is not
//!   mounted, and the depot is away.
//! - One process at a time changes it; any number read.
//! - A file has its name once its bytes are durable; `HEAD` is written last.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Depot, DepotError, KeptFile, Parcel, dropped};
use crate::archive::disk::{Blocks, DiskError, Heads, open_public};
use crate::archive::head::Head;
use crate::archive::watermark::Day;
use crate::blocks::{
    Block, BlockError, BlockSource, BlockStore, Cid, Fault, Refusal, catalogues, group_of,
};
use crate::durable;

/// Folder of the files of blocks.
const BLOCKS: &str = "blocks";
/// The file whose lock makes a process the one that changes the folder.
const LOCK: &str = "lock";

/// A depot in a folder.
pub struct FolderDepot {
    dir: PathBuf,
    name: String,
    /// What is read from, once something was.
    blocks: Mutex<Option<Arc<Blocks>>>,
}

impl FolderDepot {
    /// The depot in `dir`, which need not be there now.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            name: format!("folder:{}", dir.display()),
            blocks: Mutex::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(BLOCKS).join(name)
    }

    fn away(&self, what: impl Into<String>) -> DepotError {
        DepotError::Away {
            depot: self.name.clone(),
            what: what.into(),
        }
    }

    fn refused(&self, what: impl Into<String>) -> DepotError {
        DepotError::Refused {
            depot: self.name.clone(),
            what: what.into(),
        }
    }

    /// What it means that the folder gave this error.
    fn failed(&self, path: &Path, error: &io::Error) -> DepotError {
        let what = format!("{}: {error}", path.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                DepotError::Full {
                    depot: self.name.clone(),
                    what,
                }
            }
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory => self.refused(what),
            _ => self.away(what),
        }
    }

    fn io(&self, path: &Path) -> impl FnOnce(io::Error) -> DepotError {
        move |error| self.failed(path, &error)
    }

    fn disk(&self, error: &DiskError) -> DepotError {
        match error {
            DiskError::Io { path, source } => self.failed(path, source),
            other => self.refused(other.to_string()),
        }
    }

    /// Makes this process the one that changes the folder, for as long as what is
    /// given lives.
    fn lock(&self) -> Result<File, DepotError> {
        if !self.dir.is_dir() {
            return Err(self.away("the folder is not there: make it, or mount its disk"));
        }
        let path = self.dir.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(self.io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(self.away("another process is writing to it")),
            Err(TryLockError::Error(error)) => Err(self.failed(&path, &error)),
        }
    }

    /// Lists which block lies in which file, for readers behind a web server.
    fn list(&self) -> Result<(), DepotError> {
        let blocks = self.dir.join(BLOCKS);
        durable::create_folder(&blocks).map_err(self.io(&blocks))?;
        catalogues::write(&blocks).map_err(|error| self.away(error.to_string()))?;
        Ok(())
    }

    /// What is read from; `None` while there is nothing.
    fn blocks(&self) -> Result<Option<Arc<Blocks>>, BlockError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.is_none() {
            *blocks = open_public(&self.dir)?.map(Arc::new);
        }
        Ok(blocks.clone())
    }

    /// An error of reading, where the folder may be gone altogether.
    fn unread(&self, cid: &Cid, error: BlockError) -> BlockError {
        let what = match &error {
            BlockError::Io { path, source } => format!("{}: {source}", path.display()),
            _ if error.is_missing() && !self.dir.is_dir() => "the folder is not there".to_owned(),
            _ => return error,
        };
        BlockError::Unavailable {
            cid: *cid,
            by: vec![Refusal {
                source: self.name.clone(),
                fault: Fault::Failed(what),
            }],
        }
    }

    fn read<T>(
        &self,
        cid: &Cid,
        none: impl FnOnce() -> Result<T, BlockError>,
        read: impl FnOnce(&Blocks) -> Result<T, BlockError>,
    ) -> Result<T, BlockError> {
        let read = self.blocks().and_then(|blocks| match blocks {
            Some(blocks) => read(&blocks),
            None => none(),
        });
        read.map_err(|error| self.unread(cid, error))
    }
}

impl BlockSource for FolderDepot {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let missing = || Err(BlockError::Missing { cid: *cid });
        self.read(cid, missing, |blocks| blocks.get(cid))
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        let none = || match self.dir.is_dir() {
            true => Ok(false),
            false => Err(BlockError::Missing { cid: *cid }),
        };
        self.read(cid, none, |blocks| blocks.has(cid))
    }
}

impl Depot for FolderDepot {
    fn name(&self) -> &str {
        &self.name
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        let name = &parcel.file.name;
        if group_of(name).is_none() {
            return Err(self.refused(format!("`{name}` is no name of a file of blocks")));
        }
        let _lock = self.lock()?;
        let target = self.path(name);
        let folder = durable::parent_of(&target);
        match fs::metadata(&target) {
            // Files with these names never change, so their length tells.
            Ok(about) if about.len() == parcel.file.bytes => {
                // Whoever gave it its name may not have come to sync it.
                return durable::sync_folder(folder).map_err(self.io(folder));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(self.failed(&target, &error)),
        }
        durable::create_folder(folder).map_err(self.io(folder))?;
        let local = |source| DepotError::Io {
            path: parcel.car.to_owned(),
            source,
        };
        let mut from = File::open(parcel.car).map_err(local)?;
        let copied = durable::replace_file_with(&target, |to| {
            let copied = io::copy(&mut from, to)?;
            if copied == parcel.file.bytes {
                return Ok(());
            }
            Err(io::Error::other(format!(
                "{copied} bytes came of {}",
                parcel.file.bytes
            )))
        });
        copied.map_err(self.io(&target))
    }

    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError> {
        if !self.dir.is_dir() {
            return Err(self.away("the folder is not there: make it, or mount its disk"));
        }
        let blocks = self.blocks().and_then(|blocks| match blocks {
            Some(blocks) => blocks.folder().files(),
            None => Ok(Vec::new()),
        });
        let files = blocks.map_err(|error| self.away(error.to_string()))?;
        let kept = files.into_iter().map(|file| KeptFile {
            name: file.name,
            bytes: Some(file.bytes),
        });
        Ok(kept.collect())
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        if group_of(name).is_none() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => {
                let folder = durable::parent_of(&path);
                durable::sync_folder(folder).map_err(self.io(folder))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.failed(&path, &error)),
        }
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        let _lock = self.lock()?;
        let heads = Heads::new(&self.dir);
        let disk = |error: DiskError| self.disk(&error);
        let newest = heads.current().map_err(disk)?;
        match (&newest, before) {
            (Some(newest), _) if newest.cid() == head.cid() => {
                self.list()?;
                return heads.point_to(head).map_err(disk);
            }
            (Some(newest), _)
                if before.map(Head::cid) != Some(newest.cid())
                    || newest.body().sequence >= head.body().sequence =>
            {
                return Err(DepotError::Overtaken {
                    depot: self.name.clone(),
                    newest: newest.body().sequence,
                });
            }
            (None, Some(before)) => {
                return Err(DepotError::Lost {
                    depot: self.name.clone(),
                    what: format!("head {}", before.body().sequence),
                });
            }
            _ => {}
        }
        self.list()?;
        heads.store(head).map_err(disk)?;
        heads.point_to(head).map_err(disk)
    }

    fn keep_lineage(&self, heads: &[Head]) -> Result<(), DepotError> {
        let _lock = self.lock()?;
        let stored = Heads::new(&self.dir).store_before_current(heads);
        stored.map_err(|error| self.disk(&error))
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        if !self.dir.is_dir() {
            return Err(self.away("the folder is not there: make it, or mount its disk"));
        }
        let current = Heads::new(&self.dir).current();
        current.map_err(|error| self.disk(&error))
    }

    fn say_dropped(&self, before: Day) -> Result<(), DepotError> {
        let _lock = self.lock()?;
        if self.dropped_before()? >= Some(before) {
            return Ok(());
        }
        let path = self.dir.join(dropped::NAME);
        durable::replace_file(&path, &dropped::encode(before)).map_err(self.io(&path))
    }

    fn dropped_before(&self) -> Result<Option<Day>, DepotError> {
        let path = self.dir.join(dropped::NAME);
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(dropped::MAX_LEN).read_to_end(&mut bytes));
        match read {
            Ok(_) => dropped::decode(&self.name, &bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&path, &error)),
        }
    }
}

#[cfg(test)]
mod tests;
