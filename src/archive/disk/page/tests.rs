use std::fs;
use std::path::PathBuf;

use super::hours::Tally;
use super::*;
use crate::archive::testing::traffic;
use crate::archive::times::directory_len;
use crate::archive::watermark::{Hour, Watermark};
use crate::progress::Quiet;
use crate::time::{DAY, HOUR};
use crate::whisper::bloom::Bloom;
use crate::whisper::{Envelope, Topic};

/// 2018-10-01 00:00.
const FROM: u32 = 1_538_352_000;

fn envelopes(seed: u64, count: usize, from: u32, to: u32) -> Vec<Envelope> {
    let records = traffic(seed, count, 60, FROM + from, FROM + to);
    let decode = |r: &Record| Envelope::decode(&r.bytes).unwrap();
    records.iter().map(decode).collect()
}

fn seal(archive: &Archive, at: u32) {
    let until = Watermark::new(UnixSeconds(FROM + at)).unwrap();
    archive.seal(until, until.at(), &Quiet).unwrap();
}

/// Two closed days, three closed hours, an open hour of two deltas, and what
/// waits, late envelopes for all of them among it. Parts are small.
fn mixed(dir: &Path) -> (Archive, Vec<Envelope>) {
    let mut archive = Archive::init(dir, "").unwrap();
    archive.pages = Pages::with_parts_of(dir, 90);
    let day = DAY;
    let steps = [
        (envelopes(1, 900, 0, 2 * day), Some(2 * day)),
        (
            envelopes(2, 300, 0, 2 * day + 3 * HOUR),
            Some(2 * day + 3 * HOUR),
        ),
        (
            envelopes(3, 90, 2 * day, 2 * day + 3 * HOUR + 300),
            Some(2 * day + 3 * HOUR + 300),
        ),
        (
            envelopes(4, 90, 2 * day + HOUR, 2 * day + 3 * HOUR + 600),
            Some(2 * day + 3 * HOUR + 600),
        ),
        (envelopes(5, 120, 0, 2 * day + 4 * HOUR), None),
    ];
    let mut all = Vec::new();
    for (some, sealed) in steps {
        archive.append(&some).unwrap();
        all.extend(some);
        if let Some(at) = sealed {
            seal(&archive, at);
        }
    }
    all.sort_by_key(|e| (e.sent(), e.hash()));
    all.dedup();
    (archive, all)
}

fn request(topics: TopicFilter, range: TimeRange, limit: usize) -> PageRequest {
    PageRequest {
        filter: Filter { topics, range },
        after: None,
        limit,
    }
}

/// Everything that pages lead to; none is too long, empty, or last in vain.
fn walk(archive: &Archive, mut request: PageRequest) -> Vec<EnvelopeHash> {
    let mut all = Vec::new();
    loop {
        let page = archive.page(&request).unwrap();
        assert!(page.records.len() <= request.limit);
        for record in &page.records {
            let envelope = Envelope::decode(&record.bytes).unwrap();
            assert_eq!(crate::archive::key::Key::from(&envelope), record.key);
        }
        all.extend(page.records.iter().map(|r| r.key.hash));
        if !page.more {
            return all;
        }
        let last = page.records.last().expect("more follows something");
        request.after = Some((last.key.sent, last.key.hash));
    }
}

fn wanted(all: &[Envelope], request: &PageRequest) -> Vec<EnvelopeHash> {
    let matches = |e: &&Envelope| {
        let after = request.after;
        request.filter.matches(e.topic(), e.sent())
            && after.is_none_or(|after| (e.sent(), e.hash()) > after)
    };
    all.iter().filter(matches).map(Envelope::hash).collect()
}

fn topics(all: &[Envelope]) -> Vec<Topic> {
    let topics: std::collections::BTreeSet<_> = all.iter().map(Envelope::topic).collect();
    topics.into_iter().collect()
}

fn filters(all: &[Envelope]) -> Vec<TopicFilter> {
    let topics = topics(all);
    let bloom = |some: &[Topic]| TopicFilter::Bloom(Box::new(Bloom::of_topics(some.to_vec())));
    vec![
        TopicFilter::All,
        TopicFilter::Any(Default::default()),
        TopicFilter::Any([topics[3], topics[40]].into()),
        bloom(&topics[..1]),
        bloom(&topics[7..9]),
        bloom(&topics[10..50]),
        TopicFilter::Bloom(Box::new(Bloom::EMPTY)),
    ]
}

fn ranges() -> Vec<TimeRange> {
    let range = |from, to| TimeRange::new(UnixSeconds(from), UnixSeconds(to)).unwrap();
    vec![
        TimeRange::ALL,
        range(FROM, FROM + DAY - 1),
        range(FROM + DAY / 2, FROM + 2 * DAY + HOUR / 2),
        range(FROM + 2 * DAY, u32::MAX),
        range(0, FROM - 1),
    ]
}

