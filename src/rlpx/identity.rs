//! Who a node is: a secret key, and the public key all others know it by.
//!
//! Always true:
//! - A [`NodeKey`] never prints its secret and erases it when dropped.
//! - A [`NodeId`] from a [`NodeKey`] or an enode URL is a point of the curve;
//!   one read from a packet may be any 64 bytes until
//!   [`NodeId::public_key`] has accepted it.

use std::fmt;
use std::str::FromStr;

use secp256k1::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::keccak::keccak256;
use crate::rlpx::random::random_secret_key;

/// A text or byte string that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hex digits (a secret key) or 128 (a node id).
    #[error("expected {digits} hex digits")]
    Hex {
        /// How many digits the key has.
        digits: usize,
    },
    /// Zero, or not below the order of the curve.
    #[error("not a secret key of secp256k1")]
    NotASecretKey,
    /// No point of the curve has these coordinates.
    #[error("not a public key of secp256k1")]
    NotAPublicKey,
}

/// A node's static key pair.
pub struct NodeKey {
    secret: SecretKey,
    public: PublicKey,
    id: NodeId,
}

impl NodeKey {
    /// A new random identity.
    pub fn generate() -> Self {
        Self::from(random_secret_key())
    }

    /// The identity whose secret is `bytes`, big-endian.
    pub fn from_secret_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SecretKey::from_secret_bytes(*bytes)
            .map(Self::from)
            .map_err(|_| KeyError::NotASecretKey)
    }

    /// The secret as 64 hex digits, the form of key files. Erased when dropped.
    pub fn to_secret_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.secret.as_secret_bytes()))
    }

    /// The secret key.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The public key as the wire writes it.
    pub fn id(&self) -> NodeId {
        self.id
    }
}

impl From<SecretKey> for NodeKey {
    fn from(secret: SecretKey) -> Self {
        let public = secret.public_key();
        Self {
            secret,
            public,
            id: NodeId::of(&public),
        }
    }
}

impl FromStr for NodeKey {
    type Err = KeyError;

    /// Reads 64 hex digits, with or without `0x` and surrounding white space,
    /// as geth's `-idfile` holds them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut *bytes)
            .map_err(|_| KeyError::Hex { digits: 64 })?;
        Self::from_secret_bytes(&bytes)
    }
}

impl Drop for NodeKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({:?})", self.id)
    }
}

/// A node's public key as devp2p writes it: `X || Y`, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 64]);

impl NodeId {
    /// All zero: no node has it, and a Hello with it is refused.
    pub const NULL: Self = Self([0; 64]);

    /// The id of a public key.
    pub fn of(key: &PublicKey) -> Self {
        let uncompressed = key.serialize_uncompressed();
        let mut id = [0; 64];
        id.copy_from_slice(&uncompressed[1..]);
        Self(id)
    }

    /// The key with this id, if it is a point of the curve.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        let mut uncompressed = [4; 65];
        uncompressed[1..].copy_from_slice(&self.0);
        PublicKey::from_byte_array_uncompressed(uncompressed).map_err(|_| KeyError::NotAPublicKey)
    }

    /// Keccak-256 of the id: what Whisper and discovery call a peer by.
    pub fn hash(&self) -> [u8; 32] {
        keccak256(self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    /// The first 8 bytes, as geth logs peers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex::encode(&self.0[..8]))
    }
}

impl FromStr for NodeId {
    type Err = KeyError;

    /// Reads 128 hex digits, with or without `0x`; they must be a point of the
    /// curve.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 64];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut id)
            .map_err(|_| KeyError::Hex { digits: 128 })?;
        let id = Self(id);
        id.public_key()?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K33_PUBLIC: &str = "3c72addb4fdf09af94f0c94d7fe92a386a7e70cf8a1d85916386bb2535c7b1b1\
                              3b306b0fe085665d8fc1b28ae1676cd3ad6e08eaeda225fe38d0da4de55703e0";

    #[test]
    fn a_secret_key_has_the_public_key_geth_gives() {
        let key: NodeKey = "33".repeat(32).parse().unwrap();
        assert_eq!(key.id().to_string(), K33_PUBLIC);
        assert_eq!(key.id(), K33_PUBLIC.parse().unwrap());
        assert_eq!(key.id().public_key().unwrap(), *key.public());
    }

    #[test]
    fn key_files_with_a_prefix_or_a_newline_are_read() {
        let hex = "33".repeat(32);
        for text in [hex.clone(), format!("0x{hex}"), format!("{hex}\n")] {
            assert_eq!(*text.parse::<NodeKey>().unwrap().to_secret_hex(), hex);
        }
    }

    #[test]
    fn texts_that_are_no_keys_are_refused() {
        assert_eq!(
            "33".parse::<NodeKey>().unwrap_err(),
            KeyError::Hex { digits: 64 }
        );
        for bytes in [[0; 32], [0xff; 32]] {
            assert_eq!(
                NodeKey::from_secret_bytes(&bytes).unwrap_err(),
                KeyError::NotASecretKey
            );
        }
        assert_eq!(
            "zz".parse::<NodeId>().unwrap_err(),
            KeyError::Hex { digits: 128 }
        );
        assert_eq!(
            "00".repeat(64).parse::<NodeId>().unwrap_err(),
            KeyError::NotAPublicKey
        );
        assert!(NodeId::NULL.public_key().is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = NodeKey::from_secret_bytes(&[0x33; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "NodeKey(3c72addb4fdf09af…)");
    }
}
