//! What an operator may set: `[limits]` of `gwa.toml`.
//!
//! Always true: numbers are for one peer; an address gets [`ADDRESS_SHARE`] times
//! as much, and [`BURST`] seconds' worth may come at once.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::Deserialize;

use crate::limits::meter::Rate;

/// How many peers' worth an address is given: a household or a small office
/// behind one address, not a host that makes up keys.
pub const ADDRESS_SHARE: u64 = 4;

/// How many seconds' worth of a rate may come at once. A client that was offline
/// asks for ten pages in a row, and a peer that reconnects hands over its pool.
pub const BURST: u64 = 10;

/// Connections an address may open at once, before the rate holds: a phone that
/// changes networks dials a few times.
pub const CONNECTION_BURST: u64 = 10;

/// The limits of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Whether loopback and private networks are free of rates and of limits by
    /// address. Bounds of memory and places hold for everybody.
    pub exempt_local: bool,
    /// Peers at a time, beside static and trusted ones: geth's 25.
    pub max_peers: NonZeroUsize,
    /// Peers at a time from one address: a third of the places, so that no host
    /// holds them all.
    pub peers_per_address: NonZeroUsize,
    /// Handshakes at a time from one address.
    pub handshakes_per_address: NonZeroUsize,
    /// New connections from one address in a minute. geth allows one in 30 s, and
    /// turns neighbours behind one router away with that.
    pub connections_per_minute: NonZeroU32,
    /// Mail requests a second that are sealed with the password or to the node.
    pub requests_per_second: NonZeroU32,
    /// Mail requests a second without encryption, which prove nothing.
    pub open_requests_per_second: NonZeroU32,
    /// Bytes a second answered to mail requests, in KiB.
    pub answer_kib_per_second: NonZeroU32,
    /// Bytes a second received, in KiB. Beyond it reading slows down.
    pub receive_kib_per_second: NonZeroU32,
    /// Packets a second received. Beyond it reading slows down.
    pub packets_per_second: NonZeroU32,
    /// Envelopes a second received. Beyond it reading slows down.
    pub envelopes_per_second: NonZeroU32,
}

const fn nonzero(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("a default above zero")
}

const fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("a default above zero")
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exempt_local: true,
            max_peers: count(25),
            peers_per_address: count(8),
            handshakes_per_address: count(8),
            connections_per_minute: nonzero(20),
            // Pages of 1,000 envelopes: a day of a busy network in a few seconds.
            requests_per_second: nonzero(10),
            open_requests_per_second: nonzero(1),
            // 8 MiB/s: more than phones take, a twelfth of a gigabit line.
            answer_kib_per_second: nonzero(8 << 10),
            receive_kib_per_second: nonzero(8 << 10),
            packets_per_second: nonzero(500),
            // Whisper at its busiest had a few hundred a second.
            envelopes_per_second: nonzero(10_000),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn a_second(units: u64) -> Rate {
    Rate::new(units, SECOND, units.saturating_mul(BURST))
}

impl Limits {
    /// New connections of an address.
    pub fn connections(&self) -> Rate {
        let units = u64::from(self.connections_per_minute.get());
        Rate::new(units, MINUTE, CONNECTION_BURST.min(units))
    }

    /// Sealed requests of a peer.
    pub fn requests(&self) -> Rate {
        a_second(self.requests_per_second.get().into())
    }

    /// Open requests of a peer.
    pub fn open_requests(&self) -> Rate {
        a_second(self.open_requests_per_second.get().into())
    }

    /// Bytes answered to a peer.
    pub fn answers(&self) -> Rate {
        a_second(u64::from(self.answer_kib_per_second.get()) << 10)
    }

    /// Bytes received from a peer.
    pub fn received(&self) -> Rate {
        a_second(u64::from(self.receive_kib_per_second.get()) << 10)
    }

    /// Packets received from a peer.
    pub fn packets(&self) -> Rate {
        a_second(self.packets_per_second.get().into())
    }

    /// Envelopes received from a peer.
    pub fn envelopes(&self) -> Rate {
        a_second(self.envelopes_per_second.get().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_its_default() {
        let limits: Limits = toml::from_str("peers-per-address = 3").unwrap();
        let expected = Limits {
            peers_per_address: count(3),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn a_limit_of_nothing_and_an_unknown_one_are_refused() {
        for text in ["max-peers = 0", "requests-per-second = -1", "request = 1"] {
            assert!(toml::from_str::<Limits>(text).is_err(), "{text}");
        }
    }
}
