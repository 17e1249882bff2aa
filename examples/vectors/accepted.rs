//! What the accepted vectors give.

use std::collections::BTreeMap;

use gwa::archive::builder::SegmentRef;
use gwa::archive::calendar::{CalendarNode, Level};
use gwa::archive::pack::Pack;
use gwa::archive::topics::build_index;
use gwa::blocks::{Block, BlockSource, BlockStore, Codec, Group, MemoryStore, Reuse};
use serde_json::{Value, json};

use crate::Vector;
use crate::compute::build_segment;
use crate::given::{random, records};

/// 2018-09-29 00:00, two days before a month ends.
const FROM: u32 = 1_538_179_200;
/// 2018-09-01 00:00, the day of the corpus's first envelope.
const CORPUS_DAY: u32 = 1_535_760_000;

/// A drawn set.
fn drawn(seed: u64, count: u32, topics: u32, span: u32, data: u32) -> Value {
    json!({ "drawn": {
        "seed": seed, "count": count, "topics": topics,
        "from": FROM, "to": FROM + span, "data": data,
    }})
}

fn corpus(from: u32, count: u32) -> Value {
    json!({ "corpus": { "from": from, "count": count } })
}

/// All of them.
pub fn all() -> Vec<Vector> {
    let mut all = vec![
        vector(
            "splitter-table",
            "table",
            "SURVIVAL: 129 chances in units of 2^-32, each 4 bytes, big endian",
            json!({}),
        ),
        vector(
            "splitter-leaf",
            "splitter",
            "items of 1 to 4,000 bytes cut into leaves",
            splitter(1_024, 131_072, 400, 4_000),
        ),
        vector(
            "splitter-pack",
            "splitter",
            "children cut into packs",
            splitter(4, 512, 1_000, 1),
        ),
        vector(
            "splitter-edges",
            "splitter",
            "too short to cut; the last hash that keeps and the first that cuts; items above the \
             maximum; the maximum itself",
            edges(),
        ),
        vector(
            "envelopes",
            "envelopes",
            "keys and sums of a set with a duplicate, given unsorted",
            {
                let mut rlp: Vec<_> = records(&corpus(0, 4))
                    .into_iter()
                    .map(|r| hex::encode(r.bytes))
                    .collect();
                rlp.push(rlp[1].clone());
                json!({ "rlp": rlp })
            },
        ),
    ];
    all.extend(segments());
    all.extend(nodes());
    all.extend(heads());
    all.extend(archives());
    all
}

fn vector(
    name: &'static str,
    kind: &'static str,
    description: &'static str,
    given: Value,
) -> Vector {
    Vector {
        name,
        kind,
        description,
        given,
    }
}

fn splitter(unit: u64, max: u64, count: u64, weights: u32) -> Value {
    let items = (0..count).map(|n| {
        let d = random(unit, n);
        let weight = 1 + u32::from_be_bytes([d[0], d[1], d[2], d[3]]) % weights;
        json!([weight, u32::from_be_bytes([d[4], d[5], d[6], d[7]])])
    });
    json!({ "unit": unit, "max": max, "items": items.collect::<Vec<_>>() })
}

fn edges() -> Value {
    // From 4 whole units to 5 the chance falls from ffffffff to ffb738ff, so
    // the smallest hash that cuts is ceil(ffb738ff * 2^32 / ffffffff).
    let first_cut = (0xffb7_38ff_u64 << 32).div_ceil(0xffff_ffff);
    let mut items = vec![json!([4_096, u32::MAX])];
    items.extend([json!([1_024, first_cut - 1]), json!([1, u32::MAX])]);
    items.extend([json!([126_000, 0]), json!([1, 0])]);
    items.extend([json!([4_096, u32::MAX]), json!([1_024, first_cut])]);
    items.extend([
        json!([131_072, 0]),
        json!([131_073, 0]),
        json!([500_000, 0]),
    ]);
    items.extend([
        json!([100, 0]),
        json!([131_000, 0]),
        json!([72, 0]),
        json!([1, 0]),
    ]);
    json!({ "unit": 1_024, "max": 131_072, "items": items })
}

