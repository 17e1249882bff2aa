//! What peers and addresses send, ask for and are answered.
//!
//! Always true:
//! - A peer is held to its rate, and all peers of an address together to
//!   [`ADDRESS_SHARE`] times that.
//! - What is refused costs nothing; what came or went already is charged.
//! - Who left is remembered: a new connection starts where the last one ended. At
//!   most [`TRACKED`] of a kind are, and one that is forgotten starts afresh: so
//!   many addresses are needed for that that forgetting is no gain.

use std::time::{Duration, Instant};

use crate::limits::bounded::Bounded;
use crate::limits::meter::{Meter, Rate};
use crate::limits::settings::ADDRESS_SHARE;
use crate::limits::{Address, Limits};
use crate::rlpx::NodeId;

/// Peers, and addresses, that are remembered: under 2 MiB for each of the two.
pub const TRACKED: usize = 4_096;

/// What a request costs beside the bytes of its answer, in bytes: looking
/// through the archive is work even if nothing is found.
pub const REQUEST_COST: u64 = 4 << 10;

/// How a mail request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Encrypted, with work.
    Sealed,
    /// For anybody to read, at no cost to who sends it.
    Open,
}

/// Who sends or is sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The node.
    pub peer: NodeId,
    /// Where it is.
    pub address: Address,
}

/// What came from a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Packets.
    pub packets: u64,
    /// Their payloads' bytes, decompressed.
    pub bytes: u64,
    /// The envelopes among them.
    pub envelopes: u64,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many requests; how long to wait.
    Requests(Duration),
    /// So many bytes were answered that the rest has to wait, how long.
    Answers(Duration),
}

#[derive(Debug, Default)]
struct Meters {
    packets: Meter,
    received: Meter,
    envelopes: Meter,
    requests: Meter,
    open_requests: Meter,
    answers: Meter,
}

/// The traffic of all.
#[derive(Debug)]
pub struct Traffic {
    limits: Limits,
    peers: Bounded<NodeId, Meters>,
    addresses: Bounded<Address, Meters>,
    connections: Bounded<Address, Meter>,
}

impl Traffic {
    /// Nothing happened yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            peers: Bounded::new(TRACKED),
            addresses: Bounded::new(TRACKED),
            connections: Bounded::new(TRACKED),
        }
    }

    /// Whether no rate holds for `address`.
    pub fn exempts(&self, address: &Address) -> bool {
        self.limits.exempt_local && address.is_local()
    }

    /// An address opened a connection. Fails, saying how long to wait, if it opens
    /// too many.
    pub fn connect(&mut self, address: &Address, now: Instant) -> Result<(), Duration> {
        if self.exempts(address) {
            return Ok(());
        }
        let rate = self.limits.connections();
        self.connections.entry(address).take(&rate, 1, now)
    }

    /// A peer sent something. Says how long to wait before reading on.
    pub fn received(&mut self, from: &Party, load: Load, now: Instant) -> Duration {
        if self.exempts(&from.address) {
            return Duration::ZERO;
        }
        let rates = [
            self.limits.packets(),
            self.limits.received(),
            self.limits.envelopes(),
        ];
        let loads = [load.packets, load.bytes, load.envelopes];
        let charge = |meters: &mut Meters, share: u64| {
            let meters = [
                &mut meters.packets,
                &mut meters.received,
                &mut meters.envelopes,
            ];
            let waits = meters
                .into_iter()
                .zip(rates.iter().zip(loads))
                .map(|(meter, (rate, load))| meter.charge(&rate.times(share), load, now));
            waits.max().unwrap_or_default()
        };
        let by_peer = charge(self.peers.entry(&from.peer), 1);
        let by_address = charge(self.addresses.entry(&from.address), ADDRESS_SHARE);
        by_peer.max(by_address)
    }

    /// A peer sends a mail request: may it be answered?
    pub fn request(
        &mut self,
        from: &Party,
        kind: RequestKind,
        now: Instant,
    ) -> Result<(), Refused> {
        if self.exempts(&from.address) {
            return Ok(());
        }
        let rates = RequestRates {
            requests: self.limits.requests(),
            open: (kind == RequestKind::Open).then(|| self.limits.open_requests()),
            answers: self.limits.answers(),
        };
        let peer = self.peers.entry(&from.peer);
        let address = self.addresses.entry(&from.address);
        // Both are asked before either is charged.
        rates.check(peer, 1, now)?;
        rates.check(address, ADDRESS_SHARE, now)?;
        rates.charge(peer, 1, now);
        rates.charge(address, ADDRESS_SHARE, now);
        Ok(())
    }

    /// A peer was sent `bytes` for its requests. They are paid for by what it may
    /// ask for later.
    pub fn answered(&mut self, to: &Party, bytes: u64, now: Instant) {
        if self.exempts(&to.address) {
            return;
        }
        let rate = self.limits.answers();
        let peer = self.peers.entry(&to.peer);
        peer.answers.charge(&rate, bytes, now);
        let address = self.addresses.entry(&to.address);
        address
            .answers
            .charge(&rate.times(ADDRESS_SHARE), bytes, now);
    }
}

/// What holds for a request.
struct RequestRates {
    requests: Rate,
    open: Option<Rate>,
    answers: Rate,
}

impl RequestRates {
    fn check(&self, meters: &Meters, share: u64, now: Instant) -> Result<(), Refused> {
        meters
            .requests
            .fits(&self.requests.times(share), 1, now)
            .map_err(Refused::Requests)?;
        if let Some(open) = &self.open {
            meters
                .open_requests
                .fits(&open.times(share), 1, now)
                .map_err(Refused::Requests)?;
        }
        meters
            .answers
            .fits(&self.answers.times(share), REQUEST_COST, now)
            .map_err(Refused::Answers)
    }

