//! Reads the envelopes that a page picked.
//!
//! Always true:
//! - A leaf is hashed the first time that anything of it is read since its part
//!   was opened. After that its envelopes are read alone, and told from any
//!   other bytes by the CRC-32C they had when the leaf was hashed: files of
//!   blocks are never written again once they have their name, so what a later
//!   read may find is damage, which the sum finds. Where it differs, the whole
//!   leaf is read and hashed again.
//! - Envelopes that lie near one another are read at once, whatever their order
//!   in the page.
//! - A leaf that was evicted is fetched whole from the depot and hashed, with those
//!   that the page reads next; what was fetched is kept for the pages that follow.
//! - Memory holds the page's bytes once, two leaves, and what is read ahead.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crc32c::crc32c;

use super::ahead::{Ahead, Stretch};
use super::part::{Kind, Part, chunk_of, entry_in};
use super::{PageError, Reads, Stop};
use crate::archive::ArchiveError;
use crate::archive::disk::Archive;
use crate::archive::disk::blocks::FETCHED_AT_ONCE;
use crate::archive::fresh::Pending;
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::archive::times::Entry;
use crate::blocks::{Block, Cid};
use crate::journal::Location;
use crate::keccak::keccak256;
use crate::whisper::EnvelopeHash;

/// Bytes between two wanted envelopes of a leaf that are read along with them:
/// copying them takes less time than asking the system once more.
const READ_ALONG: u32 = 4 << 10;

/// An envelope that a page takes, and where its bytes are.
pub(super) enum Pick {
    /// In a leaf.
    Sealed(Lying),
    /// In the journal.
    Waiting(Pending<Location>),
    /// Here.
    Read(Record),
}

/// An envelope in a leaf.
pub(super) struct Lying {
    pub(super) part: Arc<Part>,
    pub(super) entry: Entry,
    /// The entry's number, if all entries around it are wanted too.
    pub(super) number: Option<u32>,
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
        next: Vec::new(),
        scratch: Vec::new(),
        reads: Reads::default(),
    };
    let sealed: usize = picks.iter().map(sealed_len).sum();
    let mut buffer = vec![0; sealed];
    reading.fill_all(&picks, &mut buffer)?;
    let buffer = Bytes::from(buffer);
    let mut records = Vec::with_capacity(picks.len());
    let mut from = 0;
    let mut last_sealed = None;
    for pick in picks {
        records.push(match pick {
            Pick::Sealed(Lying { part, entry, .. }) => {
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
        Pick::Sealed(lying) => len_of(&lying.entry),
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

/// An envelope to be read, and where in the answer it comes.
#[derive(Clone, Copy)]
struct Want<'a> {
    part: &'a Part,
    entry: Entry,
    to: usize,
}

impl Want<'_> {
    fn lies_at(&self) -> (u64, u32, u32) {
        (self.part.id, self.entry.leaf, self.entry.offset)
    }

    fn target(&self) -> Range<usize> {
        self.to..self.to + len_of(&self.entry)
    }

    /// Whether these are the bytes that were hashed.
    fn is_right(&self, bytes: &[u8]) -> bool {
        crc32c(bytes) == self.entry.crc
    }

    /// Whether `next` lies after this one in the same leaf, with at most `gap`
    /// bytes in between.
    fn is_near(&self, next: &Self, gap: u32) -> bool {
        let same_leaf = self.lies_at().0 == next.lies_at().0 && self.entry.leaf == next.entry.leaf;
        let between = next
            .entry
            .offset
            .checked_sub(self.entry.offset)
            .and_then(|distance| distance.checked_sub(self.entry.len));
        same_leaf && between.is_some_and(|between| between <= gap)
    }
}

/// Entries of a part that are read together, and how many of them a page takes.
struct Around<'a> {
    part: &'a Part,
    entries: Range<u32>,
    taken: usize,
    read: Option<Arc<Stretch>>,
}

struct Reading<'a> {
    archive: &'a Archive,
    stop: &'a Stop,
    /// The leaf that was hashed last, and its part and number.
    leaf: Option<(u64, u32, Block)>,
    /// Leaves that are read next and were not found on this disk before, the last one
    /// first.
    next: Vec<Cid>,
    /// A stretch of a leaf.
    scratch: Vec<u8>,
    reads: Reads,
}

