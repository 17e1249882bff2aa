//! What a source on the network may take of us.

use std::time::Duration;

/// Redirects followed for one request. A gateway needs one or two: to TLS, and
/// to a host of its own for each CID.
pub const MAX_REDIRECTS: usize = 3;

/// Limits of requests. The defaults are the documented ones; tests inject
/// shorter times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// How long a connection may take to come about, TLS included.
    pub connect: Duration,
    /// How long a source may send nothing while it owes us something.
    pub idle: Duration,
    /// From when on the rate of a body is looked at. Before, it is bounded by
    /// `idle` alone: a short body may well come in one late piece.
    pub rate_after: Duration,
    /// Least bytes a second of a body. A link of 32 KiB a second that 32 bodies
    /// share gives each of them this much.
    pub min_rate: u64,
    /// How often a request is tried before its source is said to have failed.
    pub attempts: u32,
    /// Pause before the second try; each next one is twice as long, all of them
    /// shortened by up to half at random so that clients do not come in step.
    pub backoff: Duration,
    /// Longest pause, and most that a `Retry-After` is obeyed.
    pub max_pause: Duration,
    /// Requests under way to one source: what a browser's six a host would need
    /// five journeys for comes in one, and no gateway takes it for an attack.
    pub in_flight: usize,
    /// How long the first source may keep silent before the next is asked too.
    pub hedge_after: Duration,
    /// How long a source that failed three times in a row is left alone.
    pub rest: Duration,
    /// How old the list of files of a public folder has to be before it is fetched
    /// again because a file that it names is gone.
    pub renew_after: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            rate_after: Duration::from_secs(30),
            min_rate: 1 << 10,
            attempts: 4,
            backoff: Duration::from_millis(250),
            max_pause: Duration::from_secs(10),
            in_flight: 32,
            hedge_after: Duration::from_secs(3),
            rest: Duration::from_secs(30),
            renew_after: Duration::from_secs(60),
        }
    }
}

impl NetLimits {
    /// The pause after try number `tried` (from 1), where the source asked for
    /// `asked`; `chance` is from 0 to 1.
    pub fn pause(&self, tried: u32, asked: Option<Duration>, chance: f64) -> Duration {
        let doubled = self
            .backoff
            .saturating_mul(1 << tried.saturating_sub(1).min(16));
        let ours = doubled.min(self.max_pause).mul_f64(1.0 - chance / 2.0);
        asked
            .map_or(ours, |asked| asked.max(ours))
            .min(self.max_pause)
    }

    /// Whether a body that brought `bytes` in `elapsed` is too slow.
    pub fn is_too_slow(&self, bytes: u64, elapsed: Duration) -> bool {
        elapsed >= self.rate_after && bytes < self.min_rate.saturating_mul(elapsed.as_secs().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_vary_and_are_bounded() {
        let limits = NetLimits::default();
        let pauses: Vec<_> = (1..=4)
            .map(|n| limits.pause(n, None, 0.0).as_millis())
            .collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000]);
        assert_eq!(limits.pause(2, None, 1.0).as_millis(), 250);
        assert_eq!(limits.pause(40, None, 0.0), limits.max_pause);
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(limits.pause(1, asked(5), 0.0), Duration::from_secs(5));
        assert_eq!(limits.pause(1, asked(86_400), 0.0), limits.max_pause);
        assert_eq!(limits.pause(1, asked(0), 0.0).as_millis(), 250);
    }

    #[test]
    fn a_byte_a_second_is_too_slow_and_a_slow_start_is_not() {
        let limits = NetLimits::default();
        assert!(!limits.is_too_slow(0, Duration::from_secs(29)));
        assert!(limits.is_too_slow(30, Duration::from_secs(30)));
        assert!(!limits.is_too_slow(40 << 10, Duration::from_secs(40)));
    }
}
