//! The thread that writes: groups in, one sync for each, answers out.
//!
//! Always true:
//! - `durable` never passes what the disk has confirmed, and a group is written
//!   at `durable` only.
//! - After a failed write the file is cut back to `durable`. Where even that
//!   fails, nothing is written any more.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::file::{self, Disk, JournalFile};
use super::queue::{Appended, Queue, Request};
use super::record::{Format, HEADER, SEAM, Seam};
use super::recover::{Current, Opened, create};
use super::{FileNumber, JournalError, LOCK, Location};

/// Most bytes gathered into one group, unless one batch alone is larger: 8 MiB.
/// More would not make the disk faster, but everybody in it wait longer.
const MOST_GROUP: usize = 8 << 20;
/// Memory kept between groups: 1 MiB.
const KEPT_BUFFER: usize = 1 << 20;

/// What readers and the writer both know.
pub(super) struct Shared(Mutex<Known>);

struct Known {
    current: FileNumber,
    file: Arc<dyn JournalFile>,
    format: Format,
    /// Durable lengths of all files.
    files: BTreeMap<FileNumber, u64>,
    /// Older files opened for reading. A seal reads every record of a few
    /// files, each of them once.
    older: BTreeMap<FileNumber, (Arc<dyn JournalFile>, Format)>,
}

/// Most older files kept open.
const OLDER_KEPT: usize = 16;

