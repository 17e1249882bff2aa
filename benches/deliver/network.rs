//! Answers over real RLPx links on the loopback.
//!
//! The client here decrypts and checks each frame and counts what is in it; it
//! does not hash envelopes, as a probe of the server alone. `client` is a whole
//! [`MailClient`], which does.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_rlp::Header;
use bytes::Bytes;
use gwa::archive::disk::Archive;
use gwa::archive::testing::Synthetic;
use gwa::limits::Limits;
use gwa::mailserver::request::{ListForm, MailQuery};
use gwa::mailserver::response::Completion;
use gwa::mailserver::{Cursor, MailClient, Mailserver, MailserverConfig, Requester};
use gwa::node::vault::ArchiveVault;
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::socket::{self, PeerLink};
use gwa::rlpx::{Enode, NodeKey};
use gwa::time::{Clock, Expiry, SystemClock, Ttl};
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{MessageRandom, Reader, seal};
use gwa::whisper::node::{Node, NodeConfig, NodeHandle, protocol};
use gwa::whisper::packet::{Packet, code};
use gwa::whisper::status::Status;
use gwa::whisper::{Bloom, Envelope, Pow, Topic};
use secp256k1::SecretKey;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Case, LIMIT, RUNS, Read, Sent, TOPICS, days, quantile};

/// Clients at once.
const CLIENTS: usize = 50;
/// Requests whose times make the quantiles of one topic of one day.
const REQUESTS: u32 = 300;
/// Bytes of a packet on the link alone: as in an answer.
const PACKET: usize = 128 << 10;
/// Ranks of topics that are told apart: hot up to the first, mid up to the
/// second, rare beyond.
const CLASSES: [(&str, u32); 3] = [("hot", 10), ("mid", 100), ("rare", TOPICS)];
/// Where Whisper's codes begin on a link that shares nothing else.
const OFFSET: u64 = 16;

/// Runs everything over links.
pub fn run(
    archive: &Arc<Archive>,
    traffic: &Synthetic,
    cases: &[Case],
    pages: &[Read],
) -> Vec<Sent> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started");
    runtime.block_on(async {
        let server = Server::start(archive).await;
        let mut sent = Vec::new();
        for (case, read) in cases.iter().zip(pages) {
            // Where nothing is found, an answer is one small packet.
            let bytes = usize::try_from(read.bytes.max(1)).expect("it was in memory");
            let link = raw_link(&case.name, bytes).await;
            let answer = one_client(&server, case, traffic).await;
            sent.push(Sent { answer, link });
        }
        topics_of_days(&server, traffic).await;
        for case in cases {
            many_clients(&server, case, traffic).await;
        }
        server.node.shutdown().await;
        sent
    })
}

fn password() -> SymKey {
    SymKey::new([7; 32]).expect("it is not zero")
}

struct Server {
    node: NodeHandle,
    enode: Enode,
}

impl Server {
    async fn start(archive: &Arc<Archive>) -> Self {
        let config = MailserverConfig {
            password: Some(password()),
            node_key: None,
            min_pow: Pow::ZERO,
            answer_open_requests: true,
        };
        let vault = Arc::new(ArchiveVault::new(Arc::clone(archive)));
        let mail = Mailserver::new(vault, config, Arc::new(SystemClock));
        let node = NodeConfig {
            limits: Limits {
                max_peers: NonZeroUsize::new(2 * CLIENTS).expect("there are clients"),
                ..Limits::default()
            },
            ..NodeConfig::new(key())
        };
        let node = Node::start(node, Arc::new(mail), Arc::new(SystemClock)).await;
        let node = node.expect("the loopback has free ports");
        let enode = node.enode().expect("it listens");
        Self { node, enode }
    }
}

fn key() -> NodeKey {
    /// Keys are never used twice: a server may take a while to see that a client
    /// has left, and does not seat the same one again until then.
    static USED: AtomicU64 = AtomicU64::new(0);
    let number = USED.fetch_add(1, Ordering::Relaxed) + 1;
    let mut secret = [0; 32];
    secret[24..].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_secret_bytes(&secret).expect("a small number is a key")
}

fn local(key: NodeKey) -> Arc<LocalNode> {
    Arc::new(LocalNode::new(key, "bench", vec![protocol()], 0))
}

/// What an answer was, and how long it took.
#[derive(Default)]
struct Answered {
    envelopes: u64,
    bytes: u64,
    next: Option<Cursor>,
}

/// A client that counts and keeps nothing.
struct Probe(PeerLink);

