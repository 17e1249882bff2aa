//! A name: the multihash of a public key.
//!
//! Always true: it is the identity of a key of at most [`MAX_INLINED`] bytes, or the
//! sha2-256 of a longer one, so that each key has one name and each name one text.

use std::fmt;
use std::str::FromStr;

use libp2p::identity::{PeerId, PublicKey};
use multibase::Base;
use multihash::Multihash;

use super::key::{self, KeyError};
use crate::blocks::Cid;

/// Codec of a CID that names a key (`libp2p-key`).
const LIBP2P_KEY: u64 = 0x72;

/// Multihash code of bytes that stand for themselves.
const IDENTITY: u64 = 0;

/// Multihash code of sha2-256.
const SHA2_256: u64 = 0x12;

/// Longest public key that stands in its name as it is, bytes of its protobuf form:
/// what libp2p says of peer IDs.
const MAX_INLINED: usize = 42;

/// Longest text of a name: base 2 of the longest is nobody's way to write it.
const MAX_TEXT: usize = 128;

/// A name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(Multihash<64>);

/// Why a text or bytes are no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Neither a CID nor base 58.
    #[error("it is neither the CID of a key nor a peer ID in base 58")]
    Form,
    /// Longer than any.
    #[error("{0} characters, above the limit of {MAX_TEXT}")]
    TooLong(usize),
    /// The CID of something else.
    #[error("it is a CID of codec 0x{0:x}, and names have 0x{LIBP2P_KEY:x} (libp2p-key)")]
    Codec(u64),
    /// Not the hash of a key.
    #[error("it holds no hash of a public key")]
    Hash,
}

impl Name {
    /// The name of a key.
    pub fn of(key: &PublicKey) -> Self {
        Self(*PeerId::from_public_key(key).as_ref())
    }

    fn of_hash(hash: Multihash<64>) -> Result<Self, NameError> {
        let len = hash.digest().len();
        match hash.code() {
            IDENTITY if (1..=MAX_INLINED).contains(&len) => Ok(Self(hash)),
            SHA2_256 if len == 32 => Ok(Self(hash)),
            _ => Err(NameError::Hash),
        }
    }

    /// The key that stands in the name; `None` where only its hash does.
    pub(super) fn inlined(&self) -> Option<Result<PublicKey, KeyError>> {
        let is_inlined = self.0.code() == IDENTITY;
        is_inlined.then(|| key::public_key(self.0.digest()))
    }

    /// What routers of IPFS keep the record under: `/ipns/` and the bytes of the
    /// multihash.
    pub fn routing_key(&self) -> Vec<u8> {
        [&b"/ipns/"[..], &self.0.to_bytes()].concat()
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads a CIDv1 in any base, or a peer ID in base 58 as older programs write it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT {
            return Err(NameError::TooLong(text.len()));
        }
        if text.starts_with("Qm") || text.starts_with('1') {
            let bytes = Base::Base58Btc.decode(text).map_err(|_| NameError::Form)?;
            let hash = Multihash::from_bytes(&bytes).map_err(|_| NameError::Hash)?;
            return Self::of_hash(hash);
        }
        let cid = Cid::from_str(text).map_err(|_| NameError::Form)?;
        if cid.codec() != LIBP2P_KEY {
            return Err(NameError::Codec(cid.codec()));
        }
        Self::of_hash(*cid.hash())
    }
}

/// As programs of today write it: a CIDv1 in base 36.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cid = Cid::new_v1(LIBP2P_KEY, self.0);
        f.write_str(&multibase::encode(Base::Base36Lower, cid.to_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
