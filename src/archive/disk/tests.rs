//! The archive on disk, opened, sealed, interrupted and opened again.

use std::collections::BTreeSet;

use super::*;
use crate::archive::filter::TopicFilter;
use crate::archive::head::Sequence;
use crate::archive::testing::{envelope, traffic};
use crate::archive::verify::{Sample, verify};
use crate::time::{DAY, HOUR, TimeRange};
use crate::whisper::EnvelopeHash;

mod faults;

/// 2018-09-30 00:00, a day before a month's end.
const FROM: u32 = 1_538_265_600;

fn watermark(seconds: u32) -> Watermark {
    Watermark::at_or_before(UnixSeconds(FROM + seconds))
}

fn now(seconds: u32) -> UnixSeconds {
    UnixSeconds(FROM + seconds)
}

fn envelopes(seed: u64, count: usize) -> Vec<Envelope> {
    let records = traffic(seed, count, 20, FROM, FROM + 2 * DAY);
    records
        .iter()
        .map(|r| Envelope::decode(&r.bytes).unwrap())
        .collect()
}

fn hashes(found: impl IntoIterator<Item = EnvelopeHash>) -> BTreeSet<EnvelopeHash> {
    found.into_iter().collect()
}

fn all() -> Filter {
    Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    }
}

fn sealed_hashes(archive: &Archive) -> BTreeSet<EnvelopeHash> {
    let head = archive.head().unwrap();
    hashes(
        archive
            .query(&head, all())
            .unwrap()
            .map(|r| r.unwrap().key.hash),
    )
}

fn paged(archive: &Archive, limit: usize) -> Vec<EnvelopeHash> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = archive
            .page(&PageRequest {
                filter: all(),
                after,
                limit,
            })
            .unwrap();
        found.extend(page.records.iter().map(|r| r.key.hash));
        after = page.records.last().map(|r| (r.key.sent, r.key.hash));
        if !page.more {
            return found;
        }
    }
}

#[test]
fn what_was_appended_is_sealed_and_found_from_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "test").unwrap();
    let sent = envelopes(1, 300);
    let appended = archive.append(&sent).unwrap();
    assert_eq!(
        appended,
        Appended {
            stored: 300,
            ..Appended::default()
        }
    );
    let report = archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert!(report.changed);
    assert_eq!(report.added.count, 300);
    assert_eq!(archive.waiting(), 0);
    assert_eq!(
        sealed_hashes(&archive),
        hashes(sent.iter().map(Envelope::hash))
    );
    let head = archive.head().unwrap();
    let verified = verify(
        archive.blocks(),
        &sealed_by(&head),
        *head.cid(),
        Sample::EVERYTHING,
        &Quiet,
    );
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    assert_eq!(verified.envelopes, 300);
}

#[test]
fn an_envelope_held_already_is_a_duplicate_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent = envelopes(2, 100);
    archive.append(&sent).unwrap();
    assert_eq!(archive.append(&sent).unwrap().duplicate, 100);
    // Half a day: some sealed into hours, some in an open delta, some waiting.
    archive
        .seal(watermark(DAY / 2 + 1_500), now(DAY), &Quiet)
        .unwrap();
    assert_eq!(archive.append(&sent).unwrap().duplicate, 100);
    let twice = [sent[0].clone(), sent[0].clone()];
    assert_eq!(archive.append(&twice).unwrap().duplicate, 2);
    archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert_eq!(archive.head().unwrap().body().totals.count, 100);
}

#[test]
fn a_copy_that_was_looked_for_before_the_first_was_sealed_does_not_wait_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let all = [envelope(1, FROM + 10, 50), envelope(2, FROM + DAY, 60)];
    let looked = archive.look_up(&all).unwrap();
    assert_eq!(archive.append(&all[..1]).unwrap().stored, 1);
    archive.seal(watermark(HOUR), now(HOUR), &Quiet).unwrap();
    let appended = archive.store(&all, looked).unwrap();
    assert_eq!((appended.stored, appended.duplicate), (1, 1));
    assert_eq!(archive.waiting(), 1);
}

