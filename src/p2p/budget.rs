//! What each peer, and each address, is sent and may send in a span of time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::limits::bounded::Bounded;
use crate::limits::settings::ADDRESS_SHARE;
use crate::limits::traffic::TRACKED;
use crate::limits::{Address, Limits, Meter, Rate};

/// What looking a block up costs beside its bytes, in bytes: work even where
/// nothing is found.
const LOOK_COST: u64 = 256;

/// What a message that comes costs beside its bytes, in bytes: a message of nothing
/// is work too. It is what an item of a message takes up in memory, and more.
const MESSAGE_COST: u64 = 1 << 10;

/// The meters of all.
#[derive(Debug)]
pub(super) struct Budget {
    rate: Rate,
    received: Rate,
    exempt_local: bool,
    meters: Mutex<Meters>,
}

#[derive(Debug)]
struct Meters {
    peers: Bounded<PeerId, Meter>,
    addresses: Bounded<Address, Meter>,
    received_of_peers: Bounded<PeerId, Meter>,
    received_of_addresses: Bounded<Address, Meter>,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            rate: limits.answers(),
            received: limits.received(),
            exempt_local: limits.exempt_local,
            meters: Mutex::new(Meters {
                peers: Bounded::new(TRACKED),
                addresses: Bounded::new(TRACKED),
                received_of_peers: Bounded::new(TRACKED),
                received_of_addresses: Bounded::new(TRACKED),
            }),
        }
    }

    /// A peer was sent `bytes`, for which so many blocks were looked up. Says how
    /// long to wait before it is sent more.
    pub(super) fn charge(
        &self,
        peer: &PeerId,
        address: Option<&Address>,
        looked_up: u64,
        bytes: u64,
        now: Instant,
    ) -> Duration {
        if self.exempt_local && address.is_some_and(Address::is_local) {
            return Duration::ZERO;
        }
        let cost = bytes.saturating_add(looked_up.saturating_mul(LOOK_COST));
        let mut meters = self.meters();
        let by_peer = meters.peers.entry(peer).charge(&self.rate, cost, now);
        let by_address = address.map(|address| {
            let rate = self.rate.times(ADDRESS_SHARE);
            meters.addresses.entry(address).charge(&rate, cost, now)
        });
        by_peer.max(by_address.unwrap_or_default())
    }

    /// A peer sent a message of `bytes`. Says how long to wait before more is read.
    pub(super) fn received(
        &self,
        peer: &PeerId,
        address: Option<&Address>,
        bytes: u64,
        now: Instant,
    ) -> Duration {
        if self.exempt_local && address.is_some_and(Address::is_local) {
            return Duration::ZERO;
        }
        let cost = bytes.saturating_add(MESSAGE_COST);
        let mut meters = self.meters();
        let of_peer = meters.received_of_peers.entry(peer);
        let by_peer = of_peer.charge(&self.received, cost, now);
        let by_address = address.map(|address| {
            let rate = self.received.times(ADDRESS_SHARE);
            let of_address = meters.received_of_addresses.entry(address);
            of_address.charge(&rate, cost, now)
        });
        by_peer.max(by_address.unwrap_or_default())
    }

    fn meters(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn at(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn who_was_sent_much_waits_whatever_identity_it_takes() {
        let budget = Budget::new(&Limits::default());
        let now = Instant::now();
        let far = at("203.0.113.7");
        let send = |peer: &PeerId| budget.charge(peer, Some(&far), 1, 80 << 20, now);
        let first = PeerId::random();
        // Eighty megabytes come at once; the look costs a moment.
        assert!(send(&first) < Duration::from_millis(1));
        assert!(send(&first) > Duration::from_secs(9));
        let waits: Vec<_> = (0..8).map(|_| send(&PeerId::random())).collect();
        assert!(waits[0] < Duration::from_secs(1) && waits[7] > Duration::from_secs(10));
        let near = at("127.0.0.1");
        let free = budget.charge(&first, Some(&near), 1, 1 << 40, now);
        assert_eq!(free, Duration::ZERO);
    }
    #[test]
    fn messages_of_nothing_are_work_that_is_metered() {
        let budget = Budget::new(&Limits::default());
        let now = Instant::now();
        let (peer, far) = (PeerId::random(), at("203.0.113.7"));
        let send = |bytes| budget.received(&peer, Some(&far), bytes, now);
        assert_eq!(send(0), Duration::ZERO);
        let many = (0..1_000_000).map(|_| send(0));
        assert!(many.max().unwrap() > Duration::from_secs(5));
        let near = at("127.0.0.1");
        let free = budget.received(&peer, Some(&near), 1 << 40, now);
        assert_eq!(free, Duration::ZERO);
    }
}