#[test]
fn pages_of_any_limit_lead_through_exactly_what_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    for topics in filters(&all) {
        for range in ranges() {
            for limit in [1, 2, 7, 100, 10_000] {
                if limit < 7 && matches!(topics, TopicFilter::All) && range == TimeRange::ALL {
                    continue;
                }
                let request = request(topics.clone(), range, limit);
                let expected = wanted(&all, &request);
                assert_eq!(
                    walk(&archive, request),
                    expected,
                    "{topics:?} {range:?} {limit}"
                );
            }
        }
    }
    assert!(fs::read_dir(dir.path().join(TIMES)).unwrap().count() > 10);
}

#[test]
fn a_page_may_be_empty_and_still_say_that_more_follows() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, _) = mixed(dir.path());
    let page = archive.page(&request(TopicFilter::All, TimeRange::ALL, 0));
    let page = page.unwrap();
    assert!(page.records.is_empty() && page.more);
}

#[test]
fn a_cursor_need_not_be_of_an_envelope_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    for envelope in all.iter().step_by(37) {
        for hash in [[0; 32], [0xff; 32], envelope.hash().0] {
            for sent in [envelope.sent().0 - 1, envelope.sent().0] {
                let mut request = request(TopicFilter::All, TimeRange::ALL, 500);
                request.after = Some((UnixSeconds(sent), EnvelopeHash(hash)));
                let expected = wanted(&all, &request);
                let got = walk(&archive, request);
                assert_eq!(got, expected);
            }
        }
    }
    let mut request = request(TopicFilter::All, TimeRange::ALL, 5);
    request.after = Some((UnixSeconds::MAX, EnvelopeHash([0xff; 32])));
    assert_eq!(archive.page(&request).unwrap(), Page::default());
}

/// As many envelopes of one second as fill several chunks.
#[test]
fn pages_end_and_go_on_within_one_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = Archive::init(dir.path(), "").unwrap();
    archive.pages = Pages::with_parts_of(dir.path(), 2_000);
    let mut all = envelopes(9, 900, 500, 501);
    all.extend(envelopes(8, 200, 490, 510));
    archive.append(&all).unwrap();
    seal(&archive, DAY);
    all.sort_by_key(|e| (e.sent(), e.hash()));
    for limit in [1, 10, 257] {
        let second = TimeRange::new(UnixSeconds(FROM + 500), UnixSeconds(FROM + 500)).unwrap();
        let request = request(TopicFilter::All, second, limit);
        assert_eq!(walk(&archive, request.clone()), wanted(&all, &request));
    }
    let mut request = request(TopicFilter::All, TimeRange::ALL, 300);
    for at in (0..all.len()).step_by(97) {
        request.after = Some((all[at].sent(), all[at].hash()));
        assert_eq!(walk(&archive, request.clone()), wanted(&all, &request));
    }
}

fn time_files(dir: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(dir.join(TIMES)).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn damaged_missing_and_exchanged_time_files_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut archive, all) = mixed(dir.path());
    let everything = request(TopicFilter::All, TimeRange::ALL, 400);
    let some = request(filters(&all).remove(4), TimeRange::ALL, 400);
    let expected = [&everything, &some].map(|request| wanted(&all, request));
    walk(&archive, everything.clone());
    let files = time_files(dir.path());
    let mut check = |what: &str| {
        // Nothing is remembered, as after a start.
        archive.pages = Pages::with_parts_of(dir.path(), 90);
        assert_eq!(walk(&archive, some.clone()), expected[1], "{what}");
        assert_eq!(walk(&archive, everything.clone()), expected[0], "{what}");
    };
    for (n, file) in files.iter().enumerate() {
        let whole = fs::read(file).unwrap();
        for at in (n..whole.len()).step_by(whole.len() / 9) {
            let mut bent = whole.clone();
            bent[at] ^= 1;
            fs::write(file, &bent).unwrap();
            check(&format!("{file:?} byte {at}"));
            // What lies in a chunk is not noticed before it is needed.
            let directory = directory_len(&whole, whole.len() as u64).unwrap();
            assert!(at >= directory || fs::read(file).unwrap() == whole);
        }
        fs::write(file, &whole).unwrap();
        fs::write(file, &whole[..whole.len() / 2]).unwrap();
        check("cut");
        fs::write(file, b"").unwrap();
        check("empty");
        fs::remove_file(file).unwrap();
        check("gone");
        assert!(fs::read(file).unwrap() == whole);
    }
    for pair in files.windows(2) {
        fs::copy(&pair[0], &pair[1]).unwrap();
        check("another's");
    }
    fs::remove_dir_all(dir.path().join(TIMES)).unwrap();
    fs::write(dir.path().join(TIMES), b"no folder").unwrap();
    check("a file in the way");
}

