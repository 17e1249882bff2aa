//! The Whisper node: listens, dials, passes envelopes on, archives them.
//!
//! The shell around `whisper::peer` and `whisper::pool`: tasks, time, bounds.
//!
//! Always true:
//! - A batch is acknowledged after [`MailServer::archive`] resolved well, and
//!   only then are its envelopes pooled. If archiving fails, nobody is told
//!   anything, and whoever offers the envelopes again is heard again.
//! - What a peer sent before it left is archived and passed on like all else.
//! - Reading from a peer stops while too much of it waits to be archived, or
//!   while it leaves its answers unread.
//!   Reading never waits for writing: two nodes that fill each other's links
//!   would otherwise wait for ever.
//! - Peers, handshakes, bytes in flight, requests and packets waiting for a
//!   peer are bounded.

mod counters;
mod dial;
mod ingest;
mod link;
mod listen;
mod mail;
mod registry;
mod send;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::mailserver::{ArchiveError, Archived, MailServer};
use crate::rlpx::capability::{Capability, Protocol};
use crate::rlpx::session::LocalNode;
use crate::rlpx::{Enode, NodeId, NodeKey};
use crate::time::Clock;
use crate::whisper::Envelope;
use crate::whisper::admission::{AdmissionPolicy, Refusal, Verdict};
use crate::whisper::packet::{CAPABILITY, CODES_RESERVED};
use crate::whisper::peer::SessionConfig;
use crate::whisper::pool::{Pool, PoolLimits};
use crate::whisper::status::Status;

use counters::Counters;
use registry::Registry;

pub use counters::CounterValues;
pub use registry::PeerInfo;

/// Connections that may be in their handshakes at a time.
pub const MAX_PENDING_HANDSHAKES: usize = 50;

/// How often the dead leave the pool.
pub const EXPIRY_CYCLE: Duration = Duration::from_secs(1);

/// How often a peer is given what is new.
pub const RELAY_CYCLE: Duration = Duration::from_millis(300);

/// How long the end of a link waits for envelopes it brought that are still
/// being archived.
pub const ARCHIVING_GRACE: Duration = Duration::from_secs(5);

/// How a node is set up.
#[derive(Debug)]
pub struct NodeConfig {
    /// Where to accept connections; port 0 picks one. None: only dial.
    pub listen: Option<SocketAddr>,
    /// The node's identity.
    pub key: NodeKey,
    /// What the node calls itself in Hello.
    pub name: String,
    /// What it asks of envelopes.
    pub policy: AdmissionPolicy,
    /// What peers and addresses may take. Static peers come on top.
    pub limits: Limits,
    /// Peers to stay connected with.
    pub static_peers: Vec<Enode>,
    /// What is kept for passing on.
    pub pool: PoolLimits,
}

impl NodeConfig {
    /// A node on loopback that takes what status nodes take.
    pub fn new(key: NodeKey) -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            key,
            name: concat!("gwa/v", env!("CARGO_PKG_VERSION")).to_owned(),
            policy: AdmissionPolicy::default(),
            limits: Limits::default(),
            static_peers: Vec::new(),
            pool: PoolLimits::default(),
        }
    }
}

