use super::*;
use crate::archive::disk::PageRequest;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::testing::traffic;
use crate::archive::watermark::Watermark;
use crate::progress::Quiet;
use crate::time::DAY;
use crate::whisper::{Envelope, EnvelopeHash};

/// 2018-09-28: two days before a month's end, so that indexes of two months are
/// brought up to date without the days dropped.
const FROM: u32 = 1_538_092_800;

fn at(day: u32) -> UnixSeconds {
    UnixSeconds(FROM + day * DAY)
}

/// Envelopes sent in the days from `from` up to `to`.
fn sent(seed: u64, count: usize, from: u32, to: u32) -> Vec<Envelope> {
    let records = traffic(seed, count, 20, at(from).0, at(to).0);
    let envelopes = records.iter().map(|r| Envelope::decode(&r.bytes).unwrap());
    envelopes.collect()
}

fn seal(archive: &Archive, day: u32) {
    let until = Watermark::new(at(day)).unwrap();
    archive.seal(until, at(day), &Quiet).unwrap();
}

fn held(archive: &Archive) -> Vec<EnvelopeHash> {
    let request = PageRequest {
        filter: Filter {
            topics: TopicFilter::All,
            range: TimeRange::ALL,
        },
        after: None,
        limit: usize::MAX,
    };
    let page = archive.page(&request).unwrap();
    page.records.iter().map(|r| r.key.hash).collect()
}

fn sorted_from(envelopes: &[Envelope], from: UnixSeconds) -> Vec<EnvelopeHash> {
    let mut kept: Vec<_> = envelopes.iter().filter(|e| e.sent() >= from).collect();
    kept.sort_by_key(|e| (e.sent(), e.hash()));
    kept.iter().map(|e| e.hash()).collect()
}

#[test]
fn dropped_days_are_gone_and_the_rest_lives_on_as_if_they_were_there() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [whole, thin] = [&dirs[0], &dirs[1]].map(|dir| Archive::init(dir.path(), "").unwrap());
    let first = sent(1, 400, 0, 4);
    for archive in [&whole, &thin] {
        archive.append(&first).unwrap();
        seal(archive, 4);
    }
    let dropped = thin.drop_before(UnixSeconds(at(2).0 + 5)).unwrap();
    assert_eq!((dropped.days, dropped.kept_from), (2, Day::of(at(2))));
    assert!(dropped.bytes > 10_000);
    assert_eq!(held(&thin), sorted_from(&first, at(2)));
    assert_eq!(held(&whole), sorted_from(&first, at(0)));

    // Days close, months end and late envelopes come for days that are kept:
    // the states stay the same.
    let later = sent(2, 400, 2, 7);
    for archive in [&whole, &thin] {
        archive.append(&later).unwrap();
        seal(archive, 7);
    }
    let states = [&whole, &thin].map(|archive| archive.head().unwrap().body().state);
    assert_eq!(states[0], states[1]);
    let all = [first, later].concat();
    assert_eq!(held(&thin), sorted_from(&all, at(2)));
}

#[test]
fn envelopes_of_dropped_days_are_refused_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let first = sent(1, 100, 0, 3);
    archive.append(&first).unwrap();
    seal(&archive, 3);
    archive.drop_before(at(1)).unwrap();
    let late = sent(2, 90, 0, 3);
    let old = late.iter().filter(|e| e.sent() < at(1)).count() as u64;
    let appended = archive.append(&late).unwrap();
    assert!(old > 0);
    assert_eq!((appended.too_old, appended.stored), (old, 90 - old));
    seal(&archive, 3);
}

#[test]
fn a_day_of_which_something_waits_is_kept_and_so_is_an_open_one() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    assert_eq!(archive.drop_before(at(9)).unwrap().kept_from, Day(0));
    archive.append(&sent(1, 100, 0, 4)).unwrap();
    seal(&archive, 3);
    let late = sent(2, 1, 1, 2);
    archive.append(&late).unwrap();
    assert_eq!(
        archive.drop_before(at(9)).unwrap().kept_from,
        Day::of(at(1))
    );
    seal(&archive, 3);
    assert_eq!(
        archive.drop_before(at(9)).unwrap().kept_from,
        Day::of(at(3))
    );
    // It never falls.
    assert_eq!(
        archive.drop_before(at(0)).unwrap().kept_from,
        Day::of(at(3))
    );
}

#[test]
fn what_was_said_is_finished_after_a_crash_and_holds_when_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let all = sent(1, 200, 0, 4);
    {
        let archive = Archive::init(dir.path(), "").unwrap();
        archive.append(&all).unwrap();
        seal(&archive, 4);
    }
    // As if it had been killed between saying and dropping.
    say(dir.path(), Day::of(at(2))).unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(held(&archive), sorted_from(&all, at(2)));
    assert_eq!(archive.drop_before(at(1)).unwrap().days, 2);
    drop(archive);
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.kept_from(), Day::of(at(2)));
    assert_eq!(held(&archive), sorted_from(&all, at(2)));
    let sealed_again = archive.append(&all).unwrap();
    assert_eq!(sealed_again.stored, 0);
}

#[test]
fn a_journal_that_a_crash_left_untrimmed_does_not_bring_dropped_days_back() {
    let dir = tempfile::tempdir().unwrap();
    let all = sent(1, 200, 0, 4);
    let journal = dir.path().join("journal");
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&all).unwrap();
    let kept: Vec<_> = fs::read_dir(&journal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    seal(&archive, 4);
    archive.drop_before(at(2)).unwrap();
    drop(archive);
    for (path, bytes) in kept {
        fs::write(path, bytes).unwrap();
    }
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.waiting(), 0);
    assert_eq!(held(&archive), sorted_from(&all, at(2)));
}
