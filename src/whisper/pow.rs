//! Proof of work: how much hashing an envelope's nonce shows.
//!
//! Always true:
//! - A [`Pow`] is never NaN and never negative; it may be infinite.
//! - Floating point steps follow the reference nodes one by one, so equal
//!   envelopes give equal bits.
//!
//! Two formulas are in the field, and nothing on the wire tells which one a
//! peer uses. With `R = RLP[expiry, ttl, topic, data]` and the nonce `n` as 8
//! big-endian bytes:
//!
//! | | geth up to 1.8, murmur | geth from 1.9, status-go, EIP-627 |
//! |---|---|---|
//! | hash | `K(K(R) ++ 24 zero bytes ++ n)` | `K(R ++ n)` |
//! | bits | trailing zeros | leading zeros |
//! | work | `2^bits / (20 + len(data)) / ttl` | `2^bits / len(R) / ttl` |
//!
//! Elsewhere: what is enough work (`whisper::admission`), the search for a
//! nonce (`whisper::mining`).

use std::cmp::Ordering;
use std::fmt;

use alloy_rlp::{Encodable, Header};
use keccak_asm::{Digest, Keccak256};

use crate::keccak::keccak256_concat;
use crate::whisper::Envelope;

/// An amount of work. Ordered, never NaN, never negative.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Pow(f64);

impl Pow {
    /// No work at all.
    pub const ZERO: Self = Self(0.0);
    /// What an envelope of lifetime 0 shows.
    pub const INFINITE: Self = Self(f64::INFINITY);
    /// What geth nodes ask for unless told otherwise.
    pub const GETH_DEFAULT: Self = Self(0.2);
    /// What status-go nodes and clients ask for.
    pub const STATUS_DEFAULT: Self = Self(0.001);

    /// The most that Status's specification has nodes ask for.
    pub const STATUS_SPECIFIED: Self = Self(0.002);

    /// The work of `value`, unless it is NaN or negative. Negative zero, which
    /// the reference nodes let pass, becomes zero.
    pub fn new(value: f64) -> Option<Self> {
        (value >= 0.0).then_some(Self(value + 0.0))
    }

    /// A requirement as peers state it: the bits of a double, finite and not
    /// negative.
    pub fn requirement_from_bits(bits: u64) -> Option<Self> {
        Self::new(f64::from_bits(bits)).filter(|pow| pow.0.is_finite())
    }

    /// The IEEE 754 bits, as they cross the wire.
    pub fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The plain number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Pow {}

impl PartialOrd for Pow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pow {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Pow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Pow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pow({})", self.0)
    }
}

/// Which of the two definitions of work is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// geth up to 1.8, wnode of that time, murmur: trailing zero bits.
    Trailing,
    /// geth from 1.9, status-go, EIP-627: leading zero bits.
    Leading,
}

impl Formula {
    /// Both definitions.
    pub const ALL: [Self; 2] = [Self::Trailing, Self::Leading];

    /// Zero bits that a hash counts under this definition.
    pub fn zero_bits(self, hash: &[u8; 32]) -> u32 {
        match self {
            Self::Trailing => {
                count_zero_bits(hash.iter().rev().map(|byte| (*byte, byte.trailing_zeros())))
            }
            Self::Leading => count_zero_bits(hash.iter().map(|byte| (*byte, byte.leading_zeros()))),
        }
    }

    /// The zero bits a sealer looks for to reach `target`: at least 1. Both
    /// generations of nodes use the size (`20 + len(data)`) here.
    pub fn target_bits(target: Pow, size: usize, ttl: u32) -> u32 {
        let bits = (target.0 * as_f64(size) * f64::from(ttl)).log2().ceil();
        (1..256).find(|n| f64::from(*n) >= bits).unwrap_or(256)
    }
}

/// Zero bits at one end of a hash, from its bytes in that order. An all-zero
/// hash counts as 256; the reference would say 0, but nobody will find one.
fn count_zero_bits(bytes: impl Iterator<Item = (u8, u32)>) -> u32 {
    let mut bits = 0;
    for (byte, zeros) in bytes {
        bits += zeros;
        if byte != 0 {
            break;
        }
    }
    bits
}

/// The work of one envelope under both definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// By [`Formula::Trailing`].
    pub trailing: Pow,
    /// By [`Formula::Leading`].
    pub leading: Pow,
}

impl Work {
    /// The work of `envelope`.
    pub fn of(envelope: &Envelope) -> Self {
        Self::with_extra_lifetime(envelope, 0)
    }

    /// The work of an envelope charged for `extra` seconds beyond its TTL, as
    /// receivers do with one sent slightly in the future.
    pub fn with_extra_lifetime(envelope: &Envelope, extra: u32) -> Self {
        let preimage = Preimage::of(envelope);
        let nonce = envelope.nonce().to_be_bytes();
        // Wraps like the 32-bit sum of the reference nodes.
        let lifetime = envelope.ttl().0.wrapping_add(extra);
        // Both hash the same bytes first, which is nearly all of the cost: once
        // is enough.
        let absorbed = preimage.absorbed();
        let leading: [u8; 32] = absorbed.clone().chain_update(nonce).finalize().into();
        let digest: [u8; 32] = absorbed.finalize().into();
        let trailing = keccak256_concat(&[&digest, &TRAILING_GAP, &nonce]);
        Self {
            trailing: work(
                Formula::Trailing.zero_bits(&trailing),
                envelope.size(),
                lifetime,
            ),
            leading: work(
                Formula::Leading.zero_bits(&leading),
                preimage.len(),
                lifetime,
            ),
        }
    }

