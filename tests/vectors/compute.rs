//! What this implementation makes of what a vector gives.
//!
//! Always true: [`expect`] and [`refusal`] look at the kind and the given part
//! alone, so a vector in any language's hands has the same two sides.

use bytes::Bytes;
use gwa::archive::ArchiveError;
use gwa::archive::builder::{BlockSink, SegmentBuilder, SegmentRef};
use gwa::archive::calendar::{CalendarNode, CalendarReader, Level};
use gwa::archive::fresh::{Pending, Sealed};
use gwa::archive::head::{Head, HeadBody, HeadError, MAX_OPEN, Sequence};
use gwa::archive::key::Key;
use gwa::archive::leaf::{self, Record};
use gwa::archive::pack::Pack;
use gwa::archive::seal::{SealRequest, seal};
use gwa::archive::splitter::{SURVIVAL, Splitter};
use gwa::archive::sums::Sums;
use gwa::archive::topics::TopicNode;
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::blocks::{
    Block, BlockError, BlockSource, BlockStore, Cid, Codec, Group, MemoryStore, Reuse,
};
use gwa::keccak::keccak256;
use gwa::progress::Quiet;
use gwa::time::UnixSeconds;
use secp256k1::SecretKey;
use serde_json::{Map, Value, json};

use crate::given::{
    array, block, bytes, cid, cids, list, maybe_cid, number, random, records, small, sums, text,
};

/// What an accepted vector must say.
pub fn expect(kind: &str, given: &Value) -> Value {
    match kind {
        "table" => {
            json!({ "survival": SURVIVAL.iter().map(|c| hex_of(c.to_be_bytes())).collect::<Vec<_>>() })
        }
        "splitter" => splitter(given),
        "envelopes" => envelopes(given),
        "leaf" => leaf(given),
        "pack" => pack(given),
        "segment" => segment(given),
        "topics" => topics(given),
        "calendar" => calendar(given),
        "head" => head(given),
        "archive" => archive(given),
        "generated" => generated(given),
        other => panic!("no vectors of kind {other} are known"),
    }
}

/// How a rejected vector is refused; `None` where it is not.
pub fn refusal(kind: &str, given: &Value) -> Option<Value> {
    let kind_of = |error: &dyn std::fmt::Debug| Value::from(variant(error));
    match kind {
        "leaf" => {
            let refused = leaf::decode(&bytes(&given["bytes"]).into()).err();
            refused.map(|error| kind_of(&error))
        }
        "pack" => {
            let refused = Pack::decode(&bytes(&given["bytes"])).err();
            refused.map(|error| kind_of(&error))
        }
        "topics" => {
            let refused = TopicNode::decode(&bytes(&given["bytes"])).err();
            refused.map(|error| kind_of(&error))
        }
        "calendar" => {
            let refused = CalendarNode::decode(level(given), &bytes(&given["bytes"])).err();
            refused.map(|error| kind_of(&error))
        }
        "head" => match Head::decode(block(given)).err()? {
            HeadError::Cbor(error) => Some(kind_of(&error)),
            error => Some(kind_of(&error)),
        },
        "archive" => {
            let faults = faults(given);
            (!faults.is_empty()).then_some(Value::Array(faults))
        }
        other => panic!("no rejected vectors of kind {other} are known"),
    }
}

/// The name of an enum's variant; of a bound that is passed, which one.
fn variant(error: &dyn std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let text = text.strip_prefix("Bounds(").unwrap_or(&text);
    text.chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect()
}

fn hex_of(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

fn sums_of(sums: Sums) -> Value {
    json!([sums.count, sums.bytes, hex_of(sums.fingerprint.0)])
}

fn cid_of(cid: Option<&Cid>) -> Value {
    cid.map_or(Value::Null, |cid| cid.to_string().into())
}

fn splitter(given: &Value) -> Value {
    let mut splitter = Splitter::new(number(&given["unit"]), number(&given["max"]));
    let mut cuts = Vec::new();
    for (at, item) in list(&given["items"]).iter().enumerate() {
        let (weight, hash) = (number(&item[0]), small(&item[1]));
        if splitter.must_cut_before(weight) {
            splitter.cut();
            cuts.push(at);
        }
        if splitter.cuts_after(weight, hash) {
            cuts.push(at + 1);
        }
    }
    json!({ "cuts": cuts })
}

fn envelope_of(record: &Record) -> Value {
    json!({
        "hash": hex_of(record.key.hash.0),
        "key": hex_of(record.key.to_bytes()),
        "length": record.bytes.len(),
        "sent": record.key.sent.0,
        "topic": hex_of(record.key.topic.0),
    })
}

/// Keys and sums of a set, sorted.
fn envelopes(given: &Value) -> Value {
    let records = sorted(records(given));
    let sums = records.iter().map(sums_of_one).sum();
    json!({
        "envelopes": records.iter().map(envelope_of).collect::<Vec<_>>(),
        "sums": sums_of(sums),
    })
}

fn sums_of_one(record: &Record) -> Sums {
    Sums::of_one(record.bytes.len(), record.key.hash)
}

fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| record.key);
    records.dedup_by_key(|record| record.key);
    records
}

