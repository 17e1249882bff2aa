//! What an archive is, apart from its heads.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DiskError;
use crate::archive::head::{FORMAT_VERSION, HeadError};
use crate::durable;

/// Name of the file: JSON.
const META: &str = "archive.json";

/// What `archive.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// Version of the archive format in the folder.
    pub format: u16,
    /// The network whose envelopes these are.
    pub network: String,
    /// The name its owner gave it, empty for none.
    pub name: String,
}

impl Meta {
    /// Writes it into `dir`, durably.
    pub fn write(&self, dir: &Path) -> Result<(), DiskError> {
        let path = dir.join(META);
        let mut text = serde_json::to_string_pretty(self).expect("plain fields are JSON");
        text.push('\n');
        durable::replace_file(&path, text.as_bytes()).map_err(DiskError::io(&path))
    }

    /// Reads it from `dir`; `None` where there is no archive.
    pub fn read(dir: &Path) -> Result<Option<Self>, DiskError> {
        let path = dir.join(META);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::io(&path)(error)),
        };
        let meta: Self = serde_json::from_str(&text)
            .map_err(|error| DiskError::io(&path)(std::io::Error::other(error)))?;
        if meta.format != FORMAT_VERSION {
            return Err(HeadError::Version(meta.format).into());
        }
        Ok(Some(meta))
    }
}
