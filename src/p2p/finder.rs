//! A DHT as a source: whoever it says has a block is asked for that block, and for
//! what is wanted after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::PeerId;
use libp2p::identity::Keypair;
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::address::PeerAddress;
use super::dht::{DhtConfig, DhtMode};
use super::node::{Node, NodeConfig};
use super::session::{Request, Session};
use crate::blocks::{Block, Cid, Fault};
use crate::limits::Limits;
use crate::publish::ipns::{Name, Record};
use crate::sources::names::{Giving, RecordGiver};
use crate::sources::net::Net;
use crate::sources::{Account, Fetching, Remote};

/// Walks through the DHT, at most. Whoever has a head has what is below it, so one
/// is enough where all goes well.
const MAX_WALKS: u32 = 32;

/// Peers that are asked for the same block, at most.
const MAX_PROVIDERS: usize = 8;

/// Peers that a DHT knows to have blocks.
pub struct DhtSource {
    net: Arc<Net>,
    bootstrap: PeerAddress,
    account: Account,
    node: OnceCell<Node>,
    known: Arc<Known>,
    /// Walks made; held while one is under way.
    walks: Arc<tokio::sync::Mutex<u32>>,
}

/// Who was found: who gave a block last comes first.
#[derive(Default)]
struct Known(Mutex<Vec<Provider>>);

#[derive(Clone)]
struct Provider {
    peer: PeerId,
    session: mpsc::Sender<Request>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Vec<Provider>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, peer: &PeerId) -> bool {
        self.lock().iter().any(|known| known.peer == *peer)
    }

    /// Adds one that gave a block.
    fn gave(&self, provider: Provider) {
        let mut known = self.lock();
        known.retain(|other| other.peer != provider.peer);
        known.insert(0, provider);
        known.truncate(MAX_PROVIDERS);
    }

    /// Adds one that nobody asked yet, where there are not too many.
    fn met(&self, provider: Provider) {
        let mut known = self.lock();
        if known.len() < MAX_PROVIDERS {
            known.push(provider);
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
            known: Arc::default(),
            walks: Arc::default(),
        }
    }

    async fn node(&self) -> Result<&Node, Fault> {
        let started = self.node.get_or_try_init(|| {
            Node::start(NodeConfig {
                key: Keypair::generate_ed25519(),
                listen: None,
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
    async fn ask(&self, provider: &Provider, cid: &Cid) -> Result<Block, Fault> {
        let (answer, answered) = oneshot::channel();
        let ended = || Fault::Failed("was hung up on".to_owned());
        let request = Request { cid: *cid, answer };
        self.account.request();
        let got = match provider.session.send(request).await {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(ended())),
            Err(_) => Err(ended()),
        };
        if let Err(fault @ (Fault::Lied(_) | Fault::Failed(_))) = &got {
            let peer = provider.peer;
            tracing::warn!(%peer, "whom the DHT named {fault}");
            self.known.lock().retain(|known| known.peer != peer);
        }
        got
    }

    async fn ask_known(&self, cid: &Cid, asked: &mut Vec<PeerId>) -> Option<Block> {
        let known = self.known.lock().clone();
        for provider in known {
            if !asked.contains(&provider.peer) {
                asked.push(provider.peer);
                if let Ok(block) = self.ask(&provider, cid).await {
                    self.known.gave(provider);
                    return Some(block);
                }
            }
        }
        None
    }

    async fn find(&self, cid: &Cid) -> Result<Block, Fault> {
        let mut asked = Vec::new();
        if let Some(block) = self.ask_known(cid, &mut asked).await {
            return Ok(block);
        }
        let mut walks = Arc::clone(&self.walks).lock_owned().await;
        // A walk that has ended meanwhile may have found whom to ask.
        if let Some(block) = self.ask_known(cid, &mut asked).await {
            return Ok(block);
        }
        if *walks >= MAX_WALKS {
            return Err(Fault::Absent);
        }
        *walks += 1;
        let node = self.node().await?.clone();
        let (limits, closed) = (*self.net.limits(), self.net.closed().clone());
        let meet = move |peer: PeerId| {
            let (node, closed) = (node.clone(), closed.clone());
            let session = Session::start(node, peer, Vec::new(), limits, closed);
            Provider { peer, session }
        };
        let mut found = self.node().await?.find(*cid).await;
        let mut fault = Fault::Absent;
        while let Some(peer) = found.recv().await {
            if asked.contains(&peer) || asked.len() >= 2 * MAX_PROVIDERS {
                continue;
            }
            asked.push(peer);
            let provider = meet(peer);
            match self.ask(&provider, cid).await {
                Ok(block) => {
                    self.known.gave(provider);
                    // Who has this block may have little else: the others are met too,
                    // and whoever misses something waits until they are.
                    let known = Arc::clone(&self.known);
                    tokio::spawn(async move {
                        while let Some(peer) = found.recv().await {
                            // A second session would take its blocks from the first.
                            if !known.has(&peer) {
                                known.met(meet(peer));
                            }
                        }
                        drop(walks);
                    });
                    return Ok(block);
                }
                // One of many that errs says nothing of the others.
                Err(Fault::Lied(what)) => fault = Fault::Failed(what),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
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
                let mut values = node.values(name.routing_key()).await;
                let mut best: Option<Record> = None;
                while let Some(value) = values.recv().await {
                    if let Ok(record) = Record::read(name, value.into())
                        && best
                            .as_ref()
                            .is_none_or(|best| best.precedence() < record.precedence())
                    {
                        best = Some(record);
                    }
                }
                Ok(best.map(|record| record.bytes().clone()))
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
