//! The heads an archive has signed, and which one is current.
//!
//! Always true:
//! - Each head is a file of its own, durable before the pointer names it.
//! - No two files have one sequence number: the next number is above every file's,
//!   and only the holder of the archive's lock writes.
//! - The current head is the one with the highest number. A crash between
//!   storing a head and swapping the pointer is finished by opening again; so is
//!   one while a head takes the place of others.
//! - Looking for a head by its CID lists the folder only where the head was not
//!   there at the last look: a walk along a lineage lists it once.
//!
//! Files: `heads/0000000042.<cid>.head`, the head's block; `HEAD`, the current
//! head's number and CID as text.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::DiskError;
use crate::archive::ArchiveError;
use crate::archive::head::{Head, Sequence};
use crate::blocks::{Block, BlockError, BlockSource, Cid, digest_of};
use crate::durable;

/// Name of the pointer.
const POINTER: &str = "HEAD";
/// Name of the folder.
const FOLDER: &str = "heads";
/// Ending of the files of heads that another took the place of.
const ASIDE: &str = ".aside";
/// Ending of the file of a head that is to take the place of others.
const CHOSEN: &str = ".chosen";

/// The heads in an archive's folder.
#[derive(Debug)]
pub struct Heads {
    dir: PathBuf,
    /// Numbers of the heads there were at the last look, by the digest of their
    /// CID: 40 bytes for each of the 100,000 heads of a year.
    seen: Mutex<HashMap<[u8; 32], Sequence>>,
}

