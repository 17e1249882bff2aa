//! Peers that say whatever they like to a node, and how they are taken.

#![allow(clippy::unwrap_used, reason = "what does not work fails the test")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::io::AsyncWriteExt;
use gwa::archive::disk::Archive;
use gwa::blocks::{Block, BlockSource, Cid, Fault};
use gwa::config::{HttpAddress, HttpPartial, Partial, Settings};
use gwa::limits::Limits;
use gwa::node::Daemon;
use gwa::p2p::bitswap::behaviour::{Behaviour, Spoken};
use gwa::p2p::bitswap::message::{Kind, Message, Presence, Want};
use gwa::p2p::bitswap::{Dialect, MAX_MESSAGE, MAX_WANTS_MESSAGE, frame};
use gwa::p2p::{Node, NodeConfig, PeerAddress};
use gwa::rlpx::NodeKey;
use gwa::sources::Remote;
use gwa::time::SystemClock;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::oneshot;

use crate::house::{House, NET, leaf};
use crate::peers::{ANYWHERE, address, holding, node, source_at};

/// Connections that strangers may open, as `docs/p2p.md` tells.
const PLACES: usize = 32;

/// A peer that says whatever a test wants.
struct Raw {
    swarm: Swarm<Behaviour>,
    to: PeerId,
}

impl Raw {
    fn swarm() -> Swarm<Behaviour> {
        SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default(),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|_| Behaviour::default())
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(600))
            })
            .build()
    }

    /// One that is connected; `None` where nobody lets it in.
    async fn connect(to: &PeerAddress) -> Option<Self> {
        let mut swarm = Self::swarm();
        let at: Multiaddr = to.to_string().parse().unwrap();
        swarm.dial(at).unwrap();
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { .. } => return None,
                _ => {}
            }
        }
        Some(Self { swarm, to: to.peer })
    }

    /// A stream; `None` where the other one hung up.
    async fn open(&mut self) -> Option<Spoken> {
        let (opened, mut stream) = oneshot::channel();
        self.swarm.behaviour_mut().open(self.to, opened);
        loop {
            tokio::select! {
                opened = &mut stream => return opened.ok()?.ok(),
                _ = self.swarm.select_next_some() => {}
            }
        }
    }

    async fn tell(&mut self, message: &Message) -> Option<()> {
        let (mut stream, dialect) = self.open().await?;
        assert_eq!(dialect, Dialect::V1_2);
        frame::write(&mut stream, message, dialect).await.ok()?;
        stream.close().await.ok()
    }

    /// The next message that comes, on whatever stream; `None` where the other one
    /// hung up.
    async fn hear(&mut self) -> Option<Message> {
        let (mut stream, _) = loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(incoming) => break incoming.stream,
                SwarmEvent::ConnectionClosed { .. } => return None,
                _ => {}
            }
        };
        let read = async {
            let len = frame::length(&mut stream, MAX_MESSAGE).await.ok()??;
            frame::body(&mut stream, len).await.ok()
        };
        tokio::pin!(read);
        loop {
            tokio::select! {
                message = &mut read => return message,
                _ = self.swarm.select_next_some() => {}
            }
        }
    }

    /// What it is told of a block; `None` where the other one hung up.
    async fn ask(&mut self, cid: &Cid, kind: Kind) -> Option<Message> {
        self.tell(&wanting(cid, kind)).await?;
        self.hear().await
    }

    async fn hung_up_on(&mut self) {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = self.swarm.select_next_some().await {
                return;
            }
        }
    }
}

fn wanting(cid: &Cid, kind: Kind) -> Message {
    Message {
        wants: vec![Want {
            cid: *cid,
            priority: 1,
            kind,
            cancel: false,
            send_dont_have: true,
        }],
        ..Message::default()
    }
}

