//! Blocks in a folder of CAR files, one for each committed writer.
//!
//! Every file is a plain CARv1 that any IPFS tool imports and any web server
//! serves; its name tells what it holds. A file that is none of ours is left
//! alone. Files are written in `tmp/` and renamed when whole.
//!
//! Always true:
//! - The files decide what is held. The index says where to look; where it is
//!   wrong, the file is looked through again and the answer is the same. Where it
//!   is right and the block is damaged, nothing is looked through.
//! - A block is hashed whenever it is read; parts of one that was are given
//!   again by [`CarFolder::read_part`] to whom can tell them from others.
//! - A crash leaves a file whole or not at all; `tmp/` is emptied by the next
//!   writer.
//! - One process writes; any number read beside it, by looking through the
//!   files themselves.
//!
//! Locks, taken in this order: `view` by a reader that looks for news; `changes`
//! by whoever adds, removes or re-indexes a file; `index` for the moment of
//! fetching or swapping it.

pub mod catalogues;
mod check;
mod doubt;
mod handles;
mod listing;
mod place;
mod rename;
mod salvage;
mod temp;
mod writer;

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use self::check::{Checked, Finding};
use self::handles::Handles;
use self::listing::View;
pub use self::place::Place;
use super::car::{CarReader, Scan};
use super::{
    Block, BlockError, BlockFile, BlockSource, BlockStore, BlockWriter, Cid, Group, Reuse,
    check_cid, names,
};
use crate::durable;
use crate::index::{FileRow, Index, IndexError, Location};
use crate::time::{Clock, SystemClock, UnixSeconds};

/// Where files are written before they have a name.
const TEMP: &str = "tmp";
/// The file whose lock makes a process the writer.
const LOCK: &str = "lock";

/// A store of blocks in a folder.
pub struct CarFolder {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    /// The writer's lock; `None` where the folder is only read.
    lock: Option<File>,
    index: RwLock<Arc<Index>>,
    changes: Mutex<()>,
    handles: Handles,
    /// What a reader knows of a folder that another process changes.
    view: Mutex<View>,
}

/// Proof that `changes` is held.
struct Changing<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

impl CarFolder {
    /// Opens `dir` for writing, creates it where it is missing, removes what a
    /// crash left unfinished, and makes `index` agree with the files.
    pub fn open(dir: &Path, index: Index) -> Result<Self, BlockError> {
        Self::open_with_clock(dir, index, Arc::new(SystemClock))
    }

