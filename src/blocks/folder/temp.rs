//! A file without a name yet.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BlockError, io_error};
use crate::durable;

/// Bytes gathered before they are written: 256 KiB, a few leaves.
const BUFFER: usize = 256 << 10;

/// Removes what writers of the past left behind.
pub(super) fn clear(dir: &Path) -> Result<(), BlockError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.map_err(io_error(dir))?,
    }
    fs::create_dir(dir).map_err(io_error(dir))
}

/// A file in the folder of unfinished ones; removed unless it is renamed. What
/// was written can be read back at once, flushed or not.
#[derive(Debug)]
pub(super) struct TempFile {
    file: File,
    path: PathBuf,
    /// Bytes in the file; those of `tail` follow.
    flushed: u64,
    tail: Vec<u8>,
    kept: bool,
}

impl TempFile {
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{}-{number}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self {
            file,
            path,
            flushed: 0,
            tail: Vec::new(),
            kept: false,
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `bytes` from `offset`.
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        // A write is flushed whole or gathered whole, and so a block lies on
        // one side only; its prefix is never read back.
        let Some(at) = offset.checked_sub(self.flushed) else {
            return self.file.read_exact_at(bytes, offset);
        };
        let held = usize::try_from(at)
            .ok()
            .and_then(|at| self.tail.get(at..at + bytes.len()));
        bytes.copy_from_slice(held.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Gives the file its name. Both must lie in one file system; the new
    /// folder is synced, so that the name lasts.
    pub(super) fn rename(&mut self, to: &Path) -> io::Result<()> {
        durable::create_folder(durable::parent_of(to))?;
        fs::rename(&self.path, to)?;
        self.kept = true;
        durable::sync_folder(durable::parent_of(to))
    }
}

impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tail.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        self.tail.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Written at a fixed place: after a failure the same bytes go to the
        // same place again.
        self.file.write_all_at(&self.tail, self.flushed)?;
        self.flushed += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed by the next writer.
            let _ = fs::remove_file(&self.path);
        }
    }
}
