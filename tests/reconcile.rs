//! Archivers on one network come to hold the same set.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gwa::archive::disk::{Archive, Start, Stop};
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::limits::Limits;
use gwa::mailserver::{Mailserver, MailserverConfig};
use gwa::node::vault::ArchiveVault;
use gwa::progress::Quiet;
use gwa::reconcile::check::Standard;
use gwa::reconcile::client::local_node;
use gwa::reconcile::exchange::{Totals, recent};
use gwa::reconcile::{ArchiveClient, ArchiveClientError, Exchange, ExchangeConfig, Shelf};
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::{NodeId, NodeKey};
use gwa::time::{Clock, HOUR, TimeRange, UnixSeconds};
use gwa::whisper::node::{Node, NodeConfig, NodeHandle, protocol};
use gwa::whisper::{Envelope, EnvelopeHash, Pow};

/// 2018-10-01 12:50:00, ten minutes before an hour closes.
const NOW: UnixSeconds = UnixSeconds(1_538_398_200);

/// Longer than any pull of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        NOW
    }
}

/// A node, its archive and its exchange.
struct Archiver {
    node: NodeHandle,
    archive: Arc<Archive>,
    exchange: Arc<Exchange>,
}

impl Archiver {
    async fn start(dir: &Path, key: NodeKey, partners: &[NodeId]) -> Self {
        let archive = Arc::new(Archive::init(dir, "").unwrap());
        Self::over(archive, key, partners).await
    }

    async fn over(archive: Arc<Archive>, key: NodeKey, partners: &[NodeId]) -> Self {
        let shelf = Arc::new(Shelf::new(Arc::clone(&archive)));
        let config = ExchangeConfig {
            archivers: partners.iter().copied().collect(),
            // Only when it is told to.
            every: Duration::from_secs(3_600),
            limits: Limits::default(),
            min_pow: Pow::new(1e9).unwrap(),
        };
        let exchange = Arc::new(Exchange::new(shelf, config, Arc::new(Stopped)));
        let mailserver = Mailserver::new(
            Arc::new(ArchiveVault::new(Arc::clone(&archive))),
            MailserverConfig {
                password: None,
                node_key: None,
                min_pow: Pow::ZERO,
                answer_open_requests: true,
            },
            Arc::new(Stopped),
        );
        let config = NodeConfig {
            side: Some(Arc::clone(&exchange) as _),
            ..NodeConfig::new(key)
        };
        let node = Node::start(config, Arc::new(mailserver), Arc::new(Stopped))
            .await
            .unwrap();
        Self {
            node,
            archive,
            exchange,
        }
    }

    /// Waits until so many pulls have ended.
    async fn pulls(&self, count: u64) -> Totals {
        let mut totals = self.exchange.totals();
        let waiting = totals.wait_for(|totals| totals.pulls >= count);
        *tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap()
            .unwrap()
    }

    fn held(&self) -> BTreeSet<EnvelopeHash> {
        let mut keys = self.archive.waiting_keys(TimeRange::ALL, usize::MAX);
        let all = (TimeRange::ALL, usize::MAX, &Stop::default());
        let sealed = self.archive.sealed_keys(all.0, all.1, all.2);
        keys.extend(sealed.unwrap().unwrap());
        keys.into_iter().map(|key| key.hash).collect()
    }

    fn seal(&self, until: UnixSeconds) -> Option<gwa::blocks::Cid> {
        let until = Watermark::at_or_before(until);
        let report = self.archive.seal(until, NOW, &Quiet).unwrap();
        report.head.unwrap().body().state
    }
}

fn keys() -> (NodeKey, NodeKey) {
    let key = |byte: &str| byte.repeat(32).parse().unwrap();
    (key("11"), key("22"))
}

