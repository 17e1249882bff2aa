//! Index nodes over the leaves of a segment.
//!
//! Always true of a pack that decoded:
//! - Its children are sorted strictly by first key; there are 1 to 512.
//! - At level 1 the children are leaves, each with its topic runs: sorted,
//!   non-empty, and counting exactly the leaf's envelopes; they end before the
//!   next leaf's begin. So the absence of a topic is decided here, without
//!   touching a leaf.
//! - Above, the children are packs one level down.
//! - A child covers the keys from its first key to the next child's.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::cbor::{self, CborError};
use super::key::{KEY_LEN, Key};
use super::leaf::MAX_ENVELOPE_RLP;
use super::sums::{Fingerprint, Sums};
use crate::blocks::{Block, Cid, Codec, check_cid};
use crate::time::UnixSeconds;
use crate::whisper::Topic;

/// Weight of one unit of the pack splitter: 4 children. Packs aim at 124
/// children and have 512 at most.
pub const PACK_UNIT: u64 = 4;

/// Most children of a pack.
pub const PACK_MAX_CHILDREN: u64 = 512;

/// Most bytes of children in a pack of more than one child, as
/// [`LeafEntry::weight`] counts them: topic runs can make one child 150 KB, and a
/// pack must stay a block.
pub const PACK_MAX_BYTES: u64 = 512 << 10;

/// Highest level of a pack. Whoever grinds hashes can make leaves of 4 KiB and
/// packs of 20 children, no smaller: more levels would take 100 TB in one
/// bucket.
pub const PACK_MAX_LEVEL: u8 = 8;

/// Length of an encoded run in bytes.
const RUN_LEN: usize = 16;

/// The envelopes of one topic inside one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The topic.
    pub topic: Topic,
    /// How many envelopes, at least one.
    pub count: u32,
    /// When the first was sent.
    pub first: UnixSeconds,
    /// When the last was sent.
    pub last: UnixSeconds,
}

/// What a pack says of one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafEntry {
    /// Key of the leaf's first envelope.
    pub first: Key,
    /// The leaf.
    pub cid: Cid,
    /// What it holds.
    pub sums: Sums,
    /// Its topics, in order.
    pub runs: Vec<Run>,
}

impl LeafEntry {
    /// Bytes this entry counts for in its pack: 160 for the fixed part, 16 for
    /// each run.
    pub fn weight(&self) -> u64 {
        160 + (self.runs.len() * RUN_LEN) as u64
    }

    /// Runs of topics and times a filter may want.
    pub fn run_of(&self, topic: Topic) -> Option<&Run> {
        let at = self
            .runs
            .binary_search_by_key(&topic, |run| run.topic)
            .ok()?;
        self.runs.get(at)
    }

    fn is_sound(&self) -> bool {
        let sorted = self
            .runs
            .windows(2)
            .all(|pair| pair[0].topic < pair[1].topic);
        let counted: u64 = self.runs.iter().map(|run| u64::from(run.count)).sum();
        let nonempty = self
            .runs
            .iter()
            .all(|run| run.count > 0 && run.first <= run.last);
        let starts = self
            .runs
            .first()
            .is_some_and(|run| run.topic == self.first.topic && run.first == self.first.sent);
        sorted
            && nonempty
            && starts
            && counted == self.sums.count
            && self.sums.bytes <= MAX_ENVELOPE_RLP as u64
            && links_to(&self.cid, Codec::Raw)
    }

    /// Whether `next` may follow: its first envelope does not sort before the
    /// last of this leaf, as far as runs tell.
    pub(super) fn ends_before(&self, next: &Self) -> bool {
        let end = self.runs.last().map(|run| (run.topic, run.last));
        self.first < next.first && end <= Some((next.first.topic, next.first.sent))
    }
}

/// What a pack above level 1 says of a pack below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// Key of the first envelope below.
    pub first: Key,
    /// The pack.
    pub cid: Cid,
    /// What lies below.
    pub sums: Sums,
}

/// A decoded pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pack {
    /// Level 1: over leaves.
    Leaves(Vec<LeafEntry>),
    /// Level 2 and above: over packs.
    Packs {
        /// This pack's level.
        level: u8,
        /// The packs one level down.
        children: Vec<PackEntry>,
    },
}

