//! A swarm that runs: connections, the peers behind them, and what it is told to do.
//!
//! Always true:
//! - A peer is known from its first connection to the end of its last one.
//! - It ends when every [`Node`] that names it is dropped, or when it is told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use futures_util::{FutureExt, StreamExt};
use libp2p::core::{ConnectedPoint, Multiaddr};
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{PeerId, Swarm};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::afar::{Afar, Far};
use super::bitswap::behaviour::{Opened, Spoken};
use super::bitswap::message::Message;
use super::budget::Budget;
use super::dht::{Asker, Dht, DhtConfig, DhtStanding, Errand, Walk};
use super::doors::address_of;
use super::peer::Peer;
use super::session::until;
use super::swarm::{Behaviour, BehaviourEvent, swarm};
use super::walker::Walker;
use crate::blocks::{BlockSource, Cid};
use crate::limits::Limits;

/// Reads of the disk under way: more at once read no faster, and threads are left
/// for sealing and for mail.
const MAX_READS: usize = 4;

/// Commands that wait for the swarm.
const COMMANDS: usize = 64;

/// Messages that wait for whoever asked for what is in them.
const INBOX: usize = 2;

/// What a node is to be.
pub struct NodeConfig {
    /// Its identity.
    pub key: Keypair,
    /// Where it listens, if anywhere.
    pub listen: Option<Multiaddr>,
    /// Where others dial it, beside the addresses at which it listens.
    pub public: Vec<Multiaddr>,
    /// What peers and addresses may take.
    pub limits: Limits,
    /// What is given to whoever wants it: what is here. It fetches nothing.
    pub given: Option<Arc<dyn BlockSource>>,
    /// What is given too, and is not here.
    pub afar: Option<Arc<dyn Afar>>,
    /// The DHT that it takes part in, if any.
    pub dht: Option<DhtConfig>,
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address is not one to listen at.
    #[error("cannot listen at {address}: {what}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What happened.
        what: String,
    },
    /// The network cannot be set up.
    #[error("no network: {0}")]
    Network(String),
}

/// What a node did so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Wants and cancellations that came.
    pub wants: AtomicU64,
    /// Blocks sent.
    pub blocks: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Peers dropped for what they sent.
    pub dropped: AtomicU64,
}

/// A running node.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    /// Dropped with the last one.
    _running: Arc<DropGuard>,
}

struct Inner {
    id: PeerId,
    dht: Option<watch::Sender<DhtStanding>>,
    public: Vec<Multiaddr>,
    addresses: RwLock<Vec<Multiaddr>>,
    commands: mpsc::Sender<Command>,
    peers: Mutex<HashMap<PeerId, Known>>,
    inboxes: Mutex<HashMap<PeerId, mpsc::Sender<Message>>>,
    given: Option<Arc<dyn BlockSource>>,
    afar: Option<Far>,
    reads: Arc<Semaphore>,
    budget: Budget,
    counters: Counters,
    stopping: CancellationToken,
}

struct Known {
    peer: Arc<Peer>,
    _connected: DropGuard,
}

enum Command {
    Connect {
        peer: PeerId,
        at: Vec<Multiaddr>,
        done: Done,
    },
    Open {
        peer: PeerId,
        opened: Opened,
    },
    Disconnect {
        peer: PeerId,
    },
    Dht(Errand),
}

type Done = oneshot::Sender<Result<(), String>>;