fn segments() -> Vec<Vector> {
    let one = build_segment(&sorted(&drawn(1, 1, 1, 60, 40))).1;
    let leaf = build_segment(&sorted(&drawn(2, 12, 4, 86_400, 200))).1;
    let of =
        |name, description, set| vector(name, "segment", description, json!({ "envelopes": set }));
    vec![
        vector("leaf-one", "leaf", "a leaf of one envelope", bytes(&one[0])),
        vector(
            "leaf-twelve",
            "leaf",
            "a leaf of twelve envelopes of four topics",
            bytes(&leaf[0]),
        ),
        of(
            "segment-empty",
            "no envelopes: no segment",
            json!({ "rlp": [] }),
        ),
        of("segment-one", "one envelope", drawn(1, 1, 1, 60, 40)),
        of(
            "segment-one-leaf",
            "what fits one leaf has that leaf as its root",
            drawn(2, 12, 4, 86_400, 200),
        ),
        of(
            "segment-pack",
            "several leaves under one pack",
            drawn(3, 400, 40, 86_400, 1_500),
        ),
        of(
            "segment-small-envelopes",
            "leaves of many small envelopes, most of their own topic",
            drawn(4, 6_000, 256, 3_600, 2),
        ),
        of(
            "segment-large-envelopes",
            "envelopes up to 64 KB: cuts forced by the next one",
            drawn(5, 24, 3, 60, 65_535),
        ),
        of(
            "segment-two-levels",
            "all envelopes of the corpus in one segment: two levels of packs",
            corpus(0, 20_000),
        ),
    ]
}

fn sorted(set: &Value) -> Vec<gwa::archive::leaf::Record> {
    let mut records = records(set);
    records.sort_by_key(|record| record.key);
    records.dedup_by_key(|record| record.key);
    records
}

fn bytes(block: &Block) -> Value {
    json!({ "bytes": hex::encode(block.bytes()) })
}

fn nodes() -> Vec<Vector> {
    let packs = |set: &Value| -> Vec<Block> {
        let (_, blocks) = build_segment(&sorted(set));
        let packs = blocks
            .into_iter()
            .filter(|b| Codec::of(b.cid()) == Some(Codec::DagCbor));
        packs.collect()
    };
    let small = packs(&drawn(3, 400, 40, 86_400, 1_500));
    let large = packs(&corpus(0, 20_000));
    let root = large.last().expect("many leaves have packs");
    assert_eq!(Pack::decode(root.bytes()).expect("a pack").level(), 2);
    let mut all = vec![
        vector("pack-1", "pack", "a pack over leaves", bytes(&small[0])),
        vector("pack-2", "pack", "a pack over packs", bytes(root)),
    ];
    all.extend(calendar());
    all
}

fn at(level: &str, node: &CalendarNode) -> Value {
    json!({ "level": level, "bytes": hex::encode(node.encode().bytes()) })
}

fn calendar() -> Vec<Vector> {
    let store = MemoryStore::default();
    let mut file = store
        .begin(Group::Calendar, Reuse::Nothing)
        .expect("memory does not fail");
    let mut segment = |set: &Value| -> SegmentRef {
        let (root, blocks) = build_segment(&sorted(set));
        for block in &blocks {
            file.put(block).expect("memory does not fail");
        }
        root.expect("the set is not empty")
    };
    let days: BTreeMap<u8, SegmentRef> = [
        (1, segment(&drawn(6, 30, 5, 86_400, 300))),
        (2, segment(&drawn(7, 1, 1, 86_400, 300))),
        (30, segment(&drawn(8, 700, 8, 86_400, 1_000))),
    ]
    .into();
    let hour = segment(&drawn(9, 10, 3, 3_600, 100));
    let wide: Vec<_> = (1..=28)
        .map(|day| (day, segment(&drawn(day.into(), 900, 256, 86_400, 3))))
        .collect();
    file.commit(&days[&1].cid).expect("memory does not fail");

    let mut file = store
        .begin(Group::Calendar, Reuse::Nothing)
        .expect("memory does not fail");
    let closed: Vec<_> = days.iter().map(|(day, segment)| (*day, *segment)).collect();
    let index = build_index(&store, &closed, &mut *file).expect("the segments are held");
    let index = index.expect("there are closed days");
    let high = build_index(&store, &wide, &mut *file).expect("the segments are held");
    let high = high.expect("there are closed days");
    file.commit(&index).expect("memory does not fail");
    let read = |cid| bytes(&store.get(&cid).expect("just stored"));

    let child = |node: &CalendarNode| SegmentRef {
        cid: *node.encode().cid(),
        sums: node.sums(),
    };
    let node = |level, children: Vec<(u16, SegmentRef)>| CalendarNode {
        children: children.into_iter().collect(),
        ..CalendarNode::new(level)
    };
    let open = node(Level::OpenDay, vec![(0, hour), (23, days[&2])]);
    let mut month = node(
        Level::Month,
        closed
            .iter()
            .map(|(day, s)| (u16::from(*day), *s))
            .collect(),
    );
    let delta = month.clone();
    month.topics = Some(index);
    let closed_month = month.clone();
    month.children.insert(31, child(&open));
    month.open = Some(31);
    let year = node(
        Level::Year,
        vec![(9, child(&closed_month)), (10, child(&month))],
    );
    let later = node(Level::Year, vec![(1, child(&closed_month))]);
    let last = node(Level::Year, vec![(2, child(&closed_month))]);
    let state = node(
        Level::State,
        vec![
            (1970, child(&later)),
            (2018, child(&year)),
            (2106, child(&last)),
        ],
    );
    vec![
        vector(
            "topics-lines",
            "topics",
            "one node of lines: days with one leaf and with several",
            read(index),
        ),
        vector("topics-nodes", "topics", "a node over nodes", read(high)),
        vector(
            "calendar-day",
            "calendar",
            "an open day with two closed hours",
            at("day", &open),
        ),
        vector(
            "calendar-month",
            "calendar",
            "a month of closed days",
            at("month", &closed_month),
        ),
        vector(
            "calendar-month-open",
            "calendar",
            "a month whose last day is open",
            at("month", &month),
        ),
        vector(
            "calendar-month-delta",
            "calendar",
            "a month of a delta: days and nothing else",
            at("month", &delta),
        ),
        vector("calendar-year", "calendar", "a year", at("year", &year)),
        vector("calendar-state", "calendar", "a state", at("state", &state)),
    ]
}

