//! Which files of days are no longer on this disk because a depot keeps them.
//!
//! Always true:
//! - What was evicted is said here durably before its file goes, and is no longer
//!   said only after the day was dropped for good. Where both the file and the note
//!   are there, as after a crash, the file is read.
//! - What is said here decides what a depot is asked for: a block that was never
//!   evicted is not looked for elsewhere on anybody's word.
//!
//! Files: `evicted/<file>.json`, one for each file that went. A note that cannot be
//! read stands for every block there is: the depot is asked.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use super::DiskError;
use super::origin::{Kind, Origin};
use crate::blocks::{BlockFile, Cid, digest_of, group_of};
use crate::durable;
use crate::time::UnixSeconds;

/// Name of the folder.
const FOLDER: &str = "evicted";

/// Ending of a note.
const ENDING: &str = ".json";

/// Bytes of a block's digest that a note keeps: two blocks of one archive do not
/// meet in them, and memory holds 8 bytes for each 32 KiB that were evicted.
const FRAGMENT: usize = 8;

/// What a note says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// The depot that keeps it.
    store: String,
    /// The name of the file.
    name: String,
    root: Cid,
    blocks: u64,
    bytes: u64,
    written: u32,
    /// The first eight bytes of each block's digest, in order, in hex.
    digests: String,
}

/// A file that was evicted.
#[derive(Debug)]
pub(super) struct EvictedFile {
    pub(super) file: BlockFile,
    root: Cid,
    /// The depot that keeps it.
    pub(super) store: String,
    fragments: Vec<u64>,
}

impl EvictedFile {
    /// The root of the file.
    pub(super) fn root(&self) -> &Cid {
        &self.root
    }
}

/// The files that were evicted from one disk.
#[derive(Debug)]
pub(super) struct Evicted {
    /// The folder; `None` where nothing is ever evicted.
    dir: Option<PathBuf>,
    notes: RwLock<Notes>,
    /// The store that keeps all there is: that of a replica.
    all_at: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Notes {
    /// By the name of the note.
    files: BTreeMap<String, Arc<EvictedFile>>,
    /// Notes that cannot be read.
    unread: Vec<String>,
    /// Names of files whose blocks are missing for now, whatever was said of them.
    passed_over: HashSet<String>,
}

impl Notes {
    /// The files that count.
    fn counted(&self) -> impl Iterator<Item = &Arc<EvictedFile>> {
        let files = self.files.values();
        files.filter(|file| !self.passed_over.contains(&file.file.name))
    }
}

impl Evicted {
    /// Of a folder from which nothing is evicted.
    pub(super) fn none() -> Self {
        Self {
            dir: None,
            notes: RwLock::default(),
            all_at: OnceLock::new(),
        }
    }

    /// What was evicted from the archive in `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, DiskError> {
        let evicted = Self {
            dir: Some(dir.join(FOLDER)),
            notes: RwLock::default(),
            all_at: OnceLock::new(),
        };
        let origin = Origin::read(dir)?.filter(|origin| origin.kind == Kind::Replica);
        if let Some(store) = origin.and_then(|origin| origin.sources.into_iter().next()) {
            evicted.rest_at(&store);
        }
        evicted.refresh()?;
        Ok(evicted)
    }

    fn notes(&self) -> RwLockReadGuard<'_, Notes> {
        self.notes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Notes> {
        self.notes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks what another process evicted since the last look; whether anything
    /// changed.
    pub(super) fn refresh(&self) -> Result<bool, DiskError> {
        let Some(dir) = &self.dir else {
            return Ok(false);
        };
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(DiskError::io(dir))?,
        };
        let mut there = Vec::new();
        for entry in entries {
            let name = entry.map_err(DiskError::io(dir))?.file_name();
            let name = name.to_str().filter(|name| name.ends_with(ENDING));
            there.extend(name.map(str::to_owned));
        }
        let mut notes = self.change();
        let before = (notes.files.len(), notes.unread.len());
        notes.files.retain(|note, _| there.contains(note));
        let mut changed = notes.files.len() != before.0;
        notes.unread.clear();
        for note in there {
            if notes.files.contains_key(&note) {
                continue;
            }
            match read(&dir.join(&note)) {
                Ok(Some(file)) => {
                    notes.files.insert(note, Arc::new(file));
                    changed = true;
                }
                // It went while it was looked for.
                Ok(None) => {}
                Err(what) => {
                    tracing::warn!(note, what, "which blocks were evicted cannot be read");
                    notes.unread.push(note);
                }
            }
        }
        Ok(changed || notes.unread.len() != before.1)
    }

