//! How a node tells a peer what became of a batch of envelopes.
//!
//! Always true: a response of version 1 names its batch and each envelope in it
//! that was not taken; anything else is kept as "not understood", which is no
//! error, since later versions may say more.
//!
//! Layout of packet 12: `[version, [batch hash, [[envelope hash, code,
//! description]...]]]` (status-go's whisper fork).

use std::fmt;

use alloy_rlp::{Decodable, Header};
use bytes::Bytes;

use crate::whisper::EnvelopeHash;
use crate::whisper::admission::Refusal;
use crate::whisper::packet::MAX_BATCH_ENVELOPES;
use crate::whisper::rlp::{self, Encoded};

/// The version of response written and understood here.
pub const RESPONSE_VERSION: u64 = 1;

/// The most envelopes one response blames. Each takes some 170 bytes, so that
/// the packet stays below the 1 MiB that every peer accepts.
pub const MAX_FAULTS: usize = 4_096;

/// Keccak-256 of a messages packet's payload.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchHash(pub [u8; 32]);

impl fmt::Display for BatchHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for BatchHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchHash({self})")
    }
}

/// Why an envelope of a batch was not taken, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultCode(pub u64);

impl FaultCode {
    /// Sender and receiver disagree about the time. On the wire it is 36, an
    /// accident of the reference's constants that everybody now depends on.
    pub const TIME: Self = Self(36);
    /// Anything else. The reference means to send it and sends 36.
    pub const OTHER: Self = Self(37);
}

/// One envelope that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeFault {
    /// The envelope.
    pub hash: EnvelopeHash,
    /// Why, as a number.
    pub code: FaultCode,
    /// Why, in words.
    pub description: String,
}

impl EnvelopeFault {
    /// The fault to report for a refusal.
    pub fn of_refusal(hash: EnvelopeHash, refusal: &Refusal) -> Self {
        let code = if refusal.is_about_time() {
            FaultCode::TIME
        } else {
            FaultCode::OTHER
        };
        Self {
            hash,
            code,
            description: refusal.to_string(),
        }
    }
}

/// Packet 12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageResponse {
    /// What became of a batch: all of it was taken, but for these.
    Batch {
        /// The batch.
        batch: BatchHash,
        /// Envelopes not taken.
        faults: Vec<EnvelopeFault>,
    },
    /// Another version, or a body that does not read: to be ignored.
    NotUnderstood {
        /// The version given.
        version: u64,
    },
}

impl MessageResponse {
    /// Everything in `batch` was taken.
    pub fn accepted(batch: BatchHash) -> Self {
        Self::Batch {
            batch,
            faults: Vec::new(),
        }
    }

    /// The payload of packet 12. A response not understood has no body to
    /// write; it becomes an empty list.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Batch { batch, faults } => {
                let faults: Vec<Bytes> = faults.iter().map(encode_fault).collect();
                let faults = rlp::list_of_encoded(faults.iter().map(AsRef::as_ref));
                let body = rlp::list(&[&batch.0, &Encoded(&faults)]);
                rlp::list(&[&RESPONSE_VERSION, &Encoded(&body)])
            }
            Self::NotUnderstood { version } => rlp::list(&[version, &Encoded(&[0xc0])]),
        }
    }

    /// Reads the payload of packet 12. Only the outer list and the version must
    /// be well formed.
    pub fn decode(payload: &[u8]) -> Result<Self, alloy_rlp::Error> {
        let mut fields = Header::decode_bytes(&mut &payload[..], true)?;
        let version = u64::decode(&mut fields)?;
        Header::decode_raw(&mut &fields[..])?;
        if version != RESPONSE_VERSION {
            return Ok(Self::NotUnderstood { version });
        }
        Ok(decode_batch(fields).unwrap_or(Self::NotUnderstood { version }))
    }
}

fn encode_fault(fault: &EnvelopeFault) -> Bytes {
    rlp::list(&[&fault.hash.0, &fault.code.0, &fault.description.as_bytes()])
}

fn decode_batch(mut fields: &[u8]) -> Result<MessageResponse, alloy_rlp::Error> {
    let mut body = Header::decode_bytes(&mut fields, true)?;
    let batch = BatchHash(<[u8; 32]>::decode(&mut body)?);
    let mut list = Header::decode_bytes(&mut body, true)?;
    let mut faults = Vec::new();
    while !list.is_empty() {
        if faults.len() == MAX_BATCH_ENVELOPES {
            return Err(alloy_rlp::Error::Custom("more faults than envelopes"));
        }
        let mut fault = Header::decode_bytes(&mut list, true)?;
        faults.push(EnvelopeFault {
            hash: EnvelopeHash(<[u8; 32]>::decode(&mut fault)?),
            code: FaultCode(u64::decode(&mut fault)?),
            description: String::from_utf8_lossy(Header::decode_bytes(&mut fault, false)?)
                .into_owned(),
        });
        if !fault.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
    }
    Ok(MessageResponse::Batch { batch, faults })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_batch_is_the_bytes_status_go_sends() {
        let accepted = MessageResponse::accepted(BatchHash([0xab; 32]));
        assert_eq!(
            hex::encode(accepted.encode()),
            format!("e401e2a0{}c0", "ab".repeat(32))
        );
        assert_eq!(MessageResponse::decode(&accepted.encode()), Ok(accepted));
    }

    #[test]
    fn the_longest_response_fits_into_a_packet() {
        let hash = EnvelopeHash([0xff; 32]);
        let refusal = Refusal::LowPow {
            pow: crate::whisper::Pow::new(999.999_999).unwrap(),
            min: crate::whisper::Pow::INFINITE,
            hash,
        };
        let response = MessageResponse::Batch {
            batch: BatchHash([0xff; 32]),
            faults: vec![EnvelopeFault::of_refusal(hash, &refusal); MAX_FAULTS],
        };
        let len = response.encode().len();
        assert!(len < crate::whisper::peer::PACKET_LIMIT, "{len}");
    }

    #[test]
    fn a_body_that_does_not_read_is_not_understood() {
        for payload in ["c301c178", "c302c178", "c201c0"] {
            let payload = hex::decode(payload).unwrap();
            assert!(matches!(
                MessageResponse::decode(&payload),
                Ok(MessageResponse::NotUnderstood { .. })
            ));
        }
        assert!(MessageResponse::decode(&[0x80]).is_err());
        assert!(MessageResponse::decode(&[0xc0]).is_err());
    }
}