/// `[first key, link, count, bytes, fingerprint, runs]`
type LeafCbor = (ByteArray<KEY_LEN>, Cid, u64, u64, ByteArray<32>, ByteBuf);
/// `[first key, link, count, bytes, fingerprint]`
type ChildCbor = (ByteArray<KEY_LEN>, Cid, u64, u64, ByteArray<32>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackCbor {
    level: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaves: Option<Vec<LeafCbor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packs: Option<Vec<ChildCbor>>,
}

impl Pack {
    /// The pack's level, 1 over leaves.
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaves(_) => 1,
            Self::Packs { level, .. } => *level,
        }
    }

    /// What all children hold together.
    pub fn sums(&self) -> Sums {
        match self {
            Self::Leaves(leaves) => leaves.iter().map(|leaf| leaf.sums).sum(),
            Self::Packs { children, .. } => children.iter().map(|child| child.sums).sum(),
        }
    }

    /// Key of the first envelope.
    pub fn first(&self) -> Key {
        match self {
            Self::Leaves(leaves) => leaves[0].first,
            Self::Packs { children, .. } => children[0].first,
        }
    }

    /// Encodes the pack as a block.
    pub fn encode(&self) -> Block {
        let cbor = match self {
            Self::Leaves(leaves) => PackCbor {
                level: 1,
                leaves: Some(leaves.iter().map(leaf_to_cbor).collect()),
                packs: None,
            },
            Self::Packs { level, children } => PackCbor {
                level: *level,
                leaves: None,
                packs: Some(
                    children
                        .iter()
                        .map(|child| {
                            let Sums {
                                count,
                                bytes,
                                fingerprint,
                            } = child.sums;
                            let first = child.first.to_cbor();
                            (
                                first,
                                child.cid,
                                count,
                                bytes,
                                ByteArray::new(fingerprint.0),
                            )
                        })
                        .collect(),
                ),
            },
        };
        cbor::encode(&cbor)
    }

    /// Decodes a pack, refusing whatever breaks what is always true of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let shape = |what: &str| CborError::Shape(what.to_owned());
        let pack = match cbor::decode::<PackCbor>(bytes)? {
            PackCbor {
                level: 1,
                leaves: Some(leaves),
                packs: None,
            } => Self::Leaves(
                leaves
                    .into_iter()
                    .map(leaf_from_cbor)
                    .collect::<Result<_, _>>()?,
            ),
            PackCbor {
                level: level @ 2..=PACK_MAX_LEVEL,
                leaves: None,
                packs: Some(packs),
            } => {
                let children = packs
                    .into_iter()
                    .map(|(first, cid, count, bytes, fingerprint)| PackEntry {
                        first: Key::from_bytes(first.into_array()),
                        cid,
                        sums: Sums {
                            count,
                            bytes,
                            fingerprint: Fingerprint(fingerprint.into_array()),
                        },
                    })
                    .collect();
                Self::Packs { level, children }
            }
            _ => return Err(shape("level does not fit the children")),
        };
        let sound = match &pack {
            Self::Leaves(leaves) => {
                is_width(leaves.len())
                    && leaves.iter().all(LeafEntry::is_sound)
                    && leaves.windows(2).all(|pair| pair[0].ends_before(&pair[1]))
            }
            Self::Packs { children, .. } => {
                is_width(children.len())
                    && children.iter().all(|c| links_to(&c.cid, Codec::DagCbor))
                    && children
                        .windows(2)
                        .all(|pair| pair[0].first < pair[1].first)
            }
        };
        if sound {
            Ok(pack)
        } else {
            Err(shape("pack is empty, too wide, unsorted or miscounted"))
        }
    }
}

/// Whether a node of a tree over leaves may have so many children.
pub(super) fn is_width(children: usize) -> bool {
    (1..=PACK_MAX_CHILDREN).contains(&(children as u64))
}

/// Whether a link is one of ours, to a block of this codec.
pub(super) fn links_to(cid: &Cid, codec: Codec) -> bool {
    check_cid(cid).is_ok_and(|found| found == codec)
}

fn leaf_to_cbor(leaf: &LeafEntry) -> LeafCbor {
    let mut runs = Vec::with_capacity(leaf.runs.len() * RUN_LEN);
    for run in &leaf.runs {
        runs.extend_from_slice(&run.topic.0);
        runs.extend_from_slice(&run.count.to_be_bytes());
        runs.extend_from_slice(&run.first.0.to_be_bytes());
        runs.extend_from_slice(&run.last.0.to_be_bytes());
    }
    let Sums {
        count,
        bytes,
        fingerprint,
    } = leaf.sums;
    (
        leaf.first.to_cbor(),
        leaf.cid,
        count,
        bytes,
        ByteArray::new(fingerprint.0),
        ByteBuf::from(runs),
    )
}

