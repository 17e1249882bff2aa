//! What the rejected vectors give: for each rule, something honest that was
//! changed to break that rule alone.

use bytes::Bytes;
use gwa::archive::cbor;
use gwa::archive::leaf::{self, Record};
use gwa::archive::pack::{LeafEntry, Pack, PackEntry};
use gwa::blocks::{Block, Cid, Codec, cid_from_digest};
use gwa::whisper::{Envelope, EnvelopeHash};
use ipld_core::ipld::Ipld;
use serde_json::{Value, json};

use crate::Vector;
use crate::given::{record, records};

mod archives;
mod calendars;
mod heads;
mod indexes;

/// 2018-09-29 00:00.
const FROM: u32 = 1_538_179_200;

/// All of them.
pub fn all() -> Vec<Vector> {
    let mut all = leaves();
    all.extend(encodings());
    all.extend(packs());
    all.extend(indexes::all());
    all.extend(calendars::all());
    all.extend(heads::all());
    all.extend(archives::all());
    all
}

/// A vector of a block's bytes.
fn of(
    kind: &'static str,
    name: &'static str,
    rule: &'static str,
    bytes: impl AsRef<[u8]>,
) -> Vector {
    let given = json!({ "bytes": hex::encode(bytes) });
    Vector {
        name,
        kind,
        description: rule,
        given,
    }
}

/// Sorted records: two of one topic, one of another.
fn three() -> Vec<Record> {
    let set = json!({ "drawn": {
        "seed": 20, "count": 12, "topics": 3, "from": FROM, "to": FROM + 86_400, "data": 60,
    }});
    let mut drawn = records(&set);
    drawn.sort_by_key(|record| record.key);
    let at = drawn.windows(3).position(|three| {
        three[0].key.topic == three[1].key.topic && three[1].key.topic != three[2].key.topic
    });
    drawn[at.expect("there are such three")..][..3].to_vec()
}

fn concat(records: &[&Record]) -> Vec<u8> {
    records
        .iter()
        .flat_map(|record| record.bytes.to_vec())
        .collect()
}

fn leaves() -> Vec<Vector> {
    let leaf = |name, rule, bytes: Vec<u8>| of("leaf", name, rule, bytes);
    let three = three();
    let [a, b, c] = three.as_slice() else {
        panic!("three are three")
    };
    // Another envelope of the same topic and time.
    let envelope = Envelope::decode(&a.bytes).expect("an envelope");
    let twin = Envelope::new(
        envelope.expiry(),
        envelope.ttl(),
        envelope.topic(),
        b"twin",
        1,
    );
    let mut twins = [a.clone(), record(twin.rlp().to_vec())];
    twins.sort_by_key(|record| std::cmp::Reverse(record.key));

    let mut torn = concat(&[a, b, c]);
    torn.pop();
    let fields = |list: &[&[u8]]| {
        let payload = list.concat();
        let len = u8::try_from(payload.len()).expect("a short list");
        [&[0xc0 + len][..], &payload].concat()
    };
    let (expiry, ttl, topic, data) = (
        [0x84, 0x5b, 0xae, 0xbf, 0x80],
        [0x32],
        [0x84, 1, 2, 3, 4],
        [0x83, b'a', b'b', b'c'],
    );
    assert!(leaf::decode(&Bytes::from(fields(&[&expiry, &ttl, &topic, &data, &[7]]))).is_ok());
    let six = fields(&[&expiry, &ttl, &topic, &data, &[7], &[7]]);
    let four = fields(&[&expiry, &ttl, &topic, &data]);
    let long_ttl = fields(&[&expiry, &[0x81, 0x32], &topic, &data, &[7]]);
    let zero_ttl = fields(&[&expiry, &[0x82, 0x00, 0x32], &topic, &data, &[7]]);
    let short_topic = fields(&[&expiry, &ttl, &[0x83, 1, 2, 3], &data, &[7]]);
    let wide_ttl = fields(&[&expiry, &[0x85, 1, 0, 0, 0, 0], &topic, &data, &[7]]);
    let list_data = fields(&[&expiry, &ttl, &topic, &[0xc0], &[7]]);
    let five = fields(&[&expiry, &ttl, &topic, &data, &[7]]);
    let long_list = [&[0xf8, five[0] - 0xc0][..], &five[1..]].concat();
    vec![
        leaf("leaf-empty", "a leaf holds an envelope", Vec::new()),
        leaf("leaf-unsorted-topics", "topics ascend", concat(&[a, c, b])),
        leaf(
            "leaf-unsorted-times",
            "within a topic times ascend",
            concat(&[b, a]),
        ),
        leaf(
            "leaf-unsorted-hashes",
            "at one topic and time hashes ascend",
            concat(&[&twins[0], &twins[1]]),
        ),
        leaf(
            "leaf-duplicate",
            "no envelope stands twice",
            concat(&[a, a, b]),
        ),
        leaf(
            "leaf-trailing-byte",
            "nothing follows the last envelope",
            [concat(&[a, b]), vec![0]].concat(),
        ),
        leaf("leaf-torn", "the last envelope is whole", torn),
        leaf(
            "leaf-six-fields",
            "an envelope has five fields, no more",
            six,
        ),
        leaf(
            "leaf-four-fields",
            "an envelope has five fields, no fewer",
            four,
        ),
        leaf(
            "leaf-rlp-long-byte",
            "a byte below 0x80 is its own RLP",
            long_ttl,
        ),
        leaf(
            "leaf-rlp-leading-zero",
            "RLP numbers have no leading zero",
            zero_ttl,
        ),
        leaf(
            "leaf-rlp-long-list",
            "a payload below 56 bytes has a length of one byte",
            long_list,
        ),
        leaf("leaf-topic-of-three", "a topic has four bytes", short_topic),
        leaf("leaf-ttl-of-five", "a TTL has at most 32 bits", wide_ttl),
        leaf("leaf-data-is-list", "data is a byte string", list_data),
        Vector {
            name: "leaf-too-long",
            kind: "leaf",
            description: "a leaf has at most 1 MiB",
            given: json!({ "bytes": { "hex": "00", "times": (1 << 20) + 1 } }),
        },
    ]
}

