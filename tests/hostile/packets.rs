//! Packets of Whisper: the status, envelopes, requirements, confirmations.

use bytes::Bytes;
use gwa::limits::Reason;
use gwa::rlpx::{DisconnectReason, NodeKey};
use gwa::time::{Expiry, Ttl, UnixSeconds};
use gwa::whisper::confirm::MessageResponse;
use gwa::whisper::packet::{Packet, batch_hash, code};
use gwa::whisper::peer::PACKET_LIMIT;
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use crate::wire::Packets;
use crate::world::{NOW, World, bytes_of, fixture, open_request, payload_of};
use crate::{Reaction, Row, row, slow_row};

const SUBPROTOCOL: Reaction = Reaction::Told(DisconnectReason::Subprotocol);

pub fn rows() -> Vec<Row> {
    let mut rows = statuses();
    rows.extend(updates());
    rows.extend(recorded_messages());
    rows.extend(messages());
    rows.extend(confirmations());
    rows.extend(untrusted());
    rows.extend(slow());
    rows
}

/// Vectors of the reference's two implementations, each once.
fn vectors(list: &str) -> Vec<Value> {
    let file = fixture("rlpx.json");
    let mut vectors = file[list].as_array().unwrap().clone();
    vectors.retain(|vector| vector["implementation"] == "status");
    assert!(!vectors.is_empty());
    vectors
}

fn named(prefix: &str, vector: &Value) -> String {
    format!("{prefix}: {}", vector["note"].as_str().unwrap())
}

fn code_of(vector: &Value) -> u8 {
    u8::try_from(vector["code"].as_u64().unwrap()).unwrap()
}

fn statuses() -> Vec<Row> {
    vectors("shh_status_received")
        .into_iter()
        .map(|vector| {
            let expected = match &vector["error"] {
                Value::Null => Reaction::Ignored,
                _ => SUBPROTOCOL,
            };
            row(
                named("status", &vector),
                expected,
                move |world| async move {
                    let peer = Packets::connect(&world).await;
                    peer.send(code_of(&vector), bytes_of(&vector["payload"]))
                        .await;
                    peer.ignored().await
                },
            )
        })
        .collect()
}

fn updates() -> Vec<Row> {
    vectors("shh_updates")
        .into_iter()
        // The reference was no mailserver there, and this one is.
        .filter(|vector| vector["code"] != u64::from(code::REQUEST))
        .map(|vector| {
            let expected = match &vector["disconnect_error"] {
                Value::Null => Reaction::Ignored,
                _ => SUBPROTOCOL,
            };
            row(
                named("update", &vector),
                expected,
                move |world| async move {
                    let peer = Packets::ready(&world).await;
                    peer.send(code_of(&vector), bytes_of(&vector["payload"]))
                        .await;
                    peer.ignored().await
                },
            )
        })
        .collect()
}

/// How a batch is answered.
async fn batch(world: &World, payload: Bytes) -> Reaction {
    let mut peer = Packets::ready(world).await;
    peer.send(code::MESSAGES, payload.clone()).await;
    let mut blamed = 0;
    loop {
        let (code, answer) = match peer.next().await {
            Ok(packet) => packet,
            Err(ended) => return ended,
        };
        match Packet::decode(code, &answer).unwrap() {
            Packet::MessageResponse(MessageResponse::Batch { faults, .. }) => blamed = faults.len(),
            Packet::BatchAcknowledged(hash) => {
                assert_eq!(hash, batch_hash(&payload));
                return Reaction::Acked(blamed);
            }
            _ => {}
        }
    }
}

/// Batches that status-go was given, with its clock as it was.
fn recorded_messages() -> Vec<Row> {
    vectors("shh_messages")
        .into_iter()
        .map(|vector| {
            let expected = match &vector["disconnect_error"] {
                Value::Null => Reaction::Acked(blamed_in(&vector)),
                // Taken here, as geth takes it.
                _ if vector["note"] == "trailing byte after the list" => Reaction::Acked(0),
                _ => SUBPROTOCOL,
            };
            row(
                named("messages", &vector),
                expected,
                move |world| async move {
                    let clock = u32::try_from(vector["clock"].as_u64().unwrap()).unwrap();
                    world.clock.set(clock);
                    let seen = batch(&world, bytes_of(&vector["payload"]).into()).await;
                    world.clock.set(NOW.0);
                    seen
                },
            )
        })
        .collect()
}

fn blamed_in(vector: &Value) -> usize {
    let answers = vector["answers"].as_array().unwrap();
    let response = answers.iter().find(|answer| answer["code"] == 12).unwrap();
    match MessageResponse::decode(&bytes_of(&response["payload"])).unwrap() {
        MessageResponse::Batch { faults, .. } => faults.len(),
        other => panic!("{other:?}"),
    }
}

fn envelope(sent: u32, ttl: u32, nonce: u64) -> Envelope {
    let expiry = Expiry::of(UnixSeconds(sent), Ttl(ttl));
    Envelope::new(expiry, Ttl(ttl), Topic([1; 4]), &[7; 300], nonce)
}