/// A node could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct StartError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// What all tasks of a node share.
struct Shared {
    local: Arc<LocalNode>,
    policy: AdmissionPolicy,
    session: SessionConfig,
    mail: Arc<dyn MailServer>,
    clock: Arc<dyn Clock>,
    pool: Mutex<Pool>,
    registry: Registry,
    counters: Counters,
    stopping: CancellationToken,
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Nothing that changes the pool panics half way.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The capability a Whisper node offers.
pub fn protocol() -> Protocol {
    let (name, version) = CAPABILITY;
    Protocol {
        capability: Capability::new(name, version),
        length: CODES_RESERVED,
    }
}

/// A Whisper node.
#[derive(Debug)]
pub struct Node;

impl Node {
    /// Starts a node that archives into, and answers out of, `mail`. Its tasks
    /// run on the current tokio runtime until [`NodeHandle::shutdown`], or
    /// until the handle is dropped.
    pub async fn start(
        config: NodeConfig,
        mail: Arc<dyn MailServer>,
        clock: Arc<dyn Clock>,
    ) -> Result<NodeHandle, StartError> {
        let listener = match config.listen {
            None => None,
            Some(address) => Some(bind(address).await?),
        };
        let address = listener.as_ref().map(|(_, address)| *address);
        let local = Arc::new(LocalNode::new(
            config.key,
            &config.name,
            vec![protocol()],
            address.map_or(0, |address| address.port()),
        ));
        let policy = config.policy;
        let shared = Arc::new(Shared {
            local,
            policy,
            session: SessionConfig {
                status: Status {
                    pow: policy.min_pow,
                    bloom: (!policy.bloom.is_full()).then_some(policy.bloom),
                    light: false,
                    confirmations: Some(true),
                },
                is_mailserver: true,
            },
            mail,
            clock,
            pool: Mutex::new(Pool::new(config.pool)),
            registry: Registry::new(config.limits.max_peers.get()),
            counters: Counters::default(),
            stopping: CancellationToken::new(),
        });
        let (dial, to_dial) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        if let Some((listener, _)) = listener {
            tasks.spawn(listen::run(Arc::clone(&shared), listener));
        }
        tasks.spawn(dial::run(Arc::clone(&shared), to_dial));
        tasks.spawn(expire(Arc::clone(&shared)));
        let handle = NodeHandle {
            shared,
            address,
            dial,
            tasks,
        };
        for peer in config.static_peers {
            handle.add_peer(peer);
        }
        Ok(handle)
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Lets the dead leave the pool.
async fn expire(shared: Arc<Shared>) {
    let mut cycle = tokio::time::interval(EXPIRY_CYCLE);
    cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            _ = cycle.tick() => {
                let now = shared.clock.now();
                shared.pool().tick(now);
            }
        }
    }
}

/// Why an envelope was not posted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// This node would not take it from anybody.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It has died.
    #[error("the envelope has expired")]
    Expired,
    /// It could not be stored.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// A running node. Dropping it ends the node, without waiting.
pub struct NodeHandle {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    dial: mpsc::UnboundedSender<Enode>,
    tasks: JoinSet<()>,
}

impl NodeHandle {
    /// The node's identity.
    pub fn id(&self) -> NodeId {
        self.shared.local.key().id()
    }

    /// Where it accepts connections, if it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// By what others reach it, if it accepts connections.
    pub fn enode(&self) -> Option<Enode> {
        self.address.map(|address| Enode::new(self.id(), address))
    }

    /// The peers connected now.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.registry.list()
    }

    /// What happened so far.
    pub fn counters(&self) -> CounterValues {
        self.shared.counters.values()
    }

    /// How many envelopes are alive here, and their bytes.
    pub fn pooled(&self) -> (usize, usize) {
        let pool = self.shared.pool();
        (pool.len(), pool.bytes())
    }

    /// Stays connected with `peer` from now on.
    pub fn add_peer(&self, peer: Enode) {
        // The dialling task ends only with the node.
        let _ = self.dial.send(peer);
    }

    /// Archives an envelope and passes it on, as if a peer had sent it.
    /// Resolves when it is durable.
    pub async fn post(&self, envelope: Envelope) -> Result<Archived, PostError> {
        let now = self.shared.clock.now();
        let admitted = match self.shared.policy.judge(envelope, now) {
            Verdict::Admitted(admitted) => admitted,
            Verdict::Stale => return Err(PostError::Expired),
            Verdict::Refused(refusal) => return Err(refusal.into()),
        };
        Ok(ingest::store(&self.shared, vec![admitted]).await?)
    }

    /// Ends the node: no more is read, what is being archived is finished and
    /// acknowledged, peers are told "quitting".
    pub async fn shutdown(mut self) {
        self.shared.stopping.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "BUG: a task of the node panicked");
            }
        }
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.tasks.detach_all();
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle")
            .field("id", &self.id())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