/// Just the word that a block is not here.
fn not_here(cid: &Cid) -> Message {
    Message {
        presences: vec![Presence {
            cid: *cid,
            held: false,
        }],
        ..Message::default()
    }
}

/// Just a block.
fn just(block: &Block) -> Message {
    Message {
        blocks: vec![block.into()],
        ..Message::default()
    }
}

#[test]
fn who_sends_what_is_no_message_is_hung_up_on() {
    let node = node(holding(&[]));
    let to = address(&node);
    NET.handle().block_on(async {
        // A length above the limit; no protobuf; a length that never ends; nothing,
        // again and again.
        let long = u64::try_from(MAX_WANTS_MESSAGE).unwrap() + 1;
        let mut buffer = unsigned_varint::encode::u64_buffer();
        let long = unsigned_varint::encode::u64(long, &mut buffer).to_vec();
        for wrong in [long, vec![2, 0xff, 0xff], vec![0xff; 9], vec![0; 64]] {
            let mut raw = Raw::connect(&to).await.unwrap();
            let (mut stream, _) = raw.open().await.unwrap();
            stream.write_all(&wrong).await.unwrap();
            stream.flush().await.unwrap();
            raw.hung_up_on().await;
        }
    });
    assert_eq!(node.counters().dropped.load(Ordering::Relaxed), 4);
}

#[test]
fn who_hangs_up_and_comes_back_is_answered_anew_and_told_nothing_else() {
    let (block, other) = (leaf("there"), leaf("not there"));
    let node = node(holding(std::slice::from_ref(&block)));
    let to = address(&node);
    NET.handle().block_on(async {
        for _ in 0..5 {
            let mut raw = Raw::connect(&to).await.unwrap();
            let first = raw.ask(block.cid(), Kind::Block).await.unwrap();
            assert_eq!(first.blocks[0].data, block.bytes());
            // What was said between the two would be heard before the second.
            let second = raw.ask(other.cid(), Kind::Block).await;
            assert_eq!(second, Some(not_here(other.cid())));
        }
    });
}

#[test]
fn what_comes_beside_the_blocks_that_were_asked_for_is_not_kept() {
    let [one, two, gift] = ["one", "two", "a gift"].map(leaf);
    NET.handle().block_on(async {
        let mut swarm = Raw::swarm();
        swarm.listen_on(ANYWHERE.parse().unwrap()).unwrap();
        let at = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let peer = *swarm.local_peer_id();
        let source = source_at(&NET, PeerAddress { peer, at });
        let mut answer = just(&gift);
        answer.blocks.extend([(&one).into(), (&two).into()]);
        let nothing = not_here(gift.cid());
        let served = async {
            let to = loop {
                let event = swarm.select_next_some().await;
                if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event {
                    break peer_id;
                }
            };
            let mut raw = Raw { swarm, to };
            let mut wanted = 0;
            while wanted < 2 {
                wanted += raw.hear().await.unwrap().wants.len();
            }
            raw.tell(&answer).await.unwrap();
            let again = raw.hear().await.unwrap();
            assert_eq!(again.wants[0].cid, *gift.cid());
            raw.tell(&nothing).await.unwrap();
            raw
        };
        let asked = async {
            let (first, second) = tokio::join!(source.fetch(one.cid()), source.fetch(two.cid()));
            assert_eq!((first.as_ref(), second.as_ref()), (Ok(&one), Ok(&two)));
            assert_eq!(source.fetch(gift.cid()).await, Err(Fault::Absent));
        };
        tokio::join!(served, asked);
    });
}

