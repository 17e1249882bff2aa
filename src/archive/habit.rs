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

/// Of which time a history speaks.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Its first hour, where there was a history before; `None` where it begins with
    /// the first envelope.
    pub from: Option<Hour>,
    /// Its last instant.
    pub end: UnixSeconds,
    /// Hours in between of which nothing is known, in order.
    pub unknown: &'a [Stretch],
}

/// Where a history is silent that otherwise is not. `counts` has the envelopes of
/// each hour with any. Without any there is no habit, and so no silence.
pub fn silences(counts: &BTreeMap<Hour, u64>, told: Told<'_>) -> Vec<Silence> {
    let Some((first, _)) = counts.first_key_value() else {
        return Vec::new();
    };
    let first = told.from.map_or(*first, |from| from.min(*first));
    let end = Hour::of(told.end);
    let habit = Habit::of(counts, first, end, told.unknown);
    let mut silences = Vec::new();
    let mut next = first.0;
    let one = |hour: Hour| Stretch {
        first: hour,
        last: hour,
    };
    // The hour that the end lies in is not over.
    let mut stops: Vec<_> = counts.keys().copied().chain([end]).map(one).collect();
    stops.extend(told.unknown);
    stops.sort_unstable_by_key(|stop| stop.first);
    for stop in stops {
        if stop.first.0 > next {
            let stretch = Stretch {
                first: Hour(next),
                last: Hour(stop.first.0 - 1),
            };
            let hours = next..stop.first.0;
            let expected = hours.map(|hour| habit.at(Hour(hour))).sum();
            if expected >= TOLD_FROM {
                silences.push(Silence { stretch, expected });
            }
        }
        next = next.max(stop.last.0 + 1);
    }
    silences
}

/// How many envelopes an hour usually has.
struct Habit {
    of_day: [f64; 24],
}

impl Habit {
    fn of(counts: &BTreeMap<Hour, u64>, first: Hour, last: Hour, unknown: &[Stretch]) -> Self {
        let within = |stretch: &Stretch| {
            let (first, last) = (stretch.first.max(first), stretch.last.min(last));
            (last.0 + 1).saturating_sub(first.0)
        };
        let unknown: u32 = unknown.iter().map(within).sum();
        let hours = last.0.saturating_sub(first.0) + 1;
        let hours = hours.saturating_sub(unknown).max(1);
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

    fn whole(end: UnixSeconds) -> Told<'static> {
        Told {
            from: None,
            end,
            unknown: &[],
        }
    }

    fn end_of(hour: u32) -> UnixSeconds {
        Hour(hour).range().to()
    }

    fn found(counts: &BTreeMap<Hour, u64>, end: UnixSeconds) -> Vec<(u32, u32)> {
        let silences = silences(counts, whole(end));
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
    fn a_silence_that_began_before_is_told_from_where_one_looks() {
        let busy = counts((120..200).map(|h| (h, 50)));
        let told = |from, unknown| Told {
            from,
            end: end_of(199),
            unknown,
        };
        assert_eq!(silences(&busy, told(None, &[])), []);
        let found = silences(&busy, told(Some(Hour(100)), &[]));
        let stretch = Stretch {
            first: Hour(100),
            last: Hour(119),
        };
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].stretch, stretch);
        // Of what is not known nothing is said.
        let unknown = [stretch];
        assert_eq!(silences(&busy, told(Some(Hour(100)), &unknown)), []);
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
