//! The disk under a journal, as little of it as a journal needs.
//!
//! It is a trait so that tests can fill the disk, tear a write or lose the
//! power at every step.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FileNumber;

/// Ending of journal files.
const SUFFIX: &str = ".journal";

/// One open file.
pub(super) trait JournalFile: Send + Sync {
    /// Reads some bytes from `offset`; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, or fails having written any part.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
}

/// A place for files.
pub(super) trait Disk: Send + Sync {
    /// Creates a file that must not exist.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>>;
    /// Opens a file that must exist.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Writes a byte that means nothing into a file that holds nothing else, and makes
    /// it durable: shows that the disk still takes writes.
    fn touch(&self, path: &Path) -> io::Result<()>;
}

/// The disk of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct RealDisk;

impl JournalFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: it includes the length where that has changed.
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        crate::durable::sync_folder(folder)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        FileExt::write_all_at(&file, b"\n", 0)?;
        file.sync_data()
    }
}

/// Where a file lies.
pub(super) fn path(dir: &Path, number: FileNumber) -> PathBuf {
    dir.join(format!("{:010}{SUFFIX}", number.0))
}

/// The files in `dir`, oldest first.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<FileNumber>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| {
            let number = FileNumber(name.strip_suffix(SUFFIX)?.parse().ok()?);
            (path(dir, number) == entry.path()).then_some(number)
        });
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}
