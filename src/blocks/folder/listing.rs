//! What lies in a folder of CAR files.
//!
//! Always true: only names that [`names::group_of`] knows are listed, from
//! folders of known depth; a link out of the folder is not followed into loops.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{BlockError, io_error, names};
use crate::durable;
use crate::index::FileMark;

/// Folders that hold files, and the one that holds folders of them.
const PLAIN: [&str; 3] = ["calendar", "deltas", "hours"];
const BY_YEAR: &str = "days";

/// A change within this span of the last look may bear the same time as it:
/// file systems count in ticks of up to 2 s (FAT), Linux's own of 4 ms.
const TICK: Duration = Duration::from_secs(2);

/// A file found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) mark: FileMark,
}

/// Every file of blocks, in order of name.
pub(super) fn files(dir: &Path) -> Result<Vec<Found>, BlockError> {
    let mut found = Vec::new();
    for folder in folders(dir)? {
        for entry in entries(&dir.join(&folder))? {
            let Some(name) = entry
                .file_name()
                .to_str()
                .map(|name| format!("{folder}/{name}"))
            else {
                continue;
            };
            if names::group_of(&name).is_none() {
                continue;
            }
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(about) if about.is_file() => found.push(Found {
                    name,
                    mark: mark(&about),
                }),
                Ok(_) => {}
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(&path)(error)),
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// What tells this version of a file from others.
pub(super) fn mark(about: &Metadata) -> FileMark {
    let modified = about.modified().ok();
    let since = modified.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    FileMark {
        len: about.len(),
        modified: since.map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        }),
    }
}

/// The folders files may lie in, those that exist, by their path in the store.
pub(super) fn folders(dir: &Path) -> Result<Vec<String>, BlockError> {
    let mut folders: Vec<String> = PLAIN.iter().map(|&name| name.to_owned()).collect();
    for entry in entries(&dir.join(BY_YEAR))? {
        if let Some(year) = entry.file_name().to_str()
            && entry.path().is_dir()
        {
            folders.push(format!("{BY_YEAR}/{year}"));
        }
    }
    Ok(folders)
}

/// Makes the name of every file durable: who gave it may have been killed before
/// the folder was synced, and what is written next may build on it.
pub(super) fn sync_names(dir: &Path) -> Result<(), BlockError> {
    let mut folders: Vec<PathBuf> = folders(dir)?.iter().map(|name| dir.join(name)).collect();
    folders.extend([dir.join(BY_YEAR), dir.to_owned()]);
    for folder in folders {
        match durable::sync_folder(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(io_error(&folder))?,
        }
    }
    Ok(())
}

/// The entries of a folder, none where it is missing.
pub(super) fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, BlockError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error(folder)(error)),
        Ok(entries) => entries.collect::<io::Result<_>>().map_err(io_error(folder)),
    }
}

/// When each folder changed last, as of one look: tells a reader whether a new
/// look would find anything new. A file that changes in place goes unnoticed
/// here; ours never do.
#[derive(Debug, Default)]
pub(super) struct View {
    looked: Option<SystemTime>,
    changed: Vec<(PathBuf, Option<SystemTime>)>,
}

impl View {
    /// A view of now, where the folders may have changed since this one.
    pub(super) fn newer(&self, dir: &Path) -> Result<Option<Self>, BlockError> {
        let now = SystemTime::now();
        let mut folders: Vec<PathBuf> = folders(dir)?.iter().map(|name| dir.join(name)).collect();
        folders.push(dir.join(BY_YEAR));
        let changed: Vec<_> = folders
            .into_iter()
            .map(|folder| {
                let at = fs::metadata(&folder)
                    .and_then(|about| about.modified())
                    .ok();
                (folder, at)
            })
            .collect();
        let settled = self.looked.is_some_and(|looked| {
            let old = |at: &SystemTime| *at + TICK < looked;
            changed == self.changed && changed.iter().flat_map(|(_, at)| at).all(old)
        });
        Ok((!settled).then_some(Self {
            looked: Some(now),
            changed,
        }))
    }
}
