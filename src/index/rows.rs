//! How rows are spelled, and how lost or bent ones are noticed.
//!
//! ```text
//! b | sha2-256 digest (32) | multicodec (1) | file id (4)  ->  offset (8) | len (4)
//! f | name  ->  file id (4) | length (8) | modified (8) | rows (8) | sum (8)
//! v  ->  version of this layout (1)
//! ```
//! Numbers are big-endian, so that keys sort as numbers do.

use std::collections::BTreeMap;

use cid::Cid;

use super::store::Store;
use super::{BlockAt, FileId, FileMark, IndexError, Location};
use crate::blocks::{check_cid, digest_of};

/// Version of the layout above.
pub(super) const VERSION: u8 = 1;
/// Key of the version.
pub(super) const VERSION_KEY: &[u8] = b"v";
/// First byte of block keys.
pub(super) const BLOCK: u8 = b'b';
/// First byte of file keys.
pub(super) const FILE: u8 = b'f';

/// Key of a block row.
pub(super) type BlockKey = [u8; 38];
/// What all rows of one block start with.
pub(super) type BlockPrefix = [u8; 34];
/// Value of a block row.
pub(super) type BlockValue = [u8; 12];
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

/// What all rows of `cid` start with; `None` for a CID never indexed.
pub(super) fn block_prefix(cid: &Cid) -> Option<BlockPrefix> {
    let codec = check_cid(cid).ok()?;
    let digest = digest_of(cid).ok()?;
    let mut prefix = [0; 34];
    prefix[0] = BLOCK;
    prefix[1..33].copy_from_slice(&digest);
    prefix[33] = u8::try_from(codec.code()).ok()?;
    Some(prefix)
}

/// The key of one block in one file.
pub(super) fn block_key(cid: &Cid, id: FileId) -> Option<BlockKey> {
    let mut key = [0; 38];
    key[..34].copy_from_slice(&block_prefix(cid)?);
    key[34..].copy_from_slice(&id.0.to_be_bytes());
    Some(key)
}

/// The row of one block in one file.
pub(super) fn block_row(block: &BlockAt, id: FileId) -> Option<(BlockKey, BlockValue)> {
    let mut value = [0; 12];
    value[..8].copy_from_slice(&block.offset.to_be_bytes());
    value[8..].copy_from_slice(&block.len.to_be_bytes());
    Some((block_key(&block.cid, id)?, value))
}

/// Reads a block row; `None` where it is none.
pub(super) fn location(key: &[u8], value: &[u8]) -> Option<Location> {
    let value: BlockValue = value.try_into().ok()?;
    Some(Location {
        file: file_of(key)?,
        offset: u64::from_be_bytes(value[..8].try_into().ok()?),
        len: u32::from_be_bytes(value[8..].try_into().ok()?),
    })
}

fn file_of(key: &[u8]) -> Option<FileId> {
    let key: BlockKey = key.try_into().ok()?;
    Some(FileId(u32::from_be_bytes(key[34..].try_into().ok()?)))
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

/// Compares every block row with the tallies of the files, and deletes the
/// rows of files that have none. Memory: a few bytes for each file.
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
        if !expected.contains_key(&id) {
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
