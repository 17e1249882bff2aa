//! `diff` names exactly the envelopes that differ.

use std::collections::{BTreeMap, BTreeSet};

use gwa::archive::diff::{Detail, Diff, Difference, Found, Side, Sides};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::leaf::Record;
use gwa::archive::query::Cost;
use gwa::archive::testing::{record, traffic};
use gwa::archive::watermark::{Day, Watermark};
use gwa::blocks::BlockSource;
use gwa::time::{TimeRange, UnixSeconds};
use gwa::whisper::{EnvelopeHash, Topic};
use proptest::prelude::*;

use super::common::World;
use super::made::{FROM, archive, at, cases, courses, sealed_of, shared, spans, topics};

fn all() -> Filter {
    Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    }
}

fn compare(a: &World, b: &World, filter: &Filter, detail: Detail) -> (Vec<Difference>, Cost) {
    let sources: Sides<&dyn BlockSource> = Sides {
        a: &a.store,
        b: &b.store,
    };
    let sealed = Sides {
        a: &a.sealed,
        b: &b.sealed,
    };
    let mut diff = Diff::new(sources, sealed, filter, detail).expect("memory does not fail");
    let found = diff
        .by_ref()
        .map(|found| found.expect("memory does not fail"));
    (found.collect(), diff.cost())
}

/// The envelopes found, each once, in order of bucket and of key.
fn envelopes(found: &[Difference]) -> BTreeMap<EnvelopeHash, Side> {
    let mut named = BTreeMap::new();
    let mut before = None;
    for difference in found {
        let Found::Envelope(record) = &difference.found else {
            panic!("a leaf was counted where envelopes were asked for")
        };
        assert!(difference.bucket.contains(record.key.sent));
        let place = (difference.bucket.from(), record.key);
        assert!(before < Some(place), "{place:?} is not in order");
        before = Some(place);
        let twice = named.insert(record.key.hash, difference.side);
        assert_eq!(twice, None);
    }
    named
}

type Tally = BTreeMap<(Side, Day), (u64, u64)>;
type Topics = BTreeMap<(Side, Topic), u64>;

fn tallies(found: &[Difference]) -> (Tally, Topics) {
    let (mut days, mut topics) = (Tally::new(), Topics::new());
    for difference in found {
        let day = Day::of(difference.bucket.from());
        let (side, total) = (difference.side, days.entry((difference.side, day)));
        let total = total.or_default();
        match &difference.found {
            Found::Envelope(record) => {
                total.0 += 1;
                total.1 += record.bytes.len() as u64;
                *topics.entry((side, record.key.topic)).or_default() += 1;
            }
            Found::Leaf(leaf) => {
                total.0 += leaf.sums.count;
                total.1 += leaf.sums.bytes;
                for run in &leaf.runs {
                    *topics.entry((side, run.topic)).or_default() += u64::from(run.count);
                }
            }
        }
    }
    (days, topics)
}

fn expected(
    a: &BTreeMap<EnvelopeHash, Record>,
    b: &BTreeMap<EnvelopeHash, Record>,
    filter: &Filter,
) -> BTreeMap<EnvelopeHash, Side> {
    let wanted = |record: &Record| filter.matches(record.key.topic, record.key.sent);
    let only = |of: &BTreeMap<EnvelopeHash, Record>, other: &BTreeMap<EnvelopeHash, Record>| {
        let only = of.iter().filter(|(hash, _)| !other.contains_key(*hash));
        only.filter(|(_, record)| wanted(record))
            .map(|(hash, _)| *hash)
            .collect::<Vec<_>>()
    };
    let of_a = only(a, b).into_iter().map(|hash| (hash, Side::A));
    let of_b = only(b, a).into_iter().map(|hash| (hash, Side::B));
    of_a.chain(of_b).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn exactly_the_differing_envelopes_are_named(
        seed: u64,
        count in 0usize..500,
        topics in topics(),
        span in spans(),
        differ in prop_oneof![Just(0u32), Just(2), Just(30), Just(256)],
        courses in (courses(), courses()),
        same_end: bool,
        topic in proptest::option::of(0usize..500),
        range in proptest::option::of((0.0..1.0f64, 0.0..1.0f64)),
    ) {
        let (of_a, mut of_b) = courses;
        if same_end {
            of_b.until = of_a.until;
        }
        let all_records = shared(seed, count, topics, span, differ);
        let of = |side: u8| -> Vec<Record> {
            let of = all_records.iter().filter(|(_, of)| *of == side || *of > 1);
            of.map(|(record, _)| record.clone()).collect()
        };
        let (records_a, records_b) = (of(0), of(1));
        let a = archive(&records_a, &of_a, span);
        let b = archive(&records_b, &of_b, span);

        let mut filter = all();
        if let Some((record, _)) = topic.and_then(|n| all_records.get(n)) {
            filter.topics = TopicFilter::Any(BTreeSet::from([record.key.topic]));
        }
        if let Some((from, to)) = range {
            let (from, to) = (from.min(to), from.max(to));
            let (from, to) = (at(from, span).at(), at(to, span).at());
            filter.range = TimeRange::new(from, to).expect("in order");
        }
        let sets = (
            sealed_of(&records_a, a.sealed.watermark),
            sealed_of(&records_b, b.sealed.watermark),
        );
        let expected = expected(&sets.0, &sets.1, &filter);

        let (found, cost) = compare(&a, &b, &filter, Detail::Envelopes);
        prop_assert_eq!(&envelopes(&found), &expected);
        if expected.is_empty() && filter == all() {
            // The calendars alone: two of each node down to hours, no leaf.
            prop_assert!(cost.blocks <= 2 * (1 + 3 + 30 + 2), "{cost:?}");
        }

        let (counted, told) = compare(&a, &b, &filter, Detail::Counts);
        prop_assert_eq!(tallies(&counted), tallies(&found));
        prop_assert!(told.blocks <= cost.blocks);
    }

    #[test]
    fn an_archive_compared_with_itself_costs_nothing(
        seed: u64,
        count in 0usize..200,
        course in courses(),
    ) {
        let span = 3 * 86_400;
        let a = archive(&traffic(seed, count, 5, FROM, FROM + span), &course, span);
        let (found, cost) = compare(&a, &a, &all(), Detail::Envelopes);
        prop_assert_eq!((found, cost), (Vec::new(), Cost::default()));
    }
}

