//! A disk that is full, or fails.

use std::io;
use std::sync::Mutex;

use super::super::file::JournalFile;
use super::*;

/// A disk that can be filled and broken.
#[derive(Default)]
struct Faulty {
    /// Bytes that may still be written; what exceeds them is written in part.
    room: AtomicU64,
    sync_fails: AtomicBool,
    cut_fails: AtomicBool,
    create_fails: AtomicBool,
    /// How often a folder was synced.
    names_synced: AtomicU64,
    /// How often a write was tried that means nothing.
    touched: AtomicU64,
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
        self.0.names_synced.fetch_add(1, Ordering::SeqCst);
        RealDisk.sync_folder(folder)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        self.0.touched.fetch_add(1, Ordering::SeqCst);
        drop(self.0.gate.lock().unwrap());
        fail_if(&self.0.sync_fails)?;
        RealDisk.touch(path)
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
    assert!(stopped(journal.pass().unwrap_err()));
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
fn a_file_that_a_killed_process_made_is_durably_named_before_it_is_built_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    drop(disk.open(dir.path()));
    let before = disk.0.names_synced.load(Ordering::SeqCst);
    // Nothing tells an opening whether the file it finds was synced by name.
    let (journal, _) = disk.open(dir.path());
    assert!(disk.0.names_synced.load(Ordering::SeqCst) > before);
    journal.append(records(0..1)).unwrap();
}

#[test]
fn whoever_asks_whether_the_journal_moves_waits_while_the_disk_does() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, _) = disk.open(dir.path());
    journal.pass().unwrap();
    let stored = Arc::new(AtomicU64::new(0));
    std::thread::scope(|threads| {
        let gate = disk.0.gate.lock().unwrap();
        let count = Arc::clone(&stored);
        journal.append_then(records(0..1), move |result| {
            result.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        });
        let passing = threads.spawn(|| {
            journal.pass().unwrap();
            stored.load(Ordering::SeqCst)
        });
        drop(gate);
        // It came after the append, and so it is answered after it.
        assert_eq!(passing.join().unwrap(), 1);
    });
}

#[test]
fn whether_an_idle_journal_moves_is_told_by_the_disk_and_not_by_memory() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, _) = disk.open(dir.path());
    journal.append(records(0..1)).unwrap();
    let (len, passed) = (journal.len_bytes(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let gate = disk.0.gate.lock().unwrap();
        let passing = threads.spawn(|| {
            journal.pass().unwrap();
            passed.store(true, Ordering::SeqCst);
        });
        while disk.0.touched.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        // Nothing waits, and the disk hangs all the same.
        assert!(!passed.load(Ordering::SeqCst));
        drop(gate);
        passing.join().unwrap();
    });
    disk.0.sync_fails.store(true, Ordering::SeqCst);
    let refused = journal.pass().unwrap_err();
    assert!(!refused.is_stopped(), "{refused}");
    disk.0.sync_fails.store(false, Ordering::SeqCst);
    journal.pass().unwrap();
    // Not a byte of it is in the records.
    assert_eq!(journal.len_bytes(), len);
    drop(journal);
    assert_eq!(reopen(dir.path()).unwrap(), (records(0..1), None));
}
