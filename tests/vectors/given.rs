//! Reads what a vector gives: bytes, CIDs, sets of envelopes.

use bytes::Bytes;
use gwa::archive::key::Key;
use gwa::archive::leaf::Record;
use gwa::archive::sums::{Fingerprint, Sums};
use gwa::blocks::{Block, Cid, Codec};
use gwa::keccak::keccak256;
use gwa::time::{Expiry, Ttl, UnixSeconds};
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

pub fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

pub fn small<T: TryFrom<u64>>(value: &Value) -> T {
    let fits = T::try_from(number(value)).ok();
    fits.expect("a number that fits its field")
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Hex, or a list of parts: hex, or `{hex, times}`.
pub fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(hex) => hex::decode(hex).expect("hex"),
        Value::Array(parts) => parts.iter().flat_map(bytes).collect(),
        part => bytes(&part["hex"]).repeat(small(&part["times"])),
    }
}

pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value)
        .try_into()
        .expect("bytes of the field's length")
}

pub fn cid(value: &Value) -> Cid {
    text(value).parse().expect("a CID")
}

pub fn cids(value: &Value) -> Vec<Cid> {
    list(value).iter().map(cid).collect()
}

/// `null`, or a CID.
pub fn maybe_cid(value: &Value) -> Option<Cid> {
    (!value.is_null()).then(|| cid(value))
}

/// `[count, bytes, fingerprint]`.
pub fn sums(value: &Value) -> Sums {
    Sums {
        count: number(&value[0]),
        bytes: number(&value[1]),
        fingerprint: Fingerprint(array(&value[2])),
    }
}

/// The block of a vector: `bytes`, and `codec` where it is `raw`.
pub fn block(given: &Value) -> Block {
    let codec = match given["codec"].as_str() {
        Some("raw") => Codec::Raw,
        None | Some("dag-cbor") => Codec::DagCbor,
        Some(other) => panic!("codec {other} is none of ours"),
    };
    Block::new(codec, bytes(&given["bytes"]))
}

/// A set of envelopes, in the order given: `rlp`, `corpus` or `drawn`.
pub fn records(set: &Value) -> Vec<Record> {
    if let Some(rlp) = set.get("rlp") {
        return list(rlp).iter().map(|rlp| record(bytes(rlp))).collect();
    }
    if let Some(range) = set.get("corpus") {
        return corpus(small(&range["from"]), small(&range["count"]));
    }
    let drawn = set.get("drawn").expect("rlp, corpus or drawn");
    (0..number(&drawn["count"]))
        .map(|n| draw(drawn, n))
        .collect()
}

/// The record of an envelope's RLP.
pub fn record(rlp: Vec<u8>) -> Record {
    let rlp = Bytes::from(rlp);
    let envelope = Envelope::decode(&rlp).expect("an envelope");
    Record {
        key: Key::from(&envelope),
        bytes: rlp,
    }
}

fn corpus(from: usize, count: usize) -> Vec<Record> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/corpus/envelopes.rlps"
    );
    let mut rest = Bytes::from(std::fs::read(path).expect("the corpus"));
    let mut records = Vec::with_capacity(count);
    for at in 0..from + count {
        let envelope = Envelope::decode_first(&mut rest).expect("an envelope of the corpus");
        if at >= from {
            records.push(Record {
                key: Key::from(&envelope),
                bytes: envelope.rlp().clone(),
            });
        }
    }
    records
}

/// Envelope `n` of a drawn set; see `fixtures/archive/README.md`.
fn draw(set: &Value, n: u64) -> Record {
    let field = |name: &str| small::<u32>(&set[name]);
    let d = random(number(&set["seed"]), n);
    let sent = field("from")
        + u32::from_be_bytes([d[0], d[1], d[2], d[3]]) % (field("to") - field("from"));
    let topic = u8::try_from(u32::from(d[4]) % field("topics")).expect("below 256");
    let len = u32::from(u16::from_be_bytes([d[5], d[6]])) % field("data");
    let data: Vec<u8> = d.iter().copied().cycle().take(len as usize).collect();
    let ttl = Ttl(50);
    let expiry = Expiry::of(UnixSeconds(sent), ttl);
    let envelope = Envelope::new(expiry, ttl, Topic([topic; 4]), &data, n);
    Record {
        key: Key::from(&envelope),
        bytes: envelope.rlp().clone(),
    }
}

/// `keccak256(seed || n)`, both as 8 bytes, big endian.
pub fn random(seed: u64, n: u64) -> [u8; 32] {
    keccak256([seed.to_be_bytes(), n.to_be_bytes()].concat())
}
