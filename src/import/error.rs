//! Why a part of what is imported, or the rest of it, was refused.

use std::fmt;
use std::io;

use super::MAX_ENVELOPE;
use super::json::LineFault;
use super::leveldb::LevelDbError;
use super::postgres::PostgresError;
use crate::archive::ArchiveError;
use crate::archive::watermark::Day;
use crate::blocks::car::CarError;
use crate::whisper::EnvelopeError;

/// Where in a source something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An offset in a file.
    Byte(u64),
    /// The key of a database's row.
    Row(Vec<u8>),
    /// A line of a file, counted from 1.
    Line(u64),
}

/// Most bytes of a key that are shown: more than any of a mailserver.
const SHOWN: usize = 64;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(offset) => write!(f, "byte {offset}"),
            Self::Row(key) => {
                let shown = &key[..key.len().min(SHOWN)];
                let more = if key.len() > SHOWN { ".." } else { "" };
                write!(f, "key 0x{}{more}", hex::encode(shown))
            }
            Self::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// Why a part of a source, or the rest of it, was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Bytes that should be an envelope and are none.
    #[error("{place}: {source}")]
    NotAnEnvelope {
        /// Where they stand.
        place: Place,
        /// What is wrong with them.
        source: EnvelopeError,
    },
    /// An envelope larger than an archive takes.
    #[error("{place}: an envelope of {len} bytes, above the limit of {MAX_ENVELOPE}")]
    TooLarge {
        /// Where it stands.
        place: Place,
        /// Its length in bytes.
        len: usize,
    },
    /// Bytes that start no RLP list: where the next envelope is cannot be known.
    #[error("byte {offset}: not an envelope: {what}")]
    Garbage {
        /// Where it starts.
        offset: u64,
        /// What was found.
        what: &'static str,
    },
    /// The file ends within an envelope.
    #[error("byte {offset}: the file ends within the envelope that starts here")]
    Truncated {
        /// Where the envelope starts.
        offset: u64,
    },
    /// The CAR, or a block of it, is damaged.
    #[error(transparent)]
    Car(#[from] CarError),
    /// A raw block of the CAR is no run of envelopes.
    #[error("block {cid}, {inner}")]
    Leaf {
        /// The block.
        cid: crate::blocks::Cid,
        /// What is wrong, and where in the block.
        inner: Box<ImportError>,
    },
    /// A line that holds no envelope.
    #[error("line {line}: {source}")]
    Line {
        /// Which, counted from 1.
        line: u64,
        /// What is wrong with it.
        source: LineFault,
    },
    /// A day of another archive that it does not hold, or that does not verify.
    #[error("{day}: {source}")]
    Day {
        /// The day.
        day: Day,
        /// What is wrong.
        source: Box<ArchiveError>,
    },
    /// The way to the days of another archive.
    #[error("head {head}: {source}")]
    Tree {
        /// Its head.
        head: crate::blocks::Cid,
        /// What is wrong.
        source: Box<ArchiveError>,
    },
    /// A part of another archive's journal.
    #[error("what waits to be sealed: {0}")]
    Waiting(String),
    /// A LevelDB folder, or a part of it.
    #[error(transparent)]
    LevelDb(#[from] LevelDbError),
    /// A PostgreSQL database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The file cannot be read.
    #[error("byte {offset}: {source}")]
    Io {
        /// How far it was read.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// What kinds of refusals are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Something that is no envelope stands where one should.
    Undecodable,
    /// An envelope larger than an archive takes.
    TooLarge,
    /// A part of a file is damaged: what it held, and how much, cannot be known.
    Damaged,
    /// A day that another archive does not hold.
    NotHeld,
    /// What follows cannot be read.
    Unreadable,
    /// An envelope of a day that is no longer kept.
    NoLongerKept,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too large",
            Self::Damaged => "damaged parts",
            Self::NotHeld => "days not held there",
            Self::Unreadable => "unreadable",
            Self::NoLongerKept => "of days no longer kept",
        })
    }
}

impl ImportError {
    /// Whether the reader goes on behind what was refused.
    pub fn goes_on(&self) -> bool {
        match self {
            Self::NotAnEnvelope { .. }
            | Self::TooLarge { .. }
            | Self::Leaf { .. }
            | Self::Line { .. }
            | Self::Day { .. }
            | Self::Tree { .. }
            | Self::Waiting(_) => true,
            Self::Car(error) => error.next_section_is_known(),
            Self::LevelDb(error) => error.goes_on(),
            Self::Garbage { .. } | Self::Truncated { .. } | Self::Postgres(_) | Self::Io { .. } => {
                false
            }
        }
    }

    /// What it is counted by.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. }
            | Self::Line {
                source: LineFault::TooLong,
                ..
            } => Reason::TooLarge,
            Self::NotAnEnvelope { .. } | Self::Line { .. } => Reason::Undecodable,
            Self::Leaf { inner, .. } => match inner.reason() {
                Reason::TooLarge => Reason::TooLarge,
                _ => Reason::Undecodable,
            },
            Self::Day { source, .. } if source.is_missing() => Reason::NotHeld,
            Self::Garbage { .. }
            | Self::Truncated { .. }
            | Self::Day { .. }
            | Self::Tree { .. }
            | Self::Waiting(_) => Reason::Damaged,
            Self::Car(_) | Self::LevelDb(_) if self.goes_on() => Reason::Damaged,
            Self::Car(_) | Self::LevelDb(_) | Self::Postgres(_) | Self::Io { .. } => {
                Reason::Unreadable
            }
        }
    }
}
