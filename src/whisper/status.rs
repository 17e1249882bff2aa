//! The first packet each way: protocol version and what a peer wants.
//!
//! Always true:
//! - A [`Status`] carries a requirement that is finite and not negative.
//! - Only the version is mandatory. Reading stops at the first field that is
//!   missing or has another shape, as the reference nodes do; the rest takes
//!   its defaults. Fields beyond the known ones are ignored.
//!
//! Layout: `[version, pow bits, bloom (0 or 64 bytes), light, confirmations,
//! rate limits]`. geth sends four fields, status-go five.

use alloy_rlp::{Decodable, Header};
use bytes::Bytes;

use crate::whisper::bloom::Bloom;
use crate::whisper::pow::Pow;
use crate::whisper::rlp;

/// The protocol version spoken here.
pub const PROTOCOL_VERSION: u64 = 6;

/// What a peer says about itself when the connection opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The least work of envelopes it wants.
    pub pow: Pow,
    /// The topics it wants; `None` means everything and is sent as no bytes.
    pub bloom: Option<Bloom>,
    /// Whether it does not forward.
    pub light: bool,
    /// Whether it acknowledges batches; geth does not say.
    pub confirmations: Option<bool>,
}

impl Status {
    /// The filter to send by, full where none was given.
    pub fn filter(&self) -> Bloom {
        self.bloom.unwrap_or(Bloom::FULL)
    }
}

impl Default for Status {
    /// What a status of a version alone means.
    fn default() -> Self {
        Self {
            pow: Pow::ZERO,
            bloom: None,
            light: false,
            confirmations: None,
        }
    }
}

/// Why a status packet ends the connection. Always the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Not a list, or no version in it.
    #[error("status without a version: {0}")]
    NoVersion(#[from] alloy_rlp::Error),
    /// Another version of the protocol.
    #[error("status of protocol version {seen}, not {PROTOCOL_VERSION}")]
    Version {
        /// The version given.
        seen: u64,
    },
    /// A requirement that is NaN, infinite or negative.
    #[error("status with a PoW requirement of {bits:#018x}, which is no amount")]
    Pow {
        /// The bits given.
        bits: u64,
    },
    /// A filter that is neither absent nor 64 bytes.
    #[error("status with a bloom filter of {len} bytes")]
    BloomLength {
        /// Bytes given.
        len: usize,
    },
}

impl Status {
    /// The payload of packet 0.
    pub fn encode(&self) -> Bytes {
        let bloom = self.bloom.as_ref().map_or(&[][..], |bloom| &bloom.0);
        let pow = self.pow.to_bits();
        match self.confirmations {
            None => rlp::list(&[&PROTOCOL_VERSION, &pow, &bloom, &self.light]),
            Some(flag) => rlp::list(&[&PROTOCOL_VERSION, &pow, &bloom, &self.light, &flag]),
        }
    }

    /// Reads the payload of packet 0.
    pub fn decode(payload: &[u8]) -> Result<Self, StatusError> {
        let mut fields = Header::decode_bytes(&mut &payload[..], true)?;
        let version = u64::decode(&mut fields)?;
        if version != PROTOCOL_VERSION {
            return Err(StatusError::Version { seen: version });
        }
        let mut status = Self::default();
        let Ok(bits) = u64::decode(&mut fields) else {
            return Ok(status);
        };
        status.pow = Pow::requirement_from_bits(bits).ok_or(StatusError::Pow { bits })?;
        let Ok(bloom) = Header::decode_bytes(&mut fields, false) else {
            return Ok(status);
        };
        let len = bloom.len();
        let bloom_given = Bloom::from_wire(bloom).ok_or(StatusError::BloomLength { len })?;
        status.bloom = (len > 0).then_some(bloom_given);
        let Ok(light) = bool::decode(&mut fields) else {
            return Ok(status);
        };
        status.light = light;
        status.confirmations = bool::decode(&mut fields).ok();
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_bytes_status_go_sends() {
        let status = Status {
            pow: Pow::new(0.002).unwrap(),
            bloom: Some(Bloom::FULL),
            light: false,
            confirmations: Some(true),
        };
        let expected = format!("f84e06883f60624dd2f1a9fcb840{}8001", "ff".repeat(64));
        assert_eq!(hex::encode(status.encode()), expected);
        assert_eq!(Status::decode(&status.encode()), Ok(status));
    }

    #[test]
    fn an_absent_filter_wants_everything() {
        let status = Status::decode(&[0xc1, 0x06]).unwrap();
        assert_eq!(status, Status::default());
        assert!(status.filter().is_full());
    }
}
