//! A query from a head equals a search through every envelope.

mod common;

use std::collections::BTreeSet;

use common::World;
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::leaf::Record;
use gwa::archive::query::Query;
use gwa::archive::testing::traffic;
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::blocks::Cid;
use gwa::progress::Quiet;
use gwa::time::{TimeRange, UnixSeconds};
use gwa::whisper::Topic;
use gwa::whisper::bloom::Bloom;
use proptest::prelude::*;

/// Five days that cross a month's end, from 2018-09-28 00:00.
const FROM: u32 = 1_538_092_800;
const SPAN: u32 = 5 * 86_400;

fn brute_force(sealed: &[Record], filter: &Filter) -> Vec<Record> {
    let mut found: Vec<_> = sealed
        .iter()
        .filter(|r| filter.matches(r.key.topic, r.key.sent))
        .cloned()
        .collect();
    found.sort_by_key(|r| (r.key.sent, r.key.hash));
    found.dedup_by_key(|r| r.key.hash);
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_query_equals_brute_force(
        seed: u64,
        count in 1usize..1200,
        seals in proptest::collection::vec(0..=SPAN, 1..4),
        from in 0..SPAN,
        len in prop_oneof![0u32..7_200, 0..SPAN],
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        kind in 0..3,
        limit in 1usize..50,
    ) {
        let all = traffic(seed, count, 30, FROM, FROM + SPAN);
        let mut world = World::new();
        let mut seals = seals;
        seals.sort_unstable();
        for (at, seal) in seals.iter().enumerate() {
            let share = all.iter().skip(at).step_by(seals.len());
            world.waiting.extend(share.cloned());
            world.seal(Watermark::at_or_before(UnixSeconds(FROM + seal)));
        }
        let sealed: Vec<_> =
            all.iter().filter(|r| world.sealed.watermark.covers(r.key.sent)).cloned().collect();

        // Some topics that exist, and one that does not.
        let mut topics: BTreeSet<_> = picks.iter().map(|at| at.get(&all).key.topic).collect();
        topics.insert(Topic([0xab; 4]));
        let range = TimeRange::new(UnixSeconds(FROM + from), UnixSeconds(FROM + from + len));
        let filter = Filter {
            topics: match kind {
                0 => TopicFilter::All,
                1 => TopicFilter::Bloom(Box::new(Bloom::of_topics(topics))),
                _ => TopicFilter::Any(topics),
            },
            range: range.expect("a span has its end after its start"),
        };
        let expected = brute_force(&sealed, &filter);
        let query = || Query::new(&world.store, &world.sealed, filter.clone()).expect("all blocks are there");
        let found: Vec<_> = query().collect::<Result<_, _>>().expect("all blocks are there");
        prop_assert_eq!(&found, &expected);

        let (newest, _) = query().newest(limit).expect("all blocks are there");
        prop_assert_eq!(&newest[..], &expected[expected.len().saturating_sub(limit)..]);

        let verified =
            verify(&world.store, &world.sealed, Cid::default(), Sample::EVERYTHING, &Quiet);
        prop_assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    }
}

#[test]
fn everything_sealed_is_counted_in_the_totals() {
    let all = traffic(7, 900, 30, FROM, FROM + SPAN);
    let mut world = World::new();
    world.waiting = all;
    world.seal(Watermark::at_or_before(UnixSeconds(FROM + 100_000)));
    let filter = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let found = Query::new(&world.store, &world.sealed, filter).expect("all blocks are there");
    assert_eq!(found.count() as u64, world.sealed.totals.count);
}

/// A month of 40 days with 200 topics, the popular ones in every leaf list.
fn month() -> World {
    let days = 40;
    let mut world = World::new();
    world.waiting = traffic(3, 30_000, 200, FROM, FROM + days * 86_400);
    world.seal(Watermark::at_or_before(UnixSeconds(
        FROM + days * 86_400 - 80_000,
    )));
    world
}

#[test]
fn rounds_do_not_grow_with_the_length_of_the_range() {
    let world = month();
    let popular = {
        let mut counts = std::collections::BTreeMap::<_, usize>::new();
        for record in &traffic(3, 30_000, 200, FROM, FROM + 40 * 86_400) {
            *counts.entry(record.key.topic).or_default() += 1;
        }
        let mut topics: Vec<_> = counts.into_iter().collect();
        topics.sort_by_key(|(_, count)| *count);
        [
            topics[0].0,
            topics[topics.len() / 2].0,
            topics[topics.len() - 1].0,
        ]
    };
    for topic in popular {
        for days in [1, 2, 7, 30] {
            let from = FROM + 3 * 86_400 + 40_000;
            let range = TimeRange::new(UnixSeconds(from), UnixSeconds(from + days * 86_400));
            let filter = Filter {
                topics: TopicFilter::Any([topic].into()),
                range: range.expect("a span has its end after its start"),
            };
            let mut query =
                Query::new(&world.store, &world.sealed, filter).expect("all blocks are there");
            query
                .by_ref()
                .for_each(|record| drop(record.expect("all blocks are there")));
            let cost = query.cost();
            // State, year, month, two levels of an index, two of packs, leaves.
            assert!(cost.rounds <= 8, "{topic} over {days} days: {cost:?}");
        }
    }
}