fn leaf(given: &Value) -> Value {
    let block = Block::new(Codec::Raw, bytes(&given["bytes"]));
    let records = leaf::decode(block.bytes()).expect("a leaf");
    json!({
        "cid": block.cid().to_string(),
        "envelopes": records.iter().map(envelope_of).collect::<Vec<_>>(),
        "sums": sums_of(records.iter().map(sums_of_one).sum()),
    })
}

fn pack(given: &Value) -> Value {
    let block = block(given);
    let pack = Pack::decode(block.bytes()).expect("a pack");
    assert_eq!(pack.encode(), block);
    let mut found = Map::new();
    found.insert("cid".into(), block.cid().to_string().into());
    found.insert("level".into(), pack.level().into());
    found.insert("sums".into(), sums_of(pack.sums()));
    let child = |first: Key, cid: &Cid, sums: Sums| json!({ "first": hex_of(first.to_bytes()), "link": cid.to_string(), "sums": sums_of(sums) });
    match pack {
        Pack::Leaves(leaves) => {
            let leaves = leaves.iter().map(|leaf| {
                let mut entry = child(leaf.first, &leaf.cid, leaf.sums);
                entry["runs"] = leaf
                    .runs
                    .iter()
                    .map(|run| json!([hex_of(run.topic.0), run.count, run.first.0, run.last.0]))
                    .collect();
                entry
            });
            found.insert("leaves".into(), leaves.collect());
        }
        Pack::Packs { children, .. } => {
            let packs = children.iter().map(|c| child(c.first, &c.cid, c.sums));
            found.insert("packs".into(), packs.collect());
        }
    }
    found.into()
}

#[derive(Default)]
struct Kept(Vec<Block>);

impl BlockSink for Kept {
    fn take(&mut self, block: &Block) -> Result<(), BlockError> {
        self.0.push(block.clone());
        Ok(())
    }
}

/// A segment's root and the blocks it is made of.
pub fn build_segment(records: &[Record]) -> (Option<SegmentRef>, Vec<Block>) {
    let mut kept = Kept::default();
    let mut builder = SegmentBuilder::new(&mut kept);
    for record in records {
        builder.push(record).expect("memory does not fail");
    }
    let root = builder.finish().expect("memory does not fail");
    (root, kept.0)
}

fn segment(given: &Value) -> Value {
    let (root, blocks) = build_segment(&sorted(records(&given["envelopes"])));
    let of = |codec| {
        let blocks = blocks
            .iter()
            .filter(move |b| Codec::of(b.cid()) == Some(codec));
        blocks.collect::<Vec<_>>()
    };
    let packs = of(Codec::DagCbor).into_iter().map(|block| {
        let pack = Pack::decode(block.bytes()).expect("a pack just made");
        let children = match &pack {
            Pack::Leaves(leaves) => leaves.len(),
            Pack::Packs { children, .. } => children.len(),
        };
        json!([pack.level(), children, block.cid().to_string()])
    });
    let leaves = of(Codec::Raw)
        .into_iter()
        .map(|block| json!([block.bytes().len(), block.cid().to_string()]));
    json!({
        "leaves": leaves.collect::<Vec<_>>(),
        "packs": packs.collect::<Vec<_>>(),
        "root": cid_of(root.as_ref().map(|root| &root.cid)),
        "sums": sums_of(root.map(|root| root.sums).unwrap_or_default()),
    })
}