    /// By one of the two definitions.
    pub fn by(&self, formula: Formula) -> Pow {
        match formula {
            Formula::Trailing => self.trailing,
            Formula::Leading => self.leading,
        }
    }

    /// The better of the two: what an envelope is accepted by, since its sender
    /// knew only one.
    pub fn most(&self) -> Pow {
        self.trailing.max(self.leading)
    }

    /// The lesser of the two: what an envelope is passed on by, since the next
    /// peer may know only the other.
    pub fn least(&self) -> Pow {
        self.trailing.min(self.leading)
    }
}

/// Zero bytes between digest and nonce in the older definition's 64-byte input.
pub(crate) const TRAILING_GAP: [u8; 24] = [0; 24];

/// `2^bits / length / lifetime` in that order.
pub(crate) fn work(bits: u32, length: usize, lifetime: u32) -> Pow {
    let hashes = 2f64.powi(i32::try_from(bits).unwrap_or(256));
    Pow(hashes / as_f64(length) / f64::from(lifetime))
}

/// Exact: a length here is at most 2^53.
#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
fn as_f64(length: usize) -> f64 {
    length as f64
}

/// Bytes of the longest RLP header: one for the kind, eight for a length.
const LONGEST_HEADER: usize = 9;

/// `RLP[expiry, ttl, topic, data]` in two pieces: its own list header, and the
/// four fields as they stand in the envelope.
pub(crate) struct Preimage<'a> {
    header: [u8; LONGEST_HEADER],
    header_len: usize,
    fields: &'a [u8],
}

impl<'a> Preimage<'a> {
    pub(crate) fn of(envelope: &'a Envelope) -> Self {
        let rlp = envelope.rlp();
        let end = rlp.len() - envelope.nonce().length();
        let start = envelope.list_header_len();
        let fields = &rlp[start..end];
        let list = Header {
            list: true,
            payload_length: fields.len(),
        };
        let mut header = [0; LONGEST_HEADER];
        list.encode(&mut header.as_mut_slice());
        Self {
            header,
            header_len: list.length(),
            fields,
        }
    }

    /// A hash that has taken in the two pieces.
    pub(crate) fn absorbed(&self) -> Keccak256 {
        Keccak256::new()
            .chain_update(&self.header[..self.header_len])
            .chain_update(self.fields)
    }

    pub(crate) fn len(&self) -> usize {
        self.header_len + self.fields.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;

    fn example(ttl: u32) -> Envelope {
        Envelope::new(
            Expiry(1_600_000_000),
            Ttl(ttl),
            Topic([1, 2, 3, 4]),
            &[0xde, 0xad, 0xbe, 0xef],
            6_156,
        )
    }

    #[test]
    fn both_definitions_agree_with_their_nodes() {
        let work = Work::of(&example(50));
        assert_eq!(work.trailing.get(), 3.413_333_333_333_333);
        assert_eq!(work.leading.get(), 0.075_294_117_647_058_82);
        assert_eq!(work.most(), work.trailing);
        assert_eq!(work.least(), work.leading);
    }

    #[test]
    fn an_envelope_without_lifetime_shows_infinite_work() {
        assert_eq!(Work::of(&example(0)).least(), Pow::INFINITE);
        assert!(Work::with_extra_lifetime(&example(0), 1).most() < Pow::INFINITE);
    }

    #[test]
    fn a_requirement_is_finite_and_not_negative() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.000_1] {
            assert_eq!(Pow::requirement_from_bits(bad.to_bits()), None, "{bad}");
        }
        let negative_zero = Pow::requirement_from_bits((-0.0f64).to_bits());
        assert_eq!(negative_zero, Some(Pow::ZERO));
        assert_eq!(negative_zero.map(Pow::to_bits), Some(0));
        assert_eq!(
            Pow::requirement_from_bits(0x3fc9_9999_9999_999a),
            Some(Pow::GETH_DEFAULT)
        );
    }

    #[test]
    fn zero_bits_are_counted_across_bytes() {
        let mut hash = [0; 32];
        hash[1] = 0b0000_0001;
        hash[30] = 0b1000_0000;
        assert_eq!(Formula::Leading.zero_bits(&hash), 15);
        assert_eq!(Formula::Trailing.zero_bits(&hash), 15);
        assert_eq!(Formula::Leading.zero_bits(&[0; 32]), 256);
    }

    #[test]
    fn a_target_asks_for_at_least_one_bit() {
        assert_eq!(Formula::target_bits(Pow::ZERO, 20, 50), 1);
        assert_eq!(Formula::target_bits(Pow::INFINITE, 20, 50), 256);
        assert_eq!(Formula::target_bits(Pow::GETH_DEFAULT, 304, 50), 12);
    }
}
