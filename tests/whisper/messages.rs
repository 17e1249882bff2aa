//! `messages.json`.

use gwa::keccak::keccak256;
use gwa::rlpx::ecies;
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{Opened, compose, decrypt_symmetric, padding_len};
use gwa::whisper::pow::Work;
use gwa::whisper::{Envelope, Topic};
use secp256k1::{PublicKey, SecretKey};
use serde_json::Value;

use crate::fixture::{
    bytes, decimal, file, hash, hex_bytes, list, name, number, number32, size, text, topic,
};

#[test]
fn messages_open_as_in_geth() {
    let file = file("wire/messages.json");
    let mut passwords = 0;
    for vector in list(&file, "vectors") {
        let name = name(vector);
        let envelope = Envelope::decode(&bytes(vector, "envelope_rlp")).unwrap();
        assert_eq!(envelope.data().len(), size(vector, "data_len"), "{name}");
        assert_eq!(envelope.topic(), topic(vector, "topic"), "{name}");
        if let Some(password) = vector["password"].as_str() {
            let key = SymKey::from_password(password);
            assert_eq!(key.secret_bytes()[..], bytes(vector, "sym_key"), "{name}");
            passwords += 1;
        }
        let plain = decrypt(vector, &envelope).unwrap_or_else(|| panic!("{name} decrypts"));
        assert_eq!(
            hex_bytes(text(vector, "plaintext_keccak256"))[..],
            keccak256(&plain),
            "{name}"
        );
        if let Some(expected) = vector["plaintext"].as_str() {
            assert_eq!(hex_bytes(expected), plain, "{name}");
        }
        let opened = Opened::validate(&plain).unwrap();
        check_result(name, &opened, &envelope, vector, &vector["result"]);

        assert_eq!(opened.payload.len(), size(vector, "payload_len"), "{name}");
        assert_eq!(bytes(vector, "payload"), opened.payload, "{name}");
        let signer = vector["src_private_key"].as_str().map(secret_key);
        assert_eq!(
            opened.signer,
            signer.as_ref().map(SecretKey::public_key),
            "{name}"
        );
        if let Some(public) = vector["src_public_key"].as_str() {
            assert_eq!(opened.signer, Some(public_key(public)), "{name}");
        }
        match vector["custom_padding"].as_str() {
            Some(padding) => assert_eq!(hex_bytes(padding), opened.padding, "{name}"),
            None => assert_eq!(
                opened.padding.len(),
                padding_len(opened.payload.len(), signer.is_some()),
                "{name}"
            ),
        }
        // Signatures are deterministic, so the plaintext comes out the same.
        let composed = compose(&opened.payload, &opened.padding, signer.as_ref()).unwrap();
        assert_eq!(*composed, plain, "{name}");
    }
    assert!(passwords > 0);
}

#[test]
fn hand_made_plaintexts_are_valid_exactly_where_geth_says_so() {
    let file = file("wire/messages.json");
    for vector in list(&file, "crafted") {
        let name = name(vector);
        assert_eq!(vector["decrypted"], true, "{name}");
        let envelope = Envelope::decode(&bytes(vector, "envelope_rlp")).unwrap();
        let plain = decrypt(vector, &envelope).unwrap_or_else(|| panic!("{name} decrypts"));
        assert_eq!(bytes(vector, "plaintext"), plain, "{name}");
        let opened = Opened::validate(&plain);
        // Where the reference crashes, it is counted as refused.
        assert_eq!(opened.is_ok(), vector["valid"] == true, "{name}");
        assert!(vector["panic"].is_null() || opened.is_err(), "{name}");
        match opened {
            Ok(opened) => check_result(name, &opened, &envelope, vector, &vector["result"]),
            Err(_) => assert!(vector["result"].is_null(), "{name}"),
        }
    }
}

