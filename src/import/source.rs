//! What a user names to import from, and what opens it.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::archive::ArchiveFolder;
use super::leveldb::{self, LevelDb, LevelDbError};
use super::postgres::{Address, Database, PostgresError};
use super::{ImportError, Items};
use crate::archive::disk::{DiskError, Meta};

/// Where envelopes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A file or a folder.
    Path(PathBuf),
    /// A database.
    Postgres(Address),
}

impl TryFrom<OsString> for Source {
    type Error = PostgresError;

    fn try_from(named: OsString) -> Result<Self, Self::Error> {
        match named.to_str() {
            Some("-") => Ok(Self::Stdin),
            Some(text) if Address::is_meant(text) => text.parse().map(Self::Postgres),
            _ => Ok(Self::Path(named.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

/// Why a source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder of neither kind.
    #[error("{} is neither a LevelDB folder nor an archive", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// A folder below it that is one.
        inside: Option<PathBuf>,
    },
    /// A LevelDB folder.
    #[error(transparent)]
    LevelDb(#[from] LevelDbError),
    /// Another archive.
    #[error(transparent)]
    Archive(#[from] DiskError),
    /// A database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A source, open.
pub enum Opened {
    /// A file of any form, and its length where it has one.
    Stream(Box<dyn Read>, Option<u64>),
    /// A mailserver's database.
    LevelDb(LevelDb),
    /// Another archive.
    Archive(Box<ArchiveFolder>),
    /// A mailserver's table.
    Postgres(Box<Database>),
}

/// Folders below the one a user may name, in which mailservers keep theirs.
const INSIDE: [&str; 2] = ["wnode", "ethereum/mainnet_rpc/wnode"];

impl Source {
    /// Opens it, for reading alone.
    pub fn open(&self) -> Result<Opened, OpenError> {
        let path = match self {
            Self::Stdin => return Ok(Opened::Stream(Box::new(io::stdin()), None)),
            Self::Path(path) => path,
            Self::Postgres(address) => {
                return Ok(Opened::Postgres(Box::new(Database::open(address)?)));
            }
        };
        if path.is_dir() {
            return folder(path);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let len = metadata.is_file().then_some(metadata.len());
        Ok(Opened::Stream(Box::new(file), len))
    }
}

fn folder(dir: &Path) -> Result<Opened, OpenError> {
    if Meta::read(dir)?.is_some() {
        return Ok(Opened::Archive(Box::new(ArchiveFolder::open(dir)?)));
    }
    if leveldb::is_database(dir) {
        return Ok(Opened::LevelDb(LevelDb::open(dir)?));
    }
    let inside = INSIDE.iter().map(|name| dir.join(name));
    Err(OpenError::Folder {
        dir: dir.to_owned(),
        inside: inside.into_iter().find(|dir| leveldb::is_database(dir)),
    })
}

impl Opened {
    /// What kind of source it is, for a reader.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stream(..) => "file",
            Self::LevelDb(_) => "LevelDB",
            Self::Archive(_) => "archive",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// How many envelopes and bytes it holds, where that is known beforehand; the
    /// bytes may be counted with what surrounds the envelopes.
    pub fn size(&self) -> (Option<u64>, Option<u64>) {
        match self {
            Self::Stream(_, bytes) => (None, *bytes),
            Self::LevelDb(db) => (None, Some(db.bytes())),
            Self::Archive(archive) => {
                let (count, bytes) = archive.totals();
                (Some(count), Some(bytes))
            }
            Self::Postgres(database) => {
                let (rows, bytes) = database.totals();
                (Some(rows), Some(bytes))
            }
        }
    }

    /// What comes out of it.
    pub fn items(&mut self) -> Result<Items<'_>, ImportError> {
        match self {
            Self::Stream(input, _) => super::envelopes(input),
            Self::LevelDb(db) => Ok(Box::new(db.map(|entry| {
                let entry = entry?;
                super::rows::found(&entry.key, &entry.value)
            }))),
            Self::Archive(archive) => Ok(archive.items()),
            Self::Postgres(database) => database.items(),
        }
    }
}
