//! A batch of envelopes, sorted by what becomes of each.
//!
//! Always true: every envelope of a batch is counted exactly once, as new,
//! known, stale or refused.

use std::collections::HashSet;

use crate::time::UnixSeconds;
use crate::whisper::admission::{AdmissionPolicy, Admitted, Refusal, Verdict};
use crate::whisper::confirm::{EnvelopeFault, MAX_FAULTS};
use crate::whisper::{Envelope, EnvelopeHash};

/// How many envelopes were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Sent too far ahead of our clock.
    pub future: u64,
    /// Dead for too long.
    pub very_old: u64,
    /// Not enough work.
    pub low_pow: u64,
    /// Too large.
    pub too_large: u64,
    /// Of a topic nobody here wants.
    pub unwanted_topic: u64,
}

impl Refusals {
    /// Counts one refusal.
    pub fn count(&mut self, refusal: &Refusal) {
        *match refusal {
            Refusal::Future { .. } => &mut self.future,
            Refusal::VeryOld { .. } => &mut self.very_old,
            Refusal::LowPow { .. } => &mut self.low_pow,
            Refusal::TooLarge { .. } => &mut self.too_large,
            Refusal::UnwantedTopic { .. } => &mut self.unwanted_topic,
        } += 1;
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.future += other.future;
        self.very_old += other.very_old;
        self.low_pow += other.low_pow;
        self.too_large += other.too_large;
        self.unwanted_topic += other.unwanted_topic;
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.future + self.very_old + self.low_pow + self.too_large + self.unwanted_topic
    }
}

/// A batch, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// To be archived, each once, in order of arrival.
    pub new: Vec<Admitted>,
    /// Held already, or repeated within the batch.
    pub known: u64,
    /// Died moments ago.
    pub stale: u64,
    /// What to tell the sender. Beyond [`MAX_FAULTS`] one more is kept, to show
    /// that there are too many to tell.
    pub faults: Vec<EnvelopeFault>,
    /// The same, counted.
    pub refusals: Refusals,
}

/// Sorts `envelopes` at `now`. What `is_held` says is held already is durable,
/// and not judged again.
pub fn sift(
    envelopes: impl IntoIterator<Item = Envelope>,
    policy: &AdmissionPolicy,
    now: UnixSeconds,
    is_held: impl Fn(&EnvelopeHash) -> bool,
) -> Sifted {
    let mut sifted = Sifted::default();
    let mut in_batch = HashSet::new();
    for envelope in envelopes {
        let hash = envelope.hash();
        if is_held(&hash) || !in_batch.insert(hash) {
            sifted.known += 1;
            continue;
        }
        match policy.judge(envelope, now) {
            Verdict::Admitted(admitted) => sifted.new.push(admitted),
            Verdict::Stale => sifted.stale += 1,
            Verdict::Refused(refusal) => {
                sifted.refusals.count(&refusal);
                if sifted.faults.len() <= MAX_FAULTS {
                    sifted
                        .faults
                        .push(EnvelopeFault::of_refusal(hash, &refusal));
                }
            }
        }
    }
    sifted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;

    #[test]
    fn of_many_faults_a_bounded_number_is_kept_and_all_are_counted() {
        let many = MAX_FAULTS + 100;
        let dead = (0..many as u64)
            .map(|nonce| Envelope::new(Expiry(100), Ttl(1), Topic([1; 4]), &[], nonce));
        let policy = AdmissionPolicy::default();
        let sifted = sift(dead, &policy, UnixSeconds(1_000), |_| false);
        assert_eq!(sifted.faults.len(), MAX_FAULTS + 1);
        assert_eq!(sifted.refusals.very_old, many as u64);
    }
}
