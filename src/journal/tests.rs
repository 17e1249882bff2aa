use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::file::JournalFile;
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
fn a_torn_tail_loses_only_what_was_never_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..5)).unwrap();
    let acknowledged = journal.len_bytes();
    journal.append(records(5..7)).unwrap();
    kill(journal);
    let path = newest(dir.path());
    let whole = fs::read(&path).unwrap();
    let first = usize::try_from(acknowledged).unwrap() + record::SEAM;
    let second = first + 8 + record(5).len();
    for len in usize::try_from(acknowledged).unwrap()..=whole.len() {
        // Cut off, or never written in part: both happen.
        for fill in [None, Some(0), Some(0xff)] {
            let mut torn = whole[..len].to_vec();
            if let Some(byte) = fill {
                torn.resize(whole.len(), byte);
            }
            fs::write(&path, &torn).unwrap();
            let (found, cut) = reopen(dir.path()).unwrap();
            assert!(
                found.len() >= 5 && found == records(0..found.len() as u64),
                "{len} {fill:?}"
            );
            // The filling may happen to be what belongs there.
            let same = whole.iter().zip(&torn).take_while(|(a, b)| a == b).count();
            let ends = [second, whole.len()];
            let expected = 5 + ends.iter().filter(|end| **end <= same).count();
            assert_eq!(found.len(), expected, "{len} {fill:?}");
            let cut = cut.map_or(0, |torn| torn.bytes);
            let ends = [
                usize::try_from(acknowledged).unwrap(),
                first,
                second,
                whole.len(),
            ];
            let intact = ends.into_iter().filter(|end| *end <= same).max().unwrap();
            assert_eq!(cut, (torn.len() - intact) as u64, "{len} {fill:?}");
            // The tail is gone for good, and the journal goes on behind it.
            let (journal, recovery, _) = open(dir.path()).unwrap();
            assert_eq!(recovery.torn, None);
            journal.append(records(100..101)).unwrap();
            drop(journal);
            let (again, _) = reopen(dir.path()).unwrap();
            assert_eq!(again, [found, records(100..101)].concat());
        }
    }
}

#[test]
fn damage_to_what_was_acknowledged_is_refused_by_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..4)).unwrap();
    journal.append(records(4..6)).unwrap();
    let before_last = journal.len_bytes();
    drop(journal);
    let path = newest(dir.path());
    let whole = fs::read(&path).unwrap();
    for at in 0..usize::try_from(before_last).unwrap() {
        let mut bent = whole.clone();
        bent[at] ^= 0x10;
        fs::write(&path, &bent).unwrap();
        let error = reopen(dir.path()).unwrap_err();
        assert!(error.is_corrupt(), "{at}: {error}");
        let JournalError::Corrupt {
            path: named,
            offset,
            ..
        } = error
        else {
            panic!("{at}: {error}");
        };
        let earliest = if at < record::HEADER {
            0
        } else {
            at.saturating_sub(80)
        };
        assert!(named == path && offset >= earliest as u64 && offset <= at as u64);
        assert_eq!(fs::read(&path).unwrap(), bent);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(reopen(dir.path()).unwrap().0, records(0..6));
}

#[test]
fn a_killed_process_leaves_all_groups_but_the_last_beyond_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..4)).unwrap();
    let first = usize::try_from(journal.len_bytes()).unwrap();
    journal.append(records(4..6)).unwrap();
    kill(journal);
    let path = newest(dir.path());
    let whole = fs::read(&path).unwrap();
    for at in record::HEADER..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        fs::write(&path, &bent).unwrap();
        match reopen(dir.path()) {
            Err(error) => assert!(
                error.is_corrupt() && at < first + record::SEAM,
                "{at}: {error}"
            ),
            // The last group may be what the crash tore.
            Ok((found, torn)) => {
                assert!(at >= first && found.len() >= 4 && torn.is_some(), "{at}");
            }
        }
    }
}

