//! Another peer as a source of blocks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use libp2p::PeerId;
use libp2p::identity::Keypair;
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::address::PeerAddress;
use super::node::{Node, NodeConfig};
use super::session::{Request, Session};
use crate::blocks::{Block, Cid, Fault};
use crate::limits::Limits;
use crate::sources::net::Net;
use crate::sources::{Account, Fetching, Remote};

/// A node that only asks: one for all sources of a program, made when the first one
/// is asked. Nobody dials it, and it gives nothing.
#[derive(Default)]
pub struct Client {
    node: OnceCell<Node>,
    /// What is asked of each peer, as long as somebody asks: blocks come to one
    /// place, however many sources name the same peer.
    sessions: Mutex<HashMap<PeerId, mpsc::WeakSender<Request>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.node.get().map(Node::id);
        f.debug_tuple("Client").field(&id).finish()
    }
}

impl Client {
    /// The node; its identity lasts as long as it does.
    async fn node(&self) -> Result<&Node, Fault> {
        let started = self.node.get_or_try_init(|| {
            Node::start(NodeConfig {
                key: Keypair::generate_ed25519(),
                listen: None,
                public: Vec::new(),
                limits: Limits::default(),
                given: None,
                afar: None,
                dht: None,
            })
        });
        started
            .await
            .map_err(|error| Fault::Failed(error.to_string()))
    }

    /// The session with a peer: the one there is, or a new one.
    async fn session(
        &self,
        address: &PeerAddress,
        net: &Net,
    ) -> Result<mpsc::Sender<Request>, Fault> {
        let node = self.node().await?;
        let sessions = self.sessions.lock();
        let mut sessions = sessions.unwrap_or_else(PoisonError::into_inner);
        let known = sessions.get(&address.peer);
        let known = known.and_then(mpsc::WeakSender::upgrade);
        if let Some(session) = known.filter(|session| !session.is_closed()) {
            return Ok(session);
        }
        sessions.retain(|_, session| session.upgrade().is_some());
        let (limits, closed) = (*net.limits(), net.closed().clone());
        let at = vec![address.at.clone()];
        let session = Session::start(node.clone(), address.peer, at, limits, closed);
        sessions.insert(address.peer, session.downgrade());
        Ok(session)
    }
}

/// A peer that is asked for blocks.
pub struct P2pSource {
    net: Arc<Net>,
    client: Arc<Client>,
    address: PeerAddress,
    account: Account,
    session: Mutex<Option<mpsc::Sender<Request>>>,
}

impl P2pSource {
    /// The peer at `address`; nothing is asked yet.
    pub fn new(net: Arc<Net>, client: Arc<Client>, address: PeerAddress) -> Self {
        Self {
            net,
            client,
            account: Account::new(format!("p2p:{address}")),
            address,
            session: Mutex::default(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Request>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn session(&self) -> Result<mpsc::Sender<Request>, Fault> {
        let kept = self.kept().clone();
        if let Some(session) = kept.filter(|session| !session.is_closed()) {
            return Ok(session);
        }
        let session = self.client.session(&self.address, &self.net).await?;
        *self.kept() = Some(session.clone());
        Ok(session)
    }

    async fn ask(&self, cid: &Cid) -> Result<Block, Fault> {
        let (answer, answered) = oneshot::channel();
        let request = Request { cid: *cid, answer };
        self.account.request();
        let ended = || Fault::Failed("was hung up on".to_owned());
        let session = self.session().await?;
        session.send(request).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Remote for P2pSource {
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
            let fetched = self.ask(cid).await;
            match &fetched {
                Ok(block) => {
                    let len = block.bytes().len() as u64;
                    self.account.received(len);
                    self.account.gave(len);
                }
                // All that waited hear of one lie: it is told once.
                Err(Fault::Lied(_)) if matches!(self.account.is_out(), Some(Fault::Lied(_))) => {}
                Err(fault) => {
                    let rest = self.net.limits().rest;
                    self.account.gave_none(cid, fault, rest);
                }
            }
            fetched
        })
    }
}
