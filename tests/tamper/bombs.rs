//! Trees that are small and claim to be endless. What is asserted is how many
//! blocks are asked for, not how long it takes.

use gwa::archive::ArchiveError;
use gwa::archive::builder::SegmentRef;
use gwa::archive::calendar::Level;
use gwa::archive::cbor::CborError;
use gwa::archive::fresh::Sealed;
use gwa::archive::pack::{PACK_MAX_LEVEL, Pack, PackEntry};
use gwa::archive::sums::Sums;
use gwa::blocks::links::OutOfBounds;
use gwa::blocks::{Block, BlockError, Codec};
use ipld_core::ipld::Ipld;

use super::forge::{alike, leaf, node, one_day, put, sealed};
use super::source::Source;
use super::united::compared;
use super::{filters, query, verified};

/// Both queries and a verification fail or give little, within `most` blocks
/// each; gives what they say.
fn within(source: &Source, sealed: &Sealed, most: u64) -> Vec<ArchiveError> {
    let mut errors = Vec::new();
    for filter in filters() {
        let before = source.fetched();
        errors.extend(query(source, sealed, &filter).err());
        let asked = source.fetched() - before;
        assert!(asked <= most, "a query asked for {asked} blocks");
    }
    let before = source.fetched();
    let faults = verified(source, sealed).faults;
    let asked = source.fetched() - before;
    assert!(asked <= most, "a verification asked for {asked} blocks");
    assert!(!faults.is_empty());
    errors.extend(faults);
    compared(source, sealed, most);
    assert!(
        errors.iter().all(|error| error.cid().is_some()),
        "{errors:?}"
    );
    errors
}

/// A pack over `children` that all link one pack below.
fn over(source: &mut Source, level: u8, children: Vec<PackEntry>) -> SegmentRef {
    let pack = Pack::Packs { level, children };
    SegmentRef {
        cid: put(source, &pack.encode()),
        sums: pack.sums(),
    }
}

#[test]
fn packs_deeper_than_their_levels_end_at_once() {
    let mut source = Source::default();
    let records = alike(2);
    let bottom = Pack::Leaves(vec![leaf(&mut source, &records)]);
    let mut below = SegmentRef {
        cid: put(&mut source, &bottom.encode()),
        sums: bottom.sums(),
    };
    // A thousand packs, each over the one before, all of a level that fits none.
    for depth in 0..1_000 {
        let child = PackEntry {
            first: records[0].key,
            cid: below.cid,
            sums: below.sums,
        };
        below = over(
            &mut source,
            if depth == 0 { 2 } else { PACK_MAX_LEVEL },
            vec![child],
        );
    }
    let sealed = one_day(&mut source, below);
    within(&source, &sealed, 8);
}

#[test]
fn the_deepest_pack_there_may_be_is_walked() {
    let mut source = Source::default();
    let records = alike(2);
    let bottom = Pack::Leaves(vec![leaf(&mut source, &records)]);
    let mut below = SegmentRef {
        cid: put(&mut source, &bottom.encode()),
        sums: bottom.sums(),
    };
    for level in 2..=PACK_MAX_LEVEL {
        let child = PackEntry {
            first: records[0].key,
            cid: below.cid,
            sums: below.sums,
        };
        below = over(&mut source, level, vec![child]);
    }
    let sealed = one_day(&mut source, below);
    let errors = within(&source, &sealed, 40);
    let canonical = |error: &ArchiveError| matches!(error, ArchiveError::NotCanonical { .. });
    assert!(errors.iter().any(canonical), "{errors:?}");
}

#[test]
fn a_calendar_deeper_than_days_is_refused() {
    let mut source = Source::default();
    let records = alike(2);
    let entry = leaf(&mut source, &records);
    let segment = SegmentRef {
        cid: entry.cid,
        sums: entry.sums,
    };
    let mut state = one_day(&mut source, segment).state.expect("just made");
    // States where years should be, a hundred deep.
    for _ in 0..100 {
        let below = SegmentRef {
            cid: state,
            sums: segment.sums,
        };
        state = node(&mut source, Level::State, &[(2018, below)]).cid;
    }
    within(&source, &sealed(state, segment.sums), 3);
}

#[test]
fn one_subtree_under_every_name_is_refused() {
    let mut source = Source::default();
    let entry = leaf(&mut source, &alike(2));
    let segment = SegmentRef {
        cid: entry.cid,
        sums: entry.sums,
    };
    let all = |numbers: std::ops::RangeInclusive<u16>, child| {
        numbers.map(|number| (number, child)).collect::<Vec<_>>()
    };
    let month = node(&mut source, Level::Month, &all(1..=28, segment));
    let year = node(&mut source, Level::Year, &all(1..=12, month));
    let state = node(&mut source, Level::State, &all(1970..=2105, year));
    within(&source, &sealed(state.cid, state.sums), 1);
}

