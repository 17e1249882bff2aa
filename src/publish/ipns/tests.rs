//! Records against boxo's, which is what Kubo makes and takes, and against a second
//! implementation.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ipld_core::ipld::Ipld;
use proptest::prelude::*;
use serde::Deserialize;

use super::record::sign_data;
use super::*;
use crate::archive::cbor;
use crate::archive::head::{Head, HeadBody, Sequence};
use crate::archive::sums::Sums;
use crate::archive::watermark::Watermark;
use crate::publish::Hints;
use crate::time::UnixSeconds;

pub(super) const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    what: String,
    secret: Option<String>,
    name: String,
    legacy: String,
    value: String,
    sequence: u64,
    until: String,
    ttl_ns: u64,
    record: String,
    valid: bool,
}

impl Vector {
    fn bytes(&self) -> Bytes {
        unhex(&self.record).into()
    }

    fn key(&self) -> Option<IpnsKey> {
        let secret = self.secret.as_ref()?;
        Some(IpnsKey::from_protobuf(&unhex(secret)).unwrap())
    }
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.trim_start_matches("0x")).unwrap()
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../fixtures/ipns/records.json");
    serde_json::from_str::<Vectors>(text).unwrap().vectors
}

fn vector(what: &str) -> Vector {
    let all = vectors();
    all.into_iter().find(|vector| vector.what == what).unwrap()
}

pub(super) fn head(sequence: u64, name: &str) -> Head {
    let before = crate::blocks::Block::new(crate::blocks::Codec::Raw, &b"before"[..]);
    let body = HeadBody {
        network: "shh/6".to_owned(),
        name: name.to_owned(),
        sequence: Sequence(sequence),
        watermark: Watermark::new(UnixSeconds(300)).unwrap(),
        signed_at: UnixSeconds(400),
        state: None,
        open: Vec::new(),
        added: None,
        totals: Sums::default(),
        prev: (sequence > 1).then(|| *before.cid()),
        skip: None,
        merged: Vec::new(),
    };
    let key = secp256k1::SecretKey::from_secret_bytes([5; 32]).unwrap();
    Head::sign(body, &key).unwrap()
}

pub(super) fn draft(value: &str, sequence: u64, extra: BTreeMap<String, Ipld>) -> Draft {
    Draft {
        value: value.parse().unwrap(),
        sequence,
        until: NOW.saturating_add(1_000),
        ttl: Duration::from_secs(60),
        extra,
    }
}

#[test]
fn what_kubo_takes_is_taken_and_what_it_refuses_is_refused() {
    for vector in vectors() {
        let name: Name = vector.name.parse().unwrap();
        let read = Record::check(&name, vector.bytes(), NOW);
        // Keys of these kinds are not used here.
        let is_known = !["RSA", "ECDSA"].contains(&&*vector.what);
        assert_eq!(read.is_ok(), vector.valid && is_known, "{}", vector.what);
        let Ok(record) = read else { continue };
        assert_eq!(record.value(), vector.value.as_bytes(), "{}", vector.what);
        assert_eq!(record.sequence(), vector.sequence, "{}", vector.what);
        assert_eq!(record.until().to_string(), vector.until, "{}", vector.what);
        assert_eq!(record.ttl(), Duration::from_nanos(vector.ttl_ns));
        assert_eq!(record.bytes(), &vector.bytes());
    }
}

#[test]
fn a_key_in_pem_is_told_from_one_that_is_damaged() {
    let pem = IpnsKey::from_protobuf(b"\n-----BEGIN PRIVATE KEY-----\nMC4C\n");
    assert_eq!(pem.unwrap_err(), KeyError::Pem);
    let damaged = IpnsKey::from_protobuf(b"-");
    assert!(matches!(damaged, Err(KeyError::Form(_))));
}