impl Node {
    /// Starts a node on the current tokio runtime; it listens when this returns.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let id = config.key.public().to_peer_id();
        let mut swarm = swarm(&config)?;
        if let Some(address) = &config.listen {
            listen(&mut swarm, address).await?;
        }
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let stopping = CancellationToken::new();
        let inner = Arc::new(Inner {
            id,
            dht: config.dht.is_some().then(watch::Sender::default),
            public: config.public,
            addresses: RwLock::new(swarm.listeners().cloned().collect()),
            commands,
            peers: Mutex::default(),
            inboxes: Mutex::default(),
            given: config.given,
            afar: config.afar.map(Far::new),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            budget: Budget::new(&config.limits),
            counters: Counters::default(),
            stopping: stopping.clone(),
        });
        let mut work = Work {
            swarm,
            inner: Arc::clone(&inner),
            dialling: HashMap::new(),
            dht: config.dht.map(Dht::new),
        };
        work.tell_addresses();
        tokio::spawn(work.run(receiver));
        Ok(Self {
            inner,
            _running: Arc::new(stopping.drop_guard()),
        })
    }

    /// Who it is.
    pub fn id(&self) -> PeerId {
        self.inner.id
    }

    /// Where others reach it, its identity included; the addresses first that it was
    /// said to have.
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self.inner.addresses.read();
        let addresses = addresses.unwrap_or_else(PoisonError::into_inner);
        let public = &self.inner.public;
        let others = addresses.iter().filter(|at| !public.contains(at));
        let all = public.iter().chain(others);
        all.map(|at| format!("{at}/p2p/{}", self.id())).collect()
    }

    /// How many peers are connected.
    pub fn peers(&self) -> usize {
        self.inner.peers().len()
    }

    /// How it stands in its DHT, now and as that changes; none where it takes part in
    /// none.
    pub fn dht(&self) -> Option<watch::Receiver<DhtStanding>> {
        self.inner.dht.as_ref().map(watch::Sender::subscribe)
    }

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Ends it.
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    /// Ends when it does.
    pub fn stopped(&self) -> CancellationToken {
        self.inner.stopping.clone()
    }

    /// Tells the DHT that these blocks are to be had here, now and again and again,
    /// instead of those that it was told of before.
    pub async fn announce(&self, cids: Vec<Cid>) {
        self.send_to_dht(Errand::Announce(cids)).await;
    }

    /// Who has a block, as the DHT says.
    pub(super) async fn find(&self, cid: Cid) -> Walk<PeerId> {
        let (asker, walk) = Asker::new();
        self.send_to_dht(Errand::Find(cid, asker)).await;
        walk
    }

    /// The values that the DHT has under a key, as they come; not checked.
    pub(super) async fn values(&self, key: Vec<u8>) -> Walk<Vec<u8>> {
        let (asker, walk) = Asker::new();
        self.send_to_dht(Errand::Value(key, asker)).await;
        walk
    }

    async fn send_to_dht(&self, errand: Errand) {
        let _ = self.inner.commands.send(Command::Dht(errand)).await;
    }

    /// A connection to a peer, the one there is or a new one; the error is told in
    /// words.
    pub(super) async fn connect(
        &self,
        peer: PeerId,
        at: Vec<Multiaddr>,
    ) -> Result<Arc<Peer>, String> {
        let (done, connected) = oneshot::channel();
        let command = Command::Connect { peer, at, done };
        let _ = self.inner.commands.send(command).await;
        connected.await.map_err(|_| "ended".to_owned())??;
        let peers = self.inner.peers();
        let known = peers.get(&peer).map(|known| Arc::clone(&known.peer));
        known.ok_or_else(|| "hung up".to_owned())
    }

    /// Opens a stream to a connected peer; the error is told in words.
    pub(super) async fn open(&self, peer: PeerId) -> Result<Spoken, String> {
        let (opened, stream) = oneshot::channel();
        let _ = self
            .inner
            .commands
            .send(Command::Open { peer, opened })
            .await;
        stream
            .await
            .unwrap_or_else(|_| Err("is not connected".to_owned()))
    }

    /// Ends all connections to a peer.
    pub(super) async fn disconnect(&self, peer: PeerId) {
        let _ = self.inner.commands.send(Command::Disconnect { peer }).await;
    }

    /// From now on blocks of a peer are given to whoever holds the other end.
    pub(super) fn listen_to(&self, peer: PeerId) -> mpsc::Receiver<Message> {
        let (inbox, messages) = mpsc::channel(INBOX);
        self.inner.inboxes().insert(peer, inbox);
        messages
    }

    /// Whoever held the other end has gone; whether nobody else wants blocks of the
    /// peer.
    pub(super) fn listen_no_more(&self, peer: &PeerId) -> bool {
        let mut inboxes = self.inner.inboxes();
        if inboxes.get(peer).is_some_and(mpsc::Sender::is_closed) {
            inboxes.remove(peer);
        }
        !inboxes.contains_key(peer)
    }

    /// Whether anybody wants blocks of a peer.
    pub(super) fn listens_to(&self, peer: &PeerId) -> bool {
        self.inner.inboxes().contains_key(peer)
    }

    /// Gives blocks, and word of them, to whoever wants those of this peer. What
    /// nobody asked for is dropped.
    pub(super) async fn hand_over(&self, peer: &PeerId, message: Message) {
        let inbox = self.inner.inboxes().get(peer).cloned();
        let Some(inbox) = inbox else {
            return;
        };
        if inbox.send(message).await.is_err() {
            self.listen_no_more(peer);
        }
    }

    pub(super) fn given(&self) -> Option<Arc<dyn BlockSource>> {
        self.inner.given.clone()
    }

    pub(super) fn afar(&self) -> Option<&Far> {
        self.inner.afar.as_ref()
    }

    pub(super) fn reads(&self) -> &Arc<Semaphore> {
        &self.inner.reads
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    pub(super) fn count(&self, which: impl Fn(&Counters) -> &AtomicU64, many: u64) {
        which(&self.inner.counters).fetch_add(many, Ordering::Relaxed);
    }
}