fn topics(given: &Value) -> Value {
    let block = block(given);
    let node = TopicNode::decode(block.bytes()).expect("a node of a topic index");
    assert_eq!(node.encode(), block);
    let mut found = Map::new();
    found.insert("cid".into(), block.cid().to_string().into());
    found.insert("level".into(), node.level().into());
    match node {
        TopicNode::Lines(lines) => {
            let lines = lines.iter().map(|line| {
                let days = line
                    .days
                    .iter()
                    .map(|day| json!([day.day, day.count, cid_of(day.leaf.as_ref())]));
                json!({ "topic": hex_of(line.topic.0), "days": days.collect::<Vec<_>>() })
            });
            found.insert("lines".into(), lines.collect());
        }
        TopicNode::Nodes { children, .. } => {
            let nodes = children
                .iter()
                .map(|(topic, cid)| json!([hex_of(topic.0), cid.to_string()]));
            found.insert("nodes".into(), nodes.collect());
        }
    }
    found.into()
}

fn level(given: &Value) -> Level {
    match text(&given["level"]) {
        "state" => Level::State,
        "year" => Level::Year,
        "month" => Level::Month,
        "day" => Level::OpenDay,
        other => panic!("no calendar level {other}"),
    }
}

fn calendar(given: &Value) -> Value {
    let block = block(given);
    let node = CalendarNode::decode(level(given), block.bytes()).expect("a calendar node");
    assert_eq!(node.encode(), block);
    let children = node
        .children
        .iter()
        .map(|(number, child)| json!([number, child.cid.to_string(), sums_of(child.sums)]));
    json!({
        "children": children.collect::<Vec<_>>(),
        "cid": block.cid().to_string(),
        "open": node.open,
        "sums": sums_of(node.sums()),
        "topics": cid_of(node.topics.as_ref()),
    })
}

fn body(given: &Value) -> HeadBody {
    let watermark = Watermark::new(UnixSeconds(small(&given["watermark"])));
    HeadBody {
        network: text(&given["network"]).to_owned(),
        name: text(&given["name"]).to_owned(),
        sequence: Sequence(number(&given["seq"])),
        watermark: watermark.expect("a multiple of 300"),
        signed_at: UnixSeconds(small(&given["time"])),
        state: maybe_cid(&given["state"]),
        open: cids(&given["open"]),
        added: maybe_cid(&given["added"]),
        totals: sums(&given["totals"]),
        prev: maybe_cid(&given["prev"]),
        skip: maybe_cid(&given["skip"]),
        merged: cids(&given["merged"]),
    }
}

/// What a head's signature is over: its map without `sig`.
fn unsigned(block: &Block) -> Vec<u8> {
    use ipld_core::ipld::Ipld;
    let whole: Ipld =
        gwa::archive::cbor::decode(block.bytes()).expect("a head is canonical DAG-CBOR");
    let Ipld::Map(mut fields) = whole else {
        panic!("a head is a map")
    };
    fields.remove("sig").expect("a head is signed");
    gwa::archive::cbor::encode(&fields).bytes().to_vec()
}

fn head(given: &Value) -> Value {
    let secret = SecretKey::from_secret_bytes(array(&given["secret"])).expect("a secret key");
    let head = Head::sign(body(&given["head"]), &secret).expect("a head that can be");
    assert_eq!(Head::decode(head.block().clone()).as_ref(), Ok(&head));
    let unsigned = unsigned(head.block());
    json!({
        "bytes": hex_of(head.block().bytes()),
        "cid": head.cid().to_string(),
        "digest": hex_of(keccak256(&unsigned)),
        "key": hex_of(head.key().serialize()),
        "unsigned": hex_of(unsigned),
    })
}

/// Seals `waiting` up to a watermark.
fn seal_next(
    store: &MemoryStore,
    base: &Sealed,
    waiting: &mut Vec<Record>,
    watermark: Watermark,
    sequence: u64,
) -> (Sealed, Option<Cid>) {
    let (due, later): (Vec<_>, Vec<_>) = waiting
        .drain(..)
        .partition(|record| watermark.covers(record.key.sent));
    *waiting = later;
    let read = |at: usize| -> Result<Bytes, ArchiveError> { Ok(due[at].bytes.clone()) };
    let pending = due.iter().enumerate().map(|(at, record)| Pending {
        key: record.key,
        len: record.bytes.len(),
        at,
    });
    let request = SealRequest {
        store: store as &dyn BlockStore,
        base,
        pending: pending.collect(),
        read: &read,
        watermark,
        sequence,
        max_open: MAX_OPEN,
    };
    let outcome = seal(request, &Quiet).expect("memory does not fail");
    (outcome.sealed, outcome.added)
}

