//! Where blocks lie: a coarse cache over files of blocks, never the only copy.
//!
//! Always true:
//! - Every row can be had again from the files; whoever keeps the files decides
//!   what is true, this module only remembers it.
//! - A location is given out only for a file whose rows were all found intact
//!   when the index was opened, or were put in since.
//! - An index that does not open is set aside (`<name>.bad-1`, ..) with one
//!   line of log, and an empty one takes its place.
//!
//! sled's flush is no fsync, its young databases do not survive power cuts, and
//! a killed process may find half a batch: hence the counts and sums checked at
//! every opening, and no state here that is nowhere else. sled stands in
//! one private module, so that another engine may take its place.

mod rows;
mod store;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cid::Cid;

use self::rows::{Sought, Tally, block_row, check_tallies};
use self::store::Store;

/// One file of blocks, as the rows name it. Numbers are local to an index and
/// never used twice while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// Where the bytes of one block lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: FileId,
    /// Bytes from its start to the block's first byte.
    pub offset: u64,
    /// The block's length in bytes.
    pub len: u32,
}

/// One block of a file, and where its bytes lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockAt {
    /// The block.
    pub cid: Cid,
    /// Bytes from the file's start to the block's first byte.
    pub offset: u64,
    /// The block's length in bytes.
    pub len: u32,
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    /// Length in bytes.
    pub len: u64,
    /// Time of last change, in nanoseconds since 1970.
    pub modified: u64,
}

/// One indexed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// Its name in the store of blocks.
    pub name: Arc<str>,
    /// Its number in this index.
    pub id: FileId,
    /// The version of the file that was indexed.
    pub mark: FileMark,
    /// Number of different blocks in it.
    pub blocks: u64,
}

/// Why the index did not serve. None of it is a loss: rebuild from the files.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Another process holds this index.
    #[error("{path} is in use by another process")]
    Locked {
        /// The index.
        path: PathBuf,
    },
    /// The folder of the index could not be prepared.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The engine failed, or its rows make no sense.
    #[error("index: {what}")]
    Failed {
        /// What it said.
        what: String,
    },
}

/// The index: rows on disk or in memory, and the table of files beside them.
pub struct Index {
    store: Store,
    files: RwLock<Files>,
    /// Held for as long as the index is open; the system frees it.
    _lock: Option<File>,
}

#[derive(Default)]
struct Files {
    by_id: BTreeMap<FileId, FileRow>,
    by_name: BTreeMap<Arc<str>, FileId>,
    next: u32,
}

impl Index {
    /// An index that lives in memory: for readers beside a running writer.
    pub fn in_memory() -> Self {
        Self {
            store: Store::in_memory(),
            files: RwLock::default(),
            _lock: None,
        }
    }

