//! The file that lets a request go on another day.
//!
//! Always true: it names a cursor only after everything before it was printed.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::cli::error::{CliError, Kind};
use crate::durable;
use crate::mailserver::Cursor;
use crate::rlpx::NodeId;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::Topic;

/// Longest file read, in bytes: that of some thousand topics.
const MAX_LEN: u64 = 64 << 10;

/// What was asked, and how far the answer came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Node id of the server.
    server: String,
    from: UnixSeconds,
    to: UnixSeconds,
    topics: Vec<String>,
    cursor: Option<String>,
}

impl Asked {
    /// A request about to start.
    pub fn new<'t>(
        server: NodeId,
        range: TimeRange,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Self {
        Self {
            server: server.to_string(),
            from: range.from(),
            to: range.to(),
            topics: topics.into_iter().map(Topic::to_string).collect(),
            cursor: None,
        }
    }
}

/// The file.
pub struct ResumeFile {
    path: PathBuf,
    asked: Asked,
}

impl ResumeFile {
    /// The range and cursor of the request that the file at `path` keeps; none
    /// where there is no file yet.
    pub fn read(path: &Path) -> Result<Option<(Asked, TimeRange, Option<Cursor>)>, CliError> {
        let failed = |error: &dyn std::error::Error| {
            CliError::new(Kind::Error, format!("cannot read {}", path.display())).because(error)
        };
        let text = match fs::metadata(path) {
            Ok(file) if file.len() > MAX_LEN => {
                return Err(failed(&io::Error::other("it is too long for its kind")));
            }
            Ok(_) => fs::read(path).map_err(|error| failed(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let asked: Asked = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
        let range = TimeRange::new(asked.from, asked.to).map_err(|error| failed(&error))?;
        let cursor = asked.cursor.as_deref().map(str::parse::<Cursor>);
        let cursor = cursor.transpose().map_err(|error| failed(&error))?;
        Ok(Some((asked, range, cursor)))
    }

    /// Keeps `asked` in the file at `path`, which must be the file of the same
    /// request if `found` was there before.
    pub fn of(path: &Path, asked: Asked, found: Option<Asked>) -> Result<Self, CliError> {
        if let Some(found) = found {
            let cursor = found.cursor.clone();
            let same = found
                == Asked {
                    cursor,
                    ..asked.clone()
                };
            if !same {
                return Err(CliError::new(
                    Kind::Usage,
                    format!("{} is of another request", path.display()),
                )
                .hint("leave out `--from` and `--to`, or name another file"));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            asked,
        })
    }

    /// Everything before `cursor` was printed.
    pub fn reached(&mut self, cursor: Cursor) -> Result<(), CliError> {
        self.asked.cursor = Some(cursor.to_string());
        let mut json = serde_json::to_vec(&self.asked).expect("strings and numbers are JSON");
        json.push(b'\n');
        durable::replace_file(&self.path, &json).map_err(|error| {
            CliError::new(Kind::Error, format!("cannot write {}", self.path.display()))
                .because(&error)
        })
    }

    /// All was printed: the next request with this file is a new one.
    pub fn done(self) -> Result<(), CliError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::new(
                Kind::Error,
                format!("cannot remove {}", self.path.display()),
            )
            .because(&error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whisper::EnvelopeHash;

    #[test]
    fn a_file_belongs_to_one_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("request.json");
        let range = TimeRange::new(UnixSeconds(5), UnixSeconds(9)).unwrap();
        let asked = Asked::new(NodeId([7; 64]), range, &[Topic([1, 2, 3, 4])]);
        assert!(ResumeFile::read(&path).unwrap().is_none());
        let mut file = ResumeFile::of(&path, asked.clone(), None).unwrap();
        let cursor = Cursor {
            sent: UnixSeconds(6),
            hash: EnvelopeHash([1; 32]),
        };
        file.reached(cursor).unwrap();

        let (found, found_range, at) = ResumeFile::read(&path).unwrap().unwrap();
        assert_eq!((found_range, at), (range, Some(cursor)));
        let other = Asked::new(NodeId([7; 64]), range, &[]);
        let refused = ResumeFile::of(&path, other, Some(found.clone()));
        assert_eq!(refused.err().unwrap().kind(), Kind::Usage);
        ResumeFile::of(&path, asked, Some(found))
            .unwrap()
            .done()
            .unwrap();
        assert!(!path.exists());

        fs::write(&path, b"{}").unwrap();
        assert!(ResumeFile::read(&path).is_err());
    }
}
