//! How Swarm names bytes.
//!
//! Bytes are cut into chunks of 4 KiB. A chunk's address is the Keccak-256 of its
//! span, the number of bytes below it, and of the root of a binary Merkle tree over
//! its payload, padded with zeros. The addresses of up to 128 chunks make the
//! payload of one above them, until one is left: its address is the reference of
//! the bytes. An address that would be alone in its chunk moves up as it is.
//!
//! This is the tree without redundancy and without encryption.

use std::fmt;
use std::str::FromStr;

use super::SwarmError;
use crate::keccak::{keccak256, keccak256_concat};

/// Bytes in a chunk's payload at most.
pub const CHUNK: usize = 4_096;

/// Bytes in an address.
const ADDRESS: usize = 32;

/// What Swarm calls bytes: the address of the topmost chunk over them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub [u8; 32]);

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reference {
    type Err = hex::FromHexError;

    /// Reads 64 hex digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Reference {
    /// Refuses bytes that it does not name.
    pub fn check(&self, bytes: &[u8]) -> Result<(), SwarmError> {
        let actual = reference_of(bytes);
        if actual != *self {
            return Err(SwarmError::WrongBytes {
                asked: *self,
                actual,
            });
        }
        Ok(())
    }
}

/// The address of one chunk: `span` bytes lie below it, `payload` has
/// [`CHUNK`] bytes at most.
pub fn address_of(span: u64, payload: &[u8]) -> Reference {
    assert!(payload.len() <= CHUNK, "BUG: a payload above {CHUNK} bytes");
    let mut level = [0; CHUNK];
    level[..payload.len()].copy_from_slice(payload);
    let mut len = CHUNK;
    while len > ADDRESS {
        for at in 0..len / (2 * ADDRESS) {
            let pair = keccak256(&level[at * 2 * ADDRESS..(at + 1) * 2 * ADDRESS]);
            level[at * ADDRESS..(at + 1) * ADDRESS].copy_from_slice(&pair);
        }
        len /= 2;
    }
    Reference(keccak256_concat(&[&span.to_le_bytes(), &level[..ADDRESS]]))
}

/// The reference of bytes.
pub fn reference_of(bytes: &[u8]) -> Reference {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Finds the reference of bytes that come piece by piece. Memory holds one chunk
/// for each level: 36 KiB for an exabyte.
#[derive(Debug, Default)]
pub struct Hasher {
    data: Vec<u8>,
    /// What waits for more of its kind, from the lowest level up.
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    addresses: Vec<u8>,
    span: u64,
}

impl Hasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.data.len() == CHUNK {
                self.end_chunk();
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.data.len()));
            self.data.extend_from_slice(now);
            bytes = later;
        }
    }

    /// The reference of all that was taken in.
    pub fn finish(mut self) -> Reference {
        if self.levels.is_empty() {
            return address_of(self.data.len() as u64, &self.data);
        }
        self.end_chunk();
        let mut at = 0;
        loop {
            let Level { addresses, span } = std::mem::take(&mut self.levels[at]);
            let is_top = self.levels[at + 1..]
                .iter()
                .all(|level| level.addresses.is_empty());
            let up = match addresses.len() {
                0 => None,
                // Alone in its chunk: it is the top, or moves up.
                ADDRESS => addresses.as_slice().try_into().ok().map(Reference),
                _ => Some(address_of(span, &addresses)),
            };
            if let Some(up) = up {
                if is_top {
                    return up;
                }
                self.push(at + 1, up, span);
            }
            at += 1;
        }
    }

    fn end_chunk(&mut self) {
        let span = self.data.len() as u64;
        let address = address_of(span, &self.data);
        self.data.clear();
        self.push(0, address, span);
    }

    fn push(&mut self, level: usize, address: Reference, span: u64) {
        if level == self.levels.len() {
            self.levels.push(Level::default());
        }
        let waiting = &mut self.levels[level];
        waiting.addresses.extend_from_slice(&address.0);
        waiting.span += span;
        if waiting.addresses.len() == CHUNK {
            let Level { addresses, span } = std::mem::take(waiting);
            self.push(level + 1, address_of(span, &addresses), span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `fixtures/swarm/references.txt` has references of.
    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn a_short_text_has_the_reference_that_every_node_gives() {
        // From the tests of Bee, and from a node.
        for (text, reference) in [
            (
                "foo",
                "2387e8e7d8a48c2a9339c97c1dc3461a9a7aa07e994c5cb8b38fd7c1b3e6ea48",
            ),
            (
                "hello",
                "a2322ed653c075c08a7847275537b74ba9f523c55341efe3df85565a78c6bb4a",
            ),
        ] {
            assert_eq!(reference_of(text.as_bytes()).to_string(), reference);
        }
    }

    #[test]
    fn references_are_those_a_node_gave_at_every_bend_of_the_tree() {
        let lines = include_str!("../../fixtures/swarm/references.txt").lines();
        let vectors: Vec<_> = lines.filter(|line| !line.starts_with('#')).collect();
        assert!(vectors.len() >= 10);
        for line in vectors {
            let (len, reference) = line.split_once(' ').unwrap();
            let bytes = pattern(len.parse().unwrap());
            assert_eq!(reference_of(&bytes).to_string(), reference, "{len} bytes");
        }
    }

    #[test]
    fn pieces_have_the_reference_of_the_whole() {
        let bytes = pattern(3 * CHUNK + 17);
        for size in [1, 100, CHUNK - 1, CHUNK, CHUNK + 1, bytes.len()] {
            let mut hasher = Hasher::default();
            bytes.chunks(size).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), reference_of(&bytes), "{size}");
        }
    }

    #[test]
    fn bytes_are_checked_against_their_name() {
        let reference = reference_of(b"foo");
        assert_eq!(reference.check(b"foo"), Ok(()));
        assert!(matches!(
            reference.check(b"fop"),
            Err(SwarmError::WrongBytes { .. })
        ));
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
}
