//! The order of an archive.
//!
//! Always true: a key is 40 bytes, topic then sent then hash, and sorts as its
//! bytes do, so that everything of one topic lies together in time order.

use std::fmt;

use serde_bytes::ByteArray;

use crate::time::UnixSeconds;
use crate::whisper::{Envelope, EnvelopeHash, Topic};

/// Length of an encoded key in bytes.
pub const KEY_LEN: usize = 40;

/// Where a record stands in a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Topic, the first order.
    pub topic: Topic,
    /// Instant of sending, the second.
    pub sent: UnixSeconds,
    /// Identity, the last.
    pub hash: EnvelopeHash,
}

impl Key {
    /// `topic || sent (4 bytes, big endian) || hash`.
    pub fn to_bytes(self) -> [u8; KEY_LEN] {
        let mut bytes = [0; KEY_LEN];
        bytes[..4].copy_from_slice(&self.topic.0);
        bytes[4..8].copy_from_slice(&self.sent.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.hash.0);
        bytes
    }

    /// The inverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        let mut topic = [0; 4];
        let mut sent = [0; 4];
        let mut hash = [0; 32];
        topic.copy_from_slice(&bytes[..4]);
        sent.copy_from_slice(&bytes[4..8]);
        hash.copy_from_slice(&bytes[8..]);
        Self {
            topic: Topic(topic),
            sent: UnixSeconds(u32::from_be_bytes(sent)),
            hash: EnvelopeHash(hash),
        }
    }

    /// The key as a CBOR byte string.
    pub(super) fn to_cbor(self) -> ByteArray<KEY_LEN> {
        ByteArray::new(self.to_bytes())
    }
}

impl From<&Envelope> for Key {
    fn from(envelope: &Envelope) -> Self {
        Self {
            topic: envelope.topic(),
            sent: envelope.sent(),
            hash: envelope.hash(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.sent.0, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_sort_as_their_bytes_do(a in any::<[u8; 8]>(), b in any::<[u8; 8]>(), c in any::<bool>()) {
            let key = |prefix: [u8; 8], last: u8| {
                let mut bytes = [last; KEY_LEN];
                bytes[..8].copy_from_slice(&prefix);
                Key::from_bytes(bytes)
            };
            let (a, b) = (key(a, 1), if c { key(b, 2) } else { key(a, 2) });
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(Key::from_bytes(a.to_bytes()), a);
        }
    }
}