#[test]
fn what_geth_does_not_open_stays_closed() {
    let file = file("wire/messages.json");
    for vector in list(&file, "negative") {
        let name = name(vector);
        let envelope = Envelope::decode(&bytes(vector, "envelope_rlp")).unwrap();
        match decrypt(vector, &envelope) {
            None => {
                assert_eq!(vector["decrypted"], false, "{name}");
                assert!(!text(vector, "error").is_empty(), "{name}");
            }
            Some(plain) => {
                assert_eq!(vector["decrypted"], true, "{name}");
                assert_eq!(bytes(vector, "raw"), plain, "{name}");
                assert_eq!(vector["valid"], false, "{name}");
                assert!(Opened::validate(&plain).is_err(), "{name}");
            }
        }
    }
}

fn decrypt(vector: &Value, envelope: &Envelope) -> Option<Vec<u8>> {
    match text(vector, "kind") {
        "symmetric" => {
            let key = bytes(vector, "sym_key")[..].try_into().unwrap();
            let plain = decrypt_symmetric(&SymKey::new(key).unwrap(), envelope.data());
            plain.ok().map(|plain| plain.to_vec())
        }
        "asymmetric" => {
            let key = secret_key(text(vector, "dst_private_key"));
            if let Some(public) = vector["dst_public_key"].as_str() {
                assert_eq!(key.public_key(), public_key(public));
            }
            ecies::decrypt(&key, envelope.data(), &[]).ok()
        }
        other => panic!("unknown kind {other}"),
    }
}

fn check_result(name: &str, opened: &Opened, envelope: &Envelope, vector: &Value, result: &Value) {
    assert_eq!(u64::from(opened.flags), number(result, "flags"), "{name}");
    let payload = match text(result, "payload") {
        "same as payload" => text(vector, "payload"),
        payload => payload,
    };
    assert_eq!(hex_bytes(payload), opened.payload, "{name}");
    assert_eq!(bytes(result, "padding"), opened.padding, "{name}");
    assert_eq!(opened.padding.len(), size(result, "padding_len"), "{name}");
    let signature = opened.signature.map_or(Vec::new(), Vec::from);
    assert_eq!(bytes(result, "signature"), signature, "{name}");
    match text(result, "src_public_key") {
        "" => assert_eq!(opened.signer, None, "{name}"),
        key => assert_eq!(opened.signer, Some(public_key(key)), "{name}"),
    }
    match text(result, "dst_public_key") {
        "" => assert_eq!(text(vector, "kind"), "symmetric", "{name}"),
        key => assert_eq!(
            secret_key(text(vector, "dst_private_key")).public_key(),
            public_key(key),
            "{name}"
        ),
    }
    let (salt, key_hash) = match vector["sym_key"].as_str() {
        Some(key) => {
            let key = SymKey::new(hex_bytes(key)[..].try_into().unwrap()).unwrap();
            let nonce = envelope.data().last_chunk::<12>().unwrap().to_vec();
            (nonce, key.fingerprint())
        }
        None => (Vec::new(), [0; 32]),
    };
    assert_eq!(bytes(result, "salt"), salt, "{name}");
    assert_eq!(bytes(result, "sym_key_hash")[..], key_hash, "{name}");
    assert_eq!(
        Topic(bytes(result, "topic")[..].try_into().unwrap()),
        envelope.topic(),
        "{name}"
    );
    assert_eq!(number32(result, "ttl"), envelope.ttl().0, "{name}");
    assert_eq!(number32(result, "sent"), envelope.sent().0, "{name}");
    assert_eq!(
        decimal(result, "pow"),
        Work::of(envelope).trailing.get(),
        "{name}"
    );
    assert_eq!(hash(result, "envelope_hash"), envelope.hash(), "{name}");
}

fn secret_key(hex: &str) -> SecretKey {
    SecretKey::from_secret_bytes(hex_bytes(hex)[..].try_into().unwrap()).unwrap()
}

fn public_key(hex: &str) -> PublicKey {
    PublicKey::from_slice(&hex_bytes(hex)).unwrap()
}
