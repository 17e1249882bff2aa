//! How often something was how large, in buckets.
//!
//! The crate that writes the text has a histogram behind a lock, with the sum in
//! floating point. This one is what an archive can afford for each envelope: three
//! steps of a search and two atomic additions.
//!
//! Always true: the number of observations is that of the buckets together, and the
//! sum is exact; a reader may see a sum that is a moment ahead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Grains of a second: what durations are counted in.
const MICROS: u64 = 1_000_000;

/// Bounds in microseconds, those that Prometheus' own clients have unless told
/// otherwise, and so status-go's.
const USUAL: &[u64] = &[
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Bounds in microseconds of what takes a millisecond where all is well, and minutes
/// where it is not.
const WIDE: &[u64] = &[
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    300_000_000,
];

/// Counts how often something was how large.
#[derive(Debug)]
pub struct Histogram {
    /// The largest value of each bucket, ascending, in grains.
    bounds: &'static [u64],
    /// Grains of the unit that is told.
    grains: u64,
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What was observed so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The largest value of each bucket, the last infinite, and how many observations
    /// are in this bucket alone.
    pub buckets: Vec<(f64, u64)>,
    /// All observations.
    pub count: u64,
    /// What they amount to.
    pub sum: f64,
}

impl Histogram {
    /// Of durations, in the usual buckets: 5 ms to 10 s.
    pub fn of_durations() -> Self {
        Self::new(USUAL, MICROS)
    }

    /// Of durations, from 1 ms to 5 min.
    pub fn of_wide_durations() -> Self {
        Self::new(WIDE, MICROS)
    }

    /// Of sizes in bytes, in these buckets.
    pub fn of_bytes(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1)
    }

    fn new(bounds: &'static [u64], grains: u64) -> Self {
        Self {
            bounds,
            grains,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Something was so large, in grains.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Something took so long.
    pub fn took(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// How often something was observed so far.
    pub fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.map(|one| one.load(Ordering::Relaxed)).sum()
    }

    /// What was observed so far.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
    pub fn read(&self) -> Distribution {
        let grains = self.grains as f64;
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / grains);
        let counts = self.counts.iter().map(|one| one.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        Distribution {
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
            sum: self.sum.load(Ordering::Relaxed) as f64 / grains,
        }
    }
}

/// Bounds that grow by a factor.
pub(super) const fn growing<const N: usize>(first: u64, factor: u64) -> [u64; N] {
    let mut bounds = [first; N];
    let mut at = 1;
    while at < N {
        bounds[at] = bounds[at - 1] * factor;
        at += 1;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_is_not_below_it() {
        const BOUNDS: &[u64] = &growing::<3>(10, 10);
        let sizes = Histogram::of_bytes(BOUNDS);
        for size in [0, 10, 11, 1_000, 1_001, 50_000] {
            sizes.observe(size);
        }
        let told = sizes.read();
        let counts: Vec<_> = told.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 1, 2]);
        assert_eq!(told.buckets[2].0, 1_000.0);
        assert_eq!(told.buckets[3].0, f64::INFINITY);
        assert_eq!((told.count, told.sum), (6, 52_022.0));
    }

    #[test]
    fn durations_are_told_in_seconds() {
        let durations = Histogram::of_durations();
        durations.took(Duration::from_millis(7));
        durations.took(Duration::from_secs(90));
        let told = durations.read();
        assert_eq!(told.buckets[1], (0.01, 1));
        assert_eq!(told.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!((told.count, told.sum), (2, 90.007));
    }

    #[test]
    fn observations_of_many_threads_are_all_there() {
        let sizes = Histogram::of_bytes(&[5]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|size| sizes.observe(size % 10)));
            }
        });
        let told = sizes.read();
        assert_eq!((told.count, told.sum), (4_000, 18_000.0));
        assert_eq!(told.buckets[0].1, 2_400);
    }
}