fn second_day() -> TimeRange {
    TimeRange::new(UnixSeconds(FROM + DAY), UnixSeconds(FROM + 2 * DAY - 1)).unwrap()
}

/// Bends an envelope in every file of blocks that holds it; false where none
/// does.
fn bend(folder: &Path, envelope: &Envelope) -> bool {
    let mut bent = false;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bent |= bend(&path, envelope);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let rlp = envelope.rlp();
        let found = bytes.windows(rlp.len()).position(|w| w == &rlp[..]);
        if let Some(at) = found {
            bytes[at + rlp.len() / 2] ^= 1;
            fs::write(&path, bytes).unwrap();
            bent = true;
        }
    }
    bent
}

#[test]
fn damage_that_comes_after_the_first_look_is_not_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    let request = request(TopicFilter::All, second_day(), 10_000);
    assert_eq!(walk(&archive, request.clone()), wanted(&all, &request));
    let blocks = dir.path().join("blocks");
    let mut of_day = all.iter().filter(|e| second_day().contains(e.sent()));
    assert!(of_day.any(|e| bend(&blocks, e)));
    // What memory holds was right when it was read; the disk is not any more.
    archive.pages.ahead.give_up();
    assert!(archive.page(&request).is_err());
}

#[test]
fn damage_beyond_a_page_does_not_keep_it_from_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    let mut request = request(TopicFilter::All, second_day(), 1);
    let expected = wanted(&all, &request);
    assert_eq!(walk(&archive, request.clone()), expected);
    // A short stretch at the end is worth reading for one envelope.
    archive.pages.ahead.give_up();
    let of_hash = |hash: EnvelopeHash| all.iter().find(|e| e.hash() == hash).unwrap();
    let mut from_last = expected.iter().enumerate().rev();
    let blocks = dir.path().join("blocks");
    let (bent, _) = from_last
        .find(|(_, hash)| bend(&blocks, of_hash(**hash)))
        .unwrap();
    assert!(bent > 40);
    request.limit = 4;
    let mut got = Vec::new();
    while let Ok(page) = archive.page(&request) {
        got.extend(page.records.iter().map(|r| r.key.hash));
        let last = page.records.last().unwrap();
        request.after = Some((last.key.sent, last.key.hash));
    }
    assert_eq!(got, expected[..bent - bent % 4]);
}

#[test]
fn who_reads_on_finds_it_read_already_and_who_asks_for_little_reads_little() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    let mut request = request(TopicFilter::All, second_day(), 50);
    let expected = wanted(&all, &request);
    assert_eq!(walk(&archive, request.clone()), expected);
    let page = archive.page(&request).unwrap();
    assert_eq!(page.reads, Reads::default());
    archive.pages.ahead.give_up();
    request.limit = 1;
    let page = archive.page(&request).unwrap();
    assert_eq!(page.reads.bytes, page.records[0].bytes.len() as u64);
}

#[test]
fn what_does_not_need_a_damaged_leaf_is_still_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    let day = second_day();
    let blocks = dir.path().join("blocks");
    let mut of_day: Vec<_> = all.iter().filter(|e| day.contains(e.sent())).collect();
    of_day.sort_by_key(|e| std::cmp::Reverse(e.topic()));
    assert!(of_day.iter().any(|e| bend(&blocks, e)));
    // Nothing was made yet, and cannot be.
    let first = topics(&all)[0];
    let first = request(TopicFilter::Any([first].into()), day, 3);
    let expected = wanted(&all, &first);
    assert!(expected.len() > 3);
    assert_eq!(walk(&archive, first), expected);
    let whole = request(TopicFilter::All, day, 10_000);
    assert!(archive.page(&whole).is_err());
}

#[test]
fn a_page_that_nobody_waits_for_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, _) = mixed(dir.path());
    let stop = Stop::default();
    stop.stop();
    let request = request(TopicFilter::All, TimeRange::ALL, 10);
    let stopped = archive.page_unless(&request, &stop);
    assert!(matches!(stopped, Err(DiskError::Stopped)));
    assert!(matches!(archive.make_times(&stop), Err(DiskError::Stopped)));
    assert!(!dir.path().join(TIMES).exists());
    assert!(archive.page(&request).is_ok());
}

#[test]
fn who_waits_for_times_that_another_makes_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, _) = mixed(dir.path());
    let stop = Stop::default();
    let other = archive.pages.hold_up();
    let request = request(TopicFilter::All, TimeRange::ALL, 10);
    std::thread::scope(|scope| {
        let page = scope.spawn(|| archive.page_unless(&request, &stop));
        // Whether it waits by now or not yet: the turn never comes.
        stop.stop();
        assert!(matches!(page.join().unwrap(), Err(DiskError::Stopped)));
    });
    drop(other);
}