impl Reading<'_> {
    /// Fills `into` with all that lies in leaves, in the order of the page.
    fn fill_all(&mut self, picks: &[Pick], into: &mut [u8]) -> Result<(), PageError> {
        let ahead = self.ahead(picks)?;
        let mut wants = Vec::new();
        let mut to = 0;
        for pick in picks {
            let Pick::Sealed(lying) = pick else {
                continue;
            };
            let (part, entry) = (&*lying.part, lying.entry);
            let want = Want { part, entry, to };
            to = want.target().end;
            let read = lying.number.and_then(|number| {
                let mut ahead = ahead.iter();
                let around = ahead.find(|around| around.has(part, number))?;
                around.read.as_ref()?.of(number)
            });
            match read {
                Some(bytes) if bytes.len() == len_of(&entry) => {
                    into[want.target()].copy_from_slice(bytes);
                }
                _ => wants.push(want),
            }
        }
        self.gather(&mut wants, into)
    }

    /// The stretches that the picks are in, read if that is worth while.
    fn ahead<'p>(&mut self, picks: &'p [Pick]) -> Result<Vec<Around<'p>>, PageError> {
        let kept = &self.archive.pages.ahead;
        let mut all: Vec<Around<'_>> = Vec::new();
        for pick in picks {
            let Pick::Sealed(lying) = pick else {
                continue;
            };
            let (part, Some(number)) = (&*lying.part, lying.number) else {
                continue;
            };
            if let Some(around) = all.iter_mut().find(|around| around.has(part, number)) {
                around.taken += 1;
            } else if let Some(entries) = kept.around(part, number) {
                all.push(Around {
                    part,
                    entries,
                    taken: 1,
                    read: None,
                });
            }
        }
        for around in &mut all {
            let (part, first) = (around.part, around.entries.start);
            around.read = kept.kept_at(part, first);
            if around.read.is_none() && Ahead::is_worth(&around.entries, around.taken) {
                let read = || self.stretch(part, around.entries.clone());
                around.read = match kept.read_at(part, first, read) {
                    Ok(read) => read,
                    Err(PageError::Stopped) => return Err(PageError::Stopped),
                    // Damage beyond the page does not keep the page from being
                    // read; damage in it is met again.
                    Err(_) => None,
                };
            }
        }
        Ok(all)
    }

    /// Reads a stretch; `None` where it is too large.
    fn stretch(&mut self, part: &Part, entries: Range<u32>) -> Result<Option<Stretch>, PageError> {
        let times = &self.archive.pages.times;
        let stale = || PageError::Stale(part.segment());
        let mut wants = Vec::with_capacity(entries.len());
        let mut bounds = Vec::with_capacity(entries.len() + 1);
        let mut to = 0;
        let mut held: Option<(u32, Bytes)> = None;
        for number in entries.clone() {
            let (chunk, at) = chunk_of(Kind::Entries, number);
            if held.as_ref().is_none_or(|(held, _)| *held != chunk) {
                held = Some((chunk, times.chunk(part, Kind::Entries, chunk)?));
            }
            let entry = held.as_ref().and_then(|(_, bytes)| entry_in(bytes, at));
            let want = Want {
                part,
                entry: entry.ok_or_else(stale)?,
                to,
            };
            bounds.push(to);
            to = want.target().end;
            if !Ahead::fits(to) {
                return Ok(None);
            }
            wants.push(want);
        }
        bounds.push(to);
        let mut bytes = vec![0; to];
        self.gather(&mut wants, &mut bytes)?;
        Ok(Some(Stretch::new(entries.start, bounds, bytes)))
    }

    /// Reads what is wanted in the order in which it lies.
    fn gather(&mut self, wants: &mut [Want<'_>], into: &mut [u8]) -> Result<(), PageError> {
        wants.sort_unstable_by_key(Want::lies_at);
        self.next = self.to_fetch(wants);
        for near in wants.chunk_by(|one, next| one.is_near(next, READ_ALONG)) {
            self.stop.check()?;
            if self.read_near(near, into).is_none() {
                for want in near {
                    self.read_hashed(want, into)?;
                }
            }
        }
        Ok(())
    }

    /// The leaves that may have to be fetched, in the order in which they are read, the
    /// last one first; none where all are on this disk.
    fn to_fetch(&self, wants: &[Want<'_>]) -> Vec<Cid> {
        if !self.archive.blocks.has_evicted() {
            return Vec::new();
        }
        let mut leaves: Vec<Cid> = Vec::new();
        for want in wants {
            let at = usize::try_from(want.entry.leaf).unwrap_or(usize::MAX);
            let leaf = want.part.directory.leaves.get(at);
            if let Some(leaf) = leaf.map(|leaf| leaf.cid())
                && want.part.found(want.entry.leaf).is_none()
                && leaves.last() != Some(&leaf)
            {
                leaves.push(leaf);
            }
        }
        leaves.reverse();
        leaves
    }

    /// Fetches a leaf that is not on this disk together with those that follow.
    fn fetch_ahead(&mut self, leaf: &Cid) -> Result<(), PageError> {
        let Some(at) = self.next.iter().rposition(|next| next == leaf) else {
            return Ok(());
        };
        self.next.truncate(at + 1);
        let some = self.next.iter().rev().take(FETCHED_AT_ONCE);
        let some: Vec<Cid> = some.copied().collect();
        Ok(self.archive.blocks.fetch_ahead(&some)?)
    }

    /// Reads what lies near one another at once, where its leaf was found right
    /// before; `None` if that cannot be or any of it is not what was hashed.
    fn read_near(&mut self, near: &[Want<'_>], into: &mut [u8]) -> Option<()> {
        let (first, last) = (near.first()?, near.last()?);
        let start = first.entry.offset;
        let place = first.part.found(first.entry.leaf)?;
        let folder = &self.archive.blocks.folder;
        let touches = |pair: &[Want<'_>]| match pair {
            [one, next] => one.is_near(next, 0) && one.target().end == next.to,
            _ => false,
        };
        if near.windows(2).all(touches) {
            // As a topic's do, which go where they belong at once.
            let bytes = into.get_mut(first.to..last.target().end)?;
            folder.read_part(place, start, bytes).ok()?;
            self.reads.bytes += bytes.len() as u64;
            let mut vouched = near.iter().map(|want| want.is_right(&into[want.target()]));
            return vouched.all(|right| right).then_some(());
        }
        let len = last.entry.offset.checked_add(last.entry.len)? - start;
        self.scratch.resize(usize::try_from(len).ok()?, 0);
        folder.read_part(place, start, &mut self.scratch).ok()?;
        self.reads.bytes += u64::from(len);
        for want in near {
            let from = usize::try_from(want.entry.offset - start).ok()?;
            let bytes = self.scratch.get(from..from + len_of(&want.entry))?;
            if !want.is_right(bytes) {
                return None;
            }
            into[want.target()].copy_from_slice(bytes);
        }
        Some(())
    }

    /// Takes an envelope from its whole leaf, hashed.
    fn read_hashed(&mut self, want: &Want<'_>, into: &mut [u8]) -> Result<(), PageError> {
        let Want { part, entry, .. } = want;
        self.hash_leaf(part, entry.leaf)?;
        let stale = || PageError::Stale(part.segment());
        let (_, _, block) = self.leaf.as_ref().ok_or_else(stale)?;
        let from = usize::try_from(entry.offset).unwrap_or(usize::MAX);
        let bytes = block
            .bytes()
            .get(from..)
            .and_then(|b| b.get(..len_of(entry)));
        let bytes = bytes
            .filter(|bytes| want.is_right(bytes))
            .ok_or_else(stale)?;
        into[want.target()].copy_from_slice(bytes);
        Ok(())
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
        let cid = entry.cid();
        self.fetch_ahead(&cid)?;
        let found = self.archive.blocks.find(&cid);
        let (block, place) = found.map_err(ArchiveError::from)?;
        if let Some(place) = place {
            part.note(at, place);
        }
        self.reads.blocks += 1;
        self.reads.bytes += block.bytes().len() as u64;
        self.leaf = Some((part.id, leaf, block));
        Ok(())
    }
}

impl Around<'_> {
    fn has(&self, part: &Part, number: u32) -> bool {
        self.part.id == part.id && self.entries.contains(&number)
    }
}
