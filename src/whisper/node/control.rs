//! What others may ask of a running node.
//!
//! Always true: a control keeps nothing alive. When its node has ended, peers
//! are gone, and what is posted is still archived by the mailserver it had.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

use tokio::sync::{broadcast, mpsc};

use crate::discovery::Discovery;
use crate::limits::{DropCount, Dropped};
use crate::mailserver::{Archived, MailRequest};
use crate::rlpx::{DisconnectReason, Enode, NodeId};
use crate::time::UnixSeconds;
use crate::whisper::admission::{MAX_MESSAGE_SIZE, Verdict};
use crate::whisper::node::dial::Dialling;
use crate::whisper::node::orders::{Line, Order};
use crate::whisper::node::{
    CounterValues, NodeEvent, PeerActivity, PeerInfo, PeerTraffic, PostError, Shared, ingest,
};
use crate::whisper::packet::Packet;
use crate::whisper::rules::Rules;
use crate::whisper::{Bloom, Envelope, Pow};

/// The peer asked for is not connected, or has not introduced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Could not find peer with ID: {}", hex::encode(.0.hash()))]
pub struct NoSuchPeer(pub NodeId);

/// A size of messages that this node cannot be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message size too large [{asked}>{most}]")]
pub struct SizeError {
    /// What was asked for.
    pub asked: usize,
    /// The most there may be: what the archive behind the node can keep.
    pub most: usize,
}

/// A handle to a running node, cheap to copy.
#[derive(Clone)]
pub struct NodeControl {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    dial: mpsc::UnboundedSender<Dialling>,
    discovery: Option<Discovery>,
}

impl NodeControl {
    pub(super) fn new(
        shared: Arc<Shared>,
        address: Option<SocketAddr>,
        dial: mpsc::UnboundedSender<Dialling>,
        discovery: Option<Discovery>,
    ) -> Self {
        Self {
            shared,
            address,
            dial,
            discovery,
        }
    }

    /// The node's identity.
    pub fn id(&self) -> NodeId {
        self.shared.local.key().id()
    }

    /// What the node calls itself.
    pub fn name(&self) -> String {
        self.shared.local.hello().client()
    }

    /// Where it accepts connections, if it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// By what others reach it, if it accepts connections.
    pub fn enode(&self) -> Option<Enode> {
        let address = self.address?;
        let external = self.external_ip().unwrap_or(address.ip());
        let address = SocketAddr::new(external, address.port());
        Some(Enode::new(self.id(), address))
    }

    /// The address others reach this node by, if it is known to be another than
    /// the one it listens at.
    pub fn external_ip(&self) -> Option<IpAddr> {
        let ip = self.shared.external_ip.lock();
        *ip.unwrap_or_else(PoisonError::into_inner)
    }

    /// It has become known by which address others reach this node.
    pub fn set_external_ip(&self, external: IpAddr) {
        {
            let ip = self.shared.external_ip.lock();
            *ip.unwrap_or_else(PoisonError::into_inner) = Some(external);
        }
        if let Some(discovery) = &self.discovery {
            discovery.set_ip(external);
        }
    }

    /// How many nodes discovery knows; `None` where it is off.
    pub fn discovered(&self) -> Option<usize> {
        self.discovery.as_ref().map(Discovery::known)
    }

    /// What time the node has.
    pub fn now(&self) -> UnixSeconds {
        self.shared.clock.now()
    }

