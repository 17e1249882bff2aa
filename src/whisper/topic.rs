//! The four bytes by which envelopes are sorted and asked for.

use std::fmt;
use std::str::FromStr;

/// An envelope's topic: 4 bytes, shown as `0x` and eight hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(pub [u8; 4]);

impl Topic {
    /// The topic of a public chat: the first four bytes of the Keccak-256 of
    /// its name (status-im specification 3).
    pub fn of_public_chat(name: &str) -> Self {
        let [a, b, c, d, ..] = crate::keccak::keccak256(name);
        Self([a, b, c, d])
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({self})")
    }
}

/// A text that is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a topic: expected 8 hex digits, with or without 0x")]
pub struct ParseTopicError {
    /// What was given.
    pub text: String,
}

impl FromStr for Topic {
    type Err = ParseTopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut topic = [0; 4];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut topic).map_err(
            |_| ParseTopicError {
                text: text.to_owned(),
            },
        )?;
        Ok(Self(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_chat_has_the_topic_status_clients_use() {
        assert_eq!(
            Topic::of_public_chat("status"),
            Topic([0xcd, 0x42, 0x37, 0x60])
        );
    }

    #[test]
    fn a_topic_reads_what_it_prints() {
        let topic = Topic([1, 2, 3, 0xff]);
        assert_eq!(topic.to_string(), "0x010203ff");
        assert_eq!(topic.to_string().parse(), Ok(topic));
        assert_eq!("010203FF".parse(), Ok(topic));
        assert!("0x0102".parse::<Topic>().is_err());
    }
}