    /// As [`Self::open`]; files are dated by `clock`.
    pub fn open_with_clock(
        dir: &Path,
        index: Index,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BlockError> {
        durable::create_folder(dir).map_err(io_error(dir))?;
        let lock = lock(dir)?;
        temp::clear(&dir.join(TEMP))?;
        listing::sync_names(dir)?;
        let folder = Self::new(dir, index, clock, Some(lock));
        folder.amend(&folder.changing())?;
        Ok(folder)
    }

    /// Opens `dir` for reading, whoever writes to it. The places of blocks are
    /// found by one short read for each, and kept in memory.
    pub fn open_read_only(dir: &Path) -> Result<Self, BlockError> {
        fs::read_dir(dir).map_err(io_error(dir))?;
        let folder = Self::new(dir, Index::in_memory(), Arc::new(SystemClock), None);
        folder.refresh()?;
        Ok(folder)
    }

    fn new(dir: &Path, index: Index, clock: Arc<dyn Clock>, lock: Option<File>) -> Self {
        Self {
            dir: dir.into(),
            clock,
            lock,
            index: RwLock::new(Arc::new(index)),
            changes: Mutex::default(),
            handles: Handles::default(),
            view: Mutex::default(),
        }
    }

    // Nothing is guarded but the order of changes, and whatever a panic left
    // half-done between files and index is amended on the next failed look-up.
    fn changing(&self) -> Changing<'_> {
        Changing(self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn index(&self) -> Arc<Index> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&index)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where a file lies on this disk, and the root that its header names.
    pub fn locate(&self, name: &str) -> Result<(PathBuf, Cid), BlockError> {
        let path = self.path(&self.row(name)?.name);
        let file = File::open(&path).map_err(io_error(&path))?;
        let reader = CarReader::new(file).map_err(|error| car_error(&path, &error))?;
        match reader.roots() {
            [root] => Ok((path, *root)),
            roots => Err(BlockError::Corrupt {
                what: format!("{} roots in the header where one was written", roots.len()),
                path,
            }),
        }
    }

    /// Whether this process is the one that writes.
    pub fn is_writer(&self) -> bool {
        self.lock.is_some()
    }

    fn writable(&self) -> Result<(), BlockError> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(BlockError::ReadOnly {
                path: self.dir.clone(),
            }),
        }
    }

    /// Makes the index say what the folder holds. Files it knows by length and
    /// time are not looked at.
    fn amend(&self, changing: &Changing<'_>) -> Result<(), BlockError> {
        let found = listing::files(&self.dir)?;
        let before = self.index().files();
        let stale: Vec<_> = found
            .iter()
            .filter(|file| {
                let known = before.binary_search_by(|row| (*row.name).cmp(&file.name));
                known.map_or(true, |at| before[at].mark != file.mark)
            })
            .collect();
        let gone: Vec<_> = before
            .iter()
            .filter(|row| {
                found
                    .binary_search_by(|file| (*file.name).cmp(&row.name))
                    .is_err()
            })
            .collect();
        // A reader starts with nothing and follows a writer: no news in that. Nor is it
        // any that all files are new to a copy of a folder.
        let is_copy = gone.is_empty() && stale.len() == found.len();
        if self.lock.is_some() && !is_copy && !(stale.is_empty() && gone.is_empty()) {
            tracing::warn!(folder = %self.dir.display(), indexed = stale.len(), forgotten = gone.len(), "index amended from files");
        }
        for row in gone {
            self.forget(changing, &row.name, &[])?;
        }
        for file in stale {
            self.reindex(changing, &file.name)?;
        }
        Ok(())
    }

    /// Looks through one file and tells the index; forgets it where it is gone.
    fn reindex(&self, changing: &Changing<'_>, name: &str) -> Result<(), BlockError> {
        let path = self.path(name);
        // The file may have been replaced since it was opened.
        self.handles.forget(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.forget(changing, name, &[]);
            }
            other => other.map_err(io_error(&path))?,
        };
        let mut mark = listing::mark(&file.metadata().map_err(io_error(&path))?);
        let mut blocks = Vec::new();
        let mut damage = None;
        // A damaged file still serves the blocks that can be told apart.
        match Scan::new(&file) {
            Err(error) => damage = Some(error),
            Ok(scan) => {
                for entry in scan {
                    match entry {
                        Ok(entry) => blocks.push(entry),
                        Err(error) => damage = damage.or(Some(error)),
                    }
                }
            }
        }
        if let Some(damage) = damage {
            if damage.is_io() {
                // The disk may think better of it.
                mark = doubt::doubtful(mark);
            }
            tracing::warn!(file = %path.display(), %damage, "damaged file of blocks");
        }
        match self.index().put_file(name, mark, &blocks) {
            Ok(_) => Ok(()),
            Err(failure) => self.rebuild(changing, &failure),
        }
    }

    fn forget(
        &self,
        changing: &Changing<'_>,
        name: &str,
        blocks: &[Cid],
    ) -> Result<(), BlockError> {
        self.handles.forget(name);
        match self.index().forget_file(name, blocks) {
            Ok(()) => Ok(()),
            Err(failure) => self.rebuild(changing, &failure),
        }
    }

    /// Replaces an index that failed by one in memory, made from the files. The
    /// broken one is found broken, or amended, when it is opened next.
    fn rebuild(&self, changing: &Changing<'_>, failure: &IndexError) -> Result<(), BlockError> {
        tracing::warn!(folder = %self.dir.display(), %failure, "index failed, one in memory takes its place");
        let fresh = Arc::new(Index::in_memory());
        let spare = Self::new(&self.dir, Index::in_memory(), Arc::clone(&self.clock), None);
        *spare.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        spare.amend(changing)?;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Where a block lies, with the name of each file.
    fn locations(&self, cid: &Cid) -> Result<(Arc<Index>, Vec<Location>), BlockError> {
        let index = self.index();
        match index.locations(cid) {
            Ok(found) => Ok((index, found)),
            Err(failure) => {
                let changing = self.changing();
                // Another thread may have been here first.
                if Arc::ptr_eq(&index, &self.index()) {
                    self.rebuild(&changing, &failure)?;
                }
                drop(changing);
                let index = self.index();
                let found = index.locations(cid).map_err(|error| BlockError::Corrupt {
                    path: self.dir.clone(),
                    what: error.to_string(),
                })?;
                Ok((index, found))
            }
        }
    }

    /// Follows what the writing process did, where this one only reads.
    fn refresh(&self) -> Result<(), BlockError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = view.newer(&self.dir)? {
            self.amend(&self.changing())?;
            *view = newer;
        }
        Ok(())
    }

    /// Reads the block from the first place that has it.
    fn read(&self, cid: &Cid) -> Result<Read, BlockError> {
        let (index, locations) = self.locations(cid)?;
        let mut failures = Vec::new();
        for at in locations {
            let Some(name) = index.name(at.file) else {
                continue;
            };
            match self.read_at(cid, &at, &name) {
                Ok(block) => return Ok(Read::Block(block, Place::new(&name, &at))),
                Err(error) => failures.push(Failure { name, at, error }),
            }
        }
        Ok(Read::Nowhere(failures))
    }

    fn read_at(&self, cid: &Cid, at: &Location, name: &Arc<str>) -> Result<Block, BlockError> {
        let path = self.path(name);
        // The row may be wrong: its length is checked before it is believed.
        let len = at.len as usize;
        if len > super::MAX_BLOCK_READ {
            return Err(BlockError::TooLarge { cid: *cid, len });
        }
        let file = self.handles.open(name, &path).map_err(io_error(&path))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at.offset)
            .map_err(io_error(&path))?;
        Block::verify(cid, bytes)
    }

    fn about(&self, row: &FileRow) -> Option<BlockFile> {
        Some(BlockFile {
            name: row.name.to_string(),
            group: names::group_of(&row.name)?,
            blocks: row.blocks,
            bytes: row.mark.len,
            written: UnixSeconds(
                u32::try_from(row.mark.modified / 1_000_000_000).unwrap_or(u32::MAX),
            ),
        })
    }

    fn row(&self, name: &str) -> Result<FileRow, BlockError> {
        let row = self.index().file(name);
        row.ok_or_else(|| BlockError::no_file(name))
    }
}

