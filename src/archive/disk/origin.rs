//! Where the history of an archive came from, if it was begun by another.
//!
//! Always true:
//! - A mirror signs nothing: its heads are those of the key it follows. A fork
//!   signs with its own key, on top of a head of another's.
//! - What is said here is durable before the first head that rests on it.
//!
//! File: `origin.json`, absent for an archive that began with nothing.

use std::fs;
use std::io;
use std::path::Path;

use secp256k1::PublicKey;
use serde::{Deserialize, Serialize};

use super::DiskError;
use crate::archive::head::Head;
use crate::durable;

/// Name of the file: JSON.
const FILE: &str = "origin.json";

/// What an archive is to the one its history came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An archive of its own that went on from there.
    Fork,
    /// A copy that follows it.
    Mirror,
    /// What answers for it, and leaves its blocks where they are.
    Replica,
}

/// Where a history came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// What this archive is to it.
    pub kind: Kind,
    /// The key that signed the history: a compressed point in hex.
    pub key: PublicKey,
    /// The name its owner gave it, empty for none.
    pub name: String,
    /// Where it is to be had, as a user writes a source.
    pub sources: Vec<String>,
    /// Whether all of it was fetched.
    #[serde(default)]
    pub complete: bool,
}

impl Origin {
    /// The origin of what goes on from `head`.
    pub fn of(kind: Kind, head: &Head, sources: Vec<String>) -> Self {
        Self {
            kind,
            key: *head.key(),
            name: head.body().name.clone(),
            sources,
            complete: kind != Kind::Fork,
        }
    }

    /// Reads what the archive in `dir` says; `None` where it began with nothing.
    pub fn read(dir: &Path) -> Result<Option<Self>, DiskError> {
        let path = dir.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| DiskError::io(&path)(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::io(&path)(error)),
        }
    }

    /// Writes it into `dir`, durably.
    pub(super) fn write(&self, dir: &Path) -> Result<(), DiskError> {
        let path = dir.join(FILE);
        let mut text = serde_json::to_string_pretty(self).expect("plain fields are JSON");
        text.push('\n');
        durable::replace_file(&path, text.as_bytes()).map_err(DiskError::io(&path))
    }
}
