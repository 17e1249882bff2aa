//! Forged archives compared and merged with an honest one.

use std::collections::BTreeSet;

use gwa::archive::builder::SegmentRef;
use gwa::archive::calendar::Level;
use gwa::archive::diff::{Detail, Diff, Side, Sides};
use gwa::archive::fresh::Sealed;
use gwa::archive::leaf::Record;
use gwa::archive::testing::record;
use gwa::archive::watermark::Watermark;
use gwa::blocks::BlockSource;
use gwa::time::UnixSeconds;
use gwa::whisper::EnvelopeHash;
use proptest::prelude::*;

use super::forge::{leaf, node};
use super::mutations::{Dice, forge};
use super::source::Source;
use super::union::{AT_ONCE, merge};
use super::{FROM, HOUR, World, filters, query, verified, world};

/// Compares, in every way; a fault names a block of the forged archive.
fn differences(own: &World, source: &Source, sealed: &Sealed) {
    let [everything, _] = filters();
    let sources: Sides<&dyn BlockSource> = Sides {
        a: &own.store,
        b: source,
    };
    let both = Sides {
        a: &own.sealed,
        b: sealed,
    };
    for detail in [Detail::Envelopes, Detail::Counts] {
        let diff = Diff::new(sources, both, &everything, detail);
        let outcome = diff.and_then(|diff| {
            diff.map(|found| found.map(drop))
                .collect::<Result<Vec<_>, _>>()
        });
        if let Err(fault) = outcome {
            assert_eq!(fault.side, Side::B);
            assert!(fault.error.cid().is_some(), "{fault}");
        }
    }
}

/// An archive that seals `records` at once.
fn own(records: &[Record], hours: u32) -> World {
    let mut own = World::new();
    own.waiting = records.to_vec();
    own.seal(Watermark::at_or_before(UnixSeconds(FROM + hours * HOUR)));
    own
}

/// Comparing and merging fail or give little, within `most` blocks each.
pub fn compared(source: &Source, sealed: &Sealed, most: u64) {
    let busy = own(&[record(7, FROM + 100, 3)], 9_000);
    for own in [World::new(), busy] {
        let before = source.fetched();
        differences(&own, source, sealed);
        let asked = source.fetched() - before;
        // Twice: once for all envelopes, once for their counts.
        assert!(asked <= 2 * most, "a comparison asked for {asked} blocks");
    }
    let (mut own, before) = (World::new(), source.fetched());
    let _ = merge(&mut own, sealed, source, AT_ONCE);
    let asked = source.fetched() - before;
    assert!(asked <= 2 * most, "a merge asked for {asked} blocks");
}

fn hashes(source: &dyn BlockSource, sealed: &Sealed) -> BTreeSet<EnvelopeHash> {
    let [everything, _] = filters();
    let found = query(source, sealed, &everything).expect("it is whole");
    found.into_iter().map(|record| record.key.hash).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_forged_archive_never_harms_the_one_that_merges_it(
        rolls in proptest::collection::vec(any::<u32>(), 24),
        hours in prop_oneof![Just(0u32), Just(20), Just(49), Just(61), Just(100)],
        every in 1usize..9,
    ) {
        let (source, sealed) = forge(&mut Dice(rolls.iter()));
        let (honest, _, all) = world();
        let some: Vec<Record> = all.iter().step_by(every).cloned().collect();
        let mut own = own(&some, hours);
        differences(&own, &source, &sealed);

        let before = (own.sealed.clone(), hashes(&own.store, &own.sealed));
        match merge(&mut own, &sealed, &source, AT_ONCE) {
            Ok(_) => {
                prop_assert_eq!(own.sealed.watermark, before.0.watermark.max(sealed.watermark));
                prop_assert!(hashes(&own.store, &own.sealed).is_superset(&before.1));
            }
            Err(fault) => {
                prop_assert_eq!(fault.side, Side::B, "{}", fault);
                prop_assert!(fault.error.cid().is_some(), "{}", fault);
                prop_assert_eq!(&own.sealed, &before.0);
            }
        }
        let faults = verified(&own.store, &own.sealed).faults;
        prop_assert!(faults.is_empty(), "{:?}", faults);

        // What the honest archive has is still to be had.
        merge(&mut own, &honest.sealed, &honest.store, AT_ONCE).expect("an honest archive");
        let theirs = hashes(&honest.store, &honest.sealed);
        prop_assert!(hashes(&own.store, &own.sealed).is_superset(&theirs));
        let faults = verified(&own.store, &own.sealed).faults;
        prop_assert!(faults.is_empty(), "{:?}", faults);
    }
}

/// An archive whose open delta holds these records of the 29th.
fn with_delta(records: &[Record], watermark: u32) -> (Source, Sealed) {
    let mut source = Source::default();
    let entry = leaf(&mut source, records);
    let segment = SegmentRef {
        cid: entry.cid,
        sums: entry.sums,
    };
    let month = node(&mut source, Level::Month, &[(29, segment)]);
    let year = node(&mut source, Level::Year, &[(9, month)]);
    let delta = node(&mut source, Level::State, &[(2018, year)]);
    let sealed = Sealed {
        watermark: Watermark::at_or_before(UnixSeconds(FROM + watermark)),
        state: None,
        open: vec![delta.cid],
        totals: delta.sums,
    };
    (source, sealed)
}

#[test]
fn what_an_open_delta_holds_from_beyond_its_watermark_is_not_merged() {
    let sent = |after: u32| record(7, FROM + after, 3);
    for (records, watermark) in [
        (vec![sent(100), sent(700)], 600),
        (vec![sent(600)], 600),
        (vec![sent(100)], 0),
    ] {
        let (source, sealed) = with_delta(&records, watermark);
        assert!(!verified(&source, &sealed).faults.is_empty());
        let mut own = World::new();
        own.waiting = vec![sent(50)];
        let fault = merge(&mut own, &sealed, &source, AT_ONCE).expect_err("it is forged");
        assert_eq!(fault.side, Side::B);
        differences(&own, &source, &sealed);
    }
    let (source, sealed) = with_delta(&[sent(100), sent(599)], 600);
    let mut own = World::new();
    merge(&mut own, &sealed, &source, AT_ONCE).expect("an honest archive");
    assert_eq!(own.sealed.totals.count, 2);
}
