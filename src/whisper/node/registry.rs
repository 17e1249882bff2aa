//! Who is connected.
//!
//! Always true:
//! - A node id is registered at most once.
//! - At most the configured number of peers is registered, beside those this
//!   node is meant to stay connected with.
//! - A registration ends with its [`Seat`].

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rlpx::{DisconnectReason, NodeId};

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

/// The connected peers.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    peers: Arc<Mutex<HashMap<NodeId, PeerInfo>>>,
    /// Peers that get a seat whatever their number.
    reserved: Arc<Mutex<HashSet<NodeId>>>,
    max_peers: usize,
}

impl Registry {
    pub(super) fn new(max_peers: usize) -> Self {
        Self {
            peers: Arc::default(),
            reserved: Arc::default(),
            max_peers,
        }
    }

    /// Gives a peer a seat, if it comes, whatever their number.
    pub(super) fn reserve(&self, id: NodeId) {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.insert(id);
    }

    /// Whether a peer takes no seat from others.
    fn is_expected(&self, info: &PeerInfo) -> bool {
        info.is_static
            || self
                .reserved
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&info.id)
    }

    /// Registers a peer, or says how to turn it away.
    pub(super) fn seat(&self, info: PeerInfo) -> Result<Seat, DisconnectReason> {
        let mut peers = self.lock();
        if peers.contains_key(&info.id) {
            return Err(DisconnectReason::AlreadyConnected);
        }
        let others = peers
            .values()
            .filter(|peer| !self.is_expected(peer))
            .count();
        if !self.is_expected(&info) && others >= self.max_peers {
            return Err(DisconnectReason::TooManyPeers);
        }
        let id = info.id;
        peers.insert(id, info);
        Ok(Seat {
            registry: self.clone(),
            id,
        })
    }

    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.lock().contains_key(id)
    }

    pub(super) fn list(&self) -> Vec<PeerInfo> {
        let mut peers: Vec<PeerInfo> = self.lock().values().cloned().collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, PeerInfo>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A peer's place among the connected.
#[derive(Debug)]
pub(super) struct Seat {
    registry: Registry,
    id: NodeId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(byte: u8, is_static: bool) -> PeerInfo {
        PeerInfo {
            id: NodeId([byte; 64]),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            client: String::new(),
            inbound: !is_static,
            is_static,
        }
    }

    #[test]
    fn seats_are_for_different_peers_and_limited() {
        let registry = Registry::new(2);
        let first = registry.seat(info(1, false)).unwrap();
        let _second = registry.seat(info(2, false)).unwrap();
        assert_eq!(
            registry.seat(info(1, false)).err(),
            Some(DisconnectReason::AlreadyConnected)
        );
        assert_eq!(
            registry.seat(info(3, false)).err(),
            Some(DisconnectReason::TooManyPeers)
        );
        let _meant_to_stay = registry.seat(info(4, true)).unwrap();
        registry.reserve(NodeId([5; 64]));
        let _reserved = registry.seat(info(5, false)).unwrap();
        drop(first);
        assert!(registry.seat(info(3, false)).is_ok());
    }
}
