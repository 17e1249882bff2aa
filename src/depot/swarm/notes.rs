//! What this disk remembers of a depot on Swarm between two heads: the index that the
//! feed shows does not name yet what was kept since, and still names what was let go.
//!
//! Files below the data folder: `swarm/kept/<hash>`, the document of a folder with
//! one file; `swarm/released/<hash>`, the name of one. They go when the next head
//! is shown. `swarm/unpin/<reference>`, empty, is of a file that was released and is
//! pinned yet; it goes once it is not.
//!
//! Always true: a note that is lost or damaged costs an upload or a pin, and nothing
//! else.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::map::{references_in, remove};
use crate::durable;
use crate::keccak::keccak256;
use crate::swarm::{FileAt, Folder, Reference};

/// Longest note of what was released, bytes: a name.
const MAX_NAME: u64 = 256;

/// The notes of one depot.
#[derive(Debug)]
pub(super) struct Notes {
    kept: PathBuf,
    released: PathBuf,
    unpin: PathBuf,
}

/// What the notes say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// Names and files that were kept.
    pub(super) kept: Vec<(String, FileAt)>,
    /// Names that were released.
    pub(super) released: Vec<String>,
}

impl Notes {
    /// The notes below a data folder.
    pub(super) fn new(data: &Path) -> Self {
        let dir = data.join("swarm");
        Self {
            kept: dir.join("kept"),
            released: dir.join("released"),
            unpin: dir.join("unpin"),
        }
    }

    /// Notes a file that is kept now.
    pub(super) fn keep(&self, name: &str, file: &FileAt) -> io::Result<()> {
        let (path, last) = name.rsplit_once('/').unwrap_or(("", name));
        let mut folder = Folder::empty(path);
        folder.files.insert(last.to_owned(), file.clone());
        let document = folder.encode().map_err(io::Error::other)?;
        remove(&self.released.join(called(name)))?;
        write(&self.kept, name, &document)
    }

    /// Notes a file that is let go, and pinned at `reference` yet.
    pub(super) fn release(&self, name: &str, reference: &Reference) -> io::Result<()> {
        durable::create_folder(&self.unpin)?;
        durable::replace_file(&self.unpin.join(reference.to_string()), b"")?;
        remove(&self.kept.join(called(name)))?;
        write(&self.released, name, name.as_bytes())
    }

    /// What was released and is perhaps pinned yet.
    pub(super) fn to_unpin(&self) -> io::Result<Vec<Reference>> {
        references_in(&self.unpin)
    }

    /// Notes that a reference is pinned no more, or for something else.
    pub(super) fn unpinned(&self, reference: &Reference) -> io::Result<()> {
        remove(&self.unpin.join(reference.to_string()))
    }

    /// All there is.
    pub(super) fn read(&self) -> io::Result<Noted> {
        let mut noted = Noted::default();
        for (_, bytes) in files(&self.kept)? {
            // What is no document is as good as none.
            let Ok(folder) = Folder::decode(&bytes) else {
                continue;
            };
            let path = folder.path;
            let files = folder.files.into_iter();
            noted
                .kept
                .extend(files.map(|(last, file)| (format!("{path}/{last}"), file)));
        }
        for (_, bytes) in files(&self.released)? {
            if bytes.len() as u64 <= MAX_NAME {
                noted.released.extend(String::from_utf8(bytes));
            }
        }
        Ok(noted)
    }

    /// The files of all there is, for whoever shows it.
    pub(super) fn all(&self) -> io::Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for folder in [&self.kept, &self.released] {
            all.extend(files(folder)?.into_iter().map(|(path, _)| path));
        }
        Ok(all)
    }
}

fn called(name: &str) -> String {
    hex::encode(keccak256(name))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    durable::create_folder(folder)?;
    durable::replace_file(&folder.join(called(name)), bytes)
}

/// Forgets notes of what a head shows.
pub(super) fn forget(notes: &[PathBuf]) -> io::Result<()> {
    notes.iter().try_for_each(|note| remove(note))
}

/// The files of a folder with their bytes; none where it is not there.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // Half-written ones have another name.
        if path.extension().is_none() {
            files.push((path.clone(), fs::read(&path)?));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Block, Codec};
    use crate::swarm::Reference;

    #[test]
    fn the_last_word_on_a_file_counts_until_all_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::new(dir.path());
        assert_eq!(notes.read().unwrap(), Noted::default());
        let name = "hours/2018-09-15T13.ei66wof36n5e.car";
        let file = FileAt {
            reference: Reference([3; 32]),
            root: *Block::new(Codec::Raw, vec![3]).cid(),
            blocks: Vec::new(),
        };
        notes.keep(name, &file).unwrap();
        notes.release(name, &file.reference).unwrap();
        assert_eq!(notes.to_unpin().unwrap(), [file.reference]);
        let noted = notes.read().unwrap();
        assert_eq!((noted.kept.len(), noted.released.len()), (0, 1));
        notes.keep(name, &file).unwrap();
        let kept = Noted {
            kept: vec![(name.to_owned(), file)],
            released: Vec::new(),
        };
        assert_eq!(Notes::new(dir.path()).read().unwrap(), kept);
        // What is damaged is as good as none.
        fs::write(dir.path().join("swarm/kept/zz"), b"nonsense").unwrap();
        assert_eq!(notes.read().unwrap(), kept);
        let all = notes.all().unwrap();
        assert_eq!(all.len(), 2);
        forget(&all).unwrap();
        assert_eq!(notes.read().unwrap(), Noted::default());
        // It is pinned all the same.
        assert_eq!(notes.to_unpin().unwrap().len(), 1);
        notes.unpinned(&Reference([3; 32])).unwrap();
        assert!(notes.to_unpin().unwrap().is_empty());
    }
}
