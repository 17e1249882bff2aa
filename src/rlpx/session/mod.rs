//! A link after its handshake: Hellos cross, then messages flow.
//!
//! ```text
//! Established -> HelloSent -> Session = Inbound + Outbound
//! ```
//!
//! The two halves share nothing, so that reading never waits for writing.
//!
//! Always true:
//! - Pure: bytes and `now` go in, messages and bytes come out; whoever holds
//!   the socket also holds the clock.
//! - Before the peer's Hello no frame above 2,049 bytes is buffered.
//! - Messages carry wire codes of a shared protocol, nothing else comes out.

mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::limits::Flood;
use crate::rlpx::capability::{Protocol, SharedProtocol, shared_protocols};
use crate::rlpx::frame::{FrameDecoder, FrameEncoder, FrameError, MAX_FRAME};
use crate::rlpx::handshake::{Established, Step};
use crate::rlpx::hello::{Hello, HelloError, MAX_HELLO};
use crate::rlpx::snappy::{Compressor, SnappyError};
use crate::rlpx::{DisconnectReason, NodeId, NodeKey, PeerReason};

pub use inbound::{Inbound, Incoming, Message};
pub use outbound::Outbound;

/// Code of the Hello message.
pub(super) const HELLO: u64 = 0;
/// Code of the Disconnect message.
pub(super) const DISCONNECT: u64 = 1;
/// Code of the Ping message.
pub(super) const PING: u64 = 2;
/// Code of the Pong message.
pub(super) const PONG: u64 = 3;

/// How long both handshakes may take together, from the TCP connection on:
/// geth's 5 s.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// How often a Ping is sent: geth's 15 s, half of what it waits for one.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long a peer may be silent, or take for one message: geth's 30 s.
pub const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// This node, as it presents itself on every link.
#[derive(Debug)]
pub struct LocalNode {
    key: NodeKey,
    protocols: Vec<Protocol>,
    hello: Hello,
}

impl LocalNode {
    /// A node that speaks `protocols`; `name` is for people, `listen_port` may
    /// be 0.
    pub fn new(key: NodeKey, name: &str, protocols: Vec<Protocol>, listen_port: u16) -> Self {
        let mut capabilities: Vec<_> = protocols
            .iter()
            .map(|protocol| protocol.capability.clone())
            .collect();
        capabilities.sort();
        Self {
            hello: Hello::new(name, capabilities, listen_port, key.id()),
            key,
            protocols,
        }
    }

    /// Its identity.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// What it tells every peer.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }
}

/// Who is on the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePeer {
    /// Its static key, proven by the handshake and repeated in its Hello.
    pub id: NodeId,
    /// What it said about itself.
    pub hello: Hello,
    /// What both sides speak, at least one.
    pub protocols: Vec<SharedProtocol>,
}

impl RemotePeer {
    /// The shared protocol called `name`.
    pub fn protocol(&self, name: &str) -> Option<&SharedProtocol> {
        self.protocols
            .iter()
            .find(|shared| shared.capability.name == name.as_bytes())
    }
}

/// Why a session ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A frame could not be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The Hello could not be read.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// A payload could not be decompressed.
    #[error(transparent)]
    Snappy(#[from] SnappyError),
    /// Another message came where the Hello was due.
    #[error("message {code} before the Hello")]
    NotHello {
        /// Its code.
        code: u64,
    },
    /// The Hello names another node than the handshake proved.
    #[error("handshake with {proven:?}, Hello from {said:?}")]
    UnexpectedIdentity {
        /// Whom the handshake proved.
        proven: NodeId,
        /// Whom the Hello names.
        said: NodeId,
    },
    /// The peer has this node's key.
    #[error("connected to self")]
    ToSelf,
    /// No protocol is shared.
    #[error("no shared protocol; the peer has {theirs}")]
    NothingShared {
        /// What the peer offered.
        theirs: String,
    },
    /// A message of no shared protocol.
    #[error("message {code} belongs to no shared protocol")]
    UnknownCode {
        /// Its code on the wire.
        code: u64,
    },
    /// Nothing was heard for [`IDLE_LIMIT`].
    #[error("no message within {} s", IDLE_LIMIT.as_secs())]
    Silent,
    /// Far more pings, pongs and reserved codes than keeping in touch takes.
    #[error(transparent)]
    Flood(#[from] Flood),
    /// The peer ended the session.
    #[error("peer disconnected: {0}")]
    Disconnected(PeerReason),
}

impl SessionError {
    /// What to tell the peer before closing; `None` where the reference nodes
    /// close without a word too.
    pub fn reply(&self) -> Option<DisconnectReason> {
        match self {
            Self::Hello(HelloError::NullIdentity) => Some(DisconnectReason::NullIdentity),
            Self::UnexpectedIdentity { .. } => Some(DisconnectReason::UnexpectedIdentity),
            Self::ToSelf => Some(DisconnectReason::ToSelf),
            Self::NothingShared { .. } => Some(DisconnectReason::UselessPeer),
            Self::Silent => Some(DisconnectReason::ReadTimeout),
            // The reference has no answer to a flood.
            Self::Flood(_) => Some(DisconnectReason::ProtocolBreach),
            Self::Frame(_)
            | Self::Hello(_)
            | Self::Snappy(_)
            | Self::NotHello { .. }
            | Self::UnknownCode { .. }
            | Self::Disconnected(_) => None,
        }
    }

    /// Whether the peer sent what it must not, so that it may be counted
    /// against it. Silence may be the network's.
    pub fn is_peers_fault(&self) -> bool {
        !matches!(self, Self::Disconnected(_) | Self::ToSelf | Self::Silent)
    }
}

/// A Hello exchange that failed, and the last bytes to send, if any.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: SessionError,
    /// An encoded Disconnect; empty where nothing is said.
    pub farewell: Bytes,
}