#[test]
fn an_archive_opened_again_holds_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let sent = envelopes(3, 200);
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&sent).unwrap();
    archive
        .seal(watermark(DAY + 2_000), now(DAY + 2_200), &Quiet)
        .unwrap();
    let (head, waiting) = (archive.head(), archive.waiting());
    let held = paged(&archive, 7);
    drop(archive);
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.head(), head);
    assert_eq!(archive.waiting(), waiting);
    assert!(waiting > 0);
    assert_eq!(paged(&archive, 1_000), held);
    assert_eq!(hashes(held), hashes(sent.iter().map(Envelope::hash)));
}

#[test]
fn pages_of_any_size_give_each_envelope_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent = envelopes(4, 150);
    archive.append(&sent).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    let mut expected: Vec<_> = sent.iter().map(|e| (e.sent(), e.hash())).collect();
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(_, hash)| hash).collect();
    for limit in [1, 2, 49, 150, 151] {
        assert_eq!(paged(&archive, limit), expected, "limit {limit}");
    }
}

#[test]
fn a_page_of_large_envelopes_ends_before_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent: Vec<_> = (0..20u32)
        .map(|n| envelope(1, FROM + n, 1_000_000))
        .collect();
    archive.append(&sent[..10]).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    archive.append(&sent[10..]).unwrap();
    let page = archive
        .page(&PageRequest {
            filter: all(),
            after: None,
            limit: 1_000,
        })
        .unwrap();
    assert_eq!((page.records.len(), page.more), (16, true));
    let expected: Vec<_> = sent.iter().map(Envelope::hash).collect();
    assert_eq!(paged(&archive, 1_000), expected);
}

#[test]
fn a_key_beside_no_archive_begins_no_second_history() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("archive.key"), "11".repeat(32)).unwrap();
    let refused = Archive::init(dir.path(), "");
    assert!(matches!(refused, Err(DiskError::KeyAlone { .. })));
    assert!(!dir.path().join("archive.json").exists());
}

#[test]
fn an_archive_whose_making_was_interrupted_is_made_or_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (key, new) = ("archive.key", "archive.key.new");
    let (key, new) = (dir.path().join(key), dir.path().join(new));
    // Before anything said that there is an archive: half a key.
    std::fs::write(&new, "11").unwrap();
    let made = Archive::init(dir.path(), "").unwrap();
    let public = made.key.public_key();
    drop(made);
    assert!(!new.exists());
    // Before its key had its name.
    std::fs::rename(&key, &new).unwrap();
    let opened = Archive::open(dir.path()).unwrap();
    assert_eq!(opened.key.public_key(), public);
    assert!(key.exists() && !new.exists());
}

#[test]
fn a_head_stored_before_a_crash_swapped_the_pointer_is_current() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&envelopes(5, 50)).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    let pointer = std::fs::read(dir.path().join("HEAD")).unwrap();
    archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    let head = archive.head();
    drop(archive);
    std::fs::write(dir.path().join("HEAD"), pointer).unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.head(), head);
    let text = std::fs::read_to_string(dir.path().join("HEAD")).unwrap();
    assert!(text.contains(&head.unwrap().cid().to_string()));
}

#[test]
fn the_same_set_and_watermark_give_the_same_state_on_any_disk() {
    let sent = envelopes(6, 250);
    let states: Vec<_> = [1usize, 40, 250]
        .into_iter()
        .map(|batch| {
            let dir = tempfile::tempdir().unwrap();
            let mut archive = Archive::init(dir.path(), "").unwrap();
            for (at, some) in sent.chunks(batch).enumerate() {
                archive.append(some).unwrap();
                if at % 50 == 3 {
                    let until = watermark(u32::try_from(at).unwrap() * 600);
                    archive.seal(until, now(0), &Quiet).unwrap();
                    drop(archive);
                    archive = Archive::open(dir.path()).unwrap();
                }
            }
            archive
                .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
                .unwrap();
            let head = archive.head().unwrap();
            (head.body().state, head.body().totals)
        })
        .collect();
    assert_eq!(states[0], states[1]);
    assert_eq!(states[1], states[2]);
}