impl Probe {
    async fn connect(server: &Server) -> Self {
        let link = socket::connect(&server.enode, &local(key())).await;
        let link = link.expect("the server is there");
        let status = Packet::Status(Status {
            pow: Pow::ZERO,
            bloom: Some(Bloom::EMPTY),
            light: false,
            confirmations: Some(false),
        });
        link.send(OFFSET, status.encode())
            .await
            .expect("the server is there");
        Self(link)
    }

    async fn ask(&mut self, query: &MailQuery) -> Answered {
        let signer = SecretKey::from_secret_bytes([9; 32]).expect("a small number is a key");
        let key = password();
        let data = seal(
            &query.encode(ListForm::Six),
            Some(&signer),
            Reader::Holders(&key),
            &MessageRandom::draw(),
        )
        .expect("a query is short");
        let ttl = Ttl(50);
        let expiry = Expiry::of(SystemClock.now(), ttl);
        let request = Envelope::new(expiry, ttl, Topic::default(), &data, 0);
        self.0
            .send(OFFSET + u64::from(code::REQUEST), request.rlp().clone())
            .await
            .expect("the server is there");
        let mut answered = Answered::default();
        loop {
            let message = self.0.recv().await.expect("the server answers");
            match u8::try_from(message.code - OFFSET).expect("codes are below 256") {
                code::P2P_MESSAGE => {
                    answered.envelopes += envelopes_in(&message.payload);
                    answered.bytes += message.payload.len() as u64;
                }
                code::REQUEST_COMPLETE => {
                    let Ok(Packet::RequestComplete(payload)) =
                        Packet::decode(code::REQUEST_COMPLETE, &message.payload)
                    else {
                        panic!("a completion is a string")
                    };
                    match Completion::decode(&payload).expect("it is a completion") {
                        Completion::Done { next, .. } => answered.next = next,
                        Completion::Failed { message, .. } => panic!("{message}"),
                    }
                    return answered;
                }
                _ => {}
            }
        }
    }

    /// Asks until nothing follows.
    async fn ask_all(&mut self, mut query: MailQuery) -> Answered {
        let mut all = Answered::default();
        loop {
            let answered = self.ask(&query).await;
            all.envelopes += answered.envelopes;
            all.bytes += answered.bytes;
            match answered.next {
                Some(next) => query.cursor = Some(next),
                None => return all,
            }
        }
    }
}

/// Counts by the lengths alone.
fn envelopes_in(payload: &Bytes) -> u64 {
    let mut items = Header::decode_bytes(&mut &payload[..], true).expect("it is a list");
    if items.first().is_some_and(|first| *first < 0xc0) {
        return 1;
    }
    let mut count = 0;
    while !items.is_empty() {
        Header::decode_bytes(&mut items, true).expect("it is a list of lists");
        count += 1;
    }
    count
}

fn query(case: &Case, traffic: &Synthetic, limit: u32) -> MailQuery {
    MailQuery {
        range: case.range,
        topics: case.bloom(traffic),
        limit,
        cursor: None,
        batch: true,
    }
}

/// What the link alone does: the same packets, made beforehand.
async fn raw_link(case: &str, bytes: usize) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = key();
    let enode = Enode::new(server.id(), listener.local_addr().expect("it listens"));
    let mut seed = 1u64;
    let payload: Bytes = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    })
    .take(PACKET.min(bytes).div_ceil(8))
    .flatten()
    .collect();
    let packets = bytes.div_ceil(payload.len());
    let sending = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the client dials");
        let link = socket::accept(stream, &local(server))
            .await
            .expect("it shakes hands");
        for _ in 0..RUNS * packets {
            link.send(OFFSET, payload.clone()).await.expect("it reads");
        }
        link
    });
    let mut link = socket::connect(&enode, &local(key()))
        .await
        .expect("it accepts");
    let mut took = Vec::new();
    let mut received = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        received = 0;
        for _ in 0..packets {
            received += link.recv().await.expect("it sends").payload.len();
        }
        took.push(start.elapsed());
    }
    let name = format!("link alone {case}");
    report(&name, packets as u64, received as u64, &mut took[1..]);
    drop(sending.await);
    quantile(&mut took[1..], 50)
}

async fn one_client(server: &Server, case: &Case, traffic: &Synthetic) -> Duration {
    let mut probe = Probe::connect(server).await;
    let mut took = Vec::new();
    let mut answered = Answered::default();
    for _ in 0..RUNS {
        let start = Instant::now();
        answered = probe.ask_all(query(case, traffic, LIMIT)).await;
        took.push(start.elapsed());
    }
    let name = format!("answer {}", case.name);
    report(&name, answered.envelopes, answered.bytes, &mut took);
    let answer = quantile(&mut took, 50);

    let mut client = MailClient::connect(&server.enode, &local(key()))
        .await
        .expect("the server is there");
    let signer = SecretKey::from_secret_bytes([9; 32]).expect("a small number is a key");
    let requester = Requester::with_password(password(), signer);
    let mut took = Vec::new();
    let mut found = 0;
    let now = SystemClock.now();
    for _ in 0..2 {
        let start = Instant::now();
        let all = client
            .request_all(query(case, traffic, LIMIT), &requester, now)
            .await;
        found = all.expect("the server answers").len();
        took.push(start.elapsed());
    }
    assert_eq!(found as u64, answered.envelopes);
    let name = format!("client {}", case.name);
    report(&name, answered.envelopes, answered.bytes, &mut took);
    client.close().await;
    answer
}

