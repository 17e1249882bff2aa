//! What a Whisper node does for those who use it: keys, filters, posts.
//!
//! Always true:
//! - Names, order of checks and error texts are those of geth's `shh` API, so
//!   that its clients find what they know.
//! - Keys live in memory alone, and are wiped when deleted.
//! - Everything a caller can pile up is bounded.

pub mod filters;
pub mod key_store;
pub mod post;

use std::fmt;
use std::str::FromStr;

use crate::rlpx::random::random_bytes;

pub use filters::{Criteria, Filters, Message, ReadingKey};
pub use key_store::{KeyError, KeyStore};
pub use post::{Checked, Composed, NewMessage, PostError, compose, mine_for};

/// The name of a key or filter: 32 random bytes, shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 32]);

impl Id {
    /// A new one.
    pub fn draw() -> Self {
        Self(random_bytes())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

/// A text that names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hex digits")]
pub struct ParseIdError;

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError)?;
        Ok(Self(bytes))
    }
}
