//! How links fail.

use std::io;
use std::sync::Arc;

use crate::rlpx::handshake::HandshakeError;
use crate::rlpx::session::{HANDSHAKE_DEADLINE, SessionError};
use crate::rlpx::socket::{DIAL_DEADLINE, WRITE_DEADLINE};
use crate::rlpx::{DisconnectReason, KeyError};

/// Why there is no link, or no longer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The connection failed.
    #[error("connection: {0}")]
    Io(Arc<io::Error>),
    /// Nobody answered.
    #[error("no connection within {} s", DIAL_DEADLINE.as_secs())]
    DialTimeout,
    /// The node to dial has an id that is no public key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The peer took too long.
    #[error("handshakes not finished within {} s", HANDSHAKE_DEADLINE.as_secs())]
    HandshakeTimeout,
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The session failed, or the peer ended it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The peer closed the connection.
    #[error("peer closed the connection")]
    Eof,
    /// The peer takes no bytes.
    #[error("peer took no bytes for {} s", WRITE_DEADLINE.as_secs())]
    WriteTimeout,
    /// This side closed the link.
    #[error("link was closed")]
    Closed,
}

impl LinkError {
    /// Whether the peer sent what it must not, so that it may be counted
    /// against it. A lost connection and a deadline may be the network's.
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::Handshake(_) => true,
            Self::Session(error) => error.is_peers_fault(),
            Self::Io(_)
            | Self::DialTimeout
            | Self::Key(_)
            | Self::HandshakeTimeout
            | Self::Eof
            | Self::WriteTimeout
            | Self::Closed => false,
        }
    }

    /// What the peer said, if it was the one to end the session.
    pub fn peer_reason(&self) -> Option<crate::rlpx::PeerReason> {
        match self {
            Self::Session(SessionError::Disconnected(reason)) => Some(*reason),
            _ => None,
        }
    }

    /// What the peer is told.
    pub(super) fn reply(&self) -> Option<DisconnectReason> {
        match self {
            Self::Session(error) => error.reply(),
            _ => None,
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// Why a message was not queued.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// It is larger than is ever sent: the caller's fault.
    #[error("payload of {len} bytes; at most {} are sent", super::MAX_PAYLOAD)]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// The peer is slower than what is sent to it.
    #[error("too much is waiting to be sent")]
    Full,
    /// The link has ended.
    #[error(transparent)]
    Ended(#[from] LinkError),
}
