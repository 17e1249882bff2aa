//! Gaps in the hours of a history: where it is silent against its own habit,
//! and where servers and archive differ.
//!
//! Always true: pure. Ranges come out sorted, and neighbouring hours as one.

use std::collections::BTreeMap;

use crate::archive::watermark::Hour;
use crate::time::{TimeRange, UnixSeconds};

/// Envelopes that a silence must have cost, by the archive's own habit, to be
/// told: by chance alone so many fail to come once in 20,000 times.
pub const TOLD_FROM: f64 = 10.0;

/// Days of history from which on each hour of the day has a habit of its own.
const DAYS_OF_HABIT: u32 = 7;

/// Hours in a row, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    first: Hour,
    last: Hour,
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

/// What one hour lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// Envelopes that a server has, and the archive has not.
    pub here: u64,
    /// Envelopes that the archive has and each server has not, in their order.
    pub there: Vec<u64>,
}

impl Lack {
    fn is_none(&self) -> bool {
        self.here == 0 && self.there.iter().all(|count| *count == 0)
    }

    fn add(&mut self, other: &Self) {
        self.here += other.here;
        self.there
            .resize(self.there.len().max(other.there.len()), 0);
        for (ours, theirs) in self.there.iter_mut().zip(&other.there) {
            *ours += theirs;
        }
    }
}

/// Unites neighbouring hours that lack something.
pub fn gaps(hours: &BTreeMap<Hour, Lack>) -> Vec<(Stretch, Lack)> {
    let mut gaps: Vec<(Stretch, Lack)> = Vec::new();
    for (hour, lack) in hours.iter().filter(|(_, lack)| !lack.is_none()) {
        match gaps.last_mut() {
            Some((stretch, sum)) if stretch.last.0 + 1 == hour.0 => {
                stretch.last = *hour;
                sum.add(lack);
            }
            _ => gaps.push((
                Stretch {
                    first: *hour,
                    last: *hour,
                },
                lack.clone(),
            )),
        }
    }
    gaps
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

    #[test]
    fn neighbouring_hours_are_one_gap() {
        let lack = |here, there| Lack {
            here,
            there: vec![there],
        };
        let hours = BTreeMap::from([
            (Hour(5), lack(1, 0)),
            (Hour(6), lack(2, 3)),
            (Hour(7), lack(0, 0)),
            (Hour(8), lack(0, 4)),
        ]);
        let gaps = gaps(&hours);
        let told: Vec<_> = gaps
            .iter()
            .map(|(s, lack)| (s.first.0, s.hours(), lack.here, lack.there[0]))
            .collect();
        assert_eq!(told, [(5, 2, 3, 3), (8, 1, 0, 4)]);
    }
}
