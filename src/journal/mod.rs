//! What was acknowledged and is not sealed yet: an append-only, checksummed log.
//!
//! Always true:
//! - A record whose append succeeded is on disk (`fdatasync`, and the folder
//!   where the file is new): it outlives `kill -9` and the power.
//! - An append that failed left nothing behind that a later append would build
//!   on; it may or may not be found by the next opening.
//! - What was acknowledged is never dropped in silence: a torn tail is cut only
//!   where no later write proves that it once was whole. Anything else that is
//!   damaged stops the opening, by file and offset; a [`Salvage`] reads around it.
//! - Records are opaque; they come back in the order they were appended.
//!
//! One thread writes. Whoever appends while it waits for the disk shares the
//! next wait with everybody else who does: a group commit.
//!
//! The layout of a file is told in `record`; when to rotate and remove is the
//! seal's business.

mod error;
mod file;
mod queue;
mod record;
mod recover;
mod salvage;
mod walk;
mod writer;

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;

pub use self::error::JournalError;
use self::file::{Disk, RealDisk};
use self::queue::{Queue, Request};
pub use self::record::MAX_RECORD;
use self::record::{Format, MAX_PREFIX};
pub use self::recover::{Recovery, Torn};
pub use self::salvage::{Found, Salvage, Salvaged, salvage_bytes};
use self::writer::Shared;

/// Most bytes of one batch, framing excluded: 64 MiB. It is held in memory
/// twice while it is written.
pub const MAX_BATCH: usize = 64 << 20;

/// The file whose lock makes a process the owner of a journal. What it holds means
/// nothing.
const LOCK: &str = "lock";

/// One file of a journal; numbers rise from 1 and are never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(pub u64);

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file.
    pub file: FileNumber,
    /// Bytes from the file's start to the record's frame.
    pub offset: u64,
    /// Length of the record in bytes, its frame excluded.
    pub len: u32,
}

/// A record found when the journal was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies.
    pub location: Location,
    /// The record.
    pub bytes: Bytes,
}

/// An open journal. It may be shared by threads; dropping it writes what was
/// queued, and waits for that.
pub struct Journal {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

impl Journal {
    /// Opens or creates the journal in `dir`, and shows every record it holds
    /// to `each`, in order. A torn tail is cut and told of in [`Recovery`].
    pub fn open(dir: &Path, each: impl FnMut(Entry)) -> Result<(Self, Recovery), JournalError> {
        Self::open_on(Arc::new(RealDisk), dir, each)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        mut each: impl FnMut(Entry),
    ) -> Result<(Self, Recovery), JournalError> {
        crate::durable::create_folder(dir).map_err(|error| JournalError::io(dir, error))?;
        let lock = lock(dir)?;
        let (opened, recovery) = recover::recover(&*disk, dir, &mut each)?;
        let shared = Arc::new(Shared::new(&opened));
        let queue = Arc::new(Queue::default());
        let writer = writer::Writer::new(
            Arc::clone(&disk),
            dir.to_owned(),
            Arc::clone(&queue),
            Arc::clone(&shared),
            opened,
        );
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| JournalError::io(dir, error))?;
        let journal = Self {
            dir: dir.to_owned(),
            disk,
            queue,
            shared,
            thread: Some(thread),
            _lock: lock,
        };
        Ok((journal, recovery))
    }

    /// Appends a batch, and waits until all of it is durable. On an error none
    /// of it is acknowledged. Waits also for room in the queue.
    pub fn append(&self, batch: Vec<Bytes>) -> Result<Vec<Location>, JournalError> {
        check(&batch)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (done, outcome) = mpsc::sync_channel(1);
        let done = Box::new(move |result| {
            // The receiver waits below for as long as this exists.
            let _ = done.send(result);
        });
        self.queue.push_waiting(Request::Append { batch, done });
        // Gone unanswered: the writer died.
        outcome.recv().unwrap_or(Err(JournalError::closed()))
    }

