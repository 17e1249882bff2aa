//! The list of what came late: under which head each envelope was sealed that
//! was sent before what had been sealed already.
//!
//! Always true:
//! - The entries of a head are durable before the head is. What a crash left of
//!   a head that was never stored is cut off when the list is opened.
//! - Entries lie in the order of heads, and within a head by (sent, hash).
//! - A list that cannot be trusted from some head on says so: whoever stands
//!   before that head is told, and never passed over in silence.
//! - It holds [`MAX_ENTRIES`] entries at most; the oldest half goes first.
//!
//! File `late.list`: slots of 45 bytes, `kind (1) | body (40) | CRC-32C (4)`.
//! Kind 0, first in the file: number of the first entry, mark of the head before
//! it. Kind 1: the key of a late envelope. Kind 2: the mark of the head that the
//! entries before belong to. Entries are numbered through the life of the
//! archive, those of kind 2 among them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{HeadMark, take};
use crate::archive::head::Head;
use crate::archive::key::{KEY_LEN, Key};
use crate::durable;

/// Name of the file.
const FILE: &str = "late.list";

/// Entries kept: 45 MiB of file. A hundred thousand heads of a year take a tenth.
pub const MAX_ENTRIES: u64 = 1 << 20;

const SLOT: usize = 1 + KEY_LEN + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    First { entry: u64, from: HeadMark },
    Late(Key),
    Head(HeadMark),
}

impl Slot {
    fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Self::First { entry, from } => {
                out.push(0);
                out.extend_from_slice(&entry.to_be_bytes());
                from.write(out);
            }
            Self::Late(key) => {
                out.push(1);
                out.extend_from_slice(&key.to_bytes());
            }
            Self::Head(mark) => {
                out.push(2);
                mark.write(out);
            }
        }
        out.resize(start + 1 + KEY_LEN, 0);
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }

    /// `None` where the bytes were not written as they are.
    fn read(bytes: &[u8; SLOT]) -> Option<Self> {
        let (said, crc) = bytes.split_at(SLOT - 4);
        if crc32c::crc32c(said).to_be_bytes() != crc {
            return None;
        }
        let (kind, mut body) = said.split_first()?;
        match kind {
            0 => Some(Self::First {
                entry: u64::from_be_bytes(take(&mut body)?),
                from: HeadMark::read(&mut body)?,
            }),
            1 => Some(Self::Late(Key::from_bytes(take(&mut body)?))),
            2 => HeadMark::read(&mut body).map(Self::Head),
            _ => None,
        }
    }
}

/// A head in the list, and the number of the first entry after its own.
#[derive(Clone, Copy, Debug)]
struct Listed {
    mark: HeadMark,
    end: u64,
}

/// The list.
#[derive(Debug)]
pub struct LateList {
    path: PathBuf,
    /// `None` after it could not be written; it is then begun anew.
    file: Option<File>,
    /// Number of the first entry.
    first: u64,
    /// The head before the first entry: what came late in it is not listed.
    from: HeadMark,
    heads: Vec<Listed>,
    /// Lower in tests.
    max_entries: u64,
}

/// What is known of a head that a position names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything since is listed.
    Listed,
    /// The list begins after it.
    TooOld,
    /// There was another head of its number.
    Another,
}

