//! Leaving a store alone that was slow to fail.
//!
//! An envelope that comes late for a day that was evicted is compared with it while it
//! is taken in, and while a head is sealed. A store that takes a minute to say that it is
//! away would stop both for a minute each time.
//!
//! Always true:
//! - A store that answers, or fails at once, is asked whenever it is wanted.
//! - After a failure that took some time it is not asked for several times as long, so
//!   that waiting in vain takes up a small share of all time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a failure may take and be called at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How many times as long as the failure took the store is left alone.
const TIMES: u32 = 4;

/// The longest rest: whoever asks for what is there again hears of it within the time.
const LONGEST: Duration = Duration::from_secs(120);

/// The rest of one store.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<Option<Instant>>);

impl Rest {
    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it is left alone yet; `None` where it may be asked.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let left = (*self.until())?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// It was asked at `asked`, and had failed at `now`.
    pub(super) fn failed(&self, asked: Instant, now: Instant) {
        let took = now.saturating_duration_since(asked);
        if took > AT_ONCE {
            let until = now + took.saturating_mul(TIMES).min(LONGEST);
            let mut rest = self.until();
            *rest = (*rest).max(Some(until));
        }
    }

    /// It has answered, or is another.
    pub(super) fn end(&self) {
        *self.until() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_at_once_or_answers_is_always_asked() {
        let (rest, begun) = (Rest::default(), Instant::now());
        assert_eq!(rest.left(begun), None);
        rest.failed(begun, begun + AT_ONCE);
        assert_eq!(rest.left(begun + AT_ONCE), None);
        rest.failed(begun, begun + 9 * AT_ONCE);
        assert!(rest.left(begun + 9 * AT_ONCE).is_some());
        rest.end();
        assert_eq!(rest.left(begun + 9 * AT_ONCE), None);
    }

    #[test]
    fn one_that_was_slow_to_fail_rests_for_some_times_as_long_and_no_longer_than_the_bound() {
        let begun = Instant::now();
        for took in [2, 10, 60, 3_600].map(Duration::from_secs) {
            let rest = Rest::default();
            let now = begun + took;
            rest.failed(begun, now);
            let expected = (took * TIMES).min(LONGEST);
            assert_eq!(rest.left(now), Some(expected));
            // Another that had been waiting meanwhile makes it no shorter.
            rest.failed(now - 2 * AT_ONCE, now);
            assert_eq!(rest.left(now), Some(expected));
            assert_eq!(rest.left(now + expected), None);
        }
    }
}
