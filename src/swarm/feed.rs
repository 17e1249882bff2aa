//! The feed of an archive: numbered updates, each a chunk whose address follows
//! from its owner and its number, and which only its owner can sign.
//!
//! Always true:
//! - The payload of an update is a whole chunk. Nodes tell such an update from a
//!   chunk of data by its length alone, so that it can be uploaded like one.
//! - Who owns a feed is told by the key of that feed, which is not the archive's:
//!   whoever gets hold of it can hide the newest head, and sign none.

use std::fmt;
use std::str::FromStr;

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};

use super::{CHUNK, Reference, SwarmError, address_of};
use crate::keccak::{keccak256, keccak256_concat};

/// What the topic is the Keccak-256 of.
const TOPIC: &str = "gwa archive 1";

/// What a signer of Ethereum puts before the 32 bytes it signs.
const PREFIX: &[u8] = b"\x19Ethereum Signed Message:\n32";

/// What Bitcoin's compact signatures add to the number of the key.
const RECOVERY_OFFSET: u8 = 27;

/// Bytes of identifier, signature and span before the payload.
const BEFORE_PAYLOAD: usize = 32 + 65 + 8;

/// Whose feed it is: an address of Ethereum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub [u8; 20]);

impl Owner {
    /// The address of a key.
    pub fn of(key: &PublicKey) -> Self {
        let hash = keccak256(&key.serialize_uncompressed()[1..]);
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        Self(address)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Owner {
    type Err = hex::FromHexError;

    /// Reads 40 hex digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// The topic of every archive's feed: an owner has one archive.
pub fn topic() -> [u8; 32] {
    keccak256(TOPIC)
}

/// The identifier of update number `index`.
pub fn identifier(index: u64) -> [u8; 32] {
    keccak256_concat(&[&topic(), &index.to_be_bytes()])
}

/// Where a chunk lies that `owner` signed under `identifier`.
pub fn single_owner_address(identifier: &[u8; 32], owner: &Owner) -> Reference {
    Reference(keccak256_concat(&[identifier, &owner.0]))
}

/// What is signed for a chunk at `inner` under `identifier`.
fn digest(identifier: &[u8; 32], inner: &Reference) -> Message {
    let signed = keccak256_concat(&[identifier, &inner.0]);
    Message::from_digest(keccak256_concat(&[PREFIX, &signed]))
}

/// Who signed the chunk at `inner` under `identifier`.
fn signer(identifier: &[u8; 32], inner: &Reference, signature: &[u8; 65]) -> Option<Owner> {
    let id = signature[64].checked_sub(RECOVERY_OFFSET)?;
    let id = RecoveryId::try_from(i32::from(id)).ok()?;
    let signature = RecoverableSignature::from_compact(&signature[..64], id).ok()?;
    let key = signature.recover_ecdsa(digest(identifier, inner)).ok()?;
    Some(Owner::of(&key))
}

/// An update of a feed, whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    index: u64,
    payload: Vec<u8>,
    signature: [u8; 65],
}

impl Update {
    /// Signs update number `index`. Its payload is a whole chunk.
    pub fn sign(secret: &SecretKey, index: u64, payload: Vec<u8>) -> Result<Self, SwarmError> {
        is_whole(&payload)?;
        let digest = digest(&identifier(index), &address_of(CHUNK as u64, &payload));
        let (id, rs) =
            RecoverableSignature::sign_ecdsa_recoverable(digest, secret).serialize_compact();
        let mut signature = [0; 65];
        signature[..64].copy_from_slice(&rs);
        signature[64] = RECOVERY_OFFSET + id.to_u8();
        Ok(Self {
            index,
            payload,
            signature,
        })
    }

    /// Accepts what somebody calls update number `index` of the feed of `owner`.
    pub fn verify(
        owner: &Owner,
        index: u64,
        payload: Vec<u8>,
        signature: [u8; 65],
    ) -> Result<Self, SwarmError> {
        is_whole(&payload)?;
        let inner = address_of(CHUNK as u64, &payload);
        if signer(&identifier(index), &inner, &signature) != Some(*owner) {
            return Err(SwarmError::Signature { index });
        }
        Ok(Self {
            index,
            payload,
            signature,
        })
    }

    /// Its number; the first is 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// What it holds.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What its owner signed it with.
    pub fn signature(&self) -> &[u8; 65] {
        &self.signature
    }

    /// Where it lies in the feed of `owner`.
    pub fn address(&self, owner: &Owner) -> Reference {
        single_owner_address(&identifier(self.index), owner)
    }

    /// The chunk as it is uploaded: identifier, signature, span, payload.
    pub fn to_chunk(&self) -> Vec<u8> {
        let mut chunk = Vec::with_capacity(BEFORE_PAYLOAD + CHUNK);
        chunk.extend_from_slice(&identifier(self.index));
        chunk.extend_from_slice(&self.signature);
        chunk.extend_from_slice(&(CHUNK as u64).to_le_bytes());
        chunk.extend_from_slice(&self.payload);
        chunk
    }
}

fn is_whole(payload: &[u8]) -> Result<(), SwarmError> {
    if payload.len() == CHUNK {
        return Ok(());
    }
    Err(SwarmError::Length {
        what: "an update of the feed of an archive has 4096 bytes, this is one",
        len: payload.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "8d3766440f0d7b949a5e32995d09619a7f86e632";

    #[test]
    fn a_chunk_out_of_bees_tests_is_its_owners() {
        // Identifier of zeros, payload `foo`.
        let signature = hex::decode(
            "5acd384febc133b7b245e5ddc62d82d2cded9182d2716126cd8844509af65a05\
             3deb418208027f548e3e88343af6f84a8772fb3cebc0a1833a0ea7ec0c134831\
             1b",
        )
        .unwrap();
        let signature: [u8; 65] = signature.try_into().unwrap();
        let owner: Owner = OWNER.parse().unwrap();
        let inner = address_of(3, b"foo");
        assert_eq!(signer(&[0; 32], &inner, &signature), Some(owner));
        assert_eq!(
            single_owner_address(&[0; 32], &owner).to_string(),
            "9d453ebb73b2fedaaf44ceddcf7a0aa37f3e3d6453fea5841c31f0ea6d61dc85"
        );
        let mut other = signature;
        other[64] = 0;
        assert_eq!(signer(&[0; 32], &inner, &other), None);
    }

    #[test]
    fn an_update_is_accepted_from_its_owner_under_its_number_alone() {
        let secret = SecretKey::from_secret_bytes([7; 32]).unwrap();
        let owner = Owner::of(&secret.public_key());
        let update = Update::sign(&secret, 5, vec![9; CHUNK]).unwrap();
        let verify = |owner: &Owner, index, payload: Vec<u8>| {
            Update::verify(owner, index, payload, update.signature)
        };
        assert_eq!(verify(&owner, 5, vec![9; CHUNK]), Ok(update.clone()));
        let refused = |index| Err(SwarmError::Signature { index });
        assert_eq!(verify(&owner, 6, vec![9; CHUNK]), refused(6));
        assert_eq!(verify(&owner, 5, vec![8; CHUNK]), refused(5));
        assert_eq!(verify(&Owner([1; 20]), 5, vec![9; CHUNK]), refused(5));
        assert!(matches!(
            verify(&owner, 5, vec![9; CHUNK - 1]),
            Err(SwarmError::Length { .. })
        ));
        let chunk = update.to_chunk();
        assert_eq!(chunk.len(), BEFORE_PAYLOAD + CHUNK);
        assert_eq!(chunk[..32], identifier(5));
    }

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(
            hex::encode(topic()),
            "92badc10239bedf8b53cad970aa7fd4f787550a6284ade7cfd1c96071c46d04a"
        );
        assert_eq!(
            hex::encode(identifier(0)),
            "721e311b7fe21d7af720bb298dd3ae5857335b03e243340e91130d77c1a8f218"
        );
        let secret = SecretKey::from_secret_bytes([7; 32]).unwrap();
        let owner = Owner::of(&secret.public_key());
        assert_eq!(
            owner.to_string(),
            "4a62316623ad457f02cdc5d997ded67a383ec569"
        );
        assert_eq!(
            single_owner_address(&identifier(0), &owner).to_string(),
            "68b3bc871afd31225b57f34a2a22ddc67b4c6fd4d721bab8775485ef4663c22d"
        );
    }
}
