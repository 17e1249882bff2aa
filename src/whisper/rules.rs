//! What a node asks of envelopes, and for a while still takes.
//!
//! Always true:
//! - A demand that was raised is held against nobody for [`TOLERANCE`] seconds:
//!   peers learn of it from a packet that takes its time, and what they sent
//!   before was right when they sent it.
//! - A demand that was lowered counts at once.
//! - Without a change there is nothing to tolerate. (The reference tolerates 0.2
//!   until the first change, whatever was configured.)

use crate::time::UnixSeconds;
use crate::whisper::admission::AdmissionPolicy;
use crate::whisper::bloom::Bloom;
use crate::whisper::pow::Pow;

/// How long a former demand is still enough, in seconds: geth's
/// `DefaultSyncAllowance`.
pub const TOLERANCE: u32 = 10;

/// A demand, and the one before it.
#[derive(Clone, Copy, Debug)]
struct Demand<T> {
    now: T,
    /// What was enough before, and until when it still is.
    former: Option<(T, UnixSeconds)>,
}

impl<T: Copy> Demand<T> {
    fn new(now: T) -> Self {
        Self { now, former: None }
    }

    /// Asks for something else; `merge` says what satisfies either of two.
    fn change(&mut self, to: T, at: UnixSeconds, merge: impl Fn(T, T) -> T) {
        let enough = self.enough(at, merge);
        self.former = Some((enough, at.saturating_add(TOLERANCE)));
        self.now = to;
    }

    /// What is enough at an instant.
    fn enough(&self, at: UnixSeconds, merge: impl Fn(T, T) -> T) -> T {
        match self.former {
            Some((former, until)) if at < until => merge(self.now, former),
            _ => self.now,
        }
    }
}

/// The rules of a node.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    min_pow: Demand<Pow>,
    bloom: Demand<Bloom>,
    max_message_size: usize,
    light: bool,
}

impl Rules {
    /// Rules that ask for what `policy` does.
    pub fn new(policy: AdmissionPolicy, light: bool) -> Self {
        Self {
            min_pow: Demand::new(policy.min_pow),
            bloom: Demand::new(policy.bloom),
            max_message_size: policy.max_message_size,
            light,
        }
    }

    /// The least work asked for.
    pub fn min_pow(&self) -> Pow {
        self.min_pow.now
    }

    /// The topics asked for.
    pub fn bloom(&self) -> Bloom {
        self.bloom.now
    }

    /// The largest size (20 + data) taken, in bytes.
    pub fn max_message_size(&self) -> usize {
        self.max_message_size
    }

    /// Whether the node forwards nothing but its own.
    pub fn is_light(&self) -> bool {
        self.light
    }

    /// Asks for this much work from now on.
    pub fn set_min_pow(&mut self, pow: Pow, now: UnixSeconds) {
        self.min_pow.change(pow, now, less_work);
    }

    /// Asks for these topics from now on.
    pub fn set_bloom(&mut self, bloom: Bloom, now: UnixSeconds) {
        self.bloom.change(bloom, now, either_topic);
    }

    /// Takes envelopes up to this size from now on.
    pub fn set_max_message_size(&mut self, size: usize) {
        self.max_message_size = size;
    }

    /// Forwards nothing but its own from now on, or everything.
    pub fn set_light(&mut self, light: bool) {
        self.light = light;
    }

    /// What an envelope that arrives at `now` is judged by.
    pub fn policy(&self, now: UnixSeconds) -> AdmissionPolicy {
        AdmissionPolicy {
            min_pow: self.min_pow.enough(now, less_work),
            max_message_size: self.max_message_size,
            bloom: self.bloom.enough(now, either_topic),
        }
    }
}

fn less_work(a: Pow, b: Pow) -> Pow {
    if a < b { a } else { b }
}

fn either_topic(a: Bloom, b: Bloom) -> Bloom {
    a.union(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whisper::Topic;

    const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

    fn pow(pow: f64) -> Pow {
        Pow::new(pow).unwrap()
    }

    fn rules(min_pow: f64, bloom: Bloom) -> Rules {
        let policy = AdmissionPolicy {
            min_pow: pow(min_pow),
            bloom,
            ..AdmissionPolicy::default()
        };
        Rules::new(policy, false)
    }

    fn later(seconds: u32) -> UnixSeconds {
        NOW.saturating_add(seconds)
    }

    #[test]
    fn what_was_configured_counts_from_the_start() {
        for min in [0.001, 0.5, 3.0] {
            assert_eq!(rules(min, Bloom::FULL).policy(NOW).min_pow, pow(min));
        }
    }

    #[test]
    fn less_work_is_enough_for_ten_seconds_after_more_was_asked_for() {
        let mut rules = rules(0.1, Bloom::FULL);
        rules.set_min_pow(pow(0.5), NOW);
        assert_eq!(rules.min_pow(), pow(0.5));
        assert_eq!(rules.policy(later(9)).min_pow, pow(0.1));
        assert_eq!(rules.policy(later(10)).min_pow, pow(0.5));
    }

    #[test]
    fn less_work_asked_for_is_enough_at_once() {
        let mut rules = rules(0.5, Bloom::FULL);
        rules.set_min_pow(pow(0.1), NOW);
        assert_eq!(rules.policy(NOW).min_pow, pow(0.1));
        assert_eq!(rules.policy(later(20)).min_pow, pow(0.1));
    }

    #[test]
    fn changes_in_a_row_tolerate_all_that_was_enough_before() {
        let mut rules = rules(0.1, Bloom::FULL);
        rules.set_min_pow(pow(0.5), NOW);
        rules.set_min_pow(pow(0.9), later(5));
        assert_eq!(rules.policy(later(14)).min_pow, pow(0.1));
        assert_eq!(rules.policy(later(15)).min_pow, pow(0.9));
    }

    #[test]
    fn topics_of_the_former_filter_are_taken_for_ten_seconds() {
        let [a, b] = [Topic([8, 8, 8, 0]), Topic([16, 16, 16, 0])];
        let mut rules = rules(0.1, Bloom::of_topic(a));
        rules.set_bloom(Bloom::of_topic(b), NOW);
        let takes = |at, topic| rules.policy(at).bloom.matches(topic);
        assert!(takes(later(9), a) && takes(later(9), b));
        assert!(!takes(later(10), a) && takes(later(10), b));
    }
}
