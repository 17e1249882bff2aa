//! Why an archive on disk could not be opened, written or read.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::archive::head::HeadError;
use crate::blocks::BlockError;
use crate::journal::JournalError;

/// What went wrong with an archive on disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// There is no archive in the folder.
    #[error("there is no archive in {dir}")]
    NoArchive {
        /// The folder.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("there is an archive in {dir} already")]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// Another process writes to it.
    #[error("the archive in {dir} is in use by another process{}", pid_text(pid))]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process, where its lock file says.
        pid: Option<u32>,
    },
    /// It was opened only for reading.
    #[error("the archive in {dir} was opened for reading only")]
    ReadOnly {
        /// The folder.
        dir: PathBuf,
    },
    /// The signing key cannot be read.
    #[error("{path} holds no signing key: expected 64 hex digits")]
    Key {
        /// The key file.
        path: PathBuf,
    },
    /// It follows another's heads, and takes in nothing of its own.
    #[error("the archive in {dir} is a mirror")]
    Mirror {
        /// The folder.
        dir: PathBuf,
    },
    /// Nothing was ever sealed in it.
    #[error("the archive in {dir} has no head yet")]
    NoHead {
        /// The folder.
        dir: PathBuf,
    },
    /// The envelopes of another network.
    #[error("it is an archive of network `{network}`")]
    Network {
        /// As its head names it.
        network: String,
    },
    /// A key lies where no archive is: heads that it signed are elsewhere.
    #[error("there is an archive.key in {dir}, and no archive that it is of")]
    KeyAlone {
        /// The folder.
        dir: PathBuf,
    },
    /// A head says what will be sealed one day.
    #[error("it claims to be sealed up to {watermark}, which is ahead of this clock")]
    Ahead {
        /// What it says.
        watermark: crate::archive::watermark::Watermark,
    },
    /// What sealing on from a head takes is no longer to be had.
    #[error("of {day}, the day that was open, block {cid} is no longer to be had")]
    Past {
        /// The day that was open at the head.
        day: crate::archive::watermark::Day,
        /// A block that nobody has.
        cid: crate::blocks::Cid,
    },
    /// A file that is to be copied lies at a depot alone.
    #[error("{file} is at {store} alone")]
    Evicted {
        /// The file.
        file: String,
        /// The depot.
        store: String,
    },
    /// A seal was asked for an instant before what is sealed.
    #[error("sealed up to {sealed} already, cannot seal up to {asked}")]
    Backwards {
        /// What is sealed.
        sealed: crate::archive::watermark::Watermark,
        /// What was asked.
        asked: crate::archive::watermark::Watermark,
    },
    /// A head could not be signed or read.
    #[error("head: {0}")]
    Head(#[from] HeadError),
    /// Heads are not signed here now.
    #[error("no head is signed now: {0}")]
    Gate(#[from] super::gate::GateError),
    /// Nobody waits for the result any more.
    #[error("stopped")]
    Stopped,
    /// The tree or its blocks.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn pid_text(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

impl DiskError {
    /// Whether a block is wanted that is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Archive(error) if error.is_missing())
    }

    /// An I/O error at a path.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl From<BlockError> for DiskError {
    fn from(error: BlockError) -> Self {
        Self::Archive(error.into())
    }
}