/// A link on which this node's Hello was sent and the peer's is awaited.
#[derive(Debug)]
pub struct HelloSent {
    local: Arc<LocalNode>,
    remote: NodeId,
    encoder: FrameEncoder,
    decoder: FrameDecoder,
}

impl HelloSent {
    /// Starts the exchange; the bytes are to be sent.
    pub fn start(established: Established, local: Arc<LocalNode>) -> (Self, Bytes) {
        let (mut encoder, mut decoder) = established.secrets.into_frames();
        let code_length = 1;
        decoder.set_limit(MAX_HELLO + code_length);
        let mut out = BytesMut::new();
        encoder
            .encode(HELLO, &local.hello.encode(), &mut out)
            .expect("a Hello fits into a frame");
        let stage = Self {
            local,
            remote: established.remote,
            encoder,
            decoder,
        };
        (stage, out.freeze())
    }

    /// Takes the peer's Hello off `input`, once it has fully arrived. What
    /// follows it stays there for the session.
    pub fn receive(
        mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Step<Self, Session>, Refused> {
        let frame = match self.decoder.decode(input) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Step::NeedMore(self)),
            Err(error) => return Err(self.refuse(error.into(), false, now)),
        };
        let hello = match frame.code {
            HELLO => Hello::decode(&frame.payload).map_err(SessionError::from),
            DISCONNECT => Err(SessionError::Disconnected(PeerReason::from_payload(
                &frame.payload,
            ))),
            code => Err(SessionError::NotHello { code }),
        };
        let hello = match hello {
            Ok(hello) => hello,
            Err(error) => return Err(self.refuse(error, false, now)),
        };
        match self.judge(&hello) {
            Ok(protocols) => Ok(Step::Done(self.into_session(hello, protocols, now))),
            Err(error) => Err(self.refuse(error, hello.compresses(), now)),
        }
    }

    fn judge(&self, hello: &Hello) -> Result<Vec<SharedProtocol>, SessionError> {
        if hello.id != self.remote {
            return Err(SessionError::UnexpectedIdentity {
                proven: self.remote,
                said: hello.id,
            });
        }
        if hello.id == self.local.key.id() {
            return Err(SessionError::ToSelf);
        }
        let protocols = shared_protocols(&self.local.protocols, &hello.capabilities);
        if protocols.is_empty() {
            return Err(SessionError::NothingShared {
                theirs: format!("{:?}", hello.capabilities),
            });
        }
        Ok(protocols)
    }

    fn into_session(
        mut self,
        hello: Hello,
        protocols: Vec<SharedProtocol>,
        now: Instant,
    ) -> Session {
        self.decoder.set_limit(MAX_FRAME);
        let compresses = hello.compresses();
        let remote = Arc::new(RemotePeer {
            id: self.remote,
            hello,
            protocols,
        });
        Session {
            inbound: Inbound::new(self.decoder, compresses, Arc::clone(&remote), now),
            outbound: Outbound::new(self.encoder, compresses.then(Compressor::new), now),
            remote,
        }
    }

    fn refuse(self, error: SessionError, compresses: bool, now: Instant) -> Refused {
        let mut farewell = BytesMut::new();
        if let Some(reason) = error.reply() {
            Outbound::new(self.encoder, compresses.then(Compressor::new), now)
                .disconnect(reason, &mut farewell);
        }
        Refused {
            error,
            farewell: farewell.freeze(),
        }
    }
}

/// A link on which messages flow.
#[derive(Debug)]
pub struct Session {
    /// Who is on the other end.
    pub remote: Arc<RemotePeer>,
    /// What the peer sends.
    pub inbound: Inbound,
    /// What is sent to it.
    pub outbound: Outbound,
}
