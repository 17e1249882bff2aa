//! What this disk knows of the feed: its last update, and the documents that lead on
//! from there. They are the map of what is kept, and of days that left this disk the
//! only one: a node that does not find the feed or a document just now says the same
//! as one where nothing was ever shown.
//!
//! Files below the data folder: `swarm/shown`, the owner, the number (8 bytes, big
//! endian), the signature and the payload of the update; `swarm/documents/<reference>`,
//! the documents.
//!
//! Always true:
//! - An update is here, with its documents, before anybody is shown it.
//! - What is read is what its owner signed, or what its reference names.

use std::collections::HashSet;
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

    /// Makes an update the last one.
    pub(super) fn show(&self, owner: &Owner, update: &Update) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(BEFORE_PAYLOAD + update.payload().len());
        bytes.extend_from_slice(&owner.0);
        bytes.extend_from_slice(&update.index().to_be_bytes());
        bytes.extend_from_slice(update.signature());
        bytes.extend_from_slice(update.payload());
        durable::create_folder(durable::parent_of(&self.shown))?;
        durable::replace_file(&self.shown, &bytes)
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

    /// Forgets all documents but `those`.
    pub(super) fn keep_only(&self, those: &HashSet<Reference>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.documents) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let is_one = |reference: Reference| those.contains(&reference);
            if !name.parse().is_ok_and(is_one) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
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
        for number in [0, 300] {
            let update = Update::sign(&secret, number, vec![9; CHUNK]).unwrap();
            map.show(&owner, &update).unwrap();
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
        map.keep_only(&HashSet::new()).unwrap();
        map.keep(one).unwrap();
        map.keep(two).unwrap();
        map.keep_only(&HashSet::from([reference_of(one)])).unwrap();
        assert_eq!(map.document(&reference_of(two)).unwrap(), None);
        assert_eq!(map.document(&reference_of(one)).unwrap().unwrap(), one);
        let path = map.documents.join(reference_of(one).to_string());
        fs::write(path, b"other").unwrap();
        assert_eq!(map.document(&reference_of(one)).unwrap(), None);
        map.keep(one).unwrap();
        assert_eq!(map.document(&reference_of(one)).unwrap().unwrap(), one);
    }
}
