//! The DHT's part of a swarm, and where it may lead.
//!
//! Always true: an address that a stranger told of is dialled only where it is one of
//! TCP that stands there in figures, and public; private ones in a private DHT alone.
//! Those that a user named are dialled whatever they are. Of an answer the first
//! [`MAX_PROVIDERS`] providers count.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, Event, GetProvidersOk, QueryResult};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};

use super::dht::{DhtConfig, MAX_PROVIDERS};
use crate::limits::bounded::Bounded;
use crate::sources::net::guard::is_public;

/// Providers whose addresses are remembered: the DHT itself forgets them when its walk
/// ends, and they may be asked later, or again. Those of two long walks.
const MAX_REMEMBERED: usize = 128;

/// Addresses of a provider that are remembered.
const MAX_ADDRESSES: usize = 8;

type Kad = kad::Behaviour<MemoryStore>;

/// A DHT whose addresses are looked at before they are dialled.
pub(super) struct Walker {
    kad: Kad,
    may_dial: MayDial,
    providers: Bounded<PeerId, Vec<Multiaddr>>,
}

/// Which addresses may be dialled.
#[derive(Debug)]
struct MayDial {
    named: Vec<(PeerId, Multiaddr)>,
    is_private: bool,
}

impl Walker {
    pub(super) fn new(config: &DhtConfig, id: PeerId) -> Self {
        Self {
            kad: config.behaviour(id),
            may_dial: MayDial::new(config),
            providers: Bounded::new(MAX_REMEMBERED),
        }
    }

    /// Where a peer may be dialled, as the DHT says now.
    fn told_of(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let kad = &mut self.kad;
        let mut known =
            kad.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        known.retain(|at| peer.is_some_and(|peer| self.may_dial.allows(&peer, at)));
        Ok(known)
    }

    /// Keeps where those are that an answer names, and leaves out who is too many.
    fn remember(&mut self, providers: &mut HashSet<PeerId>) {
        let mut room = MAX_PROVIDERS;
        providers.retain(|_| {
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        });
        for peer in providers.iter() {
            // Nothing is dialled: it is only asked what would be.
            let nothing = ConnectionId::new_unchecked(0);
            let told = self.told_of(nothing, Some(*peer), &[], Endpoint::Dialer);
            let mut told = told.unwrap_or_default();
            told.truncate(MAX_ADDRESSES);
            if !told.is_empty() {
                *self.providers.entry(peer) = told;
            }
        }
    }
}

impl MayDial {
    fn new(config: &DhtConfig) -> Self {
        let named = config
            .bootstrap
            .iter()
            .map(|one| (one.peer, one.at.clone()));
        Self {
            named: named.collect(),
            is_private: config.is_private(),
        }
    }

    fn allows(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let mut at = address.clone();
        if let Some(Protocol::P2p(_)) = at.iter().last() {
            at.pop();
        }
        if self
            .named
            .iter()
            .any(|named| named.0 == *peer && named.1 == at)
        {
            return true;
        }
        let parts: Vec<Protocol<'_>> = at.iter().collect();
        let ip = match parts[..] {
            [Protocol::Ip4(ip), Protocol::Tcp(_)] => ip.into(),
            [Protocol::Ip6(ip), Protocol::Tcp(_)] => ip.into(),
            _ => return false,
        };
        self.is_private || is_public(ip)
    }
}

impl Deref for Walker {
    type Target = Kad;

    fn deref(&self) -> &Kad {
        &self.kad
    }
}

impl DerefMut for Walker {
    fn deref_mut(&mut self) -> &mut Kad {
        &mut self.kad
    }
}

impl NetworkBehaviour for Walker {
    type ConnectionHandler = <Kad as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.kad
            .handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    /// What it gives is all that is dialled beside what a user named.
    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut known = self.told_of(connection, peer, addresses, role)?;
        if let Some(peer) = peer.filter(|_| known.is_empty()) {
            known = self.providers.get(&peer).cloned().unwrap_or_default();
        }
        Ok(known)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad
            .handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.kad.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.kad
            .on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let mut polled = self.kad.poll(cx);
        if let Poll::Ready(ToSwarm::GenerateEvent(Event::OutboundQueryProgressed {
            result: QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
            ..
        })) = &mut polled
        {
            self.remember(providers);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::p2p::dht::DhtMode;

    const SOMEBODY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn asked_first(at: &str) -> DhtConfig {
        DhtConfig {
            bootstrap: vec![format!("{at}/p2p/{SOMEBODY}").parse().unwrap()],
            mode: DhtMode::Client,
        }
    }

    #[test]
    fn strangers_lead_to_public_addresses_alone() {
        let named = "/dns4/node.example/tcp/4001";
        let may_dial = MayDial::new(&asked_first(named));
        let stranger = PeerId::random();
        for text in [
            "/ip4/127.0.0.1/tcp/8547",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/10.0.0.1/tcp/4001",
            "/ip6/::1/tcp/4001",
            "/ip6/::ffff:127.0.0.1/tcp/4001",
            "/dns4/intranet/tcp/443",
            "/dnsaddr/intranet",
            "/ip4/1.1.1.1/udp/4001/quic-v1",
            named,
        ] {
            assert!(
                !may_dial.allows(&stranger, &text.parse().unwrap()),
                "{text}"
            );
        }
        for text in ["/ip4/1.1.1.1/tcp/4001", "/ip6/2606:4700::1111/tcp/4001"] {
            let at: Multiaddr = text.parse().unwrap();
            assert!(may_dial.allows(&stranger, &at), "{text}");
            assert!(may_dial.allows(&stranger, &at.with(Protocol::P2p(stranger))));
        }
        let known = SOMEBODY.parse().unwrap();
        assert!(may_dial.allows(&known, &named.parse().unwrap()));
    }

    #[test]
    fn a_private_dht_leads_to_private_addresses_and_to_no_names() {
        let may_dial = MayDial::new(&asked_first("/ip4/192.168.1.7/tcp/4001"));
        let stranger = PeerId::random();
        let allows = |text: &str| may_dial.allows(&stranger, &text.parse().unwrap());
        assert!(allows("/ip4/192.168.1.8/tcp/4001") && allows("/ip4/127.0.0.1/tcp/1"));
        assert!(!allows("/dns4/intranet/tcp/443"));
    }
}
