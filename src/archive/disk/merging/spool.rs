//! Envelopes of others that wait on disk for the seal that takes them.
//!
//! Always true: the file has no name from its beginning, so that nothing is left
//! of it whatever happens; a record that comes back is the one that was put in.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::blocks::BlockError;
use crate::rlpx::random::random_bytes;

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Where a record lies, and its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spooled {
    offset: u64,
    len: u32,
    crc: u32,
}

/// A file of records, one after another.
pub(super) struct Spool {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    buffer: Vec<u8>,
}

impl Spool {
    /// An empty spool, whose file will lie in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        let name = format!("merge.{}.spool", hex::encode(random_bytes::<8>()));
        Self {
            path: dir.join(name),
            file: None,
            written: 0,
            buffer: Vec::new(),
        }
    }

    /// Bytes put in.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Puts a record in.
    pub(super) fn push(&mut self, record: &[u8]) -> Result<Spooled, BlockError> {
        let spooled = Spooled {
            offset: self.len(),
            len: u32::try_from(record.len()).expect("an envelope is below 4 GiB"),
            crc: crc32c::crc32c(record),
        };
        self.buffer.extend_from_slice(record);
        if self.buffer.len() >= BUFFER {
            self.write().map_err(|source| self.failed(source))?;
        }
        Ok(spooled)
    }

    /// Writes what is left; records can be read from here on.
    pub(super) fn finish(&mut self) -> Result<(), BlockError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.write().map_err(|source| self.failed(source))
    }

    fn write(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .open(&self.path)?;
            std::fs::remove_file(&self.path)?;
            self.file = Some(file);
        }
        if let Some(file) = &self.file {
            file.write_all_at(&self.buffer, self.written)?;
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn failed(&self, source: io::Error) -> BlockError {
        BlockError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// A record that was put in before the spool was finished.
    pub(super) fn read(&self, at: Spooled) -> Result<Bytes, BlockError> {
        self.read_at(at).map_err(|source| self.failed(source))
    }

    fn read_at(&self, at: Spooled) -> io::Result<Bytes> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; at.len as usize];
        file.read_exact_at(&mut bytes, at.offset)?;
        if crc32c::crc32c(&bytes) != at.crc {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(bytes.into())
    }
}
