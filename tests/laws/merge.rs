//! Merging is a union: it commutes, associates, repeats without effect, and what
//! comes out is what an archive of all the envelopes would be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use gwa::archive::calendar::CalendarReader;
use gwa::archive::diff::{Fault, Side};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::leaf::Record;
use gwa::archive::merge::{SegmentRun, SortedRecords};
use gwa::archive::query::Query;
use gwa::archive::seal::SealOutcome;
use gwa::archive::sums::Sums;
use gwa::archive::testing::traffic;
use gwa::archive::union::Step;
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, BlockError, BlockSource, Cid};
use gwa::progress::Quiet;
use gwa::time::TimeRange;
use gwa::whisper::EnvelopeHash;
use proptest::prelude::*;

use super::common::World;
use super::made::{Course, FROM, archive, cases, courses, spans, topics};
use super::union::{AT_ONCE, merge};

/// Merges a whole archive.
fn take(world: &mut World, other: &World) -> Vec<SealOutcome> {
    merge(world, &other.sealed, &other.store, AT_ONCE).expect("memory does not fail")
}

fn hashes(world: &World) -> BTreeSet<EnvelopeHash> {
    let everything = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let query = Query::new(&world.store, &world.sealed, everything).expect("it is whole");
    query.map(|r| r.expect("it is whole").key.hash).collect()
}

/// Demands that every block is what it should be.
fn assert_sound(world: &World) {
    let head = Cid::default();
    let everything = Sample::EVERYTHING;
    let verified = verify(&world.store, &world.sealed, head, everything, &Quiet);
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}

/// What must not differ between archives of one set.
fn essence(world: &World) -> (Watermark, Option<Cid>, Sums) {
    let sealed = &world.sealed;
    (sealed.watermark, sealed.state, sealed.totals)
}

/// Three archives that share some of their envelopes.
#[derive(Clone, Debug)]
struct Three {
    seed: u64,
    count: usize,
    topics: u32,
    span: u32,
    courses: Vec<Course>,
    /// Below which of 256 an envelope is in one archive alone.
    differ: u16,
}

fn three() -> impl Strategy<Value = Three> {
    let courses = proptest::collection::vec(courses(), 3);
    let differ = prop_oneof![Just(0u16), Just(10), Just(80), Just(256)];
    (
        any::<u64>(),
        0usize..300,
        topics(),
        spans(),
        courses,
        differ,
    )
        .prop_map(|(seed, count, topics, span, courses, differ)| Three {
            seed,
            count,
            topics,
            span,
            courses,
            differ,
        })
}

impl Three {
    fn records(&self) -> Vec<Record> {
        traffic(self.seed, self.count, self.topics, FROM, FROM + self.span)
    }

    /// What the archive with this number was given.
    fn of(&self, number: u8) -> Vec<Record> {
        let is_of = |record: &Record| {
            let [.., which, chance] = record.key.hash.0;
            u16::from(chance) >= self.differ || which % 3 == number
        };
        self.records().into_iter().filter(is_of).collect()
    }