/// One topic of one day, of all days: asked for as often as it is written to,
/// which is Zipf's law, and with ranks spread by logarithm, as many of the first
/// ten as of the last thousand.
async fn topics_of_days(server: &Server, traffic: &Synthetic) {
    let by_traffic = (0..REQUESTS).map(|n| {
        let envelope = traffic.envelope(u64::from(n) * 7_919 % traffic.count());
        let rank = (0..TOPICS).find(|rank| traffic.topic(*rank) == envelope.topic());
        rank.expect("it has a rank")
    });
    topics_of_ranks("by traffic", server, traffic, by_traffic).await;
    let by_logarithm = (0..REQUESTS).map(|n| {
        let share = f64::from(n) / f64::from(REQUESTS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (f64::from(TOPICS).powf(share) - 1.0) as u32;
        rank
    });
    topics_of_ranks("by logarithm", server, traffic, by_logarithm).await;
}

async fn topics_of_ranks(
    how: &str,
    server: &Server,
    traffic: &Synthetic,
    ranks: impl Iterator<Item = u32>,
) {
    let mut probe = Probe::connect(server).await;
    let mut took = Vec::new();
    for (n, rank) in (0..).zip(ranks) {
        let case = Case {
            name: String::new(),
            rank: Some(rank),
            range: days((n * 7) % 30, 1),
        };
        let start = Instant::now();
        probe.ask_all(query(&case, traffic, LIMIT)).await;
        took.push((rank, start.elapsed()));
    }
    let mut from = 0;
    let classes = CLASSES.map(|(name, to)| {
        let class = (name, from..to);
        from = to;
        class
    });
    for (class, ranks) in [("all", 0..TOPICS)].into_iter().chain(classes) {
        let of_class = took.iter().filter(|(rank, _)| ranks.contains(rank));
        let mut of_class: Vec<Duration> = of_class.map(|(_, took)| *took).collect();
        if of_class.is_empty() {
            continue;
        }
        println!(
            "{{\"work\":\"one topic of a day, {how}\",\"ranks\":\"{class}\",\"asked\":{},\"p50_micros\":{},\"p95_micros\":{},\"max_micros\":{}}}",
            of_class.len(),
            quantile(&mut of_class, 50).as_micros(),
            quantile(&mut of_class, 95).as_micros(),
            quantile(&mut of_class, 100).as_micros(),
        );
    }
}

/// Each client asks for one answer, all at once.
async fn many_clients(server: &Server, case: &Case, traffic: &Synthetic) {
    let mut clients = JoinSet::new();
    let barrier = Arc::new(tokio::sync::Barrier::new(CLIENTS));
    for _ in 0..CLIENTS {
        let mut probe = Probe::connect(server).await;
        let query = query(case, traffic, LIMIT);
        let barrier = Arc::clone(&barrier);
        clients.spawn(async move {
            barrier.wait().await;
            let start = Instant::now();
            let answered = probe.ask(&query).await;
            (start.elapsed(), answered)
        });
    }
    let start = Instant::now();
    let done = clients.join_all().await;
    let all = start.elapsed();
    let (mut took, answers): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    let bytes: u64 = answers.iter().map(|a| a.bytes).sum();
    println!(
        "{{\"work\":\"{CLIENTS} clients {}\",\"found_each\":{},\"p50_micros\":{},\"p95_micros\":{},\"all_micros\":{},\"mb_per_second\":{:.0}}}",
        case.name,
        answers[0].envelopes,
        quantile(&mut took, 50).as_micros(),
        quantile(&mut took, 95).as_micros(),
        all.as_micros(),
        rate(bytes, all),
    );
}

fn report(work: &str, found: u64, bytes: u64, took: &mut [Duration]) {
    let first = took[0];
    let median = quantile(took, 50);
    println!(
        "{{\"work\":\"{work}\",\"found\":{found},\"bytes\":{bytes},\"first_micros\":{},\"micros\":{},\"mb_per_second\":{:.0}}}",
        first.as_micros(),
        median.as_micros(),
        rate(bytes, median),
    );
}

#[expect(clippy::cast_precision_loss)]
fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}
