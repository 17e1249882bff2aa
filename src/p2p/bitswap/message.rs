//! Messages, and how they are written.
//!
//! Always true:
//! - What is written reads as it was, in the dialect that can say it.
//! - A message of more than [`MAX_ITEMS`] items is refused before it is decoded, so
//!   that no message takes up more than a few times its length.
//! - An item whose CID no program here could read is left out: it cannot be ours.

use bytes::Bytes;
use cid::Cid;
use prost::Message as _;

use super::{Dialect, MAX_ITEMS};
use crate::blocks::Block;

/// What one side tells the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What it wants, and wants no more.
    pub wants: Vec<Want>,
    /// Whether it wants nothing else: what was wanted before is not wanted now.
    pub full: bool,
    /// Blocks that it gives.
    pub blocks: Vec<Payload>,
    /// Of which blocks it says that it has them, or has not.
    pub presences: Vec<Presence>,
    /// Bytes of blocks that wait to be sent, as far as it tells.
    pub pending: u32,
}

/// One thing that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The block.
    pub cid: Cid,
    /// The higher, the sooner.
    pub priority: i32,
    /// What is wanted of it.
    pub kind: Kind,
    /// Whether it is wanted no more.
    pub cancel: bool,
    /// Whether word is wanted where it is not held.
    pub send_dont_have: bool,
}

/// What is wanted of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its bytes.
    Block,
    /// Word whether it is held.
    Have,
}

/// A block as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The CID without its digest: version, codec, hash and length of the digest.
    /// Nobody here believes it; in the oldest dialect there is none.
    pub prefix: Bytes,
    /// The bytes.
    pub data: Bytes,
}

impl From<&Block> for Payload {
    fn from(block: &Block) -> Self {
        let cid = block.cid().to_bytes();
        let digest = usize::from(block.cid().hash().size());
        Self {
            prefix: Bytes::copy_from_slice(&cid[..cid.len() - digest]),
            data: block.bytes().clone(),
        }
    }
}

/// Word of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The block.
    pub cid: Cid,
    /// Whether it is held.
    pub held: bool,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// More in it than any honest message has.
    #[error("a message of more than {MAX_ITEMS} items")]
    TooMany,
    /// Bytes that are no protobuf, or of another message.
    #[error("no bitswap message: {0}")]
    Malformed(String),
}

impl Message {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty() && !self.full && self.blocks.is_empty() && self.presences.is_empty()
    }

    /// Reads a message of any dialect.
    pub fn decode(bytes: Bytes) -> Result<Self, MessageError> {
        check_items(&bytes)?;
        let raw = proto::Message::decode(bytes)
            .map_err(|error| MessageError::Malformed(error.to_string()))?;
        let list = raw.wantlist.unwrap_or_default();
        let without_prefix = raw.blocks.into_iter().map(|data| Payload {
            prefix: Bytes::new(),
            data,
        });
        let with_prefix = raw.payload.into_iter().map(|block| Payload {
            prefix: block.prefix,
            data: block.data,
        });
        Ok(Self {
            wants: list.entries.iter().filter_map(want).collect(),
            full: list.full,
            blocks: without_prefix.chain(with_prefix).collect(),
            presences: raw.presences.iter().filter_map(presence).collect(),
            pending: u32::try_from(raw.pending_bytes).unwrap_or(0),
        })
    }

    /// Writes it; what a dialect has no words for is left out.
    pub fn encode(&self, dialect: Dialect) -> Vec<u8> {
        let is_newest = dialect == Dialect::V1_2;
        let entries = self.wants.iter().map(|want| proto::Entry {
            block: Bytes::from(want.cid.to_bytes()),
            priority: want.priority,
            cancel: want.cancel,
            want_type: i32::from(is_newest && want.kind == Kind::Have),
            send_dont_have: is_newest && want.send_dont_have,
        });
        let (bare, dressed): (&[_], &[_]) = match dialect {
            Dialect::V1_0 => (&self.blocks, &[]),
            Dialect::V1_1 | Dialect::V1_2 => (&[], &self.blocks),
        };
        let presences = self.presences.iter().filter(|_| is_newest);
        let speaks_of_wants = self.full || !self.wants.is_empty();
        let raw = proto::Message {
            wantlist: speaks_of_wants.then(|| proto::Wantlist {
                entries: entries.collect(),
                full: self.full,
            }),
            blocks: bare.iter().map(|block| block.data.clone()).collect(),
            payload: dressed
                .iter()
                .map(|block| proto::Block {
                    prefix: block.prefix.clone(),
                    data: block.data.clone(),
                })
                .collect(),
            presences: presences
                .map(|presence| proto::Presence {
                    cid: Bytes::from(presence.cid.to_bytes()),
                    kind: i32::from(!presence.held),
                })
                .collect(),
            pending_bytes: i32::try_from(self.pending).unwrap_or(i32::MAX),
        };
        raw.encode_to_vec()
    }
}

