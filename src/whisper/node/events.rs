//! What happens in a node, for whoever listens.
//!
//! Always true: nobody waits for a listener. One that falls behind by
//! [`CAPACITY`] events loses the oldest and is told how many. What comes in one
//! packet is one event, so that a listener that keeps up with packets misses
//! nothing.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::mailserver::request::RequestId;
use crate::mailserver::response::Completion;
use crate::rlpx::NodeId;
use crate::whisper::{Envelope, EnvelopeHash};

/// Events kept for a listener that is behind.
pub const CAPACITY: usize = 1_024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// Envelopes that are new here came from the network or were posted; they
    /// are durable.
    Envelopes(Arc<[Envelope]>),
    /// A peer that is trusted sent envelopes directly: mail, or messages to this
    /// node alone. They were judged by nobody.
    Mail {
        /// Who sent it.
        peer: NodeId,
        /// The envelopes. Each is cut out of the packet they share: whoever
        /// keeps one detaches it.
        envelopes: Arc<[Envelope]>,
    },
    /// A trusted peer ended its answer to a mail request.
    MailCompleted {
        /// Who answered.
        peer: NodeId,
        /// Which request.
        request: RequestId,
        /// How it ended.
        completion: Completion,
    },
    /// A peer has taken an envelope that was posted here: it acknowledged it,
    /// or it acknowledges nothing and was sent it.
    Sent {
        /// The envelope.
        hash: EnvelopeHash,
        /// Who took it.
        peer: NodeId,
    },
    /// A peer did not take an envelope that was posted here.
    NotTaken {
        /// The envelope.
        hash: EnvelopeHash,
        /// Who refused it.
        peer: NodeId,
        /// In its words.
        reason: String,
    },
    /// A peer introduced itself.
    Connected(NodeId),
    /// A peer that had introduced itself is gone.
    Disconnected(NodeId),
}

/// Where a node tells what happens.
#[derive(Clone, Debug)]
pub(super) struct Events(broadcast::Sender<NodeEvent>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Events {
    /// Listens from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<NodeEvent> {
        self.0.subscribe()
    }

    /// Whether anybody listens.
    pub(super) fn are_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Tells what happened.
    pub(super) fn tell(&self, event: NodeEvent) {
        // Without a listener it is told to nobody.
        let _ = self.0.send(event);
    }
}
