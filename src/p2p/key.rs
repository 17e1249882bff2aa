//! The file that keeps a peer's identity: an ed25519 key in the protobuf form that
//! libp2p programs share, in hex.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use libp2p::identity::Keypair;
use zeroize::Zeroizing;

use crate::durable;

/// Name of the file in the data folder.
pub const NAME: &str = "p2p.key";

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no key.
    #[error("{path}: {what}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The key in the folder `data`; a new one where there is none yet.
pub fn load_or_create(data: &Path) -> Result<Keypair, IdentityError> {
    let path = data.join(NAME);
    let failed = |source| IdentityError::Io {
        path: path.clone(),
        source,
    };
    match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) => read(text.trim()).map_err(|what| IdentityError::Key {
            path: path.clone(),
            what,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn read(text: &str) -> Result<Keypair, String> {
    let bytes = hex::decode(text).map(Zeroizing::new);
    let bytes = bytes.map_err(|error| error.to_string())?;
    Keypair::from_protobuf_encoding(&bytes).map_err(|error| error.to_string())
}

fn create(path: &Path) -> io::Result<Keypair> {
    let key = Keypair::generate_ed25519();
    let bytes = key.to_protobuf_encoding().map(Zeroizing::new);
    let bytes = bytes.expect("an ed25519 key has an encoding");
    let text = Zeroizing::new(hex::encode(&*bytes));
    durable::replace_private_file(path, text.as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_once_made_stays_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = load_or_create(folder.path()).unwrap();
        let again = load_or_create(folder.path()).unwrap();
        assert_eq!(made.public(), again.public());
        let mode = fs::metadata(folder.path().join(NAME))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "0801").unwrap();
        let refused = load_or_create(folder.path());
        assert!(matches!(refused, Err(IdentityError::Key { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "0801");
    }
}
