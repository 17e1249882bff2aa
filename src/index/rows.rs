//! How rows are spelled, and how lost or bent ones are noticed.
//!
//! ```text
//! multicodec (1) | digest, bytes 0 to 16 (17) | file id (4)
//!     ->  offset (5) | length (3) | digest, bytes 17 to 30 (14)
//! f | name  ->  file id (4) | length (8) | modified (8) | rows (8) | sum (8)
//! v  ->  version of this layout (1)
//! ```
//! Numbers are big-endian, so that keys sort as numbers do. Keys and values of
//! blocks have 22 bytes, the most that sled keeps without an allocation for each.
//! So the digest goes without its last byte: 248 bits are as unforgeable as 256,
//! and whoever reads the block hashes it.

use std::collections::BTreeMap;

use cid::Cid;

use super::store::Store;
use super::{BlockAt, FileId, FileMark, IndexError, Location};
use crate::blocks::{check_cid, digest_of};

/// Version of the layout above.
pub(super) const VERSION: u8 = 1;
/// Key of the version.
pub(super) const VERSION_KEY: &[u8] = b"v";
/// First byte of file keys.
pub(super) const FILE: u8 = b'f';
/// First bytes of block keys: the multicodecs of raw and DAG-CBOR.
pub(super) const BLOCKS: [u8; 2] = [0x55, 0x71];

/// Longest file whose blocks are indexed, in bytes: offsets have 40 bits.
const MAX_OFFSET: u64 = (1 << 40) - 1;
/// Longest block indexed, in bytes: lengths have 24 bits, blocks at most 2 MiB.
const MAX_LEN: u32 = (1 << 24) - 1;

/// Bytes of what all rows of one block start with.
const PREFIX: usize = 18;
/// Bytes of the digest in a key.
const IN_KEY: usize = PREFIX - 1;
/// Bytes of the digest in a value.
const IN_VALUE: usize = 14;

/// Key of a block row.
pub(super) type BlockKey = [u8; PREFIX + 4];
/// Value of a block row.
pub(super) type BlockValue = [u8; 8 + IN_VALUE];
/// Value of a file row.
pub(super) type FileValue = [u8; 36];

/// Number and sum of a file's block rows. The sum does not depend on order; it
/// is there for accidents, not for enemies, who could as well bend the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many rows.
    pub(super) rows: u64,
    /// Sum of their CRC-32C.
    pub(super) sum: u64,
}

impl Tally {
    pub(super) fn of(rows: &[(BlockKey, BlockValue)]) -> Self {
        let mut tally = Self::default();
        for (key, value) in rows {
            tally.add(key, value);
        }
        tally
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        let crc = crc32c::crc32c_append(crc32c::crc32c(key), value);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u64::from(crc));
    }
}

/// A file row, read.
pub(super) struct About {
    pub(super) id: FileId,
    pub(super) mark: FileMark,
    pub(super) tally: Tally,
}

/// How the rows of one block are found and told from others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    /// What their keys start with.
    pub(super) prefix: [u8; PREFIX],
    /// What their values end with.
    rest: [u8; IN_VALUE],
}

impl Sought {
    /// `None` for a CID that is never indexed.
    pub(super) fn of(cid: &Cid) -> Option<Self> {
        let codec = check_cid(cid).ok()?;
        let digest = digest_of(cid).ok()?;
        let mut sought = Self {
            prefix: [0; PREFIX],
            rest: [0; IN_VALUE],
        };
        sought.prefix[0] = u8::try_from(codec.code()).ok()?;
        sought.prefix[1..].copy_from_slice(&digest[..IN_KEY]);
        sought
            .rest
            .copy_from_slice(&digest[IN_KEY..IN_KEY + IN_VALUE]);
        Some(sought)
    }

    /// The key of the block in one file.
    pub(super) fn key(&self, id: FileId) -> BlockKey {
        let mut key = [0; PREFIX + 4];
        key[..PREFIX].copy_from_slice(&self.prefix);
        key[PREFIX..].copy_from_slice(&id.0.to_be_bytes());
        key
    }