#[test]
fn a_daemon_gives_what_it_archived_and_nothing_denied_or_pushed() {
    let house = House::new(5, 200);
    let (head, state) = (*house.head.cid(), house.head.body().state.unwrap());
    let list = house.dir().join("list.deny");
    std::fs::write(&list, format!("/ipfs/{state}\n")).unwrap();
    let loopback = ([127, 0, 0, 1], 0).into();
    let flags = Partial {
        listen: Some(loopback),
        http: HttpPartial {
            address: Some(HttpAddress::At(loopback)),
            denylists: Some(vec![list]),
            ..HttpPartial::default()
        },
        ..Partial::default()
    };
    let mut settings = Settings::resolve(house.dir(), flags, Partial::default());
    settings.p2p.listen = Some(ANYWHERE.parse().unwrap());
    NET.handle().block_on(async {
        let archive = Arc::new(Archive::open(house.dir()).unwrap());
        assert!(archive.blocks().has(&state).unwrap());
        let clock = Arc::new(SystemClock);
        let key = NodeKey::generate();
        let daemon = Daemon::start(Arc::clone(&archive), key, &settings, clock);
        let daemon = daemon.await.unwrap();
        let to: PeerAddress = daemon.p2p_addresses()[0].parse().unwrap();
        let mut raw = Raw::connect(&to).await.unwrap();
        let given = raw.ask(&head, Kind::Block).await.unwrap();
        assert_eq!(given.blocks[0].data, house.head.block().bytes());
        let word = raw.ask(&head, Kind::Have).await.unwrap();
        assert!(word.presences[0].held && word.blocks.is_empty());
        for kind in [Kind::Have, Kind::Block] {
            assert_eq!(raw.ask(&state, kind).await, Some(not_here(&state)));
        }
        let gift = leaf("a gift");
        let mut pushed = just(&gift);
        pushed.wants = wanting(gift.cid(), Kind::Block).wants;
        raw.tell(&pushed).await.unwrap();
        assert_eq!(raw.hear().await, Some(not_here(gift.cid())));
        assert!(!archive.blocks().has(gift.cid()).unwrap());
    });
}

#[test]
fn no_more_are_let_in_than_there_are_places() {
    let block = leaf("there");
    let node = node(holding(std::slice::from_ref(&block)));
    let to = address(&node);
    NET.handle().block_on(async {
        let mut inside = Vec::new();
        for _ in 0..PLACES {
            let mut raw = Raw::connect(&to).await.unwrap();
            assert!(raw.ask(block.cid(), Kind::Block).await.is_some());
            inside.push(raw);
        }
        for _ in 0..3 {
            assert!(!is_let_in(&to, block.cid()).await);
        }
        for raw in &mut inside {
            assert!(raw.ask(block.cid(), Kind::Block).await.is_some());
        }
        // A place that was given up is anybody's, as soon as that is known.
        drop(inside.pop());
        while !is_let_in(&to, block.cid()).await {}
    });
}

#[test]
fn an_address_has_its_share_of_the_places_and_no_more() {
    let block = leaf("there");
    let config = NodeConfig {
        key: Keypair::generate_ed25519(),
        listen: Some(ANYWHERE.parse().unwrap()),
        public: Vec::new(),
        limits: Limits {
            exempt_local: false,
            peers_per_address: 3.try_into().unwrap(),
            ..Limits::default()
        },
        given: Some(holding(std::slice::from_ref(&block))),
        afar: None,
        dht: None,
    };
    NET.handle().block_on(async {
        let node = Node::start(config).await.unwrap();
        let to = address(&node);
        let mut inside = Vec::new();
        for _ in 0..3 {
            let mut raw = Raw::connect(&to).await.unwrap();
            assert!(raw.ask(block.cid(), Kind::Block).await.is_some());
            inside.push(raw);
        }
        assert!(!is_let_in(&to, block.cid()).await);
        for raw in &mut inside {
            assert!(raw.ask(block.cid(), Kind::Block).await.is_some());
        }
        assert_eq!(node.peers(), 3);
    });
}

/// Whether one more is let in and answered.
async fn is_let_in(to: &PeerAddress, cid: &Cid) -> bool {
    let Some(mut raw) = Raw::connect(to).await else {
        return false;
    };
    raw.ask(cid, Kind::Block).await.is_some()
}
