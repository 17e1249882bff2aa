//! The packets of `shh/6`, between payload bytes and values.
//!
//! Always true:
//! - Decoding allocates in proportion to the bytes received; a list of
//!   envelopes holds at most [`MAX_BATCH_ENVELOPES`].
//! - Whatever geth or status-go accepts is accepted: bytes after a packet's
//!   first item are ignored, as geth does. Envelopes themselves are strict.
//! - Every [`PacketError`] is the peer's fault.
//!
//! Elsewhere: status fields (`whisper::status`), answers to mail requests
//! (`mailserver::response`), who may send what (`whisper::peer`).

use alloy_rlp::{Decodable, Header};
use bytes::Bytes;

use crate::keccak::keccak256;
use crate::whisper::bloom::{BLOOM_SIZE, Bloom};
use crate::whisper::confirm::{BatchHash, MessageResponse};
use crate::whisper::pow::Pow;
use crate::whisper::rlp;
use crate::whisper::status::{Status, StatusError};
use crate::whisper::{Envelope, EnvelopeError};

/// The capability's name and version in Hello.
pub const CAPABILITY: (&str, u64) = ("shh", 6);

/// Message codes the capability reserves, in geth and status-go alike.
pub const CODES_RESERVED: u64 = 128;

/// The most envelopes taken from one packet. A packet holds at most 16 MiB, and
/// every known client pads its messages to 256 bytes, so more than this is
/// somebody making us allocate.
pub const MAX_BATCH_ENVELOPES: usize = (16 << 20) / 256;

/// Packet codes, before the capability's offset is added.
pub mod code {
    #![allow(missing_docs, reason = "the names are the protocol's own")]
    pub const STATUS: u8 = 0;
    pub const MESSAGES: u8 = 1;
    pub const POW_REQUIREMENT: u8 = 2;
    pub const BLOOM_FILTER: u8 = 3;
    pub const BATCH_ACKNOWLEDGED: u8 = 11;
    pub const MESSAGE_RESPONSE: u8 = 12;
    pub const RATE_LIMITS: u8 = 20;
    pub const SYNC_REQUEST: u8 = 123;
    pub const SYNC_RESPONSE: u8 = 124;
    pub const REQUEST_COMPLETE: u8 = 125;
    pub const REQUEST: u8 = 126;
    pub const P2P_MESSAGE: u8 = 127;
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Code 0.
    Status(Status),
    /// Code 1: envelopes for everyone.
    Messages(Vec<Envelope>),
    /// Code 2: the least work the peer now wants.
    PowRequirement(Pow),
    /// Code 3: the topics the peer now wants.
    BloomFilter(Bloom),
    /// Code 11: a batch arrived.
    BatchAcknowledged(BatchHash),
    /// Code 12: what was wrong in a batch.
    MessageResponse(MessageResponse),
    /// Code 123: the payload of one mailserver asking another.
    SyncRequest(Bytes),
    /// Code 124: the payload answering it.
    SyncResponse(Bytes),
    /// Code 125: the byte string that ends an answer, see
    /// `mailserver::response`.
    RequestComplete(Bytes),
    /// Code 126: the payload of a mail request, see `mailserver::request`.
    Request(Bytes),
    /// Code 127: envelopes for this peer alone. One travels bare, several in a
    /// list.
    P2pMessage(Vec<Envelope>),
    /// A code without a meaning here, among them 20 (rate limits), which only a
    /// specification knows.
    Ignored(u8),
}

/// Why a payload is not the packet its code says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The status is not acceptable.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The outer RLP item is malformed or of the wrong kind.
    #[error("packet {code} is not what it should be: {error}")]
    Rlp {
        /// Packet code.
        code: u8,
        /// What is wrong.
        error: alloy_rlp::Error,
    },
    /// An element of a list of envelopes is none.
    #[error("packet {code}, element {at}: {error}")]
    Envelope {
        /// Packet code.
        code: u8,
        /// Position in the list, from 0.
        at: usize,
        /// What is wrong.
        error: EnvelopeError,
    },
    /// More envelopes than taken from one packet.
    #[error("packet {code} holds more than {MAX_BATCH_ENVELOPES} envelopes")]
    TooManyEnvelopes {
        /// Packet code.
        code: u8,
    },
    /// A requirement that is NaN, infinite or negative.
    #[error("a PoW requirement of {bits:#018x} is no amount")]
    Pow {
        /// The bits given.
        bits: u64,
    },
    /// A filter of another length than 64 bytes.
    #[error("a bloom filter of {len} bytes")]
    BloomLength {
        /// Bytes given.
        len: usize,
    },
}

