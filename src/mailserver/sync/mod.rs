//! Mailservers synchronising, as status-go's do: packets 123 and 124.
//!
//! A server asks another for what was sent in a range, page by page. There is no
//! request id and no authentication: one request is open at a time, and what is
//! archived is public.
//!
//! Always true:
//! - A request that decodes is well-formed: its limit, range and bloom hold.
//! - An answer ends with one final response, or one that says why not. The final
//!   one has a cursor exactly if more follows.

pub mod client;
pub(super) mod serve;

use alloy_rlp::{Decodable, Header};
use bytes::Bytes;

use crate::mailserver::Cursor;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::bloom::{BLOOM_SIZE, Bloom};
use crate::whisper::rlp::{self, Encoded};
use crate::whisper::{Envelope, EnvelopeError};

/// The most envelopes of a page: status-go's number.
pub const MAX_SYNC_LIMIT: u32 = 1_000;

/// What status-go's server says to one who asks too often.
pub const TOO_MANY_SYNCS: &str = "requests per seconds limit exceeded";

/// A page asked for: the payload of packet 123.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// When the envelopes were sent.
    pub range: TimeRange,
    /// Their topics.
    pub topics: Bloom,
    /// At most so many, 1 to [`MAX_SYNC_LIMIT`].
    pub limit: u32,
    /// Only what sorts after it.
    pub cursor: Option<Cursor>,
}

/// Why a payload is no request. The connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncRequestError {
    /// It is not five fields of RLP.
    #[error("malformed sync request: {0}")]
    Rlp(alloy_rlp::Error),
    /// The limit is 0.
    #[error("invalid 'Limit' value, expected value greater than 0")]
    NoLimit,
    /// The limit is too large.
    #[error("invalid 'Limit' value, expected value lower than 1000")]
    Limit,
    /// The range ends before it starts.
    #[error("invalid 'Lower' value, can't be greater than 'Upper'")]
    Reversed,
    /// The bloom is neither empty nor 64 bytes.
    #[error("invalid 'Bloom' of {len} bytes")]
    Bloom {
        /// Its bytes.
        len: usize,
    },
}

impl SyncRequestError {
    /// Whether the peer is told why before the connection ends. status-go's
    /// server ends it without a word.
    pub fn is_told(&self) -> bool {
        !matches!(self, Self::Rlp(_))
    }
}

impl SyncRequest {
    /// Its payload.
    pub fn encode(&self) -> Bytes {
        let cursor = self.cursor.map(Cursor::to_bytes);
        rlp::list(&[
            &self.range.from().0,
            &self.range.to().0,
            &&self.topics.0[..],
            &self.limit,
            &cursor.as_ref().map_or(&[][..], |cursor| &cursor[..]),
        ])
    }

    /// Reads a payload. An empty bloom means everything, where status-go's server
    /// crashes.
    pub fn decode(payload: &[u8]) -> Result<Self, SyncRequestError> {
        let malformed = SyncRequestError::Rlp;
        let mut fields = Header::decode_bytes(&mut &payload[..], true).map_err(malformed)?;
        let rest = &mut fields;
        let lower = u32::decode(rest).map_err(malformed)?;
        let upper = u32::decode(rest).map_err(malformed)?;
        let bloom = Header::decode_bytes(rest, false).map_err(malformed)?;
        let limit = u32::decode(rest).map_err(malformed)?;
        let cursor = Header::decode_bytes(rest, false).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(malformed(alloy_rlp::Error::UnexpectedLength));
        }
        match limit {
            0 => return Err(SyncRequestError::NoLimit),
            1..=MAX_SYNC_LIMIT => {}
            _ => return Err(SyncRequestError::Limit),
        }
        let range = TimeRange::new(UnixSeconds(lower), UnixSeconds(upper))
            .map_err(|_| SyncRequestError::Reversed)?;
        let topics = match <[u8; BLOOM_SIZE]>::try_from(bloom) {
            Ok(bloom) => Bloom(bloom),
            Err(_) if bloom.is_empty() => Bloom::FULL,
            Err(_) => return Err(SyncRequestError::Bloom { len: bloom.len() }),
        };
        Ok(Self {
            range,
            topics,
            limit,
            cursor: Cursor::from_wire(cursor),
        })
    }
}

/// A part of an answer: the payload of packet 124.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncResponse {
    /// Envelopes of the page.
    pub envelopes: Vec<Envelope>,
    /// In the last response, where to go on if more follows.
    pub cursor: Option<Cursor>,
    /// Whether it is the last.
    pub is_final: bool,
    /// Why the page was not given; empty if it is.
    pub error: String,
}

/// Why a payload is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncResponseError {
    /// It is not four fields of RLP.
    #[error("malformed sync response: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// One of its envelopes is none.
    #[error("sync response: {0}")]
    Envelope(#[from] EnvelopeError),
    /// It holds more envelopes than a page.
    #[error("a sync response of more than {MAX_SYNC_LIMIT} envelopes")]
    TooMany,
}

impl SyncResponse {
    /// Some envelopes of a page.
    pub fn some(envelopes: Vec<Envelope>) -> Self {
        Self {
            envelopes,
            cursor: None,
            is_final: false,
            error: String::new(),
        }
    }

    /// The end of a page.
    pub fn end(cursor: Option<Cursor>) -> Self {
        Self {
            cursor,
            is_final: true,
            ..Self::some(Vec::new())
        }
    }

    /// The end of one that is not given.
    pub fn failed(why: impl Into<String>) -> Self {
        Self {
            error: why.into(),
            ..Self::some(Vec::new())
        }
    }

    /// Its payload.
    pub fn encode(&self) -> Bytes {
        let envelopes = rlp::list_of_encoded(
            self.envelopes
                .iter()
                .map(|envelope| envelope.rlp().as_ref()),
        );
        let cursor = self.cursor.map(Cursor::to_bytes);
        rlp::list(&[
            &Encoded(&envelopes),
            &cursor.as_ref().map_or(&[][..], |cursor| &cursor[..]),
            &self.is_final,
            &self.error.as_bytes(),
        ])
    }

    /// Reads a payload; envelopes share its bytes.
    pub fn decode(payload: &Bytes) -> Result<Self, SyncResponseError> {
        let mut fields = Header::decode_bytes(&mut &payload[..], true)?;
        let rest = &mut fields;
        let mut list = payload.slice_ref(Header::decode_bytes(rest, true)?);
        let mut envelopes = Vec::new();
        while !list.is_empty() {
            if envelopes.len() == MAX_SYNC_LIMIT as usize {
                return Err(SyncResponseError::TooMany);
            }
            envelopes.push(Envelope::decode_first(&mut list)?);
        }
        let cursor = Cursor::from_wire(Header::decode_bytes(rest, false)?);
        let is_final = bool::decode(rest)?;
        let error = Header::decode_bytes(rest, false)?;
        if !rest.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength.into());
        }
        Ok(Self {
            envelopes,
            cursor,
            is_final,
            error: String::from_utf8_lossy(error).into_owned(),
        })
    }
}
