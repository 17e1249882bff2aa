//! The record format that LevelDB's journals and manifests share: blocks of
//! 32 KiB, in which each record lies in one chunk or several.

use std::io::{self, ErrorKind, Read};

/// Bytes of a block.
const BLOCK: usize = 32 << 10;

/// Bytes before a chunk: checksum, length, kind.
const HEADER: usize = 7;

/// Longest record taken, in bytes: a batch of LevelDB's may hold several
/// envelopes of 10 MiB, and one of more than this is no batch of a mailserver.
pub(super) const MAX_RECORD: usize = 64 << 20;

/// What LevelDB adds to a checksum, so that one over data with checksums in it
/// is of use.
const MASK: u32 = 0xa282_ead8;

/// The checksum of `parts` joined, as LevelDB stores it.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let crc = parts
        .iter()
        .fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    crc.rotate_right(15).wrapping_add(MASK)
}

/// Something in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A whole record.
    Record(Vec<u8>),
    /// What is damaged; what follows is looked for behind it.
    Damage {
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// The records of a journal or manifest.
///
/// A record that the end of the file cuts off is no damage: the writer was
/// stopped within it, and acknowledged nothing.
pub(super) struct Records<R> {
    input: R,
    block: Vec<u8>,
    /// Where the block starts in the file.
    block_at: u64,
    /// Where the next chunk starts in the block.
    at: usize,
    /// What a record has so far.
    record: Option<Vec<u8>>,
    ended: bool,
}

impl<R: Read> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            block: Vec::new(),
            block_at: 0,
            at: 0,
            record: None,
            ended: false,
        }
    }

    /// Where what follows starts in the file.
    pub(super) fn offset(&self) -> u64 {
        self.block_at + self.at as u64
    }

    /// The next record or damage; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Item>> {
        while !self.ended {
            if self.block.len() - self.at < HEADER {
                self.read_block()?;
                continue;
            }
            let header = &self.block[self.at..self.at + HEADER];
            let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            let len = usize::from(u16::from_le_bytes([header[4], header[5]]));
            let kind = header[6];
            if (stored, len, kind) == (0, 0, 0) {
                // Zeros to the end of the block: room that was never written.
                self.at = self.block.len();
                continue;
            }
            let (from, to) = (self.at + HEADER, self.at + HEADER + len);
            if to > self.block.len() {
                if self.is_last() {
                    break;
                }
                return Ok(Some(self.damage("a chunk longer than its block")));
            }
            if stored != checksum(&[&self.block[self.at + 6..to]]) {
                return Ok(Some(self.damage("a chunk whose checksum is wrong")));
            }
            if let Some(item) = self.take(kind, from, to) {
                return Ok(Some(item));
            }
        }
        self.ended = true;
        Ok(None)
    }

    fn take(&mut self, kind: u8, from: usize, to: usize) -> Option<Item> {
        const FULL: u8 = 1;
        const FIRST: u8 = 2;
        const MIDDLE: u8 = 3;
        const LAST: u8 = 4;
        let begins = matches!(kind, FULL | FIRST);
        if !begins && !matches!(kind, MIDDLE | LAST) {
            return Some(self.damage("a chunk of no known kind"));
        }
        if begins && self.record.is_some() {
            // Looked at again once this is told.
            self.record = None;
            return Some(Item::Damage {
                offset: self.offset(),
                what: "a record whose end is missing",
            });
        }
        let offset = self.offset();
        self.at = to;
        let Some(mut record) = self.record.take().or_else(|| begins.then(Vec::new)) else {
            return Some(Item::Damage {
                offset,
                what: "a record whose start is missing",
            });
        };
        if record.len() + (to - from) > MAX_RECORD {
            return Some(Item::Damage {
                offset,
                what: "a record longer than any of a mailserver",
            });
        }
        record.extend_from_slice(&self.block[from..to]);
        if matches!(kind, FULL | LAST) {
            return Some(Item::Record(record));
        }
        self.record = Some(record);
        None
    }

    /// Gives the rest of the block up, and the record that ran through it.
    fn damage(&mut self, what: &'static str) -> Item {
        let offset = self.offset();
        self.at = self.block.len();
        self.record = None;
        Item::Damage { offset, what }
    }

    fn is_last(&self) -> bool {
        self.block.len() < BLOCK
    }

    fn read_block(&mut self) -> io::Result<()> {
        if self.is_last() && !self.block.is_empty() {
            self.ended = true;
            return Ok(());
        }
        self.block_at += self.block.len() as u64;
        self.block.resize(BLOCK, 0);
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut self.block[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.block.truncate(filled);
        self.at = 0;
        self.ended = filled == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes records as LevelDB does.
    fn written(records: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for record in records {
            let mut rest = *record;
            let mut first = true;
            loop {
                let room = BLOCK - file.len() % BLOCK;
                if room < HEADER {
                    file.resize(file.len() + room, 0);
                    continue;
                }
                let (piece, behind) = rest.split_at(rest.len().min(room - HEADER));
                rest = behind;
                let kind = match (first, rest.is_empty()) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                file.extend(checksum(&[&[kind], piece]).to_le_bytes());
                file.extend(u16::try_from(piece.len()).unwrap().to_le_bytes());
                file.push(kind);
                file.extend_from_slice(piece);
                first = false;
                if rest.is_empty() {
                    break;
                }
            }
        }
        file
    }

    fn read(file: &[u8]) -> Vec<Item> {
        let mut records = Records::new(file);
        std::iter::from_fn(|| records.next().unwrap()).collect()
    }

    fn kept(file: &[u8]) -> Vec<Vec<u8>> {
        let records = read(file).into_iter();
        records
            .filter_map(|item| match item {
                Item::Record(record) => Some(record),
                Item::Damage { .. } => None,
            })
            .collect()
    }

    #[test]
    fn records_of_every_length_come_as_they_were_written() {
        let long = vec![7; 3 * BLOCK];
        for room in BLOCK - 30..BLOCK {
            let records = [&vec![1; room][..], &[], &[2; 9], &long, &[3]];
            assert_eq!(kept(&written(&records)), records);
        }
    }

    #[test]
    fn a_record_cut_off_by_the_end_is_left_out_and_is_no_damage() {
        let records: [&[u8]; 2] = [&[1; 100], &[2; 2 * BLOCK]];
        let file = written(&records);
        for cut in [107, 110, 200, BLOCK, BLOCK + 5, file.len() - 1] {
            assert_eq!(read(&file[..cut]), [Item::Record(records[0].to_vec())]);
        }
    }

    #[test]
    fn damage_is_told_and_costs_no_more_than_its_block() {
        let records: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 5_000]).collect();
        let slices: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        let mut file = written(&slices);
        file[BLOCK + 100] ^= 1;
        let items = read(&file);
        let damages = items
            .iter()
            .filter(|item| matches!(item, Item::Damage { .. }));
        assert!(damages.count() >= 1);
        let kept = kept(&file);
        assert!(kept.len() >= 32, "{}", kept.len());
        assert!(kept.iter().all(|record| records.contains(record)));
    }

    #[test]
    fn room_that_was_never_written_ends_a_block() {
        let mut file = written(&[&[1; 100]]);
        file.resize(BLOCK, 0);
        file.extend(written(&[&[2; 100]]));
        assert_eq!(kept(&file), [vec![1; 100], vec![2; 100]]);
    }
}