fn leaf_from_cbor(
    (first, cid, count, bytes, fingerprint, runs): LeafCbor,
) -> Result<LeafEntry, CborError> {
    let (runs, rest) = runs.as_chunks::<RUN_LEN>();
    if !rest.is_empty() {
        return Err(CborError::Shape("topic runs are not whole".to_owned()));
    }
    let runs = runs.iter().map(
        |[
            t0,
            t1,
            t2,
            t3,
            c0,
            c1,
            c2,
            c3,
            f0,
            f1,
            f2,
            f3,
            l0,
            l1,
            l2,
            l3,
        ]| {
            Run {
                topic: Topic([*t0, *t1, *t2, *t3]),
                count: u32::from_be_bytes([*c0, *c1, *c2, *c3]),
                first: UnixSeconds(u32::from_be_bytes([*f0, *f1, *f2, *f3])),
                last: UnixSeconds(u32::from_be_bytes([*l0, *l1, *l2, *l3])),
            }
        },
    );
    Ok(LeafEntry {
        first: Key::from_bytes(first.into_array()),
        cid,
        sums: Sums {
            count,
            bytes,
            fingerprint: Fingerprint(fingerprint.into_array()),
        },
        runs: runs.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::leaf;
    use crate::archive::testing::record;

    fn entry(topic: u8, sent: u32) -> LeafEntry {
        let records = [record(topic, sent, 5)];
        let block = Block::new(Codec::Raw, records[0].bytes.clone());
        leaf::entry_of(*block.cid(), &records).unwrap()
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        let leaves = Pack::Leaves(vec![entry(1, 5), entry(2, 4), entry(2, 9)]);
        assert_eq!(Pack::decode(leaves.encode().bytes()), Ok(leaves.clone()));
        let child = PackEntry {
            first: leaves.first(),
            cid: *leaves.encode().cid(),
            sums: leaves.sums(),
        };
        let packs = Pack::Packs {
            level: 2,
            children: vec![child],
        };
        assert_eq!(Pack::decode(packs.encode().bytes()), Ok(packs));
    }

    #[test]
    fn a_pack_that_is_empty_unsorted_or_miscounted_is_refused() {
        let mut miscounted = entry(1, 5);
        miscounted.runs[0].count = 2;
        let mut reversed = entry(1, 5);
        reversed.runs[0].last = UnixSeconds(4);
        let mut misplaced = entry(1, 5);
        misplaced.runs[0].topic = Topic([9; 4]);
        for leaves in [
            vec![],
            vec![entry(2, 4), entry(1, 5)],
            vec![entry(1, 5), entry(1, 5)],
            vec![miscounted],
            vec![reversed],
            vec![misplaced],
        ] {
            assert!(Pack::decode(Pack::Leaves(leaves).encode().bytes()).is_err());
        }
        let empty = Pack::Packs {
            level: 2,
            children: vec![],
        };
        assert!(Pack::decode(empty.encode().bytes()).is_err());
    }

    #[test]
    fn leaves_that_overlap_or_are_too_many_are_refused() {
        let pack = |leaves: Vec<LeafEntry>| Pack::decode(Pack::Leaves(leaves).encode().bytes());
        let mut long = entry(1, 5);
        long.runs[0].last = UnixSeconds(10);
        assert!(pack(vec![long.clone(), entry(1, 10)]).is_ok());
        assert!(pack(vec![long, entry(1, 9)]).is_err());
        let many = |count| (1..=count).map(|sent| entry(1, sent)).collect::<Vec<_>>();
        assert!(pack(many(512)).is_ok());
        assert!(pack(many(513)).is_err());
        let mut large = entry(1, 5);
        large.sums.bytes = MAX_ENVELOPE_RLP as u64 + 1;
        assert!(pack(vec![large]).is_err());
    }

    #[test]
    fn a_level_that_does_not_fit_is_refused() {
        let leaf = entry(1, 5);
        for level in [0, 1, PACK_MAX_LEVEL + 1, 255] {
            let child = PackEntry {
                first: leaf.first,
                cid: leaf.cid,
                sums: leaf.sums,
            };
            let pack = Pack::Packs {
                level,
                children: vec![child],
            };
            assert!(
                Pack::decode(pack.encode().bytes()).is_err(),
                "level {level}"
            );
        }
    }
}
