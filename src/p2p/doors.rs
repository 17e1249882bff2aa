//! How many connections one address may have, and how soon again.
//!
//! Always true: an address beyond this machine and its private networks has at most
//! its share of the places, and opens no more than its rate of connections, whatever
//! identities it makes up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};

use crate::limits::bounded::Bounded;
use crate::limits::traffic::TRACKED;
use crate::limits::{Address, Limits, Meter, Rate};

/// The share of each address in what comes in.
#[derive(Debug)]
pub struct Doors {
    share: usize,
    exempt_local: bool,
    open: HashMap<ConnectionId, Address>,
    rate: Rate,
    opened: Bounded<Address, Meter>,
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum Full {
    /// An address has its share already.
    #[error("{address} has {share} connections already")]
    Share {
        /// The address.
        address: Address,
        /// Its share.
        share: usize,
    },
    /// An address comes too often.
    #[error("{address} opens connections too often: to wait {after:?}")]
    Rate {
        /// The address.
        address: Address,
        /// How long it is to wait.
        after: Duration,
    },
}

impl Doors {
    /// Nobody is there yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            share: limits.peers_per_address.get(),
            exempt_local: limits.exempt_local,
            open: HashMap::new(),
            rate: limits.connections(),
            opened: Bounded::new(TRACKED),
        }
    }

    fn enter(
        &mut self,
        connection: ConnectionId,
        remote: &Multiaddr,
        now: Instant,
    ) -> Result<(), Full> {
        if self.open.contains_key(&connection) {
            return Ok(());
        }
        let Some(address) = address_of(remote) else {
            return Ok(());
        };
        if self.exempt_local && address.is_local() {
            return Ok(());
        }
        let others = self.open.values().filter(|of| **of == address);
        if others.count() >= self.share {
            return Err(Full::Share {
                address,
                share: self.share,
            });
        }
        let opened = self.opened.entry(&address);
        let taken = opened.take(&self.rate, 1, now);
        taken.map_err(|after| Full::Rate { address, after })?;
        self.open.insert(connection, address);
        Ok(())
    }
}

/// The IP address in the address of a peer.
pub fn address_of(address: &Multiaddr) -> Option<Address> {
    let ip: IpAddr = match address.iter().next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    Some(ip.into())
}

impl NetworkBehaviour for Doors {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    /// Counted from here on, so that a handshake costs a place too.
    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.enter(connection, remote, Instant::now())
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.enter(connection, remote, Instant::now())
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.open.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_comes_and_goes_too_often_waits() {
        let limits = Limits::default();
        let mut doors = Doors::new(&limits);
        let far = at("/ip4/203.0.113.7/tcp/1000");
        let now = Instant::now();
        let mut entered = 0;
        for n in 0..100 {
            let connection = ConnectionId::new_unchecked(n);
            entered += usize::from(doors.enter(connection, &far, now).is_ok());
            doors.open.clear();
        }
        assert_eq!(entered, 10);
        let later = now + Duration::from_secs(60);
        let connection = ConnectionId::new_unchecked(1_000);
        assert!(doors.enter(connection, &far, later).is_ok());
    }

    #[test]
    fn an_address_has_its_share_and_neighbours_have_theirs() {
        let limits = Limits::default();
        let share = limits.peers_per_address.get();
        let mut doors = Doors::new(&limits);
        let far = at("/ip4/203.0.113.7/tcp/1000");
        let now = Instant::now();
        for n in 0..share {
            let connection = ConnectionId::new_unchecked(n);
            doors.enter(connection, &far, now).unwrap();
            // It is the same connection once it is established.
            doors.enter(connection, &far, now).unwrap();
        }
        let next = ConnectionId::new_unchecked(share);
        assert!(
            doors
                .enter(next, &at("/ip4/203.0.113.7/tcp/1"), now)
                .is_err()
        );
        assert!(
            doors
                .enter(next, &at("/ip4/203.0.113.8/tcp/1"), now)
                .is_ok()
        );
        for n in 0..10 * share {
            let connection = ConnectionId::new_unchecked(1_000 + n);
            doors
                .enter(connection, &at("/ip4/127.0.0.1/tcp/1"), now)
                .unwrap();
        }
    }
}