    fn archive(&self, number: u8) -> World {
        let course = &self.courses[usize::from(number)];
        archive(&self.of(number), course, self.span)
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn it_commutes_associates_and_repeats_without_effect(
        three in three(),
        envelopes in prop_oneof![Just(usize::MAX), 1usize..40],
    ) {
        let [mut a, b, mut c] = [0, 1, 2].map(|number| three.archive(number));
        let watermark = [&a, &b, &c].map(|world| world.sealed.watermark);
        let watermark = watermark.into_iter().max().expect("three are not none");
        // What all have sealed, and what waited in A and is due now.
        let waited = a.waiting.iter().filter(|r| watermark.covers(r.key.sent));
        let waited: BTreeSet<_> = waited.map(|r| r.key.hash).collect();
        let mut union = waited;
        [&a, &b, &c].iter().for_each(|world| union.extend(hashes(world)));
        let mut whole = World::new();
        whole.waiting =
            three.records().into_iter().filter(|r| union.contains(&r.key.hash)).collect();
        whole.seal(watermark);

        // (A + B) + C, in as many steps as it takes.
        let before = hashes(&a);
        let step = Step { envelopes, bytes: u64::MAX };
        merge(&mut a, &b.sealed, &b.store, step).expect("it is whole");
        merge(&mut a, &c.sealed, &c.store, step).expect("it is whole");
        prop_assert!(hashes(&a).is_superset(&before));
        prop_assert_eq!(hashes(&a), union);
        prop_assert_eq!(essence(&a), essence(&whole));
        assert_sound(&a);

        // C + B, and A after it: all that anybody sealed.
        c.waiting.clear();
        take(&mut c, &b);
        take(&mut c, &a);
        prop_assert_eq!(essence(&c), essence(&whole));
        assert_sound(&c);

        for other in [&b, &c, &whole] {
            prop_assert_eq!(take(&mut a, other), Vec::new());
        }
    }

    #[test]
    fn cut_off_at_any_block_and_done_again_it_comes_out_the_same(
        three in three(),
        breaks in proptest::collection::vec(0u64..60, 1..4),
    ) {
        let [mut a, b, mut twin] = [0, 1, 0].map(|number| three.archive(number));
        take(&mut twin, &b);
        for after in breaks {
            let (source, before) = (Breaking::new(&b, after), a.sealed.clone());
            match merge(&mut a, &b.sealed, &source, AT_ONCE) {
                Err(Fault { side, error }) => {
                    prop_assert_eq!(side, Side::B);
                    prop_assert!(error.is_missing(), "{error}");
                    prop_assert_eq!(&a.sealed, &before);
                }
                Ok(_) => prop_assert_eq!(essence(&a), essence(&twin)),
            }
        }
        take(&mut a, &b);
        prop_assert_eq!(essence(&a), essence(&twin));
        assert_sound(&a);
    }

    #[test]
    fn who_follows_by_what_was_added_comes_to_the_same_state(
        three in three(),
        envelopes in prop_oneof![Just(usize::MAX), 1usize..40],
    ) {
        let [mut a, b, mut follower] = [0, 1, 0].map(|number| three.archive(number));
        a.waiting.clear();
        let step = Step { envelopes, bytes: u64::MAX };
        for outcome in merge(&mut a, &b.sealed, &b.store, step).expect("it is whole") {
            follower.waiting = records_of(&a, outcome.added.as_ref());
            let followed = follower.seal(outcome.sealed.watermark);
            prop_assert_eq!(followed.added, outcome.added);
            prop_assert_eq!(followed.added_sums, outcome.added_sums);
            prop_assert_eq!(essence(&follower), (
                outcome.sealed.watermark, outcome.sealed.state, outcome.sealed.totals,
            ));
        }
    }
}

/// Every envelope of a delta.
fn records_of(world: &World, delta: Option<&Cid>) -> Vec<Record> {
    let mut records = Vec::new();
    let mut calendar = CalendarReader::new(&world.store, delta).expect("it is whole");
    let read = calendar.for_each_day(|_, bucket| {
        for segment in bucket.segments() {
            let mut run = SegmentRun::new(&world.store, segment);
            while let Some(record) = run.take()? {
                records.push(record);
            }
        }
        Ok::<_, gwa::archive::ArchiveError>(())
    });
    read.expect("it is whole");
    records
}

/// A source that ends after so many blocks.
struct Breaking<'w> {
    world: &'w World,
    left: AtomicU64,
}

impl<'w> Breaking<'w> {
    fn new(world: &'w World, after: u64) -> Self {
        Self {
            world,
            left: AtomicU64::new(after),
        }
    }
}

impl BlockSource for Breaking<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let left = &self.left;
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        left.fetch_update(set, get, |left| left.checked_sub(1))
            .map_err(|_| BlockError::Missing { cid: *cid })?;
        self.world.store.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.world.store.has(cid)
    }
}
