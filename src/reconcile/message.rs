//! The messages of `gwa/1`, between payload bytes and values.
//!
//! Always true: what decodes encodes to the same bytes; all else is the peer's
//! fault. Decoding allocates in proportion to the bytes received.

use alloy_rlp::{Decodable, Header};
use bytes::Bytes;

use crate::archive::disk::{ArchiveTag, Position, Start};
use crate::archive::leaf::MAX_ENVELOPE_RLP;
use crate::blocks::Cid;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::bloom::Bloom;
use crate::whisper::rlp::{self, Encoded};
use crate::whisper::{Envelope, EnvelopeHash};

/// Largest payload of a message: an answer with one envelope of the largest size
/// and what stands around it.
pub const MAX_PAYLOAD: usize = MAX_ENVELOPE_RLP + (1 << 10);

/// Bytes of the envelopes of one answer, unless the first alone is larger.
pub const ANSWER_BYTES: usize = MAX_ENVELOPE_RLP - (16 << 10);

/// Envelopes of one answer to "what is new".
pub const MAX_NEWS: u32 = 1_000;

/// Hashes in one request for envelopes: 32 KiB of them.
pub const MAX_HASHES: usize = 1_024;

/// Envelopes that one message may hold: an answer with more of them than were
/// asked for is somebody making us allocate.
const MAX_ENVELOPES: usize = 1_024;

/// Largest frame of the reconciliation protocol, in bytes: some 1,900 hashes, or
/// fingerprints of as many ranges.
pub const MAX_FRAME: usize = 60_000;

/// Message codes, before the capability's offset is added.
pub mod code {
    /// Who I am; the first message each way.
    pub const STATUS: u8 = 0;
    /// What is new since this position?
    pub const GET_NEWS: u8 = 1;
    /// This is.
    pub const NEWS: u8 = 2;
    /// My side of a comparison.
    pub const COMPARE: u8 = 3;
    /// Mine.
    pub const COMPARED: u8 = 4;
    /// These envelopes, please.
    pub const GET_ENVELOPES: u8 = 5;
    /// Here they are.
    pub const ENVELOPES: u8 = 6;
}

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which archive.
    pub archive: ArchiveTag,
    /// Its current head; `None` before the first.
    pub head: Option<Cid>,
    /// Its number, 0 before the first.
    pub sequence: u64,
    /// Its watermark.
    pub watermark: UnixSeconds,
    /// Where it stands: what arrives from now on is new since.
    pub position: Position,
}

/// Why a request is not answered. The connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The position is of another archive.
    #[error("the position is of another archive")]
    AnotherArchive,
    /// The position is ahead of the archive.
    #[error("the position is ahead of the archive")]
    Ahead,
    /// The position is of heads the archive no longer has.
    #[error("the position is of heads that the archive no longer has")]
    AnotherLineage,
    /// What came late since the position is forgotten.
    #[error("the position is too old: ask by time")]
    TooOld,
    /// Too much was asked for lately.
    #[error("too many requests: ask later")]
    Busy,
    /// The range holds more than is compared at a time.
    #[error("the range holds too much to be compared at once")]
    TooMany,
    /// The frame is none of the reconciliation protocol.
    #[error("the frame is malformed")]
    Malformed,
    /// The archive cannot be read now.
    #[error("the archive cannot answer now")]
    Unavailable,
}

impl Refusal {
    const ALL: [Self; 8] = [
        Self::AnotherArchive,
        Self::Ahead,
        Self::AnotherLineage,
        Self::TooOld,
        Self::Busy,
        Self::TooMany,
        Self::Malformed,
        Self::Unavailable,
    ];

