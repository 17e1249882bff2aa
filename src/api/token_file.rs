//! `rpc.token`: the secret that a program beside the daemon reads to be allowed
//! everything.
//!
//! Always true: the file is its owner's alone. One that others may read is
//! refused: whoever could read it before could read it now.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::api::access::Token;
use crate::durable;

/// Name of the file in the data folder.
pub const NAME: &str = "rpc.token";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The file cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no token.
    #[error("{path} holds no token: expected 32 letters and digits or more")]
    NoToken {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the file.
    #[error("{path} may be read by others (mode {mode:o}): delete it or `chmod 600` it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The token in the folder `data`; a new one where there is none yet.
pub fn load_or_create(data: &Path) -> Result<Token, TokenFileError> {
    let path = data.join(NAME);
    match read(&path) {
        Err(TokenFileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let token = Token::draw();
            write(&path, &token).map_err(|source| TokenFileError::Io { path, source })?;
            Ok(token)
        }
        other => other,
    }
}

/// The token in the file at `path`.
pub fn read(path: &Path) -> Result<Token, TokenFileError> {
    let path = path.to_owned();
    let text = match fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(source) => return Err(TokenFileError::Io { path, source }),
    };
    match fs::metadata(&path) {
        Ok(file) if file.permissions().mode() & 0o077 != 0 => {
            let mode = file.permissions().mode() & 0o777;
            return Err(TokenFileError::Exposed { path, mode });
        }
        Ok(_) => {}
        Err(source) => return Err(TokenFileError::Io { path, source }),
    }
    Token::read(&text).ok_or(TokenFileError::NoToken { path })
}

fn write(path: &Path, token: &Token) -> io::Result<()> {
    let text = Zeroizing::new(format!("{}\n", token.expose()));
    durable::replace_private_file(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_once_made_stays_and_is_its_owners_alone() {
        let data = tempfile::tempdir().unwrap();
        let made = load_or_create(data.path()).unwrap();
        let again = load_or_create(data.path()).unwrap();
        assert!(again.is(made.expose()));
        let mode = fs::metadata(data.path().join(NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let data = tempfile::tempdir().unwrap();
        load_or_create(data.path()).unwrap();
        let path = data.path().join(NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load_or_create(data.path()),
            Err(TokenFileError::Exposed { mode: 0o644, .. })
        ));
    }

    #[test]
    fn a_file_that_holds_no_token_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(NAME);
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            load_or_create(data.path()),
            Err(TokenFileError::NoToken { .. })
        ));
    }
}
