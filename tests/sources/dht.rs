//! Peers that a DHT names, asked by bitswap.

#![allow(clippy::unwrap_used, reason = "what does not work fails the test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use gwa::blocks::{Block, BlockSource, Cid, Codec, Fault};
use gwa::limits::Limits;
use gwa::p2p::{DhtConfig, DhtMode, DhtSource, Node, NodeConfig, PeerAddress};
use gwa::sources::Remote;
use gwa::sources::net::{Net, NetLimits};
use libp2p::identity::Keypair;
use tokio::net::TcpListener;

use crate::house::{NET, leaf};
use crate::peers::{ANYWHERE, Holding, address, holding};

/// A node of a DHT on loopback; where it is asked for blocks it gives what `given`
/// holds.
fn start(given: Arc<dyn BlockSource>, key: Keypair, listen: &str, dht: DhtConfig) -> Option<Node> {
    let config = NodeConfig {
        key,
        listen: Some(listen.parse().unwrap()),
        public: Vec::new(),
        limits: Limits::default(),
        given: Some(given),
        afar: None,
        dht: Some(dht),
    };
    NET.handle().block_on(Node::start(config)).ok()
}

/// A server of a DHT of its own.
fn server() -> Node {
    server_as(Keypair::generate_ed25519(), ANYWHERE).unwrap()
}

fn server_as(key: Keypair, listen: &str) -> Option<Node> {
    let dht = DhtConfig {
        bootstrap: Vec::new(),
        mode: DhtMode::Server,
    };
    start(holding(&[]), key, listen, dht)
}

/// A node that tells the DHT at `server` that it has `block`, and gives what `given`
/// holds.
fn provider(server: &PeerAddress, block: &Block, given: Arc<dyn BlockSource>) -> Node {
    let dht = DhtConfig {
        bootstrap: vec![server.clone()],
        mode: DhtMode::Client,
    };
    let node = start(given, Keypair::generate_ed25519(), ANYWHERE, dht).unwrap();
    let told = node.announce(vec![*block.cid()]);
    NET.handle().block_on(told);
    node
}

fn is_announced(node: &Node, count: usize) {
    let mut dht = node.dht().unwrap();
    let told = dht.wait_for(|standing| standing.announced == count);
    let told = *NET.handle().block_on(told).unwrap();
    assert!(
        told.reached && told.dialable && told.roots == count,
        "{told:?}"
    );
}

/// The same for one whose announcement has come to the server.
fn announced(server: &PeerAddress, block: &Block, given: Arc<dyn BlockSource>) -> Node {
    let node = provider(server, block, given);
    is_announced(&node, 1);
    node
}

fn source(server: &PeerAddress) -> DhtSource {
    DhtSource::new(Arc::clone(&NET), server.clone())
}

fn fetch(source: &DhtSource, cid: &Cid) -> Result<Block, Fault> {
    NET.handle().block_on(source.fetch(cid))
}

/// Fetches what somebody was announced to have. An announcement is not answered, so it
/// may be under way a moment longer.
fn fetch_announced(source: &DhtSource, cid: &Cid) -> Result<Block, Fault> {
    let mut tries = (0..25).map(|_| fetch(source, cid));
    let got = tries.find(|got| *got != Err(Fault::Absent));
    got.expect("an announcement comes")
}

/// Waits until the server knows all of these as providers, so that whoever wants the
/// block asks them.
fn are_known(server: &PeerAddress, block: &Block, nodes: &[&Node]) {
    let wants = |node: &&Node| node.counters().wants.load(Ordering::Relaxed);
    let is_known = (0..25).any(|_| {
        let got = fetch(&source(server), block.cid());
        assert!(got.is_err(), "none of them has it");
        nodes.iter().all(|node| wants(node) > 0)
    });
    assert!(is_known, "announcements come");
}

/// Gives wrong bytes, and counts how often.
fn lying(told: &Arc<AtomicUsize>) -> Arc<dyn BlockSource> {
    let told = Arc::clone(told);
    Arc::new(Holding(move |_: &Cid| {
        let n = told.fetch_add(1, Ordering::SeqCst);
        Some(Block::new(Codec::Raw, format!("wrong {n}").into_bytes()))
    }))
}

#[test]
fn one_who_has_it_is_found_behind_the_dead_the_empty_and_the_liars() {
    let server = server();
    let at = address(&server);
    let block = leaf("wanted");
    let lies = Arc::new(AtomicUsize::new(0));
    let empty = [(); 5].map(|()| announced(&at, &block, holding(&[])));
    let liars = [(); 2].map(|()| announced(&at, &block, lying(&lies)));
    are_known(&at, &block, &empty.iter().chain(&liars).collect::<Vec<_>>());
    empty[..4].iter().for_each(Node::stop);
    let _honest = announced(&at, &block, holding(std::slice::from_ref(&block)));
    // Its announcement too may be under way a moment longer than it says.
    let is_known = (0..25).any(|_| fetch(&source(&at), block.cid()).is_ok());
    assert!(is_known, "its announcement comes");
    // Whoever is asked first, and of whomever the others hear.
    for _ in 0..8 {
        let source = source(&at);
        assert_eq!(fetch(&source, block.cid()), Ok(block.clone()));
        assert_eq!(source.account().is_out(), None, "others err, it does not");
    }
}