    /// Its number on the wire, from 1.
    pub fn code(self) -> u8 {
        let at = Self::ALL.iter().position(|refusal| *refusal == self);
        at.and_then(|at| u8::try_from(at + 1).ok())
            .expect("every refusal is listed")
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// A request's number; the answer repeats it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// What is new, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewsAnswer {
    /// Where to go on.
    pub next: Position,
    /// Whether more is there already.
    pub more: bool,
    /// The envelopes.
    pub envelopes: Vec<Envelope>,
}

/// Envelopes asked for by hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopesAnswer {
    /// Whether what is missing here is not held; otherwise the answer was full,
    /// and may be asked for again.
    pub complete: bool,
    /// The envelopes.
    pub envelopes: Vec<Envelope>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Code 0.
    Status(Status),
    /// Code 1: what is new?
    GetNews {
        /// The request.
        id: RequestNumber,
        /// Since when.
        start: Start,
        /// Of which topics; `None` for all.
        topics: Option<Bloom>,
        /// At most so many, up to [`MAX_NEWS`].
        limit: u32,
    },
    /// Code 2: this is.
    News {
        /// The request.
        id: RequestNumber,
        /// What is new, or why not.
        answer: Result<NewsAnswer, Refusal>,
    },
    /// Code 3: a frame of the reconciliation protocol, by who began it.
    Compare {
        /// The request.
        id: RequestNumber,
        /// What is compared: envelopes sent in it.
        range: TimeRange,
        /// The frame.
        frame: Bytes,
    },
    /// Code 4: a frame in answer.
    Compared {
        /// The request.
        id: RequestNumber,
        /// The frame, or why not.
        answer: Result<Bytes, Refusal>,
    },
    /// Code 5: envelopes wanted.
    GetEnvelopes {
        /// The request.
        id: RequestNumber,
        /// When they were sent.
        range: TimeRange,
        /// Which; at most [`MAX_HASHES`].
        hashes: Vec<EnvelopeHash>,
    },
    /// Code 6: envelopes given.
    Envelopes {
        /// The request.
        id: RequestNumber,
        /// The envelopes, or why not.
        answer: Result<EnvelopesAnswer, Refusal>,
    },
}

/// A payload that is not the message its code says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Larger than any message.
    #[error("message {code} of {len} bytes, more than {MAX_PAYLOAD}")]
    TooLarge {
        /// Message code.
        code: u8,
        /// Its bytes.
        len: usize,
    },
    /// A code without a meaning.
    #[error("there is no message {0}")]
    Unknown(u8),
    /// Malformed.
    #[error("message {code}: {error}")]
    Rlp {
        /// Message code.
        code: u8,
        /// What is wrong.
        error: alloy_rlp::Error,
    },
}

/// The result of reading one field.
type Read<T> = Result<T, alloy_rlp::Error>;

const fn wrong(what: &'static str) -> alloy_rlp::Error {
    alloy_rlp::Error::Custom(what)
}