#[test]
fn nothing_new_makes_no_new_head() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let report = archive.seal(watermark(0), now(0), &Quiet).unwrap();
    assert_eq!((report.changed, report.head), (false, None));
    archive.append(&[envelope(1, FROM + 10, 50)]).unwrap();
    assert!(
        archive
            .seal(watermark(DAY), now(DAY), &Quiet)
            .unwrap()
            .changed
    );
    let again = archive
        .seal(watermark(DAY + 600), now(DAY + 700), &Quiet)
        .unwrap();
    assert!(!again.changed);
    assert_eq!(again.head.unwrap().body().sequence, Sequence(1));
}

#[test]
fn a_seal_never_goes_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&[envelope(1, FROM, 50)]).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    let error = archive.seal(watermark(600), now(DAY), &Quiet).unwrap_err();
    assert!(matches!(error, DiskError::Backwards { .. }));
}

#[test]
fn lineage_and_skips_lead_back_to_the_first_head() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    for n in 0..9u32 {
        archive.append(&[envelope(1, FROM + n * 600, 50)]).unwrap();
        archive
            .seal(watermark((n + 1) * 600), now((n + 1) * 600), &Quiet)
            .unwrap();
    }
    let lineage: Vec<Head> = archive
        .blocks()
        .heads
        .lineage()
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(lineage.len(), 9);
    for pair in lineage.windows(2) {
        assert_eq!(pair[0].body().prev.as_ref(), Some(pair[1].cid()));
    }
    let eighth = &lineage[1];
    assert_eq!(eighth.body().sequence, Sequence(8));
    assert_eq!(eighth.body().skip, None, "8 - 8 is before the first");
    let sixth = &lineage[3];
    assert_eq!(sixth.body().skip.as_ref(), Some(lineage[5].cid()));
    assert!(fetch_head(archive.blocks(), lineage[8].cid()).is_ok());
}

#[test]
fn superseded_files_go_after_the_grace_and_nothing_else_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent = envelopes(8, 400);
    for (at, some) in sent.chunks(10).enumerate() {
        archive.append(some).unwrap();
        let at = u32::try_from(at).unwrap();
        archive
            .seal(watermark(at * 4_200), now(at * 4_200), &Quiet)
            .unwrap();
    }
    archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert_eq!(
        archive.sweep(now(0)).unwrap(),
        0,
        "files are dated by the machine's clock"
    );
    let files = || crate::blocks::BlockStore::files(&archive.blocks().folder).unwrap();
    let before = files().len();
    assert!(archive.sweep(UnixSeconds::MAX).unwrap() > 0);
    assert!(files().len() < before);
    assert!(
        !files()
            .iter()
            .any(|f| matches!(f.group, crate::blocks::Group::Hour(_)))
    );
    assert_eq!(
        sealed_hashes(&archive),
        hashes(sent.iter().map(Envelope::hash))
    );
    let head = archive.head().unwrap();
    let verified = verify(
        archive.blocks(),
        &sealed_by(&head),
        *head.cid(),
        Sample::EVERYTHING,
        &Quiet,
    );
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}

#[test]
fn a_reader_needs_no_lock_and_sees_the_head() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Reader::open(dir.path()),
        Err(DiskError::NoArchive { .. })
    ));
    let archive = Archive::init(dir.path(), "name").unwrap();
    archive.append(&envelopes(9, 50)).unwrap();
    archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert!(matches!(
        Archive::open(dir.path()),
        Err(DiskError::Locked { .. })
    ));
    assert!(matches!(
        Archive::init(dir.path(), ""),
        Err(DiskError::Locked { .. })
    ));
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.meta().name, "name");
    let head = reader.head().unwrap().unwrap();
    assert_eq!(Some(*head.cid()), archive.head_cid());
    let found = Query::new(reader.blocks(), &sealed_by(&head), all()).unwrap();
    assert_eq!(found.count(), 50);
}

