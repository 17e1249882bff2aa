//! A comparison of two sets, by who began it, as a machine without a socket.
//!
//! The negentropy protocol, version 1: the sets are compared by fingerprints of
//! ranges, and those that differ are split, until hashes are exchanged.
//!
//! Always true:
//! - It ends after [`MAX_ROUNDS`] frames, whatever the other side answers, with
//!   what was found so far.
//! - What it found is at most [`MAX_FOUND`] each way, each once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::snapshot::Snapshot;
use crate::time::TimeRange;
use crate::whisper::EnvelopeHash;

/// Frames sent in one comparison. Sets of any size take four when they differ
/// little, and one for each 1,900 hashes when they differ much.
pub const MAX_ROUNDS: u32 = 64;

/// Hashes found each way before the comparison is cut short: what is found is
/// settled first, the rest is found next time.
pub const MAX_FOUND: usize = 1 << 16;

/// What two sides differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What only this side has.
    pub have: BTreeSet<EnvelopeHash>,
    /// What only the other side has, as it says.
    pub need: BTreeSet<EnvelopeHash>,
    /// Whether there may be more of it.
    pub cut_short: bool,
}

/// The other side answered with a frame that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame of a comparison is malformed")]
pub struct CompareError;

/// A comparison under way.
#[derive(Debug)]
pub struct Compare {
    snapshot: Arc<Snapshot>,
    rounds: u32,
    found: Difference,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this frame.
    Send(Bytes),
    /// Nothing: this is the difference.
    Done(Difference),
}

impl Compare {
    /// Begins to compare `snapshot` with the other side; the frame is to be sent.
    pub fn begin(snapshot: Arc<Snapshot>) -> (Self, Bytes) {
        let frame = snapshot
            .protocol()
            .initiate()
            .expect("a comparison begins once, over sealed items");
        let compare = Self {
            snapshot,
            rounds: 1,
            found: Difference::default(),
        };
        (compare, frame.into())
    }

    /// What is compared.
    pub fn range(&self) -> TimeRange {
        self.snapshot.range()
    }

    /// Takes the answer to the last frame.
    pub fn answered(mut self, frame: &[u8]) -> Result<(Self, Next), CompareError> {
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = {
            let mut protocol = self.snapshot.protocol();
            protocol.set_initiator();
            protocol
                .reconcile_with_ids(frame, &mut have, &mut need)
                .map_err(|_| CompareError)?
        };
        let hash = |id: &negentropy::Id| EnvelopeHash(**id);
        self.found.have.extend(have.iter().map(hash));
        self.found.need.extend(need.iter().map(hash));
        let found = self.found.have.len().max(self.found.need.len());
        match next {
            Some(frame) if self.rounds < MAX_ROUNDS && found < MAX_FOUND => {
                self.rounds += 1;
                Ok((self, Next::Send(frame.into())))
            }
            next => {
                let mut found = std::mem::take(&mut self.found);
                found.cut_short = next.is_some();
                // One side may have taken in meanwhile what the other had.
                Ok((self, Next::Done(found)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::key::Key;
    use crate::time::UnixSeconds;
    use crate::whisper::Topic;

    fn key(n: u32) -> Key {
        let hash = crate::keccak::keccak256(n.to_be_bytes());
        Key {
            topic: Topic([0; 4]),
            // Some share their second.
            sent: UnixSeconds(1_000 + n / 3),
            hash: EnvelopeHash(hash),
        }
    }

    fn snapshot(keys: impl IntoIterator<Item = u32>) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(TimeRange::ALL, keys.into_iter().map(key)).unwrap())
    }

    fn hashes(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<EnvelopeHash> {
        numbers.into_iter().map(|n| key(n).hash).collect()
    }

    /// Compares to the end; gives the difference and the bytes exchanged.
    fn run(ours: &Arc<Snapshot>, theirs: &Snapshot) -> (Difference, usize) {
        let (mut compare, mut frame) = Compare::begin(Arc::clone(ours));
        let mut bytes = 0;
        loop {
            assert!(frame.len() <= MAX_FRAME_SEEN);
            let answer = theirs.answer(&frame).unwrap();
            assert!(answer.len() <= MAX_FRAME_SEEN);
            bytes += frame.len() + answer.len();
            let (went_on, next) = compare.answered(&answer).unwrap();
            match next {
                Next::Send(next) => (compare, frame) = (went_on, next),
                Next::Done(found) => return (found, bytes),
            }
        }
    }

    const MAX_FRAME_SEEN: usize = crate::reconcile::message::MAX_FRAME;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn a_comparison_finds_exactly_what_differs(
            both in prop::collection::btree_set(0..20_000u32, 0..3_000),
            only_ours in prop::collection::btree_set(20_000..40_000u32, 0..200),
            only_theirs in prop::collection::btree_set(40_000..60_000u32, 0..200),
        ) {
            let ours = snapshot(both.iter().chain(&only_ours).copied());
            let theirs = snapshot(both.iter().chain(&only_theirs).copied());
            let (found, _) = run(&ours, &theirs);
            prop_assert_eq!(found.have, hashes(only_ours));
            prop_assert_eq!(found.need, hashes(only_theirs));
            prop_assert!(!found.cut_short);
        }

        #[test]
        fn any_bytes_are_answered_in_bounds_or_refused(
            frame in prop::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let ours = snapshot(0..500);
            let frame = [&[0x61][..], &frame].concat();
            if let Some(answer) = ours.answer(&frame) {
                prop_assert!(answer.len() <= MAX_FRAME_SEEN);
            }
            let (compare, _) = Compare::begin(ours);
            if let Ok((_, Next::Send(next))) = compare.answered(&frame) {
                prop_assert!(next.len() <= MAX_FRAME_SEEN);
            }
        }
    }

    #[test]
    fn sets_that_differ_in_everything_are_compared_in_frames_within_the_limit() {
        let (found, _) = run(&snapshot(0..30_000), &snapshot(30_000..60_000));
        assert!(!found.cut_short);
        assert_eq!((found.have.len(), found.need.len()), (30_000, 30_000));
    }

    #[test]
    fn equal_sets_cost_one_round_of_fingerprints() {
        let (found, bytes) = run(&snapshot(0..100_000), &snapshot(0..100_000));
        assert_eq!(found, Difference::default());
        assert!(bytes < 600, "{bytes}");
    }

    #[test]
    fn a_side_that_never_agrees_is_given_up() {
        let ours = snapshot(0..10_000);
        let (mut compare, _) = Compare::begin(Arc::clone(&ours));
        // One range to the end, with a fingerprint that nothing has.
        let frame = [&[0x61, 0x00, 0x00, 0x01][..], &[0xee; 16]].concat();
        let mut rounds = 0;
        loop {
            rounds += 1;
            let (went_on, next) = compare.answered(&frame).unwrap();
            match next {
                Next::Send(_) => compare = went_on,
                Next::Done(found) => {
                    assert!(found.cut_short);
                    break;
                }
            }
        }
        assert_eq!(rounds, MAX_ROUNDS);
    }
}
