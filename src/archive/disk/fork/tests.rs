//! Forks, with and without the archive they went on from.

use std::sync::Arc;

use super::*;
use crate::archive::calendar::CalendarReader;
use crate::archive::disk::Stop;
use crate::archive::disk::mirror::tests::{
    FROM, Folder, NOW, OfArchive, assert_sound, at, follow, hashes, mirror_of, sent,
};
use crate::archive::filter::{Filter, TopicFilter};
use crate::blocks::{Block, BlockError, Cid};
use crate::progress::Quiet;
use crate::time::{DAY, TimeRange};

fn fork_of(head: &Head, source: &Archive, dir: &Path) -> Result<Archive, DiskError> {
    let blocks = source.blocks();
    let forked = Archive::fork(dir, "second", head, blocks, Vec::new(), NOW, &Quiet);
    forked.map(|(fork, _)| fork)
}

#[test]
fn a_fork_is_one_head_and_answers_through_its_source() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fork = fork_of(&head, &source.archive, dir.path()).unwrap();
    let own = fork.head().unwrap();
    assert_eq!(own.body().state, head.body().state);
    assert_eq!(own.body().prev, Some(*head.cid()));
    assert_ne!(own.key(), head.key());
    assert!(own.block().bytes().len() < 1_024);
    fork.blocks()
        .set_upstream(Some(Arc::new(OfArchive(source.archive))));
    assert_eq!(hashes(&fork).len() as u64, head.body().totals.count);
}

#[test]
fn a_fork_that_fetched_its_history_needs_its_source_no_more() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fork = fork_of(&head, &source.archive, dir.path()).unwrap();
    assert!(!fork.is_complete());
    // Stopped on the way, it goes on later.
    let stop = Stop::default();
    stop.stop();
    let stopped = fork.complete(source.archive.blocks(), &stop, &Quiet);
    assert!(matches!(stopped, Err(DiskError::Stopped)));
    assert!(!fork.is_complete());
    fork.complete(source.archive.blocks(), &Stop::default(), &Quiet)
        .unwrap();
    assert!(fork.is_complete());
    assert_sound(&fork);
    assert_eq!(hashes(&fork), hashes(&source.archive));
}

#[test]
fn a_fork_goes_on_as_the_archive_itself_would() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fork = fork_of(&head, &source.archive, dir.path()).unwrap();
    let mut new = sent(77, 200, 2 * DAY, DAY);
    new.extend(sent(78, 20, 0, DAY));
    let expected = source.add(&new, 4 * DAY);
    fork.blocks()
        .set_upstream(Some(Arc::new(OfArchive(source.archive))));
    fork.append(&new).unwrap();
    let sealed = fork.seal(at(4 * DAY), NOW, &Quiet).unwrap().head.unwrap();
    assert_eq!(sealed.body().watermark, expected.body().watermark);
    assert_eq!(sealed.body().totals, expected.body().totals);
    assert_eq!(sealed.body().state, expected.body().state);
}

#[test]
fn a_fork_that_was_cut_off_is_finished_by_doing_it_again() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let dir = tempfile::tempdir().unwrap();
    {
        let begun = Archive::init(dir.path(), "second").unwrap();
        begun
            .set_origin(Origin::of(Kind::Fork, &head, Vec::new()))
            .unwrap();
        begun.blocks.heads.store(&head).unwrap();
    }
    let fork = fork_of(&head, &source.archive, dir.path()).unwrap();
    assert_eq!(fork.head().unwrap().body().prev, Some(*head.cid()));
    drop(fork);
    // But never on top of an archive that has a history of its own.
    assert!(matches!(
        fork_of(&head, &source.archive, dir.path()),
        Err(DiskError::Exists { .. })
    ));
}

#[test]
fn a_mirror_becomes_an_archive_of_its_own() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let (_dir, mirror) = mirror_of(&head);
    follow(&mirror, &head, source.archive.blocks()).unwrap();
    let own = mirror.leave_origin(NOW).unwrap();
    assert_eq!(own.body().prev, Some(*head.cid()));
    mirror.append(&sent(5, 3, 3 * DAY, 10)).unwrap();
    let sealed = mirror.seal(at(5 * DAY), NOW, &Quiet).unwrap();
    assert_eq!(sealed.added.count, 3);
    assert_sound(&mirror);
}

#[test]
fn a_fork_without_its_source_goes_on_archiving() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fork = fork_of(&head, &source.archive, dir.path()).unwrap();
    let held = sent(1, 600, 0, DAY);
    let new = sent(77, 200, 2 * DAY, DAY);
    // Whether the late ones are new cannot be told; none is lost for it.
    fork.append(&new).unwrap();
    fork.append(&held[..20]).unwrap();
    drop(fork);
    let fork = Archive::open(dir.path()).unwrap();
    assert_eq!(fork.waiting(), 220);
    let sealed = fork.seal(at(4 * DAY), NOW, &Quiet).unwrap();
    assert_eq!((sealed.added.count, fork.waiting()), (200, 20));
    // It comes back: nothing is sealed twice.
    let expected = source.add(&new, 4 * DAY);
    fork.blocks()
        .set_upstream(Some(Arc::new(OfArchive(source.archive))));
    let sealed = fork.seal(at(4 * DAY), NOW, &Quiet).unwrap().head.unwrap();
    assert_eq!(sealed.body().state, expected.body().state);
    assert_eq!(fork.waiting(), 0);
}