fn want(entry: &proto::Entry) -> Option<Want> {
    Some(Want {
        cid: Cid::try_from(&entry.block[..]).ok()?,
        priority: entry.priority,
        kind: match entry.want_type {
            0 => Kind::Block,
            _ => Kind::Have,
        },
        cancel: entry.cancel,
        send_dont_have: entry.send_dont_have,
    })
}

fn presence(raw: &proto::Presence) -> Option<Presence> {
    Some(Presence {
        cid: Cid::try_from(&raw.cid[..]).ok()?,
        held: raw.kind == 0,
    })
}

/// Counts what a message holds without decoding it.
fn check_items(bytes: &[u8]) -> Result<(), MessageError> {
    let mut items = 0;
    fields(bytes, &mut items, &mut |number, value, items| {
        if number == proto::WANTLIST {
            fields(value, items, &mut |_, _, _| Ok(()))?;
        }
        Ok(())
    })
}

type OnField<'a> = dyn FnMut(u64, &[u8], &mut usize) -> Result<(), MessageError> + 'a;

/// Steps over the fields of one protobuf message; tells of those with a length.
fn fields(
    mut bytes: &[u8],
    items: &mut usize,
    on_field: &mut OnField<'_>,
) -> Result<(), MessageError> {
    let malformed = |what: &str| MessageError::Malformed(what.to_owned());
    let varint = |bytes| unsigned_varint::decode::u64(bytes).map_err(|e| malformed(&e.to_string()));
    while !bytes.is_empty() {
        *items += 1;
        if *items > MAX_ITEMS {
            return Err(MessageError::TooMany);
        }
        let (key, rest) = varint(bytes)?;
        let skipped = match key & 7 {
            0 => rest.len() - varint(rest)?.1.len(),
            1 => 8,
            2 => {
                let (len, value) = varint(rest)?;
                let len = usize::try_from(len).map_err(|_| malformed("a length beyond memory"))?;
                let value = value.get(..len).ok_or_else(|| malformed("cut off"))?;
                on_field(key >> 3, value, items)?;
                rest.len() - varint(rest)?.1.len() + len
            }
            5 => 4,
            other => return Err(malformed(&format!("wire type {other}"))),
        };
        bytes = rest.get(skipped..).ok_or_else(|| malformed("cut off"))?;
    }
    Ok(())
}

/// The protobuf messages of the specification.
#[allow(
    clippy::wildcard_imports,
    unreachable_pub,
    reason = "derived code names things of its crate"
)]
mod proto {
    use bytes::Bytes;

