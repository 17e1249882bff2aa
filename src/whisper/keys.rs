//! Keys that open messages.
//!
//! Always true:
//! - A symmetric key is wiped from memory when dropped, never all zero, and
//!   shows only a fingerprint when printed.
//! - Equal passwords give equal keys on every node: no salt is involved.

use std::fmt;

use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keccak::keccak256;

/// Rounds of PBKDF2 between a password and its key. Not 65,536: the reference
/// nodes use this number, so every node must.
pub const PASSWORD_ROUNDS: u32 = 65_356;

/// Bytes of a symmetric key.
pub const SYM_KEY_SIZE: usize = 32;

/// An AES-256 key shared by all who may read a message.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SymKey([u8; SYM_KEY_SIZE]);

/// The all-zero key, which every Whisper node refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a symmetric key of zeros protects nothing")]
pub struct ZeroKey;

impl SymKey {
    /// The key made of these bytes.
    pub fn new(bytes: [u8; SYM_KEY_SIZE]) -> Result<Self, ZeroKey> {
        if bytes == [0; SYM_KEY_SIZE] {
            return Err(ZeroKey);
        }
        Ok(Self(bytes))
    }

    /// The key of a password, as `shh_generateSymKeyFromPassword` derives it:
    /// PBKDF2-HMAC-SHA256, no salt, [`PASSWORD_ROUNDS`]. Takes tens of
    /// milliseconds: derive once, off the event loop.
    pub fn from_password(password: &str) -> Self {
        let mut key = [0; SYM_KEY_SIZE];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &[], PASSWORD_ROUNDS, &mut key);
        Self(key)
    }

    /// The secret bytes.
    pub fn secret_bytes(&self) -> &[u8; SYM_KEY_SIZE] {
        &self.0
    }

    /// Keccak-256 of the key, by which nodes name it without showing it.
    pub fn fingerprint(&self) -> [u8; 32] {
        keccak256(self.0)
    }
}

impl fmt::Debug for SymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymKey(#{})", hex::encode(&self.fingerprint()[..4]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_give_the_keys_status_nodes_derive() {
        for (password, key) in [
            (
                "status-offline-inbox",
                "765df27c0765526f920ba742ff4b9452bb0064e016435ffccd81186aa6feaae8",
            ),
            (
                "test",
                "a82a520aff70f7a989098376e48ec128f25f767085e84d7fb995a9815eebff0a",
            ),
        ] {
            assert_eq!(
                hex::encode(SymKey::from_password(password).secret_bytes()),
                key
            );
        }
    }

    #[test]
    fn printing_a_key_shows_a_fingerprint_only() {
        let key = SymKey::new([0x5a; 32]).unwrap();
        let shown = format!("{key:?}");
        assert!(
            !shown.contains("5a5a") && !shown.contains("90, 90"),
            "{shown}"
        );
        assert!(shown.starts_with("SymKey(#") && shown.len() == "SymKey(#01234567)".len());
    }

    #[test]
    fn zeros_are_no_key() {
        assert_eq!(SymKey::new([0; 32]), Err(ZeroKey));
    }
}