#[test]
fn whoever_gave_a_block_is_asked_for_what_is_below_it() {
    let server = server();
    let at = address(&server);
    let held: Vec<Block> = (0..100).map(|n| leaf(&format!("held {n}"))).collect();
    let _honest = announced(&at, &held[0], holding(&held));
    let source = source(&at);
    assert_eq!(fetch_announced(&source, held[0].cid()), Ok(held[0].clone()));
    for block in &held {
        // More than there are walks.
        assert_eq!(fetch(&source, block.cid()).as_ref(), Ok(block));
    }
}

#[test]
fn a_block_is_absent_where_those_who_should_have_it_say_so_and_failed_where_they_err() {
    let server = server();
    let at = address(&server);
    let (lacked, gone, lied) = (leaf("lacked"), leaf("gone"), leaf("lied about"));
    let empty = announced(&at, &lacked, holding(&[]));
    are_known(&at, &lacked, &[&empty]);
    let dead = announced(&at, &gone, holding(&[]));
    are_known(&at, &gone, &[&dead]);
    dead.stop();
    let lies = Arc::new(AtomicUsize::new(0));
    let _liar = announced(&at, &lied, lying(&lies));

    assert_eq!(fetch(&source(&at), lacked.cid()), Err(Fault::Absent));
    assert_eq!(
        fetch(&source(&at), leaf("nobody's").cid()),
        Err(Fault::Absent)
    );
    let failed = fetch(&source(&at), gone.cid());
    assert!(matches!(&failed, Err(Fault::Failed(_))), "{failed:?}");
    let source = source(&at);
    let wrong = fetch_announced(&source, lied.cid());
    let said = "hash to nothing";
    assert!(
        matches!(&wrong, Err(Fault::Failed(what)) if what.contains(said)),
        "{wrong:?}"
    );
    let before = lies.load(Ordering::SeqCst);
    let again = fetch(&source, lied.cid());
    assert!(matches!(&again, Err(Fault::Failed(_))), "{again:?}");
    assert_eq!(lies.load(Ordering::SeqCst), before, "a liar is asked again");
}

#[test]
fn where_no_node_of_the_dht_answers_the_source_failed_until_one_does() {
    let key = Keypair::generate_ed25519();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let at = PeerAddress {
        peer: key.public().to_peer_id(),
        at: listen.parse().unwrap(),
    };
    let block = leaf("late");
    let early = provider(&at, &block, holding(std::slice::from_ref(&block)));
    let limits = NetLimits {
        rest: Duration::ZERO,
        ..NetLimits::default()
    };
    let source = DhtSource::new(Net::new(limits).unwrap(), at.clone());
    // More than there are walks.
    for _ in 0..50 {
        let nobody = fetch(&source, block.cid()).unwrap_err();
        assert!(
            matches!(&nobody, Fault::Failed(what) if what.contains("no node of the DHT")),
            "{nobody}"
        );
    }
    let standing = *early.dht().unwrap().borrow();
    assert_eq!((standing.reached, standing.announced), (false, 0));
    assert_eq!(standing.roots, 1);

    let late = server_as(key, &listen);
    assert!(late.is_some(), "the address is taken");
    is_announced(&early, 1);
    assert_eq!(fetch_announced(&source, block.cid()), Ok(block));
}

#[test]
fn those_that_wait_for_a_walk_are_answered_once_the_source_is_out() {
    // Hangs up on everybody, and counts them.
    let listener = NET.handle().block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dialled);
    let hanging_up = NET.handle().spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let source = source(&PeerAddress {
        peer: Keypair::generate_ed25519().public().to_peer_id(),
        at: format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(),
    });
    let wanted: Vec<Block> = (0..64).map(|n| leaf(&format!("wanted {n}"))).collect();
    let fetches = wanted.iter().map(|block| source.fetch(block.cid()));
    let got = NET.handle().block_on(join_all(fetches));
    hanging_up.abort();
    for fault in got.into_iter().map(Result::unwrap_err) {
        let said = "no node of the DHT";
        assert!(
            matches!(&fault, Fault::Failed(what) if what.contains(said)),
            "{fault}"
        );
    }
    // Three failures in a row, and what was under way or in hand then.
    let dialled = dialled.load(Ordering::SeqCst);
    assert!((1..16).contains(&dialled), "{dialled} walks");
}

#[test]
fn walks_that_lead_nowhere_come_at_a_rate_and_then_the_source_failed() {
    let server = server();
    let source = source(&address(&server));
    let mut said: HashMap<bool, usize> = HashMap::new();
    for n in 0..40 {
        let fault = fetch(&source, leaf(&format!("nobody's {n}")).cid()).unwrap_err();
        let is_absent = match &fault {
            Fault::Absent => true,
            Fault::Failed(what) => !what.contains("the next walk in"),
            Fault::Lied(_) => unreachable!("nobody lied"),
        };
        *said.entry(is_absent).or_default() += 1;
    }
    assert_eq!(said, HashMap::from([(true, 32), (false, 8)]));
}
