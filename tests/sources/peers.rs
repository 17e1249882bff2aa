//! Peers of libp2p, asked by bitswap.

#![allow(clippy::unwrap_used, reason = "what does not work fails the test")]

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gwa::blocks::{Block, BlockError, BlockSource, Cid, Codec, Fault};
use gwa::limits::Limits;
use gwa::p2p::{Client, Node, NodeConfig, P2pSource, PeerAddress};
use gwa::sources::net::Net;
use gwa::sources::{Pool, Remote};
use libp2p::identity::Keypair;

use crate::house::{House, NET, leaf, pool, quick};

/// Anybody's, as long as it is free.
pub const ANYWHERE: &str = "/ip4/127.0.0.1/tcp/0";

/// Blocks as one wants them: `None` is not held.
pub struct Holding<F>(pub F);

impl<F: Fn(&Cid) -> Option<Block> + Send + Sync> BlockSource for Holding<F> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        (self.0)(cid).ok_or(BlockError::Missing { cid: *cid })
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok((self.0)(cid).is_some())
    }
}

/// A source that holds just these.
pub fn holding(blocks: &[Block]) -> Arc<dyn BlockSource> {
    let held: HashMap<Cid, Block> = blocks.iter().map(|b| (*b.cid(), b.clone())).collect();
    Arc::new(Holding(move |cid: &Cid| held.get(cid).cloned()))
}

/// A node on loopback that gives what `given` holds.
pub fn node_as(given: Arc<dyn BlockSource>, key: Keypair, listen: &str) -> Node {
    let config = NodeConfig {
        key,
        listen: Some(listen.parse().unwrap()),
        public: Vec::new(),
        limits: Limits::default(),
        given: Some(given),
        afar: None,
        dht: None,
    };
    NET.handle().block_on(Node::start(config)).unwrap()
}

pub fn node(given: Arc<dyn BlockSource>) -> Node {
    node_as(given, Keypair::generate_ed25519(), ANYWHERE)
}

pub fn address(node: &Node) -> PeerAddress {
    node.addresses()[0].parse().unwrap()
}

pub fn source_at(net: &Arc<Net>, at: PeerAddress) -> Arc<P2pSource> {
    Arc::new(P2pSource::new(Arc::clone(net), Arc::default(), at))
}

fn fetch(source: &P2pSource, cid: &Cid) -> Result<Block, Fault> {
    NET.handle().block_on(source.fetch(cid))
}

fn blocks(count: u32, len: usize) -> Vec<Block> {
    let block = |n: u32| {
        let mut bytes = n.to_be_bytes().to_vec();
        bytes.resize(len, 7);
        Block::new(Codec::Raw, bytes)
    };
    (0..count).map(block).collect()
}

#[test]
fn a_peer_gives_what_it_holds_and_says_what_it_lacks() {
    let held = blocks(3, 100);
    let node = node(holding(&held));
    let source = source_at(&NET, address(&node));
    for block in &held {
        assert_eq!(fetch(&source, block.cid()).as_ref(), Ok(block));
    }
    assert_eq!(fetch(&source, leaf("other").cid()), Err(Fault::Absent));
    let balance = source.account().balance();
    assert_eq!((balance.blocks, balance.bytes, balance.absent), (3, 300, 1));
    assert_eq!(node.counters().blocks.load(Ordering::Relaxed), 3);
    assert_eq!(node.peers(), 1);
}

#[test]
fn many_blocks_come_at_once_small_ones_and_the_largest() {
    let mut held = blocks(1_500, 32 << 10);
    held.extend(blocks(12, 1 << 20));
    held.extend(blocks(3, 2 << 20));
    let node = node(holding(&held));
    let mut pool = Pool::default();
    pool.add_remote(source_at(&NET, address(&node)));
    let cids: Vec<Cid> = held.iter().map(|block| *block.cid()).collect();
    let mut came = HashMap::new();
    let take = &mut |block: Block| {
        came.insert(*block.cid(), block);
        ControlFlow::Continue(())
    };
    pool.get_each(&cids, take).unwrap();
    assert_eq!(came.len(), held.len());
    assert!(
        held.iter()
            .all(|block| came.get(block.cid()) == Some(block))
    );
}

#[test]
fn a_whole_archive_comes_from_a_peer() {
    let house = House::new(3, 1_500);
    let node = node(Arc::from(house.blocks()));
    let mut pool = Pool::default();
    pool.add_remote(source_at(&NET, address(&node)));
    let all = |source: &dyn BlockSource| {
        let mut cids = Vec::new();
        let take = &mut |block: Block| {
            cids.push(*block.cid());
            ControlFlow::Continue(())
        };
        source.get_dag(house.head.cid(), &|_| false, take).unwrap();
        cids.sort_unstable();
        cids
    };
    let (here, there) = (all(&*house.blocks()), all(&pool));
    assert!(here.len() > 50);
    assert_eq!(here, there);
}

