//! Who is connected.
//!
//! Always true:
//! - A node id is registered at most once.
//! - At most the configured number of peers is registered, and of one address
//!   at most its share, beside those this node is meant to stay connected with.
//! - A registration ends with its [`Seat`].

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::limits::{Address, Reason};
use crate::rlpx::{DisconnectReason, NodeId};
use crate::time::UnixSeconds;
use crate::whisper::node::tally::{PeerTraffic, Tally};

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it is.
    pub id: NodeId,
    /// Where it is.
    pub address: SocketAddr,
    /// What it calls itself.
    pub client: String,
    /// Whether it dialled us.
    pub inbound: bool,
    /// Whether this node stays connected with it.
    pub is_static: bool,
}

/// A connected peer, and what its connection carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerActivity {
    /// Who it is: 128 hex digits.
    pub id: String,
    /// Where it is.
    pub address: SocketAddr,
    /// What it calls itself.
    pub client: String,
    /// Whether it dialled us.
    pub inbound: bool,
    /// Whether this node stays connected with it.
    #[serde(rename = "static")]
    pub is_static: bool,
    /// Since when.
    pub since: UnixSeconds,
    /// What its connection carried.
    #[serde(flatten)]
    pub traffic: PeerTraffic,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// The peer has one.
    AlreadyConnected,
    /// All are taken.
    TooManyPeers,
    /// All that its address may have are taken.
    TooManyOfAddress,
}

impl NoSeat {
    /// What the peer is told.
    pub(super) fn told(self) -> DisconnectReason {
        match self {
            Self::AlreadyConnected => DisconnectReason::AlreadyConnected,
            Self::TooManyPeers | Self::TooManyOfAddress => DisconnectReason::TooManyPeers,
        }
    }

    /// What the ledger says.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::AlreadyConnected => Reason::AlreadyConnected,
            Self::TooManyPeers => Reason::TooManyPeers,
            Self::TooManyOfAddress => Reason::TooManyOfAddress,
        }
    }
}

#[derive(Debug)]
struct Entry {
    info: PeerInfo,
    since: UnixSeconds,
    tally: Arc<Tally>,
}

/// Who has a seat, and what those carried who had one.
#[derive(Debug, Default)]
struct Seats {
    peers: HashMap<NodeId, Entry>,
    gone: PeerTraffic,
}

/// One seat of so many is kept for peers this node found itself, as in geth: whoever
/// fills the other seats from outside cannot choose all it hears.
const KEPT_FOR_FOUND: usize = 3;

/// The connected peers.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    seats: Arc<Mutex<Seats>>,
    /// Peers that get a seat whatever their number.
    reserved: Arc<Mutex<HashSet<NodeId>>>,
    max_peers: usize,
    /// How many of them may be peers that dialled us.
    max_inbound: usize,
}

impl Registry {
    /// Seats for `max_peers`; a node that looks for others keeps some of them from
    /// those who dial it.
    pub(super) fn new(max_peers: usize, looks_for_others: bool) -> Self {
        let kept = if looks_for_others {
            max_peers / KEPT_FOR_FOUND
        } else {
            0
        };
        Self {
            seats: Arc::default(),
            reserved: Arc::default(),
            max_peers,
            max_inbound: max_peers - kept,
        }
    }

    /// Gives a peer a seat, if it comes, whatever their number.
    pub(super) fn reserve(&self, id: NodeId) {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.insert(id);
    }

    /// Whether a peer gets a seat whatever their number.
    pub(super) fn is_reserved(&self, id: &NodeId) -> bool {
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.contains(id)
    }

    /// Whether a peer takes no seat from others.
    fn is_expected(&self, info: &PeerInfo) -> bool {
        info.is_static || self.is_reserved(&info.id)
    }