impl Heads {
    /// The heads of the archive in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            seen: Mutex::default(),
        }
    }

    /// Makes the names of all heads durable: who stored the last one may have
    /// been stopped before its name was.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        let folder = self.dir.join(FOLDER);
        match durable::sync_folder(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(DiskError::io(&folder)),
        }
    }

    /// The head with the highest number, as the files say; `None` where none
    /// was signed yet.
    pub fn current(&self) -> Result<Option<Head>, DiskError> {
        let latest = self.names()?.into_iter().max_by_key(|name| name.sequence);
        latest.map(|name| self.read(&name)).transpose()
    }

    /// Swaps the pointer to `head`, where it is not there already.
    pub fn point_to(&self, head: &Head) -> Result<(), DiskError> {
        let path = self.dir.join(POINTER);
        let text = format!("{} {}\n", head.body().sequence, head.cid());
        if fs::read_to_string(&path).is_ok_and(|now| now == text) {
            return Ok(());
        }
        durable::replace_file(&path, text.as_bytes()).map_err(DiskError::io(&path))
    }

    /// Stores a head durably, under a number no other head has.
    pub fn store(&self, head: &Head) -> Result<(), DiskError> {
        let folder = self.dir.join(FOLDER);
        durable::create_folder(&folder).map_err(DiskError::io(&folder))?;
        let sequence = head.body().sequence;
        let taken = self.names()?.iter().any(|name| name.sequence >= sequence);
        assert!(
            !taken,
            "BUG: head {sequence} would not be above every head before"
        );
        let path = folder.join(HeadName::spell(sequence, head.cid()));
        durable::replace_file(&path, head.block().bytes()).map_err(DiskError::io(&path))
    }

    /// Stores heads that come before the current one, those that are not there yet.
    /// None of them becomes the current one.
    pub fn store_before_current(&self, heads: &[Head]) -> Result<(), DiskError> {
        let folder = self.dir.join(FOLDER);
        let names = self.names()?;
        let current = names.iter().map(|name| name.sequence).max();
        for head in heads {
            let sequence = head.body().sequence;
            let is_there = |name: &HeadName| name.sequence == sequence;
            if Some(sequence) < current && !names.iter().any(is_there) {
                let path = folder.join(HeadName::spell(sequence, head.cid()));
                durable::replace_file(&path, head.block().bytes()).map_err(DiskError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Stores a head in the place of all from its number on. Their files stay,
    /// under names that say so. What a crash cuts off, [`Self::finish_replacing`]
    /// goes on with.
    pub(super) fn replace_from(&self, head: &Head) -> Result<(), DiskError> {
        // Two would not tell which is the later one.
        self.finish_replacing()?;
        let folder = self.dir.join(FOLDER);
        durable::create_folder(&folder).map_err(DiskError::io(&folder))?;
        let name = HeadName::spell(head.body().sequence, head.cid());
        let path = folder.join(format!("{name}{CHOSEN}"));
        durable::replace_file(&path, head.block().bytes()).map_err(DiskError::io(&path))?;
        self.finish_replacing().map(drop)
    }

    /// Finishes what [`Self::replace_from`] began; whether there was anything.
    pub(super) fn finish_replacing(&self) -> Result<bool, DiskError> {
        let folder = self.dir.join(FOLDER);
        let files = self.listed()?;
        let chosen = files.iter().filter_map(|file| file.strip_suffix(CHOSEN));
        let Some(chosen) = chosen.filter_map(HeadName::parse).next() else {
            return Ok(false);
        };
        self.set_aside(chosen.sequence)?;
        let path = folder.join(format!("{}{CHOSEN}", chosen.file));
        fs::rename(&path, folder.join(&chosen.file)).map_err(DiskError::io(&path))?;
        durable::sync_folder(&folder).map_err(DiskError::io(&folder))?;
        Ok(true)
    }

    /// Takes the heads from this number on out of the lineage.
    fn set_aside(&self, from: Sequence) -> Result<(), DiskError> {
        let folder = self.dir.join(FOLDER);
        for name in self
            .names()?
            .into_iter()
            .filter(|name| name.sequence >= from)
        {
            let path = folder.join(&name.file);
            let aside = folder.join(format!("{}{ASIDE}", name.file));
            fs::rename(&path, &aside).map_err(DiskError::io(&path))?;
        }
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        durable::sync_folder(&folder).map_err(DiskError::io(&folder))
    }

    /// The head before the one with this number, and so on: the archive's own
    /// lineage, newest first.
    pub fn lineage(&self) -> Result<impl Iterator<Item = Result<Head, DiskError>> + '_, DiskError> {
        let mut names = self.names()?;
        names.sort_by_key(|name| std::cmp::Reverse(name.sequence));
        Ok(names.into_iter().map(|name| self.read(&name)))
    }

    /// The head with this number, if there is one.
    pub fn by_sequence(&self, sequence: Sequence) -> Result<Option<Head>, DiskError> {
        let name = self
            .names()?
            .into_iter()
            .find(|name| name.sequence == sequence);
        name.map(|name| self.read(&name)).transpose()
    }

    /// The files of the heads up to a number, by their path in the archive's
    /// folder.
    pub(super) fn files_up_to(&self, last: Sequence) -> Result<Vec<String>, DiskError> {
        let names = self.names()?.into_iter();
        Ok(names
            .filter(|name| name.sequence <= last)
            .map(|name| format!("{FOLDER}/{}", name.file))
            .collect())
    }

    fn read(&self, name: &HeadName) -> Result<Head, DiskError> {
        let path = self.dir.join(FOLDER).join(&name.file);
        let bytes = fs::read(&path).map_err(DiskError::io(&path))?;
        let block = Block::verify(&name.cid, bytes)?;
        Head::decode(block).map_err(|source| {
            ArchiveError::Head {
                cid: name.cid,
                source,
            }
            .into()
        })
    }

    /// The file of the head `cid`, if there is one.
    fn find(&self, cid: &Cid) -> Option<PathBuf> {
        let digest = digest_of(cid).ok()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains_key(&digest) {
            let names = self.names().ok()?;
            let numbers = names
                .iter()
                .filter_map(|name| Some((digest_of(&name.cid).ok()?, name.sequence)));
            *seen = numbers.collect();
        }
        let file = HeadName::spell(*seen.get(&digest)?, cid);
        Some(self.dir.join(FOLDER).join(file))
    }

    fn names(&self) -> Result<Vec<HeadName>, DiskError> {
        let files = self.listed()?;
        Ok(files.iter().filter_map(|f| HeadName::parse(f)).collect())
    }

    /// The names of all files in the folder.
    fn listed(&self) -> Result<Vec<String>, DiskError> {
        let folder = self.dir.join(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(DiskError::io(&folder)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let file = entry.map_err(DiskError::io(&folder))?.file_name();
            files.extend(file.to_str().map(str::to_owned));
        }
        Ok(files)
    }
}

/// A file name of [`FOLDER`], taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeadName {
    file: String,
    sequence: Sequence,
    cid: Cid,
}

impl HeadName {
    /// `None` for whatever is not ours: what a crash left half written, say.
    fn parse(file: &str) -> Option<Self> {
        let (sequence, cid) = file.strip_suffix(".head")?.split_once('.')?;
        let (sequence, cid) = (Sequence(sequence.parse().ok()?), cid.parse().ok()?);
        (Self::spell(sequence, &cid) == file).then(|| Self {
            file: file.to_owned(),
            sequence,
            cid,
        })
    }

    fn spell(sequence: Sequence, cid: &Cid) -> String {
        format!("{:010}.{cid}.head", sequence.0)
    }
}

impl BlockSource for Heads {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let path = self.find(cid).ok_or(BlockError::Missing { cid: *cid })?;
        let bytes = fs::read(&path).map_err(|source| BlockError::Io { path, source })?;
        Block::verify(cid, bytes)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.find(cid).is_some())
    }
}