    /// Opens or creates the index in folder `path`. A broken one is set aside;
    /// where even an empty one does not open, the rows are kept in memory.
    /// Rows that contradict their file's are dropped, with that file.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let lock = lock(path)?;
        let (store, files) = match Self::load(path) {
            Ok(loaded) => loaded,
            Err(broken) => {
                let aside = store::set_aside(path);
                tracing::warn!(index = %path.display(), aside, %broken, "index set aside, to be rebuilt from files");
                Self::load(path).unwrap_or_else(|error| {
                    tracing::warn!(index = %path.display(), %error, "no index on disk, one in memory serves");
                    (Store::in_memory(), Files::default())
                })
            }
        };
        Ok(Self {
            store,
            files: RwLock::new(files),
            _lock: Some(lock),
        })
    }

    fn load(path: &Path) -> Result<(Store, Files), IndexError> {
        let store = Store::open(path)?;
        let mut files = Files::default();
        let mut expected = BTreeMap::new();
        for (name, about) in store.files()? {
            let name: Arc<str> = name.into();
            expected.insert(about.id, about.tally);
            files.put(FileRow {
                name,
                id: about.id,
                mark: about.mark,
                blocks: about.tally.rows,
            });
        }
        let checked = check_tallies(&store, &expected)?;
        files.next = checked.next_id;
        for id in checked.wrong {
            if let Some(row) = files.remove(id) {
                store.remove_file(&row.name)?;
            }
        }
        Ok((store, files))
    }

    // Both maps change together in steps that cannot panic half-way, so what a
    // poisoned lock guards is whole.
    fn table(&self) -> RwLockReadGuard<'_, Files> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Files> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every indexed file, in order of name.
    pub fn files(&self) -> Vec<FileRow> {
        let files = self.table();
        let ids = files.by_name.values();
        ids.filter_map(|id| files.by_id.get(id).cloned()).collect()
    }

    /// The file of that name, if it is indexed.
    pub fn file(&self, name: &str) -> Option<FileRow> {
        let files = self.table();
        files.by_id.get(files.by_name.get(name)?).cloned()
    }

    /// The name of a file; `None` once it was forgotten.
    pub fn name(&self, id: FileId) -> Option<Arc<str>> {
        self.table().by_id.get(&id).map(|row| row.name.clone())
    }

    /// Everywhere a block lies, in order of indexing.
    pub fn locations(&self, cid: &Cid) -> Result<Vec<Location>, IndexError> {
        let Some(sought) = Sought::of(cid) else {
            return Ok(Vec::new());
        };
        let mut found = self.store.locations(&sought)?;
        let files = self.table();
        found.retain(|location| files.by_id.contains_key(&location.file));
        Ok(found)
    }

    /// Takes in a file with its blocks, instead of any version of it indexed
    /// before. A block that it holds twice counts once, at its first place;
    /// blocks with foreign CIDs are left out.
    pub fn put_file(
        &self,
        name: &str,
        mark: FileMark,
        blocks: &[BlockAt],
    ) -> Result<FileRow, IndexError> {
        self.forget_file(name, &[])?;
        let id = {
            let mut files = self.table_mut();
            let id = FileId(files.next);
            files.next = files
                .next
                .checked_add(1)
                .ok_or_else(|| failed("no file number is left"))?;
            id
        };
        let mut rows: Vec<_> = blocks
            .iter()
            .filter_map(|block| block_row(block, id))
            .collect();
        // In order of key, which the engine takes many times faster; stable, so
        // that the first of several places stays first.
        rows.sort_by_key(|(key, _)| *key);
        rows.dedup_by_key(|(key, _)| *key);
        let tally = Tally::of(&rows);
        self.store.put(name, id, mark, tally, &rows)?;
        let row = FileRow {
            name: name.into(),
            id,
            mark,
            blocks: tally.rows,
        };
        self.table_mut().put(row.clone());
        Ok(row)
    }

    /// Forgets a file. Rows of `blocks` are deleted; rows of others lead
    /// nowhere, and go when the index is opened next.
    pub fn forget_file(&self, name: &str, blocks: &[Cid]) -> Result<(), IndexError> {
        let Some(row) = self.file(name) else {
            return Ok(());
        };
        self.table_mut().remove(row.id);
        self.store.remove_file(name)?;
        self.store.remove_blocks(row.id, blocks)
    }
}

impl Files {
    fn put(&mut self, row: FileRow) {
        self.by_name.insert(row.name.clone(), row.id);
        self.by_id.insert(row.id, row);
    }

    fn remove(&mut self, id: FileId) -> Option<FileRow> {
        let row = self.by_id.remove(&id)?;
        self.by_name.remove(&row.name);
        Some(row)
    }
}

fn failed(what: impl std::fmt::Display) -> IndexError {
    IndexError::Failed {
        what: what.to_string(),
    }
}

/// Takes `<path>.lock` for this process.
fn lock(path: &Path) -> Result<File, IndexError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let io = |source| IndexError::Io {
        path: name.clone(),
        source,
    };
    crate::durable::create_folder(crate::durable::parent_of(path)).map_err(io)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(IndexError::Locked { path: path.into() }),
        Err(std::fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests;
