//! The file that keeps a node's identity: its secret key, 64 hex digits.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::durable;
use crate::rlpx::{KeyError, NodeKey};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no key.
    #[error("{path}: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
}

/// Why a key that was brought along is not kept.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The file holds another.
    #[error("{path}: holds another key already")]
    Another {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or made.
    #[error(transparent)]
    File(#[from] KeyFileError),
}

/// The key in the file at `path`; a new one where there is no file yet.
pub fn load_or_create(path: &Path) -> Result<NodeKey, KeyFileError> {
    load_or_create_after(path, |_| Ok(()))
}

/// The same, where a new key is in its file only after `before` was told of it.
pub fn load_or_create_after(
    path: &Path,
    before: impl FnOnce(&NodeKey) -> io::Result<()>,
) -> Result<NodeKey, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            create(path, before).map_err(|source| KeyFileError::Io {
                path: path.to_owned(),
                source,
            })
        }
        loaded => loaded,
    }
}

/// Keeps `key` in the file at `path`, where there is no other yet.
pub fn adopt(path: &Path, key: &NodeKey) -> Result<(), AdoptError> {
    match load(path) {
        Ok(known) if known.id() == key.id() => Ok(()),
        Ok(_) => Err(AdoptError::Another {
            path: path.to_owned(),
        }),
        Err(KeyFileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let written = durable::replace_private_file(path, key.to_secret_hex().as_bytes());
            let failed = |source| KeyFileError::Io {
                path: path.to_owned(),
                source,
            };
            Ok(written.map_err(failed)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The key in the file at `path`, which must be there.
pub fn load(path: &Path) -> Result<NodeKey, KeyFileError> {
    let text = fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        })?;
    text.parse().map_err(|source| KeyFileError::Key {
        path: path.to_owned(),
        source,
    })
}

fn create(path: &Path, before: impl FnOnce(&NodeKey) -> io::Result<()>) -> io::Result<NodeKey> {
    let key = NodeKey::generate();
    before(&key)?;
    durable::replace_private_file(path, key.to_secret_hex().as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_once_made_stays_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().id(), made.id());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_brought_along_is_kept_and_never_takes_anothers_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let (brought, other) = (NodeKey::generate(), NodeKey::generate());
        adopt(&path, &brought).unwrap();
        adopt(&path, &brought).unwrap();
        assert!(matches!(
            adopt(&path, &other),
            Err(AdoptError::Another { .. })
        ));
        assert_eq!(load_or_create(&path).unwrap().id(), brought.id());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(
            load_or_create(&path),
            Err(KeyFileError::Key { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }
}
