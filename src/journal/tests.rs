mod crash;
mod faulty;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

fn record(n: u64) -> Bytes {
    let len = usize::try_from(n % 7).unwrap() * 9;
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.resize(8 + len, 0xff);
    bytes.into()
}

fn records(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(record).collect()
}

fn open(dir: &Path) -> Result<(Journal, Recovery, Vec<Bytes>), JournalError> {
    let mut found = Vec::new();
    let (journal, recovery) = Journal::open(dir, |entry| found.push(entry.bytes))?;
    Ok((journal, recovery, found))
}

/// What an opening finds, and what it cut.
fn reopen(dir: &Path) -> Result<(Vec<Bytes>, Option<Torn>), JournalError> {
    open(dir).map(|(_, recovery, found)| (found, recovery.torn))
}

fn newest(dir: &Path) -> PathBuf {
    file::path(dir, *file::numbers(dir).unwrap().last().unwrap())
}

/// Leaves `journal` as a process that dies: without its last seam.
fn kill(journal: Journal) {
    let (dir, path) = (journal.dir.clone(), newest(&journal.dir));
    let bytes = fs::read(&path).unwrap();
    drop(journal);
    fs::write(newest(&dir), bytes).unwrap();
}

#[test]
fn records_come_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovery, found) = open(dir.path()).unwrap();
    assert_eq!((recovery, found.len()), (Recovery::default(), 0));
    let mut locations = journal.append(records(0..3)).unwrap();
    locations.extend(journal.append(records(3..4)).unwrap());
    assert_eq!(journal.append(Vec::new()).unwrap(), []);
    for (n, at) in (0..).zip(&locations) {
        assert_eq!(journal.read(*at).unwrap(), record(n));
    }
    drop(journal);
    let mut seen = Vec::new();
    let (journal, recovery) = Journal::open(dir.path(), |entry| seen.push(entry)).unwrap();
    let bytes = records(0..4).iter().map(Bytes::len).sum::<usize>() as u64;
    let expected = Recovery {
        records: 4,
        bytes,
        torn: None,
    };
    assert_eq!(recovery, expected);
    for (n, entry) in (0..).zip(&seen) {
        assert_eq!(
            (&entry.bytes, entry.location),
            (&record(n), locations[usize::try_from(n).unwrap()])
        );
        assert_eq!(journal.read(entry.location).unwrap(), record(n));
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn opening_and_closing_does_not_make_it_grow() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().0.append(records(0..2)).unwrap();
    let len = fs::metadata(newest(dir.path())).unwrap().len();
    for _ in 0..3 {
        let (journal, _, found) = open(dir.path()).unwrap();
        assert_eq!((found, journal.len_bytes()), (records(0..2), len));
    }
}

#[test]
fn concurrent_appends_are_all_durable_and_in_order_for_each_caller() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    let called = Arc::new(AtomicU64::new(0));
    std::thread::scope(|threads| {
        for caller in 0..6u64 {
            let (journal, called) = (&journal, Arc::clone(&called));
            threads.spawn(move || {
                for n in 0..20 {
                    let batch = records(caller * 1_000 + n * 3..caller * 1_000 + n * 3 + 3);
                    if n % 2 == 0 {
                        let locations = journal.append(batch.clone()).unwrap();
                        for (at, bytes) in locations.into_iter().zip(batch) {
                            assert_eq!(journal.read(at).unwrap(), bytes);
                        }
                    } else {
                        let called = Arc::clone(&called);
                        journal.append_then(batch, move |result| {
                            assert_eq!(result.unwrap().len(), 3);
                            called.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                }
            });
        }
    });
    drop(journal);
    assert_eq!(called.load(Ordering::SeqCst), 60);
    let (found, _) = reopen(dir.path()).unwrap();
    assert_eq!(found.len(), 360);
    for caller in 0..6u64 {
        let of_caller = |bytes: &&Bytes| {
            let n = u64::from_be_bytes(bytes[..8].try_into().unwrap());
            n / 1_000 == caller
        };
        let own: Vec<_> = found.iter().filter(of_caller).cloned().collect();
        assert_eq!(own, records(caller * 1_000..caller * 1_000 + 60));
    }
}

#[test]
fn a_callback_that_panics_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append_then(records(0..1), |_| panic!("a test"));
    journal.append(records(1..2)).unwrap();
    drop(journal);
    assert_eq!(reopen(dir.path()).unwrap().0, records(0..2));
}

#[test]
fn rotation_separates_before_from_after() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    // Nothing to separate yet.
    assert_eq!(journal.rotate().unwrap(), FileNumber(0));
    let before = journal.append(records(0..5)).unwrap();
    let closed = journal.rotate().unwrap();
    assert_eq!(closed, FileNumber(1));
    assert_eq!(journal.rotate().unwrap(), closed);
    let after = journal.append(records(5..9)).unwrap();
    assert!(before.iter().all(|at| at.file <= closed));
    assert!(after.iter().all(|at| at.file > closed));
    for (n, at) in (0..).zip(before.iter().chain(&after)) {
        assert_eq!(journal.read(*at).unwrap(), record(n));
    }
    let files = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap());
    assert_eq!(
        journal.len_bytes(),
        files.map(|about| about.len()).sum::<u64>()
    );
    drop(journal);
    let (journal, _, found) = open(dir.path()).unwrap();
    assert_eq!(found, records(0..9));

    journal.remove_through(closed).unwrap();
    journal.remove_through(closed).unwrap();
    assert!(journal.read(before[0]).is_err());
    assert_eq!(journal.read(after[0]).unwrap(), record(5));
    // Never the one being written.
    journal.remove_through(FileNumber(u64::MAX)).unwrap();
    assert_eq!(journal.read(after[0]).unwrap(), record(5));
    assert_eq!(
        journal.len_bytes(),
        fs::metadata(newest(dir.path())).unwrap().len()
    );
    drop(journal);
    let (journal, _, found) = open(dir.path()).unwrap();
    assert_eq!(found, records(5..9));
    assert_eq!(journal.rotate().unwrap(), FileNumber(2));
    journal.remove_through(FileNumber(2)).unwrap();
    drop(journal);
    let (journal, _, found) = open(dir.path()).unwrap();
    assert_eq!(found, records(0..0));
    // Numbers go on.
    assert_eq!(
        journal.append(records(0..1)).unwrap()[0].file,
        FileNumber(3)
    );
}