#[test]
fn a_record_that_looks_like_a_journal_stays_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..3)).unwrap();
    drop(journal);
    let forged = Bytes::from(fs::read(newest(dir.path())).unwrap());
    let other = tempfile::tempdir().unwrap();
    let (journal, ..) = open(other.path()).unwrap();
    journal
        .append(vec![forged.clone(), forged.slice(16..)])
        .unwrap();
    kill(journal);
    let path = newest(other.path());
    let whole = fs::read(&path).unwrap();
    for len in record::HEADER..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (found, _) = reopen(other.path()).unwrap();
        assert!(found.iter().all(|record| forged.ends_with(record)));
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
fn a_closed_file_must_be_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..2)).unwrap();
    journal.append(records(2..4)).unwrap();
    journal.rotate().unwrap();
    journal.append(records(4..5)).unwrap();
    journal.rotate().unwrap();
    journal.append(records(5..6)).unwrap();
    drop(journal);
    let path = file::path(dir.path(), FileNumber(1));
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(reopen(dir.path()).unwrap_err().is_corrupt(), "{len}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(reopen(dir.path()).unwrap().0, records(0..6));
    let middle = file::path(dir.path(), FileNumber(2));
    let bytes = fs::read(&middle).unwrap();
    fs::remove_file(&middle).unwrap();
    let error = reopen(dir.path()).unwrap_err();
    assert!(matches!(&error, JournalError::MissingFile { path } if *path == middle));
    assert!(error.is_corrupt());
    fs::write(&middle, bytes).unwrap();
    assert_eq!(reopen(dir.path()).unwrap().0, records(0..6));
}

#[test]
fn a_crash_at_any_step_of_a_rotation_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path()).unwrap();
    journal.append(records(0..2)).unwrap();
    let open_end = usize::try_from(journal.len_bytes()).unwrap();
    journal.rotate().unwrap();
    drop(journal);
    let (old, new) = (file::path(dir.path(), FileNumber(1)), newest(dir.path()));
    let (closed, header) = (fs::read(&old).unwrap(), fs::read(&new).unwrap());
    let mut steps: Vec<_> = (open_end..=closed.len()).map(|len| (len, None)).collect();
    steps.extend((0..=header.len()).map(|len| (closed.len(), Some(header[..len].to_vec()))));
    steps.push((closed.len(), Some(vec![0; header.len()])));
    // A new file that outlived the failure to create it, while the old one
    // went on.
    steps.extend((open_end..closed.len()).map(|len| (len, Some(header.clone()))));
    for (len, created) in steps {
        for number in file::numbers(dir.path()).unwrap() {
            fs::remove_file(file::path(dir.path(), number)).unwrap();
        }
        fs::write(&old, &closed[..len]).unwrap();
        if let Some(bytes) = &created {
            fs::write(&new, bytes).unwrap();
        }
        let (journal, _, found) = open(dir.path()).unwrap();
        assert_eq!(found, records(0..2), "{len} {created:?}");
        journal.append(records(2..3)).unwrap();
        journal.rotate().unwrap();
        journal.append(records(3..4)).unwrap();
        kill(journal);
        assert_eq!(
            reopen(dir.path()).unwrap(),
            (records(0..4), None),
            "{len} {created:?}"
        );
    }
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

/// A disk that can be filled and broken.
#[derive(Default)]
struct Faulty {
    /// Bytes that may still be written; what exceeds them is written in part.
    room: AtomicU64,
    sync_fails: AtomicBool,
    cut_fails: AtomicBool,
    create_fails: AtomicBool,
    /// While held, syncs wait.
    gate: Mutex<()>,
}

struct FaultyFile {
    file: Arc<dyn JournalFile>,
    disk: Arc<Faulty>,
}

#[derive(Clone)]
struct FaultyDisk(Arc<Faulty>);

impl FaultyDisk {
    fn new() -> Self {
        let disk = Self(Arc::default());
        disk.0.room.store(u64::MAX, Ordering::SeqCst);
        disk
    }

    fn wrap(&self, file: Arc<dyn JournalFile>) -> Arc<dyn JournalFile> {
        let disk = Arc::clone(&self.0);
        Arc::new(FaultyFile { file, disk })
    }

    fn open(&self, dir: &Path) -> (Journal, Vec<Bytes>) {
        let mut found = Vec::new();
        let disk = Arc::new(self.clone());
        let (journal, _) = Journal::open_on(disk, dir, |entry| found.push(entry.bytes)).unwrap();
        (journal, found)
    }
}

