//! Readers that come and go while an archive takes in, seals, and is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::since::{News, Since, SinceError, Start};
use super::*;
use crate::archive::disk::Archive;
use crate::archive::filter::TopicFilter;
use crate::archive::testing::envelope;
use crate::archive::watermark::Watermark;
use crate::progress::Quiet;
use crate::time::DAY;
use crate::whisper::Envelope;

/// 2018-09-30 00:00.
const FROM: u32 = 1_538_265_600;

fn since(start: Start, limit: usize) -> Since {
    Since {
        start,
        topics: TopicFilter::All,
        limit,
        max_bytes: 1 << 20,
    }
}

fn seal(archive: &Archive, seconds: u32) {
    let until = Watermark::at_or_before(UnixSeconds(FROM + seconds));
    archive.seal(until, until.at(), &Quiet).unwrap();
}

/// A reader and how often it was given each envelope.
struct Reader {
    start: Start,
    given: BTreeMap<EnvelopeHash, u32>,
}

impl Reader {
    fn new() -> Self {
        Self {
            start: Start::Time(UnixSeconds(0)),
            given: BTreeMap::new(),
        }
    }

    /// Takes one answer; gives whether more is there.
    fn ask(&mut self, archive: &Archive, limit: usize) -> bool {
        let News {
            records,
            next,
            more,
            ..
        } = archive.since(&since(self.start, limit)).unwrap();
        assert!(records.len() <= limit);
        for record in records {
            *self.given.entry(record.key.hash).or_default() += 1;
        }
        assert_eq!(Position::from_bytes(&next.to_bytes()), Ok(next));
        assert_eq!(next.to_string().parse(), Ok(next));
        self.start = Start::Position(next);
        more
    }

    fn catch_up(&mut self, archive: &Archive, limit: usize) {
        while self.ask(archive, limit) {}
    }
}

/// The folder as `kill -9` would leave it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Some envelopes sent this many seconds before or after what is next to
    /// be sealed.
    Arrive(Vec<i32>),
    /// So many seconds on.
    Seal(u32),
    Reopen,
    Kill,
    Ask(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let sent = prop_oneof![
        4 => 0..900i32,
        2 => -1_000..0i32,
        1 => -400_000..0i32,
        1 => 900..9_000i32,
    ];
    prop_oneof![
        6 => prop::collection::vec(sent, 1..8).prop_map(Step::Arrive),
        4 => prop_oneof![3 => 300..900u32, 1 => 3_600..100_000u32].prop_map(Step::Seal),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        6 => prop_oneof![Just(1), 2..6usize, Just(100)].prop_map(Step::Ask),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_envelope_is_missed_and_none_is_given_without_end(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let home = tempfile::tempdir().unwrap();
        let mut homes = 0;
        let mut archive = Archive::init(&home.path().join("0"), "").unwrap();
        let (mut now, mut number, mut openings) = (5 * DAY, 0u32, 0);
        let mut all: Vec<EnvelopeHash> = Vec::new();
        let mut reader = Reader::new();
        // One that asks seldom has a long way.
        let mut lazy = Reader::new();
        lazy.ask(&archive, 1);
        for step in steps {
            match step {
                Step::Arrive(sent) => {
                    let some: Vec<Envelope> = sent.into_iter().map(|offset| {
                        number += 1;
                        let sent = (FROM + now).saturating_add_signed(offset);
                        envelope(u8::try_from(number % 5).unwrap(), sent, 40 + number as usize)
                    }).collect();
                    all.extend(some.iter().map(Envelope::hash));
                    archive.append(&some).unwrap();
                }
                Step::Seal(seconds) => {
                    now += seconds;
                    seal(&archive, now);
                }
                Step::Reopen | Step::Kill => {
                    let dir = archive.dir().to_owned();
                    let dir = if matches!(step, Step::Kill) {
                        homes += 1;
                        let to = home.path().join(homes.to_string());
                        copy(&dir, &to);
                        to
                    } else {
                        dir
                    };
                    drop(archive);
                    archive = Archive::open(&dir).unwrap();
                    openings += 1;
                }
                Step::Ask(limit) => {
                    reader.ask(&archive, limit);
                }
            }
        }
        reader.catch_up(&archive, 3);
        let held = all.len();
        prop_assert_eq!(reader.given.len(), held);
        lazy.catch_up(&archive, 7);
        seal(&archive, now + 20 * DAY);
        reader.catch_up(&archive, 2);
        lazy.catch_up(&archive, 100);
        for reader in [&reader, &lazy] {
            prop_assert!(all.iter().all(|hash| reader.given.contains_key(hash)));
            prop_assert_eq!(reader.given.len(), held);
            let most = reader.given.values().copied().max().unwrap_or(0);
            // Within one run nothing is given twice.
            prop_assert!(most <= 1 + openings, "given {most} times in {openings} openings");
        }
    }

    #[test]
    fn a_position_is_what_its_bytes_say(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        if let Ok(position) = Position::from_bytes(&bytes) {
            prop_assert_eq!(position.to_bytes(), bytes);
        }
    }
}

#[test]
fn a_late_envelope_is_found_by_position() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&[envelope(1, FROM + 100, 50)]).unwrap();
    seal(&archive, 3 * DAY);
    let mut reader = Reader::new();
    reader.catch_up(&archive, 10);
    // Into a day that closed long ago, and sealed before the reader asks again.
    let late = envelope(2, FROM + 50, 60);
    archive.append(std::slice::from_ref(&late)).unwrap();
    seal(&archive, 4 * DAY);
    reader.catch_up(&archive, 10);
    assert_eq!(reader.given.get(&late.hash()), Some(&1));
    assert_eq!(reader.given.len(), 2);
}

