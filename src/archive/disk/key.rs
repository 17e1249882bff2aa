//! The key an archive's heads are signed with.
//!
//! Always true: a key that lies under its name was put there for an archive that there
//! is. One beside no archive is of another one, whose numbers must not begin anew.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use secp256k1::SecretKey;
use zeroize::Zeroizing;

use super::DiskError;
use crate::durable;

/// Name of the key file: 64 hex digits, readable by its owner alone.
const KEY: &str = "archive.key";

/// What it is called until its archive is there.
const NEW: &str = "archive.key.new";

/// Makes a new key in `dir`, for the archive that is about to be; [`settle`] gives it
/// its name.
pub fn create(dir: &Path) -> Result<(), DiskError> {
    let path = dir.join(NEW);
    // One that a crash left here has signed nothing.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(DiskError::io(&path)(error));
        }
        _ => {}
    }
    let key = SecretKey::new(&mut secp256k1::rand::rng());
    let text = Zeroizing::new(format!("{}\n", hex::encode(key.to_secret_bytes())));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| durable::sync_folder(dir));
    written.map_err(DiskError::io(&path))
}

/// Gives a new key its name, if there is one; a crash may have come before.
pub fn settle(dir: &Path) -> Result<(), DiskError> {
    let (new, path) = (dir.join(NEW), dir.join(KEY));
    if !new.exists() {
        return Ok(());
    }
    // Never over a key that was put there meanwhile.
    let settled = match path.exists() {
        true => fs::remove_file(&new),
        false => fs::rename(&new, &path),
    };
    settled
        .and_then(|()| durable::sync_folder(dir))
        .map_err(DiskError::io(&path))
}

/// Reads the key in `dir`.
pub fn read(dir: &Path) -> Result<SecretKey, DiskError> {
    let path = dir.join(KEY);
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(DiskError::io(&path))?);
    let mode = fs::metadata(&path)
        .map_err(DiskError::io(&path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            "{} can be read by others; whoever has it can sign heads",
            path.display()
        );
    }
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *bytes)
        .ok()
        .and_then(|()| SecretKey::from_secret_bytes(*bytes).ok())
        .ok_or(DiskError::Key { path })
}

/// Whether `dir` holds a key.
pub fn exists(dir: &Path) -> bool {
    dir.join(KEY).exists()
}
