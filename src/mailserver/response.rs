//! How an answer to a mail request ends: the byte string of packet 125.
//!
//! Always true: a completion names its request, so a client with several open
//! can tell them apart.
//!
//! Layout: `request id (32) ++ hash of the last envelope (32, zeros if none)
//! [++ cursor (36)]`, or `"ERROR=" ++ request id (32) ++ text`.

use bytes::{Bytes, BytesMut};

use crate::mailserver::cursor::{CURSOR_SIZE, Cursor};
use crate::mailserver::request::RequestId;
use crate::whisper::EnvelopeHash;

/// What an error starts with.
const ERROR_PREFIX: &[u8] = b"ERROR=";

const ID_SIZE: usize = 32;
const HASH_SIZE: usize = 32;

/// The longest success: with a cursor.
pub const LONGEST_SUCCESS: usize = ID_SIZE + HASH_SIZE + CURSOR_SIZE;

/// The end of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// All that was asked for was sent, or as much as fits one answer.
    Done {
        /// The request.
        request: RequestId,
        /// The last envelope sent; none if there was none.
        last: Option<EnvelopeHash>,
        /// Where to go on, if more follows.
        next: Option<Cursor>,
    },
    /// The request was refused, or the answer broke off.
    Failed {
        /// The request.
        request: RequestId,
        /// Why.
        message: String,
    },
}

/// A completion of a length that none has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected payload size: {len}")]
pub struct CompletionError {
    /// Bytes given.
    pub len: usize,
}

impl Completion {
    /// The request it ends.
    pub fn request(&self) -> RequestId {
        match self {
            Self::Done { request, .. } | Self::Failed { request, .. } => *request,
        }
    }

    /// The byte string of packet 125.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Done {
                request,
                last,
                next,
            } => {
                out.extend_from_slice(&request.0);
                out.extend_from_slice(&last.unwrap_or_default().0);
                if let Some(cursor) = next {
                    out.extend_from_slice(&cursor.to_bytes());
                }
            }
            Self::Failed { request, message } => {
                out.extend_from_slice(ERROR_PREFIX);
                out.extend_from_slice(&request.0);
                out.extend_from_slice(message.as_bytes());
            }
        }
        out.freeze()
    }

    /// Reads the byte string of packet 125, as leniently as status clients do:
    /// what is cut short is absent.
    pub fn decode(payload: &[u8]) -> Result<Self, CompletionError> {
        let failure = payload
            .strip_prefix(ERROR_PREFIX)
            .and_then(<[u8]>::split_first_chunk::<ID_SIZE>);
        if let Some((id, text)) = failure {
            return Ok(Self::Failed {
                request: RequestId(*id),
                message: String::from_utf8_lossy(text).into_owned(),
            });
        }
        let wrong = CompletionError { len: payload.len() };
        if payload.len() > LONGEST_SUCCESS {
            return Err(wrong);
        }
        let (id, rest) = payload.split_first_chunk::<ID_SIZE>().ok_or(wrong)?;
        let (last, next) = match rest.split_first_chunk::<HASH_SIZE>() {
            None => (None, None),
            Some((last, rest)) => {
                let last = EnvelopeHash(*last);
                let last = (last != EnvelopeHash::default()).then_some(last);
                (last, Cursor::from_wire(rest))
            }
        };
        Ok(Self::Done {
            request: RequestId(*id),
            last,
            next,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixSeconds;

    #[test]
    fn completions_read_as_they_are_written() {
        let request = RequestId([7; 32]);
        let hash = EnvelopeHash([8; 32]);
        let next = Cursor {
            sent: UnixSeconds(5),
            hash,
        };
        for (completion, len) in [
            (
                Completion::Done {
                    request,
                    last: None,
                    next: None,
                },
                64,
            ),
            (
                Completion::Done {
                    request,
                    last: Some(hash),
                    next: Some(next),
                },
                100,
            ),
            (
                Completion::Failed {
                    request,
                    message: "no".into(),
                },
                40,
            ),
        ] {
            let bytes = completion.encode();
            assert_eq!(bytes.len(), len);
            assert_eq!(Completion::decode(&bytes), Ok(completion));
        }
    }
}
