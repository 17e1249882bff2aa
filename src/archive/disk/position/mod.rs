//! Where a reader stands in an archive's order of arrival.
//!
//! Always true:
//! - A position says what its reader has: everything under one head, what of the
//!   next answer was given, and which of the waiting envelopes.
//! - A position read from bytes is what those bytes say and nothing else: it
//!   writes as it was read. Whether it is this archive's is decided where it is
//!   used (`since`).
//!
//! Layout, numbers big-endian; specified in `docs/spec/positions.md`:
//!
//! ```text
//! rest   1 | archive (8) | since: mark (16) | run (4) | arrived (8)         37
//! walk   rest | until: mark (16) | 0 | entry (8)                            62
//!        rest | until: mark (16) | 1                                        54
//!        rest | until: mark (16) | 2 | sent (4) | hash (32)                 90
//! mark   sequence (8) | watermark (4) | check (4)
//! ```

pub(super) mod fetch;
pub(super) mod late;
pub(super) mod since;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::archive::head::Head;
use crate::keccak::keccak256;
use crate::time::UnixSeconds;
use crate::whisper::EnvelopeHash;

/// Bytes of the longest position.
pub const MAX_POSITION_LEN: usize = 90;

const VERSION: u8 = 1;
const REST_LEN: usize = 37;
const MARK_LEN: usize = 16;
const LATE_LEN: usize = REST_LEN + MARK_LEN + 1 + 8;
const START_LEN: usize = REST_LEN + MARK_LEN + 1;

/// Which archive a position is of: the first 8 bytes of the Keccak-256 of its
/// public key, compressed. A fork has its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArchiveTag(pub [u8; 8]);

impl ArchiveTag {
    /// The tag of the archive whose heads `key` signs.
    pub fn of(key: &secp256k1::PublicKey) -> Self {
        let digest = keccak256(key.serialize());
        let (tag, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        Self(*tag)
    }
}

impl fmt::Debug for ArchiveTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A head, as far as a position needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadMark {
    /// Its number; 0 before the first head.
    pub sequence: u64,
    /// Its watermark. Before the first head, the instant from which on a reader
    /// wants what there is.
    pub watermark: UnixSeconds,
    /// The last 4 bytes of its CID: two heads of one number are told apart.
    pub check: [u8; 4],
}

impl HeadMark {
    /// The mark of a head.
    pub fn of(head: &Head) -> Self {
        let cid = head.cid().to_bytes();
        let check = cid.last_chunk().expect("a CID is longer than 4 bytes");
        Self {
            sequence: head.body().sequence.0,
            watermark: head.body().watermark.at(),
            check: *check,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.watermark.0.to_be_bytes());
        out.extend_from_slice(&self.check);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            sequence: u64::from_be_bytes(take(bytes)?),
            watermark: UnixSeconds(u32::from_be_bytes(take(bytes)?)),
            check: take(bytes)?,
        })
    }
}

/// How many of the envelopes that waited a reader has been given, in one run of
/// the archive: from one opening to its close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// The run, a random number.
    pub run: u32,
    /// Every arrival of the run up to this one.
    pub count: u64,
}

/// Where an answer stopped that leads from one head to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Where it leads.
    pub until: HeadMark,
    /// How far it got.
    pub at: WalkAt,
}

/// How far an answer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkAt {
    /// Among what came late: at this entry of the list.
    Late(u64),
    /// Among what came in time: after this envelope, or at the beginning.
    OnTime(Option<(UnixSeconds, EnvelopeHash)>),
}

/// What a reader of an archive has been given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The archive.
    pub archive: ArchiveTag,
    /// The reader has everything that this head holds.
    pub since: HeadMark,
    /// And these of the waiting.
    pub arrived: Arrived,
    /// And what this answer gave so far.
    pub walk: Option<Walk>,
}

/// Bytes or text that are no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position")]
pub struct NotAPosition;

impl Position {
    /// Its bytes, at most [`MAX_POSITION_LEN`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_POSITION_LEN);
        out.push(VERSION);
        out.extend_from_slice(&self.archive.0);
        self.since.write(&mut out);
        out.extend_from_slice(&self.arrived.run.to_be_bytes());
        out.extend_from_slice(&self.arrived.count.to_be_bytes());
        if let Some(walk) = &self.walk {
            walk.until.write(&mut out);
            match walk.at {
                WalkAt::Late(entry) => {
                    out.push(0);
                    out.extend_from_slice(&entry.to_be_bytes());
                }
                WalkAt::OnTime(None) => out.push(1),
                WalkAt::OnTime(Some((sent, hash))) => {
                    out.push(2);
                    out.extend_from_slice(&sent.0.to_be_bytes());
                    out.extend_from_slice(&hash.0);
                }
            }
        }
        out
    }

    /// Reads a position.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAPosition> {
        Self::read(bytes).ok_or(NotAPosition)
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let len = bytes.len();
        let rest = &mut bytes;
        let [version] = take(rest)?;
        if version != VERSION {
            return None;
        }
        let mut position = Self {
            archive: ArchiveTag(take(rest)?),
            since: HeadMark::read(rest)?,
            arrived: Arrived {
                run: u32::from_be_bytes(take(rest)?),
                count: u64::from_be_bytes(take(rest)?),
            },
            walk: None,
        };
        if len > REST_LEN {
            let until = HeadMark::read(rest)?;
            let at = match (take(rest)?, len) {
                ([0], LATE_LEN) => WalkAt::Late(u64::from_be_bytes(take(rest)?)),
                ([1], START_LEN) => WalkAt::OnTime(None),
                ([2], MAX_POSITION_LEN) => WalkAt::OnTime(Some((
                    UnixSeconds(u32::from_be_bytes(take(rest)?)),
                    EnvelopeHash(take(rest)?),
                ))),
                _ => return None,
            };
            if until.sequence <= position.since.sequence {
                return None;
            }
            position.walk = Some(Walk { until, at });
        }
        rest.is_empty().then_some(position)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

impl fmt::Display for Position {
    /// Its bytes in hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Decoding takes half as many bytes as there are digits.
        if text.len() > 2 * MAX_POSITION_LEN {
            return Err(NotAPosition);
        }
        let bytes = hex::decode(text).map_err(|_| NotAPosition)?;
        Self::from_bytes(&bytes)
    }
}
