//! Archives with one byte, one block or one rule broken: found out by whoever
//! verifies, and by a query that needs the block; never a panic, never a short
//! answer that passes for a whole one.

mod bombs;
#[path = "../common/mod.rs"]
mod common;
mod forge;
mod mutations;
mod source;
#[path = "../common/union.rs"]
mod union;
mod united;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use common::World;
use gwa::archive::ArchiveError;
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::fresh::Sealed;
use gwa::archive::leaf::Record;
use gwa::archive::query::Query;
use gwa::archive::testing::traffic;
use gwa::archive::verify::{Sample, Verified, verify};
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, BlockError, BlockSource, Cid, Codec};
use gwa::progress::Quiet;
use gwa::time::{TimeRange, UnixSeconds};
use source::{Source, renamed};

/// 2018-09-29 00:00; the third day is the first of a month.
const FROM: u32 = 1_538_179_200;
const HOUR: u32 = 3_600;

/// The name of the head in these tests: heads have tests of their own.
fn head() -> Cid {
    *Block::new(Codec::DagCbor, &b"head"[..]).cid()
}

/// Three days, of which the last is open, and two open deltas.
fn world() -> (&'static World, &'static Source, &'static [Record]) {
    static WORLD: OnceLock<(World, Source, Vec<Record>)> = OnceLock::new();
    let (world, source, all) = WORLD.get_or_init(|| {
        let mut all = traffic(77, 420, 12, FROM, FROM + 62 * HOUR);
        // The open hour is short; some traffic of its own.
        all.extend(traffic(78, 40, 12, FROM + 61 * HOUR, FROM + 62 * HOUR));
        let mut world = World::new();
        world.waiting = all.clone();
        for minutes in [30 * 60, 49 * 60, 61 * 60 + 20, 61 * 60 + 40] {
            world.seal(Watermark::at_or_before(UnixSeconds(FROM + minutes * 60)));
        }
        all.retain(|record| world.sealed.watermark.covers(record.key.sent));
        let source = Source::reached(&world.store, &world.sealed);
        assert_eq!(world.sealed.open.len(), 2);
        (world, source, all)
    });
    (world, source, all)
}

/// The queries that between them read every block: all, and by topic.
fn filters() -> [Filter; 2] {
    let (_, _, all) = world();
    let topics = all.iter().map(|record| record.key.topic).collect();
    [TopicFilter::All, TopicFilter::Any(topics)].map(|topics| Filter {
        topics,
        range: TimeRange::ALL,
    })
}

fn query(
    source: &dyn BlockSource,
    sealed: &Sealed,
    filter: &Filter,
) -> Result<Vec<Record>, ArchiveError> {
    Query::new(source, sealed, filter.clone())?.collect()
}

fn verified(source: &dyn BlockSource, sealed: &Sealed) -> Verified {
    verify(source, sealed, head(), Sample::EVERYTHING, &Quiet)
}

fn honest_answer() -> &'static [Record] {
    static ANSWER: OnceLock<Vec<Record>> = OnceLock::new();
    ANSWER.get_or_init(|| {
        let (world, source, all) = world();
        let [everything, _] = filters();
        let found = query(source, &world.sealed, &everything).expect("nothing is wrong");
        let distinct: BTreeSet<_> = all.iter().map(|record| record.key).collect();
        assert_eq!(found.len(), distinct.len());
        found
    })
}

#[test]
fn an_untouched_archive_answers_and_verifies() {
    let (world, source, _) = world();
    for filter in filters() {
        let found = query(source, &world.sealed, &filter).expect("nothing is wrong");
        assert_eq!(found, honest_answer());
    }
    let found = verified(source, &world.sealed);
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    let kinds: BTreeSet<_> = source.bytes.keys().map(Codec::of).collect();
    assert_eq!(kinds.len(), 2);
}

/// Whatever is wrong with one block, a query either does without it or names
/// it, verification names it, and one of the queries needs it.
fn assert_named(source: &Source, cid: &Cid, is_so: fn(&ArchiveError) -> bool) {
    let (world, _, _) = world();
    let mut needed = false;
    for filter in filters() {
        match query(source, &world.sealed, &filter) {
            Ok(found) => assert_eq!(found, honest_answer(), "{cid} is wrong"),
            Err(error) => {
                assert_eq!(error.cid(), Some(cid), "{error}");
                assert!(is_so(&error), "{error}");
                needed = true;
            }
        }
    }
    assert!(needed, "no query needs {cid}");
    let faults = verified(source, &world.sealed).faults;
    let names = |fault: &ArchiveError| fault.cid() == Some(cid) && is_so(fault);
    assert!(faults.iter().any(names), "{cid}: {faults:?}");
}

#[test]
fn a_missing_block_is_named_wherever_it_is_needed() {
    let (_, honest, _) = world();
    for cid in honest.bytes.keys() {
        let mut source = honest.clone();
        source.bytes.remove(cid);
        assert_named(&source, cid, ArchiveError::is_missing);
    }
}

#[test]
fn a_flipped_byte_under_the_honest_name_is_never_read() {
    let (_, honest, _) = world();
    for (at, cid) in honest.bytes.keys().enumerate() {
        let mut source = honest.clone();
        let mut bytes = source.bytes[cid].to_vec();
        let place = at * 31 % bytes.len();
        bytes[place] ^= 1 << (at % 8);
        source.bytes.insert(*cid, bytes.into());
        assert_named(&source, cid, |error| {
            matches!(error, ArchiveError::Block(BlockError::WrongBytes { .. }))
        });
    }
}

#[test]
fn other_bytes_under_the_honest_name_are_never_read() {
    let (_, honest, _) = world();
    let large = vec![0; gwa::blocks::MAX_BLOCK_READ + 1];
    for cid in honest.bytes.keys().step_by(5) {
        let mut source = honest.clone();
        source.bytes.insert(*cid, large.clone().into());
        assert_named(&source, cid, |error| {
            matches!(error, ArchiveError::Block(BlockError::TooLarge { .. }))
        });
    }
}

#[test]
fn a_flipped_byte_hashed_anew_up_to_the_root_is_found_out() {
    let (world, honest, _) = world();
    for (at, (cid, bytes)) in honest.bytes.iter().enumerate() {
        for place in (0..8).map(|n| (at + n * bytes.len() / 8) % bytes.len()) {
            let mut forged = bytes.to_vec();
            forged[place] ^= 1 << (at % 8);
            let codec = Codec::of(cid).expect("one of ours");
            let mut source = honest.clone();
            let names = source.replace(*cid, &Block::new(codec, forged));
            let sealed = renamed(&world.sealed, &names);
            let faults = verified(&source, &sealed).faults;
            assert!(!faults.is_empty(), "{cid}, byte {place}");
            assert!(faults.iter().all(|fault| fault.cid().is_some()));
            for filter in filters() {
                if let Err(error) = query(&source, &sealed, &filter) {
                    assert!(error.cid().is_some(), "{error}");
                }
            }
        }
    }
}

#[test]
fn an_answer_that_breaks_off_gives_nothing_after_the_gap() {
    let (world, honest, _) = world();
    let [everything, _] = filters();
    let leaf = honest
        .bytes
        .keys()
        .find(|cid| Codec::of(cid) == Some(Codec::Raw));
    let mut source = honest.clone();
    source.bytes.remove(leaf.expect("there are leaves"));
    let query = Query::new(&source, &world.sealed, everything).expect("the way is there");
    let found: Vec<_> = query.collect();
    let (last, before) = found.split_last().expect("an error is an item");
    assert!(last.is_err() && before.iter().all(Result::is_ok));
}