fn world(records: &[Record], until: u32) -> World {
    let mut world = World::new();
    world.waiting = records.to_vec();
    world.seal(Watermark::at_or_before(UnixSeconds(until)));
    world
}

#[test]
fn a_few_differences_in_a_large_day_cost_a_few_blocks() {
    // 700 leaves under packs of two levels.
    let day = traffic(11, 40_000, 200, FROM, FROM + 86_400);
    let (a, b) = (&day[3..], &day[..day.len() - 4]);
    let until = FROM + 10 * 86_400;
    let (a, b) = (world(a, until), world(b, until));
    let (found, cost) = compare(&a, &b, &all(), Detail::Envelopes);
    assert_eq!(envelopes(&found).len(), 7);
    assert!(cost.blocks < 80, "{cost:?}");
    assert!(cost.rounds <= 8, "{cost:?}");
}

#[test]
fn a_day_that_one_archive_alone_holds_is_counted_without_its_leaves() {
    let day = traffic(12, 3_000, 50, FROM, FROM + 86_400);
    let (full, empty) = (world(&day, FROM + 86_400), world(&[], FROM + 86_400));
    let (found, cost) = compare(&empty, &full, &all(), Detail::Counts);
    let (days, _) = tallies(&found);
    let bytes = day.iter().map(|r| r.bytes.len() as u64).sum();
    let expected = BTreeMap::from([((Side::B, Day::of(UnixSeconds(FROM))), (3_000, bytes))]);
    assert_eq!(days, expected);
    // State, year, month and the day's one pack.
    assert_eq!(cost.blocks, 4);
}

#[test]
fn an_open_hour_equals_the_hour_and_the_day_it_closes_into() {
    let sent = [10, 3_700, 7_300, 7_400].map(|after| record(1, FROM + after, 40));
    let open = world(&sent, FROM + 7_500);
    for until in [FROM + 10_800, FROM + 86_400, FROM + 40 * 86_400] {
        let closed = world(&sent, until);
        let (found, cost) = compare(&open, &closed, &all(), Detail::Envelopes);
        assert_eq!(found, []);
        // The nodes of two calendars and of a delta, and no leaf.
        assert!(cost.blocks <= 11, "{cost:?}");
        let (found, _) = compare(&closed, &open, &all(), Detail::Envelopes);
        assert_eq!(found, []);
    }
}

#[test]
fn a_block_that_is_missing_is_named_and_ends_the_comparison() {
    let day = traffic(13, 300, 5, FROM, FROM + 86_400);
    let (a, b) = (world(&day, FROM + 86_400), world(&day[1..], FROM + 86_400));
    let nothing = World::new();
    let sources: Sides<&dyn BlockSource> = Sides {
        a: &a.store,
        b: &nothing.store,
    };
    let sealed = Sides {
        a: &a.sealed,
        b: &b.sealed,
    };
    let fault = Diff::new(sources, sealed, &all(), Detail::Envelopes).err();
    let fault = fault.expect("the second archive has no blocks");
    assert_eq!(fault.side, Side::B);
    assert!(fault.error.is_missing());
    assert_eq!(fault.error.cid(), b.sealed.state.as_ref());
}