/// Envelopes sent from two hours ago until now.
fn traffic(count: u64) -> Vec<Envelope> {
    let from = UnixSeconds(NOW.0 - 2 * HOUR);
    let made = Synthetic::new(5, count, 50, from, 2 * HOUR);
    (0..count).map(|n| made.envelope(n)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_archivers_that_each_miss_one_percent_publish_the_same_state() {
    let (home_a, home_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (key_a, key_b) = keys();
    let (id_a, id_b) = (key_a.id(), key_b.id());
    let a = Archiver::start(home_a.path(), key_a, &[id_b]).await;
    let b = Archiver::start(home_b.path(), key_b, &[id_a]).await;

    let all = traffic(10_000);
    let missing_at = |n: usize, rest: usize| n % 100 == rest;
    let heard = |rest: usize| -> Vec<Envelope> {
        let kept = all
            .iter()
            .enumerate()
            .filter(|(n, _)| !missing_at(*n, rest));
        kept.map(|(_, envelope)| envelope.clone()).collect()
    };
    let (heard_a, heard_b) = (heard(3), heard(58));
    // Half of it is sealed already, and differently.
    a.archive.append(&heard_a[..5_000]).unwrap();
    b.archive.append(&heard_b[..4_000]).unwrap();
    a.seal(UnixSeconds(NOW.0 - HOUR));
    b.seal(UnixSeconds(NOW.0 - 2 * HOUR + 600));
    a.archive.append(&heard_a[5_000..]).unwrap();
    b.archive.append(&heard_b[4_000..]).unwrap();
    assert_ne!(a.held(), b.held());

    a.node.add_peer(b.node.enode().unwrap());
    let (pulled_a, pulled_b) = tokio::join!(a.pulls(1), b.pulls(1));

    let everything: BTreeSet<_> = all.iter().map(Envelope::hash).collect();
    assert_eq!(a.held(), everything);
    assert_eq!(b.held(), everything);
    let closed = UnixSeconds(NOW.0 + HOUR);
    assert_eq!(a.seal(closed), b.seal(closed));

    for (totals, rest) in [(pulled_a, 3), (pulled_b, 58)] {
        let missed = (0..all.len()).filter(|n| missing_at(*n, rest));
        let ideal: usize = missed.map(|n| all[n].rlp().len()).sum();
        let ideal = u64::try_from(ideal).unwrap();
        assert_eq!((totals.stored, totals.bytes), (100, ideal));
        println!(
            "missing {} envelopes of {ideal} bytes among {}: {} bytes exchanged, {:.2} times the ideal",
            totals.stored,
            all.len(),
            totals.exchanged,
            totals.exchanged as f64 / ideal as f64
        );
    }
    // Nothing is left to fetch.
    a.exchange.pull_now();
    let again = a.pulls(2).await;
    assert_eq!(again.stored, 100);
    assert!(again.exchanged - pulled_a.exchanged < 2_000);
    a.node.shutdown().await;
    b.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_gives_without_work_is_not_taken_nor_fetched_twice() {
    let (home_a, home_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (key_a, key_b) = keys();
    let a = Archiver::start(home_a.path(), key_a, &[]).await;
    let b = Archiver::start(home_b.path(), key_b, &[]).await;
    b.archive.append(&traffic(50)).unwrap();
    a.node.add_peer(b.node.enode().unwrap());
    let first = a.pulls(1).await;
    assert_eq!((first.stored, first.unfit), (0, 50));
    a.exchange.pull_now();
    let second = a.pulls(2).await;
    assert_eq!((second.unfit, second.bytes), (50, first.bytes));
    assert_eq!(a.archive.waiting(), 0);
    a.node.shutdown().await;
    b.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reads_what_is_new_and_pulls_what_it_lacks() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (key_a, key_b) = keys();
    let server = Archiver::start(home.path(), key_a, &[]).await;
    let all = traffic(2_500);
    server.archive.append(&all[..2_000]).unwrap();
    server.seal(UnixSeconds(NOW.0 - HOUR));
    let enode = server.node.enode().unwrap();
    let local = Arc::new(local_node(key_b));
    let mut client = ArchiveClient::connect(&enode, &local, None).await.unwrap();
    assert_eq!(client.status().archive, server.archive.tag());
    assert_eq!(client.status().head, server.archive.head_cid());

    let mut given = HashSet::new();
    let mut start = Start::Time(UnixSeconds(0));
    loop {
        let news = client.news(start, None, 300).await.unwrap();
        for envelope in &news.envelopes {
            assert!(given.insert(envelope.hash()));
        }
        start = Start::Position(news.next);
        if !news.more {
            break;
        }
    }
    assert_eq!(given.len(), 2_000);
    // One that is late, sealed before it is asked for.
    server.archive.append(&all[2_000..]).unwrap();
    let late = Synthetic::new(6, 1, 1, UnixSeconds(NOW.0 - 2 * HOUR), 1);
    server.archive.append(&[late.envelope(0)]).unwrap();
    server.seal(NOW);
    let news = client.news(start, None, 1_000).await.unwrap();
    assert_eq!(news.envelopes.len(), 501);

    let archive = Arc::new(Archive::init(other.path(), "").unwrap());
    let shelf = Arc::new(Shelf::new(Arc::clone(&archive)));
    let range = recent(NOW, 3 * HOUR);
    let missing = client
        .difference(shelf.snapshot(range).unwrap().unwrap())
        .await
        .unwrap();
    assert_eq!(missing.need.len(), 2_501);
    let standard = Standard { min_pow: Pow::ZERO };
    let pulled = client.pull(range, &shelf, standard, NOW).await.unwrap();
    assert_eq!((pulled.stored, pulled.unfit), (2_501, 0));
    assert_eq!(archive.waiting(), 2_501);
    client.close().await;

    let strange = archive.here().1;
    let mut client = ArchiveClient::connect(&enode, &local, None).await.unwrap();
    let refused = client.news(Start::Position(strange), None, 10).await;
    assert!(matches!(refused, Err(ArchiveClientError::Refused(_))));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_the_capability_is_told_so_by_the_client() {
    let key = keys().0;
    let local = Arc::new(local_node(keys().1));
    let home = tempfile::tempdir().unwrap();
    let archive = Arc::new(Archive::init(home.path(), "").unwrap());
    let vault = Arc::new(ArchiveVault::new(archive));
    let config = MailserverConfig {
        password: None,
        node_key: None,
        min_pow: Pow::ZERO,
        answer_open_requests: true,
    };
    let mailserver = Mailserver::new(vault, config, Arc::new(Stopped));
    let node = Node::start(
        NodeConfig::new(key),
        Arc::new(mailserver),
        Arc::new(Stopped),
    );
    let node = node.await.unwrap();
    let refused = ArchiveClient::connect(&node.enode().unwrap(), &local, None).await;
    assert!(matches!(refused, Err(ArchiveClientError::NoArchiver)));
    node.shutdown().await;
}

/// What breaks the protocol ends the link; whoever speaks Whisper alone is not
/// disturbed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_breaks_the_protocol_is_disconnected_and_others_are_served() {
    use gwa::rlpx::socket::connect;
    let home = tempfile::tempdir().unwrap();
    let (key_a, key_b) = keys();
    let server = Archiver::start(home.path(), key_a, &[]).await;
    let enode = server.node.enode().unwrap();
    let hostile = Arc::new(local_node(key_b));
    let good_status = {
        let other = tempfile::tempdir().unwrap();
        let archive = Arc::new(Archive::init(other.path(), "").unwrap());
        gwa::reconcile::Message::Status(Shelf::new(archive).status())
    };
    for messages in [
        // Before the status; no message; a status twice; an answer to nothing;
        // one that does not read.
        vec![(1u64, vec![0xc0])],
        vec![(9, vec![0xc0])],
        vec![(0, good_status.encode().to_vec()); 2],
        vec![(0, vec![0xc1, 0x01])],
        vec![(0, good_status.encode().to_vec()), (3, vec![0xff; 40])],
    ] {
        let mut link = connect(&enode, &hostile).await.unwrap();
        let shared = link.remote().protocol("gwa").unwrap().offset;
        for (code, payload) in messages {
            let _ = link.send(shared + code, payload).await;
        }
        let ended = async { while link.recv().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, ended).await.unwrap();
    }
    // Whisper alone stands where it always stood.
    let whisper = LocalNode::new(keys().1, "whisper", vec![protocol()], 0);
    let link = connect(&enode, &Arc::new(whisper)).await.unwrap();
    assert_eq!(link.remote().protocol("shh").unwrap().offset, 16);
    assert!(link.remote().protocol("gwa").is_none());
    server.node.shutdown().await;
}