    /// All blocks are kept by `store`, and none is here.
    pub(super) fn rest_at(&self, store: &str) {
        // A replica is of one store for as long as it is open.
        let _ = self.all_at.set(store.to_owned());
    }

    /// The store that keeps all there is, where that is none of this disk's.
    pub(super) fn all_at(&self) -> Option<&str> {
        self.all_at.get().map(String::as_str)
    }

    /// Whether nothing was evicted.
    pub(super) fn is_empty(&self) -> bool {
        let notes = self.notes();
        self.all_at().is_none() && notes.files.is_empty() && notes.unread.is_empty()
    }

    /// Whether a block lay in a file that was evicted.
    pub(super) fn may_hold(&self, cid: &Cid) -> bool {
        if self.all_at().is_some() {
            return true;
        }
        let Some(fragment) = fragment_of(cid) else {
            return false;
        };
        let notes = self.notes();
        let holds = |file: &Arc<EvictedFile>| file.fragments.binary_search(&fragment).is_ok();
        !notes.unread.is_empty() || notes.counted().any(holds)
    }

    /// Whether a file under this root was evicted, and with it all that it leads to.
    pub(super) fn has_root(&self, root: &Cid) -> bool {
        self.notes().counted().any(|file| file.root == *root)
    }

    /// From now on the blocks of these files, by their names, count as missing, so that
    /// they are fetched again; their notes stay. No others do.
    pub(super) fn pass_over(&self, names: HashSet<String>) {
        self.change().passed_over = names;
    }

    /// The files, in order of name.
    pub(super) fn files(&self) -> Vec<Arc<EvictedFile>> {
        self.notes().files.values().cloned().collect()
    }

    /// The depot that keeps a block that was evicted.
    pub(super) fn store_of(&self, cid: &Cid) -> Option<String> {
        if let Some(store) = self.all_at() {
            return Some(store.to_owned());
        }
        let fragment = fragment_of(cid)?;
        let notes = self.notes();
        let mut files = notes.files.values();
        let file = files.find(|file| file.fragments.binary_search(&fragment).is_ok())?;
        Some(file.store.clone())
    }

    /// Says durably that a file is kept by `store` and goes from here.
    pub(super) fn say(
        &self,
        file: &BlockFile,
        root: &Cid,
        cids: &[Cid],
        store: &str,
    ) -> Result<(), DiskError> {
        let dir = self.dir.as_deref().expect("only what is written evicts");
        let mut fragments: Vec<u64> = cids.iter().filter_map(fragment_of).collect();
        fragments.sort_unstable();
        fragments.dedup();
        let digests = fragments.iter().map(|fragment| fragment.to_be_bytes());
        let said = Said {
            store: store.to_owned(),
            name: file.name.clone(),
            root: *root,
            blocks: file.blocks,
            bytes: file.bytes,
            written: file.written.0,
            digests: hex::encode(digests.collect::<Vec<_>>().concat()),
        };
        let mut text = serde_json::to_vec(&said).expect("texts and numbers are JSON");
        text.push(b'\n');
        durable::create_folder(dir).map_err(DiskError::io(dir))?;
        let note = note_of(&file.name);
        let path = dir.join(&note);
        durable::replace_file(&path, &text).map_err(DiskError::io(&path))?;
        let file = EvictedFile {
            file: file.clone(),
            root: *root,
            store: store.to_owned(),
            fragments,
        };
        self.change().files.insert(note, Arc::new(file));
        Ok(())
    }

    /// Takes back what was said of a file: it is nobody's any more.
    pub(super) fn forget(&self, name: &str) -> Result<(), DiskError> {
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        let note = note_of(name);
        let path = dir.join(&note);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => {
                other.map_err(DiskError::io(&path))?;
                durable::sync_folder(dir).map_err(DiskError::io(dir))?;
            }
        }
        self.change().files.remove(&note);
        Ok(())
    }
}

/// A file that was evicted, and the store that keeps it, as its user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvictedTo {
    /// The name of the file.
    pub name: String,
    /// The store.
    pub store: String,
}

