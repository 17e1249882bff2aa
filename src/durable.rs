//! What survives a power cut: files and the folders that name them.
//!
//! Always true:
//! - A new name is durable only once its folder is synced: syncing the file
//!   alone keeps the bytes, not the way to them.
//! - [`replace_file`] leaves the old contents or the new, whole, whenever the
//!   power goes.

mod named;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use self::named::{NamedFile, remove_unfinished};

/// Syncs a folder, and with it the names it holds.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates `folder` and what is missing above it, each durably named.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = parent_of(folder);
    create_folder(parent)?;
    match fs::create_dir(folder) {
        // Another thread was first; sync all the same, it may not have yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    sync_folder(parent).inspect_err(|_| {
        // Whoever finds it takes it for durably named.
        let _ = fs::remove_dir(folder);
    })
}

/// Makes `bytes` the whole contents of `path`. Meant for small files: head
/// pointers, counters, keys. One writer at a time for each path.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file_with(path, |file| file.write_all(bytes))
}

/// Readable by its owner alone.
const PRIVATE: u32 = 0o600;

/// As [`replace_file`], for secrets: from its first byte on the file is its owner's
/// alone, whoever may read what a crash left beside it.
pub fn replace_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(PRIVATE);
    replace_through(path, &new, &options, |file| file.write_all(bytes))
}

/// Makes what `write` writes the whole contents of `path`, of any length; where it
/// fails, `path` keeps what it had. Files that a user names are a [`NamedFile`].
pub fn replace_file_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // What a crash left behind is overwritten.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    replace_through(path, &beside(path), &options, write)
}

/// Where the contents of `path` stand until they are whole.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn replace_through(
    path: &Path,
    new: &Path,
    options: &OpenOptions,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let written = (|| {
        let mut file = options.open(new)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(new, path)
    })();
    if let Err(error) = written {
        // The error told is the first one; a leftover does no harm.
        let _ = fs::remove_file(new);
        return Err(error);
    }
    sync_folder(parent_of(path))
}

/// The folder that names `path`.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_down_to_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_folder(&deep).unwrap();
        create_folder(&deep).unwrap();
        assert!(deep.is_dir());
        fs::write(dir.path().join("file"), b"").unwrap();
        assert!(create_folder(&dir.path().join("file")).is_err());
        assert!(create_folder(&dir.path().join("file/below")).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        fs::write(dir.path().join("head.new"), b"left by a crash, and longer").unwrap();
        for contents in [&b"first"[..], b"2", b""] {
            replace_file(&path, contents).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replacement_that_fails_keeps_the_old_contents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        replace_file(&path, b"old").unwrap();
        fs::create_dir(dir.path().join("head.new")).unwrap();
        assert!(replace_file(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
