//! One segment's envelopes in order of time, and by topic: a local cache.
//!
//! A segment is sorted by topic, a page of mail by time. A time file says of
//! each envelope when it was sent and where it lies, in order of (sent, hash),
//! and of each topic which of these are its own. Nothing of it is part of the
//! archive's format: it is made from the segment and may be deleted.
//!
//! ```text
//! header    magic 8 | segment CID 36 | part 4 | is last 4 | count 4 | last sent 4
//!           | bytes 8 | fingerprint 32 | leaves 4 | topics 4
//! leaves    (sha2-256 32 | length 4) each, in order of the segment
//! topics    (topic 4 | first posting 4) each, ascending
//! chunks    (first sent 4 | crc32c 4) for each 256 entries, crc32c 4 for each
//!           4,096 postings
//! crc32c 4  of all above: the directory
//! entries   (sent 4 | hash 32 | topic 4 | leaf 4 | offset 4 | length 4
//!           | crc32c of the envelope 4) each, ascending by (sent, hash)
//! postings  4 each: numbers of entries, topic after topic, ascending in each
//! ```
//!
//! Integers are big-endian. A large segment has several parts, each over a
//! stretch of its leaves.
//!
//! Always true:
//! - What a checksum does not vouch for is not used; no count is believed
//!   before the length of the file bears it out.
//! - The parts of a segment amount to exactly the sums its parent says.

mod build;

use bytes::{Buf, BufMut};
use crc32c::crc32c;

use super::sums::{Fingerprint, Sums};
use crate::blocks::{Cid, Codec, cid_from_digest, digest_of};
use crate::time::UnixSeconds;
use crate::whisper::{EnvelopeHash, Topic};

pub use build::PartBuilder;

/// Envelopes from which on a part is closed, at the end of a leaf: making one
/// takes some 130 bytes of memory for each.
pub const PART_ENTRIES: usize = 1 << 18;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 108;

/// Length of an entry in bytes.
pub const ENTRY_LEN: usize = 56;

/// Entries checked and read together: 14 KiB, a little more than the one page
/// of memory that the disk reads anyway.
pub const ENTRIES_IN_CHUNK: u32 = 256;

/// Length of a posting in bytes.
pub const POSTING_LEN: usize = 4;

/// Postings checked and read together: 16 KiB.
pub const POSTINGS_IN_CHUNK: u32 = 4_096;

const MAGIC: [u8; 8] = *b"gwatime1";
/// Length of the CIDs of this archive in bytes.
const CID_LEN: usize = 36;
const LEAF_LEN: usize = 36;
const TOPIC_LEN: usize = 8;
const CRC_LEN: usize = 4;

/// A place in the order of time.
pub type Place = (UnixSeconds, EnvelopeHash);

/// What a time file says of one envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was sent.
    pub sent: UnixSeconds,
    /// Its identity.
    pub hash: EnvelopeHash,
    /// Its topic.
    pub topic: Topic,
    /// The number of its leaf in the part.
    pub leaf: u32,
    /// Where it starts in its leaf.
    pub offset: u32,
    /// Length of its RLP in bytes.
    pub len: u32,
    /// CRC-32C of its RLP, as it was when the leaf was hashed.
    pub crc: u32,
}

impl Entry {
    /// Where it stands in the order of time.
    pub fn place(&self) -> Place {
        (self.sent, self.hash)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.sent.0);
        out.put_slice(&self.hash.0);
        out.put_slice(&self.topic.0);
        out.put_u32(self.leaf);
        out.put_u32(self.offset);
        out.put_u32(self.len);
        out.put_u32(self.crc);
    }

    /// Reads entry `at` of a chunk; `None` where the chunk ends before it.
    pub fn in_chunk(chunk: &[u8], at: u32) -> Option<Self> {
        let start = usize::try_from(at).ok()?.checked_mul(ENTRY_LEN)?;
        let mut bytes = chunk.get(start..start + ENTRY_LEN)?;
        let sent = UnixSeconds(bytes.get_u32());
        let mut hash = [0; 32];
        bytes.copy_to_slice(&mut hash);
        let mut topic = [0; 4];
        bytes.copy_to_slice(&mut topic);
        Some(Self {
            sent,
            hash: EnvelopeHash(hash),
            topic: Topic(topic),
            leaf: bytes.get_u32(),
            offset: bytes.get_u32(),
            len: bytes.get_u32(),
            crc: bytes.get_u32(),
        })
    }
}

/// A leaf of the segment, as a time file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafAt {
    digest: [u8; 32],
    /// Its length in bytes.
    pub len: u32,
}

impl LeafAt {
    /// The leaf's CID.
    pub fn cid(&self) -> Cid {
        cid_from_digest(Codec::Raw, self.digest)
    }
}