#[test]
fn a_journal_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    assert!(matches!(
        reopen(dir.path()),
        Err(JournalError::Locked { .. })
    ));
    drop(journal);
    reopen(dir.path()).unwrap();
}

#[test]
fn records_and_batches_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    let largest = Bytes::from(vec![1; MAX_RECORD]);
    let at = journal.append(vec![largest.clone(), Bytes::new()]).unwrap();
    assert_eq!(journal.read(at[0]).unwrap(), largest);
    let too_large = |batch| matches!(journal.append(batch), Err(JournalError::TooLarge { .. }));
    assert!(too_large(vec![Bytes::from(vec![1; MAX_RECORD + 1])]));
    assert!(too_large(vec![largest.clone(); 7]));
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    journal.append_then(vec![largest.clone(); 7], move |result| {
        tell.store(result.is_err(), Ordering::SeqCst);
    });
    assert!(told.load(Ordering::SeqCst));
    drop(journal);
    assert_eq!(reopen(dir.path()).unwrap().0, [largest, Bytes::new()]);
}

#[test]
fn a_wrong_place_is_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    let at = journal.append(records(0..3)).unwrap()[1];
    for wrong in [
        Location {
            offset: at.offset + 1,
            ..at
        },
        Location {
            offset: u64::MAX,
            ..at
        },
        Location {
            len: at.len + 1,
            ..at
        },
        Location {
            len: u32::MAX,
            ..at
        },
        Location {
            file: FileNumber(9),
            ..at
        },
    ] {
        assert!(journal.read(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_salvage_reads_around_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    let mut at = journal.append(records(0..4)).unwrap();
    at.extend(journal.append(records(4..6)).unwrap());
    journal.rotate().unwrap();
    at.extend(journal.append(records(6..8)).unwrap());
    let spoil = |at: Location, byte: u64| {
        let path = file::path(dir.path(), at.file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(at.offset + byte).unwrap()] ^= 0x40;
        fs::write(path, bytes).unwrap();
    };
    let salvaged = || {
        let (mut found, mut damage) = (Vec::new(), Vec::new());
        let sums = Salvage::open(dir.path()).unwrap().read(|item| match item {
            Found::Record(entry) => found.push(entry),
            Found::Damage {
                file,
                offset,
                bytes,
                unfinished,
                ..
            } => {
                // Whatever is spoilt here was acknowledged, and shows it.
                assert!(!unfinished);
                damage.push((file.0, offset, bytes));
            }
        });
        let sums = sums.unwrap();
        assert_eq!(sums.records, found.len() as u64);
        assert_eq!(
            sums.skipped,
            damage.iter().map(|(_, _, bytes)| bytes).sum::<u64>()
        );
        let left: Vec<_> = found.iter().map(|entry| entry.location).collect();
        assert!(found.iter().all(|entry| at.contains(&entry.location)));
        (left, damage)
    };
    // It may run beside the owner.
    assert_eq!(salvaged(), (at.clone(), vec![]));
    drop(journal);
    assert_eq!(salvaged(), (at.clone(), vec![]));
    // One byte of one record: it alone is lost.
    spoil(at[1], 9);
    let lost = 8 + u64::from(at[1].len);
    let kept = [&at[..1], &at[2..]].concat();
    assert_eq!(salvaged(), (kept, vec![(1, at[1].offset, lost)]));
    assert!(reopen(dir.path()).unwrap_err().is_corrupt());
    // A length: the rest of the group is lost.
    spoil(at[2], 0);
    let kept = [&at[..1], &at[4..]].concat();
    let (left, damage) = salvaged();
    assert_eq!(left, kept);
    assert!(!damage.is_empty());
    // A header: the file is.
    let first = Location { offset: 0, ..at[0] };
    spoil(first, 1);
    let (left, damage) = salvaged();
    assert_eq!(left, at[6..]);
    assert_eq!(damage[0].1, 0);
    // A tail that a newer file says was whole.
    spoil(first, 1);
    let path = file::path(dir.path(), first.file);
    let bytes = fs::read(&path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 20]).unwrap();
    let (left, damage) = salvaged();
    assert_eq!(left, [&at[..1], &at[4..5], &at[6..]].concat());
    assert_eq!(damage.last().unwrap().1, at[5].offset);
}
