//! What all methods work with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api::rpc::miner::Miner;
use crate::api::rpc::shhext::asked::Asked;
use crate::api::rpc::waiting::Waiting;
use crate::archive::disk::Archive;
use crate::rlpx::NodeKey;
use crate::whisper::node::NodeControl;
use crate::whisper::service::KeyStore;

/// Passwords turned into keys at a time: each takes a core for tens of
/// milliseconds.
const DERIVATIONS: usize = 2;

/// What all methods work with.
pub(super) struct Context {
    /// The node.
    pub(super) node: NodeControl,
    /// The archive behind the node.
    pub(super) archive: Arc<Archive>,
    /// Filters and what they found.
    pub(super) waiting: Waiting,
    /// Whoever does the work of messages.
    pub(super) miner: Miner,
    /// Admits those who turn passwords into keys.
    pub(super) derivations: Semaphore,
    /// Mail requests under way.
    pub(super) asked: Asked,
    /// Signs mail requests: servers ask for a signature and do not care whose.
    pub(super) signer: NodeKey,
    keys: Mutex<KeyStore>,
}

impl Context {
    /// For methods over `node` and `archive`.
    pub(super) fn new(
        node: NodeControl,
        archive: Arc<Archive>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            waiting: Waiting::new(node.clone(), stopping),
            node,
            archive,
            miner: Miner::default(),
            derivations: Semaphore::new(DERIVATIONS),
            asked: Asked::default(),
            signer: NodeKey::generate(),
            keys: Mutex::default(),
        })
    }

    /// The keys that clients gave or had made.
    pub(super) fn keys(&self) -> MutexGuard<'_, KeyStore> {
        // Nothing that changes the keys panics half way.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