#[test]
fn one_segment_in_many_months_costs_a_look_for_each_link() {
    let mut source = Source::default();
    let records = alike(400);
    let leaves: Vec<_> = records
        .chunks(1)
        .map(|record| leaf(&mut source, record))
        .collect();
    let pack = Pack::Leaves(leaves);
    let segment = SegmentRef {
        cid: put(&mut source, &pack.encode()),
        sums: pack.sums(),
    };
    // Each year is a node of its own: the segment stands on other days.
    let mut links = 0;
    let mut years = Vec::new();
    for year in 1971..=1990 {
        let mut months = Vec::new();
        for month in 1..=12 {
            let day = (year + month) % 28 + 1;
            months.push((month, node(&mut source, Level::Month, &[(day, segment)])));
            links += 1;
        }
        years.push((year, node(&mut source, Level::Year, &months)));
    }
    let state = node(&mut source, Level::State, &years);
    within(&source, &sealed(state.cid, state.sums), 4 * links);
}

#[test]
fn one_pack_linked_many_times_is_read_once() {
    let mut source = Source::default();
    let records = alike(512);
    let bottom = Pack::Leaves(vec![leaf(&mut source, &records)]);
    let cid = put(&mut source, &bottom.encode());
    let children = records.iter().map(|record| PackEntry {
        first: record.key,
        cid,
        sums: bottom.sums(),
    });
    let root = over(&mut source, 2, children.collect());
    let sealed = one_day(&mut source, root);
    within(&source, &sealed, 8);
}

#[test]
fn one_leaf_linked_many_times_is_read_once() {
    let mut source = Source::default();
    let records = alike(512);
    let entry = leaf(&mut source, &records);
    let leaves = records.iter().map(|record| {
        let mut entry = entry.clone();
        entry.first = record.key;
        entry
    });
    let pack = Pack::Leaves(leaves.collect());
    let root = SegmentRef {
        cid: put(&mut source, &pack.encode()),
        sums: pack.sums(),
    };
    let sealed = one_day(&mut source, root);
    within(&source, &sealed, 8);
}

#[test]
fn packs_that_share_their_leaves_are_read_once() {
    let mut source = Source::default();
    let records = alike(400);
    let (own, shared) = records.split_at(100);
    let shared: Vec<_> = shared
        .iter()
        .map(|record| leaf(&mut source, std::slice::from_ref(record)))
        .collect();
    let packs = own.iter().map(|record| {
        let mut leaves = vec![leaf(&mut source, std::slice::from_ref(record))];
        leaves.extend(shared.iter().cloned());
        let pack = Pack::Leaves(leaves);
        PackEntry {
            first: record.key,
            cid: put(&mut source, &pack.encode()),
            sums: pack.sums(),
        }
    });
    let packs = packs.collect();
    let root = over(&mut source, 2, packs);
    let sealed = one_day(&mut source, root);
    let blocks = source.bytes.len() as u64;
    within(&source, &sealed, blocks + 10);
}

#[test]
fn sizes_that_cannot_be_cost_nothing() {
    let mut source = Source::default();
    let records = alike(2);
    let mut entry = leaf(&mut source, &records);
    entry.sums.bytes = 1 << 20;
    let pack = Pack::Leaves(vec![entry]);
    let bottom = PackEntry {
        first: records[0].key,
        cid: put(&mut source, &pack.encode()),
        sums: Sums {
            bytes: u64::MAX / 2,
            ..pack.sums()
        },
    };
    let root = over(&mut source, 2, vec![bottom]);
    let mut sealed = one_day(&mut source, root);
    // Twice as much in open deltas: the sum passes 64 bits.
    sealed.open = vec![sealed.state.expect("just made"); 2];
    within(&source, &sealed, 24);
}

#[test]
fn a_block_too_wide_is_refused_before_it_is_built() {
    let mut source = Source::default();
    let entry = leaf(&mut source, &alike(2));
    let segment = |cid, sums| SegmentRef { cid, sums };

    let link = Ipld::Link(entry.cid);
    let wide = Ipld::List(vec![link; gwa::archive::cbor::MAX_LINKS + 1]);
    let wide = Block::new(
        Codec::DagCbor,
        gwa::archive::cbor::encode(&wide).into_bytes(),
    );
    let cid = put(&mut source, &wide);
    let sealed = one_day(&mut source, segment(cid, entry.sums));
    let errors = within(&source, &sealed, 8);
    let named = |error: &ArchiveError| matches!(error, ArchiveError::Node { cid: of, source: CborError::Bounds(OutOfBounds::TooManyLinks) } if *of == cid);
    assert!(errors.iter().all(named), "{errors:?}");

    let pack = Pack::Leaves(vec![entry.clone(); 100_000]).encode();
    let cid = put(&mut source, &pack);
    let sealed = one_day(&mut source, segment(cid, entry.sums));
    let errors = within(&source, &sealed, 8);
    let named = |error: &ArchiveError| matches!(error, ArchiveError::Block(BlockError::TooLarge { cid: of, .. }) if *of == cid);
    assert!(errors.iter().all(named), "{errors:?}");
}
