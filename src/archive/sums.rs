//! What a set of envelopes amounts to, whatever tree holds it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::whisper::EnvelopeHash;

/// The sum of a set's envelope hashes modulo 2^256, each hash read as a
/// big-endian number. With the count it identifies a set against everyone who
/// does not forge hashes; it adds where sets are disjoint.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of the union of two disjoint sets.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (high, low) = self.halves();
        let (other_high, other_low) = other.halves();
        let (low, carry) = low.overflowing_add(other_low);
        let high = high
            .wrapping_add(other_high)
            .wrapping_add(u128::from(carry));
        Self::of_halves(high, low)
    }

    /// The fingerprint of a set less a subset of it.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let (high, low) = self.halves();
        let (other_high, other_low) = other.halves();
        let (low, borrow) = low.overflowing_sub(other_low);
        let high = high
            .wrapping_sub(other_high)
            .wrapping_sub(u128::from(borrow));
        Self::of_halves(high, low)
    }

    /// The number's upper and lower 128 bits.
    fn halves(self) -> (u128, u128) {
        let ([high, low], []) = self.0.as_chunks::<16>() else {
            unreachable!("32 bytes are two halves of 16")
        };
        (u128::from_be_bytes(*high), u128::from_be_bytes(*low))
    }

    fn of_halves(high: u128, low: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&high.to_be_bytes());
        bytes[16..].copy_from_slice(&low.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", hex::encode(self.0))
    }
}

/// Count, bytes and fingerprint of a set of envelopes: what every link to a
/// subtree carries beside its CID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "SumsCbor", into = "SumsCbor")]
pub struct Sums {
    /// Number of envelopes.
    pub count: u64,
    /// Sum of the lengths of their RLP.
    pub bytes: u64,
    /// Sum of their hashes.
    pub fingerprint: Fingerprint,
}

/// `[count, bytes, fingerprint (32 bytes)]`.
type SumsCbor = (u64, u64, ByteArray<32>);

impl From<SumsCbor> for Sums {
    fn from((count, bytes, fingerprint): SumsCbor) -> Self {
        Self {
            count,
            bytes,
            fingerprint: Fingerprint(fingerprint.into_array()),
        }
    }
}

impl From<Sums> for SumsCbor {
    fn from(sums: Sums) -> Self {
        (sums.count, sums.bytes, ByteArray::new(sums.fingerprint.0))
    }
}

impl Sums {
    /// The sums of one envelope of `len` bytes.
    pub fn of_one(len: usize, hash: EnvelopeHash) -> Self {
        Self {
            count: 1,
            bytes: len as u64,
            fingerprint: Fingerprint(hash.0),
        }
    }

    /// The sums of the union of two disjoint sets. Wraps, because figures from
    /// a forged block are added before they are compared.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            bytes: self.bytes.wrapping_add(other.bytes),
            fingerprint: self.fingerprint.plus(other.fingerprint),
        }
    }

    /// The sums of a set less a subset of it.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_sub(other.count),
            bytes: self.bytes.wrapping_sub(other.bytes),
            fingerprint: self.fingerprint.minus(other.fingerprint),
        }
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Self>>(sums: I) -> Self {
        sums.fold(Self::default(), Self::plus)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fingerprint_carries_and_wraps() {
        let ones = Fingerprint([0xff; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(ones.plus(Fingerprint(one)), Fingerprint::default());
        assert_eq!(Fingerprint::default().minus(Fingerprint(one)), ones);
    }

    proptest! {
        #[test]
        fn fingerprints_add_in_any_order_and_subtract(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            let (a, b, c) = (Fingerprint(a), Fingerprint(b), Fingerprint(c));
            prop_assert_eq!(a.plus(b).plus(c), c.plus(a).plus(b));
            prop_assert_eq!(a.plus(b).minus(b), a);
        }
    }
}
