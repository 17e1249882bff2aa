//! What a peer sends that is allowed and good for nothing.
//!
//! Always true: a peer that stays below the rates here is never dropped by them,
//! and one that floods is, whatever its address: rates that slow reading down
//! would let it go on for ever.

use std::time::{Duration, Instant};

use crate::limits::meter::{Meter, Rate};

/// Packets a second that are ignored, empty, or change the filter: a node that
/// behaves sends one in minutes, and a client a few while it subscribes.
const IDLE_PER_SECOND: u64 = 20;

/// Such packets at once.
const IDLE_BURST: u64 = 500;

/// Envelopes a second that the same peer sent before: none, but for batches that
/// were not acknowledged and come once more.
const REPEATS_PER_SECOND: u64 = 200;

/// Such envelopes at once: a busy minute, offered again as a whole.
const REPEATS_BURST: u64 = 20_000;

/// Base protocol messages a second beside those that end the session: a ping in
/// 15 s is usual, and its pong.
const CHATTER_PER_SECOND: u64 = 5;

/// Such messages at once.
const CHATTER_BURST: u64 = 100;

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flood {
    /// Packets that say nothing.
    #[error("a flood of packets that say nothing")]
    Idle,
    /// The same envelopes again and again.
    #[error("a flood of envelopes it sent before")]
    Repeats,
    /// Pings, pongs, reserved codes.
    #[error("a flood of pings and the like")]
    Chatter,
}

/// What one connection spends on one kind of nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nuisance {
    kind: Flood,
    meter: Meter,
}

impl Nuisance {
    /// Nothing of this kind came yet.
    pub fn of(kind: Flood) -> Self {
        Self {
            kind,
            meter: Meter::default(),
        }
    }

    /// `units` of it came; fails if that is a flood.
    pub fn count(&mut self, units: u64, now: Instant) -> Result<(), Flood> {
        let (units_a_second, burst) = match self.kind {
            Flood::Idle => (IDLE_PER_SECOND, IDLE_BURST),
            Flood::Repeats => (REPEATS_PER_SECOND, REPEATS_BURST),
            Flood::Chatter => (CHATTER_PER_SECOND, CHATTER_BURST),
        };
        let rate = Rate::new(units_a_second, Duration::from_secs(1), burst);
        match self.meter.charge(&rate, units, now) {
            Duration::ZERO => Ok(()),
            _ => Err(self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_every_second_is_no_flood_and_hundreds_at_once_are() {
        let start = Instant::now();
        let mut polite = Nuisance::of(Flood::Chatter);
        for second in 0..10_000 {
            let now = start + Duration::from_secs(second);
            polite.count(1, now).unwrap();
        }
        let mut rude = Nuisance::of(Flood::Chatter);
        let pings = (0..1_000).take_while(|_| rude.count(1, start).is_ok());
        assert_eq!(pings.count(), 100);
    }

    #[test]
    fn one_batch_offered_again_is_no_flood() {
        let now = Instant::now();
        let mut peer = Nuisance::of(Flood::Repeats);
        assert_eq!(peer.count(16_000, now), Ok(()));
        assert_eq!(peer.count(16_000, now), Err(Flood::Repeats));
    }
}
