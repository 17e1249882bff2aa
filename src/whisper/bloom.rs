//! The 512-bit filter by which peers say which topics they want.
//!
//! Always true:
//! - Bit `i` is bit `i % 8`, least significant first, of byte `i / 8`.
//! - What the reference nodes compute for a topic is a subset of what
//!   [`Bloom::of_topic`] gives: a filter made here never misses a topic, and an
//!   envelope tested here is never refused wrongly.
//!
//! geth, status-go and murmur set a byte where they mean to set a bit: of two
//! bits in one byte only the later stays. So envelopes are tested by
//! [`Bloom::of_topic_reference`], while filters are made by
//! [`Bloom::of_topic`].

use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::str::FromStr;

use crate::whisper::Topic;

/// Bytes of a filter.
pub const BLOOM_SIZE: usize = 64;

/// A topic filter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bloom(pub [u8; BLOOM_SIZE]);

impl Bloom {
    /// Wants everything.
    pub const FULL: Self = Self([0xff; BLOOM_SIZE]);
    /// Wants nothing.
    pub const EMPTY: Self = Self([0; BLOOM_SIZE]);

    /// All three bits of a topic: for advertising and requesting.
    pub fn of_topic(topic: Topic) -> Self {
        let mut bloom = Self::EMPTY;
        for (byte, mask) in bits(topic) {
            bloom.0[byte] |= mask;
        }
        bloom
    }

    /// The bits the reference nodes compute for a topic: for testing envelopes
    /// against a filter.
    pub fn of_topic_reference(topic: Topic) -> Self {
        let mut bloom = Self::EMPTY;
        for (byte, mask) in bits(topic) {
            bloom.0[byte] = mask;
        }
        bloom
    }

    /// A filter for all of `topics`, to advertise or request.
    pub fn of_topics(topics: impl IntoIterator<Item = Topic>) -> Self {
        topics
            .into_iter()
            .fold(Self::EMPTY, |all, topic| all | Self::of_topic(topic))
    }

    /// A filter as it crosses the wire: 64 bytes, or none for "everything".
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::FULL);
        }
        bytes.try_into().ok().map(Self)
    }

    /// The filter that matches what either of two does.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = *self;
        for (byte, more) in both.0.iter_mut().zip(other.0) {
            *byte |= more;
        }
        both
    }

    /// Whether every bit of `sample` is set here.
    pub fn contains(&self, sample: &Self) -> bool {
        self.0
            .iter()
            .zip(&sample.0)
            .all(|(ours, theirs)| ours & theirs == *theirs)
    }

    /// Whether an envelope of `topic` passes this filter.
    pub fn matches(&self, topic: Topic) -> bool {
        let bits = bits(topic);
        (0..bits.len()).all(|at| {
            let (byte, mask) = bits[at];
            // A later bit in the same byte replaced this one.
            let replaced = bits[at + 1..].iter().any(|(later, _)| *later == byte);
            replaced || self.0[byte] & mask == mask
        })
    }

    /// Whether this filter wants everything.
    pub fn is_full(&self) -> bool {
        *self == Self::FULL
    }

    /// Whether this filter wants nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// How many bits are set.
    pub fn bits_set(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }
}

/// Byte and mask of each of a topic's three bits, in the order in which the
/// reference nodes write them: index `topic[j]`, plus 256 if bit `j` of the
/// last byte is set.
fn bits(topic: Topic) -> [(usize, u8); 3] {
    let Topic([a, b, c, high]) = topic;
    [(a, 1), (b, 2), (c, 4)].map(|(low, upper_half)| {
        let offset = if high & upper_half == 0 { 0 } else { 32 };
        (offset + usize::from(low / 8), 1 << (low % 8))
    })
}

impl BitOr for Bloom {
    type Output = Self;

    fn bitor(mut self, other: Self) -> Self {
        self |= other;
        self
    }
}

impl BitOrAssign for Bloom {
    fn bitor_assign(&mut self, other: Self) {
        for (ours, theirs) in self.0.iter_mut().zip(other.0) {
            *ours |= theirs;
        }
    }
}

impl fmt::Display for Bloom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Bloom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            full if full.is_full() => f.write_str("Bloom(full)"),
            empty if empty.is_empty() => f.write_str("Bloom(empty)"),
            _ => write!(f, "Bloom({self})"),
        }
    }
}

impl FromStr for Bloom {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bloom = [0; BLOOM_SIZE];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bloom)?;
        Ok(Self(bloom))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_in_one_byte_overwrite_each_other_only_in_the_reference_form() {
        let topic = Topic([8, 9, 10, 0]);
        assert_eq!(Bloom::of_topic_reference(topic).0[1], 0b0000_0100);
        assert_eq!(Bloom::of_topic(topic).0[1], 0b0000_0111);
    }

    #[test]
    fn no_bytes_stand_for_everything_and_odd_lengths_for_nothing() {
        assert_eq!(Bloom::from_wire(&[]), Some(Bloom::FULL));
        assert_eq!(Bloom::from_wire(&[0; 64]), Some(Bloom::EMPTY));
        for wrong in [1, 63, 65] {
            assert_eq!(Bloom::from_wire(&vec![0xff; wrong]), None);
        }
    }

    proptest! {
        #[test]
        fn a_filter_for_a_topic_matches_it(topic in any::<[u8; 4]>().prop_map(Topic)) {
            prop_assert!(Bloom::of_topic(topic).matches(topic));
            prop_assert!(Bloom::of_topic(topic).contains(&Bloom::of_topic_reference(topic)));
        }

        #[test]
        fn matching_is_containing_the_reference_bits(
            filter in proptest::array::uniform32(any::<u8>()),
            topic in any::<[u8; 4]>().prop_map(Topic),
        ) {
            let mut bloom = Bloom::EMPTY;
            bloom.0[..32].copy_from_slice(&filter);
            bloom.0[32..].copy_from_slice(&filter);
            prop_assert_eq!(
                bloom.matches(topic),
                bloom.contains(&Bloom::of_topic_reference(topic))
            );
        }
    }
}