#[test]
fn each_refusal_says_why() {
    let refusal = |what: &str| {
        let vector = vector(what);
        Record::check(&vector.name.parse().unwrap(), vector.bytes(), NOW).unwrap_err()
    };
    assert_eq!(refusal("RSA"), RecordError::Key(KeyError::Kind("RSA")));
    assert_eq!(refusal("ECDSA"), RecordError::Key(KeyError::Kind("ECDSA")));
    assert!(matches!(refusal("expired"), RecordError::Expired(_)));
    assert!(matches!(refusal("V1 alone"), RecordError::Lacks(_)));
    assert!(matches!(refusal("no V2 signature"), RecordError::Lacks(_)));
    assert_eq!(
        refusal("V1 value differs from the signed one"),
        RecordError::Differs("Value")
    );
    assert_eq!(
        refusal("V1 sequence differs from the signed one"),
        RecordError::Differs("Sequence")
    );
    assert_eq!(refusal("V2 signature broken"), RecordError::Signature);
    assert_eq!(refusal("of another name"), RecordError::Signature);
}

#[test]
fn a_name_has_one_text_and_is_read_from_the_older_one() {
    for vector in vectors() {
        let name: Name = vector.name.parse().unwrap();
        assert_eq!(name.to_string(), vector.name);
        assert_eq!(vector.legacy.parse(), Ok(name), "{}", vector.what);
        assert_eq!(&name.routing_key()[..6], b"/ipns/");
        if let Some(key) = vector.key() {
            assert_eq!(key.name(), name, "{}", vector.what);
            let again = IpnsKey::from_protobuf(&key.to_protobuf()).unwrap();
            assert_eq!(again.to_protobuf(), key.to_protobuf());
        }
    }
}

#[test]
fn what_is_no_name_is_refused() {
    let of = |text: &str| text.parse::<Name>().unwrap_err();
    assert_eq!(of("archive"), NameError::Form);
    assert_eq!(of("1"), NameError::Hash);
    assert!(matches!(
        of("bafyreic5wlgq6a6ibjfx5m73hs4v3g5lv4ibxktyhdf524kl6q6w6dxiqi"),
        NameError::Codec(0x71)
    ));
    assert!(matches!(of(&"k".repeat(1_000)), NameError::TooLong(1_000)));
}

#[test]
fn our_records_are_taken_by_another_implementation() {
    for what in ["ed25519, V1 and V2", "secp256k1, V1 and V2"] {
        let vector = vector(what);
        let key = vector.key().unwrap();
        let far = Draft {
            until: UnixSeconds::MAX,
            extra: told::fields(&head(7, "x"), &Hints::default()),
            ..draft(&vector.value, 9, BTreeMap::new())
        };
        let ours = Record::make(&key, &far).unwrap();
        let theirs = rust_ipns::Record::decode(ours.bytes()).unwrap();
        theirs.verify(vector.legacy.parse().unwrap()).unwrap();
        assert_eq!(theirs.value(), vector.value.as_bytes());
        assert_eq!(theirs.sequence(), 9);
        assert!(theirs.has_signature_v1());
        let data = theirs.data().unwrap();
        assert!(data.metadata().contains_key(HEAD_FIELD));
        // And theirs, who are boxo, by ours: to the byte, where nothing is random.
        let boxo = rust_ipns::Record::decode(vector.bytes()).unwrap();
        assert!(boxo.verify(vector.legacy.parse().unwrap()).is_ok());
    }
}

