//! A DHT as a source: whoever it says has a block is asked for that block, and for
//! what is wanted after it.
//!
//! Always true:
//! - All are asked that the DHT names, until one gives the block: who is gone, slow or
//!   a liar costs the next one little time.
//! - A block is said to be absent where a walk went through, and whoever was asked said
//!   so. Where nobody answered, or no walk is left, the source failed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::identity::Keypair;
use tokio::sync::{OnceCell, OwnedMutexGuard, oneshot};

use super::address::PeerAddress;
use super::book::{Book, MAX_KNOWN, Walks};
use super::dht::{DhtConfig, DhtMode, Ended, MAX_FOUND, WALK};
use super::node::{Node, NodeConfig};
use super::session::{Request, Session, until};
use crate::blocks::{Block, Cid, Fault};
use crate::limits::Limits;
use crate::publish::ipns::{Name, Record};
use crate::sources::names::{Giving, RecordGiver};
use crate::sources::net::Net;
use crate::sources::{Account, Fetching, Remote};

/// How long one who never gave anything may keep silent before the next one is asked
/// too: those whom a DHT names are gone as often as not.
const PATIENCE: Duration = Duration::from_millis(500);

/// Peers that are asked for the same block, at most: those that are known, and all
/// that a walk may find.
const MAX_ASKED: usize = MAX_KNOWN + MAX_FOUND;

/// Peers that are asked for a block at the same time, at most: half of the connections
/// that a node opens. The others are for the walk, which goes on meanwhile.
const MAX_AT_ONCE: usize = 32;

/// What is said of a walk that nobody answered.
const NOBODY: &str = "no node of the DHT answered";

/// What is said where not all can be asked.
const CROWDED: &str = "the DHT names more peers than are asked";

/// Peers that a DHT knows to have blocks.
pub struct DhtSource {
    net: Arc<Net>,
    bootstrap: PeerAddress,
    account: Account,
    node: OnceCell<Node>,
    book: Arc<Book>,
    /// Held while a walk is under way: the next one may not be needed then.
    walks: Arc<tokio::sync::Mutex<Walks>>,
}

/// How it went with one block.
#[derive(Default)]
struct Trial {
    asked: HashSet<PeerId>,
    /// Why the last one who failed did.
    failed: Option<String>,
}

impl Trial {
    fn note(&mut self, fault: Fault) {
        match fault {
            Fault::Absent => {}
            // One of many that errs says nothing of the others.
            Fault::Failed(what) | Fault::Lied(what) => self.failed = Some(what),
        }
    }

    /// What to say of a block that nobody gave. Only who was told by all of them that
    /// it is not there says so too.
    fn verdict(self, ended: Ended) -> Fault {
        match (ended, self.failed) {
            (Ended::Alone, _) => Fault::Failed(NOBODY.to_owned()),
            (_, Some(what)) => Fault::Failed(what),
            (Ended::Late, None) => {
                let seconds = WALK.as_secs();
                Fault::Failed(format!("the DHT found nobody in {seconds} seconds"))
            }
            (Ended::Crowded, None) => Fault::Failed(CROWDED.to_owned()),
            (Ended::Whole, None) => Fault::Absent,
        }
    }
}

impl DhtSource {
    /// The DHT that the node at `bootstrap` takes part in; nobody is asked yet.
    pub fn new(net: Arc<Net>, bootstrap: PeerAddress) -> Self {
        Self {
            net,
            account: Account::new(format!("dht:{bootstrap}")),
            bootstrap,
            node: OnceCell::new(),
            book: Arc::default(),
            walks: Arc::default(),
        }
    }

    async fn node(&self) -> Result<&Node, Fault> {
        let started = self.node.get_or_try_init(|| {
            Node::start(NodeConfig {
                key: Keypair::generate_ed25519(),
                listen: None,
                public: Vec::new(),
                limits: Limits::default(),
                given: None,
                afar: None,
                dht: Some(DhtConfig {
                    bootstrap: vec![self.bootstrap.clone()],
                    mode: DhtMode::Client,
                }),
            })
        });
        started
            .await
            .map_err(|error| Fault::Failed(error.to_string()))
    }

