//! One encrypted Whisper message, as it crosses the wire.
//!
//! Always true:
//! - An [`Envelope`] holds its RLP bytes exactly as received, and they are
//!   canonical: encoding its fields again gives the same bytes.
//! - Its identity is the Keccak-256 of those bytes.
//! - Nothing here judges time, work or size; that is `whisper::admission`.
//!
//! Layout (EIP-627): `RLP[expiry u32, ttl u32, topic 4 bytes, data, nonce u64]`.

use std::fmt;
use std::str::FromStr;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Bytes, BytesMut};

use crate::keccak::keccak256;
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::Topic;

/// What the reference nodes count for an envelope's fields beside its data:
/// its size is `20 + len(data)`, not the length of the RLP.
pub const ENVELOPE_HEADER_SIZE: usize = 20;

/// The Keccak-256 of an envelope's RLP bytes: its identity everywhere.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvelopeHash(pub [u8; 32]);

impl fmt::Display for EnvelopeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for EnvelopeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvelopeHash({self})")
    }
}

impl FromStr for EnvelopeHash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut hash)?;
        Ok(Self(hash))
    }
}

/// One envelope. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    rlp: Bytes,
    hash: EnvelopeHash,
    expiry: Expiry,
    ttl: Ttl,
    topic: Topic,
    data_at: usize,
    data_len: usize,
    nonce: u64,
}

/// Why bytes are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The RLP is malformed or not canonical, or a field has the wrong shape.
    #[error("not a canonical RLP envelope: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// Fewer or more than the five fields.
    #[error("envelope list does not hold exactly 5 fields")]
    FieldCount,
    /// Bytes follow the envelope.
    #[error("{0} bytes follow the envelope")]
    Trailing(usize),
}

impl Envelope {
    /// Builds an envelope from its fields.
    pub fn new(expiry: Expiry, ttl: Ttl, topic: Topic, data: &[u8], nonce: u64) -> Self {
        let payload_length =
            expiry.0.length() + ttl.0.length() + topic.0.length() + data.length() + nonce.length();
        let header = Header {
            list: true,
            payload_length,
        };
        let mut rlp = BytesMut::with_capacity(header.length_with_payload());
        header.encode(&mut rlp);
        expiry.0.encode(&mut rlp);
        ttl.0.encode(&mut rlp);
        topic.0.encode(&mut rlp);
        data.encode(&mut rlp);
        let data_end = rlp.len();
        nonce.encode(&mut rlp);
        let rlp = rlp.freeze();
        Self {
            hash: EnvelopeHash(keccak256(&rlp)),
            expiry,
            ttl,
            topic,
            data_at: data_end - data.len(),
            data_len: data.len(),
            nonce,
            rlp,
        }
    }

    /// Reads the envelope that fills `rlp` entirely; the bytes are shared, not
    /// copied.
    pub fn decode(rlp: &Bytes) -> Result<Self, EnvelopeError> {
        let mut rest = rlp.clone();
        let envelope = Self::decode_first(&mut rest)?;
        if !rest.is_empty() {
            return Err(EnvelopeError::Trailing(rest.len()));
        }
        Ok(envelope)
    }

    /// Reads the envelope at the start of `bytes` and advances past it. On an
    /// error `bytes` is left as it was.
    pub fn decode_first(bytes: &mut Bytes) -> Result<Self, EnvelopeError> {
        let fields = EnvelopeFields::decode_first(bytes)?;
        let rlp = bytes.split_to(fields.rlp_len);
        let hash = EnvelopeHash(keccak256(&rlp));
        Ok(Self::of_fields(rlp, fields, hash))
    }

    /// Reads the envelope that fills `rlp` entirely and is known by `hash`: of
    /// bytes that were hashed when they were stored, and found unchanged.
    pub(crate) fn known(rlp: &Bytes, hash: EnvelopeHash) -> Result<Self, EnvelopeError> {
        let fields = EnvelopeFields::decode_first(rlp)?;
        if fields.rlp_len != rlp.len() {
            return Err(EnvelopeError::Trailing(rlp.len() - fields.rlp_len));
        }
        Ok(Self::of_fields(rlp.clone(), fields, hash))
    }

    fn of_fields(rlp: Bytes, fields: EnvelopeFields, hash: EnvelopeHash) -> Self {
        Self {
            hash,
            expiry: fields.expiry,
            ttl: fields.ttl,
            topic: fields.topic,
            data_at: fields.data_at,
            data_len: fields.data_len,
            nonce: fields.nonce,
            rlp,
        }
    }

    /// The RLP bytes, exactly as received.
    pub fn rlp(&self) -> &Bytes {
        &self.rlp
    }

    /// Keccak-256 of [`Self::rlp`].
    pub fn hash(&self) -> EnvelopeHash {
        self.hash
    }

    /// When it dies.
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// How long it lives.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// When it was sent: `expiry - ttl`, wrapping in 32 bits.
    pub fn sent(&self) -> UnixSeconds {
        self.expiry.sent(self.ttl)
    }

    /// Its topic.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// The ciphertext.
    pub fn data(&self) -> &[u8] {
        &self.rlp[self.data_at..self.data_at + self.data_len]
    }