fn messages() -> Vec<Row> {
    let list = |envelopes: Vec<Envelope>| Packet::Messages(envelopes).encode();
    let cut_short = {
        let whole = list(vec![envelope(NOW.0, 50, 1)]);
        whole.slice(..whole.len() - 1)
    };
    let wrapping = Envelope::new(Expiry(5), Ttl(50), Topic([1; 4]), &[], 0);
    let huge = Envelope::new(
        Expiry::of(NOW, Ttl(50)),
        Ttl(50),
        Topic([1; 4]),
        &vec![7; (1 << 20) + 1],
        0,
    );
    let nested = Bytes::from(vec![0xc1; 2_000]);
    [
        ("messages: cut short", cut_short, SUBPROTOCOL),
        ("messages: nothing", Bytes::new(), SUBPROTOCOL),
        ("messages: lists in lists", nested, SUBPROTOCOL),
        (
            "messages: a length of 2^64",
            Bytes::from(vec![0xff; 9]),
            SUBPROTOCOL,
        ),
        (
            "messages: a lifetime longer than the time since 1970",
            list(vec![wrapping]),
            Reaction::Acked(1),
        ),
        (
            "messages: an envelope above the limit",
            list(vec![huge]),
            Reaction::Acked(1),
        ),
        (
            "messages: a hundred without work",
            list((0..100).map(|n| envelope(NOW.0, 5_000, n)).collect()),
            Reaction::Acked(100),
        ),
        (
            "messages: an hour ahead",
            list(vec![envelope(NOW.0 + 3_600, 50, 1)]),
            Reaction::Acked(1),
        ),
        (
            "messages: a year old",
            list(vec![envelope(NOW.0 - 31_536_000, 50, 1)]),
            Reaction::Acked(1),
        ),
    ]
    .into_iter()
    .map(|(name, payload, expected)| {
        row(name, expected, |world| async move {
            batch(&world, payload).await
        })
    })
    .collect()
}

/// A row of a peer that sends one packet after its status.
pub fn one_packet(name: &str, expected: Reaction, code: u8, payload: Vec<u8>) -> Row {
    row(name, expected, move |world| async move {
        let peer = Packets::ready(&world).await;
        peer.send(code, payload).await;
        peer.ignored().await
    })
}

fn confirmations() -> Vec<Row> {
    let of_nothing = [&[0xa0][..], &[9; 32]].concat();
    vec![
        one_packet(
            "acknowledged: a batch never sent",
            Reaction::Ignored,
            11,
            of_nothing,
        ),
        one_packet("acknowledged: 31 bytes", SUBPROTOCOL, 11, vec![0x9f; 32]),
        one_packet("acknowledged: a list", SUBPROTOCOL, 11, vec![0xc0]),
        one_packet("response: no list", SUBPROTOCOL, 12, vec![0x83, 1, 2, 3]),
        one_packet("response: a list cut short", SUBPROTOCOL, 12, vec![0xc8, 1]),
        one_packet(
            "response: of another version",
            Reaction::Ignored,
            12,
            vec![0xc2, 7, 0xc0],
        ),
        one_packet(
            "response: noise inside",
            Reaction::Ignored,
            12,
            vec![0xc2, 1, 5],
        ),
    ]
}

fn untrusted() -> Vec<Row> {
    let mut rows = Vec::new();
    for code in [20, 50, 124, 125, 127] {
        rows.push(one_packet(
            &format!("code {code}: from nobody we trust"),
            Reaction::Ignored,
            code,
            vec![0xff; 40],
        ));
    }
    for (name, payload) in [
        ("sync request: noise", vec![0xff; 40]),
        ("sync request: backwards", vec![0xc5, 9, 8, 0x80, 5, 0x80]),
        (
            "sync request: a limit of none",
            vec![0xc5, 1, 2, 0x80, 0x80, 0x80],
        ),
        (
            "sync request: a limit of 1,001",
            vec![0xc7, 1, 2, 0x80, 0x82, 3, 0xe9, 0x80],
        ),
    ] {
        rows.push(one_packet(name, SUBPROTOCOL, 123, payload));
    }
    rows.push(one_packet(
        "code 50: more than a packet may hold",
        SUBPROTOCOL,
        50,
        vec![0; PACKET_LIMIT + 1],
    ));
    rows.push(row(
        "code 1: before the status",
        SUBPROTOCOL,
        |world| async move {
            let peer = Packets::connect(&world).await;
            peer.send(code::MESSAGES, vec![0xc0]).await;
            peer.ignored().await
        },
    ));
    rows
}

fn slow() -> Vec<Row> {
    let useless = Reaction::Told(DisconnectReason::UselessPeer);
    vec![
        slow_row("status: none", useless, |world| async move {
            let mut peer = Packets::connect(&world).await;
            loop {
                if let Err(ended) = peer.next().await {
                    return ended;
                }
            }
        }),
        slow_row(
            "mail: asked for and not read",
            Reaction::Ledger(Reason::SlowReader),
            |world| async move {
                let key = NodeKey::generate();
                let id = key.id();
                let peer = Packets::connect_as(&world, key).await;
                let (unread, writer) = peer.0.split();
                let status = Packet::Status(gwa::whisper::status::Status::default());
                writer.send(16, status.encode()).await.unwrap();
                let mut request = open_request(1);
                request.limit = 1_000;
                for _ in 0..200 {
                    let payload = payload_of(request.clone());
                    if writer.send(16 + 126, payload).await.is_err() {
                        break;
                    }
                }
                let reason = world.dropped(&id).await;
                drop(unread);
                Reaction::Ledger(reason)
            },
        ),
    ]
}