impl Packet {
    /// Its code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Status(_) => code::STATUS,
            Self::Messages(_) => code::MESSAGES,
            Self::PowRequirement(_) => code::POW_REQUIREMENT,
            Self::BloomFilter(_) => code::BLOOM_FILTER,
            Self::BatchAcknowledged(_) => code::BATCH_ACKNOWLEDGED,
            Self::MessageResponse(_) => code::MESSAGE_RESPONSE,
            Self::SyncRequest(_) => code::SYNC_REQUEST,
            Self::SyncResponse(_) => code::SYNC_RESPONSE,
            Self::RequestComplete(_) => code::REQUEST_COMPLETE,
            Self::Request(_) => code::REQUEST,
            Self::P2pMessage(_) => code::P2P_MESSAGE,
            Self::Ignored(code) => *code,
        }
    }

    /// Its payload.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Status(status) => status.encode(),
            Self::Messages(envelopes) => encode_list(envelopes),
            Self::PowRequirement(pow) => alloy_rlp::encode(pow.to_bits()).into(),
            Self::BloomFilter(bloom) => alloy_rlp::encode(bloom.0).into(),
            Self::BatchAcknowledged(hash) => alloy_rlp::encode(hash.0).into(),
            Self::MessageResponse(response) => response.encode(),
            Self::SyncRequest(payload) | Self::SyncResponse(payload) | Self::Request(payload) => {
                payload.clone()
            }
            Self::RequestComplete(completion) => alloy_rlp::encode(&completion[..]).into(),
            Self::P2pMessage(envelopes) => match envelopes.as_slice() {
                [one] => one.rlp().clone(),
                several => encode_list(several),
            },
            Self::Ignored(_) => Bytes::from_static(&[0xc0]),
        }
    }

    /// Reads the packet of `code`. Envelopes share the payload's bytes.
    pub fn decode(code: u8, payload: &Bytes) -> Result<Self, PacketError> {
        let rlp = |error| PacketError::Rlp { code, error };
        Ok(match code {
            code::STATUS => Self::Status(Status::decode(payload)?),
            code::MESSAGES => Self::Messages(decode_list(code, payload)?),
            code::POW_REQUIREMENT => {
                let bits = u64::decode(&mut &payload[..]).map_err(rlp)?;
                Self::PowRequirement(
                    Pow::requirement_from_bits(bits).ok_or(PacketError::Pow { bits })?,
                )
            }
            code::BLOOM_FILTER => {
                let bytes = Header::decode_bytes(&mut &payload[..], false).map_err(rlp)?;
                let len = bytes.len();
                let bloom: [u8; BLOOM_SIZE] = bytes
                    .try_into()
                    .map_err(|_| PacketError::BloomLength { len })?;
                Self::BloomFilter(Bloom(bloom))
            }
            code::BATCH_ACKNOWLEDGED => Self::BatchAcknowledged(BatchHash(
                <[u8; 32]>::decode(&mut &payload[..]).map_err(rlp)?,
            )),
            code::MESSAGE_RESPONSE => {
                Self::MessageResponse(MessageResponse::decode(payload).map_err(rlp)?)
            }
            code::SYNC_REQUEST => Self::SyncRequest(payload.clone()),
            code::SYNC_RESPONSE => Self::SyncResponse(payload.clone()),
            code::REQUEST_COMPLETE => {
                let bytes = Header::decode_bytes(&mut &payload[..], false).map_err(rlp)?;
                Self::RequestComplete(payload.slice_ref(bytes))
            }
            code::REQUEST => Self::Request(payload.clone()),
            code::P2P_MESSAGE => Self::P2pMessage(decode_p2p(code, payload)?),
            other => Self::Ignored(other),
        })
    }
}

/// The envelopes of a packet of them. They share the payload's bytes.
pub fn envelopes_of(payload: &Bytes) -> Result<Vec<Envelope>, PacketError> {
    decode_list(code::MESSAGES, payload)
}

/// The identity of a batch: Keccak-256 of the payload of its packet.
pub fn batch_hash(payload: &[u8]) -> BatchHash {
    BatchHash(keccak256(payload))
}