fn fail_if(fault: &AtomicBool) -> io::Result<()> {
    if fault.load(Ordering::SeqCst) {
        return Err(io::Error::other("a test"));
    }
    Ok(())
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>> {
        fail_if(&self.0.create_fails)?;
        Ok(self.wrap(RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>> {
        Ok(self.wrap(RealDisk.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
}

impl JournalFile for FaultyFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.disk.room.load(Ordering::SeqCst);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.file.write_all_at(&bytes[..fits], offset)?;
        self.disk.room.fetch_sub(fits as u64, Ordering::SeqCst);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        drop(self.disk.gate.lock().unwrap());
        fail_if(&self.disk.sync_fails)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fail_if(&self.disk.cut_fails)?;
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[test]
fn a_full_disk_refuses_and_then_takes_again() {
    for room in 0..120 {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new();
        let (journal, _) = disk.open(dir.path());
        journal.append(records(0..3)).unwrap();
        let len = journal.len_bytes();
        disk.0.room.store(room, Ordering::SeqCst);
        // More than 120 bytes.
        let error = journal.append(records(3..8)).unwrap_err();
        assert!(error.is_disk_full() && !error.is_corrupt());
        assert_eq!(
            (
                journal.len_bytes(),
                fs::metadata(newest(dir.path())).unwrap().len()
            ),
            (len, len)
        );
        disk.0.room.store(u64::MAX, Ordering::SeqCst);
        let at = journal.append(records(8..9)).unwrap();
        assert_eq!(journal.read(at[0]).unwrap(), record(8));
        drop(journal);
        let expected = [records(0..3), records(8..9)].concat();
        assert_eq!(reopen(dir.path()).unwrap(), (expected, None));
    }
}

#[test]
fn a_sync_that_fails_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, _) = disk.open(dir.path());
    journal.append(records(0..1)).unwrap();
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    journal.append(records(1..2)).unwrap_err();
    journal.rotate().unwrap_err();
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    journal.append(records(2..3)).unwrap();
    journal.rotate().unwrap();
    journal.append(records(3..4)).unwrap();
    drop(journal);
    let expected = [records(0..1), records(2..4)].concat();
    assert_eq!(reopen(dir.path()).unwrap(), (expected, None));
}

#[test]
fn a_rotation_that_fails_leaves_the_old_file_open() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, _) = disk.open(dir.path());
    journal.append(records(0..1)).unwrap();
    disk.0.create_fails.store(true, Ordering::SeqCst);
    journal.rotate().unwrap_err();
    journal.append(records(1..2)).unwrap();
    disk.0.create_fails.store(false, Ordering::SeqCst);
    // A file that an earlier attempt left behind is no hindrance.
    fs::write(file::path(dir.path(), FileNumber(2)), b"GWA").unwrap();
    assert_eq!(journal.rotate().unwrap(), FileNumber(1));
    journal.append(records(2..3)).unwrap();
    drop(journal);
    assert_eq!(reopen(dir.path()).unwrap(), (records(0..3), None));
}

#[test]
fn a_journal_that_cannot_cut_a_failed_write_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, _) = disk.open(dir.path());
    let at = journal.append(records(0..1)).unwrap();
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    disk.0.cut_fails.store(true, Ordering::SeqCst);
    journal.append(records(1..2)).unwrap_err();
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    disk.0.cut_fails.store(false, Ordering::SeqCst);
    let stopped = |error| matches!(error, JournalError::Stopped { .. });
    assert!(stopped(journal.append(records(2..3)).unwrap_err()));
    assert!(stopped(journal.rotate().unwrap_err()));
    assert_eq!(journal.read(at[0]).unwrap(), record(0));
    drop(journal);
    // What was never acknowledged may be there.
    let (found, _) = reopen(dir.path()).unwrap();
    assert!(found == records(0..1) || found == records(0..2));
}