fn entry(records: &[Record]) -> LeafEntry {
    let bytes: Vec<u8> = concat(&records.iter().collect::<Vec<_>>());
    let block = Block::new(Codec::Raw, bytes);
    leaf::entry_of(*block.cid(), records).expect("records of a leaf")
}

/// A pack over two leaves: of two envelopes, and of one of another topic.
fn two_leaves() -> Vec<LeafEntry> {
    let three = three();
    vec![entry(&three[..2]), entry(&three[2..])]
}

fn encode(leaves: &[LeafEntry]) -> Vec<u8> {
    Pack::Leaves(leaves.to_vec()).encode().bytes().to_vec()
}

const LEVEL: &[u8] = b"\x65level";
const LEAVES: &[u8] = b"\x66leaves";
const PACKS: &[u8] = b"\x65packs";

/// Ways to spell a block that are not the canonical one; shown on packs, true
/// of every node.
fn encodings() -> Vec<Vector> {
    let honest = encode(&two_leaves());
    let leaves = honest[2 + LEVEL.len() + LEAVES.len()..].to_vec();
    assert_eq!(honest, [&[0xa2][..], LEVEL, &[1], LEAVES, &leaves].concat());
    let pack = |name, rule, parts: &[&[u8]]| of("pack", name, rule, parts.concat());
    let link_at = find(&leaves, &[0xd8, 0x2a, 0x58, 0x25, 0x00]);
    let mut no_prefix = leaves.clone();
    no_prefix[link_at + 4] = 0x01;
    let mut other_tag = leaves.clone();
    other_tag[link_at + 1] = 0x2b;
    let mut long_tag = leaves.clone();
    long_tag.splice(link_at..link_at + 2, [0xd9, 0x00, 0x2a]);
    let mut long_key = leaves.clone();
    let key_at = find(&leaves, &[0x58, 0x28]);
    long_key.splice(key_at..key_at + 2, [0x59, 0x00, 0x28]);
    let mut indefinite_key = leaves.clone();
    let key = leaves[key_at..key_at + 42].to_vec();
    indefinite_key.splice(key_at..key_at + 42, [&[0x5f][..], &key, &[0xff]].concat());
    let map = |parts: &[&[u8]]| [&[0xa2][..], &parts.concat()].concat();
    let sound = [LEVEL, &[1], LEAVES, &leaves].concat();
    let bomb = |name, rule, bytes: Value| Vector {
        name,
        kind: "pack",
        description: rule,
        given: json!({ "bytes": bytes }),
    };
    vec![
        pack(
            "cbor-trailing-byte",
            "nothing follows the item",
            &[&honest, &[0]],
        ),
        pack(
            "cbor-torn",
            "the item is whole",
            &[&honest[..honest.len() - 1]],
        ),
        pack("cbor-empty", "there is an item", &[]),
        of(
            "pack",
            "cbor-long-number",
            "numbers are as short as can be",
            map(&[LEVEL, &[0x18, 1], LEAVES, &leaves]),
        ),
        pack(
            "cbor-long-length",
            "lengths are as short as can be",
            &[&[0xa2], LEVEL, &[1], LEAVES, &long_key],
        ),
        pack(
            "cbor-long-tag",
            "tags are as short as can be",
            &[&[0xa2], LEVEL, &[1], LEAVES, &long_tag],
        ),
        pack(
            "cbor-float",
            "a whole number is no float",
            &[&[0xa2], LEVEL, &[0xf9, 0x3c, 0x00], LEAVES, &leaves],
        ),
        pack(
            "cbor-keys-unsorted",
            "shorter keys first, then in order of bytes",
            &[&[0xa2], LEAVES, &leaves, LEVEL, &[1]],
        ),
        pack(
            "cbor-key-twice",
            "no key stands twice",
            &[&[0xa3], LEVEL, &[1], LEVEL, &[1], LEAVES, &leaves],
        ),
        pack(
            "cbor-indefinite-map",
            "no map of indefinite length",
            &[&[0xbf], &sound, &[0xff]],
        ),
        pack(
            "cbor-indefinite-list",
            "no list of indefinite length",
            &[&[0xa2], LEVEL, &[1], LEAVES, &[0x9f], &leaves[1..], &[0xff]],
        ),
        pack(
            "cbor-indefinite-bytes",
            "no byte string of indefinite length",
            &[&[0xa2], LEVEL, &[1], LEAVES, &indefinite_key],
        ),
        pack(
            "cbor-unknown-field",
            "no field beside those of the node",
            &[&[0xa3], b"\x61x", &[0], &sound],
        ),
        pack(
            "cbor-null-field",
            "an absent field is absent, not null",
            &[&[0xa3], LEVEL, &[1], PACKS, &[0xf6], LEAVES, &leaves],
        ),
        pack(
            "cbor-link-without-prefix",
            "a link's bytes start with 0x00",
            &[&[0xa2], LEVEL, &[1], LEAVES, &no_prefix],
        ),
        pack(
            "cbor-other-tag",
            "no tag but 42",
            &[&[0xa2], LEVEL, &[1], LEAVES, &other_tag],
        ),
        bomb(
            "cbor-too-deep",
            "at most 32 levels of nesting",
            json!([{ "hex": "81", "times": 33 }, "00"]),
        ),
        bomb(
            "cbor-too-many-links",
            "at most 8,192 links",
            json!(["992001", { "hex": "d82a40", "times": 8_193 }]),
        ),
        bomb(
            "cbor-too-many-items",
            "at most 65,536 items",
            json!(["9a00010000", { "hex": "00", "times": 65_536 }]),
        ),
        bomb(
            "cbor-too-long",
            "at most 2 MiB",
            json!({ "hex": "00", "times": (2 << 20) + 1 }),
        ),
        bomb(
            "cbor-claimed-length",
            "no more items than bytes",
            json!("9b1000000000000000"),
        ),
    ]
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    let at = bytes.windows(part.len()).position(|window| window == part);
    at.expect("the part is there")
}

