//! Files that a user names for results.
//!
//! Always true:
//! - A file takes its name when it is whole and on the disk; until then it stands
//!   beside it, and what the name had before stays. A link keeps leading to it.
//! - What is no file, such as a pipe or a device, is written into and never
//!   replaced. So are this process's own outputs, whatever they are.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{parent_of, sync_folder};

/// Files that this process has begun and not ended.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What an interrupted process calls at its end: deletes what it has begun.
pub fn remove_unfinished() {
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in unfinished.drain(..) {
        // There is nobody left to be told; a leftover does no harm.
        let _ = fs::remove_file(path);
    }
}

/// A file on its way. Dropped before it is committed it leaves nothing behind.
#[derive(Debug)]
pub struct NamedFile {
    file: File,
    /// Where it stands until it is whole, and what it is to be called; none where
    /// it is written in place.
    names: Option<(PathBuf, PathBuf)>,
}

impl NamedFile {
    /// Begins what is to be at `path`.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let path = match fs::metadata(path) {
            Ok(found) if found.is_file() && !is_own(&found) => fs::canonicalize(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                path.to_owned()
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {
                let file = OpenOptions::new().append(true).create(true).open(path)?;
                return Ok(Self { file, names: None });
            }
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        // What a crash left behind is overwritten.
        let file = File::create(&new)?;
        unfinished.push(new.clone());
        Ok(Self {
            file,
            names: Some((new, path)),
        })
    }

    /// What to write into.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives what was written its name, durably.
    pub fn commit(mut self) -> io::Result<()> {
        let Some((new, path)) = &self.names else {
            return Ok(());
        };
        self.file.sync_all()?;
        fs::rename(new, path)?;
        forget(new);
        let folder = parent_of(path).to_owned();
        self.names = None;
        sync_folder(&folder)
    }
}

impl Drop for NamedFile {
    fn drop(&mut self) {
        if let Some((new, _)) = &self.names {
            let _ = fs::remove_file(new);
            forget(new);
        }
    }
}

fn forget(new: &Path) {
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    unfinished.retain(|path| path != new);
}

/// Whether it is what this process prints to: results may stand in it already.
fn is_own(found: &Metadata) -> bool {
    ["/dev/stdout", "/dev/stderr"].iter().any(|own| {
        fs::metadata(own).is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;

    use super::*;

    fn write(path: &Path, bytes: &[u8]) {
        let mut file = NamedFile::begin(path).unwrap();
        file.file().write_all(bytes).unwrap();
        file.commit().unwrap();
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    // One test, because an interrupt takes all that the process has begun.
    #[test]
    fn a_file_takes_its_name_when_it_is_whole_and_leaves_nothing_where_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head.car");
        write(&path, b"first");
        write(&path, b"2");
        assert_eq!(fs::read(&path).unwrap(), b"2");

        let mut begun = NamedFile::begin(&path).unwrap();
        begun.file().write_all(b"half").unwrap();
        assert_eq!(
            (names(dir.path()), &fs::read(&path).unwrap()[..]),
            (2, &b"2"[..])
        );
        drop(begun);
        assert_eq!(names(dir.path()), 1);

        let begun = NamedFile::begin(&path).unwrap();
        remove_unfinished();
        assert_eq!(names(dir.path()), 1);
        assert!(begun.commit().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"2");

        // A link is followed, and stays.
        let link = dir.path().join("link");
        symlink("head.car", &link).unwrap();
        write(&link, b"through a link");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"through a link");
        let nowhere = dir.path().join("nowhere");
        symlink("made", &nowhere).unwrap();
        write(&nowhere, b"new");
        assert_eq!(fs::read(dir.path().join("made")).unwrap(), b"new");
        assert_eq!(names(dir.path()), 4);
    }

    #[test]
    fn a_pipe_is_written_into_and_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut read = String::new();
                File::open(path).unwrap().read_to_string(&mut read).unwrap();
                read
            }
        });
        write(&path, b"through a pipe");
        assert_eq!(reader.join().unwrap(), "through a pipe");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
        assert_eq!(names(dir.path()), 1);
        // A folder is neither.
        assert!(NamedFile::begin(dir.path()).is_err());
    }
}