#[test]
fn one_who_begins_now_or_at_a_time_is_given_what_comes_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let old: Vec<_> = (0..10).map(|n| envelope(1, FROM + n * 100, 50)).collect();
    archive.append(&old).unwrap();
    seal(&archive, 3_600);
    archive.append(&[envelope(1, FROM + 5_000, 50)]).unwrap();
    let mut now = Reader::new();
    now.start = Start::Now;
    now.catch_up(&archive, 10);
    assert!(now.given.is_empty());
    let mut later = Reader::new();
    later.start = Start::Time(UnixSeconds(FROM + 500));
    later.catch_up(&archive, 2);
    assert_eq!(later.given.len(), 6);

    archive.append(&[envelope(3, FROM + 10, 50)]).unwrap();
    seal(&archive, 7_200);
    now.catch_up(&archive, 10);
    later.catch_up(&archive, 10);
    assert_eq!((now.given.len(), later.given.len()), (1, 7));
}

#[test]
fn positions_of_elsewhere_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = Archive::init(other.path(), "").unwrap();
    archive.append(&[envelope(1, FROM, 50)]).unwrap();
    seal(&archive, DAY);
    let position = |start| archive.since(&since(start, 10)).unwrap().next;
    let here = position(Start::Now);
    let refused = |archive: &Archive, position| {
        let start = Start::Position(position);
        archive.since(&since(start, 10)).unwrap_err().to_string()
    };
    let said = |error: SinceError| error.to_string();
    assert_eq!(refused(&other, here), said(SinceError::AnotherArchive));
    let ahead = Position {
        since: HeadMark {
            sequence: 7,
            ..here.since
        },
        ..here
    };
    assert_eq!(refused(&archive, ahead), said(SinceError::Ahead));
    let forked = Position {
        since: HeadMark {
            check: [0; 4],
            ..here.since
        },
        ..here
    };
    assert_eq!(refused(&archive, forked), said(SinceError::AnotherLineage));
}

#[test]
fn where_the_list_was_lost_old_positions_are_too_old_and_new_ones_good() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&[envelope(1, FROM, 50)]).unwrap();
    seal(&archive, DAY);
    let old = archive.since(&since(Start::Now, 10)).unwrap().next;
    archive.append(&[envelope(2, FROM, 50)]).unwrap();
    seal(&archive, 2 * DAY);
    drop(archive);
    fs::write(dir.path().join("late.list"), b"damaged").unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    let told = archive.since(&since(Start::Position(old), 10));
    assert!(matches!(told, Err(SinceError::TooOld)), "{told:?}");
    let mut reader = Reader::new();
    reader.catch_up(&archive, 10);
    archive.append(&[envelope(3, FROM, 50)]).unwrap();
    seal(&archive, 3 * DAY);
    reader.catch_up(&archive, 10);
    assert_eq!(reader.given.len(), 3);
}

#[test]
fn a_list_that_grows_too_long_forgets_its_oldest_heads_only() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.late().keep_at_most(20);
    archive.append(&[envelope(1, FROM, 50)]).unwrap();
    seal(&archive, DAY);
    let mut positions = Vec::new();
    for n in 1..=12u32 {
        let late = (0..3).map(|k| envelope(2, FROM + 10 * n + k, 50));
        archive.append(&late.collect::<Vec<_>>()).unwrap();
        seal(&archive, DAY + n * 300);
        positions.push(archive.since(&since(Start::Now, 10)).unwrap().next);
    }
    let told: Vec<_> = positions
        .iter()
        .map(|at| archive.since(&since(Start::Position(*at), 100)))
        .map(|told| told.map(|news| news.records.len()))
        .collect();
    assert!(matches!(told[0], Err(SinceError::TooOld)));
    for (n, told) in told.iter().enumerate().skip(10) {
        assert_eq!(*told.as_ref().unwrap(), 3 * (11 - n), "{n}");
    }
    let drawn: Vec<bool> = told.iter().map(Result::is_ok).collect();
    assert!(drawn.is_sorted());
}

#[test]
fn a_head_that_could_not_be_stored_leaves_nothing_in_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    archive.append(&[envelope(1, FROM + DAY, 50)]).unwrap();
    seal(&archive, 2 * DAY);
    let mut reader = Reader::new();
    reader.catch_up(&archive, 10);
    archive.append(&[envelope(2, FROM + 10, 50)]).unwrap();
    let (heads, aside) = (dir.path().join("heads"), dir.path().join("aside"));
    let until = Watermark::at_or_before(UnixSeconds(FROM + 3 * DAY));
    fs::rename(&heads, &aside).unwrap();
    fs::write(&heads, b"no folder").unwrap();
    assert!(archive.seal(until, until.at(), &Quiet).is_err());
    fs::remove_file(&heads).unwrap();
    fs::rename(&aside, &heads).unwrap();
    reader.catch_up(&archive, 10);
    assert_eq!(reader.given.len(), 2);
    drop(archive);
    let archive = Archive::open(dir.path()).unwrap();
    archive.append(&[envelope(3, FROM + 20, 50)]).unwrap();
    seal(&archive, 3 * DAY);
    reader.catch_up(&archive, 1);
    assert_eq!(reader.given.len(), 3);
}
