//! Whether an envelope that an archiver gave belongs into the archive.
//!
//! An envelope of the past shows what it showed when it lived: its bytes, its
//! hash, its work. That it was on the network can only be believed.

use crate::archive::leaf::MAX_ENVELOPE_RLP;
use crate::time::UnixSeconds;
use crate::whisper::Envelope;
use crate::whisper::pow::{Pow, Work};

/// How far ahead of our clock an envelope may have been sent, in seconds: what
/// admission allows, and as much again for the other's clock.
pub const MAX_AHEAD: u32 = 20;

/// What is asked of envelopes from archivers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    /// The least work, by either definition. Zero from archivers that the owner
    /// named: they asked for work when the envelope lived.
    pub min_pow: Pow,
}

/// Why an envelope is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Sent ahead of time.
    #[error("sent ahead of time")]
    Ahead,
    /// No block could hold it.
    #[error("too large for a block")]
    TooLarge,
    /// It shows too little work.
    #[error("too little work")]
    LowPow,
}

impl Standard {
    /// Whether `envelope` is taken.
    pub fn judge(&self, envelope: &Envelope, now: UnixSeconds) -> Result<(), Unfit> {
        if envelope.rlp().len() > MAX_ENVELOPE_RLP {
            return Err(Unfit::TooLarge);
        }
        if envelope.sent() > now.saturating_add(MAX_AHEAD) {
            return Err(Unfit::Ahead);
        }
        if self.min_pow > Pow::ZERO && Work::of(envelope).most() < self.min_pow {
            return Err(Unfit::LowPow);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::envelope;

    #[test]
    fn what_comes_from_the_future_or_shows_no_work_is_not_taken() {
        let now = UnixSeconds(10_000);
        let free = Standard { min_pow: Pow::ZERO };
        let strict = Standard {
            min_pow: Pow::new(1_000.0).unwrap(),
        };
        let old = envelope(1, 10, 40);
        assert_eq!(free.judge(&old, now), Ok(()));
        assert_eq!(strict.judge(&old, now), Err(Unfit::LowPow));
        assert_eq!(free.judge(&envelope(1, 10_020, 40), now), Ok(()));
        let ahead = envelope(1, 10_021, 40);
        assert_eq!(free.judge(&ahead, now), Err(Unfit::Ahead));
        let large = envelope(1, 10, MAX_ENVELOPE_RLP);
        assert_eq!(free.judge(&large, now), Err(Unfit::TooLarge));
    }
}
