//! A protocol spoken beside Whisper on the links of a node.
//!
//! Always true:
//! - Its messages never hold up those of Whisper: they are handed over as they
//!   come, and a peer that sends more than is taken breaks the protocol.
//! - It ends with the link. If it fails first, the link ends with it; if it just
//!   ends, what comes for it is thrown away.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::mailserver::BoxFuture;
use crate::rlpx::NodeId;
use crate::rlpx::capability::{Protocol, SharedProtocol};
use crate::rlpx::session::Message;
use crate::rlpx::socket::{PeerReader, PeerWriter, SendError};

/// Messages of one peer that wait to be taken.
const MAX_WAITING: usize = 8;

/// Such a protocol.
pub trait SideProtocol: fmt::Debug + Send + Sync + 'static {
    /// Its capability and how many message codes it has.
    fn protocol(&self) -> Protocol;

    /// Largest payload of its messages.
    fn max_payload(&self) -> usize;

    /// Talks with a peer that speaks it too, until the link ends. An error is
    /// what the peer did wrong.
    fn talk(&self, link: SideLink) -> BoxFuture<'static, Result<(), String>>;
}

/// The protocol's part of a link.
#[derive(Debug)]
pub struct SideLink {
    /// Who is on the other end.
    pub peer: NodeId,
    /// Where it is.
    pub address: SocketAddr,
    /// What sends to it.
    pub writer: SideWriter,
    incoming: mpsc::Receiver<(u8, Bytes)>,
}

impl SideLink {
    /// The next message, by its code in the protocol; `None` once the link has
    /// ended.
    pub async fn recv(&mut self) -> Option<(u8, Bytes)> {
        self.incoming.recv().await
    }
}

/// Sends messages of the protocol.
#[derive(Clone, Debug)]
pub struct SideWriter {
    writer: PeerWriter,
    offset: u64,
}

impl SideWriter {
    /// Sends; waits while the peer is slow.
    pub async fn send(&self, code: u8, payload: Bytes) -> Result<(), SendError> {
        let code = self.offset + u64::from(code);
        self.writer.send(code, payload).await
    }

    /// Sends if there is room now.
    pub fn try_send(&self, code: u8, payload: Bytes) -> Result<(), SendError> {
        let code = self.offset + u64::from(code);
        self.writer.try_send(code, payload)
    }
}

/// What a peer did wrong in a protocol beside Whisper.
#[derive(Debug, thiserror::Error)]
pub(super) enum SideFault {
    #[error("beside Whisper: {0}")]
    Protocol(String),
    #[error("beside Whisper: a message of {0} bytes")]
    TooLarge(usize),
    #[error("beside Whisper: more messages than are taken")]
    Flood,
}

/// The side protocol of one connection.
#[derive(Debug)]
pub(super) struct Side {
    shared: SharedProtocol,
    max_payload: usize,
    incoming: mpsc::Sender<(u8, Bytes)>,
    talk: JoinSet<Result<(), String>>,
}

impl Side {
    /// Begins to talk, if the peer speaks the protocol.
    pub(super) fn open(
        protocol: Option<&Arc<dyn SideProtocol>>,
        reader: &PeerReader,
        writer: &PeerWriter,
    ) -> Option<Self> {
        let protocol = protocol?;
        let capability = protocol.protocol().capability;
        let remote = reader.remote();
        let shared = remote
            .protocols
            .iter()
            .find(|shared| shared.capability == capability)?;
        let (incoming, taken) = mpsc::channel(MAX_WAITING);
        let mut talk = JoinSet::new();
        talk.spawn(protocol.talk(SideLink {
            peer: remote.id,
            address: reader.address(),
            writer: SideWriter {
                writer: writer.clone(),
                offset: shared.offset,
            },
            incoming: taken,
        }));
        Some(Self {
            shared: shared.clone(),
            max_payload: protocol.max_payload(),
            incoming,
            talk,
        })
    }

    /// Takes a message if it is of this protocol.
    pub(super) fn takes(&self, message: &Message) -> Result<bool, SideFault> {
        let code = self.shared.message(message.code);
        let Some(code) = code.and_then(|code| u8::try_from(code).ok()) else {
            return Ok(false);
        };
        let len = message.payload.len();
        if len > self.max_payload {
            return Err(SideFault::TooLarge(len));
        }
        match self.incoming.try_send((code, message.payload.clone())) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(SideFault::Flood),
            // It has ended by itself.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(true),
        }
    }
}

/// Resolves when the peer has done something wrong.
pub(super) async fn failed(side: &mut Option<Side>) -> SideFault {
    if let Some(side) = side {
        match side.talk.join_next().await {
            Some(Ok(Err(fault))) => return SideFault::Protocol(fault),
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(%error, "BUG: a protocol beside Whisper panicked");
            }
            _ => {}
        }
        // What ended by itself is not waited for again.
    }
    std::future::pending().await
}
