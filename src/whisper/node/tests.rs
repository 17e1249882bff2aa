//! Nodes on loopback, and peers that misbehave.

mod control;
mod discovery;
mod durable;
mod hostile;
mod mail;
mod relay;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use secp256k1::SecretKey;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::mailserver::request::MailQuery;
use crate::mailserver::{
    Archived, BoxFuture, ClientError, Delivered, MailClient, MailPeer, MailRequest, Mailserver,
    MailserverConfig, MemoryVault, Requester,
};
use crate::rlpx::socket::{LinkError, PeerLink, connect};
use crate::rlpx::{DisconnectReason, PeerReason};
use crate::time::{Expiry, TimeRange, Ttl, UnixSeconds};
use crate::whisper::keys::SymKey;
use crate::whisper::packet::{Packet, batch_hash, code};
use crate::whisper::peer::PACKET_LIMIT;
use crate::whisper::{Bloom, Envelope, EnvelopeHash, Pow, Topic, Work};

const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

/// Long enough for anything on a busy machine; no test waits for it to pass.
const AT_MOST: Duration = Duration::from_secs(30);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        NOW
    }
}

/// A mailserver whose archive can be held up or made to fail.
struct Gated {
    inner: Mailserver<MemoryVault>,
    gate: Semaphore,
    asked: Semaphore,
    fails: AtomicBool,
    /// Fails what holds this one.
    bad: Mutex<Option<EnvelopeHash>>,
}

impl MailServer for Gated {
    fn archive(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        Box::pin(async move {
            self.asked.add_permits(1);
            let _open = self.gate.acquire().await;
            let bad = *self.bad.lock().unwrap();
            let is_bad = envelopes.iter().any(|e| Some(e.hash()) == bad);
            if is_bad || self.fails.load(Ordering::SeqCst) {
                return Err(ArchiveError::new("store envelopes", "the disk is full"));
            }
            self.inner.archive(envelopes).await
        })
    }

    fn deliver_mail(
        &self,
        peer: Arc<dyn MailPeer>,
        request: MailRequest,
    ) -> BoxFuture<'_, Delivered> {
        self.inner.deliver_mail(peer, request)
    }
}

struct Rig {
    node: NodeHandle,
    mail: Arc<Gated>,
}

impl Rig {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(adjust: impl FnOnce(&mut NodeConfig)) -> Self {
        let mail = Arc::new(Gated {
            inner: Mailserver::new(
                Arc::new(MemoryVault::default()),
                MailserverConfig {
                    password: Some(password()),
                    node_key: None,
                    min_pow: Pow::ZERO,
                    answer_open_requests: true,
                },
                Arc::new(Stopped),
            ),
            gate: Semaphore::new(1),
            asked: Semaphore::new(0),
            fails: AtomicBool::new(false),
            bad: Mutex::default(),
        });
        let mut config = NodeConfig::new(NodeKey::generate());
        config.policy.min_pow = Pow::ZERO;
        adjust(&mut config);
        let server = Arc::clone(&mail) as Arc<dyn MailServer>;
        let node = Node::start(config, server, Arc::new(Stopped))
            .await
            .unwrap();
        Self { node, mail }
    }

    fn enode(&self) -> Enode {
        self.node.enode().unwrap()
    }

    fn archived(&self) -> Vec<EnvelopeHash> {
        let envelopes = self.mail.inner.vault().envelopes();
        envelopes.iter().map(Envelope::hash).collect()
    }

    async fn client(&self) -> MailClient {
        MailClient::connect(&self.enode(), &stranger())
            .await
            .unwrap()
    }
}

fn password() -> SymKey {
    SymKey::new([0x42; 32]).unwrap()
}

fn requester() -> Requester {
    let signer = SecretKey::from_secret_bytes([7; 32]).unwrap();
    Requester::with_password(password(), signer)
}

fn stranger() -> Arc<LocalNode> {
    Arc::new(LocalNode::new(
        NodeKey::generate(),
        "test",
        vec![protocol()],
        0,
    ))
}

fn envelope(topic: [u8; 4], seed: u64) -> Envelope {
    sent_at(NOW, topic, seed)
}

fn sent_at(sent: UnixSeconds, topic: [u8; 4], seed: u64) -> Envelope {
    Envelope::new(
        Expiry::of(sent, Ttl(50)),
        Ttl(50),
        Topic(topic),
        &[7; 200],
        seed,
    )
}

fn hashes<'a>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Vec<EnvelopeHash> {
    let mut hashes: Vec<_> = envelopes.into_iter().map(Envelope::hash).collect();
    hashes.sort();
    hashes
}

fn everything(limit: u32) -> MailQuery {
    MailQuery {
        range: TimeRange::ALL,
        topics: Bloom::FULL,
        limit,
        cursor: None,
        batch: true,
    }
}

/// Waits for something that other tasks bring about.
async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(AT_MOST, waiting).await.is_ok(), "never: {what}");
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(AT_MOST, what).await.expect("an answer")
}

/// A peer that speaks packet by packet.
struct Raw(PeerLink);

impl Raw {
    const OFFSET: u64 = 16;

    /// Connected, nothing said yet.
    async fn connect(rig: &Rig) -> Self {
        Self(soon(connect(&rig.enode(), &stranger())).await.unwrap())
    }

    /// Past the status exchange, having said `status`.
    async fn ready(rig: &Rig, status: Status) -> Self {
        let mut raw = Self::connect(rig).await;
        raw.send(&Packet::Status(status)).await;
        assert!(matches!(raw.recv().await, Ok(Packet::Status(_))));
        raw
    }

    async fn send(&self, packet: &Packet) {
        self.send_bytes(packet.code(), packet.encode()).await;
    }

    async fn send_bytes(&self, code: u8, payload: Bytes) {
        soon(self.0.send(Self::OFFSET + u64::from(code), payload))
            .await
            .unwrap();
    }

    async fn recv(&mut self) -> Result<Packet, LinkError> {
        let message = soon(self.0.recv()).await?;
        let code = u8::try_from(message.code - Self::OFFSET).unwrap();
        Ok(Packet::decode(code, &message.payload).unwrap())
    }

    /// Asks for nothing in particular and waits for the answer, which comes
    /// after everything the node had to say about what was sent before.
    /// Returns what came on the way.
    async fn until_answered(&mut self) -> Result<Vec<Packet>, LinkError> {
        let request = crate::mailserver::request::OpenRequest {
            id: Bytes::new(),
            from: NOW,
            to: NOW,
            limit: 1,
            cursor: Bytes::new(),
            bloom: Bytes::new(),
        };
        self.send_bytes(code::REQUEST, MailRequest::Open(request).encode())
            .await;
        let mut before = Vec::new();
        loop {
            match self.recv().await? {
                Packet::RequestComplete(_) => return Ok(before),
                other => before.push(other),
            }
        }
    }

    /// What the node gives as its reason for leaving.
    async fn farewell(&mut self) -> Option<PeerReason> {
        loop {
            if let Err(error) = self.recv().await {
                return error.peer_reason();
            }
        }
    }
}

fn told(reason: DisconnectReason) -> Option<PeerReason> {
    Some(PeerReason::Known(reason))
}
