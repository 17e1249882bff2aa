//! Up to when a head has sealed, and which buckets that closes.
//!
//! Always true: a bucket is closed at a watermark iff it ends at or before it.
//! So which buckets a state holds, and how, follows from the watermark alone.

use std::fmt;

use crate::time::{DAY, HOUR, TimeRange, UnixSeconds};

/// A watermark is a multiple of this many seconds, so that archives that seal
/// at their own pace still meet at equal watermarks.
pub const WATERMARK_STEP: u32 = 300;

/// How long a seal waits after an instant before it seals up to it: envelopes
/// reach us seconds after they were sent, and a peer's clock may be 20 s off.
/// What comes later still is sealed all the same, into its own bucket.
pub const SEAL_LAG: u32 = 120;

/// Envelopes sent before it are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Watermark(UnixSeconds);

impl Watermark {
    /// The watermark `at`, which must be a multiple of [`WATERMARK_STEP`].
    pub fn new(at: UnixSeconds) -> Option<Self> {
        at.0.is_multiple_of(WATERMARK_STEP).then_some(Self(at))
    }

    /// The last watermark at or before an instant.
    pub fn at_or_before(at: UnixSeconds) -> Self {
        Self(UnixSeconds(at.0 - at.0 % WATERMARK_STEP))
    }

    /// The watermark a seal at `now` reaches unless told otherwise.
    pub fn due(now: UnixSeconds) -> Self {
        Self::at_or_before(now.saturating_sub(SEAL_LAG))
    }

    /// The instant itself.
    pub fn at(self) -> UnixSeconds {
        self.0
    }

    /// Whether an envelope sent at `sent` is sealed.
    pub fn covers(self, sent: UnixSeconds) -> bool {
        sent < self.0
    }

    /// Whether a day has closed.
    pub fn closes_day(self, day: Day) -> bool {
        self.0.0 / DAY > day.0
    }

    /// Whether an hour has closed.
    pub fn closes_hour(self, hour: Hour) -> bool {
        self.0.0 / HOUR > hour.0
    }

    /// The first hour that has not closed.
    pub fn open_hour(self) -> Hour {
        Hour(self.0.0 / HOUR)
    }

    /// The part of `range` that lies before it; `None` where none does.
    pub fn before(self, range: TimeRange) -> Option<TimeRange> {
        let last = self.0.0.checked_sub(1).map(UnixSeconds)?;
        TimeRange::new(range.from(), range.to().min(last)).ok()
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A UTC day: days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

/// A UTC hour: hours since 1970-01-01T00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub u32);

/// A UTC month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Year, 1970 to 2106.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
}

impl Day {
    /// The day an instant lies in.
    pub fn of(at: UnixSeconds) -> Self {
        Self(at.0 / DAY)
    }

    /// The day of a calendar date; `None` where there is no such day.
    pub fn from_date(month: Month, day: u8) -> Option<Self> {
        let date = jiff::civil::Date::new(
            i16::try_from(month.year).ok()?,
            i8::try_from(month.month).ok()?,
            i8::try_from(day).ok()?,
        );
        let days = date.ok()?.since(EPOCH).ok()?.get_days();
        let day = Self(u32::try_from(days).ok()?);
        (day <= Self::of(UnixSeconds::MAX)).then_some(day)
    }

    /// The month it lies in, and its number there from 1.
    pub fn date(self) -> (Month, u8) {
        let span = jiff::Span::new().days(i64::from(self.0));
        let date = EPOCH
            .checked_add(span)
            .expect("a day of 32-bit time is a date");
        let month = Month {
            year: u16::try_from(date.year()).expect("32-bit time ends in 2106"),
            month: u8::try_from(date.month()).expect("a month is 1 to 12"),
        };
        (month, u8::try_from(date.day()).expect("a day is 1 to 31"))
    }

    /// Its first and last instant.
    pub fn range(self) -> TimeRange {
        bucket_range(self.0, DAY)
    }

    /// Its 24 hours.
    pub fn hours(self) -> impl DoubleEndedIterator<Item = Hour> {
        (self.0 * 24..=self.0 * 24 + 23).map(Hour)
    }
}

const EPOCH: jiff::civil::Date = jiff::civil::date(1970, 1, 1);

impl Hour {
    /// The hour an instant lies in.
    pub fn of(at: UnixSeconds) -> Self {
        Self(at.0 / HOUR)
    }

    /// The day it lies in.
    pub fn day(self) -> Day {
        Day(self.0 / 24)
    }

    /// Its number in the day, 0 to 23.
    pub fn of_day(self) -> u8 {
        u8::try_from(self.0 % 24).expect("an hour of the day is 0 to 23")
    }

    /// Its first and last instant.
    pub fn range(self) -> TimeRange {
        bucket_range(self.0, HOUR)
    }
}

fn bucket_range(number: u32, len: u32) -> TimeRange {
    let start = number.saturating_mul(len);
    TimeRange::new(
        UnixSeconds(start),
        UnixSeconds(start).saturating_add(len - 1),
    )
    .expect("a bucket ends after it starts")
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (month, day) = self.date();
        write!(f, "{month}-{day:02}")
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{:02}", self.day(), self.of_day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_through_all_of_32_bit_time() {
        for number in (0..=Day::of(UnixSeconds::MAX).0)
            .step_by(13)
            .chain([18_321, 47_481])
        {
            let (month, day) = Day(number).date();
            assert_eq!(Day::from_date(month, day), Some(Day(number)));
        }
        assert_eq!(Day(17_805).to_string(), "2018-10-01");
        assert_eq!(Hour(17_805 * 24 + 13).to_string(), "2018-10-01T13");
    }

    #[test]
    fn dates_that_are_not_are_refused() {
        let month = |year, month| Month { year, month };
        assert_eq!(Day::from_date(month(2019, 2), 29), None);
        assert_eq!(Day::from_date(month(2019, 13), 1), None);
        assert_eq!(Day::from_date(month(1969, 12), 31), None);
        assert_eq!(Day::from_date(month(2107, 1), 1), None);
    }

    #[test]
    fn a_bucket_closes_when_the_watermark_reaches_its_end() {
        let at = |seconds| Watermark::at_or_before(UnixSeconds(seconds));
        assert!(!at(86_399).closes_day(Day(0)) && at(86_400).closes_day(Day(0)));
        assert!(!at(3_599).closes_hour(Hour(0)) && at(3_600).closes_hour(Hour(0)));
        assert_eq!(at(3_600).open_hour(), Hour(1));
    }

    #[test]
    fn the_last_buckets_of_32_bit_time_end_with_it() {
        let last = Day::of(UnixSeconds::MAX);
        assert_eq!(last.range().to(), UnixSeconds::MAX);
        assert_eq!(Hour::of(UnixSeconds::MAX).range().to(), UnixSeconds::MAX);
    }
}
