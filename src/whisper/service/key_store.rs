//! Keys that a node holds for those who use it.
//!
//! Always true: a key is named by an id that says nothing about it, and no more
//! than [`MAX_KEYS`] of each kind are held.

use std::collections::HashMap;

use secp256k1::{PublicKey, SecretKey};

use crate::rlpx::NodeKey;
use crate::whisper::keys::{SYM_KEY_SIZE, SymKey};
use crate::whisper::service::Id;

/// Keys of each kind that are held: far more than a client uses, and 1 MiB.
pub const MAX_KEYS: usize = 10_000;

/// Why a key is not there. The texts are geth's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key pair has this id.
    #[error("invalid id")]
    NoPair,
    /// A key pair that was to be deleted is not there.
    #[error("key pair {0} not found")]
    NothingToDelete(String),
    /// No symmetric key has this id.
    #[error("non-existent key ID")]
    NoSymKey,
    /// Not 32 bytes, or not a number that is a private key.
    #[error("invalid length, need 256 bits")]
    PrivateKey,
    /// Not 32 bytes, or all of them zero.
    #[error("wrong key size: {0}")]
    SymKey(usize),
    /// [`MAX_KEYS`] are held.
    #[error("too many keys: {MAX_KEYS} are held")]
    Full,
}

/// The keys.
#[derive(Default)]
pub struct KeyStore {
    pairs: HashMap<Id, NodeKey>,
    sym_keys: HashMap<Id, SymKey>,
}

impl KeyStore {
    /// Makes a new key pair.
    pub fn new_pair(&mut self) -> Result<Id, KeyError> {
        self.insert_pair(NodeKey::generate())
    }

    /// Takes in the private key of a pair.
    pub fn add_private_key(&mut self, bytes: &[u8]) -> Result<Id, KeyError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| KeyError::PrivateKey)?;
        let key = NodeKey::from_secret_bytes(bytes).map_err(|_| KeyError::PrivateKey)?;
        self.insert_pair(key)
    }

    fn insert_pair(&mut self, key: NodeKey) -> Result<Id, KeyError> {
        if self.pairs.len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        let id = Id::draw();
        self.pairs.insert(id, key);
        Ok(id)
    }

    /// Forgets a key pair.
    pub fn delete_pair(&mut self, id: &str) -> Result<(), KeyError> {
        let key = id.parse().ok().and_then(|id: Id| self.pairs.remove(&id));
        key.map(drop)
            .ok_or_else(|| KeyError::NothingToDelete(id.to_owned()))
    }

    /// Whether a key pair is held.
    pub fn has_pair(&self, id: &str) -> bool {
        self.pair(id).is_ok()
    }

    /// The public half of a pair.
    pub fn public_key(&self, id: &str) -> Result<PublicKey, KeyError> {
        Ok(*self.pair(id)?.public())
    }

    /// The private half of a pair.
    pub fn private_key(&self, id: &str) -> Result<SecretKey, KeyError> {
        Ok(*self.pair(id)?.secret())
    }

    fn pair(&self, id: &str) -> Result<&NodeKey, KeyError> {
        let id: Id = id.parse().map_err(|_| KeyError::NoPair)?;
        self.pairs.get(&id).ok_or(KeyError::NoPair)
    }

    /// Makes a new symmetric key.
    pub fn new_sym_key(&mut self) -> Result<Id, KeyError> {
        let bytes: [u8; SYM_KEY_SIZE] = crate::rlpx::random::random_bytes();
        self.add_sym_key(&bytes)
    }

    /// Takes in the bytes of a symmetric key.
    pub fn add_sym_key(&mut self, bytes: &[u8]) -> Result<Id, KeyError> {
        let wrong = || KeyError::SymKey(bytes.len());
        let bytes: [u8; SYM_KEY_SIZE] = bytes.try_into().map_err(|_| wrong())?;
        self.insert_sym_key(SymKey::new(bytes).map_err(|_| wrong())?)
    }

    /// Takes in a symmetric key, such as one derived from a password.
    pub fn insert_sym_key(&mut self, key: SymKey) -> Result<Id, KeyError> {
        if self.sym_keys.len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        let id = Id::draw();
        self.sym_keys.insert(id, key);
        Ok(id)
    }

    /// Whether a symmetric key is held.
    pub fn has_sym_key(&self, id: &str) -> bool {
        self.sym_key(id).is_ok()
    }

    /// A symmetric key.
    pub fn sym_key(&self, id: &str) -> Result<&SymKey, KeyError> {
        let id: Id = id.parse().map_err(|_| KeyError::NoSymKey)?;
        self.sym_keys.get(&id).ok_or(KeyError::NoSymKey)
    }

    /// Forgets a symmetric key; false where there was none.
    pub fn delete_sym_key(&mut self, id: &str) -> bool {
        let id = id.parse().ok();
        id.and_then(|id: Id| self.sym_keys.remove(&id)).is_some()
    }
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyStore")
            .field("pairs", &self.pairs.len())
            .field("sym_keys", &self.sym_keys.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_known_by_its_id_until_it_is_deleted() {
        let mut keys = KeyStore::default();
        let id = keys.add_private_key(&[0x33; 32]).unwrap().to_string();
        assert_eq!(id.len(), 64);
        assert!(keys.has_pair(&id));
        let public = keys.public_key(&id).unwrap().serialize_uncompressed();
        assert!(hex::encode(public).starts_with("043c72addb4fdf09"));
        assert_eq!(keys.private_key(&id).unwrap().to_secret_bytes(), [0x33; 32]);
        keys.delete_pair(&id).unwrap();
        assert_eq!(keys.public_key(&id), Err(KeyError::NoPair));
        assert_eq!(
            keys.delete_pair(&id).unwrap_err().to_string(),
            format!("key pair {id} not found")
        );
    }

    #[test]
    fn what_is_no_key_is_refused_in_geths_words() {
        let mut keys = KeyStore::default();
        let error = keys.add_private_key(&[1; 31]).unwrap_err();
        assert_eq!(error.to_string(), "invalid length, need 256 bits");
        assert_eq!(keys.add_private_key(&[0; 32]), Err(KeyError::PrivateKey));
        let error = keys.add_sym_key(&[1; 16]).unwrap_err();
        assert_eq!(error.to_string(), "wrong key size: 16");
        assert_eq!(keys.add_sym_key(&[0; 32]), Err(KeyError::SymKey(32)));
        for id in ["", "zz", &"0".repeat(64)] {
            assert_eq!(keys.sym_key(id), Err(KeyError::NoSymKey));
            assert!(!keys.delete_sym_key(id));
        }
    }

    #[test]
    fn no_more_keys_are_held_than_fit() {
        let mut keys = KeyStore::default();
        for _ in 0..MAX_KEYS {
            keys.add_sym_key(&[1; 32]).unwrap();
        }
        assert_eq!(keys.new_sym_key(), Err(KeyError::Full));
    }
}
