//! Before there are secrets: TCP and the RLPx handshake. A connection that fails
//! here ends without a word, because there is nothing to write one with.

use std::time::Duration;

use alloy_rlp::Encodable;
use gwa::rlpx::ecies::{self, EciesRandom};
use gwa::rlpx::handshake::{AuthSent, HandshakeRandom};
use gwa::rlpx::{NodeId, NodeKey};

use crate::wire::{Framed, Tcp, after_bytes, after_the_last_bytes};
use crate::world::{World, bytes_of, fixture, node_of, server_key};
use crate::{Reaction, Row, row, slow_row};

pub fn rows() -> Vec<Row> {
    let mut rows = silence();
    rows.extend(noise());
    rows.extend(recorded());
    rows.extend(forged());
    rows
}

/// A good auth packet of a new node.
fn auth(world: &World) -> Vec<u8> {
    let key = NodeKey::generate();
    let (_, auth) = AuthSent::start(&key, world.id(), HandshakeRandom::draw()).unwrap();
    auth.to_vec()
}

fn silence() -> Vec<Row> {
    vec![
        row("tcp: half-closed at once", Reaction::Closed, |world| {
            after_the_last_bytes(world, Vec::new())
        }),
        row("tcp: reset at once", Reaction::Gone, |world| async move {
            Tcp::dial(&world).await.reset()
        }),
        slow_row("tcp: silent", Reaction::Closed, |world| {
            after_bytes(world, Vec::new())
        }),
        slow_row("tcp: one byte, then silent", Reaction::Closed, |world| {
            after_bytes(world, vec![1])
        }),
        slow_row(
            "auth: a byte at a time",
            Reaction::Closed,
            |world| async move {
                let auth = auth(&world);
                let mut tcp = Tcp::dial(&world).await;
                tcp.drip(&auth, Duration::from_millis(100)).await;
                tcp.closed().await
            },
        ),
        slow_row("auth: half of it, then silent", Reaction::Closed, |world| {
            let mut auth = auth(&world);
            auth.truncate(200);
            after_bytes(world, auth)
        }),
        row(
            "auth: reset in the middle",
            Reaction::Gone,
            |world| async move {
                let auth = auth(&world);
                let mut tcp = Tcp::dial(&world).await;
                tcp.write(&auth[..200]).await;
                tcp.reset()
            },
        ),
    ]
}

fn noise() -> Vec<Row> {
    let mut http = b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    http.resize(600, b'x');
    let mut tls = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    tls.resize(600, 7);
    let mut counted = vec![0x02, 0x00];
    counted.extend((0..600_u32).map(|n| n.to_le_bytes()[0]));
    [
        ("auth: an HTTP request", http),
        ("auth: a TLS greeting", tls),
        ("auth: zeros", vec![0; 1_000]),
        ("auth: ones, 70,000 of them", vec![0xff; 70_000]),
        ("auth: noise of the size it claims", counted),
    ]
    .into_iter()
    .map(|(name, bytes)| row(name, Reaction::Closed, |world| after_bytes(world, bytes)))
    .collect()
}

/// What was recorded from the reference's own tests, and replays.
fn recorded() -> Vec<Row> {
    let file = fixture("rlpx.json");
    let mut rows: Vec<Row> = file["bad_auth"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vector| {
            let name = format!("auth: {}", vector["note"].as_str().unwrap());
            let key: NodeKey = vector["recipient_static_private"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(key.id(), server_key().id(), "{name}");
            let auth = bytes_of(&vector["auth"]);
            // Those cut short would wait for the rest.
            row(name, Reaction::Closed, |world| {
                after_the_last_bytes(world, auth)
            })
        })
        .collect();
    rows.push(slow_row(
        "auth: replayed, then silent",
        Reaction::Closed,
        |world| async move {
            let auth = auth(&world);
            let first = after_the_last_bytes(world.clone(), auth.clone()).await;
            assert_eq!(first, Reaction::Closed);
            after_bytes(world, auth).await
        },
    ));
    rows.push(row(
        "auth: replayed, then noise for frames",
        Reaction::Closed,
        |world| {
            let mut bytes = auth(&world);
            bytes.extend([0x5a; 4_000]);
            after_bytes(world, bytes)
        },
    ));
    rows.push(row("auth: twice", Reaction::Closed, |world| {
        let auth = auth(&world);
        after_bytes(world, [auth.clone(), auth].concat())
    }));
    rows
}

/// The fields of an auth body, sealed for the server.
fn sealed(fields: &[&dyn Encodable], padding: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let payload_length = fields.iter().map(|field| field.length()).sum();
    alloy_rlp::Header {
        list: true,
        payload_length,
    }
    .encode(&mut body);
    for field in fields {
        field.encode(&mut body);
    }
    body.resize(body.len() + padding, 0);
    seal(&body)
}

fn seal(body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(body.len() + 113).unwrap().to_be_bytes();
    let to = server_key().id().public_key().unwrap();
    let mut packet = size.to_vec();
    packet.extend(ecies::encrypt(&EciesRandom::draw(), &to, body, &size));
    packet
}

fn forged() -> Vec<Row> {
    let signature = [1_u8; 65];
    let nonce = [3_u8; 32];
    let good = NodeKey::generate().id().0;
    let mut off_curve = good;
    off_curve[63] ^= 1;
    let sealed_with =
        |id: &[u8], signature: &[u8]| sealed(&[&signature, &id, &&nonce[..], &4_u8], 150);
    let mut hybrid = seal(&[0; 300]);
    hybrid[2] = 6;
    let mut infinity = seal(&[0; 300]);
    infinity[2..67].fill(0);
    infinity[2] = 4;
    let forged = [
        (
            "auth: a key off the curve",
            sealed_with(&off_curve, &signature),
        ),
        (
            "auth: a key of 63 bytes",
            sealed_with(&good[..63], &signature),
        ),
        (
            "auth: a signature of 64 bytes",
            sealed_with(&good, &signature[..64]),
        ),
        (
            "auth: a signature of nobody",
            sealed_with(&good, &[0xff; 65]),
        ),
        (
            "auth: the null key",
            sealed_with(&NodeId::NULL.0, &signature),
        ),
        ("auth: no list", seal(&[0x07; 300])),
        (
            "auth: a list that claims 4 GiB",
            seal(&[&[0xfb, 0xff, 0xff, 0xff, 0xff][..], &[0; 300]].concat()),
        ),
        ("auth: a hybrid point", hybrid),
        ("auth: a point at infinity", infinity),
        (
            "auth: 65,000 bytes, all well made",
            sealed(&[&&signature[..], &&good[..], &&nonce[..], &4_u8], 64_600),
        ),
    ];
    let mut rows: Vec<Row> = forged
        .into_iter()
        .map(|(name, bytes)| {
            row(name, Reaction::Closed, |world| async move {
                let mut tcp = Tcp::dial(&world).await;
                tcp.write(&bytes).await;
                // Nothing is answered that lies: the acknowledgement would be.
                tcp.closed().await
            })
        })
        .collect();
    rows.push(row(
        "auth: with the server's own key",
        Reaction::Told(gwa::rlpx::DisconnectReason::ToSelf),
        |world| async move {
            let mut peer = Framed::dial_as(&world, &node_of(server_key())).await;
            let hello = peer.hello.encode();
            peer.send(0, &hello).await;
            peer.end().await
        },
    ));
    rows
}