impl Message {
    /// Its code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Status(_) => code::STATUS,
            Self::GetNews { .. } => code::GET_NEWS,
            Self::News { .. } => code::NEWS,
            Self::Compare { .. } => code::COMPARE,
            Self::Compared { .. } => code::COMPARED,
            Self::GetEnvelopes { .. } => code::GET_ENVELOPES,
            Self::Envelopes { .. } => code::ENVELOPES,
        }
    }

    /// The request it is, or answers.
    pub fn id(&self) -> Option<RequestNumber> {
        match self {
            Self::Status(_) => None,
            Self::GetNews { id, .. }
            | Self::News { id, .. }
            | Self::Compare { id, .. }
            | Self::Compared { id, .. }
            | Self::GetEnvelopes { id, .. }
            | Self::Envelopes { id, .. } => Some(*id),
        }
    }

    /// What refuses this request; what is no request stays what it is.
    #[must_use]
    pub fn refused(self, refusal: Refusal) -> Self {
        let answer = Err(refusal);
        match self {
            Self::GetNews { id, .. } => Self::News {
                id,
                answer: Err(refusal),
            },
            Self::Compare { id, .. } => Self::Compared { id, answer },
            Self::GetEnvelopes { id, .. } => Self::Envelopes {
                id,
                answer: Err(refusal),
            },
            other => other,
        }
    }

    /// Its payload.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Status(status) => {
                let head = status.head.map(|head| head.to_bytes()).unwrap_or_default();
                rlp::list(&[
                    &status.archive.0,
                    &&head[..],
                    &status.sequence,
                    &status.watermark.0,
                    &&status.position.to_bytes()[..],
                ])
            }
            Self::GetNews {
                id,
                start,
                topics,
                limit,
            } => rlp::list(&[
                &id.0,
                &&start_bytes(*start)[..],
                &topics.as_ref().map_or(&[][..], |bloom| &bloom.0[..]),
                limit,
            ]),
            Self::News { id, answer } => match answer {
                Ok(news) => rlp::list(&[
                    &id.0,
                    &0u8,
                    &&news.next.to_bytes()[..],
                    &news.more,
                    &Encoded(&envelope_list(&news.envelopes)),
                ]),
                Err(refusal) => refused(*id, *refusal),
            },
            Self::Compare { id, range, frame } => {
                rlp::list(&[&id.0, &range.from().0, &range.to().0, &&frame[..]])
            }
            Self::Compared { id, answer } => match answer {
                Ok(frame) => rlp::list(&[&id.0, &0u8, &&frame[..]]),
                Err(refusal) => refused(*id, *refusal),
            },
            Self::GetEnvelopes { id, range, hashes } => {
                let hashes: Vec<[u8; 32]> = hashes.iter().map(|hash| hash.0).collect();
                rlp::list(&[&id.0, &range.from().0, &range.to().0, &hashes])
            }
            Self::Envelopes { id, answer } => match answer {
                Ok(given) => rlp::list(&[
                    &id.0,
                    &0u8,
                    &given.complete,
                    &Encoded(&envelope_list(&given.envelopes)),
                ]),
                Err(refusal) => refused(*id, *refusal),
            },
        }
    }

    /// Reads the message of `code`. Envelopes share the payload's bytes.
    pub fn decode(code: u8, payload: &Bytes) -> Result<Self, MessageError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(MessageError::TooLarge {
                code,
                len: payload.len(),
            });
        }
        if code > code::ENVELOPES {
            return Err(MessageError::Unknown(code));
        }
        Self::read(code, payload).map_err(|error| MessageError::Rlp { code, error })
    }

    fn read(code: u8, payload: &Bytes) -> Read<Self> {
        let mut all = &payload[..];
        let mut rest = Header::decode_bytes(&mut all, true)?;
        if !all.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        let fields = &mut rest;
        let message = match code {
            code::STATUS => Self::Status(read_status(fields)?),
            code::GET_NEWS => Self::GetNews {
                id: read_id(fields)?,
                start: read_start(fields)?,
                topics: read_topics(fields)?,
                limit: u32::decode(fields)?,
            },
            code::NEWS => Self::News {
                id: read_id(fields)?,
                answer: match read_refusal(fields)? {
                    Some(refusal) => Err(refusal),
                    None => Ok(NewsAnswer {
                        next: read_position(fields)?,
                        more: bool::decode(fields)?,
                        envelopes: read_envelopes(fields, payload)?,
                    }),
                },
            },
            code::COMPARE => Self::Compare {
                id: read_id(fields)?,
                range: read_range(fields)?,
                frame: read_frame(fields, payload)?,
            },
            code::COMPARED => Self::Compared {
                id: read_id(fields)?,
                answer: match read_refusal(fields)? {
                    Some(refusal) => Err(refusal),
                    None => Ok(read_frame(fields, payload)?),
                },
            },
            code::GET_ENVELOPES => Self::GetEnvelopes {
                id: read_id(fields)?,
                range: read_range(fields)?,
                hashes: read_hashes(fields)?,
            },
            _ => Self::Envelopes {
                id: read_id(fields)?,
                answer: match read_refusal(fields)? {
                    Some(refusal) => Err(refusal),
                    None => Ok(EnvelopesAnswer {
                        complete: bool::decode(fields)?,
                        envelopes: read_envelopes(fields, payload)?,
                    }),
                },
            },
        };
        if !rest.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        Ok(message)
    }
}

fn refused(id: RequestNumber, refusal: Refusal) -> Bytes {
    rlp::list(&[&id.0, &refusal.code()])
}