#[test]
fn who_sends_wrong_blocks_is_dropped_and_told_and_another_source_goes_on() {
    let right = blocks(40, 50);
    let wrong = Arc::new(AtomicUsize::new(0));
    let sent = Arc::clone(&wrong);
    let liar = node(Arc::new(Holding(move |_: &Cid| {
        let n = sent.fetch_add(1, Ordering::SeqCst);
        Some(Block::new(Codec::Raw, format!("wrong {n}").into_bytes()))
    })));
    let lies = source_at(&NET, address(&liar));
    let told = fetch(&lies, right[0].cid()).unwrap_err();
    assert!(matches!(&told, Fault::Lied(what) if what.contains("hash to nothing")));
    assert_eq!(wrong.load(Ordering::SeqCst), 1, "one was enough");
    assert!(matches!(fetch(&lies, right[1].cid()), Err(Fault::Lied(_))));
    assert_eq!(wrong.load(Ordering::SeqCst), 1, "a liar is asked again");

    let honest = node(holding(&right));
    let mut pool = Pool::default();
    let fresh = source_at(&NET, address(&liar));
    pool.add_remote(fresh.clone());
    pool.add_remote(source_at(&NET, address(&honest)));
    let cids: Vec<Cid> = right.iter().map(|block| *block.cid()).collect();
    let mut came = 0;
    let take = &mut |_| {
        came += 1;
        ControlFlow::Continue(())
    };
    pool.get_each(&cids, take).unwrap();
    assert_eq!(came, right.len());
    assert_eq!(fresh.account().balance().lies, 1, "told once");
}

#[test]
fn a_peer_that_comes_back_is_asked_again() {
    let held = blocks(2, 10);
    let key = Keypair::generate_ed25519();
    let first = node_as(holding(&held), key.clone(), ANYWHERE);
    let at = address(&first);
    let source = source_at(&NET, at.clone());
    assert!(fetch(&source, held[0].cid()).is_ok());
    first.stop();
    let away = fetch(&source, held[1].cid());
    assert!(matches!(away, Err(Fault::Failed(_))), "{away:?}");
    // The port may be held a moment longer.
    let again = (0..200).find_map(|_| {
        std::thread::yield_now();
        let config = NodeConfig {
            key: key.clone(),
            listen: Some(at.at.clone()),
            public: Vec::new(),
            limits: Limits::default(),
            given: Some(holding(&held)),
            afar: None,
            dht: None,
        };
        NET.handle().block_on(Node::start(config)).ok()
    });
    assert!(again.is_some(), "the address is taken");
    assert!(fetch(&source, held[1].cid()).is_ok());
}

#[test]
fn a_peer_that_is_not_there_or_is_another_fails_with_the_reason() {
    let net = Net::new(quick()).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let id = Keypair::generate_ed25519().public().to_peer_id();
    let there = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}");
    let source = source_at(&net, there.parse().unwrap());
    let refused = fetch(&source, leaf("x").cid()).unwrap_err();
    assert!(
        matches!(&refused, Fault::Failed(what) if what.contains("refused")),
        "{refused}"
    );
    let node = node(holding(&[]));
    let at = address(&node).at;
    let source = source_at(&net, PeerAddress { peer: id, at });
    let another = fetch(&source, leaf("x").cid()).unwrap_err();
    assert!(
        matches!(&another, Fault::Failed(what) if what.contains("another peer")),
        "{another}"
    );
}

#[test]
fn sources_that_are_closed_answer_nobody_any_more() {
    let net = Net::new(quick()).unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let id = Keypair::generate_ed25519().public().to_peer_id();
    let there = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}");
    let source = source_at(&net, there.parse().unwrap());
    let waiting = std::thread::spawn({
        let source = Arc::clone(&source);
        move || fetch(&source, leaf("x").cid())
    });
    let _dialled = silent.accept().unwrap();
    net.close();
    assert!(matches!(waiting.join().unwrap(), Err(Fault::Failed(_))));
}

#[test]
fn other_sources_are_asked_for_what_a_peer_lacks() {
    let house = House::new(4, 200);
    let empty = node(holding(&[]));
    let full = node(Arc::from(house.blocks()));
    let client = Arc::new(Client::default());
    let mut all = pool(&[]);
    for node in [&empty, &full] {
        let client = Arc::clone(&client);
        let source = P2pSource::new(Arc::clone(&NET), client, address(node));
        all.add_remote(Arc::new(source));
    }
    let head = all.get(house.head.cid()).unwrap();
    assert_eq!(&head, house.head.block());
    let missing = all.get(leaf("nobody's").cid()).unwrap_err();
    assert!(missing.is_missing());
}
