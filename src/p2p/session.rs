//! What is asked of one peer, from the first want on.
//!
//! Always true:
//! - Whoever waits is answered: with the block, with what the peer said, or with why
//!   it could not be asked.
//! - A connection that breaks is made again, with pauses; so often in a row without
//!   any block between, and the peer has failed.
//! - A peer that lies is hung up on, and asked no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::core::Multiaddr;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::bitswap::message::Message;
use super::bitswap::wants::{Outcome, Wants};
use super::node::Node;
use super::outbox;
use super::peer::Peer;
use crate::blocks::{Block, Cid, Fault};
use crate::sources::net::NetLimits;

/// Requests that may wait for the session.
const WAITING: usize = 64;

/// Who waits for a block.
pub(super) struct Request {
    /// The block.
    pub(super) cid: Cid,
    /// Where it goes.
    pub(super) answer: oneshot::Sender<Result<Block, Fault>>,
}

/// What a session asks, and how.
pub(super) struct Session {
    node: Node,
    peer: PeerId,
    at: Vec<Multiaddr>,
    limits: NetLimits,
    wants: Wants,
    waiting: HashMap<Cid, Vec<oneshot::Sender<Result<Block, Fault>>>>,
    /// Connections that failed or broke since the last block.
    breaks: u32,
}

/// What happened.
enum Happened {
    Asked(Option<Request>),
    Said(Option<Message>),
    Gone,
    Time,
}

impl Session {
    /// Starts one; it ends when nobody can ask any more, or when `closed`.
    pub(super) fn start(
        node: Node,
        peer: PeerId,
        at: Vec<Multiaddr>,
        limits: NetLimits,
        closed: CancellationToken,
    ) -> mpsc::Sender<Request> {
        let (requests, receiver) = mpsc::channel(WAITING);
        let session = Self {
            wants: Wants::new(limits.idle),
            node,
            peer,
            at,
            limits,
            waiting: HashMap::new(),
            breaks: 0,
        };
        tokio::spawn(async move {
            let node = session.node.clone();
            closed.run_until_cancelled(session.run(receiver)).await;
            // Not from under a session that came after it.
            if node.listen_no_more(&peer) {
                node.disconnect(peer).await;
            }
        });
        requests
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut said = self.node.listen_to(self.peer);
        let mut link: Option<Arc<Peer>> = None;
        loop {
            self.forget_the_patient();
            if !self.wants.is_idle() && !self.tell(&mut link).await {
                continue;
            }
            let deadline = self.wants.deadline();
            let happened = tokio::select! {
                request = requests.recv() => Happened::Asked(request),
                message = said.recv() => Happened::Said(message),
                () = gone(link.as_ref()), if link.is_some() => Happened::Gone,
                () = until(deadline) => Happened::Time,
            };
            match happened {
                Happened::Asked(None) | Happened::Said(None) => return,
                Happened::Asked(Some(request)) => {
                    self.ask(request);
                    // What is asked at once is told in one message.
                    while let Ok(request) = requests.try_recv() {
                        self.ask(request);
                    }
                }
                Happened::Said(Some(message)) => {
                    if !self.take_in(message) {
                        self.node.disconnect(self.peer).await;
                        return;
                    }
                }
                Happened::Gone => {
                    link = None;
                    self.wants.ask_again();
                    if !self.wants.is_idle() {
                        self.broke("hung up").await;
                    }
                }
                Happened::Time => {
                    let over = self.wants.expired(Instant::now());
                    self.answer_all(over);
                }
            }
        }
    }

    fn ask(&mut self, request: Request) {
        self.wants.want(request.cid);
        let waiting = self.waiting.entry(request.cid).or_default();
        waiting.push(request.answer);
    }

