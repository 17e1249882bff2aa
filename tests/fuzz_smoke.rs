//! The fuzz targets on a stable toolchain: each takes a few thousand mutations
//! of honest inputs, the same ones on every run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gwa::fuzzing;
use serde_json::Value;

/// Inputs for each target.
const ROUNDS: u32 = 2_000;

/// Longest input in bytes; a mutation that would exceed it is cut.
const MAX_INPUT: usize = 8 << 10;

/// A target's name, its body, and the honest inputs it starts from.
type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// One line for each target in `fuzz/fuzz_targets`.
const TARGETS: &[Target] = &[
    ("rlpx_auth", fuzzing::rlpx_auth, seeds::auth),
    ("rlpx_ack", fuzzing::rlpx_ack, seeds::ack),
    ("rlpx_frame", fuzzing::rlpx_frame, seeds::frame),
    ("rlpx_hello", fuzzing::rlpx_hello, seeds::hello),
    ("car", fuzzing::car, seeds::car),
    ("catalogue", fuzzing::catalogue, seeds::catalogue),
    ("journal_record", fuzzing::journal_record, seeds::journal),
    (
        "whisper_envelope",
        fuzzing::whisper_envelope,
        seeds::envelope,
    ),
    ("whisper_packet", fuzzing::whisper_packet, seeds::packet),
    ("whisper_status", fuzzing::whisper_status, seeds::status),
    ("whisper_message", fuzzing::whisper_message, seeds::message),
    ("reading_payload", fuzzing::reading_payload, seeds::payload),
    ("mail_request", fuzzing::mail_request, seeds::request),
    (
        "mail_completion",
        fuzzing::mail_completion,
        seeds::completion,
    ),
    ("mail_sync", fuzzing::mail_sync, seeds::sync),
    ("rpc_arguments", fuzzing::rpc_arguments, seeds::arguments),
    ("api_message", fuzzing::api_message, seeds::posted),
    (
        "gateway_request",
        fuzzing::gateway_request,
        seeds::gateway_request,
    ),
    (
        "gateway_denylist",
        fuzzing::gateway_denylist,
        seeds::gateway_denylist,
    ),
    (
        "discovery_packet",
        fuzzing::discovery_packet,
        seeds::discovery,
    ),
    (
        "archive_position",
        fuzzing::archive_position,
        seeds::position,
    ),
    ("gwa_message", fuzzing::gwa_message, seeds::gwa_message),
    ("gwa_frame", fuzzing::gwa_frame, seeds::gwa_frame),
    ("import_leveldb", fuzzing::import_leveldb, seeds::leveldb),
    ("import_json", fuzzing::import_json, seeds::json_lines),
    ("import_stream", fuzzing::import_stream, seeds::stream),
    ("archive_leaf", fuzzing::archive_leaf, || {
        seeds::archive("leaf")
    }),
    ("archive_pack", fuzzing::archive_pack, || {
        seeds::archive("pack")
    }),
    ("archive_topic_node", fuzzing::archive_topic_node, || {
        seeds::archive("topics")
    }),
    (
        "archive_calendar_node",
        fuzzing::archive_calendar_node,
        || seeds::archive("calendar"),
    ),
    ("archive_head", fuzzing::archive_head, || {
        seeds::archive("head")
    }),
    ("announcement", fuzzing::announcement, seeds::announcement),
    ("share", fuzzing::share, seeds::share),
    ("ipns_record", fuzzing::ipns_record, seeds::ipns_record),
    ("ipns_path", fuzzing::ipns_path, seeds::ipns_path),
    ("bitswap_message", fuzzing::bitswap_message, seeds::bitswap),
    ("kubo_holding", fuzzing::kubo_holding, seeds::kubo_holding),
    ("swarm_index", fuzzing::swarm_index, seeds::swarm_index),
    ("swarm_folder", fuzzing::swarm_folder, seeds::swarm_folder),
];

#[test]
fn no_decoder_breaks_its_laws_on_mutated_inputs() {
    for (name, body, seeds) in TARGETS {
        let seeds = seeds();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let mut random = Random::seeded(name);
        for seed in &seeds {
            run(name, *body, seed);
        }
        for _ in 0..ROUNDS {
            let input = mutate(&seeds, &mut random);
            run(name, *body, &input);
        }
    }
}

