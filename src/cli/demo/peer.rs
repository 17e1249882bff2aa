//! An ordinary Whisper peer: posts, passes on, remembers what it hears.

use std::sync::Arc;

use crate::mailserver::{Mailserver, MailserverConfig, MemoryVault};
use crate::rlpx::{Enode, NodeKey};
use crate::time::{Clock, SystemClock};
use crate::whisper::node::{Node, NodeConfig, NodeHandle, PostError, StartError};
use crate::whisper::pow::Pow;
use crate::whisper::{Envelope, EnvelopeHash};

/// A peer that is connected to one other node and dials nobody else.
pub struct Peer {
    node: NodeHandle,
    key: NodeKey,
    heard: Arc<MemoryVault>,
}

impl Peer {
    /// Starts a peer called `name` that stays connected to `server`.
    pub async fn start(name: &str, server: Enode) -> Result<Self, StartError> {
        let key = NodeKey::generate();
        let heard = Arc::new(MemoryVault::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // It answers no mail: it remembers for itself.
        let config = MailserverConfig {
            password: None,
            node_key: None,
            min_pow: Pow::STATUS_DEFAULT,
            answer_open_requests: false,
        };
        let memory = Mailserver::new(Arc::clone(&heard), config, Arc::clone(&clock));
        let config = NodeConfig {
            listen: None,
            name: format!("gwa-demo/{name}"),
            static_peers: vec![server],
            ..NodeConfig::new(NodeKey::from(*key.secret()))
        };
        Ok(Self {
            node: Node::start(config, Arc::new(memory), clock).await?,
            key,
            heard,
        })
    }

    /// Who it signs as.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        !self.node.peers().is_empty()
    }

    /// Posts an envelope.
    pub async fn post(&self, envelope: Envelope) -> Result<(), PostError> {
        self.node.post(envelope).await.map(drop)
    }

    /// Whether it has heard, or posted, an envelope.
    pub fn has_heard(&self, hash: EnvelopeHash) -> bool {
        self.heard
            .envelopes()
            .iter()
            .any(|envelope| envelope.hash() == hash)
    }

    /// Leaves.
    pub async fn stop(self) {
        self.node.shutdown().await;
    }
}
