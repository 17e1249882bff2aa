//! What this disk knows of the feed: its last update, and the documents that lead on
//! from there. They are the map of what is kept, and of days that left this disk the
//! only one: a node that does not find the feed or a document just now says the same
//! as one where nothing was ever shown.
//!
//! Files below the data folder: `swarm/shown`, the owner, the number (8 bytes, big
//! endian), the signature and the payload of the update; `swarm/begun`, the owner of a
//! feed whose key was made here and which has shown nothing yet;
//! `swarm/documents/<reference>`, the documents, indexes among them.
//!
//! Always true:
//! - An update is here, with its documents, before anybody is shown it.
//! - A document is here from before it is uploaded until after it was unpinned, so that
//!   none stays pinned that nobody remembers.
//! - What is read is what its owner signed, or what its reference names.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::swarm::{Owner, Reference, Update, reference_of};

/// Bytes before the payload: owner, number, signature.
const BEFORE_PAYLOAD: usize = 20 + 8 + 65;

/// The map of one depot.
#[derive(Debug)]
pub(super) struct Map {
    shown: PathBuf,
    begun: PathBuf,
    documents: PathBuf,
}

/// An update of somebody's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) owner: Owner,
    pub(super) update: Update,
}

impl Map {
    /// The map below a data folder.
    pub(super) fn new(data: &Path) -> Self {
        let dir = data.join("swarm");
        Self {
            shown: dir.join("shown"),
            begun: dir.join("begun"),
            documents: dir.join("documents"),
        }
    }

    /// Where the last update lies.
    pub(super) fn path(&self) -> &Path {
        &self.shown
    }

    /// The last update; `None` where nothing was ever shown.
    pub(super) fn last(&self) -> io::Result<Option<Shown>> {
        let Some(bytes) = read(&self.shown)? else {
            return Ok(None);
        };
        let damaged = || io::Error::new(ErrorKind::InvalidData, "no update of a feed");
        let (before, payload) = bytes.split_at_checked(BEFORE_PAYLOAD).ok_or_else(damaged)?;
        let field = |from: usize, to: usize| before[from..to].to_vec();
        let owner = Owner(field(0, 20).try_into().expect("20 bytes"));
        let number = u64::from_be_bytes(field(20, 28).try_into().expect("8 bytes"));
        let signature = field(28, BEFORE_PAYLOAD).try_into().expect("65 bytes");
        let update = Update::verify(&owner, number, payload.to_vec(), signature);
        let update = update.map_err(|_| damaged())?;
        Ok(Some(Shown { owner, update }))
    }

    /// Notes that a feed is new: its key is about to be made.
    pub(super) fn begin(&self, owner: &Owner) -> io::Result<()> {
        durable::create_folder(durable::parent_of(&self.begun))?;
        durable::replace_file(&self.begun, &owner.0)
    }

    /// Whether a feed was begun here and has shown nothing yet. Where it is not known, a
    /// feed that is not found may be one that is only not found now.
    pub(super) fn is_new(&self, owner: &Owner) -> io::Result<bool> {
        Ok(read(&self.begun)?.is_some_and(|begun| begun == owner.0))
    }

    /// Makes an update the last one.
    pub(super) fn show(&self, owner: &Owner, update: &Update) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(BEFORE_PAYLOAD + update.payload().len());
        bytes.extend_from_slice(&owner.0);
        bytes.extend_from_slice(&update.index().to_be_bytes());
        bytes.extend_from_slice(update.signature());
        bytes.extend_from_slice(update.payload());
        durable::create_folder(durable::parent_of(&self.shown))?;
        durable::replace_file(&self.shown, &bytes)?;
        remove(&self.begun)
    }

    /// A document, where it is here and what its reference names.
    pub(super) fn document(&self, reference: &Reference) -> io::Result<Option<Vec<u8>>> {
        let bytes = read(&self.documents.join(reference.to_string()))?;
        // A damaged one is as good as none: the node is asked for it.
        Ok(bytes.filter(|bytes| reference.check(bytes).is_ok()))
    }

    /// Keeps a document.
    pub(super) fn keep(&self, document: &[u8]) -> io::Result<()> {
        let reference = reference_of(document);
        if self.document(&reference)?.is_some() {
            return Ok(());
        }
        durable::create_folder(&self.documents)?;
        durable::replace_file(&self.documents.join(reference.to_string()), document)
    }

    /// Forgets a document.
    pub(super) fn forget(&self, reference: &Reference) -> io::Result<()> {
        remove(&self.documents.join(reference.to_string()))
    }

    /// All documents.
    pub(super) fn documents(&self) -> io::Result<Vec<Reference>> {
        references_in(&self.documents)
    }
}

/// The references that name files of a folder; none where it is not there.
pub(super) fn references_in(folder: &Path) -> io::Result<Vec<Reference>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut references = Vec::new();
    for entry in entries {
        // Half-written ones have another name.
        let name = entry?.file_name().into_string().unwrap_or_default();
        references.extend(name.parse::<Reference>());
    }
    Ok(references)
}

/// Removes a file where it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file; `None` where there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;
    use crate::swarm::CHUNK;

    #[test]
    fn what_was_shown_is_read_again_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let map = Map::new(dir.path());
        assert_eq!(map.last().unwrap(), None);
        let secret = SecretKey::from_secret_bytes([7; 32]).unwrap();
        let owner = Owner::of(&secret.public_key());
        assert!(!map.is_new(&owner).unwrap());
        map.begin(&owner).unwrap();
        assert!(map.is_new(&owner).unwrap() && !map.is_new(&Owner([1; 20])).unwrap());
        for number in [0, 300] {
            let update = Update::sign(&secret, number, vec![9; CHUNK]).unwrap();
            map.show(&owner, &update).unwrap();
            assert!(!map.is_new(&owner).unwrap());
            assert_eq!(map.last().unwrap(), Some(Shown { owner, update }));
        }
        let mut bytes = fs::read(map.path()).unwrap();
        bytes[500] ^= 1;
        fs::write(map.path(), &bytes).unwrap();
        assert_eq!(map.last().unwrap_err().kind(), ErrorKind::InvalidData);
        fs::write(map.path(), &bytes[..40]).unwrap();
        assert_eq!(map.last().unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn documents_are_kept_as_long_as_they_lead_somewhere() {
        let dir = tempfile::tempdir().unwrap();
        let map = Map::new(dir.path());
        let [one, two] = [b"one", b"two"];
        assert!(map.documents().unwrap().is_empty());
        map.forget(&reference_of(two)).unwrap();
        map.keep(one).unwrap();
        map.keep(two).unwrap();
        assert_eq!(map.documents().unwrap().len(), 2);
        map.forget(&reference_of(two)).unwrap();
        assert_eq!(map.documents().unwrap(), [reference_of(one)]);
        assert_eq!(map.document(&reference_of(two)).unwrap(), None);
        assert_eq!(map.document(&reference_of(one)).unwrap().unwrap(), one);
        let path = map.documents.join(reference_of(one).to_string());
        fs::write(path, b"other").unwrap();
        assert_eq!(map.document(&reference_of(one)).unwrap(), None);
        map.keep(one).unwrap();
        assert_eq!(map.document(&reference_of(one)).unwrap().unwrap(), one);
    }
}