#[test]
fn while_the_disk_waits_appends_share_the_next_group_and_the_queue_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, _) = disk.open(dir.path());
    let (busy, stored) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    {
        let _gate = disk.0.gate.lock().unwrap();
        for n in 0..10_000 {
            let (busy, stored) = (Arc::clone(&busy), Arc::clone(&stored));
            journal.append_then(records(n..n + 1), move |result| {
                let count = match result {
                    Ok(_) => &stored,
                    Err(JournalError::Busy) => &busy,
                    Err(error) => panic!("{error}"),
                };
                count.fetch_add(1, Ordering::SeqCst);
            });
        }
        assert!(busy.load(Ordering::SeqCst) >= 10_000 - 2 * 4_096);
        assert_eq!(stored.load(Ordering::SeqCst), 0);
    }
    drop(journal);
    let (busy, stored) = (busy.load(Ordering::SeqCst), stored.load(Ordering::SeqCst));
    assert_eq!(busy + stored, 10_000);
    let seams = fs::metadata(newest(dir.path())).unwrap().len();
    let (found, _) = reopen(dir.path()).unwrap();
    assert_eq!(found.len() as u64, stored);
    let bytes: usize = found.iter().map(|record| 8 + record.len()).sum();
    // A header, and fewer than ten groups for thousands of appends.
    assert!(seams - bytes as u64 <= 16 * 10);
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
        let sums = salvage(dir.path(), |item| match item {
            Found::Record(entry) => found.push(entry),
            Found::Damage {
                file,
                offset,
                bytes,
                ..
            } => damage.push((file.0, offset, bytes)),
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
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64),
    Rotate,
    RemoveOldest,
    Reopen,
    /// The power goes while so many records are being written: of the bytes
    /// under way some part is there, and a hole may be in it.
    Crash {
        records: u64,
        cut: prop::sample::Index,
        hole: Option<(prop::sample::Index, prop::sample::Index)>,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let crash = (
        1u64..6,
        any::<prop::sample::Index>(),
        any::<Option<(prop::sample::Index, prop::sample::Index)>>(),
    );
    let op = prop_oneof![
        4 => (0u64..6).prop_map(Op::Append),
        2 => Just(Op::Rotate),
        1 => Just(Op::RemoveOldest),
        1 => Just(Op::Reopen),
        2 => crash.prop_map(|(records, cut, hole)| Op::Crash { records, cut, hole }),
    ];
    prop::collection::vec(op, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_acknowledged_survives_every_crash(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, ..) = open(dir.path()).unwrap();
        // Records acknowledged and not removed, by file.
        let mut expected: Vec<(FileNumber, Bytes)> = Vec::new();
        let mut next = 0;
        for op in ops {
            match op {
                Op::Append(count) => {
                    let batch = records(next..next + count);
                    next += count;
                    let at = journal.append(batch.clone()).unwrap();
                    expected.extend(at.iter().map(|at| at.file).zip(batch));
                }
                Op::Rotate => {
                    let closed = journal.rotate().unwrap();
                    prop_assert!(expected.iter().all(|(file, _)| *file <= closed));
                }
                Op::RemoveOldest => {
                    let oldest = file::numbers(dir.path()).unwrap()[0];
                    journal.remove_through(oldest).unwrap();
                    if file::numbers(dir.path()).unwrap()[0] != oldest {
                        expected.retain(|(file, _)| *file != oldest);
                    }
                }
                Op::Reopen => {
                    drop(journal);
                    let (opened, recovery, found) = open(dir.path()).unwrap();
                    prop_assert_eq!(recovery.torn, None);
                    let held: Vec<_> = expected.iter().map(|(_, bytes)| bytes.clone()).collect();
                    prop_assert_eq!(found, held);
                    journal = opened;
                }
                Op::Crash { records: count, cut, hole } => {
                    let path = newest(dir.path());
                    let durable = fs::read(&path).unwrap().len();
                    let batch = records(next..next + count);
                    next += count;
                    let at = journal.append(batch.clone()).unwrap();
                    kill(journal);
                    let mut bytes = fs::read(&path).unwrap();
                    let under_way = bytes.len() - durable;
                    bytes.truncate(durable + cut.index(under_way + 1));
                    let part = bytes.len() - durable;
                    if let Some((from, len)) = hole && part > 0 {
                        let from = from.index(part);
                        let len = len.index(part - from + 1);
                        bytes[durable + from..durable + from + len].fill(0);
                    }
                    fs::write(&path, &bytes).unwrap();
                    let (opened, _, found) = open(dir.path()).unwrap();
                    let held: Vec<_> = expected.iter().map(|(_, bytes)| bytes.clone()).collect();
                    prop_assert!(found.starts_with(&held));
                    // Nothing else but the first of what was under way.
                    let extra = found.len() - held.len();
                    prop_assert_eq!(&found[held.len()..], &batch[..extra]);
                    expected.extend(at.iter().map(|at| at.file).zip(batch).take(extra));
                    journal = opened;
                }
            }
        }
    }
}
