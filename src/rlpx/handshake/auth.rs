//! The body of the initiator's packet.
//!
//! ```text
//! EIP-8:  RLP[signature 65, static public key 64, nonce 32, version u, ignored..]
//! legacy: signature 65 || K(ephemeral public key) 32 || static public key 64 || nonce 32 || 00
//! ```

use alloy_rlp::{Decodable, Encodable, Header};
use secp256k1::SecretKey;

use super::{Format, HandshakeError, RLPX_VERSION, xor};
use crate::keccak::keccak256;
use crate::rlpx::signature::{self, SIGNATURE};
use crate::rlpx::{NodeId, NodeKey};

/// Length of the plain form on the wire, encryption included.
pub(super) const LEGACY_AUTH_PACKET: usize = LEGACY_AUTH_BODY + crate::rlpx::ecies::OVERHEAD;
const LEGACY_AUTH_BODY: usize = SIGNATURE + 32 + 64 + 32 + 1;

/// What an initiator says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthBody {
    /// By the ephemeral key, over `ECDH(static keys) XOR nonce`. The ephemeral
    /// key itself is not sent: it is recovered from this.
    pub signature: [u8; SIGNATURE],
    /// The initiator's static key; not yet known to be a point.
    pub initiator: NodeId,
    /// The initiator's nonce.
    pub nonce: [u8; 32],
    /// Protocol version, not compared (EIP-8).
    pub version: u64,
    /// How many further list elements there were, ignored (EIP-8).
    pub extra_fields: usize,
}

impl AuthBody {
    /// The body `key` sends when the static keys share `token`.
    pub(super) fn new(
        key: &NodeKey,
        ephemeral: &SecretKey,
        nonce: [u8; 32],
        token: &[u8; 32],
    ) -> Self {
        Self {
            signature: signature::sign(ephemeral, xor(token, &nonce)),
            initiator: key.id(),
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
            signature: Decodable::decode(&mut fields)?,
            initiator: NodeId(Decodable::decode(&mut fields)?),
            nonce: Decodable::decode(&mut fields)?,
            version: Decodable::decode(&mut fields)?,
            extra_fields: count_items(fields)?,
        })
    }

    fn decode_plain(body: &[u8]) -> Result<Self, HandshakeError> {
        let wrong_length = alloy_rlp::Error::UnexpectedLength;
        if body.len() != LEGACY_AUTH_BODY {
            return Err(wrong_length.into());
        }
        let (signature, rest) = body.split_first_chunk().ok_or(wrong_length)?;
        // The hash of the ephemeral key: the signature says more.
        let (_, rest) = rest.split_first_chunk::<32>().ok_or(wrong_length)?;
        let (initiator, rest) = rest.split_first_chunk().ok_or(wrong_length)?;
        let (nonce, _) = rest.split_first_chunk().ok_or(wrong_length)?;
        Ok(Self {
            signature: *signature,
            initiator: NodeId(*initiator),
            nonce: *nonce,
            version: RLPX_VERSION,
            extra_fields: 0,
        })
    }

    /// The EIP-8 list, without padding.
    pub fn encode(&self) -> Vec<u8> {
        let payload_length = self.signature.length()
            + self.initiator.0.length()
            + self.nonce.length()
            + self.version.length();
        let header = Header {
            list: true,
            payload_length,
        };
        let mut out = Vec::with_capacity(header.length_with_payload());
        header.encode(&mut out);
        self.signature.encode(&mut out);
        self.initiator.0.encode(&mut out);
        self.nonce.encode(&mut out);
        self.version.encode(&mut out);
        out
    }

    /// The plain body. `ephemeral` is the id of the key that signed it.
    pub fn encode_plain(&self, ephemeral: &NodeId) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEGACY_AUTH_BODY);
        out.extend_from_slice(&self.signature);
        out.extend_from_slice(&keccak256(ephemeral.0));
        out.extend_from_slice(&self.initiator.0);
        out.extend_from_slice(&self.nonce);
        out.push(0);
        out
    }
}

/// How many well-formed items a list's payload holds. Does not descend, so
/// nested lists cost nothing.
pub(in crate::rlpx) fn count_items(mut payload: &[u8]) -> Result<usize, alloy_rlp::Error> {
    let mut count = 0;
    while !payload.is_empty() {
        let header = Header::decode(&mut payload)?;
        payload = &payload[header.payload_length..];
        count += 1;
    }
    Ok(count)
}