/// The files that were evicted from the archive in `dir`, but for those the last part of
/// whose name is known: their notes are not even read. One that cannot be read is left
/// out, and whoever opens the archive is told of it.
pub fn evicted_beside(dir: &Path, is_known: impl Fn(&str) -> bool) -> io::Result<Vec<EvictedTo>> {
    let dir = dir.join(FOLDER);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut beside = Vec::new();
    for entry in entries {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let last = name.strip_suffix(ENDING);
        if last.is_some_and(|last| !is_known(last))
            && let Ok(Some(evicted)) = read(&dir.join(&name))
        {
            beside.push(EvictedTo {
                name: evicted.file.name,
                store: evicted.store,
            });
        }
    }
    Ok(beside)
}

/// The note of a file: names of days differ in their last part.
fn note_of(name: &str) -> String {
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    format!("{last}{ENDING}")
}

fn fragment_of(cid: &Cid) -> Option<u64> {
    let digest = digest_of(cid).ok()?;
    let (first, _) = digest.split_first_chunk::<FRAGMENT>()?;
    Some(u64::from_be_bytes(*first))
}

/// Reads a note; `None` where it is gone.
fn read(path: &Path) -> Result<Option<EvictedFile>, String> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| error.to_string())?,
    };
    let said: Said = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let group = group_of(&said.name).ok_or("it names no file of blocks")?;
    let digests = hex::decode(&said.digests).map_err(|error| error.to_string())?;
    let (digests, rest) = digests.as_chunks::<FRAGMENT>();
    let fragments: Vec<u64> = digests.iter().map(|d| u64::from_be_bytes(*d)).collect();
    if !rest.is_empty() || !fragments.is_sorted() {
        return Err("its digests are not in order".to_owned());
    }
    Ok(Some(EvictedFile {
        file: BlockFile {
            name: said.name,
            group,
            blocks: said.blocks,
            bytes: said.bytes,
            written: UnixSeconds(said.written),
        },
        root: said.root,
        store: said.store,
        fragments,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Block, Codec, Group};

    fn block(n: u8) -> Block {
        Block::new(Codec::Raw, vec![n; 9])
    }

    fn file(name: &str) -> BlockFile {
        BlockFile {
            name: name.to_owned(),
            group: group_of(name).unwrap(),
            blocks: 2,
            bytes: 300,
            written: UnixSeconds(7),
        }
    }

    const NAME: &str = "days/2018/2018-09-15.ei66wof36n5e.car";

    #[test]
    fn what_was_evicted_is_known_after_a_restart_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let evicted = Evicted::open(dir.path()).unwrap();
        assert!(evicted.is_empty());
        let cids = [1, 2].map(|n| *block(n).cid());
        evicted.say(&file(NAME), &cids[0], &cids, "s3").unwrap();
        for evicted in [&evicted, &Evicted::open(dir.path()).unwrap()] {
            assert!(cids.iter().all(|cid| evicted.may_hold(cid)));
            assert!(!evicted.may_hold(block(3).cid()));
            assert!(evicted.has_root(&cids[0]) && !evicted.has_root(&cids[1]));
            assert_eq!(evicted.store_of(&cids[1]).as_deref(), Some("s3"));
            assert_eq!(evicted.files()[0].file, file(NAME));
            assert_eq!(evicted.files()[0].file.group, Group::Day(17_789));
        }
        let last = NAME.rsplit_once('/').unwrap().1;
        let beside = |known: &str| evicted_beside(dir.path(), |name| name == known).unwrap();
        let (name, store) = (NAME.to_owned(), "s3".to_owned());
        assert_eq!(beside("another"), [EvictedTo { name, store }]);
        assert!(beside(last).is_empty());
        let reader = Evicted::open(dir.path()).unwrap();
        evicted.forget(NAME).unwrap();
        assert!(beside("another").is_empty());
        assert!(evicted.is_empty());
        assert!(reader.refresh().unwrap() && reader.is_empty());
    }

    #[test]
    fn a_note_that_cannot_be_read_stands_for_every_block() {
        let dir = tempfile::tempdir().unwrap();
        let evicted = Evicted::open(dir.path()).unwrap();
        let cids = [*block(1).cid()];
        evicted.say(&file(NAME), &cids[0], &cids, "s3").unwrap();
        let path = dir.path().join(FOLDER).join(note_of(NAME));
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        let evicted = Evicted::open(dir.path()).unwrap();
        assert!(!evicted.is_empty() && evicted.may_hold(block(9).cid()));
        fs::write(&path, text).unwrap();
        assert!(evicted.refresh().unwrap());
        assert!(evicted.may_hold(&cids[0]) && !evicted.may_hold(block(9).cid()));
    }
}