    /// The number searched for by mining.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Bytes of the list header in front of the fields.
    pub(crate) fn list_header_len(&self) -> usize {
        // Only headers of canonical lists are held here, and the fields fill
        // the list, so the header is what the payload's length needs.
        let fields = self.expiry.0.length()
            + self.ttl.0.length()
            + self.topic.0.length()
            + self.data().length()
            + self.nonce.length();
        self.rlp.len() - fields
    }

    /// The same envelope in bytes of its own. One cut out of a packet keeps the
    /// whole packet in memory; this does not.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            rlp: Bytes::copy_from_slice(&self.rlp),
            ..self.clone()
        }
    }

    /// Size in bytes as Whisper counts it: 20 + length of the data.
    pub fn size(&self) -> usize {
        ENVELOPE_HEADER_SIZE + self.data_len
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("hash", &self.hash)
            .field("sent", &self.sent())
            .field("ttl", &self.ttl)
            .field("topic", &self.topic)
            .field("data_len", &self.data_len)
            .finish_non_exhaustive()
    }
}

/// The fields of an envelope and where its data lies, read without hashing or
/// copying. For scans that need only the topic and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeFields {
    /// When it dies.
    pub expiry: Expiry,
    /// How long it lives.
    pub ttl: Ttl,
    /// Its topic.
    pub topic: Topic,
    /// Its nonce.
    pub nonce: u64,
    /// Length of the whole RLP in bytes.
    pub rlp_len: usize,
    /// Offset of the data within the RLP.
    pub data_at: usize,
    /// Length of the data in bytes.
    pub data_len: usize,
}

impl EnvelopeFields {
    /// Reads the fields of the envelope at the start of `bytes`.
    pub fn decode_first(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let mut rest = bytes;
        let mut fields = Header::decode_bytes(&mut rest, true)?;
        let rlp_len = bytes.len() - rest.len();
        let fields_at = rlp_len - fields.len();
        let all_fields = fields.len();

        let expiry = Expiry(next_field(&mut fields)?);
        let ttl = Ttl(next_field(&mut fields)?);
        let topic = Topic(next_field(&mut fields)?);
        if fields.is_empty() {
            return Err(EnvelopeError::FieldCount);
        }
        let data = Header::decode_bytes(&mut fields, false)?;
        let data_end = fields_at + all_fields - fields.len();
        let nonce = next_field(&mut fields)?;
        if !fields.is_empty() {
            return Err(EnvelopeError::FieldCount);
        }
        Ok(Self {
            expiry,
            ttl,
            topic,
            nonce,
            rlp_len,
            data_at: data_end - data.len(),
            data_len: data.len(),
        })
    }

    /// When it was sent: `expiry - ttl`, wrapping in 32 bits.
    pub fn sent(&self) -> UnixSeconds {
        self.expiry.sent(self.ttl)
    }
}

fn next_field<T: Decodable>(fields: &mut &[u8]) -> Result<T, EnvelopeError> {
    if fields.is_empty() {
        return Err(EnvelopeError::FieldCount);
    }
    Ok(T::decode(fields)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Envelope {
        Envelope::new(
            Expiry(1_600_000_000),
            Ttl(50),
            Topic([1, 2, 3, 4]),
            &[0xde, 0xad, 0xbe, 0xef],
            6_156,
        )
    }

    #[test]
    fn fields_encode_to_the_bytes_and_hash_geth_gives() {
        let envelope = example();
        assert_eq!(
            hex::encode(envelope.rlp()),
            "d3845f5e100032840102030484deadbeef82180c"
        );
        assert_eq!(
            envelope.hash().to_string(),
            "0x8ccbd4795a2f0cd96bead3776e4c403618c888133eacb0ee32c5aa72d0f11b43"
        );
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        let envelope = example();
        let decoded = Envelope::decode(envelope.rlp()).unwrap();
        assert_eq!(decoded, envelope);
        assert_eq!(
            Envelope::known(envelope.rlp(), envelope.hash()).unwrap(),
            envelope
        );
        assert_eq!(decoded.data(), [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(decoded.sent(), UnixSeconds(1_599_999_950));
        assert_eq!(decoded.size(), 24);
    }

    #[test]
    fn trailing_bytes_and_other_field_counts_are_refused() {
        let mut longer = example().rlp().to_vec();
        longer.push(0);
        assert_eq!(
            Envelope::decode(&longer.into()),
            Err(EnvelopeError::Trailing(1))
        );
        let four = hex::decode("d0845f5e100032840102030484deadbeef").unwrap();
        assert_eq!(
            Envelope::decode(&four.into()),
            Err(EnvelopeError::FieldCount)
        );
        let six = hex::decode("d4845f5e100032840102030484deadbeef82180c01").unwrap();
        assert_eq!(
            Envelope::decode(&six.into()),
            Err(EnvelopeError::FieldCount)
        );
    }

    #[test]
    fn a_failed_read_leaves_the_input_alone() {
        let mut bytes = Bytes::from_static(&[0xd3, 0x84]);
        assert!(Envelope::decode_first(&mut bytes).is_err());
        assert_eq!(bytes.len(), 2);
    }
}
