//! Raw blocks of envelopes.
//!
//! Always true: a leaf is the concatenation of canonical envelope RLP, sorted
//! strictly by [`Key`], and nothing else; it is never empty. It carries no
//! framing, because RLP says where each envelope ends.

use bytes::Bytes;

use super::key::Key;
use super::pack::{LeafEntry, Run};
use super::sums::Sums;
use crate::blocks::Cid;
use crate::keccak::keccak256;
use crate::time::UnixSeconds;
use crate::whisper::envelope::EnvelopeFields;
use crate::whisper::{EnvelopeError, EnvelopeHash, Topic};

/// Weight of one unit of the leaf splitter: 1 KiB of envelope bytes. Leaves aim
/// at 31 KiB, have 4 KiB at least (but for the last of a segment) and 128 KiB at
/// most (but for a single larger envelope).
pub const LEAF_UNIT: u64 = 1 << 10;

/// Most bytes in a leaf of more than one envelope.
pub const LEAF_MAX: u64 = 128 << 10;

/// Largest envelope the archive takes: one leaf, hence one block, holds it.
/// Whisper's default maximum is 1 MiB counted without framing; an envelope whose
/// RLP passes the largest block that IPFS peers transfer could never be fetched.
pub const MAX_ENVELOPE_RLP: usize = crate::blocks::MAX_BLOCK_WRITTEN;

/// One envelope as the archive sees it: opaque bytes under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub key: Key,
    /// Its RLP.
    pub bytes: Bytes,
}

/// Why bytes are not a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// No envelope in it.
    #[error("leaf is empty")]
    Empty,
    /// Longer than the largest envelope, hence than any leaf.
    #[error("leaf of {0} bytes, above the limit of {MAX_ENVELOPE_RLP}")]
    TooLong(usize),
    /// What stands at an offset is no canonical envelope.
    #[error("no envelope at byte {at}: {source}")]
    Envelope {
        /// Offset in bytes.
        at: usize,
        /// What is wrong there.
        source: EnvelopeError,
    },
    /// An envelope does not sort after the one before it.
    #[error("envelope at byte {at} does not sort after its neighbour")]
    Unsorted {
        /// Offset in bytes.
        at: usize,
    },
}

/// An envelope inside a leaf whose hash has not been computed.
#[derive(Clone, Debug)]
pub struct Unhashed {
    /// Topic.
    pub topic: Topic,
    /// Instant of sending.
    pub sent: UnixSeconds,
    /// Its RLP.
    pub bytes: Bytes,
}

impl Unhashed {
    /// Hashes the envelope into a record.
    pub fn hash(self) -> Record {
        let hash = EnvelopeHash(keccak256(&self.bytes));
        Record {
            key: Key {
                topic: self.topic,
                sent: self.sent,
                hash,
            },
            bytes: self.bytes,
        }
    }
}

/// The envelopes of a leaf in order, read without hashing them. Refuses bytes
/// that are no envelope or too many, and a topic or time that steps back.
pub fn scan(leaf: &Bytes) -> impl Iterator<Item = Result<Unhashed, LeafError>> + '_ {
    let mut at = 0;
    let mut before = None;
    std::iter::from_fn(move || {
        if at == leaf.len() {
            return None;
        }
        let start = at;
        if leaf.len() > MAX_ENVELOPE_RLP {
            at = leaf.len();
            return Some(Err(LeafError::TooLong(leaf.len())));
        }
        Some(match EnvelopeFields::decode_first(&leaf[start..]) {
            Err(source) => {
                at = leaf.len();
                Err(LeafError::Envelope { at: start, source })
            }
            Ok(fields) => {
                at += fields.rlp_len;
                let place = (fields.topic, fields.sent());
                if before.is_some_and(|before| place < before) {
                    at = leaf.len();
                    Err(LeafError::Unsorted { at: start })
                } else {
                    before = Some(place);
                    let bytes = leaf.slice(start..at);
                    Ok(Unhashed {
                        topic: fields.topic,
                        sent: fields.sent(),
                        bytes,
                    })
                }
            }
        })
    })
}

/// Every record of a leaf, hashed; refuses what is not strictly sorted.
pub fn decode(leaf: &Bytes) -> Result<Vec<Record>, LeafError> {
    let mut records: Vec<Record> = Vec::new();
    let mut at = 0;
    for unhashed in scan(leaf) {
        let record = unhashed?.hash();
        if records.last().is_some_and(|last| last.key >= record.key) {
            return Err(LeafError::Unsorted { at });
        }
        at += record.bytes.len();
        records.push(record);
    }
    if records.is_empty() {
        return Err(LeafError::Empty);
    }
    Ok(records)
}

/// The entry a pack has for a leaf of these records.
pub fn entry_of(cid: Cid, records: &[Record]) -> Result<LeafEntry, LeafError> {
    let first = records.first().ok_or(LeafError::Empty)?.key;
    let mut entry = LeafEntry {
        first,
        cid,
        sums: Sums::default(),
        runs: Vec::new(),
    };
    for record in records {
        add_to_entry(&mut entry, record);
    }
    Ok(entry)
}

/// Counts one more record, in order, into a leaf's entry.
pub(super) fn add_to_entry(entry: &mut LeafEntry, record: &Record) {
    entry.sums = entry
        .sums
        .plus(Sums::of_one(record.bytes.len(), record.key.hash));
    match entry.runs.last_mut() {
        Some(run) if run.topic == record.key.topic => {
            run.count += 1;
            run.last = record.key.sent;
        }
        _ => entry.runs.push(Run {
            topic: record.key.topic,
            count: 1,
            first: record.key.sent,
            last: record.key.sent,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::record;

    fn concat(records: &[Record]) -> Bytes {
        records
            .iter()
            .flat_map(|r| r.bytes.to_vec())
            .collect::<Vec<_>>()
            .into()
    }

    #[test]
    fn decode_is_the_inverse_of_concatenation() {
        let mut records = vec![record(1, 10, 3), record(1, 11, 3), record(2, 5, 0)];
        records.sort_by_key(|r| r.key);
        assert_eq!(decode(&concat(&records)), Ok(records));
    }

    #[test]
    fn a_leaf_out_of_order_or_with_a_repeated_envelope_is_refused() {
        let (a, b) = (record(1, 10, 0), record(2, 10, 0));
        let swapped = concat(&[b, a.clone()]);
        assert!(matches!(decode(&swapped), Err(LeafError::Unsorted { .. })));
        let twice = concat(&[a.clone(), a]);
        assert!(matches!(decode(&twice), Err(LeafError::Unsorted { .. })));
    }

    #[test]
    fn a_leaf_larger_than_the_largest_envelope_is_refused() {
        let len_of = |data| record(1, 10, data).bytes.len();
        let data = MAX_ENVELOPE_RLP - (len_of(MAX_ENVELOPE_RLP) - MAX_ENVELOPE_RLP);
        let largest = concat(&[record(1, 10, data)]);
        assert_eq!(largest.len(), MAX_ENVELOPE_RLP);
        assert!(decode(&largest).is_ok());
        let larger = concat(&[record(1, 10, data + 1)]);
        assert_eq!(decode(&larger), Err(LeafError::TooLong(larger.len())));
    }

    #[test]
    fn an_empty_or_torn_leaf_is_refused() {
        assert_eq!(decode(&Bytes::new()), Err(LeafError::Empty));
        let whole = concat(&[record(1, 10, 0)]);
        let torn = whole.slice(..whole.len() - 1);
        assert!(matches!(
            decode(&torn),
            Err(LeafError::Envelope { at: 0, .. })
        ));
    }
}
