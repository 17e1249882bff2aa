//! The recorded sessions: every packet that two real programs exchanged.

use gwa::whisper::keys::SymKey;
use gwa::whisper::message::Opened;
use gwa::whisper::packet::{Packet, batch_hash, code};
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use crate::fixture::{bytes, file, hash, list, number, number32, text, topic};

const CAPTURES: [&str; 2] = [
    "captures/session_status_mailserver.json",
    "captures/session_geth_mailserver.json",
];

#[test]
fn every_recorded_packet_reads_and_is_written_the_same() {
    for capture in CAPTURES {
        let file = file(capture);
        for session in ["vectors", "feeder"] {
            let mut last_batch = None;
            for vector in list(&file, session) {
                let name = format!("{capture} {session} {}", vector["seq"]);
                let payload = bytes(vector, "payload");
                let code = u8::try_from(number(vector, "code")).unwrap();
                let packet =
                    Packet::decode(code, &payload).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert!(!matches!(packet, Packet::Ignored(_)), "{name}");
                assert_eq!(packet.code(), code, "{name}");
                assert_eq!(packet.encode(), payload, "{name}");
                match &packet {
                    Packet::Messages(envelopes) => {
                        check_hashes(&name, envelopes, vector);
                        last_batch = Some(batch_hash(&payload));
                    }
                    Packet::P2pMessage(envelopes) => check_hashes(&name, envelopes, vector),
                    Packet::BatchAcknowledged(batch) => assert_eq!(Some(*batch), last_batch),
                    _ => {}
                }
            }
        }
    }
}

fn check_hashes(name: &str, envelopes: &[Envelope], vector: &Value) {
    let hashes: Vec<String> = envelopes
        .iter()
        .map(|envelope| envelope.hash().to_string())
        .collect();
    assert_eq!(
        serde_json::json!(hashes),
        vector["envelope_hashes"],
        "{name}"
    );
}

#[test]
fn what_was_posted_opens_with_the_key_of_its_chat() {
    for capture in CAPTURES {
        let file = file(capture);
        let keys: Vec<(Topic, SymKey)> = list(&file, "topics")
            .iter()
            .map(|chat| {
                let name = text(chat, "name");
                let key = SymKey::from_password(name);
                assert_eq!(key.secret_bytes()[..], bytes(chat, "sym_key"));
                assert_eq!(Topic::of_public_chat(name), topic(chat, "topic"));
                (topic(chat, "topic"), key)
            })
            .collect();
        for vector in list(&file, "posted") {
            let envelope = Envelope::decode(&bytes(vector, "rlp")).unwrap();
            assert_eq!(envelope.hash(), hash(vector, "hash"));
            assert_eq!(envelope.topic(), topic(vector, "topic"));
            assert_eq!(envelope.sent().0, number32(vector, "sent"));
            assert_eq!(envelope.ttl().0, number32(vector, "ttl"));
            let (_, key) = keys
                .iter()
                .find(|(topic, _)| *topic == envelope.topic())
                .unwrap();
            let opened = Opened::open_symmetric(key, envelope.data()).unwrap();
            let payload = String::from_utf8(opened.payload).unwrap();
            // Long payloads are recorded as a description of themselves.
            let expected = text(vector, "payload");
            assert!(
                payload == expected || expected.len() < payload.len(),
                "{expected}"
            );
        }
    }
}

#[test]
fn every_code_of_the_protocol_was_recorded() {
    let mut seen = std::collections::BTreeSet::new();
    for capture in CAPTURES {
        for vector in list(&file(capture), "vectors") {
            seen.insert(number(vector, "code"));
        }
    }
    for code in [
        code::STATUS,
        code::MESSAGES,
        code::POW_REQUIREMENT,
        code::BLOOM_FILTER,
        code::BATCH_ACKNOWLEDGED,
        code::MESSAGE_RESPONSE,
        code::REQUEST_COMPLETE,
        code::REQUEST,
        code::P2P_MESSAGE,
    ] {
        assert!(seen.contains(&u64::from(code)), "{code}");
    }
}