/// Seals step after step, each under the next sequence number.
fn archive(given: &Value) -> Value {
    let store = MemoryStore::default();
    let mut sealed = Sealed::default();
    let mut waiting = Vec::new();
    let mut steps = Vec::new();
    for (step, sequence) in list(&given["steps"]).iter().zip(1..) {
        waiting.extend(records(&step["envelopes"]));
        let watermark = Watermark::new(UnixSeconds(small(&step["watermark"])));
        let watermark = watermark.expect("a multiple of 300");
        let (next, added) = seal_next(&store, &sealed, &mut waiting, watermark, sequence);
        sealed = next;
        let found = verify(&store, &sealed, Cid::default(), Sample::EVERYTHING, &Quiet);
        assert!(found.faults.is_empty(), "{:?}", found.faults);
        steps.push(json!({
            "added": cid_of(added.as_ref()),
            "months": months(&store, sealed.state.as_ref()),
            "open": sealed.open.iter().map(Cid::to_string).collect::<Vec<_>>(),
            "state": cid_of(sealed.state.as_ref()),
            "totals": sums_of(sealed.totals),
            "waiting": waiting.len(),
        }));
    }
    let mut found = json!({ "steps": steps });
    if given["with_blocks"] == true {
        found["blocks"] = blocks_of(&store);
    }
    found
}

fn months(store: &MemoryStore, state: Option<&Cid>) -> Value {
    let mut calendar = CalendarReader::new(store, state).expect("a state just made");
    let mut found = Map::new();
    for (month, child) in calendar.months().expect("a state just made") {
        let node = calendar.month(month).expect("a state just made");
        let topics = node.and_then(|node| node.topics);
        let line = json!({ "link": child.cid.to_string(), "topics": cid_of(topics.as_ref()) });
        found.insert(month.to_string(), line);
    }
    found.into()
}

/// Every block of a store by CID.
fn blocks_of(store: &MemoryStore) -> Value {
    let mut found = Map::new();
    for file in store.files().expect("memory does not fail") {
        for cid in store.cids(&file.name).expect("memory does not fail") {
            let block = store.get(&cid).expect("a block just listed");
            found.insert(cid.to_string(), hex_of(block.bytes()).into());
        }
    }
    found.into()
}

/// Keccak-256 over the states of many drawn sets; see
/// `fixtures/archive/README.md`.
fn generated(given: &Value) -> Value {
    let mut states = Vec::new();
    for case in 0..number(&given["cases"]) {
        let d = random(case, u64::MAX);
        let from = small::<u32>(&given["from"]);
        let set = json!({ "drawn": {
            "seed": case,
            "count": 1 + u16::from_be_bytes([d[0], d[1]]) % 40,
            "topics": 1 + d[2] % 8,
            "from": from,
            "to": from + 3 * 86_400,
            "data": 1 + u16::from_be_bytes([d[3], d[4]]) % 4_096,
        }});
        let steps = u32::from(u16::from_be_bytes([d[5], d[6]])) % (3 * 288 + 1);
        let watermark = Watermark::new(UnixSeconds(from + 300 * steps)).expect("a multiple of 300");
        let store = MemoryStore::default();
        let (sealed, _) = seal_next(&store, &Sealed::default(), &mut records(&set), watermark, 1);
        states.extend(sealed.state.map(|cid| cid.to_bytes()).unwrap_or_default());
    }
    json!({ "keccak256": hex_of(keccak256(states)) })
}

/// What a verification finds in a forged archive: kind of fault, block.
fn faults(given: &Value) -> Vec<Value> {
    let store = MemoryStore::default();
    let mut file = store
        .begin(Group::Calendar, Reuse::Nothing)
        .expect("memory does not fail");
    let mut root = Cid::default();
    for given in list(&given["blocks"]) {
        let block = block(given);
        root = *block.cid();
        file.put(&block).expect("memory does not fail");
    }
    file.commit(&root).expect("memory does not fail");
    let sealed = Sealed {
        watermark: Watermark::new(UnixSeconds(small(&given["watermark"])))
            .expect("a multiple of 300"),
        state: maybe_cid(&given["state"]),
        open: cids(&given["open"]),
        totals: sums(&given["totals"]),
    };
    let head = cid(&given["head"]);
    let found = verify(&store, &sealed, head, Sample::EVERYTHING, &Quiet);
    let faults = found.faults.iter().map(|fault| {
        let kind = match fault {
            ArchiveError::Block(error) => variant(error),
            ArchiveError::Leaf { source, .. } => variant(source),
            ArchiveError::Node { source, .. } => variant(source),
            fault => variant(fault),
        };
        json!([kind, cid_of(fault.cid())])
    });
    faults.collect()
}