    /// Asks one of those that are known; who fails or lies is known no more.
    async fn ask(&self, peer: PeerId, cid: &Cid) -> (PeerId, Result<Block, Fault>) {
        let (answer, answered) = oneshot::channel();
        let ended = || Fault::Failed("was hung up on".to_owned());
        let request = Request { cid: *cid, answer };
        self.account.request();
        let session = self.node().await.map(|node| {
            let (limits, closed) = (*self.net.limits(), self.net.closed().clone());
            let begin = || Session::start(node.clone(), peer, Vec::new(), limits, closed);
            self.book.session(&peer, begin)
        });
        let got = match &session {
            Err(fault) => Err(fault.clone()),
            Ok(session) => match session.send(request).await {
                Ok(()) => answered.await.unwrap_or_else(|_| Err(ended())),
                Err(_) => Err(ended()),
            },
        };
        match (&got, &session) {
            (Ok(_), Ok(session)) => self.book.gave(&peer, session),
            (Ok(_), Err(_)) | (Err(Fault::Absent), _) => {}
            (Err(fault), _) => {
                match fault {
                    Fault::Lied(_) => tracing::warn!(%peer, "whom the DHT named {fault}"),
                    // Of those that a DHT names half are gone.
                    _ => tracing::debug!(%peer, "whom the DHT named {fault}"),
                }
                let rest = self.net.limits().rest;
                self.book.failed(&peer, fault, Instant::now() + rest);
            }
        }
        (peer, got)
    }

    /// Asks those who are known, one after another; who keeps silent does not keep the
    /// next one from being asked. Those that a walk finds meanwhile are asked too.
    async fn ask_known(&self, cid: &Cid, trial: &mut Trial) -> Option<Block> {
        let mut news = self.book.news();
        let mut running = FuturesUnordered::new();
        let mut next_at = Instant::now();
        loop {
            news.mark_unchanged();
            let room = trial.asked.len() < MAX_ASKED && running.len() < MAX_AT_ONCE;
            let next = room.then(|| self.book.next(&trial.asked)).flatten();
            let is_time = running.is_empty() || Instant::now() >= next_at;
            if let Some((peer, gave)) = next.filter(|_| is_time) {
                trial.asked.insert(peer);
                let hedge = self.net.limits().hedge_after;
                next_at = Instant::now() + if gave { hedge } else { hedge.min(PATIENCE) };
                running.push(self.ask(peer, cid));
                continue;
            }
            if running.is_empty() {
                return None;
            }
            tokio::select! {
                Some((_, got)) = running.next() => match got {
                    Ok(block) => return Some(block),
                    Err(fault) => {
                        trial.note(fault);
                        next_at = Instant::now();
                    }
                },
                () = until(Some(next_at)), if next.is_some() => {}
                Ok(()) = news.changed(), if next.is_none() => {}
            }
        }
    }