#[test]
fn every_target_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets");
    let mut targets: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of targets")
        .map(|file| file.expect("a file").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    let mut listed: Vec<&str> = TARGETS.iter().map(|(name, ..)| *name).collect();
    listed.sort_unstable();
    assert_eq!(targets, listed);
}

fn run(name: &str, body: fn(&[u8]), input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| body(input)));
    assert!(outcome.is_ok(), "{name} fails on {}", hex::encode(input));
}

/// One seed with a few changes of the kinds that break parsers.
fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    /// Where RLP, varints and sizes change their meaning.
    const EDGES: [u8; 12] = [
        0x00, 0x01, 0x7f, 0x80, 0x81, 0xb7, 0xb8, 0xbf, 0xc0, 0xf7, 0xf8, 0xff,
    ];
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len().max(1));
        match random.below(8) {
            _ if input.is_empty() => input.push(random.byte()),
            0 => input[at] ^= 1_u8 << random.below(8),
            1 => input[at] = EDGES[random.below(EDGES.len())],
            2 => input[at] = random.byte(),
            3 => input.truncate(at),
            4 => input.insert(at, EDGES[random.below(EDGES.len())]),
            5 => {
                input.remove(at);
            }
            6 => input.extend_from_within(at..),
            _ => {
                let other = &seeds[random.below(seeds.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
        }
    }
    input.truncate(MAX_INPUT);
    input
}

/// SplitMix64: enough to choose mutations, and the same everywhere.
struct Random(u64);

impl Random {
    fn seeded(name: &str) -> Self {
        Self(name.bytes().fold(1, |seed, byte| {
            seed.wrapping_mul(257).wrapping_add(u64::from(byte))
        }))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Honest inputs: the vectors of the reference nodes, and files of our own.
mod seeds {
    use gwa::archive::cbor;
    use gwa::archive::head::Head;
    use gwa::blocks::car::write_car;
    use gwa::blocks::{Block, Codec};
    use gwa::journal::{Found, salvage_bytes};
    use gwa::publish::{Announcement, Hints, Share};
    use gwa::swarm::{FileAt, Folder, FolderAt, Folders, Index, Reference, encode_list};
    use ipld_core::ipld::Ipld;

    use super::Value;

    /// A file below `fixtures/`.
    fn fixture(path: &str) -> Value {
        let path = format!("{}/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a fixture");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The bytes of `field`, written `0x..`.
    fn bytes(vector: &Value, field: &str) -> Vec<u8> {
        let text = vector[field].as_str().expect("a hex string");
        hex::decode(text.trim_start_matches("0x")).expect("hex")
    }

    fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
        file[name].as_array().expect("a list")
    }

    /// The bytes of all `fields` of all vectors in a list.
    fn all(file: &Value, name: &str, fields: &[&str]) -> Vec<Vec<u8>> {
        list(file, name)
            .iter()
            .flat_map(|vector| fields.iter().map(|field| bytes(vector, field)))
            .collect()
    }

    /// The first bytes of each kind of file in a mailserver's database.
    pub fn leveldb() -> Vec<Vec<u8>> {
        let files = ["CURRENT", "MANIFEST-000007", "000004.ldb", "000006.log"];
        let read = |name: &str| {
            let path = format!(
                "{}/fixtures/leveldb/status/{name}",
                env!("CARGO_MANIFEST_DIR")
            );
            let mut bytes = std::fs::read(path).expect("a fixture");
            bytes.truncate(super::MAX_INPUT / 2);
            bytes
        };
        let mut seeds: Vec<_> = files.into_iter().map(read).collect();
        // A batch, and a block of three entries, as they are behind checksums.
        seeds.push(b"\x01\0\0\0\0\0\0\0\x02\0\0\0\x01\x03key\x05value\0\x03kez".to_vec());
        seeds.push(b"\0\x02\x01abX\x01\x01\x01cY\0\x01\0d\0\0\0\0\x01\0\0\0".to_vec());
        seeds
    }

    /// Lines of JSON with an envelope each.
    pub fn json_lines() -> Vec<Vec<u8>> {
        let line = |rlp: Vec<u8>| {
            let rlp = hex::encode(rlp);
            format!("{{\"sent\":5,\"topic\":\"0x00\",\"rlp\":\"0x{rlp}\"}}\n").into_bytes()
        };
        envelope().into_iter().map(line).collect()
    }

    /// Envelopes one after another.
    pub fn stream() -> Vec<Vec<u8>> {
        let envelopes = envelope();
        let mut seeds = vec![envelopes.concat()];
        seeds.extend(envelopes);
        seeds
    }

    pub fn posted() -> Vec<Vec<u8>> {
        let key = "11".repeat(32);
        let owner = format!(
            "0x04{}",
            gwa::rlpx::NodeKey::from_secret_bytes(&[0x33; 32])
                .expect("a key")
                .id()
        );
        let mut bodies: Vec<Vec<u8>> = [
            r#"{"chat":"status","text":"hi","ttl":50,"pow_target":0.5,"pow_time":3}"#.to_owned(),
            format!(
                r#"{{"topic":"0x01020304","sym_key":"0x{key}","payload":"0x6869","padding":"0xaa"}}"#
            ),
            format!(r#"{{"topic":"01020304","sym_key_id":"{key}","text":"hi","sign":"{key}"}}"#),
            format!(r#"{{"public_key":"{owner}","text":"hi"}}"#),
        ]
        .map(String::into_bytes)
        .to_vec();
        bodies.extend(envelope().into_iter().map(|rlp| {
            let text = format!(r#"{{"envelope":"0x{}"}}"#, hex::encode(rlp));
            text.into_bytes()
        }));
        bodies
    }

    pub fn arguments() -> Vec<Vec<u8>> {
        let enode = format!("enode://{}@127.0.0.1:30303", "3c".repeat(64));
        let cursor = "5f5e1000".to_owned() + &"ab".repeat(32);
        let key = "11".repeat(32);
        [
            format!(
                r#"[{{"symKeyID":"{key}","sig":"{key}","ttl":10,"topic":"0x01020304","payload":
                "0x68656c6c6f","padding":"0x","powTime":3,"powTarget":0.5,"targetPeer":"{enode}"}}]"#
            ),
            format!(
                r#"["messages",{{"privateKeyID":"{key}","sig":"0x04{key}","minPow":0.2,"topics":
                ["0x01020304",null],"allowP2P":true}}]"#
            ),
            format!(
                r#"[{{"baseTimeout":1000000000,"stepTimeout":5,"maxRetries":2}},{{"mailServerPeer":
                "{enode}","from":1,"to":2,"limit":3,"cursor":"{cursor}","topics":["0xcd423760"],
                "timeout":5,"force":true,"followCursor":false}}]"#
            ),
            format!(r#"["0x{key}","{cursor}","{enode}",0.001]"#),
            format!("Bearer {}", "a1".repeat(32)),
            format!("token={}", "a1".repeat(32)),
            "[::1]:8547".to_owned(),
        ]
        .map(String::into_bytes)
        .to_vec()
    }

    /// Path, query and `Accept`, each on a line.
    pub fn gateway_request() -> Vec<Vec<u8>> {
        let cid = Block::new(Codec::DagCbor, &b"\xa0"[..]).cid().to_string();
        [
            format!("{cid}/state/2019/07/15\nformat=raw&filename=a%D1%82.bin\nbytes=1-5"),
            format!("{cid}/open/0\nformat=car&dag-scope=all&entity-bytes=-5:*\n*/*"),
            format!("{cid}\n\napplication/vnd.ipld.car; version=1; order=dfs; dups=y;q=0.5, a/b"),
            format!("{cid}/\ncar-dups=n&car-order=unk\napplication/vnd.ipld.raw, \"x\""),
            "bafkqaaa\nformat=car\n\"bafkqaaa.raw\"".to_owned(),
            "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n/a b\nformat=raw\n".to_owned(),
        ]
        .map(String::into_bytes)
        .to_vec()
    }

    pub fn gateway_denylist() -> Vec<Vec<u8>> {
        let cid = Block::new(Codec::Raw, &b"a"[..]).cid().to_string();
        [
            format!("version: 1\nname: x\nhints:\n  a: b\n---\n# c\n/ipfs/{cid}\n"),
            format!("/ipfs/{cid}/*\n!/ipfs/{cid}/state\n/ipfs/{cid}/st%61te* a:b\n/ipns/x.y\n"),
            format!("//{}\n", "d9d295bde21f422d471a90f2a37ec530".repeat(2)),
            "//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM\n".to_owned(),
        ]
        .map(String::into_bytes)
        .to_vec()
    }

    pub fn sync() -> Vec<Vec<u8>> {
        let file = fixture("wire/mailserver_responses.json");
        let requests = all(&file, "sync_request", &["packet"]);
        let responses = all(&file, "sync_response", &["packet"]);
        [requests, responses].concat()
    }

    /// What hash and signature stand before: 97 bytes.
    pub fn discovery() -> Vec<Vec<u8>> {
        let packets = all(&fixture("wire/discv4.json"), "vectors", &["packet"]);
        packets
            .into_iter()
            .map(|packet| packet[97..].to_vec())
            .collect()
    }

    pub fn position() -> Vec<Vec<u8>> {
        use gwa::archive::disk::Position;
        use gwa::archive::disk::position::{Walk, WalkAt};
        let rest = Position::from_bytes(&[&[1][..], &[3; 36]].concat()).expect("a position");
        let until = gwa::archive::disk::HeadMark {
            sequence: u64::MAX,
            ..rest.since
        };
        let ats = [
            WalkAt::Late(7),
            WalkAt::OnTime(None),
            WalkAt::OnTime(Some((
                rest.since.watermark,
                gwa::whisper::EnvelopeHash([5; 32]),
            ))),
        ];
        let walks = ats.map(|at| Position {
            walk: Some(Walk { until, at }),
            ..rest
        });
        std::iter::once(rest)
            .chain(walks)
            .map(|position| position.to_bytes())
            .collect()
    }

    pub fn gwa_message() -> Vec<Vec<u8>> {
        use gwa::archive::disk::{Position, Start};
        use gwa::reconcile::Message;
        use gwa::reconcile::message::{EnvelopesAnswer, NewsAnswer, RequestNumber};
        let id = RequestNumber(300);
        let next = Position::from_bytes(&position()[3]).expect("a position");
        let envelopes = vec![gwa::archive::testing::envelope(1, 1_600_000_000, 40)];
        let range = gwa::time::TimeRange::ALL;
        [
            Message::GetNews {
                id,
                start: Start::Position(next),
                topics: Some(gwa::whisper::Bloom::FULL),
                limit: 100,
            },
            Message::News {
                id,
                answer: Ok(NewsAnswer {
                    next,
                    more: true,
                    envelopes: envelopes.clone(),
                }),
            },
            Message::Compare {
                id,
                range,
                frame: gwa_frame()[0].clone().into(),
            },
            Message::GetEnvelopes {
                id,
                range,
                hashes: vec![gwa::whisper::EnvelopeHash([5; 32]); 3],
            },
            Message::Envelopes {
                id,
                answer: Ok(EnvelopesAnswer {
                    complete: true,
                    envelopes,
                }),
            },
        ]
        .iter()
        .map(|message| [&[message.code()][..], &message.encode()].concat())
        .collect()
    }

    pub fn gwa_frame() -> Vec<Vec<u8>> {
        use gwa::archive::key::Key;
        use gwa::reconcile::{Compare, Snapshot};
        [5, 150, 300u32]
            .into_iter()
            .map(|count| {
                let keys = (0..count).map(|n| Key {
                    topic: gwa::whisper::Topic([0; 4]),
                    sent: gwa::time::UnixSeconds(n / 3),
                    hash: gwa::whisper::EnvelopeHash(gwa::keccak::keccak256(n.to_be_bytes())),
                });
                let snapshot = Snapshot::new(gwa::time::TimeRange::ALL, keys).expect("a few");
                Compare::begin(snapshot.into()).1.to_vec()
            })
            .collect()
    }

    /// Blocks of one kind: those accepted, and those that break one rule.
    /// The heads among the vectors, announced.
    pub fn announcement() -> Vec<Vec<u8>> {
        heads()
            .map(|head| {
                let http = vec!["http://127.0.0.1:8547".to_owned()];
                let hints = Hints::new(http, None).expect("an address");
                Announcement { head, hints }.encode()
            })
            .collect()
    }

    /// The heads among the vectors, shared.
    pub fn bitswap() -> Vec<Vec<u8>> {
        use gwa::blocks::{Block, Codec};
        use gwa::p2p::bitswap::Dialect;
        use gwa::p2p::bitswap::message::{Kind, Message, Payload, Presence, Want};
        let blocks = [1u8, 2].map(|n| Block::new(Codec::Raw, vec![n; 40]));
        let want = |block: &Block, cancel| Want {
            cid: *block.cid(),
            priority: 7,
            kind: Kind::Have,
            cancel,
            send_dont_have: true,
        };
        let message = Message {
            wants: vec![want(&blocks[0], false), want(&blocks[1], true)],
            full: true,
            blocks: blocks.iter().map(Payload::from).collect(),
            presences: vec![Presence {
                cid: *blocks[0].cid(),
                held: false,
            }],
            pending: 5,
        };
        Dialect::ALL.map(|dialect| message.encode(dialect)).to_vec()
    }

    pub fn share() -> Vec<Vec<u8>> {
        heads()
            .map(|head| {
                let http = vec!["https://archive.example/a?b".to_owned()];
                let share = Share {
                    head: *head.cid(),
                    key: Some(*head.key()),
                    name: "a name".to_owned(),
                    hints: Hints::read(http, None).expect("an address"),
                };
                share.to_string().into_bytes()
            })
            .collect()
    }

    /// Records that boxo made, and what is signed in ours.
    pub fn ipns_record() -> Vec<Vec<u8>> {
        let mut seeds = all(&fixture("ipns/records.json"), "vectors", &["record"]);
        let field = |name: &str, value: Ipld| (name.to_owned(), value);
        let data = heads().take(2).map(|head| {
            let fields = [
                field("Value", Ipld::Bytes(format!("/ipfs/{}", head.cid()).into())),
                field("Validity", Ipld::Bytes(b"2100-01-01T00:00:00Z".to_vec())),
                field("ValidityType", Ipld::Integer(0)),
                field("Sequence", Ipld::Integer(7)),
                field("TTL", Ipld::Integer(300_000_000_000)),
                field("_gwa_head", Ipld::Bytes(head.block().bytes().to_vec())),
                field("_gwa_from", Ipld::String("https://archive.example".into())),
            ];
            cbor::encode(&Ipld::Map(fields.into())).bytes().to_vec()
        });
        seeds.extend(data);
        seeds
    }

    /// Paths and names of all forms.
    pub fn ipns_path() -> Vec<Vec<u8>> {
        let mut seeds = vec![b"/ipns/archive.example/state/2018/09/15".to_vec()];
        for vector in list(&fixture("ipns/records.json"), "vectors") {
            for field in ["value", "name", "legacy"] {
                let text = vector[field].as_str().expect("a text");
                seeds.push(text.into());
                seeds.push(format!("/ipns/{text}").into());
            }
        }
        seeds
    }

    fn heads() -> impl Iterator<Item = Head> {
        let blocks = archive("head").into_iter();
        blocks.filter_map(|bytes| Head::decode(Block::new(Codec::DagCbor, bytes)).ok())
    }

    pub fn archive(kind: &str) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for folder in ["accepted", "rejected"] {
            let path = format!(
                "{}/fixtures/archive/v1/{folder}",
                env!("CARGO_MANIFEST_DIR")
            );
            let files = std::fs::read_dir(path).expect("the folder of vectors");
            let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
            files.sort();
            for file in files {
                let text = std::fs::read_to_string(file).expect("a vector");
                let vector: Value = serde_json::from_str(&text).expect("JSON");
                if vector["kind"] != kind {
                    continue;
                }
                let sides = [&vector["given"], &vector["expect"]];
                let hex = sides.iter().find_map(|side| side["bytes"].as_str());
                seeds.extend(hex.map(|hex| hex::decode(hex).expect("hex")));
            }
        }
        seeds
    }

    pub fn auth() -> Vec<Vec<u8>> {
        let file = fixture("wire/rlpx.json");
        let mut seeds = all(&file, "vectors", &["auth", "auth_plaintext"]);
        seeds.extend(all(&file, "bad_auth", &["auth"]));
        seeds
    }

    pub fn ack() -> Vec<Vec<u8>> {
        all(
            &fixture("wire/rlpx.json"),
            "vectors",
            &["ack", "ack_plaintext"],
        )
    }

    /// Bodies of frames: code and payload, compressed where the peer would.
    pub fn frame() -> Vec<Vec<u8>> {
        let file = fixture("wire/rlpx.json");
        let mut seeds = Vec::new();
        for frame in list(&list(&file, "vectors")[0], "frames") {
            let code = frame["code"].as_u64().expect("a code");
            let field = match frame["compressed"].is_null() {
                true => "payload",
                false => "compressed",
            };
            let mut body = alloy_rlp::encode(code);
            body.extend(bytes(frame, field));
            seeds.push(body);
            seeds.push(bytes(frame, "frame"));
        }
        seeds
    }

    pub fn hello() -> Vec<Vec<u8>> {
        let file = fixture("wire/rlpx.json");
        let mut seeds = all(&file, "hello", &["payload"]);
        seeds.extend(all(&file, "disconnect", &["payload"]));
        seeds
    }

    pub fn catalogue() -> Vec<Vec<u8>> {
        let listed = |n: u8| gwa::blocks::catalogue::Listed {
            fragment: [n, 2, 3],
            len: 32_000,
        };
        let files = [("2018-09-15.ei66wof36n5e.car", 3), ("a.car", 0)];
        let files =
            files.map(|(name, blocks)| (name.to_owned(), (0..blocks).map(listed).collect()));
        let catalogue = gwa::blocks::catalogue::Catalogue {
            files: files.into_iter().collect(),
        };
        vec![catalogue.encode(), b"gwa catalogue 1\n".to_vec()]
    }

    fn folders_on_swarm() -> Vec<FolderAt> {
        let folder = |path: &str| FolderAt {
            path: path.to_owned(),
            reference: Reference([7; 32]),
            bytes: 900,
        };
        vec![folder("calendar"), folder("days/2018"), folder("hours")]
    }

    pub fn kubo_holding() -> Vec<Vec<u8>> {
        let cids: Vec<_> = (0..3)
            .map(|n| *Block::new(Codec::Raw, vec![n]).cid())
            .collect();
        let list = gwa::depot::kubo::holding::list(&cids);
        let holding = gwa::depot::kubo::holding::Holding {
            gwa: "0123456789abcdef".to_owned(),
            root: cids[0],
            what: "days/2018/2018-09-15.ei66wof36n5e.car".to_owned(),
            lists: vec![*list.cid()],
        };
        vec![holding.block().bytes().to_vec(), list.bytes().to_vec()]
    }

    pub fn swarm_index() -> Vec<Vec<u8>> {
        let elsewhere = Folders::Elsewhere {
            reference: Reference([7; 32]),
            bytes: 900,
        };
        let indexes = heads().take(2).flat_map(|head| {
            let here = Folders::Here(folders_on_swarm());
            let index = |folders| Index {
                head: head.clone(),
                folders,
            };
            [index(here), index(elsewhere.clone())]
        });
        indexes.filter_map(|index| index.encode()).collect()
    }

    pub fn swarm_folder() -> Vec<Vec<u8>> {
        let file = |n: u8| FileAt {
            reference: Reference([n; 32]),
            root: *Block::new(Codec::Raw, vec![n]).cid(),
            blocks: vec![gwa::blocks::catalogue::Listed {
                fragment: [n, 2, 3],
                len: 32_000,
            }],
        };
        let mut folder = Folder::empty("days/2018");
        for n in 0..3 {
            let name = format!("2018-09-1{n}.ei66wof36n5e.car");
            folder.files.insert(name, file(n));
        }
        let list = encode_list(&folders_on_swarm());
        vec![folder.encode().expect("a folder"), list]
    }

    pub fn car() -> Vec<Vec<u8>> {
        let blocks = [
            Block::new(Codec::Raw, &b"a leaf"[..]),
            Block::new(Codec::DagCbor, &b"\xa0"[..]),
            Block::new(Codec::Raw, vec![7; 300]),
        ];
        let car = |blocks: &[Block]| {
            let mut bytes = Vec::new();
            let root = blocks[0].cid();
            write_car(&mut bytes, root, blocks.iter().cloned().map(Ok)).expect("a CAR");
            bytes
        };
        vec![car(&blocks[..1]), car(&blocks)]
    }

    /// A file as its layout says, with two groups and an end.
    pub fn journal() -> Vec<Vec<u8>> {
        fn item(file: &mut Vec<u8>, mark: [u8; 4], body: &[u8]) {
            let crc = crc32c::crc32c(&[b"salt", &mark[..], body].concat());
            file.extend([&mark[..], &crc.to_be_bytes(), body].concat());
        }
        fn seam(file: &mut Vec<u8>, mark: u32) {
            let at = file.len() as u64;
            item(file, mark.to_be_bytes(), &at.to_be_bytes());
        }
        let mut file = b"GWAJRNL\x01salt".to_vec();
        file.extend(crc32c::crc32c(&file).to_be_bytes());
        let empty = file.clone();
        for group in [&[&b"one"[..], b"", b"three"][..], &[&[0xff; 200][..]][..]] {
            seam(&mut file, u32::MAX);
            for record in group {
                let len = u32::try_from(record.len()).expect("short");
                item(&mut file, len.to_be_bytes(), record);
            }
        }
        let open = file.clone();
        seam(&mut file, u32::MAX - 1);
        let mut found = 0;
        salvage_bytes(file.clone().into(), |item| match item {
            Found::Record(_) => found += 1,
            Found::Damage { .. } => panic!("{item:?}"),
        });
        assert_eq!(found, 4, "the layout and its reader differ");
        vec![empty, open, file]
    }

    /// Seeds short enough to be mutated whole.
    fn short(seeds: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        seeds
            .into_iter()
            .filter(|seed| seed.len() <= super::MAX_INPUT)
            .collect()
    }

    pub fn envelope() -> Vec<Vec<u8>> {
        let file = fixture("wire/envelopes.json");
        let mut seeds = all(&file, "vectors", &["rlp"]);
        seeds.extend(all(&file, "invalid", &["rlp"]));
        short(seeds)
    }

    /// Both recorded sessions, each packet behind its code.
    pub fn packet() -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for capture in ["session_status_mailserver", "session_geth_mailserver"] {
            let file = fixture(&format!("captures/{capture}.json"));
            for vector in list(&file, "vectors") {
                let code = vector["code"].as_u64().expect("a code");
                let mut seed = vec![u8::try_from(code).expect("a packet code")];
                seed.extend(bytes(vector, "payload"));
                seeds.push(seed);
            }
        }
        short(seeds)
    }

    pub fn status() -> Vec<Vec<u8>> {
        let file = fixture("wire/rlpx.json");
        let mut seeds = all(&file, "shh_status", &["payload"]);
        seeds.extend(all(&file, "shh_status_received", &["payload"]));
        seeds
    }

    pub fn message() -> Vec<Vec<u8>> {
        all(&fixture("wire/messages.json"), "crafted", &["plaintext"])
    }

    pub fn payload() -> Vec<Vec<u8>> {
        let file = fixture("status/payloads.json");
        all(&file, "vectors", &["payload"])
    }

    pub fn request() -> Vec<Vec<u8>> {
        let file = fixture("wire/mailserver_requests.json");
        let mut seeds = all(&file, "vectors", &["payload", "envelope_rlp"]);
        seeds.extend(all(&file, "messages_request", &["packet"]));
        seeds.extend(all(&file, "geth_vectors", &["payload"]));
        seeds
    }

    pub fn completion() -> Vec<Vec<u8>> {
        let file = fixture("wire/mailserver_responses.json");
        all(&file, "vectors", &["payload"])
    }
}