#[test]
fn an_envelope_too_large_for_a_block_is_refused_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let appended = archive
        .append(&[envelope(1, FROM, MAX_ENVELOPE_RLP), envelope(1, FROM, 10)])
        .unwrap();
    assert_eq!(
        appended,
        Appended {
            stored: 1,
            duplicate: 0,
            refused: 1,
            too_old: 0,
        }
    );
}

#[test]
fn a_seal_whose_pointer_cannot_be_swapped_is_a_seal_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent = envelopes(10, 60);
    archive.append(&sent[..20]).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    // A folder cannot be replaced by a file.
    let pointer = dir.path().join("HEAD");
    std::fs::remove_file(&pointer).unwrap();
    std::fs::create_dir_all(pointer.join("in the way")).unwrap();
    archive.append(&sent[20..40]).unwrap();
    let second = archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert_eq!(second.head.unwrap().body().sequence, Sequence(2));
    std::fs::remove_dir_all(&pointer).unwrap();
    archive.append(&sent[40..]).unwrap();
    let third = archive
        .seal(watermark(2 * DAY + 300), now(2 * DAY), &Quiet)
        .unwrap();
    assert_eq!(third.head.unwrap().body().sequence, Sequence(3));
    assert_eq!(
        sealed_hashes(&archive),
        hashes(sent.iter().map(Envelope::hash))
    );
}

#[test]
fn a_head_that_was_stored_although_storing_it_failed_keeps_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let sent = envelopes(12, 60);
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&sent[..30]).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    let first = archive.head();
    archive.append(&sent[30..]).unwrap();
    archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    // As if syncing the folder had failed after the head's file got its name:
    // the file is there, the archive knows of the head before.
    archive.write_state().head = first;
    let late = envelope(3, FROM + 7, 10);
    archive.append(std::slice::from_ref(&late)).unwrap();
    let third = archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert_eq!(third.head.unwrap().body().sequence, Sequence(3));
    let all = sent.iter().chain([&late]).map(Envelope::hash);
    assert_eq!(sealed_hashes(&archive), hashes(all));
}

#[test]
fn appends_pages_seals_and_sweeps_at_once_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent = envelopes(13, 1_200);
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for part in sent.chunks(300) {
            let (archive, done) = (&archive, &done);
            scope.spawn(move || {
                let mut stored = 0;
                for some in part.chunks(7) {
                    stored += archive.append(some).unwrap().stored;
                    // What was acknowledged is there at once, wherever it lies.
                    let key = Key::from(&some[0]);
                    let range = TimeRange::new(key.sent, key.sent).unwrap();
                    let filter = Filter {
                        topics: TopicFilter::All,
                        range,
                    };
                    let request = PageRequest {
                        filter,
                        after: None,
                        limit: 100,
                    };
                    let page = archive.page(&request).unwrap();
                    let found = page.records.iter().filter(|r| r.key == key).count();
                    assert_eq!(found, 1);
                }
                assert_eq!(stored, 300);
                done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        let mut at = 0;
        while done.load(std::sync::atomic::Ordering::SeqCst) < 4 {
            at = (at + 1_200).min(2 * DAY);
            archive.seal(watermark(at), now(at), &Quiet).unwrap();
            archive.sweep(UnixSeconds::MAX).unwrap();
        }
    });
    archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert_eq!(archive.head().unwrap().body().totals.count, 1_200);
    assert_eq!(
        sealed_hashes(&archive),
        hashes(sent.iter().map(Envelope::hash))
    );
    let paged = paged(&archive, 100);
    assert_eq!(paged.len(), 1_200);
}
