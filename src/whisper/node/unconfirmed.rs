//! Own envelopes sent to one peer that it has not acknowledged yet.
//!
//! Always true: a bounded number of batches is remembered; of older ones it is
//! never told that they arrived.

use std::collections::VecDeque;

use crate::whisper::EnvelopeHash;
use crate::whisper::confirm::BatchHash;

/// Batches remembered. A peer that acknowledges none of so many never will.
const MAX_BATCHES: usize = 256;

/// Batches that hold own envelopes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed(VecDeque<(BatchHash, Vec<EnvelopeHash>)>);

impl Unconfirmed {
    /// A batch is on its way; `own` of its envelopes were posted here.
    pub(super) fn sent(&mut self, batch: BatchHash, own: Vec<EnvelopeHash>) {
        if self.0.len() == MAX_BATCHES {
            self.0.pop_front();
        }
        self.0.push_back((batch, own));
    }

    /// The peer has taken a batch: which own envelopes that were.
    pub(super) fn acknowledged(&mut self, batch: &BatchHash) -> Vec<EnvelopeHash> {
        let at = self.0.iter().position(|(sent, _)| sent == batch);
        at.and_then(|at| self.0.remove(at))
            .map(|(_, own)| own)
            .unwrap_or_default()
    }

    /// The peer did not take one envelope of a batch; whether it was an own one.
    pub(super) fn not_taken(&mut self, batch: &BatchHash, hash: &EnvelopeHash) -> bool {
        let Some((_, own)) = self.0.iter_mut().find(|(sent, _)| sent == batch) else {
            return false;
        };
        let before = own.len();
        own.retain(|one| one != hash);
        own.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> EnvelopeHash {
        EnvelopeHash([n; 32])
    }

    #[test]
    fn a_batch_is_confirmed_once_and_without_what_was_not_taken() {
        let mut unconfirmed = Unconfirmed::default();
        let batch = BatchHash([1; 32]);
        unconfirmed.sent(batch, vec![hash(1), hash(2)]);
        assert!(unconfirmed.not_taken(&batch, &hash(1)));
        assert!(!unconfirmed.not_taken(&batch, &hash(9)));
        assert_eq!(unconfirmed.acknowledged(&batch), [hash(2)]);
        assert_eq!(unconfirmed.acknowledged(&batch), []);
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_costs_a_bounded_memory() {
        let mut unconfirmed = Unconfirmed::default();
        for n in 0..=255 {
            unconfirmed.sent(BatchHash([n; 32]), vec![hash(n)]);
        }
        unconfirmed.sent(BatchHash([7; 32]), vec![hash(0)]);
        assert_eq!(unconfirmed.0.len(), MAX_BATCHES);
        assert_eq!(unconfirmed.acknowledged(&BatchHash([0; 32])), []);
    }
}
