//! Mailservers not to be trusted: one acknowledges everything and keeps nothing,
//! one sends what nobody asked for.

use std::sync::Arc;

use gwa::mailserver::{
    ArchiveError, Archived, BoxFuture, Delivered, MailPeer, MailRequest, MailServer, Mailserver,
    MailserverConfig, MemoryVault,
};
use gwa::rlpx::NodeKey;
use gwa::time::{Clock, SystemClock, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::node::{Node, NodeConfig, NodeHandle};
use gwa::whisper::packet::Packet;
use gwa::whisper::{Envelope, Pow, Topic};
use tokio::runtime::Runtime;

use crate::house::envelope;

/// In which way a server is bad.
#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    /// It acknowledges everything and keeps nothing.
    Forgets,
    /// It sends what nobody asked for.
    Lies,
}

struct Bad {
    manner: Manner,
    server: Mailserver<MemoryVault>,
}

impl MailServer for Bad {
    fn archive(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        let stored = envelopes.len() as u64;
        Box::pin(async move {
            Ok(Archived {
                stored,
                ..Archived::default()
            })
        })
    }

    fn deliver_mail(
        &self,
        peer: Arc<dyn MailPeer>,
        request: MailRequest,
    ) -> BoxFuture<'_, Delivered> {
        Box::pin(async move {
            if self.manner == Manner::Lies {
                let ancient = envelope(Topic([1, 2, 3, 4]), UnixSeconds(1_000), 1);
                // The client may have left.
                let _ = peer.send(Packet::P2pMessage(vec![ancient])).await;
            }
            self.server.deliver_mail(peer, request).await
        })
    }
}

/// It runs as long as this lives.
pub struct BadServer {
    runtime: Runtime,
    node: Option<NodeHandle>,
    pub enode: String,
}

impl BadServer {
    pub fn start(manner: Manner) -> Self {
        let runtime = Runtime::new().expect("threads");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = MailserverConfig {
            password: Some(SymKey::from_password("status-offline-inbox")),
            node_key: None,
            min_pow: Pow::STATUS_DEFAULT,
            answer_open_requests: true,
        };
        let vault = Arc::new(MemoryVault::default());
        let server = Arc::new(Bad {
            manner,
            server: Mailserver::new(vault, config, Arc::clone(&clock)),
        });
        let node = runtime
            .block_on(Node::start(
                NodeConfig::new(NodeKey::generate()),
                server,
                clock,
            ))
            .expect("a port");
        let enode = node.enode().expect("it listens").to_string();
        Self {
            runtime,
            node: Some(node),
            enode,
        }
    }
}

impl Drop for BadServer {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.shutdown());
        }
    }
}