    /// Appends a batch without waiting. `done` is called once, on the writer's
    /// thread, when all of it is durable or none of it is; it must be quick.
    /// Where the queue is full it is called at once, with
    /// [`JournalError::Busy`].
    pub fn append_then(
        &self,
        batch: Vec<Bytes>,
        done: impl FnOnce(Result<Vec<Location>, JournalError>) + Send + 'static,
    ) {
        if let Err(error) = check(&batch) {
            return done(Err(error));
        }
        if batch.is_empty() {
            return done(Ok(Vec::new()));
        }
        let done = Box::new(done);
        if let Err((Request::Append { done, .. }, error)) =
            self.queue.push(Request::Append { batch, done })
        {
            done(Err(error));
        }
    }

    /// Reads one record back, and checks it.
    pub fn read(&self, at: Location) -> Result<Bytes, JournalError> {
        let path = file::path(&self.dir, at.file);
        let (file, format) = match self.shared.opened(at.file) {
            Some(opened) => opened,
            None => {
                let file = self
                    .disk
                    .open(&path)
                    .map_err(|error| JournalError::io(&path, error))?;
                let format = walk::read_header(&*file, &path)?;
                self.shared.keep(at.file, &file, format);
                (file, format)
            }
        };
        let corrupt = |what: String| JournalError::Corrupt {
            path: path.clone(),
            offset: at.offset,
            what,
        };
        let len = at.len as usize;
        if len > MAX_RECORD {
            return Err(corrupt(format!("no record has {len} bytes")));
        }
        let mut bytes = vec![0; MAX_PREFIX + len];
        let read = walk::read_full(&*file, &mut bytes, at.offset)
            .map_err(|error| JournalError::io(&path, error))?;
        match Format::record(&format, &bytes[..read]) {
            Some(record) if record.len() == len => Ok(Bytes::from(bytes).slice(MAX_PREFIX..)),
            _ => Err(corrupt("not an intact record".to_owned())),
        }
    }

    /// Starts a new file. Everything appended before lies in the returned file
    /// or in older ones; nothing appended later does.
    pub fn rotate(&self) -> Result<FileNumber, JournalError> {
        let (done, outcome) = mpsc::sync_channel(1);
        let done = Box::new(move |result| {
            let _ = done.send(result);
        });
        self.queue.push_waiting(Request::Rotate { done });
        outcome.recv().unwrap_or(Err(JournalError::closed()))
    }

    /// Waits until all that was asked before is done, and until the disk took one
    /// byte more. Fails where nothing is taken any more ([`JournalError::Stopped`]), and
    /// where the disk refuses that byte; where it hangs, this hangs.
    pub fn pass(&self) -> Result<(), JournalError> {
        let (done, outcome) = mpsc::sync_channel(1);
        let done = Box::new(move |result| {
            let _ = done.send(result);
        });
        self.queue.push_waiting(Request::Pass { done });
        outcome.recv().unwrap_or(Err(JournalError::closed()))
    }

    /// Deletes files up to `last` and with it, oldest first; never the one being
    /// written.
    pub fn remove_through(&self, last: FileNumber) -> Result<(), JournalError> {
        let mut removed = false;
        while let Some(number) = self.shared.oldest_removable(last) {
            let path = file::path(&self.dir, number);
            match self.disk.remove(&path) {
                // Somebody else removes, too.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.map_err(|error| JournalError::io(&path, error))?,
            }
            self.shared.forget(number);
            removed = true;
        }
        if removed {
            let synced = self.disk.sync_folder(&self.dir);
            synced.map_err(|error| JournalError::io(&self.dir, error))?;
        }
        Ok(())
    }

    /// Bytes of the files up to `last` and with it, framing included.
    pub fn len_through(&self, last: FileNumber) -> u64 {
        self.shared.len_through(last)
    }

    /// Bytes of all files, framing included.
    pub fn len_bytes(&self) -> u64 {
        self.shared.len_bytes()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // It panics only on a defect, which was printed.
            let _ = thread.join();
        }
    }
}

fn check(batch: &[Bytes]) -> Result<(), JournalError> {
    let too_large = |len, most| Err(JournalError::TooLarge { len, most });
    if let Some(record) = batch.iter().find(|record| record.len() > MAX_RECORD) {
        return too_large(record.len(), MAX_RECORD);
    }
    let total = batch.iter().map(Bytes::len).sum();
    if total > MAX_BATCH {
        return too_large(total, MAX_BATCH);
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join(LOCK);
    let io = |error| JournalError::io(&path, error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { path: dir.into() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests;