/// A time file is not what it should be. It is made again then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time file: {0}")]
pub struct TimesError(pub &'static str);

/// All of a time file but its entries and postings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The segment it is about.
    pub segment: Cid,
    /// Which part of it, from 0.
    pub part: u32,
    /// Whether no part follows.
    pub is_last: bool,
    /// What is in it.
    pub sums: Sums,
    /// When its last envelope was sent.
    pub last: UnixSeconds,
    /// Its leaves.
    pub leaves: Vec<LeafAt>,
    topics: Vec<(Topic, u32)>,
    entry_chunks: Vec<(UnixSeconds, u32)>,
    posting_chunks: Vec<u32>,
}

/// The lengths a header announces.
#[derive(Clone, Copy)]
struct Shape {
    count: u32,
    leaves: u32,
    topics: u32,
}

impl Shape {
    fn directory_len(self) -> u64 {
        let entry_chunks = u64::from(self.count.div_ceil(ENTRIES_IN_CHUNK));
        let posting_chunks = u64::from(self.count.div_ceil(POSTINGS_IN_CHUNK));
        HEADER_LEN as u64
            + u64::from(self.leaves) * LEAF_LEN as u64
            + u64::from(self.topics) * TOPIC_LEN as u64
            + entry_chunks * (4 + CRC_LEN as u64)
            + posting_chunks * CRC_LEN as u64
            + CRC_LEN as u64
    }

    fn file_len(self) -> u64 {
        self.directory_len() + u64::from(self.count) * (ENTRY_LEN + POSTING_LEN) as u64
    }
}

/// Length of the directory of a file that starts with `header` and is
/// `file_len` bytes long.
pub fn directory_len(header: &[u8], file_len: u64) -> Result<usize, TimesError> {
    let shape = shape_of(header)?;
    if shape.file_len() != file_len {
        return Err(TimesError("length does not fit its header"));
    }
    usize::try_from(shape.directory_len()).map_err(|_| TimesError("directory is too long"))
}

fn shape_of(header: &[u8]) -> Result<Shape, TimesError> {
    let header: &[u8; HEADER_LEN] = header
        .first_chunk()
        .ok_or(TimesError("shorter than its header"))?;
    if header[..8] != MAGIC {
        return Err(TimesError("written by another version"));
    }
    let mut counts = &header[8 + CID_LEN + 8..];
    let count = counts.get_u32();
    let mut widths = &header[HEADER_LEN - 8..];
    let shape = Shape {
        count,
        leaves: widths.get_u32(),
        topics: widths.get_u32(),
    };
    if count == 0 || shape.leaves > count || shape.topics > count {
        return Err(TimesError("counts that cannot be"));
    }
    Ok(shape)
}