/// Bytes of a list packet whose envelopes take `rlp_bytes` together.
pub fn list_packet_len(rlp_bytes: usize) -> usize {
    Header {
        list: true,
        payload_length: rlp_bytes,
    }
    .length_with_payload()
}

fn encode_list(envelopes: &[Envelope]) -> Bytes {
    rlp::list_of_encoded(envelopes.iter().map(|envelope| envelope.rlp().as_ref()))
}

fn decode_list(code: u8, payload: &Bytes) -> Result<Vec<Envelope>, PacketError> {
    let list = Header::decode_bytes(&mut &payload[..], true)
        .map_err(|error| PacketError::Rlp { code, error })?;
    let mut rest = payload.slice_ref(list);
    let mut envelopes = Vec::new();
    while !rest.is_empty() {
        if envelopes.len() == MAX_BATCH_ENVELOPES {
            return Err(PacketError::TooManyEnvelopes { code });
        }
        let envelope =
            Envelope::decode_first(&mut rest).map_err(|error| PacketError::Envelope {
                code,
                at: envelopes.len(),
                error,
            })?;
        envelopes.push(envelope);
    }
    Ok(envelopes)
}

/// A list of envelopes, or one bare: told apart by the first inner item, which
/// is a list in the one case and a string in the other.
fn decode_p2p(code: u8, payload: &Bytes) -> Result<Vec<Envelope>, PacketError> {
    let inner = Header::decode_bytes(&mut &payload[..], true)
        .map_err(|error| PacketError::Rlp { code, error })?;
    let holds_lists = inner.first().is_none_or(|first| *first >= 0xc0);
    if holds_lists {
        return decode_list(code, payload);
    }
    Envelope::decode_first(&mut payload.clone())
        .map(|envelope| vec![envelope])
        .map_err(|error| PacketError::Envelope { code, at: 0, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;

    fn envelope(nonce: u64) -> Envelope {
        Envelope::new(
            Expiry(1_600_000_000),
            Ttl(50),
            Topic([1, 2, 3, 4]),
            &[7; 60],
            nonce,
        )
    }

    fn round_trip(packet: &Packet) {
        assert_eq!(
            Packet::decode(packet.code(), &packet.encode()).as_ref(),
            Ok(packet)
        );
    }

    #[test]
    fn packets_read_as_they_are_written() {
        let batch = BatchHash([9; 32]);
        for packet in [
            Packet::Status(Status::default()),
            Packet::Messages(vec![]),
            Packet::Messages(vec![envelope(1), envelope(2)]),
            Packet::PowRequirement(Pow::STATUS_DEFAULT),
            Packet::PowRequirement(Pow::ZERO),
            Packet::BloomFilter(Bloom::EMPTY),
            Packet::BatchAcknowledged(batch),
            Packet::MessageResponse(MessageResponse::accepted(batch)),
            Packet::RequestComplete(Bytes::from_static(b"abc")),
            Packet::P2pMessage(vec![]),
            Packet::P2pMessage(vec![envelope(1)]),
            Packet::P2pMessage(vec![envelope(1), envelope(2)]),
            Packet::Ignored(20),
        ] {
            round_trip(&packet);
        }
    }

    #[test]
    fn one_envelope_for_a_peer_travels_bare() {
        let packet = Packet::P2pMessage(vec![envelope(1)]);
        assert_eq!(packet.encode(), envelope(1).rlp());
    }

    #[test]
    fn a_list_of_one_for_a_peer_is_read_too() {
        let list = Packet::Messages(vec![envelope(1)]).encode();
        assert_eq!(
            Packet::decode(code::P2P_MESSAGE, &list),
            Ok(Packet::P2pMessage(vec![envelope(1)]))
        );
    }

    #[test]
    fn a_bare_envelope_is_no_list_of_messages() {
        assert!(matches!(
            Packet::decode(code::MESSAGES, envelope(1).rlp()),
            Err(PacketError::Envelope { at: 0, .. })
        ));
    }

    #[test]
    fn a_packet_of_endless_tiny_envelopes_is_refused() {
        let tiny = Envelope::new(Expiry(0), Ttl(0), Topic::default(), &[], 0);
        let many = vec![tiny; MAX_BATCH_ENVELOPES + 1];
        assert_eq!(
            Packet::decode(code::MESSAGES, &Packet::Messages(many).encode()),
            Err(PacketError::TooManyEnvelopes {
                code: code::MESSAGES
            })
        );
    }
}
