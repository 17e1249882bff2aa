//! Fifty clients page through an archive to the end, while envelopes come, and
//! seals and sweeps run: each gets exactly what it asked for.
//!
//! `GWA_DELIVERY_ENVELOPES` says how many are stored, 20,000 unless told
//! otherwise. A month of 2,000 topics, popular as Zipf's law says.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gwa::archive::disk::{Archive, Stop};
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::mailserver::request::{ListForm, MailQuery};
use gwa::mailserver::response::Completion;
use gwa::mailserver::{
    BoxFuture, Cursor, Delivered, MailPeer, MailRequest, MailServer, Mailserver, MailserverConfig,
    PeerGone,
};
use gwa::node::vault::ArchiveVault;
use gwa::progress::Quiet;
use gwa::rlpx::NodeId;
use gwa::time::{Clock, DAY, Expiry, TimeRange, Ttl, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{MessageRandom, Reader, seal};
use gwa::whisper::packet::{Packet, list_packet_len};
use gwa::whisper::peer::PACKET_LIMIT;
use gwa::whisper::{Bloom, Envelope, EnvelopeHash, Pow, Topic};
use secp256k1::SecretKey;

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
const DAYS: u32 = 30;
const TOPICS: u32 = 2_000;
const CLIENTS: usize = 50;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(FROM + DAYS * DAY)
    }
}

/// A client that collects what it is sent.
#[derive(Default)]
struct Client {
    received: Mutex<Vec<Packet>>,
}

impl MailPeer for Client {
    fn id(&self) -> NodeId {
        NodeId([7; 64])
    }

    fn send(&self, packet: Packet) -> BoxFuture<'_, Result<(), PeerGone>> {
        self.received.lock().unwrap().push(packet);
        Box::pin(async { Ok(()) })
    }
}

type Place = (UnixSeconds, EnvelopeHash);

fn place(envelope: &Envelope) -> Place {
    (envelope.sent(), envelope.hash())
}

fn key() -> SymKey {
    SymKey::new([7; 32]).unwrap()
}

fn sealed(query: &MailQuery) -> MailRequest {
    let signer = SecretKey::from_secret_bytes([9; 32]).unwrap();
    let key = key();
    let reader = Reader::Holders(&key);
    let data = seal(
        &query.encode(ListForm::Six),
        Some(&signer),
        reader,
        &MessageRandom::draw(),
    )
    .unwrap();
    let ttl = Ttl(50);
    let expiry = Expiry::of(Stopped.now(), ttl);
    MailRequest::Sealed(Envelope::new(expiry, ttl, Topic::default(), &data, 0))
}

/// One answer: what came, and where it leads.
async fn ask(server: &Mailserver<ArchiveVault>, query: &MailQuery) -> (Vec<Place>, Option<Cursor>) {
    let client = Arc::new(Client::default());
    let delivered = server.deliver_mail(client.clone(), sealed(query)).await;
    let mut received = std::mem::take(&mut *client.received.lock().unwrap());
    let Some(Packet::RequestComplete(completion)) = received.pop() else {
        panic!("an answer ends with a completion")
    };
    let Completion::Done { last, next, .. } = Completion::decode(&completion).unwrap() else {
        panic!("an answer without fault")
    };
    let mut places = Vec::new();
    for packet in received {
        let Packet::P2pMessage(envelopes) = packet else {
            panic!("nothing but mail before the completion")
        };
        assert!(query.batch || envelopes.len() == 1);
        let bytes = envelopes.iter().map(|e| e.rlp().len()).sum();
        assert!(list_packet_len(bytes) <= PACKET_LIMIT);
        for envelope in &envelopes {
            // Its hash is the one its bytes have, wherever it was taken from.
            assert_eq!(Envelope::decode(envelope.rlp()).unwrap(), *envelope);
            places.push(place(envelope));
        }
    }
    let Delivered::Served(cost) = delivered else {
        panic!("{delivered:?}")
    };
    assert_eq!(cost.envelopes, places.len() as u64);
    assert_eq!(last, places.last().map(|(_, hash)| *hash));
    assert!(places.len() <= query.limit as usize);
    if let Some(next) = next {
        assert_eq!(Some(&(next.sent, next.hash)), places.last());
    }
    (places, next)
}

/// Everything that cursors lead to, ascending.
async fn walk(server: &Mailserver<ArchiveVault>, mut query: MailQuery) -> Vec<Place> {
    let mut all: Vec<Place> = Vec::new();
    loop {
        let (places, next) = ask(server, &query).await;
        // A cursor is given exactly if more follows.
        assert!(all.is_empty() || !places.is_empty());
        all.extend(places);
        match next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    assert!(
        all.windows(2).all(|pair| pair[0] < pair[1]),
        "ascending, once each"
    );
    all
}

fn wanted<'a>(all: &'a [Envelope], query: &MailQuery) -> impl Iterator<Item = Place> + 'a {
    let (range, topics) = (query.range, query.topics);
    let is_wanted = move |e: &&Envelope| range.contains(e.sent()) && topics.matches(e.topic());
    all.iter().filter(is_wanted).map(place)
}

