//! A LevelDB folder, as geth's and status-go's mailservers keep one, read
//! without being opened as a database.
//!
//! Always true:
//! - Nothing in the folder is written, created or removed. A shared lock is held
//!   on its `LOCK` while it is read, so that no node opens it meanwhile.
//! - Every entry that a node would find in it comes, or lies in a part that is
//!   named as damaged.
//! - Where manifest and tables are whole and the manifest names each table, an
//!   entry comes once, in order of keys, and what a node deleted does not come
//!   back. Tables that no manifest names are read one after another: what was
//!   deleted may come back out of them, and an entry come twice.
//! - No block is looked at before its checksum was right.
//! - Memory is bounded: [`MAX_OPEN`] for tables, [`MAX_JOURNALS`] for journals.
//!
//! Formats are those of LevelDB's own documents (`log_format.md`,
//! `table_format.md`), which goleveldb keeps to.

mod block;
mod bytes;
mod files;
mod journal;
mod manifest;
mod merge;
mod records;
mod table;
#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use self::files::Folder;
pub use self::manifest::ManifestFault;
use self::merge::Merge;

/// Most runs of tables read at once. A level is one run, and each table of level
/// 0, where LevelDB allows twelve; each holds a file open.
pub const MAX_RUNS: usize = 400;

/// Most bytes of tables held in memory at once, which is an index and a block for
/// each run: twenty runs with the largest of both that a mailserver can have
/// stay below it, and their usual blocks have 4 KiB.
pub const MAX_OPEN: u64 = 512 << 20;

/// Most bytes of journals, on the disk and in memory, where they are held to be
/// sorted: LevelDB turns 4 MiB of them into a table.
pub const MAX_JOURNALS: u64 = 256 << 20;

/// An entry of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: ::bytes::Bytes,
}

/// Why a folder, or a part of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LevelDbError {
    /// A node has it open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// Its manifest is of no use, and its tables are read one by one.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The manifest, or `CURRENT`, which names it.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestFault,
    },
    /// A part of a file is damaged; what it held is lost, the rest goes on.
    #[error("{}: byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A file that the manifest names is not there, or cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More has to be read at once than is sane.
    #[error("{}: {count} {what}, above the limit of {limit}", dir.display())]
    TooMuch {
        /// The folder.
        dir: PathBuf,
        /// How many there are.
        count: u64,
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: u64,
    },
}

impl LevelDbError {
    /// Whether what it names is lost and the rest still comes.
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Manifest { .. } | Self::Damaged { .. } | Self::Io { .. } => true,
            Self::InUse { .. } | Self::TooMuch { .. } => false,
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Whether `dir` looks like a LevelDB folder, whole or damaged.
pub fn is_database(dir: &Path) -> bool {
    Folder::read(dir).is_ok_and(|folder| folder.is_database())
}

/// The entries of a database; iterate it.
#[derive(Debug)]
pub struct LevelDb {
    merge: Merge,
    bytes: u64,
    /// Held as long as files are read.
    _lock: Option<File>,
}

impl LevelDb {
    /// Opens the database in `dir`, for reading alone.
    pub fn open(dir: &Path) -> Result<Self, LevelDbError> {
        let lock = lock(dir)?;
        let folder = Folder::read(dir).map_err(LevelDbError::io(dir))?;
        let bytes = folder.bytes();
        Ok(Self {
            merge: Merge::open(&folder)?,
            bytes,
            _lock: lock,
        })
    }

    /// The bytes of its tables and journals.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Shares the lock that whoever writes to the database takes alone. A copy may
/// have none.
fn lock(dir: &Path) -> Result<Option<File>, LevelDbError> {
    let path = dir.join("LOCK");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LevelDbError::io(&path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(LevelDbError::InUse {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(LevelDbError::io(&path)(error)),
    }
}

/// Reads `data` as each part of a database: entries are within what was given, and
/// nothing panics. For fuzzing, where a checksum would stop all but the first step.
#[doc(hidden)]
pub fn read_any(data: &[u8]) {
    let whole = data.len();
    let mut records = records::Records::new(data);
    let mut waiting = journal::Waiting::default();
    while let Some(item) = records.next().expect("memory can be read") {
        if let records::Item::Record(batch) = item {
            assert!(batch.len() <= whole);
            let _ = waiting.take(&batch);
        }
    }
    let _ = waiting.take(data);
    let mut last = None;
    while let Some(version) = waiting.next() {
        let order = (version.key, std::cmp::Reverse(version.sequence));
        assert!(last.as_ref().is_none_or(|last| *last < order));
        last = Some(order);
    }
    let _ = manifest::Manifest::read(data);
    let _ = manifest::Manifest::default().apply(data);
    let _ = manifest::current(data);
    let _ = table::unpack(data.to_vec());
    if let Ok(mut entries) = block::Entries::new(data.to_vec().into()) {
        let mut values = 0;
        while let Ok(Some((_, value))) = entries.next() {
            values += value.len();
        }
        assert!(values <= whole);
    }
}

impl Iterator for LevelDb {
    type Item = Result<Entry, LevelDbError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merge.next()
    }
}