impl Inner {
    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, Known>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<PeerId, mpsc::Sender<Message>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What runs the swarm.
struct Work {
    swarm: Swarm<Behaviour>,
    inner: Arc<Inner>,
    dialling: HashMap<PeerId, Vec<Done>>,
    dht: Option<Dht>,
}

impl Work {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let stopping = self.inner.stopping.clone();
        self.with_dht(|dht, kad| dht.begin(kad));
        loop {
            let due = self.dht.as_ref().and_then(Dht::deadline);
            tokio::select! {
                () = stopping.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(command) = commands.recv() => self.on_command(command),
                () = until(due) => self.with_dht(|dht, kad| dht.on_time(kad, Instant::now())),
            }
        }
        self.inner.peers().clear();
        self.inner.inboxes().clear();
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { peer, at, done } => self.connect(peer, at, done),
            Command::Open { peer, opened } => {
                self.swarm.behaviour_mut().bitswap.open(peer, opened);
            }
            Command::Disconnect { peer } => {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Command::Dht(errand) => self.with_dht(|dht, kad| dht.run(kad, errand)),
        }
    }

    fn connect(&mut self, peer: PeerId, at: Vec<Multiaddr>, done: Done) {
        if self.swarm.is_connected(&peer) {
            let _ = done.send(Ok(()));
            return;
        }
        let options = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing);
        let options = if at.is_empty() {
            options.build()
        } else {
            options.addresses(at).build()
        };
        match self.swarm.dial(options) {
            // It is dialled already, by whoever was first.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                self.dialling.entry(peer).or_default().push(done);
            }
            Err(error) => {
                let _ = done.send(Err(told(&error)));
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                endpoint,
                num_established,
                ..
            } => {
                if num_established.get() == 1 {
                    self.met(peer_id, &endpoint);
                }
                for done in self.dialling.remove(&peer_id).unwrap_or_default() {
                    let _ = done.send(Ok(()));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                self.inner.peers().remove(&peer_id);
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } if !self.swarm.is_connected(&peer) => {
                for done in self.dialling.remove(&peer).unwrap_or_default() {
                    let _ = done.send(Err(told(&error)));
                }
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                let addresses = self.swarm.listeners().cloned().collect();
                let kept = self.inner.addresses.write();
                *kept.unwrap_or_else(PoisonError::into_inner) = addresses;
                self.tell_addresses();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::debug!(%error, "a connection was not accepted");
            }
            SwarmEvent::Behaviour(BehaviourEvent::Bitswap(incoming)) => {
                let peers = self.inner.peers();
                let known = peers
                    .get(&incoming.peer)
                    .map(|known| Arc::clone(&known.peer));
                drop(peers);
                if let Some(peer) = known {
                    peer.read(&self.handle(), incoming.stream);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => {
                self.with_dht(|dht, kad| dht.on_event(kad, event, Instant::now()));
            }
            _ => {}
        }
    }

    /// Does something in the DHT, where there is one, and tells how it stands then.
    fn with_dht(&mut self, does: impl FnOnce(&mut Dht, &mut Walker)) {
        let (Some(dht), Some(kad)) = (&mut self.dht, self.swarm.behaviour_mut().kad.as_mut())
        else {
            return;
        };
        does(dht, kad);
        let standing = dht.standing();
        if let Some(told) = &self.inner.dht {
            told.send_if_modified(|old| std::mem::replace(old, standing) != standing);
        }
    }

    /// Others are told where this node is now, as far as they can dial that.
    fn tell_addresses(&mut self) {
        let listening: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let told: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        let all = self.inner.public.iter().chain(&listening);
        let dht = self.dht.as_ref().map(Dht::config);
        let is_told = |at: &&Multiaddr| dht.is_none_or(|dht| dht.is_worth_telling(at));
        let now: Vec<Multiaddr> = all.filter(is_told).cloned().collect();
        for at in told.iter().filter(|at| !now.contains(at)) {
            self.swarm.remove_external_address(at);
        }
        for at in now.iter().filter(|at| !told.contains(at)) {
            self.swarm.add_external_address(at.clone());
        }
        self.with_dht(|dht, kad| dht.set_dialable(kad, !now.is_empty()));
    }

    /// A peer is connected that was not.
    fn met(&self, id: PeerId, endpoint: &ConnectedPoint) {
        let gone = self.inner.stopping.child_token();
        let address = address_of(endpoint.get_remote_address());
        let peer = Arc::new(Peer::new(id, address, gone.clone()));
        let known = Known {
            peer: Arc::clone(&peer),
            _connected: gone.drop_guard(),
        };
        self.inner.peers().insert(id, known);
        tokio::spawn(peer.answer(self.handle()));
    }

    /// A handle that keeps nothing running: what holds it ends with its peer.
    fn handle(&self) -> Node {
        Node {
            inner: Arc::clone(&self.inner),
            _running: Arc::new(CancellationToken::new().drop_guard()),
        }
    }
}

/// An error of dialling, in a line.
fn told(error: &DialError) -> String {
    match error {
        DialError::Transport(all) => {
            let each = all.iter().map(|(at, error)| {
                let mut cause: &dyn std::error::Error = error;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                format!("{at}: {cause}")
            });
            each.collect::<Vec<_>>().join("; ")
        }
        DialError::WrongPeerId { obtained, .. } => format!("another peer answers: {obtained}"),
        other => other.to_string(),
    }
}

/// Listens, and waits until it does.
async fn listen(swarm: &mut Swarm<Behaviour>, address: &Multiaddr) -> Result<(), NodeError> {
    let failed = |what: String| NodeError::Listen {
        address: address.clone(),
        what,
    };
    let listener = swarm
        .listen_on(address.clone())
        .map_err(|error| failed(error.to_string()))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { .. } => break,
            SwarmEvent::ListenerClosed {
                listener_id,
                reason: Err(error),
                ..
            } if listener_id == listener => return Err(failed(error.to_string())),
            _ => {}
        }
    }
    // One address may stand for several, which are told one after another.
    while swarm.select_next_some().now_or_never().is_some() {}
    Ok(())
}
