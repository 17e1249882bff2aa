//! One table: a file of sorted entries, in blocks with a checksum each.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::block::{Entries, Fault};
use super::bytes::{length, varint};
use super::records::checksum;

/// Bytes at the end of a table: two handles, room, and [`MAGIC`].
const FOOTER: usize = 48;

/// What a table ends with.
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// Bytes behind a block: how it is compressed, and its checksum.
const TRAILER: usize = 5;

/// Largest block taken, in bytes, compressed or not: it holds an envelope of 10
/// MiB, the ceiling that Whisper itself sets, and what surrounds it.
const MAX_BLOCK: usize = 16 << 20;

/// What is wrong, and where in the file.
#[derive(Debug)]
pub(super) enum TableFault {
    /// A part of the table is damaged; the rest can be read.
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: Fault,
    },
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for TableFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a version of a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It has this value.
    Put(Bytes),
    /// It is gone.
    Deleted,
}

/// A version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: Vec<u8>,
    /// Later ones are greater.
    pub(super) sequence: u64,
    pub(super) said: Said,
}

impl Version {
    /// Reads what tables keep: the key, and behind it sequence number and kind.
    fn of(internal: &[u8], value: Bytes) -> Result<Self, Fault> {
        let (key, tail) = internal
            .split_last_chunk::<8>()
            .ok_or("a key without a sequence number")?;
        let tail = u64::from_le_bytes(*tail);
        let said = match tail & 0xff {
            0 => Said::Deleted,
            1 => Said::Put(value),
            _ => return Err("a key of no known kind"),
        };
        Ok(Self {
            key: key.to_vec(),
            sequence: tail >> 8,
            said,
        })
    }
}

/// Where a block lies.
#[derive(Clone, Copy, Debug)]
struct Handle {
    offset: u64,
    len: usize,
}

impl Handle {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            offset: varint(bytes)?,
            len: length(bytes)?,
        })
    }
}

/// Goes through a table, block by block. Memory: its index and one block.
#[derive(Debug)]
pub(super) struct TableReader {
    file: File,
    bytes: u64,
    index: Entries,
    block: Option<(u64, Entries)>,
}

impl TableReader {
    /// Opens the table at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, TableFault> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let end = bytes
            .checked_sub(FOOTER as u64)
            .ok_or(TableFault::Damaged {
                offset: 0,
                what: "a table shorter than its footer",
            })?;
        let damaged = |what| TableFault::Damaged { offset: end, what };
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, end)?;
        if !footer.ends_with(&MAGIC.to_le_bytes()) {
            return Err(damaged("no table ends here"));
        }
        let mut handles = &footer[..];
        // The first is of filters, which are of no use to who reads everything.
        let index = Handle::read(&mut handles)
            .and_then(|_| Handle::read(&mut handles))
            .ok_or(damaged("a footer without an index"))?;
        let index = Entries::new(block(&file, bytes, index)?).map_err(damaged)?;
        Ok(Self {
            file,
            bytes,
            index,
            block: None,
        })
    }

    /// Bytes of memory that it holds.
    pub(super) fn held(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |(_, block)| block.held());
        self.index.held() + block
    }

    /// The next version, or what is damaged before it. A damaged block is passed
    /// over.
    pub(super) fn next(&mut self) -> Result<Option<Version>, TableFault> {
        loop {
            if let Some((offset, entries)) = &mut self.block {
                let offset = *offset;
                let damaged = |what| TableFault::Damaged { offset, what };
                match entries.next().map_err(damaged) {
                    Ok(Some((key, value))) => {
                        return Version::of(key, value).map(Some).map_err(damaged);
                    }
                    Ok(None) => self.block = None,
                    Err(fault) => {
                        self.block = None;
                        return Err(fault);
                    }
                }
            }
            let damaged = |what| TableFault::Damaged {
                offset: self.bytes.saturating_sub(FOOTER as u64),
                what,
            };
            let Some((_, handle)) = self.index.next().map_err(damaged)? else {
                return Ok(None);
            };
            let handle =
                Handle::read(&mut &handle[..]).ok_or(damaged("an index entry of no block"))?;
            let entries = block(&self.file, self.bytes, handle)?;
            let entries = Entries::new(entries).map_err(|what| TableFault::Damaged {
                offset: handle.offset,
                what,
            })?;
            self.block = Some((handle.offset, entries));
        }
    }
}

/// Reads a block, checks it, and inflates it.
fn block(file: &File, bytes: u64, handle: Handle) -> Result<Bytes, TableFault> {
    let Handle { offset, len } = handle;
    let damaged = |what| TableFault::Damaged { offset, what };
    if len > MAX_BLOCK {
        return Err(damaged("a block longer than any of a mailserver"));
    }
    let end = offset.checked_add((len + TRAILER) as u64);
    if end.is_none_or(|end| end > bytes) {
        return Err(damaged("a block that ends behind its file"));
    }
    let mut block = vec![0; len + TRAILER];
    file.read_exact_at(&mut block, offset)?;
    unpack(block).map_err(damaged)
}

/// Checks a block by what follows it, and inflates it.
pub(super) fn unpack(mut block: Vec<u8>) -> Result<Bytes, Fault> {
    let len = block
        .len()
        .checked_sub(TRAILER)
        .ok_or("a block shorter than its checksum")?;
    let (checked, stored) = block.split_at(len + 1);
    if stored != checksum(&[checked]).to_le_bytes() {
        return Err("a block whose checksum is wrong");
    }
    let kind = checked[len];
    block.truncate(len);
    match kind {
        0 => Ok(block.into()),
        1 => snap::raw::decompress_len(&block)
            .ok()
            .filter(|len| *len <= MAX_BLOCK)
            .and_then(|_| snap::raw::Decoder::new().decompress_vec(&block).ok())
            .map(Bytes::from)
            .ok_or("a block that does not inflate"),
        _ => Err("a block compressed in a way that is not known"),
    }
}
