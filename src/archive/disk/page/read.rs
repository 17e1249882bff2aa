//! Reads the envelopes that a page picked.
//!
//! Always true:
//! - A leaf is hashed the first time that anything of it is read since its part
//!   was opened. After that its envelopes are read alone, and told from any
//!   other bytes by the CRC-32C they had when the leaf was hashed: files of
//!   blocks are never written again once they have their name, so what a later
//!   read may find is damage, which the sum finds. Where it differs, the whole
//!   leaf is read and hashed again.
//! - Memory holds the page's bytes once, and one leaf.

use std::sync::Arc;

use bytes::Bytes;
use crc32c::crc32c;

use super::part::Part;
use super::{PageError, Reads, Stop};
use crate::archive::ArchiveError;
use crate::archive::disk::Archive;
use crate::archive::fresh::Pending;
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::archive::times::Entry;
use crate::blocks::Block;
use crate::journal::Location;
use crate::keccak::keccak256;
use crate::whisper::EnvelopeHash;

/// An envelope that a page takes, and where its bytes are.
pub(super) enum Pick {
    /// In a leaf.
    Sealed(Arc<Part>, Entry),
    /// In the journal.
    Waiting(Pending<Location>),
    /// Here.
    Read(Record),
}

/// The records of what was picked, in the same order.
pub(super) fn records(
    archive: &Archive,
    picks: Vec<Pick>,
    stop: &Stop,
) -> Result<(Vec<Record>, Reads), PageError> {
    let mut reading = Reading {
        archive,
        stop,
        leaf: None,
        reads: Reads::default(),
    };
    let sealed: usize = picks.iter().map(sealed_len).sum();
    let mut buffer = vec![0; sealed];
    let mut left = &mut buffer[..];
    let mut at = 0;
    while at < picks.len() {
        let run = run_from(&picks[at..]);
        let len: usize = picks[at..at + run].iter().map(sealed_len).sum();
        let (into, rest) = left.split_at_mut(len);
        left = rest;
        reading.fill(&picks[at..at + run], into)?;
        at += run;
    }
    let buffer = Bytes::from(buffer);
    let mut records = Vec::with_capacity(picks.len());
    let mut from = 0;
    let mut last_sealed = None;
    for pick in picks {
        records.push(match pick {
            Pick::Sealed(part, entry) => {
                let to = from + len_of(&entry);
                let bytes = buffer.slice(from..to);
                from = to;
                last_sealed = Some((part, records.len()));
                Record {
                    key: key_of(&entry),
                    bytes,
                }
            }
            Pick::Waiting(pending) => Record {
                key: pending.key,
                bytes: archive.read_waiting(pending.at)?,
            },
            Pick::Read(record) => record,
        });
    }
    // Cursors are made of hashes that the time file says. One is computed for
    // each page, so that a file that says others cannot last.
    if let Some((part, at)) = last_sealed {
        let record: &Record = &records[at];
        if EnvelopeHash(keccak256(&record.bytes)) != record.key.hash {
            return Err(PageError::Stale(part.segment()));
        }
    }
    Ok((records, reading.reads))
}

fn len_of(entry: &Entry) -> usize {
    usize::try_from(entry.len).unwrap_or(usize::MAX)
}

fn sealed_len(pick: &Pick) -> usize {
    match pick {
        Pick::Sealed(_, entry) => len_of(entry),
        Pick::Waiting(_) | Pick::Read(_) => 0,
    }
}

fn key_of(entry: &Entry) -> Key {
    Key {
        topic: entry.topic,
        sent: entry.sent,
        hash: entry.hash,
    }
}

/// How many picks from the first on lie one after the other in one leaf, as a
/// topic's do: they are read at once.
fn run_from(picks: &[Pick]) -> usize {
    let follows = |pair: &[Pick]| match pair {
        [Pick::Sealed(a, one), Pick::Sealed(b, next)] => {
            a.id == b.id && one.leaf == next.leaf && next.offset == one.offset + one.len
        }
        _ => false,
    };
    1 + picks.windows(2).take_while(|pair| follows(pair)).count()
}

struct Reading<'a> {
    archive: &'a Archive,
    stop: &'a Stop,
    /// The leaf that was hashed last, and its part and number.
    leaf: Option<(u64, u32, Block)>,
    reads: Reads,
}

impl Reading<'_> {
    /// Reads picks that lie one after the other.
    fn fill(&mut self, picks: &[Pick], into: &mut [u8]) -> Result<(), PageError> {
        let Some(Pick::Sealed(part, first)) = picks.first() else {
            return Ok(());
        };
        self.stop.check()?;
        if let Some(place) = part.found(first.leaf) {
            let folder = &self.archive.blocks.folder;
            let read = folder.read_part(place, first.offset, into);
            if read.is_ok() && are_right(picks, into) {
                self.reads.bytes += into.len() as u64;
                return Ok(());
            }
        }
        self.hash_leaf(part, first.leaf)?;
        let stale = || PageError::Stale(part.segment());
        let (_, _, block) = self.leaf.as_ref().ok_or_else(stale)?;
        let from = usize::try_from(first.offset).unwrap_or(usize::MAX);
        let bytes = block.bytes().get(from..).and_then(|b| b.get(..into.len()));
        into.copy_from_slice(bytes.ok_or_else(stale)?);
        if are_right(picks, into) {
            Ok(())
        } else {
            Err(stale())
        }
    }

    /// Reads and hashes a whole leaf.
    fn hash_leaf(&mut self, part: &Part, leaf: u32) -> Result<(), PageError> {
        let is_held = |(id, number, _): &(u64, u32, Block)| (*id, *number) == (part.id, leaf);
        if self.leaf.as_ref().is_some_and(is_held) {
            return Ok(());
        }
        let at = usize::try_from(leaf).unwrap_or(usize::MAX);
        let Some(entry) = part.directory.leaves.get(at) else {
            return Err(PageError::Stale(part.segment()));
        };
        let found = self.archive.blocks.folder.find(&entry.cid());
        let (block, place) = found.map_err(ArchiveError::from)?;
        part.note(at, place);
        self.reads.blocks += 1;
        self.reads.bytes += block.bytes().len() as u64;
        self.leaf = Some((part.id, leaf, block));
        Ok(())
    }
}

/// Whether the bytes of picks are those that were hashed.
fn are_right(picks: &[Pick], mut bytes: &[u8]) -> bool {
    picks.iter().all(|pick| {
        let Pick::Sealed(_, entry) = pick else {
            return false;
        };
        let Some((envelope, rest)) = bytes.split_at_checked(len_of(entry)) else {
            return false;
        };
        bytes = rest;
        crc32c(envelope) == entry.crc
    })
}
