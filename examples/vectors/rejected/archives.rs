//! Archives whose blocks are sound one by one, and whose whole is not.

use gwa::archive::builder::SegmentRef;
use gwa::archive::calendar::{CalendarNode, Level};
use gwa::archive::leaf::Record;
use gwa::archive::pack::{LeafEntry, Pack};
use gwa::archive::sums::Sums;
use gwa::archive::topics::{TopicDay, TopicLine, TopicNode};
use gwa::blocks::{Block, Cid, Codec};
use serde_json::{Value, json};

use super::{FROM, entry, link};
use crate::Vector;
use crate::compute::build_segment;
use crate::given::records;

const DAY: u32 = 86_400;
const HOUR: u32 = 3_600;

/// An archive put together by hand.
struct Forged {
    blocks: Vec<Block>,
    watermark: u32,
    state: Option<SegmentRef>,
    open: Vec<Cid>,
    totals: Sums,
}

impl Forged {
    /// Nothing yet, sealed up to `FROM` and so many seconds.
    fn new(seconds: u32) -> Self {
        Self {
            blocks: Vec::new(),
            watermark: FROM + seconds,
            state: None,
            open: Vec::new(),
            totals: Sums::default(),
        }
    }

    fn put(&mut self, block: Block) -> Cid {
        let cid = *block.cid();
        self.blocks.push(block);
        cid
    }

    fn segment(&mut self, records: &[Record]) -> SegmentRef {
        let (root, blocks) = build_segment(records);
        self.blocks.extend(blocks);
        root.expect("a bucket is not empty")
    }

    fn pack(&mut self, leaves: Vec<LeafEntry>) -> SegmentRef {
        let pack = Pack::Leaves(leaves);
        SegmentRef {
            cid: self.put(pack.encode()),
            sums: pack.sums(),
        }
    }

    fn leaf(&mut self, records: &[Record]) -> LeafEntry {
        let bytes: Vec<u8> = records.iter().flat_map(|r| r.bytes.to_vec()).collect();
        self.put(Block::new(Codec::Raw, bytes));
        entry(records)
    }

    fn node(&mut self, node: &CalendarNode) -> SegmentRef {
        SegmentRef {
            cid: self.put(node.encode()),
            sums: node.sums(),
        }
    }

    /// The topic index over one closed day of one leaf.
    fn index(&mut self, day: u8, records: &[Record]) -> Cid {
        let leaf = entry(records);
        let lines = leaf.runs.iter().map(|run| TopicLine {
            topic: run.topic,
            days: vec![TopicDay {
                day,
                count: run.count,
                leaf: Some(leaf.cid),
            }],
        });
        self.put(TopicNode::Lines(lines.collect()).encode())
    }

    /// The tree from September 2018 up.
    fn above(&mut self, month: &CalendarNode) -> SegmentRef {
        let month = self.node(month);
        let year = self.node(&over(Level::Year, 9, month));
        self.node(&over(Level::State, 2018, year))
    }

    fn state(&mut self, month: &CalendarNode) {
        let state = self.above(month);
        self.totals = self.totals.plus(state.sums);
        self.state = Some(state);
    }

    /// An open delta whose envelopes all count as open.
    fn delta(&mut self, records: &[Record]) {
        let segment = self.segment(records);
        let delta = self.above(&over(Level::Month, 29, segment));
        self.totals = self.totals.plus(delta.sums);
        self.open.push(delta.cid);
    }

    fn given(&self) -> Value {
        let codec = |block: &Block| match Codec::of(block.cid()) {
            Some(Codec::Raw) => "raw",
            _ => "dag-cbor",
        };
        let blocks = self
            .blocks
            .iter()
            .map(|block| json!({ "codec": codec(block), "bytes": hex::encode(block.bytes()) }));
        let Sums {
            count,
            bytes,
            fingerprint,
        } = self.totals;
        json!({
            "blocks": blocks.collect::<Vec<_>>(),
            "head": link(Codec::DagCbor, 9).to_string(),
            "watermark": self.watermark,
            "state": self.state.map(|state| state.cid.to_string()),
            "open": self.open.iter().map(Cid::to_string).collect::<Vec<_>>(),
            "totals": [json!(count), json!(bytes), json!(hex::encode(fingerprint.0))],
        })
    }
}

fn over(level: Level, number: u16, child: SegmentRef) -> CalendarNode {
    CalendarNode {
        children: [(number, child)].into(),
        ..CalendarNode::new(level)
    }
}

/// Six envelopes sent within so many seconds after `FROM`, sorted.
fn six(from: u32, to: u32) -> Vec<Record> {
    let set = json!({ "drawn": {
        "seed": 30, "count": 6, "topics": 3,
        "from": FROM + from, "to": FROM + to, "data": 40,
    }});
    let mut records = records(&set);
    records.sort_by_key(|record| record.key);
    records
}

