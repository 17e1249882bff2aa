use std::fs;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Payloads as status-go makes them and as others do. The explorer reads the same.
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/status/payloads.json");

pub(super) fn fixture() -> Value {
    serde_json::from_slice(&fs::read(VECTORS).unwrap()).unwrap()
}

fn vectors() -> Vec<Value> {
    match fixture()["vectors"].take() {
        Value::Array(vectors) => vectors,
        other => panic!("no vectors: {other}"),
    }
}

fn payload(vector: &Value) -> Vec<u8> {
    hex::decode(&vector["payload"].as_str().unwrap()[2..]).unwrap()
}

#[test]
fn what_status_go_and_others_write_reads_as_it_was_meant() {
    let vectors = vectors();
    assert!(vectors.len() > 60);
    for vector in vectors {
        let said = serde_json::to_value(read(&payload(&vector))).unwrap();
        assert_eq!(said, vector["said"], "{}", vector["name"]);
    }
}

#[test]
fn a_payload_of_no_known_format_is_told_to_be_unknown() {
    let payloads: [&[u8]; 6] = [
        b"",
        &[0xff, 0xfe],
        &[0, 1, 2, 3],
        &[8, 1],
        b"[\"~#q9\",[\"x\"]]",
        b" {\"a\": 1}",
    ];
    for payload in payloads {
        assert_eq!(read(payload).format, Format::Unknown, "{payload:?}");
    }
    assert_eq!(read(b"hello\n\tthere").format, Format::Text);
    assert_eq!(read("[sic] שלום 👋".as_bytes()).format, Format::Text);
}

#[test]
fn a_payload_beyond_all_messages_is_not_read() {
    let long = vec![b'a'; MAX_PAYLOAD + 1];
    let said = read(&long);
    assert_eq!((said.format, said.text), (Format::Unknown, None));
    assert_eq!(read(&long[1..]).format, Format::Text);
}

#[test]
fn one_layer_is_taken_off_and_no_second_one() {
    let published = |inner: &[u8]| {
        // Field 102, of bytes, and below 128 of them.
        let mut layer = vec![0xb2, 0x06, u8::try_from(inner.len()).unwrap()];
        layer.extend(inner);
        layer
    };
    assert_eq!(read(&published(b"hello")), read(b"hello"));
    let twice = read(&published(&published(b"hello")));
    assert_eq!(twice.format, Format::Unknown);
}

#[test]
fn keys_are_told_apart_by_their_ends() {
    let key = secp256k1::SecretKey::from_secret_bytes([7; 32])
        .unwrap()
        .public_key();
    let full = full_key(&key);
    assert_eq!(full.len(), 2 + 130);
    let short = short_key(&key);
    let (start, end) = short.split_once("..").unwrap();
    assert!(full.starts_with(start) && full.ends_with(end), "{short}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_told_unknown(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let said = read(&bytes);
        prop_assert_eq!(said.author.is_some(), said.id.is_some());
    }

    #[test]
    fn any_text_without_controls_is_shown_as_it_is(text in "[^\\x00-\\x1f\\x7f\\[{]\\PC{0,80}") {
        let said = read(text.as_bytes());
        prop_assert_eq!(said.format, Format::Text);
        prop_assert_eq!(said.text, Some(text));
    }

    #[test]
    fn a_message_with_a_byte_changed_never_passes_for_its_authors(
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        which in any::<prop::sample::Index>(),
    ) {
        let vectors = vectors();
        let signed: Vec<&Value> = vectors
            .iter()
            .filter(|vector| vector["said"]["author"].is_string())
            .filter(|vector| !vector["name"].as_str().unwrap().contains("layer"))
            .collect();
        let vector = which.get(&signed);
        let honest = payload(vector);
        let mut bent = honest.clone();
        bent[at.index(honest.len())] ^= 1 << bit;
        let (honest, bent) = (read(&honest), read(&bent));
        // The type stands outside of what is signed; the name of the message tells.
        prop_assert_ne!(honest.id, bent.id);
        if bent.author == honest.author {
            prop_assert_ne!(honest.kind, bent.kind);
        }
    }
}
