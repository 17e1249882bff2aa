//! Heads that cannot be, signed all the same.

use gwa::archive::cbor;
use gwa::blocks::{Block, Codec};
use gwa::keccak::keccak256;
use ipld_core::ipld::Ipld;
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, SecretKey};
use serde_json::json;

use super::{ipld, link};
use crate::Vector;
use crate::accepted::head_fields;
use crate::compute;

type Fields = std::collections::BTreeMap<String, Ipld>;

/// The fields of the accepted head `head-full`, unsigned.
fn sound() -> Fields {
    let given = json!({ "secret": "33".repeat(32), "head": head_fields() });
    let signed = compute::expect("head", &given);
    let unsigned = crate::given::bytes(&signed["unsigned"]);
    match cbor::decode(&unsigned) {
        Ok(Ipld::Map(fields)) => fields,
        other => panic!("a head is a map, not {other:?}"),
    }
}

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_secret_bytes([byte; 32]).expect("a secret key")
}

fn signature(fields: &Fields, by: &SecretKey) -> [u8; 65] {
    let digest = Message::from_digest(keccak256(ipld(fields.clone())));
    let (v, rs) = RecoverableSignature::sign_ecdsa_recoverable(digest, by).serialize_compact();
    let mut sig = [0; 65];
    sig[..64].copy_from_slice(&rs);
    sig[64] = v.to_u8();
    sig
}

fn with_signature(mut fields: Fields, sig: &[u8]) -> Vec<u8> {
    fields.insert("sig".to_owned(), Ipld::Bytes(sig.to_vec()));
    ipld(fields)
}

fn signed(fields: Fields) -> Vec<u8> {
    let sig = signature(&fields, &secret(0x33));
    with_signature(fields, &sig)
}

/// The same signature with the other of the two valid values of `s`.
fn high_s(mut sig: [u8; 65]) -> [u8; 65] {
    let s = SecretKey::from_secret_bytes(sig[32..64].try_into().expect("32 bytes"));
    let negated = s.expect("s is below the order").negate();
    sig[32..64].copy_from_slice(&negated.to_secret_bytes());
    sig[64] ^= 1;
    sig
}

pub fn all() -> Vec<Vector> {
    let of = |name, rule, bytes: Vec<u8>| super::of("head", name, rule, bytes);
    let changed = |name, rule, field: &str, value: Ipld| {
        let mut fields = sound();
        fields.insert(field.to_owned(), value);
        of(name, rule, signed(fields))
    };
    let dag = |n| Ipld::Link(link(Codec::DagCbor, n));
    let plain = |n| Ipld::Bytes(link(Codec::DagCbor, n).to_bytes());
    let honest = signed(sound());
    let sig = signature(&sound(), &secret(0x33));
    let mut v27 = sig;
    v27[64] += 27;
    let mut without_key = sound();
    without_key.remove("key");
    let mut first = sound();
    first.insert("seq".to_owned(), Ipld::Integer(1));
    let mut later = sound();
    later.insert("prev".to_owned(), Ipld::Null);
    let mut version_2 = sound();
    version_2.insert("v".to_owned(), Ipld::Integer(2));
    version_2.insert("witness".to_owned(), Ipld::Integer(0));
    let Ipld::Bytes(mut long_cid) = plain(4) else {
        panic!("a CID is bytes")
    };
    long_cid.push(0);
    let mut large = sound();
    large.insert("name".to_owned(), Ipld::String("x".repeat(600)));
    assert!(signed(large.clone()).len() > 1_024);
    let mut raw = of("head-raw", "a head's codec is DAG-CBOR", honest.clone());
    raw.given["codec"] = "raw".into();
    assert!(gwa::archive::head::Head::decode(Block::new(Codec::DagCbor, honest.clone())).is_ok());
    vec![
        of(
            "head-high-s",
            "s is the lower of its two values",
            with_signature(sound(), &high_s(sig)),
        ),
        of(
            "head-recovery-id-27",
            "v is 0 to 3",
            with_signature(sound(), &v27),
        ),
        of(
            "head-signed-by-another",
            "the signature is the key's",
            with_signature(sound(), &signature(&sound(), &secret(0x44))),
        ),
        of("head-unsigned", "a head is signed", ipld(sound())),
        of(
            "head-signature-of-64",
            "a signature has 65 bytes",
            with_signature(sound(), &sig[..64]),
        ),
        of("head-without-key", "a head has a key", signed(without_key)),
        of(
            "head-version-2",
            "a later version is known as one, whatever its fields",
            signed(version_2),
        ),
        of("head-version-0", "the version is 1", {
            let mut fields = sound();
            fields.insert("v".to_owned(), Ipld::Integer(0));
            signed(fields)
        }),
        of(
            "head-too-long",
            "a head has at most 1,024 bytes",
            signed(large),
        ),
        changed(
            "head-long-name",
            "a name has at most 32 bytes",
            "name",
            Ipld::String("x".repeat(33)),
        ),
        changed(
            "head-long-network",
            "a network has at most 32 bytes",
            "network",
            Ipld::String("x".repeat(33)),
        ),
        changed(
            "head-sequence-0",
            "sequence numbers start at 1",
            "seq",
            Ipld::Integer(0),
        ),
        of(
            "head-first-with-previous",
            "the first head has none before it",
            signed(first),
        ),
        of(
            "head-later-without-previous",
            "a later head has one before it",
            signed(later),
        ),
        changed(
            "head-watermark-off",
            "a watermark is a multiple of 300",
            "watermark",
            Ipld::Integer(1_538_395_201),
        ),
        changed(
            "head-twelve-open",
            "at most 11 deltas are open",
            "open",
            Ipld::List(vec![dag(2); 12]),
        ),
        changed(
            "head-three-merged",
            "at most 2 heads are merged",
            "merged",
            Ipld::List(vec![plain(2); 3]),
        ),
        changed(
            "head-previous-is-link",
            "the lineage is bytes, not links",
            "prev",
            dag(4),
        ),
        changed(
            "head-state-is-bytes",
            "the state is a link",
            "state",
            plain(1),
        ),
        changed(
            "head-previous-trailing-byte",
            "nothing follows a CID of the lineage",
            "prev",
            Ipld::Bytes(long_cid),
        ),
        changed(
            "head-previous-no-cid",
            "the lineage holds CIDs",
            "prev",
            Ipld::Bytes(vec![1, 2, 3]),
        ),
        changed(
            "head-state-cidv0",
            "a link is CIDv1",
            "state",
            Ipld::Link(gwa::blocks::Cid::new_v0(*link(Codec::Raw, 1).hash()).expect("sha2-256")),
        ),
        changed(
            "head-unknown-field",
            "no field beside those of a head",
            "x",
            Ipld::Integer(0),
        ),
        of(
            "head-sums-not-three",
            "sums are count, bytes and fingerprint",
            {
                let mut fields = sound();
                fields.insert(
                    "totals".to_owned(),
                    Ipld::List(vec![Ipld::Integer(1), Ipld::Integer(2)]),
                );
                signed(fields)
            },
        ),
        raw,
    ]
}
