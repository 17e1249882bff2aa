//! `[limits]` as one place says them.
//!
//! Always true: every entry was read by [`Limits`] when it came in, so that entries of
//! several places are limits too: each is bounded on its own, none by another.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::limits::Limits;

/// Some of the limits; silent about the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsPartial(toml::Table);

impl LimitsPartial {
    /// What this says, and where it is silent what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let Self(mut all) = other;
        all.extend(self.0);
        Self(all)
    }

    /// The keys that are said something of.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The limits, with their defaults where this is silent.
    pub fn resolve(self) -> Limits {
        let limits = self.0.try_into();
        limits.expect("each entry was read as a limit when it came in")
    }
}

impl<'de> Deserialize<'de> for LimitsPartial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let limits: Result<Limits, _> = table.clone().try_into();
        limits.map_err(D::Error::custom)?;
        Ok(Self(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(text: &str) -> LimitsPartial {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_limit_is_that_of_the_nearest_place_which_says_it() {
        let own = partial("max-peers = 3\nexempt-local = false");
        let foreign = partial("max-peers = 50\npackets-per-second = 200");
        let limits = own.or(foreign).resolve();
        assert_eq!(limits.max_peers.get(), 3);
        assert!(!limits.exempt_local);
        assert_eq!(limits.packets_per_second.get(), 200);
        let silent = Limits::default();
        assert_eq!(limits.requests_per_second, silent.requests_per_second);
    }

    #[test]
    fn what_limits_refuse_is_refused_here() {
        for text in ["max-peers = 0", "request = 1", "exempt-local = 1"] {
            assert!(toml::from_str::<LimitsPartial>(text).is_err(), "{text}");
        }
    }
}
