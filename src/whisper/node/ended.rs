//! Why the link with a peer ended: what the peer is told, and what the ledger
//! says.

use crate::limits::{Flood, Reason};
use crate::rlpx::DisconnectReason;
use crate::rlpx::socket::LinkError;
use crate::whisper::node::guard::reason_of;
use crate::whisper::node::link::STATUS_DEADLINE;
use crate::whisper::node::side::SideFault;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the node is shutting down")]
    Stopping,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Violation(#[from] crate::whisper::peer::Violation),
    #[error("told to")]
    ToldTo(DisconnectReason),
    #[error("no status within {} s", STATUS_DEADLINE.as_secs())]
    NoStatus,
    #[error("message {0} is not of Whisper")]
    ForeignCode(u64),
    #[error("malformed end of an answer: {0}")]
    Completion(crate::mailserver::response::CompletionError),
    #[error(transparent)]
    Flood(#[from] Flood),
    #[error(transparent)]
    Side(#[from] SideFault),
    #[error(transparent)]
    NotARequest(#[from] crate::mailserver::request::NotARequest),
    #[error(transparent)]
    SyncRequest(#[from] crate::mailserver::sync::SyncRequestError),
}

impl Ended {
    /// What the peer is told, where the link has not told it already.
    pub(super) fn reason(&self) -> Option<DisconnectReason> {
        match self {
            Self::Stopping => Some(DisconnectReason::Quitting),
            Self::ToldTo(reason) => Some(*reason),
            Self::Link(_) => None,
            // The network may be slow: it is no violation.
            Self::NoStatus => Some(DisconnectReason::UselessPeer),
            Self::Violation(_)
            | Self::ForeignCode(_)
            | Self::Side(_)
            | Self::Completion(_)
            | Self::Flood(_)
            | Self::SyncRequest(_)
            | Self::NotARequest(_) => Some(DisconnectReason::Subprotocol),
        }
    }

    /// What the ledger says; nothing where this node ends.
    pub(super) fn ledger_reason(&self) -> Option<Reason> {
        match self {
            Self::Stopping => None,
            Self::Link(error) => Some(reason_of(error)),
            Self::ToldTo(_) => Some(Reason::Requested),
            Self::NoStatus => Some(Reason::NoStatus),
            Self::Flood(_) => Some(Reason::Flood),
            Self::Violation(_)
            | Self::ForeignCode(_)
            | Self::Side(_)
            | Self::Completion(_)
            | Self::SyncRequest(_)
            | Self::NotARequest(_) => Some(Reason::Violation),
        }
    }
}