impl Shared {
    pub(super) fn new(opened: &Opened) -> Self {
        Self(Mutex::new(Known {
            current: opened.current.number,
            file: Arc::clone(&opened.current.file),
            format: opened.current.format,
            files: opened.files.clone(),
            older: BTreeMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// File `number`, where it is open: the one being written or one kept.
    pub(super) fn opened(&self, number: FileNumber) -> Option<(Arc<dyn JournalFile>, Format)> {
        let known = self.lock();
        if known.current == number {
            return Some((Arc::clone(&known.file), known.format));
        }
        known.older.get(&number).cloned()
    }

    /// Keeps an older file open for the next reader, while it exists.
    pub(super) fn keep(&self, number: FileNumber, file: &Arc<dyn JournalFile>, format: Format) {
        let mut known = self.lock();
        if known.files.contains_key(&number) {
            if known.older.len() == OLDER_KEPT {
                known.older.pop_first();
            }
            known.older.insert(number, (Arc::clone(file), format));
        }
    }

    pub(super) fn oldest_removable(&self, last: FileNumber) -> Option<FileNumber> {
        let known = self.lock();
        let oldest = *known.files.keys().next()?;
        (oldest <= last && oldest < known.current).then_some(oldest)
    }

    pub(super) fn forget(&self, number: FileNumber) {
        let mut known = self.lock();
        known.files.remove(&number);
        known.older.remove(&number);
    }

    pub(super) fn len_through(&self, last: FileNumber) -> u64 {
        let known = self.lock();
        known.files.range(..=last).map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.lock().files.values().sum()
    }

    fn tell(&self, current: &Current) {
        let mut known = self.lock();
        known.files.insert(current.number, current.durable);
        if known.current != current.number {
            known.current = current.number;
            known.file = Arc::clone(&current.file);
            known.format = current.format;
        }
    }
}

/// The writer; it runs until the queue is closed and empty.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    current: Current,
    buffer: Vec<u8>,
    /// Why nothing is written any more.
    stopped: Option<JournalError>,
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        queue: Arc<Queue>,
        shared: Arc<Shared>,
        opened: Opened,
    ) -> Self {
        Self {
            disk,
            dir,
            queue,
            shared,
            current: opened.current,
            buffer: Vec::new(),
            stopped: None,
        }
    }

    pub(super) fn run(mut self) {
        while let Some(requests) = self.queue.take(MOST_GROUP) {
            let mut group = Vec::new();
            for request in requests {
                match request {
                    Request::Append { batch, done } => group.push((batch, done)),
                    Request::Rotate { done } => {
                        self.commit(std::mem::take(&mut group));
                        let rotated = self.rotate();
                        call(|| done(rotated));
                    }
                    Request::Pass { done } => {
                        self.commit(std::mem::take(&mut group));
                        let passed = self.pass();
                        call(|| done(passed));
                    }
                }
            }
            self.commit(group);
        }
        // So that a later opening can tell damage from a torn tail. Without it
        // nothing is lost.
        let _ = self.seal();
    }

    /// Whether something is still taken. A journal to which nothing comes would not
    /// meet its disk, so that this writes a byte, outside of all records.
    fn pass(&self) -> Result<(), JournalError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let path = self.dir.join(LOCK);
        let touched = self.disk.touch(&path);
        touched.map_err(|error| JournalError::io(&path, error))
    }

    /// Writes a group, waits for the disk, and answers everybody in it.
    fn commit(&mut self, group: Vec<(Vec<Bytes>, Appended)>) {
        if group.is_empty() {
            return;
        }
        let mut answers = Vec::with_capacity(group.len());
        self.begin(Seam::Open);
        for (batch, done) in group {
            let locations: Vec<_> = batch.iter().map(|record| self.put(record)).collect();
            answers.push((locations, done));
        }
        let outcome = self.write(false);
        for (locations, done) in answers {
            let answer = outcome.clone().map(|()| locations);
            call(|| done(answer));
        }
    }

    fn begin(&mut self, seam: Seam) {
        self.buffer.clear();
        self.current
            .format
            .put_seam(&mut self.buffer, seam, self.current.durable);
    }

    fn put(&mut self, record: &Bytes) -> Location {
        let offset = self.current.durable + self.buffer.len() as u64;
        let len = self.current.format.put_record(&mut self.buffer, record);
        Location {
            file: self.current.number,
            offset,
            len,
        }
    }

    /// Makes the buffer durable behind what is; `sealed` where it ends with a
    /// seam.
    fn write(&mut self, sealed: bool) -> Result<(), JournalError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let current = &mut self.current;
        let written = current
            .file
            .write_all_at(&self.buffer, current.durable)
            .and_then(|()| current.file.sync());
        if let Err(error) = written {
            return Err(self.take_back(error));
        }
        current.durable += self.buffer.len() as u64;
        current.sealed = sealed;
        self.shared.tell(current);
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Cuts off a write that failed. A sync that failed counts as one: the
    /// system may have dropped the pages, and would not say so again.
    fn take_back(&mut self, error: io::Error) -> JournalError {
        let path = file::path(&self.dir, self.current.number);
        let error = JournalError::io(&path, error);
        tracing::warn!(%error, "journal: append failed");
        self.cut(&error);
        error
    }

    /// Cuts the file back to what is durable, and gives up where that fails.
    fn cut(&mut self, after: &JournalError) {
        if let Err(second) = self.current.file.set_len(self.current.durable) {
            let because = format!("{after}; then the failed write could not be cut off: {second}");
            tracing::error!(%because, "journal: stopped");
            self.stopped = Some(JournalError::Stopped { because });
        }
    }

    /// Ends what was written with a seam: from now on any damage to it shows.
    fn seal(&mut self) -> Result<(), JournalError> {
        if self.current.sealed {
            return Ok(());
        }
        self.begin(Seam::Open);
        self.write(true)
    }

    fn rotate(&mut self) -> Result<FileNumber, JournalError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let closed = self.current.number;
        if self.current.durable == HEADER as u64 {
            // Nothing was written here yet: it is the new file.
            return Ok(FileNumber(closed.0 - 1));
        }
        self.begin(Seam::End);
        self.write(true)?;
        let next = FileNumber(closed.0 + 1);
        // An earlier attempt may have left it behind.
        let _ = self.disk.remove(&file::path(&self.dir, next));
        match create(&*self.disk, &self.dir, next) {
            Ok(current) => {
                self.current = current;
                self.shared.tell(&self.current);
                Ok(closed)
            }
            Err(error) => {
                // The file goes on, and nothing may follow its end.
                self.current.durable -= SEAM as u64;
                self.current.sealed = false;
                self.shared.tell(&self.current);
                self.cut(&error);
                Err(error)
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Also when the thread panics: nobody must wait for it any more.
        self.queue.abandon();
    }
}

/// Runs a caller's function, whose panic is not the journal's.
fn call(done: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(done)).is_err() {
        tracing::error!("journal: a completion callback panicked");
    }
}
