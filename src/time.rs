//! Instants, spans and ranges of time as the Whisper protocol counts them.
//!
//! Always true:
//! - An instant is whole Unix seconds in 32 bits, as envelopes carry it.
//! - Two instants do not add; an instant and a [`Ttl`] make an [`Expiry`].
//! - Only the shells hold a [`Clock`]; pure code is handed `now`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Seconds in an hour bucket.
pub const HOUR: u32 = 3_600;
/// Seconds in a day bucket.
pub const DAY: u32 = 86_400;

/// An instant: whole seconds since 1970-01-01T00:00:00Z. 32 bits, because that
/// is what an envelope carries; it ends in 2106.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub u32);

impl UnixSeconds {
    /// The earliest instant.
    pub const MIN: Self = Self(0);
    /// The last instant; as an upper bound it means "no upper bound".
    pub const MAX: Self = Self(u32::MAX);

    /// This instant, `seconds` later; stays at [`Self::MAX`] beyond it.
    #[must_use]
    pub fn saturating_add(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// This instant, `seconds` earlier; stays at [`Self::MIN`] before it.
    #[must_use]
    pub fn saturating_sub(self, seconds: u32) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this instant, 0 where it is not earlier.
    pub fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(i64::from(self.0)) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// Why a text names no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither Unix seconds nor an RFC 3339 time between 1970 and 2106")]
pub struct ParseTimeError {
    /// What was given.
    pub text: String,
}

impl FromStr for UnixSeconds {
    type Err = ParseTimeError;

    /// Unix seconds (`1538395200`), RFC 3339 (`2018-10-01T12:00:00Z`) or a day
    /// alone (`2018-10-01`, its first second in UTC).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseTimeError {
            text: text.to_owned(),
        };
        if let Ok(seconds) = text.parse::<u32>() {
            return Ok(Self(seconds));
        }
        let full = if text.len() == "2018-10-01".len() {
            format!("{text}T00:00:00Z")
        } else {
            text.to_owned()
        };
        let instant: jiff::Timestamp = full.parse().map_err(|_| refused())?;
        u32::try_from(instant.as_second())
            .map(Self)
            .map_err(|_| refused())
    }
}

/// How long an envelope lives, in seconds (time to live).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ttl(pub u32);

/// The instant an envelope dies: `sent + ttl`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Expiry(pub u32);

impl Expiry {
    /// The expiry of an envelope sent at `sent` that lives for `ttl`; wraps as
    /// the 32-bit arithmetic of the reference nodes does.
    pub fn of(sent: UnixSeconds, ttl: Ttl) -> Self {
        Self(sent.0.wrapping_add(ttl.0))
    }

    /// `expiry - ttl`, the instant of sending. Wraps like the reference nodes:
    /// a TTL above the expiry gives a far future.
    pub fn sent(self, ttl: Ttl) -> UnixSeconds {
        UnixSeconds(self.0.wrapping_sub(ttl.0))
    }
}

/// A closed range of instants: both ends belong to it, as in the mailserver
/// protocol (`lower <= sent <= upper`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    from: UnixSeconds,
    to: UnixSeconds,
}

/// A range whose end lies before its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("query range is invalid: from > to ({} > {})", from.0, to.0)]
pub struct ReversedRange {
    /// First instant asked for.
    pub from: UnixSeconds,
    /// Last instant asked for.
    pub to: UnixSeconds,
}

impl TimeRange {
    /// Every instant.
    pub const ALL: Self = Self {
        from: UnixSeconds::MIN,
        to: UnixSeconds::MAX,
    };

    /// The range from `from` to `to`, both included.
    pub fn new(from: UnixSeconds, to: UnixSeconds) -> Result<Self, ReversedRange> {
        if from > to {
            return Err(ReversedRange { from, to });
        }
        Ok(Self { from, to })
    }

    /// First instant of the range.
    pub fn from(self) -> UnixSeconds {
        self.from
    }

    /// Last instant of the range.
    pub fn to(self) -> UnixSeconds {
        self.to
    }

    /// Whether `at` lies in the range.
    pub fn contains(self, at: UnixSeconds) -> bool {
        self.from <= at && at <= self.to
    }

    /// What two ranges share, if anything.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to)).ok()
    }
}

/// Where shells learn what time it is.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> UnixSeconds;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        UnixSeconds(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_reads_seconds_rfc_3339_and_days() {
        assert_eq!("1538395200".parse(), Ok(UnixSeconds(1_538_395_200)));
        assert_eq!(
            "2018-10-01T12:00:00Z".parse(),
            Ok(UnixSeconds(1_538_395_200))
        );
        assert_eq!(
            "2018-10-01T14:00:00+02:00".parse(),
            Ok(UnixSeconds(1_538_395_200))
        );
        assert_eq!("2018-10-01".parse(), Ok(UnixSeconds(1_538_352_000)));
        assert!("yesterday".parse::<UnixSeconds>().is_err());
        assert!("1950-01-01".parse::<UnixSeconds>().is_err());
        assert!("2200-01-01".parse::<UnixSeconds>().is_err());
    }

    #[test]
    fn an_instant_prints_as_rfc_3339() {
        assert_eq!(
            UnixSeconds(1_538_395_200).to_string(),
            "2018-10-01T12:00:00Z"
        );
    }

    #[test]
    fn both_ends_belong_to_a_range() {
        let range = TimeRange::new(UnixSeconds(5), UnixSeconds(7)).unwrap();
        assert!(range.contains(UnixSeconds(5)) && range.contains(UnixSeconds(7)));
        assert!(!range.contains(UnixSeconds(4)) && !range.contains(UnixSeconds(8)));
        assert!(TimeRange::ALL.contains(UnixSeconds::MAX));
        assert!(TimeRange::new(UnixSeconds(8), UnixSeconds(7)).is_err());
    }

    #[test]
    fn ranges_that_do_not_touch_share_nothing() {
        let a = TimeRange::new(UnixSeconds(5), UnixSeconds(7)).unwrap();
        let b = TimeRange::new(UnixSeconds(7), UnixSeconds(9)).unwrap();
        let c = TimeRange::new(UnixSeconds(8), UnixSeconds(9)).unwrap();
        assert_eq!(
            a.intersect(b),
            TimeRange::new(UnixSeconds(7), UnixSeconds(7)).ok()
        );
        assert_eq!(a.intersect(c), None);
    }

    #[test]
    fn sent_is_expiry_less_ttl_and_wraps() {
        assert_eq!(Expiry(100).sent(Ttl(40)), UnixSeconds(60));
        assert_eq!(Expiry(1).sent(Ttl(2)), UnixSeconds(u32::MAX));
        assert_eq!(Expiry::of(UnixSeconds(60), Ttl(40)), Expiry(100));
    }
}