#[test]
fn a_day_that_cannot_be_read_keeps_no_other_from_being_sealed() {
    let source = Folder::new();
    let head = source.add(&sent(1, 600, 0, DAY), 2 * DAY);
    let dir = tempfile::tempdir().unwrap();
    let fork = fork_of(&head, &source.archive, dir.path()).unwrap();
    let state = head.body().state.unwrap();
    struct Calendar<'s>(&'s Archive, Cid);
    // Everything but the day itself is to be had.
    let lacks = {
        let mut calendar = CalendarReader::new(&source.archive.blocks, Some(&state)).unwrap();
        calendar
            .day(Day::of(UnixSeconds(FROM)))
            .unwrap()
            .unwrap()
            .segments()[0]
            .cid
    };
    impl BlockSource for Calendar<'_> {
        fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
            match *cid == self.1 {
                true => Err(BlockError::Missing { cid: *cid }),
                false => self.0.blocks.get(cid),
            }
        }
        fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
            self.0.blocks.has(cid)
        }
    }
    let archive: &'static Archive = Box::leak(Box::new(source.archive));
    fork.blocks()
        .set_upstream(Some(Arc::new(Calendar(archive, lacks))));
    fork.append(&sent(2, 5, 0, DAY)).unwrap();
    fork.append(&sent(3, 7, 3 * DAY, HOUR)).unwrap();
    let sealed = fork.seal(at(4 * DAY), NOW, &Quiet).unwrap();
    assert_eq!((sealed.added.count, fork.waiting()), (7, 5));
    fork.blocks().set_upstream(Some(Arc::new(archive.blocks())));
    let sealed = fork.seal(at(4 * DAY), NOW, &Quiet).unwrap();
    assert_eq!((sealed.added.count, fork.waiting()), (5, 0));
}

#[test]
fn a_fork_seals_on_when_nothing_of_its_source_is_left() {
    let source = Folder::with_open_deltas();
    let head = source.archive.head().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fork = fork_of(&head, &source.archive, dir.path()).unwrap();
    // The rest of the open day, the days after it, and the next month.
    let start = DAY + 36 * HOUR;
    for (seed, until) in [(77, 3 * DAY), (78, 5 * DAY), (79, 20 * DAY)] {
        let new = sent(seed, 150, start, until - start);
        let expected = source.add(&new, until);
        fork.append(&new).unwrap();
        // As the daemon does, also after some days off.
        fork.sweep(UnixSeconds::MAX).unwrap();
        let sealed = fork.seal(at(until), NOW, &Quiet).unwrap().head.unwrap();
        assert_eq!(fork.waiting(), 0);
        assert_eq!(sealed.body().state, expected.body().state);
        assert_eq!(sealed.body().totals, expected.body().totals);
    }
}

#[test]
fn a_fork_fetches_the_open_day_and_little_else() {
    let source = Folder::with_open_deltas();
    let head = source.archive.head().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let blocks = source.archive.blocks();
    let sources = Vec::new();
    let (fork, copied) =
        Archive::fork(dir.path(), "", &head, blocks, sources, NOW, &Quiet).unwrap();
    let since = TimeRange::new(UnixSeconds(FROM + 2 * DAY), UnixSeconds::MAX).unwrap();
    let topics = TopicFilter::All;
    let query = source.archive.query(
        &head,
        Filter {
            topics,
            range: since,
        },
    );
    let of_day = query
        .unwrap()
        .map(|record| record.unwrap().bytes.len() as u64);
    let open_day: u64 = of_day.sum();
    assert!(open_day > 0 && copied.bytes > open_day);
    assert!(copied.bytes < open_day + 100_000, "{copied:?}");
    assert!(copied.bytes < head.body().totals.bytes / 2, "{copied:?}");
    assert!(!fork.is_complete());
}

#[test]
fn a_head_whose_open_day_is_gone_is_not_forked_and_a_newer_one_is() {
    let source = Folder::with_open_deltas();
    let old = source.archive.head().unwrap();
    let new = source.add(&sent(5, 20, 3 * DAY, HOUR), 4 * DAY);
    source.archive.sweep(UnixSeconds::MAX).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let refused = fork_of(&old, &source.archive, dir.path());
    let day = Day::of(UnixSeconds(FROM + 2 * DAY));
    assert!(
        matches!(&refused, Err(DiskError::Past { day: of, .. }) if *of == day),
        "{:?}",
        refused.err()
    );
    let fork = fork_of(&new, &source.archive, dir.path()).unwrap();
    assert_eq!(fork.head().unwrap().body().state, new.body().state);
}

#[test]
fn a_head_that_leaves_no_number_to_go_on_with_is_refused() {
    let source = Folder::with_history();
    let mut body = source.archive.head().unwrap().body().clone();
    let mut numbered = |number| {
        body.sequence = Sequence(number);
        Head::sign(body.clone(), source.archive.signing_key()).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    for number in [MAX_SEQUENCE + 1, u64::MAX - 1, u64::MAX] {
        let refused = fork_of(&numbered(number), &source.archive, dir.path());
        assert!(matches!(refused, Err(DiskError::Head(_))), "{number}");
    }
    let fork = fork_of(&numbered(MAX_SEQUENCE), &source.archive, dir.path()).unwrap();
    fork.append(&sent(5, 20, 3 * DAY, HOUR)).unwrap();
    let sealed = fork.seal(at(4 * DAY), NOW, &Quiet).unwrap().head.unwrap();
    assert_eq!(sealed.body().sequence.0, MAX_SEQUENCE + 2);
}