    /// The peers connected now.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.registry.list()
    }

    /// The peers connected now, and what their connections carried.
    pub fn activity(&self) -> Vec<PeerActivity> {
        self.shared.registry.activity()
    }

    /// How many peers dialled us, and how many we dialled.
    pub fn peers_by_direction(&self) -> (usize, usize) {
        self.shared.registry.by_direction()
    }

    /// What all connections carried so far, those that have ended too.
    pub fn carried(&self) -> PeerTraffic {
        self.shared.registry.carried()
    }

    /// Who was dropped or refused lately, and why; newest first.
    pub fn drops(&self) -> Vec<Dropped> {
        self.shared.guard.drops()
    }

    /// How often somebody was dropped or refused, by reason.
    pub fn drop_counts(&self) -> Vec<DropCount> {
        self.shared.guard.counts()
    }

    /// Peers at a time, beside those meant to stay.
    pub fn max_peers(&self) -> usize {
        self.shared.max_peers
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

    /// What the node asks of envelopes.
    pub fn rules(&self) -> Rules {
        *self.shared.rules()
    }

    /// Listens to what happens from now on. A listener that falls behind by
    /// [`EVENTS`](super::EVENTS) events is told how many it missed.
    pub fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.shared.events.listen()
    }

    /// Stays connected with `peer` from now on.
    pub fn add_peer(&self, peer: Enode) {
        // The dialling task ends only with the node.
        let _ = self.dial.send(Dialling::Stay(peer));
    }

    /// Does not stay connected with a peer any more, and drops it.
    pub fn remove_peer(&self, id: NodeId) {
        let _ = self.dial.send(Dialling::Forget(id));
        if let Some(line) = self.shared.lines.to(&id) {
            line.give(Order::Disconnect(DisconnectReason::Requested));
        }
    }

    /// Gives a peer a seat whatever their number from now on. That is trust in
    /// the sense of devp2p alone: see [`trust`](Self::trust) for mail.
    pub fn reserve_seat(&self, id: NodeId) {
        self.shared.registry.reserve(id);
    }

    /// Whether a peer gets a seat whatever their number.
    pub fn has_reserved_seat(&self, id: &NodeId) -> bool {
        self.shared.registry.is_reserved(id)
    }

    /// Archives an envelope and passes it on, as if a peer had sent it.
    /// Resolves when it is durable.
    pub async fn post(&self, envelope: Envelope) -> Result<Archived, PostError> {
        let now = self.now();
        let policy = self.shared.rules().policy(now);
        let admitted = match policy.judge(envelope, now) {
            Verdict::Admitted(admitted) => admitted,
            Verdict::Stale => return Err(PostError::Expired),
            Verdict::Refused(refusal) => return Err(refusal.into()),
        };
        Ok(ingest::store(&self.shared, vec![admitted]).await?)
    }

    /// Accepts mail from a peer, for as long as it stays connected: packets
    /// sent directly, and the end of answers to mail requests.
    pub async fn trust(&self, id: &NodeId) -> Result<(), NoSuchPeer> {
        self.trusted_line(id).await.map(drop)
    }

    /// Sends envelopes to one peer alone, which takes them if it trusts this
    /// node. Each travels in a packet of its own, as geth expects.
    pub async fn send_p2p(&self, id: &NodeId, envelopes: Vec<Envelope>) -> Result<(), NoSuchPeer> {
        let line = self.line(id)?;
        for envelope in envelopes {
            self.send(&line, id, &Packet::P2pMessage(vec![envelope]))
                .await?;
        }
        Ok(())
    }

    /// Asks a peer for mail, and trusts it: the answer comes as events.
    pub async fn request_mail(&self, id: &NodeId, request: &MailRequest) -> Result<(), NoSuchPeer> {
        let line = self.trusted_line(id).await?;
        self.send(&line, id, &Packet::Request(request.encode()))
            .await
    }

    /// Asks for this much work from now on, and tells the peers.
    pub fn set_min_pow(&self, pow: Pow) {
        let now = self.now();
        self.shared
            .change_rules(|rules| rules.set_min_pow(pow, now));
        self.tell_all(&Packet::PowRequirement(pow));
    }

    /// Asks for these topics from now on, and tells the peers.
    pub fn set_bloom(&self, bloom: Bloom) {
        let now = self.now();
        self.shared
            .change_rules(|rules| rules.set_bloom(bloom, now));
        self.tell_all(&Packet::BloomFilter(bloom));
    }

    /// Asks for these topics, too. A node that asks for everything goes on to.
    pub fn want_topics(&self, bloom: Bloom) {
        let wanted = self.shared.rules().bloom();
        if !wanted.contains(&bloom) {
            self.set_bloom(wanted.union(&bloom));
        }
    }

    /// Forwards nothing but its own envelopes from now on, or everything. Only
    /// peers that connect from now on are told: no packet says it to others.
    pub fn set_light(&self, light: bool) {
        self.shared.change_rules(|rules| rules.set_light(light));
        for line in self.shared.lines.all() {
            line.give(Order::Light(light));
        }
    }

    /// Takes messages (20 + data) up to this size from now on.
    pub fn set_max_message_size(&self, size: usize) -> Result<(), SizeError> {
        let most = self.shared.message_size_limit.min(MAX_MESSAGE_SIZE);
        if size > most {
            return Err(SizeError { asked: size, most });
        }
        self.shared
            .change_rules(|rules| rules.set_max_message_size(size));
        Ok(())
    }

    fn tell_all(&self, packet: &Packet) {
        for line in self.shared.lines.all() {
            // A peer that takes no orders is stuck, and learns nothing anyway.
            line.give(Order::Say(packet.clone()));
        }
    }

    fn line(&self, id: &NodeId) -> Result<Line, NoSuchPeer> {
        self.shared.lines.to(id).ok_or(NoSuchPeer(*id))
    }

    /// The line to a peer, once it is trusted.
    async fn trusted_line(&self, id: &NodeId) -> Result<Line, NoSuchPeer> {
        let line = self.line(id)?;
        if line.trust().await {
            Ok(line)
        } else {
            Err(NoSuchPeer(*id))
        }
    }

    async fn send(&self, line: &Line, id: &NodeId, packet: &Packet) -> Result<(), NoSuchPeer> {
        if line.send(packet).await {
            Ok(())
        } else {
            Err(NoSuchPeer(*id))
        }
    }
}

impl std::fmt::Debug for NodeControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeControl")
            .field("id", &self.id())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
