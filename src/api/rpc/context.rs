//! What all methods work with.

use std::sync::{Arc, MutexGuard};

use tokio_util::sync::CancellationToken;

use crate::api::rpc::shhext::asked::Asked;
use crate::api::rpc::waiting::Waiting;
use crate::api::workshop::Workshop;
use crate::archive::disk::Archive;
use crate::rlpx::NodeKey;
use crate::whisper::node::NodeControl;
use crate::whisper::service::KeyStore;

/// What all methods work with.
pub(super) struct Context {
    /// The node.
    pub(super) node: NodeControl,
    /// The archive behind the node.
    pub(super) archive: Arc<Archive>,
    /// Filters and what they found.
    pub(super) waiting: Waiting,
    /// Keys, and whoever does the work of messages.
    pub(super) workshop: Arc<Workshop>,
    /// Mail requests under way.
    pub(super) asked: Asked,
    /// Signs mail requests: servers ask for a signature and do not care whose.
    pub(super) signer: NodeKey,
}

impl Context {
    /// For methods over `node` and `archive`.
    pub(super) fn new(
        node: NodeControl,
        archive: Arc<Archive>,
        workshop: Arc<Workshop>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            waiting: Waiting::new(node.clone(), stopping),
            node,
            archive,
            workshop,
            asked: Asked::default(),
            signer: NodeKey::generate(),
        })
    }

    /// The keys that clients gave or had made.
    pub(super) fn keys(&self) -> MutexGuard<'_, KeyStore> {
        self.workshop.keys()
    }
}