/// The fields of a head with links to made-up nodes.
pub fn head_fields() -> Value {
    let link = |n: u8| Block::new(Codec::DagCbor, vec![n]).cid().to_string();
    json!({
        "network": "shh/6", "name": "example", "seq": 6, "time": 1_538_395_321,
        "watermark": 1_538_395_200, "state": link(1), "open": [link(2), link(3)],
        "added": link(3), "totals": [9, 900, "07".repeat(32)],
        "prev": link(4), "skip": link(5), "merged": [link(6)],
    })
}

fn heads() -> Vec<Vector> {
    let given = |head: Value| json!({ "secret": "33".repeat(32), "head": head });
    let first = json!({
        "network": "shh/6", "name": "", "seq": 1, "time": 1_538_395_321,
        "watermark": 1_538_395_200, "state": null, "open": [], "added": null,
        "totals": [0, 0, "00".repeat(32)], "prev": null, "skip": null, "merged": [],
    });
    vec![
        vector(
            "head-first",
            "head",
            "the first head of an empty archive",
            given(first),
        ),
        vector(
            "head-full",
            "head",
            "every field in use",
            given(head_fields()),
        ),
    ]
}

fn archives() -> Vec<Vector> {
    let step = |envelopes: Value, watermark: u32| json!({ "envelopes": envelopes, "watermark": watermark });
    let none = || json!({ "rlp": [] });
    let hours = |n: u32| n * 3_600;
    vec![
        vector(
            "archive-empty",
            "archive",
            "nothing sealed: no state",
            json!({ "steps": [step(none(), FROM)] }),
        ),
        vector(
            "archive-small",
            "archive",
            "three days across a month's end, sealed in three steps, with every block",
            json!({ "with_blocks": true, "steps": [
                step(drawn(10, 14, 3, 3 * 86_400, 60), FROM + hours(30) + 1_500),
                step(none(), FROM + hours(54) + 300),
                step(none(), FROM + hours(72)),
            ]}),
        ),
        vector(
            "archive-late",
            "archive",
            "envelopes that come after their hour and day closed, some of them twice",
            json!({ "steps": [
                step(drawn(11, 200, 9, 2 * 86_400, 400), FROM + hours(40)),
                step(drawn(11, 230, 9, 2 * 86_400, 400), FROM + hours(40) + 600),
                step(drawn(12, 20, 9, 2 * 86_400, 400), FROM + hours(47)),
                step(none(), FROM + hours(48)),
            ]}),
        ),
        vector(
            "archive-corpus-300",
            "archive",
            "the corpus's first 300 envelopes: two seals inside one hour, one at the day's end",
            json!({ "steps": [
                step(corpus(0, 300), CORPUS_DAY + hours(17) + 1_200),
                step(none(), CORPUS_DAY + hours(17) + 2_100),
                step(none(), CORPUS_DAY + hours(24)),
            ]}),
        ),
        vector(
            "archive-corpus",
            "archive",
            "all 20,000 lines of the corpus at once",
            json!({ "steps": [step(corpus(0, 20_000), FROM + hours(72))] }),
        ),
        vector(
            "generated",
            "generated",
            "one hash over the states of 2,000 drawn sets",
            json!({ "cases": 2_000, "from": FROM }),
        ),
    ]
}