    fn charge(&self, meters: &mut Meters, share: u64, now: Instant) {
        meters.requests.charge(&self.requests.times(share), 1, now);
        if let Some(open) = &self.open {
            meters.open_requests.charge(&open.times(share), 1, now);
        }
        meters
            .answers
            .charge(&self.answers.times(share), REQUEST_COST, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const SECOND: Duration = Duration::from_secs(1);

    fn party(key: u8, host: u8) -> Party {
        Party {
            peer: NodeId([key; 64]),
            address: Ipv4Addr::new(192, 0, 2, host).into(),
        }
    }

    fn traffic() -> Traffic {
        Traffic::new(Limits::default())
    }

    /// How many requests of `keys`, in turn, are granted at once.
    fn granted(traffic: &mut Traffic, keys: std::ops::Range<u8>, kind: RequestKind) -> u64 {
        let now = Instant::now();
        let mut granted = 0;
        for _ in 0..500 {
            for key in keys.clone() {
                granted += u64::from(traffic.request(&party(key, 1), kind, now).is_ok());
            }
        }
        granted
    }

    #[test]
    fn fresh_keys_from_one_address_gain_nothing_beyond_its_share() {
        let one = granted(&mut traffic(), 0..1, RequestKind::Sealed);
        assert_eq!(one, 100);
        let many = granted(&mut traffic(), 0..200, RequestKind::Sealed);
        assert_eq!(many, one * ADDRESS_SHARE);
    }

    #[test]
    fn open_requests_have_a_stricter_limit() {
        let mut traffic = traffic();
        assert_eq!(granted(&mut traffic, 0..1, RequestKind::Open), 10);
        let mut left = 0;
        while traffic
            .request(&party(0, 1), RequestKind::Sealed, Instant::now())
            .is_ok()
        {
            left += 1;
            assert!(left < 500);
        }
        assert!(left >= 90, "open requests take from the others: {left}");
    }

    #[test]
    fn who_was_answered_much_waits_and_so_does_its_address() {
        let mut traffic = traffic();
        let now = Instant::now();
        let all = |traffic: &mut Traffic, key, host, now| {
            traffic.request(&party(key, host), RequestKind::Sealed, now)
        };
        traffic.answered(&party(1, 1), 100 << 20, now);
        assert!(matches!(
            all(&mut traffic, 1, 1, now),
            Err(Refused::Answers(_))
        ));
        assert_eq!(
            all(&mut traffic, 2, 1, now),
            Ok(()),
            "neighbours have a share"
        );
        traffic.answered(&party(3, 1), 300 << 20, now);
        assert!(matches!(
            all(&mut traffic, 4, 1, now),
            Err(Refused::Answers(_))
        ));
        assert_eq!(all(&mut traffic, 5, 2, now), Ok(()), "other addresses");
        assert_eq!(all(&mut traffic, 1, 1, now + SECOND * 60), Ok(()));
    }

    #[test]
    fn reading_slows_down_to_the_rate() {
        let mut traffic = traffic();
        let now = Instant::now();
        let load = Load {
            packets: 1,
            bytes: 1 << 20,
            envelopes: 1_000,
        };
        let mut waits = Vec::new();
        for _ in 0..120 {
            waits.push(traffic.received(&party(1, 1), load, now));
        }
        assert_eq!(waits[79], Duration::ZERO, "80 MiB at once");
        assert!(waits.is_sorted());
        // 100,000 envelopes at once, then 10,000 a second; 40 MiB over at 8 a second.
        assert_eq!(waits[119], SECOND * 5);
    }

    #[test]
    fn connections_of_an_address_are_throttled_and_neighbours_are_not() {
        let mut traffic = traffic();
        let now = Instant::now();
        let opened = |traffic: &mut Traffic, host, now| {
            (0..100)
                .filter(|_| traffic.connect(&party(0, host).address, now).is_ok())
                .count()
        };
        assert_eq!(opened(&mut traffic, 1, now), 10);
        assert_eq!(opened(&mut traffic, 2, now), 10);
        assert_eq!(opened(&mut traffic, 1, now + SECOND * 6), 2);
    }

    #[test]
    fn own_machine_is_free_unless_it_is_told_not_to_be() {
        let local = Party {
            peer: NodeId([1; 64]),
            address: Ipv4Addr::LOCALHOST.into(),
        };
        let limited = |exempt_local| {
            let mut traffic = Traffic::new(Limits {
                exempt_local,
                ..Limits::default()
            });
            let now = Instant::now();
            (0..1_000).any(|_| traffic.request(&local, RequestKind::Open, now).is_err())
        };
        assert!(limited(false));
        assert!(!limited(true));
    }

    #[test]
    fn any_number_of_peers_fits_the_bound() {
        let mut traffic = traffic();
        let now = Instant::now();
        for n in 0..3 * u32::try_from(TRACKED).unwrap() {
            let mut peer = [0; 64];
            peer[..4].copy_from_slice(&n.to_be_bytes());
            let from = Party {
                peer: NodeId(peer),
                address: Ipv4Addr::from_bits(0x0b00_0000 | n).into(),
            };
            traffic.received(&from, Load::default(), now);
            let _ = traffic.connect(&from.address, now);
        }
        assert_eq!(traffic.peers.len(), TRACKED);
        assert_eq!(traffic.addresses.len(), TRACKED);
        assert_eq!(traffic.connections.len(), TRACKED);
    }
}
