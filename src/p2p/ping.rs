//! Pings: whoever asks whether this peer is still there is told so.
//!
//! Always true: the pings of a peer are answered for as long as it is connected,
//! whether it answers any itself or not. Helia hangs up after one that was not.

use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, ping};

/// Its part of a connection, as the library has it.
type Inner = <ping::Behaviour as NetworkBehaviour>::ConnectionHandler;

/// Pings of a swarm.
#[derive(Default)]
pub(super) struct Pings(ping::Behaviour);

impl NetworkBehaviour for Pings {
    type ConnectionHandler = Handler;
    type ToSwarm = ping::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_inbound_connection(connection, peer, local, remote)
            .map(Handler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_outbound_connection(connection, peer, remote, role, port)
            .map(Handler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}

/// Pings of a connection.
pub(super) struct Handler(Inner);

impl ConnectionHandler for Handler {
    type FromBehaviour = <Inner as ConnectionHandler>::FromBehaviour;
    type ToBehaviour = <Inner as ConnectionHandler>::ToBehaviour;
    type InboundProtocol = <Inner as ConnectionHandler>::InboundProtocol;
    type OutboundProtocol = <Inner as ConnectionHandler>::OutboundProtocol;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        self.0.listen_protocol()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        self.0.poll(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.0.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        // Once the library knows that a peer answers no pings, it answers none of it
        // either. Left to wait for that word, it pings no more and goes on answering.
        let is_refused = matches!(
            event,
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                error: StreamUpgradeError::NegotiationFailed,
                ..
            })
        );
        if !is_refused {
            self.0.on_connection_event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;
    use libp2p::core::upgrade::ReadyUpgrade;
    use libp2p::identity::Keypair;
    use libp2p::swarm::SwarmEvent;
    use libp2p::{StreamProtocol, SwarmBuilder, noise, tcp, yamux};

    use super::super::{Node, NodeConfig};
    use super::*;
    use crate::limits::Limits;

    /// Pings, and refuses to be pinged.
    struct Deaf(ping::Behaviour);

    struct DeafHandler(Inner);

    impl NetworkBehaviour for Deaf {
        type ConnectionHandler = DeafHandler;
        type ToSwarm = ping::Event;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            unreachable!("it listens nowhere")
        }

        fn handle_established_outbound_connection(
            &mut self,
            connection: ConnectionId,
            peer: PeerId,
            remote: &Multiaddr,
            role: Endpoint,
            port: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            self.0
                .handle_established_outbound_connection(connection, peer, remote, role, port)
                .map(DeafHandler)
        }

        fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
            self.0.on_swarm_event(event);
        }

        fn on_connection_handler_event(
            &mut self,
            peer: PeerId,
            connection: ConnectionId,
            event: THandlerOutEvent<Self>,
        ) {
            self.0.on_connection_handler_event(peer, connection, event);
        }

        fn poll(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
            self.0.poll(cx)
        }
    }

    impl ConnectionHandler for DeafHandler {
        type FromBehaviour = <Inner as ConnectionHandler>::FromBehaviour;
        type ToBehaviour = <Inner as ConnectionHandler>::ToBehaviour;
        type InboundProtocol = <Inner as ConnectionHandler>::InboundProtocol;
        type OutboundProtocol = <Inner as ConnectionHandler>::OutboundProtocol;
        type InboundOpenInfo = ();
        type OutboundOpenInfo = ();

        fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
            SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new("/nothing")), ())
        }

        fn poll(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
            self.0.poll(cx)
        }

        fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
            self.0.on_behaviour_event(event);
        }

        fn on_connection_event(
            &mut self,
            event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
        ) {
            self.0.on_connection_event(event);
        }
    }

    #[tokio::test]
    async fn who_answers_no_pings_is_answered_all_the_same() {
        let config = NodeConfig {
            key: Keypair::generate_ed25519(),
            listen: Some("/ip4/127.0.0.1/tcp/0".parse().unwrap()),
            public: Vec::new(),
            limits: Limits::default(),
            given: None,
            afar: None,
            dht: None,
        };
        let node = Node::start(config).await.unwrap();
        let often = ping::Config::new().with_interval(Duration::from_millis(1));
        let mut deaf = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default(),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|_| Deaf(ping::Behaviour::new(often)))
            .unwrap()
            .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::MAX))
            .build();
        let at: Multiaddr = node.addresses()[0].parse().unwrap();
        deaf.dial(at).unwrap();
        // The word that it answers none is there long before the last of these.
        let mut answered = 0;
        while answered < 200 {
            match deaf.select_next_some().await {
                SwarmEvent::Behaviour(ping) => {
                    ping.result.unwrap();
                    answered += 1;
                }
                SwarmEvent::ConnectionClosed { cause, .. } => panic!("{cause:?}"),
                _ => {}
            }
        }
    }
}
