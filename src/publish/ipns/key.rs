//! The keys that names are made of.
//!
//! Always true: a key is Ed25519 or secp256k1. RSA and ECDSA, which IPFS knew before,
//! are refused by name.

use std::fmt;

use libp2p::identity::{Keypair, PublicKey};
use prost::Message;
use rand::Rng;
use zeroize::Zeroizing;

use super::Name;

/// Longest protobuf form of a secret key read, in bytes: ours have less than 100.
pub const MAX_SECRET: usize = 4_096;

/// How a file in PEM begins; no protobuf form does, for it has no fifth field.
const PEM: &[u8] = b"-----BEGIN ";

/// Why bytes are no key that is used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the protobuf form of a key.
    #[error("not the protobuf form of a key: {0}")]
    Form(String),
    /// A key as OpenSSL writes it.
    #[error("a key in PEM, and not in its protobuf form")]
    Pem,
    /// Of a kind that is not used here.
    #[error("an {0} key: only Ed25519 and secp256k1 are used here")]
    Kind(&'static str),
}

/// The form of libp2p, of public and secret keys.
#[derive(Clone, PartialEq, Message)]
struct Typed {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// Reads a public key in the protobuf form.
pub(super) fn public_key(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    kind(bytes)?;
    PublicKey::try_decode_protobuf(bytes).map_err(|error| KeyError::Form(error.to_string()))
}

/// Refuses what is of a kind that is not used.
fn kind(bytes: &[u8]) -> Result<(), KeyError> {
    let typed = Typed::decode(bytes).map_err(|error| KeyError::Form(error.to_string()))?;
    let _data = Zeroizing::new(typed.data);
    match typed.kind {
        0 => Err(KeyError::Kind("RSA")),
        1 | 2 => Ok(()),
        3 => Err(KeyError::Kind("ECDSA")),
        other => Err(KeyError::Form(format!("kind {other}"))),
    }
}

/// A secret key.
#[derive(Clone)]
pub struct IpnsKey(Keypair);

impl IpnsKey {
    /// A new Ed25519 key: what every program that knows IPNS takes.
    pub fn generate() -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(&mut *secret);
        let key = Keypair::ed25519_from_bytes(&mut *secret);
        Self(key.expect("any 32 bytes are a secret key of Ed25519"))
    }

    /// Reads the form that `ipfs key export` writes.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > MAX_SECRET {
            return Err(KeyError::Form(format!("{} bytes", bytes.len())));
        }
        if bytes.trim_ascii_start().starts_with(PEM) {
            return Err(KeyError::Pem);
        }
        kind(bytes)?;
        let key = Keypair::from_protobuf_encoding(bytes);
        key.map(Self)
            .map_err(|error| KeyError::Form(error.to_string()))
    }

    /// The form that `ipfs key import` takes.
    pub fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        let encoded = self.0.to_protobuf_encoding();
        Zeroizing::new(encoded.expect("keys of both kinds have a protobuf form"))
    }

    /// Its name.
    pub fn name(&self) -> Name {
        Name::of(&self.0.public())
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signed = self.0.sign(message);
        signed.expect("signing fails for RSA alone")
    }
}

impl fmt::Debug for IpnsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpnsKey({})", self.name())
    }
}