fn envelope_list(envelopes: &[Envelope]) -> Bytes {
    rlp::list_of_encoded(envelopes.iter().map(|envelope| envelope.rlp().as_ref()))
}

fn start_bytes(start: Start) -> Vec<u8> {
    match start {
        Start::Now => Vec::new(),
        Start::Time(from) => from.0.to_be_bytes().to_vec(),
        Start::Position(position) => position.to_bytes(),
    }
}

fn read_id(fields: &mut &[u8]) -> Read<RequestNumber> {
    u64::decode(fields).map(RequestNumber)
}

fn read_refusal(fields: &mut &[u8]) -> Read<Option<Refusal>> {
    match u8::decode(fields)? {
        0 => Ok(None),
        code => Refusal::from_code(code)
            .map(Some)
            .ok_or(wrong("no such refusal")),
    }
}

fn read_status(fields: &mut &[u8]) -> Read<Status> {
    let archive = ArchiveTag(<[u8; 8]>::decode(fields)?);
    let head = match Header::decode_bytes(fields, false)? {
        [] => None,
        bytes => {
            let cid = Cid::try_from(bytes).map_err(|_| wrong("no CID"))?;
            // A CID reads what stands at the start of its bytes.
            if cid.to_bytes() != bytes {
                return Err(wrong("no CID"));
            }
            Some(cid)
        }
    };
    Ok(Status {
        archive,
        head,
        sequence: u64::decode(fields)?,
        watermark: UnixSeconds(u32::decode(fields)?),
        position: read_position(fields)?,
    })
}

fn read_position(fields: &mut &[u8]) -> Read<Position> {
    let bytes = Header::decode_bytes(fields, false)?;
    Position::from_bytes(bytes).map_err(|_| wrong("no position"))
}

fn read_start(fields: &mut &[u8]) -> Read<Start> {
    match Header::decode_bytes(fields, false)? {
        [] => Ok(Start::Now),
        [a, b, c, d] => Ok(Start::Time(UnixSeconds(u32::from_be_bytes([
            *a, *b, *c, *d,
        ])))),
        bytes => Position::from_bytes(bytes)
            .map(Start::Position)
            .map_err(|_| wrong("no position")),
    }
}

fn read_topics(fields: &mut &[u8]) -> Read<Option<Bloom>> {
    let bytes = Header::decode_bytes(fields, false)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let bloom = bytes.try_into().map_err(|_| wrong("no bloom filter"))?;
    Ok(Some(Bloom(bloom)))
}

fn read_range(fields: &mut &[u8]) -> Read<TimeRange> {
    let (from, to) = (u32::decode(fields)?, u32::decode(fields)?);
    TimeRange::new(UnixSeconds(from), UnixSeconds(to)).map_err(|_| wrong("a reversed range"))
}

fn read_frame(fields: &mut &[u8], payload: &Bytes) -> Read<Bytes> {
    let bytes = Header::decode_bytes(fields, false)?;
    if bytes.len() > MAX_FRAME {
        return Err(wrong("the frame is too long"));
    }
    Ok(payload.slice_ref(bytes))
}

fn read_hashes(fields: &mut &[u8]) -> Read<Vec<EnvelopeHash>> {
    let mut list = Header::decode_bytes(fields, true)?;
    let mut hashes = Vec::new();
    while !list.is_empty() {
        if hashes.len() == MAX_HASHES {
            return Err(wrong("too many hashes"));
        }
        hashes.push(EnvelopeHash(<[u8; 32]>::decode(&mut list)?));
    }
    Ok(hashes)
}

fn read_envelopes(fields: &mut &[u8], payload: &Bytes) -> Read<Vec<Envelope>> {
    let mut list = payload.slice_ref(Header::decode_bytes(fields, true)?);
    let mut envelopes = Vec::new();
    while !list.is_empty() {
        if envelopes.len() == MAX_ENVELOPES {
            return Err(wrong("too many envelopes"));
        }
        let envelope = Envelope::decode_first(&mut list);
        envelopes.push(envelope.map_err(|_| wrong("no envelope"))?);
    }
    Ok(envelopes)
}

#[cfg(test)]
mod tests;
