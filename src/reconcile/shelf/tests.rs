//! What requests cost, and who pays.

use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::archive::testing::envelope;
use crate::archive::watermark::Watermark;
use crate::progress::Quiet;
use crate::reconcile::compare::Compare;
use crate::reconcile::message::RequestNumber;
use crate::time::{DAY, HOUR, UnixSeconds};

/// 2018-10-01 00:00.
const FROM: u32 = 1_538_352_000;

/// Envelopes compared at a time in these tests.
const MOST: usize = 100;

/// A shelf over an archive in which all that was sent at these seconds is sealed.
fn shelf(dir: &Path, sent: impl Iterator<Item = u32>) -> Arc<Shelf> {
    let archive = Archive::init(dir, "").unwrap();
    let all: Vec<_> = sent.map(|sent| envelope(1, FROM + sent, 20)).collect();
    archive.append(&all).unwrap();
    let until = Watermark::at_or_before(UnixSeconds(FROM + 2 * DAY));
    archive.seal(until, until.at(), &Quiet).unwrap();
    Arc::new(Shelf {
        most: MOST,
        ..Shelf::new(Arc::new(archive))
    })
}

fn range(from: u32, to: u32) -> TimeRange {
    TimeRange::new(UnixSeconds(FROM + from), UnixSeconds(FROM + to)).unwrap()
}

fn compare(range: TimeRange) -> Message {
    let nothing = Snapshot::new(range, []).unwrap();
    let (_, frame) = Compare::begin(Arc::new(nothing));
    Message::Compare {
        id: RequestNumber(1),
        range,
        frame,
    }
}

/// Whether a comparison of `range` is refused as too large, and what looking cost.
fn asked(shelf: &Shelf, range: TimeRange) -> (bool, u64) {
    match shelf.answer_now(compare(range), &Stop::default()) {
        Some((Message::Compared { answer, .. }, cost)) => (answer == Err(Refusal::TooMany), cost),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_range_that_holds_too_much_is_refused_unread() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path(), (0..300).map(|n| n * (DAY / 300)));
    for too_much in [
        TimeRange::ALL,
        range(0, DAY),
        range(0, DAY / 2),
        range(7, DAY),
    ] {
        assert_eq!(asked(&shelf, too_much), (true, 0), "{too_much:?}");
    }
    let quarter = range(0, DAY / 4 - 1);
    let (refused, cost) = asked(&shelf, quarter);
    assert!(!refused);
    assert_eq!(cost, 75 * (READ + LOOK));
    // What is in memory is cheap, and so is a part of it.
    assert_eq!(asked(&shelf, quarter), (false, 75 * LOOK));
    assert_eq!(asked(&shelf, range(0, HOUR)), (false, 75 * LOOK));
}

#[test]
fn that_a_range_holds_too_much_is_remembered_under_its_head() {
    let dir = tempfile::tempdir().unwrap();
    // All in one hour: as a share of its day the hour seems small.
    let shelf = shelf(dir.path(), (0..150).map(|n| 10 * HOUR + n * 20));
    let hour = range(10 * HOUR, 11 * HOUR);
    assert_eq!(asked(&shelf, hour), (true, READ * MOST as u64));
    assert_eq!(asked(&shelf, hour), (true, 0));
    assert_eq!(asked(&shelf, range(9 * HOUR, 12 * HOUR)), (true, 0));
    let (refused, _) = asked(&shelf, range(10 * HOUR, 10 * HOUR + HOUR / 2));
    assert!(!refused);
    shelf.archive.append(&[envelope(2, FROM, 20)]).unwrap();
    let until = Watermark::at_or_before(UnixSeconds(FROM + 3 * DAY));
    shelf.archive.seal(until, until.at(), &Quiet).unwrap();
    assert_eq!(asked(&shelf, hour), (true, READ * MOST as u64));
}

#[test]
fn who_hangs_up_pays_and_is_not_read_for_any_longer() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path(), 0..50);
    let (charge, charged) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    {
        // The answer waits for this snapshot to be taken.
        let _taking = lock(&shelf.taking);
        runtime.block_on(async {
            let asking = {
                let shelf = Arc::clone(&shelf);
                let charge = move |cost| charge.send(cost).unwrap();
                tokio::spawn(async move { shelf.answer(compare(range(0, DAY)), charge).await })
            };
            while shelf.readers.available_permits() == READERS {
                tokio::task::yield_now().await;
            }
            asking.abort();
            assert!(asking.await.unwrap_err().is_cancelled());
        });
    }
    let cost = charged.recv().unwrap();
    assert!(cost >= READ * MOST as u64, "{cost}");
    assert!(lock(&shelf.sealed).is_none(), "it was read to the end");
}
