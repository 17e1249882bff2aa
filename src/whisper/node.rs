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

mod bound;
mod collect;
mod control;
mod counters;
mod dial;
mod discover;
mod ended;
mod events;
mod guard;
mod ingest;
mod intake;
mod lines;
mod link;
mod listen;
mod mail;
mod orders;
mod registry;
mod send;
pub mod side;
mod tally;
#[cfg(test)]
mod tests;
mod toll;
mod unconfirmed;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::discovery::DiscoveryConfig;
use crate::limits::Limits;
use crate::mailserver::{ArchiveError, MailServer};
use crate::rlpx::capability::{Capability, Protocol};
use crate::rlpx::session::LocalNode;
use crate::rlpx::{Enode, NodeId, NodeKey};
use crate::time::Clock;
use crate::whisper::admission::{AdmissionPolicy, Refusal};
use crate::whisper::packet::{CAPABILITY, CODES_RESERVED};
use crate::whisper::peer::SessionConfig;
use crate::whisper::pool::{Pool, PoolLimits};
use crate::whisper::rules::Rules;
use crate::whisper::status::Status;

use bound::Bound;
use collect::Collector;
use counters::Counters;
use events::Events;
use guard::Guard;
use lines::Lines;
use registry::Registry;
use side::SideProtocol;

pub use control::{NoSuchPeer, NodeControl, SizeError};
pub use counters::CounterValues;
pub use events::{CAPACITY as EVENTS, NodeEvent};
pub use registry::{PeerActivity, PeerInfo};
pub use tally::PeerTraffic;

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
    /// What it asks of envelopes. Its size is the largest that may ever be
    /// asked for: what is admitted must be archived.
    pub policy: AdmissionPolicy,
    /// Whether it forwards nothing but its own envelopes.
    pub light: bool,
    /// What peers and addresses may take. Static peers come on top.
    pub limits: Limits,
    /// Peers to stay connected with.
    pub static_peers: Vec<Enode>,
    /// Peers that get a seat whatever their number, if they come. That is the
    /// trust of devp2p (geth's `TrustedNodes`); whom mail is accepted from is
    /// decided for each connection, see [`NodeControl::trust`].
    pub trusted_peers: Vec<NodeId>,
    /// How peers are found, if they are; on the UDP port beside `listen`.
    pub discovery: Option<DiscoveryConfig>,
    /// What is kept for passing on.
    pub pool: PoolLimits,
    /// What is spoken beside Whisper, if anything.
    pub side: Option<Arc<dyn SideProtocol>>,
}

impl NodeConfig {
    /// A node on loopback that takes what status nodes take.
    pub fn new(key: NodeKey) -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            key,
            name: concat!("gwa/v", env!("CARGO_PKG_VERSION")).to_owned(),
            policy: AdmissionPolicy::default(),
            light: false,
            limits: Limits::default(),
            static_peers: Vec::new(),
            trusted_peers: Vec::new(),
            discovery: None,
            pool: PoolLimits::default(),
            side: None,
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
    rules: RwLock<Rules>,
    message_size_limit: usize,
    max_peers: usize,
    mail: Arc<dyn MailServer>,
    clock: Arc<dyn Clock>,
    pool: Mutex<Pool>,
    collector: Collector,
    registry: Registry,
    lines: Lines,
    events: Events,
    guard: Guard,
    counters: Counters,
    side: Option<Arc<dyn SideProtocol>>,
    /// The address others reach this node by, where that is another than the
    /// one it listens at.
    external_ip: Mutex<Option<IpAddr>>,
    stopping: CancellationToken,
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Nothing that changes the pool panics half way.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// How a conversation with a peer begins now.
    fn session(&self) -> SessionConfig {
        let rules = self.rules();
        let bloom = rules.bloom();
        SessionConfig {
            status: Status {
                pow: rules.min_pow(),
                bloom: (!bloom.is_full()).then_some(bloom),
                light: rules.is_light(),
                confirmations: Some(true),
            },
            is_mailserver: true,
        }
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
        let stopping = CancellationToken::new();
        let bound = match config.listen {
            None => None,
            Some(address) => {
                let discovery = config.discovery.clone();
                let bound = Bound::bind(address, discovery, &config.key, &clock, &stopping);
                Some(bound.await?)
            }
        };
        let address = bound.as_ref().map(|bound| bound.address);
        let local = Arc::new(LocalNode::new(
            config.key,
            &config.name,
            std::iter::once(protocol())
                .chain(config.side.as_ref().map(|side| side.protocol()))
                .collect(),
            address.map_or(0, |address| address.port()),
        ));
        let policy = config.policy;
        let shared = Arc::new(Shared {
            local,
            rules: RwLock::new(Rules::new(policy, config.light)),
            message_size_limit: policy.max_message_size,
            max_peers: config.limits.max_peers.get(),
            mail,
            guard: Guard::new(config.limits.clone(), Arc::clone(&clock)),
            clock,
            pool: Mutex::new(Pool::new(config.pool)),
            collector: Collector::default(),
            registry: Registry::new(config.limits.max_peers.get(), config.discovery.is_some()),
            lines: Lines::default(),
            events: Events::default(),
            counters: Counters::default(),
            side: config.side,
            external_ip: Mutex::default(),
            stopping: stopping.clone(),
        });
        let (dial, to_dial) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut found = None;
        if let Some(bound) = bound {
            tasks.spawn(listen::run(Arc::clone(&shared), bound.listener));
            if let Some((discovery, running)) = bound.discovery {
                tasks.spawn(running);
                tasks.spawn(discover::run(Arc::clone(&shared), discovery.clone()));
                found = Some(discovery);
            }
        }
        tasks.spawn(dial::run(Arc::clone(&shared), to_dial));
        tasks.spawn(expire(Arc::clone(&shared)));
        let control = NodeControl::new(shared, address, dial, found);
        for peer in config.trusted_peers {
            control.reserve_seat(peer);
        }
        for peer in config.static_peers {
            control.add_peer(peer);
        }
        Ok(NodeHandle {
            control,
            stopping,
            tasks,
        })
    }
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

/// A running node. Dropping it ends the node, without waiting. What others may
/// ask of it, [`NodeControl`] says.
pub struct NodeHandle {
    control: NodeControl,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
}

impl NodeHandle {
    /// A handle for others, which does not keep the node running.
    pub fn control(&self) -> NodeControl {
        self.control.clone()
    }

    /// Ends the node: no more is read, what is being archived is finished and
    /// acknowledged, peers are told "quitting".
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "BUG: a task of the node panicked");
            }
        }
    }
}

impl Deref for NodeHandle {
    type Target = NodeControl;

    fn deref(&self) -> &NodeControl {
        &self.control
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.tasks.detach_all();
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeHandle").field(&self.control).finish()
    }
}