    async fn find(&self, cid: &Cid) -> Result<Block, Fault> {
        let mut trial = Trial::default();
        let mut news = self.book.news();
        let turn = loop {
            news.mark_unchanged();
            if let Some(block) = self.ask_known(cid, &mut trial).await {
                return Ok(block);
            }
            // A walk for something else may find whom to ask.
            tokio::select! {
                biased;
                Ok(()) = news.changed() => {}
                turn = Arc::clone(&self.walks).lock_owned() => break turn,
            }
        };
        // Those before may have found that nobody answers.
        if let Some(out) = self.account.is_out() {
            return Err(out);
        }
        let node = self.node().await?.clone();
        turn.may_begin(Instant::now()).map_err(Fault::Failed)?;
        let book = Arc::clone(&self.book);
        let mut walking = tokio::spawn(walk(node, *cid, book, turn));
        let ended = loop {
            news.mark_unchanged();
            if let Some(block) = self.ask_known(cid, &mut trial).await {
                // The walk goes on: who has this block may have little else.
                return Ok(block);
            }
            tokio::select! {
                biased;
                Ok(()) = news.changed() => {}
                ended = &mut walking => break ended,
            }
        };
        // It ends with the runtime, and does not panic.
        let (ended, out) = ended.map_err(|error| Fault::Failed(error.to_string()))?;
        if out > 0 && trial.failed.is_none() {
            trial.failed = Some("whom the DHT names failed a moment ago, or lied".to_owned());
        }
        match self.ask_known(cid, &mut trial).await {
            Some(block) => Ok(block),
            None => {
                if trial.failed.is_none() && self.book.next(&trial.asked).is_some() {
                    trial.failed = Some(CROWDED.to_owned());
                }
                Err(trial.verdict(ended))
            }
        }
    }
}

/// Goes through the DHT, and keeps whom it names; gives how that ended, and how many of
/// them are not asked again.
async fn walk(
    node: Node,
    cid: Cid,
    book: Arc<Book>,
    mut turn: OwnedMutexGuard<Walks>,
) -> (Ended, usize) {
    let mut walk = node.find(cid).await;
    let mut out = 0;
    while let Some(peer) = walk.found.recv().await {
        let mut found = vec![peer];
        while let Ok(peer) = walk.found.try_recv() {
            found.push(peer);
        }
        found.retain(|peer| *peer != node.id());
        out += book.met(found, Instant::now());
    }
    let ended = walk.ended().await;
    if ended != Ended::Alone {
        turn.count(Instant::now());
    }
    (ended, out)
}

/// Records of names, which a DHT keeps for two days. Of those that come the newest one
/// of the name is given; it is checked again by whoever asked.
impl RecordGiver for DhtSource {
    fn name(&self) -> &str {
        self.account.name()
    }

    fn record<'a>(&'a self, name: &'a Name) -> Giving<'a> {
        Box::pin(async move {
            let closed = self.net.closed().clone();
            let asked = closed.run_until_cancelled(async {
                let node = self.node().await.map_err(|fault| fault.to_string())?;
                let mut walk = node.values(name.routing_key()).await;
                let mut best: Option<Record> = None;
                while let Some(value) = walk.found.recv().await {
                    if let Ok(record) = Record::read(name, value.into())
                        && best
                            .as_ref()
                            .is_none_or(|best| best.precedence() < record.precedence())
                    {
                        best = Some(record);
                    }
                }
                match (best, walk.ended().await) {
                    (Some(best), _) => Ok(Some(best.bytes().clone())),
                    (None, Ended::Whole) => Ok(None),
                    (None, Ended::Alone) => Err(NOBODY.to_owned()),
                    (None, Ended::Late) => Err("the DHT did not answer in time".to_owned()),
                    (None, Ended::Crowded) => Err("the DHT has nothing but rubbish".to_owned()),
                }
            });
            asked.await.unwrap_or_else(|| Err("closed".to_owned()))
        })
    }
}

impl Remote for DhtSource {
    fn account(&self) -> &Account {
        &self.account
    }

    fn net(&self) -> &Arc<Net> {
        &self.net
    }

    fn fetch<'a>(&'a self, cid: &'a Cid) -> Fetching<'a> {
        Box::pin(async move {
            if let Some(out) = self.account.is_out() {
                return Err(out);
            }
            let closed = self.net.closed().clone();
            let found = closed.run_until_cancelled(self.find(cid)).await;
            let found = found.unwrap_or_else(|| Err(Fault::Failed("closed".to_owned())));
            match &found {
                Ok(block) => {
                    let len = block.bytes().len() as u64;
                    self.account.received(len);
                    self.account.gave(len);
                }
                Err(fault) => {
                    let rest = self.net.limits().rest;
                    self.account.gave_none(cid, fault, rest);
                }
            }
            found
        })
    }
}