impl LateList {
    /// Opens the list of the archive in `dir` whose current head is `current`.
    /// Begins a new one where there is none that reaches up to it.
    pub fn open(dir: &Path, current: Option<&Head>) -> Self {
        let path = dir.join(FILE);
        let current = current.map(HeadMark::of).unwrap_or_default();
        let mut list = Self {
            path,
            file: None,
            first: 0,
            from: current,
            heads: Vec::new(),
            max_entries: MAX_ENTRIES,
        };
        match list.load(current) {
            Ok(true) => {}
            Ok(false) => list.begin(current),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %list.path.display(), %error, "what came late is listed anew");
                }
                list.begin(current);
            }
        }
        list
    }

    /// Reads the file; false where it does not reach up to `current`.
    fn load(&mut self, current: HeadMark) -> io::Result<bool> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let mut reader = io::BufReader::with_capacity(1 << 16, &file);
        let mut bytes = [0; SLOT];
        let mut next = || -> io::Result<Option<Slot>> {
            match reader.read_exact(&mut bytes) {
                Ok(()) => Ok(Slot::read(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(Slot::First { entry, from }) = next()? else {
            return Ok(false);
        };
        (self.first, self.from) = (entry, from);
        let mut number = entry;
        while let Some(slot) = next()? {
            number += 1;
            match slot {
                Slot::First { .. } => break,
                Slot::Late(_) => {}
                // A head that was never stored.
                Slot::Head(mark) if mark.sequence > current.sequence => break,
                Slot::Head(mark) => self.heads.push(Listed { mark, end: number }),
            }
        }
        if self.last() != current {
            return Ok(false);
        }
        file.set_len(self.offset(self.end()))?;
        file.sync_all()?;
        self.file = Some(file);
        Ok(true)
    }

    /// Forgets what there is: whoever stands before `from` is too old.
    fn begin(&mut self, from: HeadMark) {
        // Numbers are never used again, so that no old position fits by chance.
        self.first = self.end();
        self.from = from;
        self.heads.clear();
        let mut bytes = Vec::new();
        self.head_slot().write(&mut bytes);
        self.file = self.rewrite(&bytes);
    }

    fn head_slot(&self) -> Slot {
        Slot::First {
            entry: self.first,
            from: self.from,
        }
    }

    fn rewrite(&self, bytes: &[u8]) -> Option<File> {
        let written = durable::replace_file(&self.path, bytes)
            .and_then(|()| OpenOptions::new().read(true).write(true).open(&self.path));
        written
            .inspect_err(|error| {
                tracing::warn!(file = %self.path.display(), %error, "what comes late is not listed");
            })
            .ok()
    }

    fn last(&self) -> HeadMark {
        self.heads.last().map_or(self.from, |listed| listed.mark)
    }

    fn end(&self) -> u64 {
        self.heads.last().map_or(self.first, |listed| listed.end)
    }

    fn offset(&self, entry: u64) -> u64 {
        (1 + entry.saturating_sub(self.first)) * SLOT as u64
    }

    /// Begins anew behind `head`, of which it is not known what came late in it.
    pub fn restart(&mut self, head: &Head) {
        self.begin(HeadMark::of(head));
    }

    /// Notes durably what came late in `head`, which is about to be stored. Where
    /// that fails the list begins anew behind it.
    pub fn append(&mut self, head: &Head, mut late: Vec<Key>) {
        let mark = HeadMark::of(head);
        // A head that could not be stored gives way to the next of its number.
        while self
            .heads
            .pop_if(|listed| listed.mark.sequence >= mark.sequence)
            .is_some()
        {}
        if self.last().sequence + 1 != mark.sequence || late.len() as u64 >= self.max_entries {
            return self.begin(mark);
        }
        late.sort_unstable_by_key(|key| (key.sent, key.hash));
        let mut bytes = Vec::with_capacity((late.len() + 1) * SLOT);
        late.iter()
            .for_each(|key| Slot::Late(*key).write(&mut bytes));
        Slot::Head(mark).write(&mut bytes);
        let (at, count) = (self.offset(self.end()), late.len() as u64 + 1);
        let written = match &self.file {
            None => return self.begin(mark),
            Some(file) => file
                .set_len(at)
                .and_then(|()| file.write_all_at(&bytes, at))
                .and_then(|()| file.sync_data()),
        };
        if let Err(error) = written {
            tracing::warn!(file = %self.path.display(), %error, "what came late is listed anew");
            return self.begin(mark);
        }
        let end = self.end() + count;
        self.heads.push(Listed { mark, end });
        if end - self.first > self.max_entries {
            self.prune();
        }
    }

    /// Drops the oldest heads until half of what may be is left.
    fn prune(&mut self) {
        let keep_from = self.end().saturating_sub(self.max_entries / 2);
        let gone = self.heads.partition_point(|listed| listed.end <= keep_from);
        let Some(last_gone) = gone.checked_sub(1).map(|at| self.heads[at]) else {
            return;
        };
        let bytes = self
            .read_slots(last_gone.end, self.end())
            .inspect_err(|error| {
                tracing::warn!(file = %self.path.display(), %error, "what came late is listed anew");
            });
        let Ok(kept) = bytes else {
            return self.begin(self.last());
        };
        self.heads.drain(..gone);
        (self.first, self.from) = (last_gone.end, last_gone.mark);
        let mut bytes = Vec::with_capacity(kept.len() + SLOT);
        self.head_slot().write(&mut bytes);
        bytes.extend_from_slice(&kept);
        self.file = self.rewrite(&bytes);
        if self.file.is_none() {
            self.begin(self.last());
        }
    }

    fn read_slots(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let (start, end) = (self.offset(from), self.offset(to));
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// How a head of a position stands to this list. The head is not above the
    /// archive's.
    pub fn standing(&self, mark: HeadMark) -> Standing {
        let listed = match mark.sequence.checked_sub(self.from.sequence) {
            None => return Standing::TooOld,
            Some(0) => Some(self.from),
            Some(nth) => usize::try_from(nth - 1)
                .ok()
                .and_then(|at| self.heads.get(at))
                .map(|listed| listed.mark),
        };
        if listed == Some(mark) {
            Standing::Listed
        } else {
            Standing::Another
        }
    }

    /// The numbers of the entries of the heads after `since` up to `until`.
    pub fn entries(&self, since: HeadMark, until: HeadMark) -> std::ops::Range<u64> {
        let end = |mark: HeadMark| match mark.sequence.checked_sub(self.from.sequence + 1) {
            None => self.first,
            Some(nth) => usize::try_from(nth)
                .ok()
                .and_then(|at| self.heads.get(at))
                .map_or(self.end(), |listed| listed.end),
        };
        end(since)..end(until)
    }

    /// What came late by the entries of `range`, at most `limit` of which are
    /// looked at: each with its number.
    pub fn read(&self, range: std::ops::Range<u64>, limit: u64) -> io::Result<Vec<(u64, Key)>> {
        let from = range.start.max(self.first);
        let to = range.end.min(self.end()).min(from.saturating_add(limit));
        if from >= to {
            return Ok(Vec::new());
        }
        let bytes = self.read_slots(from, to)?;
        let mut late = Vec::new();
        for (number, slot) in (from..).zip(bytes.chunks_exact(SLOT)) {
            let slot = slot.first_chunk().and_then(Slot::read);
            match slot.ok_or(io::ErrorKind::InvalidData)? {
                Slot::Late(key) => late.push((number, key)),
                Slot::First { .. } | Slot::Head(_) => {}
            }
        }
        Ok(late)
    }

    #[cfg(test)]
    pub fn keep_at_most(&mut self, entries: u64) {
        self.max_entries = entries;
    }
}
