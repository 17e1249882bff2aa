//! Where a history is silent against its own habit.
//!
//! Always true: pure. Silences come out sorted, and neighbouring hours as one.

use std::collections::BTreeMap;

use super::watermark::Hour;
use crate::time::{TimeRange, UnixSeconds};

/// Envelopes that a silence must have cost, by the archive's own habit, to be
/// told: by chance alone so many fail to come once in 20,000 times.
pub const TOLD_FROM: f64 = 10.0;

/// Days of history from which on each hour of the day has a habit of its own.
const DAYS_OF_HABIT: u32 = 7;

/// Hours in a row, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first of them.
    pub first: Hour,
    /// The last of them.
    pub last: Hour,
}

impl Stretch {
    /// From its first instant to its last.
    pub fn range(self) -> TimeRange {
        TimeRange::new(self.first.range().from(), self.last.range().to())
            .expect("the first hour is not after the last")
    }

    /// How many hours.
    pub fn hours(self) -> u32 {
        self.last.0 - self.first.0 + 1
    }
}

/// A silence in a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silence {
    /// When.
    pub stretch: Stretch,
    /// How many envelopes would have come in that time by habit.
    pub expected: f64,
}

/// Where a history is silent that otherwise is not. `counts` has the envelopes of
/// each hour with any; `end` is the last instant that the history speaks of.
pub fn silences(counts: &BTreeMap<Hour, u64>, end: UnixSeconds) -> Vec<Silence> {
    let Some((first, _)) = counts.first_key_value() else {
        return Vec::new();
    };
    let habit = Habit::of(counts, *first, Hour::of(end));
    let mut silences = Vec::new();
    let mut next = first.0;
    // The hour that `end` lies in is not over.
    let stops = counts.keys().copied().chain([Hour::of(end)]);
    for stop in stops {
        if stop.0 > next {
            let stretch = Stretch {
                first: Hour(next),
                last: Hour(stop.0 - 1),
            };
            let expected = (next..stop.0).map(|hour| habit.at(Hour(hour))).sum();
            if expected >= TOLD_FROM {
                silences.push(Silence { stretch, expected });
            }
        }
        next = next.max(stop.0 + 1);
    }
    silences
}

/// How many envelopes an hour usually has.
struct Habit {
    of_day: [f64; 24],
}

impl Habit {
    fn of(counts: &BTreeMap<Hour, u64>, first: Hour, last: Hour) -> Self {
        let hours = last.0.saturating_sub(first.0) + 1;
        let days = hours / 24;
        let total: u64 = counts.values().sum();
        if days < DAYS_OF_HABIT {
            return Self {
                of_day: [as_f64(total) / f64::from(hours); 24],
            };
        }
        let mut of_day = [0.0; 24];
        for (hour, count) in counts {
            of_day[usize::from(hour.of_day())] += as_f64(*count) / f64::from(days);
        }
        Self { of_day }
    }

    fn at(&self, hour: Hour) -> f64 {
        self.of_day[usize::from(hour.of_day())]
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rough figure of what is usual needs no more than 53 bits"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(hours: impl IntoIterator<Item = (u32, u64)>) -> BTreeMap<Hour, u64> {
        let hours = hours.into_iter();
        hours.map(|(hour, count)| (Hour(hour), count)).collect()
    }

    fn end_of(hour: u32) -> UnixSeconds {
        Hour(hour).range().to()
    }

    fn found(counts: &BTreeMap<Hour, u64>, end: UnixSeconds) -> Vec<(u32, u32)> {
        let silences = silences(counts, end);
        let stretches = silences.iter().map(|silence| silence.stretch);
        stretches.map(|s| (s.first.0, s.last.0)).collect()
    }

    #[test]
    fn a_busy_history_that_falls_silent_is_told() {
        let busy = counts(
            (100..148)
                .filter(|h| !(120..123).contains(h))
                .map(|h| (h, 50)),
        );
        assert_eq!(found(&busy, end_of(147)), [(120, 122)]);
        assert_eq!(found(&busy, end_of(150)), [(120, 122), (148, 149)]);
    }

    #[test]
    fn a_quiet_history_may_be_silent_for_long() {
        let quiet = counts((0..10).map(|n| (n * 9, 1)));
        assert_eq!(found(&quiet, end_of(85)), []);
        assert_eq!(found(&counts([]), end_of(85)), []);
    }

    #[test]
    fn nights_that_are_always_silent_are_usual() {
        let hours = (0..20 * 24).filter(|hour| (8..20).contains(&(hour % 24)));
        let by_day = counts(hours.map(|hour| (hour, 100)));
        assert_eq!(found(&by_day, end_of(20 * 24 - 5)), []);
        let mut missing = by_day.clone();
        (10 * 24 + 8..10 * 24 + 12).for_each(|hour| {
            missing.remove(&Hour(hour));
        });
        // The night before it cost nothing, and is part of the silence.
        assert_eq!(
            found(&missing, end_of(20 * 24 - 5)),
            [(9 * 24 + 20, 10 * 24 + 11)]
        );
    }
}