    /// Registers a peer, of whose address at most `of_address` have a seat if that
    /// is limited; or says how to turn it away.
    pub(super) fn seat(
        &self,
        info: PeerInfo,
        of_address: Option<usize>,
        now: UnixSeconds,
    ) -> Result<Seat, NoSeat> {
        let mut seats = self.lock();
        let peers = &mut seats.peers;
        if peers.contains_key(&info.id) {
            return Err(NoSeat::AlreadyConnected);
        }
        if !self.is_expected(&info) {
            let others = || peers.values().filter(|peer| !self.is_expected(&peer.info));
            let inbound = || others().filter(|peer| peer.info.inbound);
            if others().count() >= self.max_peers
                || (info.inbound && inbound().count() >= self.max_inbound)
            {
                return Err(NoSeat::TooManyPeers);
            }
            let home = |info: &PeerInfo| Address::from(info.address.ip());
            let neighbours = others().filter(|peer| home(&peer.info) == home(&info));
            if of_address.is_some_and(|most| neighbours.count() >= most) {
                return Err(NoSeat::TooManyOfAddress);
            }
        }
        let id = info.id;
        let tally = Arc::default();
        let entry = Entry {
            info,
            since: now,
            tally: Arc::clone(&tally),
        };
        peers.insert(id, entry);
        Ok(Seat {
            registry: self.clone(),
            id,
            tally,
        })
    }

    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.lock().peers.contains_key(id)
    }

    pub(super) fn list(&self) -> Vec<PeerInfo> {
        let seats = self.lock();
        let peers = seats.peers.values();
        let mut peers: Vec<PeerInfo> = peers.map(|peer| peer.info.clone()).collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }

    /// The peers and what they did, by id.
    pub(super) fn activity(&self) -> Vec<PeerActivity> {
        let seats = self.lock();
        let mut activity: Vec<PeerActivity> = seats
            .peers
            .values()
            .map(|Entry { info, since, tally }| PeerActivity {
                id: hex::encode(info.id.0),
                address: info.address,
                client: info.client.clone(),
                inbound: info.inbound,
                is_static: info.is_static,
                since: *since,
                traffic: tally.values(),
            })
            .collect();
        activity.sort_by(|a, b| a.id.cmp(&b.id));
        activity
    }

    /// How many dialled us, and how many we dialled.
    pub(super) fn by_direction(&self) -> (usize, usize) {
        let seats = self.lock();
        let inbound = seats.peers.values().filter(|peer| peer.info.inbound);
        let inbound = inbound.count();
        (inbound, seats.peers.len() - inbound)
    }

    /// What all connections carried so far, those that have ended too.
    pub(super) fn carried(&self) -> PeerTraffic {
        let seats = self.lock();
        let mut carried = seats.gone;
        for peer in seats.peers.values() {
            carried.add(&peer.tally.values());
        }
        carried
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A peer's place among the connected.
#[derive(Debug)]
pub(super) struct Seat {
    registry: Registry,
    id: NodeId,
    tally: Arc<Tally>,
}

impl Seat {
    /// Where what the connection carries is counted.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.registry.lock();
        seats.peers.remove(&self.id);
        // What a task of the connection still sends is not told any more.
        seats.gone.add(&self.tally.values());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(byte: u8, is_static: bool) -> PeerInfo {
        at_host(byte, byte, is_static)
    }

    fn at_host(byte: u8, host: u8, is_static: bool) -> PeerInfo {
        PeerInfo {
            id: NodeId([byte; 64]),
            address: SocketAddr::from(([192, 0, 2, host], 1)),
            client: String::new(),
            inbound: !is_static,
            is_static,
        }
    }

    fn seat(registry: &Registry, info: PeerInfo) -> Result<Seat, NoSeat> {
        registry.seat(info, Some(2), UnixSeconds(7))
    }

    #[test]
    fn seats_are_for_different_peers_and_limited() {
        let registry = Registry::new(2, false);
        let first = seat(&registry, info(1, false)).unwrap();
        let _second = seat(&registry, info(2, false)).unwrap();
        assert_eq!(
            seat(&registry, info(1, false)).err(),
            Some(NoSeat::AlreadyConnected)
        );
        assert_eq!(
            seat(&registry, info(3, false)).err(),
            Some(NoSeat::TooManyPeers)
        );
        let _meant_to_stay = seat(&registry, info(4, true)).unwrap();
        registry.reserve(NodeId([5; 64]));
        let _reserved = seat(&registry, info(5, false)).unwrap();
        drop(first);
        assert!(seat(&registry, info(3, false)).is_ok());
    }

    #[test]
    fn a_node_that_looks_for_others_keeps_a_third_of_its_seats_for_them() {
        let registry = Registry::new(7, true);
        let inbound: Vec<_> = (0..7)
            .map(|byte| seat(&registry, info(byte, false)))
            .collect();
        assert_eq!(inbound.iter().filter(|seat| seat.is_ok()).count(), 5);
        let found = |byte| PeerInfo {
            inbound: false,
            ..info(byte, false)
        };
        let _first = seat(&registry, found(11)).unwrap();
        let _second = seat(&registry, found(12)).unwrap();
        assert_eq!(seat(&registry, found(13)).err(), Some(NoSeat::TooManyPeers));
    }

    #[test]
    fn one_host_with_many_keys_leaves_seats_to_others() {
        let registry = Registry::new(10, false);
        let seats: Vec<_> = (0..5)
            .map(|key| seat(&registry, at_host(key, 1, false)))
            .collect();
        assert_eq!(seats.iter().filter(|seat| seat.is_ok()).count(), 2);
        assert_eq!(
            seats[4].as_ref().err().copied(),
            Some(NoSeat::TooManyOfAddress)
        );
        assert!(seat(&registry, at_host(9, 2, false)).is_ok());
        assert!(seat(&registry, at_host(10, 1, true)).is_ok());
    }

    #[test]
    fn what_a_connection_carries_is_told() {
        let registry = Registry::new(10, false);
        let taken = seat(&registry, info(1, false)).unwrap();
        taken.tally().sent(500);
        let activity = registry.activity();
        assert_eq!(activity[0].traffic.bytes_out, 500);
        assert_eq!(activity[0].since, UnixSeconds(7));
        assert_eq!(registry.carried().bytes_out, 500);
        assert_eq!(registry.by_direction(), (1, 0));
        drop(taken);
        assert_eq!(registry.activity(), []);
        let again = seat(&registry, info(1, false)).unwrap();
        again.tally().sent(20);
        assert_eq!(registry.carried().bytes_out, 520);
    }
}
