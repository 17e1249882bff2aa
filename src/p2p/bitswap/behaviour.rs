//! Streams of bitswap on the connections of a swarm: those that come in are told
//! of, those that are asked for are opened.
//!
//! Always true: a stream that was agreed on reaches whoever runs the swarm; none is
//! dropped because somebody was busy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, Stream, StreamUpgradeError, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::oneshot;

use super::Dialect;

/// A stream, and what is spoken on it.
pub type Spoken = (Stream, Dialect);

/// Whom an opened stream goes to; the error is told in words.
pub type Opened = oneshot::Sender<Result<Spoken, String>>;

/// A stream that a peer opened.
#[derive(Debug)]
pub struct Incoming {
    /// The peer.
    pub peer: PeerId,
    /// The stream.
    pub stream: Spoken,
}

/// Bitswap's part of a swarm.
#[derive(Debug, Default)]
pub struct Behaviour {
    actions: VecDeque<ToSwarm<Incoming, Opened>>,
}

impl Behaviour {
    /// Opens a stream to a peer. Where there is no connection to it, `opened` is
    /// dropped.
    pub fn open(&mut self, peer: PeerId, opened: Opened) {
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::Any,
            event: opened,
        });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        stream: THandlerOutEvent<Self>,
    ) {
        let incoming = Incoming { peer, stream };
        self.actions.push_back(ToSwarm::GenerateEvent(incoming));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Whatever adds to these runs just before the swarm is polled.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Bitswap's part of a connection.
#[derive(Debug, Default)]
pub struct Handler {
    wanted: VecDeque<Opened>,
    came: VecDeque<Spoken>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Opened;
    type ToBehaviour = Spoken;
    type InboundProtocol = AnyDialect;
    type OutboundProtocol = AnyDialect;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyDialect, ()> {
        SubstreamProtocol::new(AnyDialect, ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<AnyDialect, Opened, Spoken>> {
        if let Some(stream) = self.came.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        if let Some(opened) = self.wanted.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(AnyDialect, opened),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, opened: Opened) {
        self.wanted.push_back(opened);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, AnyDialect, AnyDialect, (), Opened>,
    ) {
        // Whoever wanted a stream may have given up: then it is closed by dropping it.
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => self.came.push_back(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let what = match error {
                    StreamUpgradeError::NegotiationFailed => "does not speak bitswap".to_owned(),
                    other => format!("opened no stream: {other}"),
                };
                let _ = info.send(Err(what));
            }
            _ => {}
        }
    }
}

/// Agrees on the best dialect that both sides speak.
#[derive(Clone, Copy, Debug)]
pub struct AnyDialect;

impl UpgradeInfo for AnyDialect {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, { Dialect::ALL.len() }>;

    fn protocol_info(&self) -> Self::InfoIter {
        Dialect::ALL.map(Dialect::protocol).into_iter()
    }
}

fn agreed(stream: Stream, name: &StreamProtocol) -> Ready<Result<Spoken, Infallible>> {
    let dialect = Dialect::ALL.into_iter().find(|one| one.protocol() == *name);
    let dialect = dialect.expect("only these names are offered");
    ready(Ok((stream, dialect)))
}

impl InboundUpgrade<Stream> for AnyDialect {
    type Output = Spoken;
    type Error = Infallible;
    type Future = Ready<Result<Spoken, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        agreed(stream, &name)
    }
}

impl OutboundUpgrade<Stream> for AnyDialect {
    type Output = Spoken;
    type Error = Infallible;
    type Future = Ready<Result<Spoken, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        agreed(stream, &name)
    }
}
