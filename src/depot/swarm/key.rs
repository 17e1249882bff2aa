//! The key that signs an archive's feed: `swarm.key`, 64 hex digits, readable by its
//! owner alone. It is made when the depot is opened for the first time, and is not
//! the archive's: a feed that is taken over can hide heads, and sign none.
//!
//! Always true: this disk knows of a key that was made here that its feed is new, until
//! it shows something.

use std::path::Path;

use secp256k1::SecretKey;

use super::map::Map;
use crate::depot::DepotError;
use crate::node::key_file::{self, KeyFileError};
use crate::swarm::Owner;

/// Name of the file.
const FILE: &str = "swarm.key";

/// The key in a data folder; a new one where there is none yet.
pub(super) fn load_or_create(data: &Path, map: &Map) -> Result<SecretKey, DepotError> {
    let path = data.join(FILE);
    let begun = key_file::load_or_create_after(&path, |key| map.begin(&Owner::of(key.public())));
    match begun {
        Ok(key) => Ok(*key.secret()),
        Err(KeyFileError::Io { path, source }) => Err(DepotError::Io { path, source }),
        Err(KeyFileError::Key { path, source }) => Err(DepotError::Io {
            path,
            source: std::io::Error::other(source),
        }),
    }
}
