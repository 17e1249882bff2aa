//! A mailserver that acknowledges everything and keeps nothing.

use std::sync::Arc;

use gwa::mailserver::{
    ArchiveError, Archived, BoxFuture, Delivered, MailPeer, MailRequest, MailServer, Mailserver,
    MailserverConfig, MemoryVault,
};
use gwa::rlpx::NodeKey;
use gwa::time::{Clock, SystemClock};
use gwa::whisper::keys::SymKey;
use gwa::whisper::node::{Node, NodeConfig, NodeHandle};
use gwa::whisper::{Envelope, Pow};
use tokio::runtime::Runtime;

struct Forgetful(Mailserver<MemoryVault>);

impl MailServer for Forgetful {
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
        self.0.deliver_mail(peer, request)
    }
}

/// It runs as long as this lives.
pub struct ForgetfulServer {
    runtime: Runtime,
    node: Option<NodeHandle>,
    pub enode: String,
}

impl ForgetfulServer {
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("threads");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = MailserverConfig {
            password: Some(SymKey::from_password("status-offline-inbox")),
            node_key: None,
            min_pow: Pow::STATUS_DEFAULT,
            answer_open_requests: true,
        };
        let vault = Arc::new(MemoryVault::default());
        let server = Arc::new(Forgetful(Mailserver::new(
            vault,
            config,
            Arc::clone(&clock),
        )));
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

impl Drop for ForgetfulServer {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.shutdown());
        }
    }
}