#[test]
fn a_page_waits_for_no_times_but_those_it_lacks_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (mut archive, all) = mixed(dir.path());
    let buckets = kept_buckets(&archive).unwrap();
    let [first, second] = [&buckets[0], &buckets[1]];
    let of_day = |plan: &BucketPlan| request(TopicFilter::All, plan.range, 2_000);
    let given = |archive: &Archive, asked: &PageRequest| {
        let page = archive.page(asked).unwrap();
        page.records.iter().map(|r| r.key.hash).collect::<Vec<_>>()
    };
    {
        let never = Stop::default();
        let turn = archive.pages.times.turn(&first.segments[0], &never);
        let asked = of_day(second);
        assert_eq!(given(&archive, &asked), wanted(&all, &asked));
        drop(turn);
    }
    archive.make_times(&Stop::default()).unwrap();
    // Nothing of the files is in memory now.
    archive.pages = Pages::with_parts_of(dir.path(), 90);
    let _held_up = archive.pages.hold_up();
    let asked = of_day(first);
    assert_eq!(given(&archive, &asked), wanted(&all, &asked));
}

#[test]
fn days_that_are_touched_again_and_again_are_made_again_a_few_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = Archive::init(dir.path(), "").unwrap();
    archive.pages = Pages::with_parts_of(dir.path(), 90);
    let made = |archive: &Archive| archive.make_times(&Stop::default()).unwrap();
    for seed in 1..4 {
        archive.append(&envelopes(seed, 300, 0, 6 * DAY)).unwrap();
        seal(&archive, 6 * DAY + 300 * u32::try_from(seed).unwrap());
        if seed == 1 {
            assert_eq!(made(&archive), 6);
            continue;
        }
        assert_eq!(made(&archive), REMADE_DAYS);
        let newest = &kept_buckets(&archive).unwrap()[2..];
        assert!(
            newest
                .iter()
                .all(|plan| is_settled(&archive.pages.times, plan))
        );
    }
    assert_eq!(made(&archive), 2);
    assert_eq!(made(&archive), 0);
}

#[test]
fn times_are_made_ahead_and_go_with_their_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    let segments = archive.make_times(&Stop::default()).unwrap();
    assert_eq!(segments, 2 + 3 + 2);
    let before = time_files(dir.path());
    // The late ones change both days and all hours; the open hour stays.
    seal(&archive, 2 * DAY + 3 * HOUR + 600);
    archive.make_times(&Stop::default()).unwrap();
    assert!(time_files(dir.path()).len() > before.len());
    archive.sweep(UnixSeconds(FROM + 3 * DAY)).unwrap();
    let after = time_files(dir.path());
    assert!(after.iter().filter(|file| before.contains(file)).count() < before.len());
    let everything = request(TopicFilter::All, TimeRange::ALL, 400);
    assert_eq!(
        walk(&archive, everything.clone()),
        wanted(&all, &everything)
    );
}

#[test]
fn what_was_read_once_is_not_hashed_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut archive, all) = mixed(dir.path());
    let day = TimeRange::new(UnixSeconds(FROM), UnixSeconds(FROM + DAY - 1)).unwrap();
    let request = request(TopicFilter::All, day, 10_000);
    archive.page(&request).unwrap();
    archive.pages = Pages::with_parts_of(dir.path(), 90);
    let bytes = |page: &Page| {
        page.records
            .iter()
            .map(|r| r.bytes.len() as u64)
            .sum::<u64>()
    };
    let first = archive.page(&request).unwrap();
    assert!(first.reads.blocks > 5 && first.reads.bytes > bytes(&first) / 2);
    let again = archive.page(&request).unwrap();
    assert_eq!((again.reads.blocks, &again.records), (0, &first.records));
    assert!(again.reads.bytes <= bytes(&again));
    assert_eq!(first.records.len(), wanted(&all, &request).len());
}

#[test]
fn the_hours_are_told_as_if_every_envelope_was_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all) = mixed(dir.path());
    for range in ranges() {
        let mut expected: std::collections::BTreeMap<Hour, Tally> = Default::default();
        let hours = |at| Hour::of(at).range();
        let (from, to) = (hours(range.from()).from(), hours(range.to()).to());
        for envelope in all.iter().filter(|e| (from..=to).contains(&e.sent())) {
            let tally = expected.entry(Hour::of(envelope.sent())).or_default();
            tally.count += 1;
            tally.bytes += envelope.rlp().len() as u64;
        }
        // Twice: what is remembered is the same.
        for _ in 0..2 {
            let told = archive.hours(range, &Stop::default()).unwrap();
            assert_eq!(told.tallies, expected, "{range:?}");
            assert_eq!(told.unknown, [], "{range:?}");
        }
    }
    let stopped = Stop::default();
    stopped.stop();
    let told = archive.hours(TimeRange::ALL, &stopped);
    assert!(matches!(told, Err(DiskError::Stopped)));
}
