//! Recoverable signatures: 65 bytes `r || s || v`, v in 0..=3, no offset.
//!
//! Always true: what is signed is 32 bytes that are already a digest (or, in
//! the handshake, the XOR of two secrets of that length).

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};

/// Length of a signature in bytes.
pub const SIGNATURE: usize = 65;

/// A signature from which no key can be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no public key recovers from the signature")]
pub struct BadSignature;

/// Signs `digest` deterministically (RFC 6979), as libsecp256k1 does in geth.
pub fn sign(key: &SecretKey, digest: [u8; 32]) -> [u8; SIGNATURE] {
    let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest), key);
    let (v, rs) = signature.serialize_compact();
    let mut bytes = [0; SIGNATURE];
    bytes[..64].copy_from_slice(&rs);
    bytes[64] = u8::from(v);
    bytes
}

/// The key that signed `digest`. An altered signature usually recovers to some
/// other key rather than to an error, so compare what comes back.
pub fn recover(digest: [u8; 32], signature: &[u8; SIGNATURE]) -> Result<PublicKey, BadSignature> {
    let (rs, v) = (&signature[..64], signature[64]);
    let v = RecoveryId::try_from(i32::from(v)).map_err(|_| BadSignature)?;
    RecoverableSignature::from_compact(rs, v)
        .and_then(|signature| signature.recover_ecdsa(Message::from_digest(digest)))
        .map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_is_recovered() {
        let key = SecretKey::from_secret_bytes([0x66; 32]).unwrap();
        let signature = sign(&key, [7; 32]);
        assert_eq!(recover([7; 32], &signature), Ok(key.public_key()));
        assert_ne!(recover([8; 32], &signature), Ok(key.public_key()));
    }

    #[test]
    fn signatures_out_of_range_are_refused() {
        let mut signature = sign(&SecretKey::from_secret_bytes([1; 32]).unwrap(), [7; 32]);
        signature[64] = 4;
        assert_eq!(recover([7; 32], &signature), Err(BadSignature));
        assert_eq!(recover([7; 32], &[0; 65]), Err(BadSignature));
        assert_eq!(recover([7; 32], &[0xff; 65]), Err(BadSignature));
    }
}