/// A closed day that is as it must be, then `change`.
fn closed_day(change: impl FnOnce(&mut Forged, &mut CalendarNode, &[Record])) -> Forged {
    let records = six(0, DAY);
    let mut forged = Forged::new(DAY);
    let segment = forged.segment(&records);
    let mut month = over(Level::Month, 29, segment);
    month.topics = Some(forged.index(29, &records));
    change(&mut forged, &mut month, &records);
    forged.state(&month);
    forged
}

pub fn all() -> Vec<Vector> {
    let of = |name, rule, forged: Forged| Vector {
        name,
        kind: "archive",
        description: rule,
        given: forged.given(),
    };
    let honest = closed_day(|_, _, _| {});
    assert_eq!(crate::compute::refusal("archive", &honest.given()), None);
    let mut totals = closed_day(|_, _, _| {});
    totals.totals.count += 1;
    let mut missing = closed_day(|_, _, _| {});
    missing.blocks.remove(0);
    let mut deltas = Forged::new(300);
    deltas.delta(&six(0, 300));
    assert_eq!(crate::compute::refusal("archive", &deltas.given()), None);
    let mut twice = Forged::new(300);
    twice.delta(&six(0, 300));
    twice.delta(&six(0, 300)[..1]);
    let mut late = Forged::new(300);
    late.delta(&six(0, 900));
    let mut indexed = Forged::new(300);
    let records = six(0, 300);
    let segment = indexed.segment(&records);
    let mut month = over(Level::Month, 29, segment);
    month.topics = Some(indexed.index(29, &records));
    let delta = indexed.above(&month);
    indexed.totals = delta.sums;
    indexed.open.push(delta.cid);
    let mut misplaced = closed_day(|_, _, _| {});
    let leaf = *misplaced.blocks[0].cid();
    misplaced.state = misplaced
        .state
        .map(|state| SegmentRef { cid: leaf, ..state });
    vec![
        of(
            "archive-leaf-cut-early",
            "leaves end where the splitter cuts",
            closed_day(|forged, month, records| {
                let leaves = vec![forged.leaf(&records[..3]), forged.leaf(&records[3..])];
                let pack = forged.pack(leaves);
                month.children.insert(29, pack);
            }),
        ),
        of(
            "archive-pack-over-one-leaf",
            "one leaf is its segment's root",
            closed_day(|forged, month, records| {
                let leaf = forged.leaf(records);
                let pack = forged.pack(vec![leaf]);
                month.children.insert(29, pack);
            }),
        ),
        of(
            "archive-no-index",
            "a month with a closed day has a topic index",
            closed_day(|_, month, _| month.topics = None),
        ),
        of(
            "archive-index-of-less",
            "the topic index is that of the month's closed days",
            closed_day(|forged, month, records| {
                month.topics = Some(forged.index(29, &records[..2]));
            }),
        ),
        of(
            "archive-day-still-open",
            "a day that the watermark has passed is one segment",
            closed_day(|forged, month, _| {
                let hour = forged.segment(&six(0, HOUR));
                let open = forged.node(&over(Level::OpenDay, 0, hour));
                month.children.insert(29, open);
                month.open = Some(29);
                month.topics = None;
            }),
        ),
        of(
            "archive-day-closed-early",
            "a day that the watermark has not passed is open",
            {
                let mut forged = closed_day(|_, _, _| {});
                forged.watermark -= 300;
                forged
            },
        ),
        of(
            "archive-hour-closed-early",
            "an hour that the watermark has not passed is in no state",
            {
                let mut forged = Forged::new(2 * HOUR - 300);
                let hour = forged.segment(&six(HOUR, 2 * HOUR - 300));
                let open = forged.node(&over(Level::OpenDay, 1, hour));
                let mut month = over(Level::Month, 29, open);
                month.open = Some(29);
                forged.state(&month);
                forged
            },
        ),
        of(
            "archive-envelope-of-another-day",
            "a bucket holds what was sent in its time",
            closed_day(|forged, month, _| {
                let records = six(DAY - 600, DAY + 600);
                let segment = forged.segment(&records);
                month.children.insert(29, segment);
                month.topics = Some(forged.index(29, &records));
            }),
        ),
        of(
            "archive-wrong-sums",
            "a link's sums are those of what it names",
            closed_day(|_, month, _| {
                month
                    .children
                    .entry(29)
                    .and_modify(|child| child.sums.bytes += 1);
            }),
        ),
        of(
            "archive-no-such-day",
            "a month has the days of the calendar",
            closed_day(|forged, month, _| {
                let segment = forged.segment(&six(0, HOUR));
                month.children.insert(31, segment);
            }),
        ),
        of(
            "archive-wrong-totals",
            "a head's totals are those of state and open deltas",
            totals,
        ),
        of("archive-block-missing", "every block is there", missing),
        of("archive-state-is-leaf", "the state is a node", misplaced),
        of(
            "archive-open-twice",
            "an envelope in two open deltas counts once",
            twice,
        ),
        of(
            "archive-open-past-watermark",
            "what is open was sent before the watermark",
            late,
        ),
        of(
            "archive-open-with-index",
            "a delta has no topic index",
            indexed,
        ),
    ]
}
