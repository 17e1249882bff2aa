//! One writer for each archive.
//!
//! Always true: while the lock is held, a file [`RUN_FILE`] was written by who holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::DiskError;

/// Name of the lock file.
const LOCK: &str = "LOCK";

/// Name of the file in which who holds the lock says where it is to be asked. A process
/// that was killed leaves it behind.
pub const RUN_FILE: &str = "run.json";

/// How often the lock is asked for: who only looks whether it is held has it for a
/// moment ([`is_held_by`]).
const TRIES: u32 = 5;

/// How long such a moment may last on a machine that is busy.
const MOMENT: Duration = Duration::from_millis(10);

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
        match lock(&file) {
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
        // What it says is of somebody who is gone, whose port others may have by now.
        let left = dir.join(RUN_FILE);
        match fs::remove_file(&left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::io(&left)(error))
            }
            _ => Ok(Self { _file: file }),
        }
    }
}

fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(MOMENT),
            other => return other,
        }
    }
    file.try_lock()
}

/// Whether the process `pid` holds the archive in `dir` for writing. Nobody else is kept
/// from it by asking.
pub fn is_held_by(dir: &Path, pid: u32) -> io::Result<bool> {
    let mut file = match File::open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text.trim().parse() == Ok(pid))
        }
        Err(TryLockError::Error(error)) => Err(error),
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

    #[test]
    fn whoever_looks_is_told_who_holds_it_and_takes_it_from_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, pid) = (dir.path(), std::process::id());
        assert!(!is_held_by(dir, pid).unwrap());
        let held = Lock::take(dir).unwrap();
        assert!(is_held_by(dir, pid).unwrap());
        assert!(!is_held_by(dir, pid + 1).unwrap());
        drop(held);
        // The number is still there, and says nothing.
        assert!(!is_held_by(dir, pid).unwrap());
        assert!(Lock::take(dir).is_ok());
    }

    #[test]
    fn what_a_killed_process_said_of_itself_goes_before_the_next_one_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(RUN_FILE);
        fs::write(&left, "{}").unwrap();
        let held = Lock::take(dir.path()).unwrap();
        assert!(!left.exists());
        fs::write(&left, "{}").unwrap();
        Lock::take(dir.path()).unwrap_err();
        assert!(left.exists(), "it is of who holds the lock");
        drop(held);
    }
}
