//! The server that is attacked, and the honest peer beside the attack.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gwa::limits::{Limits, Reason};
use gwa::mailserver::request::{MailQuery, OpenRequest};
use gwa::mailserver::{
    MailClient, MailRequest, MailServer, Mailserver, MailserverConfig, MemoryVault, Requester,
};
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::{Enode, NodeId, NodeKey};
use gwa::time::{Clock, Expiry, TimeRange, Ttl, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::mining::Target;
use gwa::whisper::node::{Node, NodeConfig, NodeHandle, protocol};
use gwa::whisper::{Bloom, Envelope, Pow, Topic};
use serde_json::Value;
use tokio::time::{sleep, timeout};

/// What the server's clock shows at first.
pub const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

/// What an honest peer waits at most: a promise of the server.
const PROMPTLY: Duration = Duration::from_secs(2);

/// Long enough for anything on a busy machine.
const AT_MOST: Duration = Duration::from_secs(90);

/// The key of the recorded handshakes that are replayed here.
const SERVER_KEY: &str = "e8a72e1d635b5f28b4d012f0408d4c239b800306d6094ca89392804f1a6a665c";

/// Envelopes archived when the server starts: so many bytes that nobody who does
/// not read can be sent them.
const ARCHIVED: u32 = 2_000;

/// A clock that is set by hand.
pub struct Hand(AtomicU32);

impl Hand {
    pub fn set(&self, now: u32) {
        self.0.store(now, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

/// The server and what is known of it.
pub struct World {
    pub node: NodeHandle,
    pub clock: Arc<Hand>,
}

impl World {
    /// A server on loopback that asks for the work geth asks for, with limits as
    /// they are by default.
    pub async fn start() -> Arc<Self> {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Arc<Self> {
        let clock = Arc::new(Hand(AtomicU32::new(NOW.0)));
        let mail = Mailserver::new(
            Arc::new(MemoryVault::default()),
            MailserverConfig {
                password: Some(password()),
                node_key: None,
                min_pow: mail_pow(),
                answer_open_requests: true,
            },
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        let old = (0..ARCHIVED).map(|n| {
            let sent = UnixSeconds(1_500_000_000 + n);
            let expiry = Expiry::of(sent, Ttl(50));
            Envelope::new(expiry, Ttl(50), Topic([1, 2, 3, 4]), &noise(n), 0)
        });
        mail.archive(old.collect()).await.unwrap();
        let mut config = NodeConfig::new(server_key());
        config.policy.min_pow = Pow::new(0.2).unwrap();
        config.limits = limits;
        let node = Node::start(config, Arc::new(mail), Arc::clone(&clock) as Arc<dyn Clock>)
            .await
            .unwrap();
        Arc::new(Self { node, clock })
    }

    pub fn address(&self) -> SocketAddr {
        self.node.control().local_addr().unwrap()
    }

    pub fn id(&self) -> NodeId {
        server_key().id()
    }

    pub fn enode(&self) -> Enode {
        Enode::new(self.id(), self.address())
    }

    /// An honest peer connects, asks for mail and gets it, in time.
    pub async fn honest(&self, after: &str) {
        let asking = async {
            let mut client = MailClient::connect(&self.enode(), &stranger())
                .await
                .unwrap_or_else(|error| panic!("an honest peer after `{after}`: {error}"));
            let query = MailQuery {
                range: TimeRange::ALL,
                topics: Bloom::FULL,
                limit: 10,
                cursor: None,
                batch: true,
            };
            let answer = client.request(query, &requester(), NOW).await;
            answer.map(|answer| answer.envelopes.len())
        };
        match timeout(PROMPTLY, asking).await {
            Err(_) => panic!("an honest peer waits after `{after}`"),
            Ok(answer) => assert_eq!(answer.unwrap(), 10, "after `{after}`"),
        }
    }

    /// Waits until the ledger says that `peer` was dropped, and gives its reason.
    pub async fn dropped(&self, peer: &NodeId) -> Reason {
        let name = hex::encode(peer.0);
        soon(async {
            loop {
                let drops = self.node.control().drops();
                let of_peer = drops
                    .iter()
                    .filter(|drop| drop.peer.as_ref() == Some(&name));
                // Refusing a request drops nobody.
                let refusals = [Reason::RequestRate, Reason::AnswerBudget];
                let mut reasons = of_peer.map(|drop| drop.reason);
                if let Some(reason) = reasons.find(|reason| !refusals.contains(reason)) {
                    return reason;
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// How often the ledger has `reason`.
    pub fn dropped_for(&self, reason: Reason) -> u64 {
        let counts = self.node.control().drop_counts();
        let count = counts.iter().find(|count| count.reason == reason);
        count.map_or(0, |count| count.count)
    }
}

/// Eight thousand bytes that do not compress.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let word = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    });
    word.take(1_000).flatten().collect()
}

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(AT_MOST, what).await.expect("a reaction")
}

pub fn server_key() -> NodeKey {
    SERVER_KEY.parse().unwrap()
}

pub fn password() -> SymKey {
    SymKey::new([0x42; 32]).unwrap()
}

pub fn signer() -> secp256k1::SecretKey {
    secp256k1::SecretKey::from_secret_bytes([7; 32]).unwrap()
}

/// The work asked of requests: little, because hundreds are made here.
pub fn mail_pow() -> Pow {
    Pow::new(0.0001).unwrap()
}

fn requester() -> Requester {
    let mut requester = Requester::with_password(password(), signer());
    requester.work = Target::Both(mail_pow());
    requester
}

/// A node with a key of its own.
pub fn stranger() -> Arc<LocalNode> {
    node_of(NodeKey::generate())
}

pub fn node_of(key: NodeKey) -> Arc<LocalNode> {
    Arc::new(LocalNode::new(key, "test", vec![protocol()], 0))
}

/// A request without encryption for one envelope.
pub fn open_request(id: u8) -> OpenRequest {
    OpenRequest {
        id: vec![id; 32].into(),
        from: UnixSeconds(0),
        to: NOW,
        limit: 1,
        cursor: Bytes::new(),
        bloom: Bloom::FULL.0.to_vec().into(),
    }
}

pub fn payload_of(request: OpenRequest) -> Bytes {
    MailRequest::Open(request).encode()
}

/// A fixture of the wire, by its name.
pub fn fixture(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/wire")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn bytes_of(text: &Value) -> Vec<u8> {
    hex::decode(text.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}