/// What client `n` asks for: a day, a topic of a day, of the month, several
/// topics, with limits from one to ten thousand.
fn query_of(n: usize, traffic: &Synthetic) -> MailQuery {
    let days = |first: u32, count: u32| {
        let from = FROM + first * DAY;
        TimeRange::new(UnixSeconds(from), UnixSeconds(from + count * DAY - 1)).unwrap()
    };
    let topic = |rank| Bloom::of_topic(traffic.topic(rank));
    let day = u32::try_from(n % 28).unwrap();
    let (range, topics, limit) = match n % 7 {
        0 => (days(day, 1), Bloom::FULL, 100),
        1 => (days(day, 1), topic(0), 7),
        2 => (days(0, DAYS), topic(30), 10),
        3 => (days(0, DAYS), topic(1_900), 1),
        4 => (days(day, 3), topic(1) | topic(5) | topic(700), 1_000),
        5 => (days(day, 1), topic(2), 1),
        _ => {
            let until_the_end = TimeRange::new(UnixSeconds(FROM + 20 * DAY), UnixSeconds::MAX);
            (until_the_end.unwrap(), Bloom::FULL, 10_000)
        }
    };
    MailQuery {
        range,
        topics,
        limit,
        cursor: None,
        batch: !n.is_multiple_of(3),
    }
}

#[test]
fn fifty_clients_get_exactly_what_they_ask_for_while_the_archive_changes() {
    let count =
        std::env::var("GWA_DELIVERY_ENVELOPES").map_or(20_000, |count| count.parse().unwrap());
    let traffic = Synthetic::new(5, count, TOPICS, UnixSeconds(FROM), DAYS * DAY);
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let archive = Arc::new(Archive::init(&root.path().join("archive"), "").unwrap());

    // Nine of ten are sealed; every tenth comes later, late for its day.
    let is_late = |n: &u64| n % 10 == 3;
    let (late, early): (Vec<u64>, Vec<u64>) = (0..count).partition(is_late);
    let mut all = Vec::new();
    let end = UnixSeconds(FROM + (DAYS - 1) * DAY + 13 * 3_600 + 1_500);
    for some in early.chunks(2_000) {
        let some: Vec<_> = some.iter().map(|n| traffic.envelope(*n)).collect();
        archive.append(&some).unwrap();
        all.extend(some);
    }
    let watermark = Watermark::new(end).unwrap();
    archive.seal(watermark, end, &Quiet).unwrap();
    let held: HashSet<Place> = all.iter().map(place).collect();
    let late: Vec<Envelope> = late.into_iter().map(|n| traffic.envelope(n)).collect();
    all.extend(late.iter().cloned());
    all.sort_by_key(place);

    let server = Mailserver::new(
        Arc::new(ArchiveVault::new(Arc::clone(&archive))),
        MailserverConfig {
            password: Some(key()),
            node_key: None,
            min_pow: Pow::ZERO,
            answer_open_requests: true,
        },
        Arc::new(Stopped),
    );
    let (server, all, traffic) = (Arc::new(server), Arc::new(all), Arc::new(traffic));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clients = |settled: bool| {
        let mut clients = tokio::task::JoinSet::new();
        for n in 0..CLIENTS {
            let (server, all, traffic) = (server.clone(), all.clone(), traffic.clone());
            let held = held.clone();
            clients.spawn_on(
                async move {
                    let query = query_of(n, &traffic);
                    let got = walk(&server, query).await;
                    let wanted: Vec<Place> = wanted(&all, &query).collect();
                    if settled {
                        assert_eq!(got, wanted, "client {n}");
                        return;
                    }
                    // What was there is there; what came meanwhile may be.
                    let got: HashSet<_> = got.into_iter().collect();
                    let wanted: HashSet<_> = wanted.into_iter().collect();
                    assert!(got.is_subset(&wanted), "client {n}");
                    let missing = wanted.iter().find(|p| held.contains(p) && !got.contains(p));
                    assert_eq!(missing, None, "client {n}");
                },
                runtime.handle(),
            );
        }
        clients
    };

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Late envelopes come in some portions, each sealed and made ready;
            // files go as soon as they are left behind.
            let far = UnixSeconds(u32::MAX - 1);
            for (n, some) in late.chunks(late.len().div_ceil(5).max(1)).enumerate() {
                for batch in some.chunks(100) {
                    archive.append(batch).unwrap();
                }
                let later = UnixSeconds(end.0 + 300 * u32::try_from(n).unwrap());
                archive
                    .seal(Watermark::new(later).unwrap(), later, &Quiet)
                    .unwrap();
                archive.make_times(&Stop::default()).unwrap();
                archive.sweep(far).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        // At least once, and until nothing changes any more.
        loop {
            let was_done = done.load(Ordering::Acquire);
            runtime.block_on(clients(was_done).join_all());
            if was_done {
                break;
            }
        }
    });
}
