//! Rates, and meters that hold them: the generic cell rate algorithm.
//!
//! Always true:
//! - A meter is one instant: when everything taken so far will be paid for.
//! - Over any span `t` a meter lets at most `burst + rate * t` through, and what
//!   was charged beyond that delays what comes after it.

use std::time::{Duration, Instant};

/// The longest that anybody is kept waiting for one charge: a price beyond it is
/// forgiven, so that no single packet shuts a peer out for good.
const LONGEST_DEBT: Duration = Duration::from_secs(600);

/// So many units for each span of time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    units: u64,
    per: Duration,
    burst: u64,
}

impl Rate {
    /// `units` for each `per`; `burst` of them may come at once. Zeroes count as
    /// the least above zero: a rate lets something through.
    pub fn new(units: u64, per: Duration, burst: u64) -> Self {
        Self {
            units: units.max(1),
            per: per.max(Duration::from_nanos(1)),
            burst: burst.max(1),
        }
    }

    /// `factor` times as much.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        Self {
            units: self.units.saturating_mul(factor.max(1)),
            per: self.per,
            burst: self.burst.saturating_mul(factor.max(1)),
        }
    }

    /// How long `units` take at this rate.
    fn price(&self, units: u64) -> Duration {
        let nanos = self.per.as_nanos().saturating_mul(u128::from(units)) / u128::from(self.units);
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }
}

/// How much of a rate somebody has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    paid_at: Option<Instant>,
}

impl Meter {
    /// How long to wait until nothing is owed beyond the burst; zero if nothing
    /// is.
    pub fn owed(&self, rate: &Rate, now: Instant) -> Duration {
        self.ahead(now).saturating_sub(rate.price(rate.burst))
    }

    /// Whether the rate allows `units` now, or how long to wait for that.
    pub fn fits(&self, rate: &Rate, units: u64, now: Instant) -> Result<(), Duration> {
        let wanted = self.ahead(now).saturating_add(rate.price(units));
        match wanted.saturating_sub(rate.price(rate.burst)) {
            Duration::ZERO => Ok(()),
            over => Err(over),
        }
    }

    /// Takes `units` if the rate allows them now; else says how long to wait, and
    /// takes nothing.
    pub fn take(&mut self, rate: &Rate, units: u64, now: Instant) -> Result<(), Duration> {
        self.fits(rate, units, now)?;
        self.charge(rate, units, now);
        Ok(())
    }

    /// Takes `units` that came already, allowed or not, and says how long to wait
    /// before more is welcome.
    pub fn charge(&mut self, rate: &Rate, units: u64, now: Instant) -> Duration {
        let most = rate.price(rate.burst).saturating_add(LONGEST_DEBT);
        // A century of burst is as good as any.
        let most = most.min(Duration::from_secs(100 * 365 * 86_400));
        let ahead = self.ahead(now).saturating_add(rate.price(units)).min(most);
        self.paid_at = Some(now + ahead);
        self.owed(rate, now)
    }

    /// How far what was taken reaches into the future.
    fn ahead(&self, now: Instant) -> Duration {
        self.paid_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_taken_at_once_and_then_the_rate() {
        let rate = Rate::new(2, SECOND, 4);
        let start = Instant::now();
        let mut meter = Meter::default();
        for _ in 0..4 {
            meter.take(&rate, 1, start).unwrap();
        }
        assert_eq!(meter.take(&rate, 1, start), Err(SECOND / 2));
        let later = start + SECOND / 2;
        meter.take(&rate, 1, later).unwrap();
        assert!(meter.take(&rate, 1, later).is_err());
        // A long rest fills the burst and no more.
        let rested = start + SECOND * 100;
        meter.take(&rate, 4, rested).unwrap();
        assert!(meter.take(&rate, 1, rested).is_err());
    }

    #[test]
    fn what_came_already_is_charged_and_waited_for() {
        let rate = Rate::new(10, SECOND, 10);
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.charge(&rate, 10, start), Duration::ZERO);
        assert_eq!(meter.charge(&rate, 30, start), SECOND * 3);
        assert_eq!(meter.owed(&rate, start + SECOND), SECOND * 2);
        assert!(meter.take(&rate, 1, start + SECOND * 3).is_err());
        meter.take(&rate, 1, start + SECOND * 4).unwrap();
    }

    #[test]
    fn no_charge_shuts_anybody_out_for_good() {
        let rate = Rate::new(1, SECOND, 1);
        let start = Instant::now();
        let mut meter = Meter::default();
        for _ in 0..3 {
            assert_eq!(meter.charge(&rate, u64::MAX, start), LONGEST_DEBT);
        }
        assert_eq!(meter.owed(&rate, start + LONGEST_DEBT), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_span_lets_more_through_than_burst_and_rate(
            units in 1_u64..50,
            burst in 1_u64..50,
            asked in proptest::collection::vec((0_u64..200, 1_u64..8), 1..200),
        ) {
            let rate = Rate::new(units, SECOND, burst);
            let start = Instant::now();
            let mut now = start;
            let mut meter = Meter::default();
            let mut taken: Vec<(Duration, u64)> = Vec::new();
            for (wait, wanted) in asked {
                now += Duration::from_millis(wait);
                if meter.take(&rate, wanted, now).is_ok() {
                    taken.push((now - start, wanted));
                }
            }
            for (i, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (to, count) in &taken[i..] {
                    sum += count;
                    let span = (*to - *from).as_secs_f64();
                    let most = burst as f64 + units as f64 * span;
                    prop_assert!(sum as f64 <= most + 1e-3, "{sum} in {span} s");
                }
            }
        }
    }
}