    /// Tells the peer what is wanted; false where that failed.
    async fn tell(&mut self, link: &mut Option<Arc<Peer>>) -> bool {
        if link.is_none() {
            let connecting = self.node.connect(self.peer, self.at.clone());
            let connected = timeout(self.limits.connect, connecting).await;
            match connected.unwrap_or_else(|_| Err("no connection in time".to_owned())) {
                Ok(peer) => *link = Some(peer),
                Err(what) => {
                    self.broke(&what).await;
                    return false;
                }
            }
        }
        let Some(message) = self.wants.next_message(Instant::now()) else {
            return true;
        };
        match outbox::send(&self.node, self.peer, &message).await {
            Ok(()) => true,
            Err(what) => {
                *link = None;
                self.wants.ask_again();
                self.broke(&what).await;
                false
            }
        }
    }

    /// A connection failed: waits before the next one, or gives up what is wanted.
    async fn broke(&mut self, what: &str) {
        self.breaks += 1;
        if self.breaks >= self.limits.attempts {
            self.breaks = 0;
            let fault = Fault::Failed(what.to_owned());
            self.give_up(&fault);
            return;
        }
        let chance = rand::random::<f64>();
        tokio::time::sleep(self.limits.pause(self.breaks, None, chance)).await;
    }

    /// Takes in what the peer says; false where it lied.
    fn take_in(&mut self, message: Message) -> bool {
        match self.wants.take_in(message, Instant::now()) {
            Ok(outcomes) => {
                if !outcomes.is_empty() {
                    self.breaks = 0;
                }
                self.answer_all(outcomes);
                true
            }
            Err(lie) => {
                self.give_up(&lie);
                false
            }
        }
    }

    fn answer_all(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            let (cid, answer) = match outcome {
                Outcome::Got(block) => (*block.cid(), Ok(block)),
                Outcome::Not(cid, fault) => (cid, Err(fault)),
            };
            for waiting in self.waiting.remove(&cid).unwrap_or_default() {
                let _ = waiting.send(answer.clone());
            }
        }
    }

    fn give_up(&mut self, fault: &Fault) {
        self.wants.give_up();
        for (_, waiting) in self.waiting.drain() {
            for one in waiting {
                let _ = one.send(Err(fault.clone()));
            }
        }
    }

    /// Leaves what nobody waits for any more.
    fn forget_the_patient(&mut self) {
        let wants = &mut self.wants;
        self.waiting.retain(|cid, waiting| {
            waiting.retain(|one| !one.is_closed());
            if waiting.is_empty() {
                wants.leave(cid);
            }
            !waiting.is_empty()
        });
    }
}

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn gone(link: Option<&Arc<Peer>>) {
    match link {
        Some(peer) => peer.gone.cancelled().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p::identity::Keypair;

    use super::*;
    use crate::blocks::{Block, Codec};
    use crate::limits::Limits;
    use crate::p2p::NodeConfig;

    async fn ask(session: &mpsc::Sender<Request>) -> Result<Block, Fault> {
        let (answer, answered) = oneshot::channel();
        let cid = *Block::new(Codec::Raw, vec![1]).cid();
        session.send(Request { cid, answer }).await.unwrap();
        answered.await.unwrap()
    }

    async fn is_forgotten(node: &Node, peer: &PeerId) -> bool {
        let forgotten = async {
            while node.listens_to(peer) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), forgotten).await.is_ok()
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_peer_that_nobody_asks_any_more() {
        let node = Node::start(NodeConfig {
            key: Keypair::generate_ed25519(),
            listen: None,
            public: Vec::new(),
            limits: Limits::default(),
            given: None,
            afar: None,
            dht: None,
        });
        let node = node.await.unwrap();
        let limits = NetLimits {
            attempts: 1,
            ..NetLimits::default()
        };
        let peer = PeerId::random();
        let start = || {
            // Nobody listens there.
            let at = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
            Session::start(node.clone(), peer, at, limits, CancellationToken::new())
        };
        let first = start();
        assert!(matches!(ask(&first).await, Err(Fault::Failed(_))));
        assert!(node.listens_to(&peer));
        let second = start();
        assert!(matches!(ask(&second).await, Err(Fault::Failed(_))));
        drop(first);
        assert!(!node.listen_no_more(&peer), "the second one listens");
        drop(second);
        assert!(is_forgotten(&node, &peer).await);
    }
}
