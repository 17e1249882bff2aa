//! The body of the responder's packet.
//!
//! ```text
//! EIP-8:  RLP[ephemeral public key 64, nonce 32, version u, ignored..]
//! legacy: ephemeral public key 64 || nonce 32 || 00
//! ```

use alloy_rlp::{Decodable, Encodable, Header};

use super::auth::count_items;
use super::{Format, HandshakeError, RLPX_VERSION};
use crate::rlpx::NodeId;

/// Length of the plain form on the wire, encryption included.
pub(super) const LEGACY_ACK_PACKET: usize = LEGACY_ACK_BODY + crate::rlpx::ecies::OVERHEAD;
const LEGACY_ACK_BODY: usize = 64 + 32 + 1;

/// What a responder answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckBody {
    /// The responder's ephemeral key; not yet known to be a point.
    pub ephemeral: NodeId,
    /// The responder's nonce.
    pub nonce: [u8; 32],
    /// Protocol version, not compared (EIP-8).
    pub version: u64,
    /// How many further list elements there were, ignored (EIP-8).
    pub extra_fields: usize,
}

impl AckBody {
    /// The answer with these two values.
    pub(super) fn new(ephemeral: NodeId, nonce: [u8; 32]) -> Self {
        Self {
            ephemeral,
            nonce,
            version: RLPX_VERSION,
            extra_fields: 0,
        }
    }

    /// Reads a decrypted body. What follows an EIP-8 list is padding.
    pub fn decode(format: Format, body: &[u8]) -> Result<Self, HandshakeError> {
        match format {
            Format::Eip8 => Self::decode_list(body),
            Format::Legacy => Self::decode_plain(body),
        }
    }

    fn decode_list(mut body: &[u8]) -> Result<Self, HandshakeError> {
        let mut fields = Header::decode_bytes(&mut body, true)?;
        Ok(Self {
            ephemeral: NodeId(Decodable::decode(&mut fields)?),
            nonce: Decodable::decode(&mut fields)?,
            version: Decodable::decode(&mut fields)?,
            extra_fields: count_items(fields)?,
        })
    }

    fn decode_plain(body: &[u8]) -> Result<Self, HandshakeError> {
        let wrong_length = alloy_rlp::Error::UnexpectedLength;
        if body.len() != LEGACY_ACK_BODY {
            return Err(wrong_length.into());
        }
        let (ephemeral, rest) = body.split_first_chunk().ok_or(wrong_length)?;
        let (nonce, _) = rest.split_first_chunk().ok_or(wrong_length)?;
        Ok(Self::new(NodeId(*ephemeral), *nonce))
    }

    /// The body as `format` writes it, without padding.
    pub fn encode(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Eip8 => self.encode_list(),
            Format::Legacy => [&self.ephemeral.0[..], &self.nonce, &[0]].concat(),
        }
    }

    fn encode_list(&self) -> Vec<u8> {
        let payload_length =
            self.ephemeral.0.length() + self.nonce.length() + self.version.length();
        let header = Header {
            list: true,
            payload_length,
        };
        let mut out = Vec::with_capacity(header.length_with_payload());
        header.encode(&mut out);
        self.ephemeral.0.encode(&mut out);
        self.nonce.encode(&mut out);
        self.version.encode(&mut out);
        out
    }
}
