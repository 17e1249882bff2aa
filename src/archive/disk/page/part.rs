//! One time file, open for reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::archive::times::{
    Directory, ENTRIES_IN_CHUNK, Entry, HEADER_LEN, POSTING_LEN, POSTINGS_IN_CHUNK, TimesError,
    directory_len,
};
use crate::blocks::{Cid, Place};

/// A part of a segment's times, and where its leaves were found right.
#[derive(Debug)]
pub(super) struct Part {
    /// Tells it from all others of this process.
    pub(super) id: u64,
    pub(super) directory: Directory,
    store: Store,
    /// Where each leaf lies, once it was read and hashed.
    found: Vec<OnceLock<Place>>,
}

#[derive(Debug)]
enum Store {
    File(File),
    Memory(Bytes),
}

/// What a chunk is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Entries,
    Postings,
}

impl Part {
    /// The part in a file; nothing but its directory is looked at.
    pub(super) fn open(id: u64, file: File) -> io::Result<Result<Self, TimesError>> {
        let file_len = file.metadata()?.len();
        let mut header = [0; HEADER_LEN];
        if file_len < HEADER_LEN as u64 {
            return Ok(Err(TimesError("shorter than its header")));
        }
        file.read_exact_at(&mut header, 0)?;
        let len = match directory_len(&header, file_len) {
            Ok(len) => len,
            Err(error) => return Ok(Err(error)),
        };
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Directory::decode(&bytes).map(|directory| Self::new(id, directory, Store::File(file))))
    }

    /// The part in these bytes, which were just made.
    pub(super) fn in_memory(id: u64, bytes: Vec<u8>) -> Result<Self, TimesError> {
        let len = directory_len(&bytes, bytes.len() as u64)?;
        let directory = Directory::decode(&bytes[..len])?;
        Ok(Self::new(id, directory, Store::Memory(bytes.into())))
    }

    fn new(id: u64, directory: Directory, store: Store) -> Self {
        let found = directory.leaves.iter().map(|_| OnceLock::new()).collect();
        Self {
            id,
            directory,
            store,
            found,
        }
    }

    /// The segment it is about.
    pub(super) fn segment(&self) -> Cid {
        self.directory.segment
    }

    /// Bytes it takes in memory, about; an open file counts for some.
    pub(super) fn weight(&self) -> usize {
        /// So that a cache of 16 MiB holds 256 files open at most.
        const FILE: usize = 64 << 10;
        match &self.store {
            Store::File(_) => self.directory.weight().max(FILE),
            Store::Memory(bytes) => self.directory.weight() + bytes.len(),
        }
    }

    /// The bytes of a chunk that are kept in memory anyway.
    pub(super) fn chunk_in_memory(&self, kind: Kind, chunk: u32) -> Option<Bytes> {
        let (at, len) = self.place_of(kind, chunk);
        match &self.store {
            Store::File(_) => None,
            Store::Memory(bytes) => {
                let at = usize::try_from(at).ok()?;
                Some(bytes.slice(at..at + len))
            }
        }
    }

    /// Reads and checks a chunk; `None` where it is damaged or unreadable.
    pub(super) fn read_chunk(&self, kind: Kind, chunk: u32) -> Option<Bytes> {
        let Store::File(file) = &self.store else {
            return self.chunk_in_memory(kind, chunk);
        };
        let (at, len) = self.place_of(kind, chunk);
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at).ok()?;
        let vouched = match kind {
            Kind::Entries => self.directory.vouches_entries(chunk, &bytes),
            Kind::Postings => self.directory.vouches_postings(chunk, &bytes),
        };
        vouched.then(|| bytes.into())
    }

    fn place_of(&self, kind: Kind, chunk: u32) -> (u64, usize) {
        match kind {
            Kind::Entries => self.directory.entry_chunk(chunk),
            Kind::Postings => self.directory.posting_chunk(chunk),
        }
    }

    /// Where a leaf was found right.
    pub(super) fn found(&self, leaf: u32) -> Option<&Place> {
        self.found.get(usize::try_from(leaf).ok()?)?.get()
    }

    /// Notes where a leaf was found right.
    pub(super) fn note(&self, leaf: usize, place: Place) {
        if let Some(found) = self.found.get(leaf) {
            // Whoever was first found it right as well.
            let _ = found.set(place);
        }
    }
}

/// The chunk that a number's entry or posting is in, and its number there.
pub(super) fn chunk_of(kind: Kind, at: u32) -> (u32, u32) {
    let width = match kind {
        Kind::Entries => ENTRIES_IN_CHUNK,
        Kind::Postings => POSTINGS_IN_CHUNK,
    };
    (at / width, at % width)
}

/// Entry `at` of a chunk.
pub(super) fn entry_in(chunk: &[u8], at: u32) -> Option<Entry> {
    Entry::in_chunk(chunk, at)
}

/// Posting `at` of a chunk.
pub(super) fn posting_in(chunk: &[u8], at: u32) -> Option<u32> {
    let start = usize::try_from(at).ok()?.checked_mul(POSTING_LEN)?;
    let bytes = chunk.get(start..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}
