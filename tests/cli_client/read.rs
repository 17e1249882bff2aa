//! `gwa read`.

use gwa::reading::short_key;
use gwa::rlpx::NodeKey;
use gwa::time::{Expiry, Ttl};
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{MessageRandom, Reader, seal};
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use crate::house::{House, now};

/// The secret key of the author of `fixtures/status/payloads.json`.
const AUTHOR: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// The chat that is read.
const CHAT: &str = "status";

/// Payloads as status-go makes them and as others do, and what they say.
fn payloads() -> Vec<(Vec<u8>, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/status/payloads.json");
    let file = std::fs::read(path).expect("the fixture");
    let mut file: Value = serde_json::from_slice(&file).expect("JSON");
    let Value::Array(vectors) = file["vectors"].take() else {
        panic!("no vectors");
    };
    let payload = |vector: &Value| {
        let hex = vector["payload"].as_str().expect("hex");
        hex::decode(&hex[2..]).expect("hex")
    };
    vectors
        .iter()
        .map(|vector| (payload(vector), vector["said"].clone()))
        .collect()
}

/// Envelopes of the chat, of the last hour, a second apart and in order.
fn envelopes<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    signer: Option<&NodeKey>,
) -> Vec<Envelope> {
    let key = SymKey::from_password(CHAT);
    let start = now().saturating_sub(1_800);
    let ttl = Ttl(50);
    (0..)
        .zip(payloads)
        .map(|(at, payload)| {
            let signer = signer.map(NodeKey::secret);
            let reader = Reader::Holders(&key);
            let data = seal(payload, signer, reader, &MessageRandom::draw()).expect("short");
            let expiry = Expiry::of(start.saturating_add(at), ttl);
            Envelope::new(expiry, ttl, Topic::of_public_chat(CHAT), &data, 0)
        })
        .collect()
}

#[test]
fn what_status_clients_wrote_is_read_out_of_an_archive() {
    let house = House::new();
    let author: NodeKey = AUTHOR.parse().expect("a key");
    let payloads = payloads();
    let bodies = payloads.iter().map(|(payload, _)| payload.as_slice());
    house.archive("a", &envelopes(bodies, Some(&author)));
    house.run("a", &["seal"]).expect(0);

    let ended = house
        .run("a", &["--json", "read", "--chat", CHAT])
        .expect(0);
    assert_eq!(ended.err, "");
    let rows = ended.objects();
    assert_eq!(rows.len(), payloads.len());
    for (row, (_, said)) in rows.iter().zip(&payloads) {
        for (field, value) in said.as_object().expect("an object") {
            assert_eq!(&row[field], value, "{field} of {row}");
        }
        assert_eq!(row["signer"], format!("0x04{}", author.id()), "{row}");
    }

    let lines = house.run("a", &["read", "--chat", CHAT]).expect(0).out;
    let sender = short_key(&author.secret().public_key());
    for part in [
        format!("{sender} alice.eth: good morning\n"),
        format!("{sender}: [sticker e30101701220ab of pack 3]\n"),
        format!("{sender}: [emoji] 👋\n"),
        format!("{sender} bob.eth: [contact update]\n"),
        format!("{sender}: [direct message]\n"),
        format!("{sender}: abc123\n"),
        format!("{sender}: [unpin message] [about 0x01]\n"),
    ] {
        assert!(lines.contains(&part), "no {part:?} in:\n{lines}");
    }
}

#[test]
fn whoever_passes_a_message_on_is_told_from_its_author() {
    let house = House::new();
    let author: NodeKey = AUTHOR.parse().expect("a key");
    let courier = NodeKey::generate();
    let (payload, _) = &payloads()[0];
    house.archive("a", &envelopes([payload.as_slice()], Some(&courier)));
    house.run("a", &["seal"]).expect(0);

    let line = house.run("a", &["read", "--chat", CHAT]).expect(0).out;
    let [author, courier] = [&author, &courier].map(|key| short_key(&key.secret().public_key()));
    let expected = format!("{author} (sent by {courier}) alice.eth: good morning\n");
    assert!(line.ends_with(&expected), "{line}");
}

#[test]
fn hostile_and_foreign_bodies_do_nothing_to_a_terminal() {
    let house = House::new();
    let evil = "\x1b]0;title\x07\u{9b}31m\u{202e}tac\r\nnext line";
    let bodies: [&[u8]; 3] = [evil.as_bytes(), &[0xff; 40], br#"{"app": 1}"#];
    house.archive("a", &envelopes(bodies, None));
    house.run("a", &["seal"]).expect(0);

    let inert = |text: &str| text.chars().all(|c| c == '\n' || matches!(c, ' '..='~'));
    let ended = house.run("a", &["read", "--chat", CHAT]).expect(0);
    assert_eq!(ended.out.lines().count(), bodies.len());
    assert!(inert(&ended.out), "{:?}", ended.out);
    for part in [
        "unsigned: [unknown application format, 40 bytes]\n",
        "unsigned: [unknown application format, JSON, 10 bytes] {\"app\": 1}\n",
    ] {
        assert!(ended.out.contains(part), "no {part:?} in:\n{}", ended.out);
    }

    let ended = house
        .run("a", &["--json", "read", "--chat", CHAT])
        .expect(0);
    assert!(inert(&ended.out), "{:?}", ended.out);
    assert!(ended.objects().iter().any(|row| row["text"] == evil));
}
