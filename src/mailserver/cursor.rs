//! Where an answer stopped, so that the next request can go on.
//!
//! Always true: cursors order as envelopes do in an answer, by (sent, hash).
//! A cursor needs no envelope to exist: the answer goes on with whatever sorts
//! after it. (status-go's server skips one envelope if it does not.)
//!
//! Layout: `sent (4, BE) ++ envelope hash (32)`, the 36 bytes that status-go's
//! clients insist on.

use std::fmt;
use std::str::FromStr;

use crate::time::UnixSeconds;
use crate::whisper::{Envelope, EnvelopeHash};

/// Bytes of a cursor.
pub const CURSOR_SIZE: usize = 36;

/// The place of an envelope in an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// When the envelope was sent.
    pub sent: UnixSeconds,
    /// The envelope.
    pub hash: EnvelopeHash,
}

impl Cursor {
    /// The place of `envelope`.
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            sent: envelope.sent(),
            hash: envelope.hash(),
        }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; CURSOR_SIZE] {
        let mut bytes = [0; CURSOR_SIZE];
        bytes[..4].copy_from_slice(&self.sent.0.to_be_bytes());
        bytes[4..].copy_from_slice(&self.hash.0);
        bytes
    }

    /// The cursor of these bytes.
    pub fn from_bytes(bytes: &[u8; CURSOR_SIZE]) -> Self {
        let [a, b, c, d, hash @ ..] = *bytes;
        Self {
            sent: UnixSeconds(u32::from_be_bytes([a, b, c, d])),
            hash: EnvelopeHash(hash),
        }
    }

    /// The cursor of a request. Bytes of any other length than 36 are none, as
    /// for status-go's server: the answer starts at the beginning.
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

impl fmt::Display for Cursor {
    /// 72 hex digits without `0x`, the form of `shhext_requestMessages`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no cursor: expected {} hex digits", 2 * CURSOR_SIZE)]
pub struct ParseCursorError {
    /// What was given.
    pub text: String,
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    /// Reads 72 hex digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; CURSOR_SIZE];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(
            |_| ParseCursorError {
                text: text.to_owned(),
            },
        )?;
        Ok(Self::from_bytes(&bytes))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_cursor() -> impl Strategy<Value = Cursor> {
        (any::<u32>(), any::<[u8; 32]>()).prop_map(|(sent, hash)| Cursor {
            sent: UnixSeconds(sent),
            hash: EnvelopeHash(hash),
        })
    }

    proptest! {
        #[test]
        fn bytes_order_as_cursors_do(a in any_cursor(), b in any_cursor()) {
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(Cursor::from_bytes(&a.to_bytes()), a);
            prop_assert_eq!(a.to_string().parse(), Ok(a));
        }
    }

    #[test]
    fn only_36_bytes_are_a_cursor() {
        for len in [0, 35, 37, 40] {
            assert_eq!(Cursor::from_wire(&vec![1; len]), None);
        }
        assert!(Cursor::from_wire(&[1; 36]).is_some());
    }
}
