//! The entries of one block of a table.

use bytes::Bytes;

use super::bytes::{length, take};

/// Goes through the entries of a block, whose checksum was right.
#[derive(Debug)]
pub(super) struct Entries {
    block: Bytes,
    /// Where the next entry starts.
    at: usize,
    /// Where the entries end and the list of restarts begins.
    end: usize,
    key: Vec<u8>,
}

/// What is wrong with a block.
pub(super) type Fault = &'static str;

impl Entries {
    /// The entries of `block`, in order.
    pub(super) fn new(block: Bytes) -> Result<Self, Fault> {
        let restarts = block
            .last_chunk()
            .map(|count| u32::from_le_bytes(*count))
            .and_then(|count| usize::try_from(count).ok());
        let end = restarts
            .and_then(|count| count.checked_add(1)?.checked_mul(4))
            .and_then(|tail| block.len().checked_sub(tail))
            .ok_or("a block shorter than its list of restarts")?;
        Ok(Self {
            block,
            at: 0,
            end,
            key: Vec::new(),
        })
    }

    /// Bytes of memory that it holds, its caller's copy of the key included.
    pub(super) fn held(&self) -> usize {
        self.block.len() + 2 * self.key.capacity()
    }

    /// The next key and value.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], Bytes)>, Fault> {
        if self.at == self.end {
            return Ok(None);
        }
        let start = self.at;
        let bytes = &self.block[start..self.end];
        let Some((shared, key, value, consumed)) = entry(bytes) else {
            self.at = self.end;
            return Err("an entry that does not end within its block");
        };
        if shared > self.key.len() {
            self.at = self.end;
            return Err("an entry that shares more of a key than there is");
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(key);
        // The value ends the entry.
        self.at = start + consumed;
        let value = self.block.slice(self.at - value..self.at);
        Ok(Some((&self.key, value)))
    }
}

/// Splits the first entry: bytes shared with the key before, the rest of the key,
/// the length of the value, the length of it all.
fn entry(bytes: &[u8]) -> Option<(usize, &[u8], usize, usize)> {
    let mut rest = bytes;
    let shared = length(&mut rest)?;
    let own = length(&mut rest)?;
    let value = length(&mut rest)?;
    let key = take(&mut rest, own)?;
    take(&mut rest, value)?;
    Some((shared, key, value, bytes.len() - rest.len()))
}