fn link(codec: Codec, n: u8) -> Cid {
    *Block::new(codec, vec![n]).cid()
}

/// A leaf CID of another version or hash.
fn foreign() -> [(&'static str, &'static str, Cid); 5] {
    use multihash::Multihash;
    let digest = [7; 32];
    let of = |code, digest: &[u8]| {
        let hash = Multihash::wrap(code, digest).expect("a digest of at most 64 bytes");
        Cid::new_v1(0x55, hash)
    };
    let v0 =
        Cid::new_v0(*cid_from_digest(Codec::Raw, digest).hash()).expect("sha2-256 of 32 bytes");
    [
        ("pack-link-cidv0", "a link is CIDv1", v0),
        (
            "pack-link-identity",
            "a link's hash is sha2-256, not the data itself",
            of(0, b"abc"),
        ),
        (
            "pack-link-sha2-512",
            "a link's hash is sha2-256, not sha2-512",
            of(0x13, &[7; 64]),
        ),
        (
            "pack-link-keccak",
            "a link's hash is sha2-256, not Keccak-256",
            of(0x1b, &digest),
        ),
        (
            "pack-link-truncated",
            "a link's digest is whole",
            of(0x12, &digest[..20]),
        ),
    ]
}

fn packs() -> Vec<Vector> {
    let pack = |name, rule, change: &dyn Fn(&mut Vec<LeafEntry>)| {
        let mut leaves = two_leaves();
        assert!(Pack::decode(&encode(&leaves)).is_ok());
        change(&mut leaves);
        of("pack", name, rule, encode(&leaves))
    };
    let mut all = vec![
        pack("pack-empty", "a pack has a child", &|leaves| leaves.clear()),
        pack("pack-unsorted", "children ascend by first key", &|leaves| {
            leaves.reverse();
        }),
        pack("pack-child-twice", "no child stands twice", &|leaves| {
            leaves[1] = leaves[0].clone();
        }),
        pack(
            "pack-overlap",
            "a leaf's runs end before the next leaf's first key",
            &|leaves| {
                let mut run = leaves[0].runs[0];
                run.topic = leaves[1].first.topic;
                run.last.0 = u32::MAX;
                leaves[0].runs.push(run);
                leaves[0].sums.count += u64::from(run.count);
            },
        ),
        pack("pack-runs-none", "a leaf has a run", &|leaves| {
            leaves[1].runs.clear();
            leaves[1].sums.count = 0;
        }),
        pack("pack-runs-unsorted", "runs ascend by topic", &|leaves| {
            let run = leaves[1].runs[0];
            leaves[1].runs.push(run);
            leaves[1].sums.count += u64::from(run.count);
        }),
        pack(
            "pack-runs-miscounted",
            "the runs' counts add up to the leaf's",
            &|leaves| {
                leaves[0].runs[0].count += 1;
            },
        ),
        pack("pack-run-empty", "a run counts an envelope", &|leaves| {
            let mut run = leaves[1].runs[0];
            run.topic.0 = [0xff; 4];
            run.count = 0;
            leaves[1].runs.push(run);
        }),
        pack(
            "pack-run-reversed",
            "a run's last time is not before its first",
            &|leaves| {
                leaves[0].runs[0].last.0 = leaves[0].runs[0].first.0 - 1;
            },
        ),
        pack(
            "pack-run-not-first",
            "the first run starts with the first key",
            &|leaves| {
                leaves[0].runs[0].first.0 -= 1;
            },
        ),
        pack(
            "pack-leaf-too-long",
            "a leaf has at most 1 MiB",
            &|leaves| {
                leaves[0].sums.bytes = (1 << 20) + 1;
            },
        ),
        pack(
            "pack-leaf-is-node",
            "at level 1 children are raw",
            &|leaves| {
                leaves[0].cid = link(Codec::DagCbor, 1);
            },
        ),
    ];
    for (name, rule, cid) in foreign() {
        all.push(pack(name, rule, &|leaves| leaves[0].cid = cid));
    }
    // The runs are the last field of the first leaf: 16 bytes, then 15.
    let honest = encode(&two_leaves()[1..]);
    let at = honest.len() - 17;
    assert_eq!(honest[at], 0x50);
    let mut short = honest.clone();
    short[at] = 0x4f;
    short.pop();
    all.push(of(
        "pack",
        "pack-runs-not-whole",
        "a run has 16 bytes",
        short,
    ));

    let child = |n: u8| PackEntry {
        first: three()[usize::from(n)].key,
        cid: link(Codec::DagCbor, n),
        sums: two_leaves()[0].sums,
    };
    let above =
        |level, children: Vec<PackEntry>| Pack::Packs { level, children }.encode().bytes().to_vec();
    assert!(Pack::decode(&above(2, vec![child(0), child(1)])).is_ok());
    let mut raw = child(0);
    raw.cid = link(Codec::Raw, 0);
    let mut leaves_above = encode(&two_leaves());
    leaves_above[1 + LEVEL.len()] = 2;
    all.extend([
        of(
            "pack",
            "pack-level-0",
            "levels start at 1",
            above(0, vec![child(0), child(1)]),
        ),
        of(
            "pack",
            "pack-level-1-over-packs",
            "at level 1 children are leaves",
            above(1, vec![child(0), child(1)]),
        ),
        of(
            "pack",
            "pack-level-2-over-leaves",
            "above level 1 children are packs",
            leaves_above,
        ),
        of(
            "pack",
            "pack-level-9",
            "levels end at 8",
            above(9, vec![child(0), child(1)]),
        ),
        of(
            "pack",
            "pack-above-empty",
            "a pack of packs has a child",
            above(2, vec![]),
        ),
        of(
            "pack",
            "pack-above-unsorted",
            "packs ascend by first key",
            above(2, vec![child(1), child(0)]),
        ),
        of(
            "pack",
            "pack-above-raw",
            "above level 1 children are DAG-CBOR",
            above(2, vec![raw]),
        ),
    ]);
    let wide = (0..513u16).map(|n| {
        let mut entry = child(0);
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&n.to_be_bytes());
        entry.first.hash = EnvelopeHash(hash);
        entry
    });
    let wide: Vec<_> = wide.collect();
    assert!(Pack::decode(&above(2, wide[1..].to_vec())).is_ok());
    all.push(of(
        "pack",
        "pack-too-wide",
        "a pack has at most 512 children",
        above(2, wide),
    ));
    all
}

/// The encoding of a map of DAG-CBOR.
fn ipld(fields: impl IntoIterator<Item = (String, Ipld)>) -> Vec<u8> {
    cbor::encode(&Ipld::Map(fields.into_iter().collect()))
        .bytes()
        .to_vec()
}