enum Read {
    Block(Block, Place),
    /// The files that should have had it.
    Nowhere(Vec<Failure>),
}

/// A place where a block should have been.
struct Failure {
    name: Arc<str>,
    at: Location,
    /// What was there.
    error: BlockError,
}

impl BlockSource for CarFolder {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        check_cid(cid)?;
        let failures = match self.read(cid)? {
            Read::Block(block, _) => return Ok(block),
            Read::Nowhere(failures) => failures,
        };
        // The index misled, or a file is damaged, or another process wrote.
        self.refresh()?;
        for failure in &failures {
            if self.is_misled(cid, failure) {
                self.reindex(&self.changing(), &failure.name)?;
            }
        }
        match self.read(cid)? {
            Read::Block(block, _) => Ok(block),
            Read::Nowhere(failures) => match failures.into_iter().next() {
                Some(failure) => Err(failure.error),
                None => Err(BlockError::Missing { cid: *cid }),
            },
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        check_cid(cid)?;
        self.refresh()?;
        Ok(!self.locations(cid)?.1.is_empty())
    }
}

impl BlockStore for CarFolder {
    fn begin(&self, group: Group, reuse: Reuse) -> Result<Box<dyn BlockWriter + '_>, BlockError> {
        self.writable()?;
        Ok(Box::new(writer::Writer::new(self, group, reuse)?))
    }

    fn files(&self) -> Result<Vec<BlockFile>, BlockError> {
        self.refresh()?;
        let rows = self.index().files();
        Ok(rows.iter().filter_map(|row| self.about(row)).collect())
    }

    fn cids(&self, name: &str) -> Result<Vec<Cid>, BlockError> {
        self.refresh()?;
        let path = self.path(&self.row(name)?.name);
        let file = File::open(&path).map_err(io_error(&path))?;
        let scan = Scan::new(&file).map_err(|error| car_error(&path, &error))?;
        scan.map(|entry| match entry {
            Ok(entry) => Ok(entry.cid),
            Err(error) => Err(car_error(&path, &error)),
        })
        .collect()
    }

    fn remove(&self, name: &str) -> Result<(), BlockError> {
        self.writable()?;
        let changing = self.changing();
        let path = self.path(&self.row(name)?.name);
        // Its rows would lead nowhere anyway: a damaged file goes as well.
        let cids = self.cids(name).unwrap_or_default();
        fs::remove_file(&path).map_err(io_error(&path))?;
        durable::sync_folder(durable::parent_of(&path)).map_err(io_error(&path))?;
        self.forget(&changing, name, &cids)
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BlockError {
    let path = path.to_owned();
    |source| BlockError::Io { path, source }
}

fn car_error(path: &Path, error: &super::car::CarError) -> BlockError {
    BlockError::Corrupt {
        path: path.into(),
        what: error.to_string(),
    }
}

fn lock(dir: &Path) -> Result<File, BlockError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BlockError::Locked { path: dir.into() }),
        Err(TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

#[cfg(test)]
mod tests;
