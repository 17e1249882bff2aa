//! Which envelopes a peer has.
//!
//! Always true:
//! - At most [`KNOWN_LIMIT`] hashes are remembered; the oldest are forgotten
//!   first, by halves.
//! - Forgetting costs a repetition, never a loss: peers drop what they hold.

use std::collections::HashSet;

use crate::whisper::EnvelopeHash;

/// How many hashes are remembered for one peer: about 3 MiB at most, and more
/// than a busy network sends within the lifetime of its messages.
pub const KNOWN_LIMIT: usize = 1 << 16;

/// A bounded set of hashes in two generations.
#[derive(Debug, Default)]
pub struct KnownSet {
    young: HashSet<EnvelopeHash>,
    old: HashSet<EnvelopeHash>,
}

impl KnownSet {
    /// Remembers `hash`; true if it was new.
    pub fn insert(&mut self, hash: EnvelopeHash) -> bool {
        if self.contains(&hash) {
            return false;
        }
        if self.young.len() >= KNOWN_LIMIT / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash)
    }

    /// Whether `hash` is remembered.
    pub fn contains(&self, hash: &EnvelopeHash) -> bool {
        self.young.contains(hash) || self.old.contains(hash)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_the_set_stays_bounded() {
        let hash = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            EnvelopeHash(bytes)
        };
        let mut known = KnownSet::default();
        for n in 0..3 * KNOWN_LIMIT {
            assert!(known.insert(hash(n)));
            assert!(known.len() <= KNOWN_LIMIT);
        }
        assert!(!known.insert(hash(3 * KNOWN_LIMIT - 1)));
        assert!(known.contains(&hash(3 * KNOWN_LIMIT - KNOWN_LIMIT / 2)));
        assert!(!known.contains(&hash(0)));
    }
}