#[test]
fn a_record_of_ours_is_the_same_to_the_byte_whoever_makes_it() {
    #[derive(Deserialize)]
    struct Ours {
        secret: String,
        head: String,
        from: String,
        sequence: u64,
        until: u32,
        ttl: u64,
        record: String,
    }
    let text = include_str!("../../../fixtures/ipns/gwa.json");
    let given: Ours = serde_json::from_str(text).unwrap();
    let key = IpnsKey::from_protobuf(&unhex(&given.secret)).unwrap();
    let block = crate::blocks::Block::new(crate::blocks::Codec::DagCbor, unhex(&given.head));
    let head = Head::decode(block).unwrap();
    let http = given.from.split(' ').map(str::to_owned).collect();
    let hints = Hints::new(http, None).unwrap();
    let draft = Draft {
        value: told::target(&head),
        sequence: given.sequence,
        until: UnixSeconds(given.until),
        ttl: Duration::from_secs(given.ttl),
        extra: told::fields(&head, &hints),
    };
    let record = Record::make(&key, &draft).unwrap();
    assert_eq!(hex::encode(record.bytes()), given.record[2..]);
    match Told::of(&record).unwrap() {
        Told::Head {
            head: Some(told),
            hints: from,
            ..
        } => {
            assert_eq!((*told, from), (head, hints));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_flipped_bit_is_refused_or_says_the_same() {
    let vector = vector("ed25519, V1 and V2");
    let record = Record::read(&vector.name.parse().unwrap(), vector.bytes()).unwrap();
    for at in 0..vector.bytes().len() {
        for bit in 0..8 {
            let mut bytes = vector.bytes().to_vec();
            bytes[at] ^= 1 << bit;
            // What only old programs read, such as their signature, is not signed.
            if let Ok(read) = Record::read(record.name(), bytes.into()) {
                assert!(read.says_as(&record), "byte {at} bit {bit}");
                assert_eq!(read.sequence(), record.sequence());
                assert_eq!(read.until(), record.until());
            }
        }
    }
}

#[test]
fn a_record_is_bounded() {
    let key = IpnsKey::generate();
    let long = BTreeMap::from([("_x".to_owned(), Ipld::Bytes(vec![0; MAX_RECORD]))]);
    assert!(
        Record::make(
            &key,
            &draft(
                "/ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
                0,
                long
            )
        )
        .is_none()
    );
    let bytes = Bytes::from(vec![0; MAX_RECORD + 1]);
    let refused = Record::read(&key.name(), bytes);
    assert_eq!(refused, Err(RecordError::TooLong(MAX_RECORD + 1)));
}

#[test]
fn signed_data_that_lacks_a_field_is_refused() {
    let key = IpnsKey::generate();
    let whole = |without: &str| {
        let fields = [
            ("Value", Ipld::Bytes(b"/ipfs/x".to_vec())),
            ("Validity", Ipld::Bytes(b"2100-01-01T00:00:00Z".to_vec())),
            ("ValidityType", Ipld::Integer(0)),
            ("Sequence", Ipld::Integer(1)),
            ("TTL", Ipld::Integer(1)),
        ];
        let fields = fields.into_iter().filter(|(name, _)| *name != without);
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        cbor::encode(&Ipld::Map(fields.collect())).bytes().to_vec()
    };
    let read = |data: &[u8]| Record::read(&key.name(), sign_data(&key, data).into());
    assert!(read(&whole("")).is_ok());
    for field in ["Value", "Validity", "ValidityType", "Sequence", "TTL"] {
        assert_eq!(read(&whole(field)).unwrap_err(), RecordError::Field(field));
    }
    assert!(matches!(read(b"\x80"), Err(RecordError::Field("data"))));
    assert!(matches!(read(b"\xff"), Err(RecordError::Cbor(_))));
}

#[test]
fn an_expiry_counts_to_the_nanosecond() {
    let key = IpnsKey::generate();
    let at = |seconds| UnixSeconds(seconds);
    let draft = Draft {
        until: at(1_000),
        ..draft("/ipns/example.org", 0, BTreeMap::new())
    };
    let record = Record::make(&key, &draft).unwrap();
    assert!(!record.is_expired(at(999)));
    assert!(record.is_expired(at(1_000)));
    let boxo = vector("ed25519, V1 and V2");
    let boxo = Record::read(&boxo.name.parse().unwrap(), boxo.bytes()).unwrap();
    // 678.9 ms after that second.
    assert!(!boxo.is_expired(at(4_102_542_245)));
    assert!(boxo.is_expired(at(4_102_542_246)));
}

#[test]
fn the_head_in_a_record_is_what_it_points_at() {
    let key = IpnsKey::generate();
    let (head, hints) = (
        head(7, "told"),
        Hints::new(vec!["https://a.example".into(), "http://b".into()], None).unwrap(),
    );
    let value = told::target(&head).to_string();
    let record = Record::make(&key, &draft(&value, 1, told::fields(&head, &hints))).unwrap();
    let expected = Told::Head {
        cid: *head.cid(),
        path: Vec::new(),
        head: Some(Box::new(head.clone())),
        hints,
    };
    assert_eq!(Told::of(&record), Ok(expected));
    // A record of Kubo's says nothing of heads.
    let plain = Record::make(&key, &draft(&value, 1, BTreeMap::new())).unwrap();
    assert!(matches!(
        Told::of(&plain),
        Ok(Told::Head { head: None, .. })
    ));

    let another = self::head(8, "told");
    let fields = told::fields(&another, &Hints::default());
    let record = Record::make(&key, &draft(&value, 1, fields)).unwrap();
    assert!(matches!(Told::of(&record), Err(ToldError::Another { .. })));
    for (field, value) in [
        (HEAD_FIELD, Ipld::Bytes(vec![0xa0])),
        (HEAD_FIELD, Ipld::Integer(1)),
        (FROM_FIELD, Ipld::Integer(1)),
        (FROM_FIELD, Ipld::String("file:///etc/passwd".to_owned())),
    ] {
        let fields = BTreeMap::from([(field.to_owned(), value)]);
        let cid = head.cid();
        let record = Record::make(&key, &draft(&format!("/ipfs/{cid}"), 1, fields)).unwrap();
        assert!(Told::of(&record).is_err(), "{field}");
    }
}

#[test]
fn a_path_reads_what_it_prints() {
    let key = IpnsKey::generate().name();
    for text in [
        "/ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e/a/b".to_owned(),
        format!("/ipns/{key}"),
        "/ipns/archive.example/state".to_owned(),
    ] {
        let path: ContentPath = text.parse().unwrap();
        assert_eq!(path.to_string(), text);
    }
    let host: NameRef = "Archive.EXAMPLE.".parse().unwrap();
    assert_eq!(host, NameRef::Host("archive.example".to_owned()));
    for text in [
        "",
        "/",
        "/ipfs",
        "/ipfs/",
        "/ipfs/x",
        "/ipns/localhost",
        "/ipns/1.2.3.4",
        "/ipns/a..b",
        "/ipns/a b.c",
        "/ipld/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
        "ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
        &format!("/ipns/a.b{}", "/x".repeat(MAX_NAMES + 1)),
        &format!("/ipns/a.b/{}", "x".repeat(5_000)),
    ] {
        assert!(text.parse::<ContentPath>().is_err(), "{text}");
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig::default()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn reading_is_the_inverse_of_making(
        secret in any::<[u8; 32]>(),
        sequence in any::<u64>(),
        until in any::<u32>(),
        ttl in any::<u32>(),
        extra in proptest::collection::btree_map("_[a-z]{0,9}", proptest::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let protobuf = [&[8, 2, 18, 32][..], &secret].concat();
        // Not every 32 bytes are a key of secp256k1.
        prop_assume!(IpnsKey::from_protobuf(&protobuf).is_ok());
        let key = IpnsKey::from_protobuf(&protobuf).unwrap();
        let extra: BTreeMap<_, _> = extra.into_iter().map(|(name, bytes)| (name, Ipld::Bytes(bytes))).collect();
        let draft = Draft {
            value: "/ipns/example.org".parse().unwrap(),
            sequence,
            until: UnixSeconds(until),
            ttl: Duration::from_secs(ttl.into()),
            extra: extra.clone(),
        };
        let record = Record::make(&key, &draft).unwrap();
        prop_assert_eq!(Record::read(&key.name(), record.bytes().clone()), Ok(record.clone()));
        prop_assert_eq!(record.sequence(), sequence);
        prop_assert_eq!(record.path().unwrap(), draft.value);
        prop_assert_eq!(record.ttl(), draft.ttl);
        prop_assert_eq!(record.extra_fields(), &extra);
        prop_assert_eq!(record.is_expired(UnixSeconds(until)), true);
        prop_assert_eq!(record.is_expired(UnixSeconds(until.saturating_sub(1))), until == 0);
        let other = IpnsKey::generate().name();
        prop_assert!(Record::read(&other, record.bytes().clone()).is_err());
    }
}
