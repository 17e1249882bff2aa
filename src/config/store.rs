//! Settings of where blocks are kept.

use std::str::FromStr;

use super::Password;
use crate::depot::{DEFAULT_KEEP, Keep, StoreAddress};

/// A number of bytes, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of bytes: expected digits, and K, M, G or T for 1024 and its powers")]
pub struct ParseSizeError(pub String);

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor = match &text[digits.len()..] {
            "" => Some(1u64),
            "K" => Some(1 << 10),
            "M" => Some(1 << 20),
            "G" => Some(1 << 30),
            "T" => Some(1 << 40),
            _ => None,
        };
        let number: Option<u64> = digits.parse().ok();
        factor
            .zip(number)
            .and_then(|(factor, number)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| ParseSizeError(text.to_owned()))
    }
}

/// Settings of the store where each may be left open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorePartial {
    /// Where blocks are kept.
    pub address: Option<StoreAddress>,
    /// How much of what is kept elsewhere stays in the data folder.
    pub keep: Option<Keep>,
    /// What the store asks of those who write there.
    pub auth: Option<Password>,
}

/// Settings of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// Where blocks are kept.
    pub address: StoreAddress,
    /// How much of what is kept elsewhere stays in the data folder.
    pub keep: Keep,
    /// What the store asks of those who write there.
    pub auth: Option<Password>,
}

impl StoreSettings {
    /// Settings from `flags` and `file`, the defaults where both are silent.
    pub fn resolve(flags: StorePartial, file: StorePartial) -> Self {
        Self {
            address: flags.address.or(file.address).unwrap_or_default(),
            keep: flags.keep.or(file.keep).unwrap_or(DEFAULT_KEEP),
            auth: flags.auth.or(file.auth),
        }
    }
}
