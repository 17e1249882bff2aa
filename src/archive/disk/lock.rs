//! One writer for each archive.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::DiskError;

/// Name of the lock file.
const LOCK: &str = "LOCK";

/// Held while an archive is open for writing. The system lets go of it when the
/// process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the archive in `dir`, or says which process has it.
    pub fn take(dir: &Path) -> Result<Self, DiskError> {
        let path = dir.join(LOCK);
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = open.map_err(DiskError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Err(DiskError::Locked {
                    dir: dir.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(DiskError::Io { path, source }),
        }
        // The number is for the reader of an error; it need not be durable.
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(DiskError::io(&path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let pid = std::process::id();
        assert!(
            matches!(Lock::take(dir.path()), Err(DiskError::Locked { pid: Some(p), .. }) if p == pid)
        );
        drop(first);
        assert!(Lock::take(dir.path()).is_ok());
    }
}
