//! Too much of what is allowed.

use bytes::Bytes;
use gwa::limits::Reason;
use gwa::rlpx::{DisconnectReason, NodeId, NodeKey};
use gwa::time::{Expiry, Ttl};
use gwa::whisper::packet::{Packet, code};
use gwa::whisper::{Bloom, Envelope, Pow, Topic};

use crate::wire::{Framed, OFFSET, Packets};
use crate::world::{NOW, World};
use crate::{Reaction, Row, row};

pub fn rows() -> Vec<Row> {
    let breach = || DisconnectReason::ProtocolBreach;
    let subprotocol = || DisconnectReason::Subprotocol;
    vec![
        base_flood("flood: pings", breach(), 2),
        base_flood("flood: pongs", breach(), 3),
        base_flood("flood: reserved codes", breach(), 7),
        base_flood("flood: Hellos", breach(), 0),
        flood(
            "flood: unknown codes",
            subprotocol(),
            50,
            Bytes::from_static(&[0xc0]),
        ),
        flood(
            "flood: statuses",
            subprotocol(),
            code::STATUS,
            Bytes::from_static(&[0xc1, 6]),
        ),
        flood(
            "flood: empty batches",
            subprotocol(),
            code::MESSAGES,
            Bytes::from_static(&[0xc0]),
        ),
        flood(
            "flood: changes of the filter",
            subprotocol(),
            code::BLOOM_FILTER,
            Packet::BloomFilter(Bloom::FULL).encode(),
        ),
        flood(
            "flood: changes of the work",
            subprotocol(),
            code::POW_REQUIREMENT,
            Packet::PowRequirement(Pow::ZERO).encode(),
        ),
        flood(
            "flood: the same 10,000 envelopes",
            subprotocol(),
            code::MESSAGES,
            duplicates(),
        ),
    ]
}

/// A packet of 10,000 envelopes that are not even good.
fn duplicates() -> Bytes {
    let one = |nonce| Envelope::new(Expiry::of(NOW, Ttl(9)), Ttl(9), Topic([1; 4]), &[], nonce);
    Packet::Messages((0..10_000).map(one).collect()).encode()
}

/// A thousand messages of the base protocol.
fn base_flood(name: &str, told: DisconnectReason, code: u64) -> Row {
    row(name, dropped(), move |world| async move {
        let mut peer = Framed::greeted(&world).await;
        let id = peer.hello.id;
        // A good status first: it is not silence that ends this.
        peer.send(OFFSET, &[2, 4, 0xc1, 6]).await;
        let mut frames = Vec::new();
        for _ in 0..1_000 {
            frames.extend(peer.frame(code, &[1, 0, 0xc0]));
        }
        peer.tcp.write(&frames).await;
        let seen = peer.end().await;
        judged(&world, &id, seen, told).await
    })
}

/// A packet of Whisper, until the server has had enough.
fn flood(name: &str, told: DisconnectReason, code: u8, payload: Bytes) -> Row {
    row(name, dropped(), move |world| async move {
        let key = NodeKey::generate();
        let id = key.id();
        let peer = Packets::connect_as(&world, key).await;
        peer.introduce().await;
        let (mut reader, writer) = peer.0.split();
        let sending = async {
            for _ in 0..5_000 {
                let wire = OFFSET + u64::from(code);
                if writer.send(wire, payload.clone()).await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            loop {
                if let Err(error) = reader.recv().await {
                    return crate::wire::ended(&error);
                }
            }
        };
        let ((), seen) = tokio::join!(sending, reading);
        judged(&world, &id, seen, told).await
    })
}

fn dropped() -> Reaction {
    Reaction::Ledger(Reason::Flood)
}

/// What the ledger says, where the peer was told `told`, or nothing: closing on
/// bytes that are still coming in resets a connection, and what was said last is
/// then lost on the way.
async fn judged(world: &World, id: &NodeId, seen: Reaction, told: DisconnectReason) -> Reaction {
    if seen != Reaction::Closed && seen != Reaction::Told(told) {
        return seen;
    }
    Reaction::Ledger(world.dropped(id).await)
}