impl Directory {
    /// Reads a whole directory.
    pub fn decode(bytes: &[u8]) -> Result<Self, TimesError> {
        let shape = shape_of(bytes)?;
        if bytes.len() as u64 != shape.directory_len() {
            return Err(TimesError("directory is cut off"));
        }
        let (vouched, mut crc) = bytes.split_at(bytes.len() - CRC_LEN);
        if crc32c(vouched) != crc.get_u32() {
            return Err(TimesError("directory is damaged"));
        }
        let mut rest = &vouched[MAGIC.len()..];
        let segment = Cid::try_from(&rest[..CID_LEN]).map_err(|_| TimesError("no CID"))?;
        rest.advance(CID_LEN);
        let part = rest.get_u32();
        let is_last = rest.get_u32() == 1;
        rest.advance(4);
        let last = UnixSeconds(rest.get_u32());
        let len = rest.get_u64();
        let mut fingerprint = [0; 32];
        rest.copy_to_slice(&mut fingerprint);
        rest.advance(8);
        let leaves = (0..shape.leaves).map(|_| {
            let mut digest = [0; 32];
            rest.copy_to_slice(&mut digest);
            let len = rest.get_u32();
            LeafAt { digest, len }
        });
        let leaves = leaves.collect();
        let topics = (0..shape.topics).map(|_| {
            let mut topic = [0; 4];
            rest.copy_to_slice(&mut topic);
            (Topic(topic), rest.get_u32())
        });
        let topics: Vec<_> = topics.collect();
        let entry_chunks = (0..shape.count.div_ceil(ENTRIES_IN_CHUNK))
            .map(|_| (UnixSeconds(rest.get_u32()), rest.get_u32()))
            .collect();
        let posting_chunks = (0..shape.count.div_ceil(POSTINGS_IN_CHUNK))
            .map(|_| rest.get_u32())
            .collect();
        Ok(Self {
            segment,
            part,
            is_last,
            sums: Sums {
                count: shape.count.into(),
                bytes: len,
                fingerprint: Fingerprint(fingerprint),
            },
            last,
            leaves,
            topics,
            entry_chunks,
            posting_chunks,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let shape = self.shape();
        let len = usize::try_from(shape.file_len()).unwrap_or(0);
        let mut out = Vec::with_capacity(len);
        out.put_slice(&MAGIC);
        out.put_slice(&self.segment.to_bytes());
        out.put_u32(self.part);
        out.put_u32(self.is_last.into());
        out.put_u32(shape.count);
        out.put_u32(self.last.0);
        out.put_u64(self.sums.bytes);
        out.put_slice(&self.sums.fingerprint.0);
        out.put_u32(shape.leaves);
        out.put_u32(shape.topics);
        for leaf in &self.leaves {
            out.put_slice(&leaf.digest);
            out.put_u32(leaf.len);
        }
        for (topic, first) in &self.topics {
            out.put_slice(&topic.0);
            out.put_u32(*first);
        }
        for (first, crc) in &self.entry_chunks {
            out.put_u32(first.0);
            out.put_u32(*crc);
        }
        for crc in &self.posting_chunks {
            out.put_u32(*crc);
        }
        let crc = crc32c(&out);
        out.put_u32(crc);
        out
    }

    fn shape(&self) -> Shape {
        let small = |n: usize| u32::try_from(n).expect("a part has fewer than 2^32 envelopes");
        Shape {
            count: self.count(),
            leaves: small(self.leaves.len()),
            topics: small(self.topics.len()),
        }
    }

    /// How many envelopes it is about.
    pub fn count(&self) -> u32 {
        u32::try_from(self.sums.count).expect("a part has fewer than 2^32 envelopes")
    }

    /// Bytes it takes in memory, about.
    pub fn weight(&self) -> usize {
        self.leaves.len() * 96 + self.topics.len() * 8 + self.entry_chunks.len() * 9
    }

    /// When its first envelope was sent.
    pub fn first(&self) -> UnixSeconds {
        self.entry_chunks[0].0
    }

    /// Its topics, ascending, each with the range of its postings.
    pub fn topics(&self) -> impl Iterator<Item = (Topic, std::ops::Range<u32>)> + '_ {
        let ends = self.topics.iter().skip(1).map(|(_, first)| *first);
        let ends = ends.chain([self.count()]);
        let topics = self.topics.iter().zip(ends);
        topics.map(|((topic, first), end)| (*topic, *first..end))
    }

    /// The entries among which the first not sent before `sent` is, or the end.
    pub fn around(&self, sent: UnixSeconds) -> std::ops::Range<u32> {
        let chunk_at = |n: usize| {
            let at = u32::try_from(n).unwrap_or(u32::MAX);
            at.saturating_mul(ENTRIES_IN_CHUNK).min(self.count())
        };
        let from = self
            .entry_chunks
            .partition_point(|(first, _)| *first < sent);
        chunk_at(from.saturating_sub(1))..chunk_at(from)
    }

    /// Where in the file the bytes of a chunk of entries lie, and their length.
    pub fn entry_chunk(&self, chunk: u32) -> (u64, usize) {
        let first = u64::from(chunk) * u64::from(ENTRIES_IN_CHUNK);
        let count = (u64::from(self.count()) - first).min(ENTRIES_IN_CHUNK.into());
        let at = self.shape().directory_len() + first * ENTRY_LEN as u64;
        (at, small_len(count) * ENTRY_LEN)
    }

    /// Whether these are the bytes of that chunk of entries.
    pub fn vouches_entries(&self, chunk: u32, bytes: &[u8]) -> bool {
        let at = usize::try_from(chunk).unwrap_or(usize::MAX);
        self.entry_chunks
            .get(at)
            .is_some_and(|(_, crc)| *crc == crc32c(bytes))
    }

    /// Where in the file the bytes of a chunk of postings lie, and their length.
    pub fn posting_chunk(&self, chunk: u32) -> (u64, usize) {
        let first = u64::from(chunk) * u64::from(POSTINGS_IN_CHUNK);
        let count = (u64::from(self.count()) - first).min(POSTINGS_IN_CHUNK.into());
        let entries = u64::from(self.count()) * ENTRY_LEN as u64;
        let at = self.shape().directory_len() + entries + first * POSTING_LEN as u64;
        (at, small_len(count) * POSTING_LEN)
    }

    /// Whether these are the bytes of that chunk of postings.
    pub fn vouches_postings(&self, chunk: u32, bytes: &[u8]) -> bool {
        let at = usize::try_from(chunk).unwrap_or(usize::MAX);
        self.posting_chunks
            .get(at)
            .is_some_and(|crc| *crc == crc32c(bytes))
    }

    /// Whether its segment and sums are those.
    pub fn is_of(&self, segment: &Cid, part: u32) -> bool {
        self.segment == *segment && self.part == part
    }
}

fn small_len(count: u64) -> usize {
    usize::try_from(count).expect("a chunk is a few thousand items")
}

fn leaf_at(cid: &Cid, len: u64) -> LeafAt {
    LeafAt {
        digest: digest_of(cid).expect("a leaf that was read has a CID of ours"),
        len: u32::try_from(len).expect("a block is below 4 GiB"),
    }
}

#[cfg(test)]
mod tests;