    /// Reads a row found under the prefix: the place of the block, or nothing
    /// where it is of another block.
    pub(super) fn location(
        &self,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Location>, IndexError> {
        let broken = || super::failed("a block row makes no sense");
        let file = file_of(key).ok_or_else(broken)?;
        let value: &BlockValue = value.try_into().map_err(|_| broken())?;
        if value[8..] != self.rest {
            return Ok(None);
        }
        let mut offset = [0; 8];
        offset[3..].copy_from_slice(&value[..5]);
        let mut len = [0; 4];
        len[1..].copy_from_slice(&value[5..8]);
        Ok(Some(Location {
            file,
            offset: u64::from_be_bytes(offset),
            len: u32::from_be_bytes(len),
        }))
    }
}

/// The row of one block in one file; `None` where it cannot be indexed.
pub(super) fn block_row(block: &BlockAt, id: FileId) -> Option<(BlockKey, BlockValue)> {
    if block.offset > MAX_OFFSET || block.len > MAX_LEN {
        return None;
    }
    let sought = Sought::of(&block.cid)?;
    let mut value = [0; 8 + IN_VALUE];
    value[..5].copy_from_slice(&block.offset.to_be_bytes()[3..]);
    value[5..8].copy_from_slice(&block.len.to_be_bytes()[1..]);
    value[8..].copy_from_slice(&sought.rest);
    Some((sought.key(id), value))
}

fn file_of(key: &[u8]) -> Option<FileId> {
    let key: &BlockKey = key.try_into().ok()?;
    Some(FileId(u32::from_be_bytes(key[PREFIX..].try_into().ok()?)))
}

/// The value of a file row.
pub(super) fn file_value(id: FileId, mark: FileMark, tally: Tally) -> FileValue {
    let mut value = [0; 36];
    value[..4].copy_from_slice(&id.0.to_be_bytes());
    value[4..12].copy_from_slice(&mark.len.to_be_bytes());
    value[12..20].copy_from_slice(&mark.modified.to_be_bytes());
    value[20..28].copy_from_slice(&tally.rows.to_be_bytes());
    value[28..].copy_from_slice(&tally.sum.to_be_bytes());
    value
}

/// Reads the value of a file row; `None` where it is none.
pub(super) fn parse_file(value: &[u8]) -> Option<About> {
    let value: FileValue = value.try_into().ok()?;
    let number = |at: usize| value[at..at + 8].try_into().ok().map(u64::from_be_bytes);
    Some(About {
        id: FileId(u32::from_be_bytes(value[..4].try_into().ok()?)),
        mark: FileMark {
            len: number(4)?,
            modified: number(12)?,
        },
        tally: Tally {
            rows: number(20)?,
            sum: number(28)?,
        },
    })
}

/// What a walk over all block rows found.
pub(super) struct Checked {
    /// Files whose rows are not those that were written.
    pub(super) wrong: Vec<FileId>,
    /// First number that no row mentions.
    pub(super) next_id: u32,
}

/// Compares every block row with the tallies of the files, and deletes rows
/// that are misshapen, or of files that have no tally. Memory: a few bytes for each file.
pub(super) fn check_tallies(
    store: &Store,
    expected: &BTreeMap<FileId, Tally>,
) -> Result<Checked, IndexError> {
    let mut seen: BTreeMap<FileId, Tally> = BTreeMap::new();
    let mut last = expected.keys().next_back().copied();
    store.sweep(|key, value| {
        let Some(id) = file_of(key) else {
            return false;
        };
        last = last.max(Some(id));
        if !expected.contains_key(&id) || value.len() != size_of::<BlockValue>() {
            return false;
        }
        seen.entry(id).or_default().add(key, value);
        true
    })?;
    let wrong = expected
        .iter()
        .filter(|(id, tally)| seen.get(id).copied().unwrap_or_default() != **tally)
        .map(|(id, _)| *id)
        .collect();
    let next_id = match last {
        None => 0,
        Some(id) => {
            id.0.checked_add(1)
                .ok_or_else(|| super::failed("no file number is left"))?
        }
    };
    Ok(Checked { wrong, next_id })
}
