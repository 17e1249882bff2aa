//! Denylists: what this gateway does not serve though it holds it.
//!
//! Always true: there are rules from the first request on, and a file that becomes
//! unreadable or wrong leaves the rules that were there before.

pub(super) mod rules;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::blocks::Cid;

pub(super) use rules::Rules;
pub use rules::RulesError;

/// Bytes of a file: the longest public list has 40 MiB.
const MAX_FILE: u64 = 256 << 20;

/// How often the files are looked at.
const REFRESH: Duration = Duration::from_secs(2);

/// Lines named of those that are no rules.
const NAMED: usize = 10;

/// Why a file of rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DenylistError {
    /// It cannot be read.
    #[error("denylist {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no denylist.
    #[error("denylist {path}: {source}")]
    Rules {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RulesError,
    },
}

/// What tells one state of a file from another; `None` where there is no file.
type Mark = Option<(u64, SystemTime)>;

/// The rules of some files, as they are.
#[derive(Debug)]
pub struct Denylist {
    files: Vec<PathBuf>,
    marks: Mutex<Vec<Mark>>,
    rules: RwLock<Arc<Rules>>,
}

impl Denylist {
    /// The rules of `files`, of which later ones override earlier ones.
    pub fn open(files: &[PathBuf]) -> Result<Self, DenylistError> {
        let list = Self {
            files: files.to_vec(),
            marks: Mutex::new(marks(files)),
            rules: RwLock::default(),
        };
        list.load()?;
        Ok(list)
    }

    /// The rules as they are now.
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the block `cid` is not to be given.
    pub(crate) fn denies(&self, cid: &Cid) -> bool {
        self.rules().check(cid).is_err()
    }

    /// Reads the files again where one has changed since they were read last.
    pub fn refresh(&self) -> Result<(), DenylistError> {
        // Taken before: what changes while they are read is read again.
        let now = marks(&self.files);
        let mut known = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return Ok(());
        }
        let loaded = self.load();
        // A file that could not be read is tried again: the right to read it may come
        // without a change of it. One that is wrong stays so until it changes.
        if !matches!(loaded, Err(DenylistError::Io { .. })) {
            *known = now;
        }
        loaded
    }

    /// Follows the files until `stopping`.
    pub(crate) fn follow(self: &Arc<Self>, stopping: CancellationToken) {
        if self.files.is_empty() {
            return;
        }
        let list = Arc::clone(self);
        tokio::spawn(async move {
            let mut cycle = tokio::time::interval(REFRESH);
            cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut told = String::new();
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = cycle.tick() => {}
                }
                let list = Arc::clone(&list);
                let refreshed = tokio::task::spawn_blocking(move || list.refresh()).await;
                let now = match refreshed {
                    Ok(Err(error)) => error.to_string(),
                    _ => String::new(),
                };
                // It is tried again and again, and told once.
                if !now.is_empty() && now != told {
                    tracing::error!(error = now, "the denylist stays as it was");
                }
                told = now;
            }
        });
    }

    fn load(&self) -> Result<(), DenylistError> {
        let mut rules = Rules::default();
        for path in &self.files {
            let text = read(path).map_err(|source| DenylistError::Io {
                path: path.clone(),
                source,
            })?;
            let added = rules.add(&text).map_err(|source| DenylistError::Rules {
                path: path.clone(),
                source,
            })?;
            if !added.unknown.is_empty() {
                tracing::warn!(
                    path = %path.display(),
                    lines = added.unknown.len(),
                    first = ?&added.unknown[..added.unknown.len().min(NAMED)],
                    "lines of a denylist are no rules that are known here"
                );
            }
        }
        if !self.files.is_empty() {
            tracing::info!(rules = rules.count(), "denylist read");
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }
}

fn marks(files: &[PathBuf]) -> Vec<Mark> {
    let mark = |path: &PathBuf| {
        let about = fs::metadata(path).ok()?;
        Some((about.len(), about.modified().ok()?))
    };
    files.iter().map(mark).collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
