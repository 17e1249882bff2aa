//! Trees put together by hand, right or wrong.

use std::collections::BTreeMap;

use gwa::archive::builder::SegmentRef;
use gwa::archive::calendar::{CalendarNode, Level};
use gwa::archive::fresh::Sealed;
use gwa::archive::leaf::{self, Record};
use gwa::archive::pack::LeafEntry;
use gwa::archive::sums::Sums;
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, Cid, Codec};
use gwa::time::UnixSeconds;

use super::{FROM, Source};

/// Puts a block in, gives its name.
pub fn put(source: &mut Source, block: &Block) -> Cid {
    source.put(block);
    *block.cid()
}

/// A leaf of these records and what a pack says of it.
pub fn leaf(source: &mut Source, records: &[Record]) -> LeafEntry {
    let bytes: Vec<u8> = records.iter().flat_map(|r| r.bytes.to_vec()).collect();
    let cid = put(source, &Block::new(Codec::Raw, bytes));
    leaf::entry_of(cid, records).expect("records of a leaf")
}

pub fn node(source: &mut Source, level: Level, children: &[(u16, SegmentRef)]) -> SegmentRef {
    let node = CalendarNode {
        children: children.iter().copied().collect(),
        ..CalendarNode::new(level)
    };
    SegmentRef {
        cid: put(source, &node.encode()),
        sums: node.sums(),
    }
}

/// A head's view of the 29th of September as this segment, closed, without an
/// index.
pub fn one_day(source: &mut Source, segment: SegmentRef) -> Sealed {
    let month = node(source, Level::Month, &[(29, segment)]);
    let year = node(source, Level::Year, &[(9, month)]);
    let state = node(source, Level::State, &[(2018, year)]);
    sealed(state.cid, state.sums)
}

/// A head's view of a state, a year from now.
pub fn sealed(state: Cid, totals: Sums) -> Sealed {
    Sealed {
        watermark: Watermark::at_or_before(UnixSeconds(FROM + 366 * 86_400)),
        state: Some(state),
        open: Vec::new(),
        totals,
    }
}

/// Records sent at one instant of the 29th, one topic, in order of hash.
pub fn alike(count: u16) -> Vec<Record> {
    use gwa::archive::testing::record_of;
    use gwa::time::{Expiry, Ttl};
    use gwa::whisper::{Envelope, Topic};
    let ttl = Ttl(50);
    let expiry = Expiry::of(UnixSeconds(FROM + 100), ttl);
    let of = |n: u16| {
        record_of(&Envelope::new(
            expiry,
            ttl,
            Topic([7; 4]),
            &n.to_be_bytes(),
            1,
        ))
    };
    let records: BTreeMap<_, _> = (0..count).map(of).map(|r| (r.key, r)).collect();
    records.into_values().collect()
}
