//! The key an archive's heads are signed with.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use secp256k1::SecretKey;
use zeroize::Zeroizing;

use super::DiskError;
use crate::durable;

/// Name of the key file: 64 hex digits, readable by its owner alone.
const KEY: &str = "archive.key";

/// Makes a new key in `dir`, where there must be none.
pub fn create(dir: &Path) -> Result<SecretKey, DiskError> {
    let path = dir.join(KEY);
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
    written.map_err(DiskError::io(&path))?;
    Ok(key)
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

/// Whether `dir` holds a key, which is what makes it an archive.
pub fn exists(dir: &Path) -> bool {
    dir.join(KEY).exists()
}