    /// Number of the field of a message that holds wants.
    pub(super) const WANTLIST: u64 = 1;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(message, optional, tag = "1")]
        pub(super) wantlist: Option<Wantlist>,
        #[prost(bytes = "bytes", repeated, tag = "2")]
        pub(super) blocks: Vec<Bytes>,
        #[prost(message, repeated, tag = "3")]
        pub(super) payload: Vec<Block>,
        #[prost(message, repeated, tag = "4")]
        pub(super) presences: Vec<Presence>,
        #[prost(int32, tag = "5")]
        pub(super) pending_bytes: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Wantlist {
        #[prost(message, repeated, tag = "1")]
        pub(super) entries: Vec<Entry>,
        #[prost(bool, tag = "2")]
        pub(super) full: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Entry {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) block: Bytes,
        #[prost(int32, tag = "2")]
        pub(super) priority: i32,
        #[prost(bool, tag = "3")]
        pub(super) cancel: bool,
        #[prost(int32, tag = "4")]
        pub(super) want_type: i32,
        #[prost(bool, tag = "5")]
        pub(super) send_dont_have: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Block {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) prefix: Bytes,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) data: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Presence {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) cid: Bytes,
        #[prost(int32, tag = "2")]
        pub(super) kind: i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Codec;
    use proptest::prelude::*;

    fn cids() -> impl Strategy<Value = Cid> {
        (any::<bool>(), any::<u64>()).prop_map(|(raw, n)| {
            let codec = if raw { Codec::Raw } else { Codec::DagCbor };
            *Block::new(codec, n.to_be_bytes().to_vec()).cid()
        })
    }

    fn wants() -> impl Strategy<Value = Want> {
        (cids(), any::<i32>(), any::<[bool; 3]>()).prop_map(|(cid, priority, flags)| Want {
            cid,
            priority,
            kind: if flags[0] { Kind::Block } else { Kind::Have },
            cancel: flags[1],
            send_dont_have: flags[2],
        })
    }

    fn messages() -> impl Strategy<Value = Message> {
        let block = prop::collection::vec(any::<u8>(), 0..200)
            .prop_map(|data| Payload::from(&Block::new(Codec::Raw, data)));
        let presence = (cids(), any::<bool>()).prop_map(|(cid, held)| Presence { cid, held });
        (
            prop::collection::vec(wants(), 0..8),
            any::<bool>(),
            prop::collection::vec(block, 0..4),
            prop::collection::vec(presence, 0..4),
            0..=u32::try_from(i32::MAX).unwrap(),
        )
            .prop_map(|(wants, full, blocks, presences, pending)| Message {
                wants,
                full,
                blocks,
                presences,
                pending,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_it_was(message in messages()) {
            let bytes = message.encode(Dialect::V1_2);
            prop_assert_eq!(Message::decode(bytes.into()).unwrap(), message);
        }

        #[test]
        fn older_dialects_say_less_and_the_same_blocks(message in messages()) {
            for dialect in [Dialect::V1_1, Dialect::V1_0] {
                let read = Message::decode(message.encode(dialect).into()).unwrap();
                let data = |message: &Message| -> Vec<Bytes> {
                    message.blocks.iter().map(|block| block.data.clone()).collect()
                };
                prop_assert_eq!(data(&read), data(&message));
                prop_assert!(read.presences.is_empty());
                prop_assert!(read.wants.iter().all(|want| want.kind == Kind::Block));
                prop_assert_eq!(read.wants.len(), message.wants.len());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::decode(bytes.into());
        }
    }

    #[test]
    fn a_message_of_too_many_items_is_refused() {
        let want = Want {
            cid: *Block::new(Codec::Raw, &b"a"[..]).cid(),
            priority: 1,
            kind: Kind::Block,
            cancel: false,
            send_dont_have: true,
        };
        let of = |count| Message {
            wants: vec![want; count],
            ..Message::default()
        };
        let read = |count| Message::decode(of(count).encode(Dialect::V1_2).into());
        // The list itself is one.
        assert_eq!(read(MAX_ITEMS - 1).unwrap().wants.len(), MAX_ITEMS - 1);
        assert_eq!(read(MAX_ITEMS), Err(MessageError::TooMany));
        // Empty items cost two bytes each.
        let empty = [0x1a, 0x00].repeat(MAX_ITEMS + 1);
        assert_eq!(Message::decode(empty.into()), Err(MessageError::TooMany));
    }

    #[test]
    fn the_prefix_is_that_of_the_specification() {
        let payload = Payload::from(&Block::new(Codec::Raw, &b"a"[..]));
        assert_eq!(payload.prefix[..], [0x01, 0x55, 0x12, 0x20]);
    }
}
