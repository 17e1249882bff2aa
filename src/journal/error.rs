//! Why a journal could not be opened, written or read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a journal could not be opened, written or read. It is handed to every
/// append of a group, and so can be cloned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused. Later appends are tried anew.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process holds this journal.
    #[error("{path} is in use by another process")]
    Locked {
        /// The journal's folder.
        path: PathBuf,
    },
    /// What was acknowledged once is damaged.
    #[error("{path}, offset {offset}: {what}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Bytes from its start to the damage.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file between two others is gone.
    #[error("{path} is missing, though an older and a newer file are there")]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// The batch is larger than any may be.
    #[error("{len} bytes, above the limit of {most}")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// More is queued than may wait; try again later.
    #[error("the journal is busy")]
    Busy,
    /// The journal takes nothing more until it is opened anew.
    #[error("the journal takes no more records: {because}")]
    Stopped {
        /// What stopped it.
        because: String,
    },
}

impl JournalError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source: Arc::new(error),
        }
    }

    pub(super) fn closed() -> Self {
        Self::Stopped {
            because: "it was closed".to_owned(),
        }
    }

    /// Whether the disk is full: appends work again when there is room.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// Whether the journal takes nothing more until it is opened anew.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }

    /// Whether a file or folder is not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether records that were acknowledged are damaged or gone.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::MissingFile { .. })
    }
}
