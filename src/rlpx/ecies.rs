//! Encryption to a public key (ECIES on secp256k1), as devp2p handshakes and
//! asymmetric Whisper messages use it.
//!
//! ```text
//! ciphertext = 04 || X || Y of an ephemeral key (65) || IV (16) || body || tag (32)
//! z  = X coordinate of ECDH(ephemeral, recipient)
//! k  = SHA256(00000001 || z)            one block of the SP 800-56 concat KDF
//! body = AES-128-CTR(k[0..16], IV)      tag = HMAC-SHA256(SHA256(k[16..32]), IV || body || s2)
//! ```
//!
//! Always true:
//! - Nothing is decrypted before its tag has matched, in constant time.
//! - Lengths are checked before bytes are sliced.
//!
//! Source: devp2p `rlpx.md`, section "ECIES Encryption".

use cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use secp256k1::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::rlpx::random::{random_bytes, random_secret_key};

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;

/// Length of an uncompressed public key, `04 || X || Y`.
const POINT: usize = 65;
/// Length of the AES initialisation vector.
const IV: usize = 16;
/// Length of the authentication tag.
const TAG: usize = 32;

/// Bytes a ciphertext is longer than its plaintext.
pub const OVERHEAD: usize = POINT + IV + TAG;

/// Why a ciphertext was not decrypted. Each is the sender's fault, or means
/// that the message is for somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EciesError {
    /// Fewer bytes than an empty message has.
    #[error("ECIES ciphertext of {len} bytes; the shortest has {OVERHEAD}")]
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// The ephemeral key is no uncompressed point of the curve.
    #[error("ECIES ciphertext does not start with a public key")]
    BadPublicKey,
    /// The tag differs: altered bytes, or another recipient.
    #[error("ECIES tag does not match")]
    BadTag,
}

/// The random part of one encryption. Used for one message only.
pub struct EciesRandom {
    /// One-time key; its public half opens the ciphertext.
    pub ephemeral: SecretKey,
    /// Initial counter block of the cipher.
    pub iv: [u8; IV],
}

impl EciesRandom {
    /// Fresh values from the operating system's generator.
    pub fn draw() -> Self {
        Self {
            ephemeral: random_secret_key(),
            iv: random_bytes(),
        }
    }
}

impl Drop for EciesRandom {
    fn drop(&mut self) {
        self.ephemeral.non_secure_erase();
    }
}

/// Encrypts `plain` to the owner of `to`. `s2` is authenticated, not sent: the
/// two size bytes of an EIP-8 packet, empty everywhere else.
pub fn encrypt(random: &EciesRandom, to: &PublicKey, plain: &[u8], s2: &[u8]) -> Vec<u8> {
    let keys = Keys::agree(to, &random.ephemeral);
    let mut out = Vec::with_capacity(OVERHEAD + plain.len());
    out.extend_from_slice(&random.ephemeral.public_key().serialize_uncompressed());
    out.extend_from_slice(&random.iv);
    out.extend_from_slice(plain);
    keys.apply_cipher(&random.iv, &mut out[POINT + IV..]);
    let tag = keys.mac(&out[POINT..], s2).finalize().into_bytes();
    out.extend_from_slice(&tag);
    out
}

/// Decrypts `ciphertext` with the recipient's secret key; `s2` as the sender
/// gave it.
pub fn decrypt(key: &SecretKey, ciphertext: &[u8], s2: &[u8]) -> Result<Vec<u8>, EciesError> {
    let short = EciesError::TooShort {
        len: ciphertext.len(),
    };
    let (point, rest) = ciphertext.split_first_chunk::<POINT>().ok_or(short)?;
    let (authenticated, tag) = rest.split_last_chunk::<TAG>().ok_or(short)?;
    let (iv, body) = authenticated.split_first_chunk::<IV>().ok_or(short)?;
    // The curve library also reads "hybrid" points, 06 and 07; the wire has none.
    if point[0] != 4 {
        return Err(EciesError::BadPublicKey);
    }
    let ephemeral =
        PublicKey::from_byte_array_uncompressed(*point).map_err(|_| EciesError::BadPublicKey)?;

    let keys = Keys::agree(&ephemeral, key);
    keys.mac(authenticated, s2)
        .verify_slice(tag)
        .map_err(|_| EciesError::BadTag)?;
    let mut plain = body.to_vec();
    keys.apply_cipher(iv, &mut plain);
    Ok(plain)
}

/// X coordinate of the shared point, 32 bytes big-endian: the plain ECDH
/// secret of devp2p, without the hash that libsecp256k1 applies by default.
pub fn shared_secret(theirs: &PublicKey, ours: &SecretKey) -> Zeroizing<[u8; 32]> {
    let point = Zeroizing::new(secp256k1::ecdh::shared_secret_point(theirs, ours));
    let mut x = Zeroizing::new([0; 32]);
    x.copy_from_slice(&point[..32]);
    x
}

/// What both sides derive from the shared point.
struct Keys {
    encryption: Zeroizing<[u8; 16]>,
    authentication: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn agree(theirs: &PublicKey, ours: &SecretKey) -> Self {
        let z = shared_secret(theirs, ours);
        let mut kdf = Sha256::new();
        kdf.update(1_u32.to_be_bytes());
        kdf.update(z.as_slice());
        let k = Zeroizing::new(<[u8; 32]>::from(kdf.finalize()));
        let mut encryption = Zeroizing::new([0; 16]);
        encryption.copy_from_slice(&k[..16]);
        Self {
            encryption,
            authentication: Zeroizing::new(Sha256::digest(&k[16..]).into()),
        }
    }

    fn apply_cipher(&self, iv: &[u8; IV], bytes: &mut [u8]) {
        Aes128Ctr::new((&*self.encryption).into(), iv.into()).apply_keystream(bytes);
    }

    fn mac(&self, authenticated: &[u8], s2: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.authentication.as_slice())
            .expect("HMAC takes keys of every length");
        mac.update(authenticated);
        mac.update(s2);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_secret_bytes([byte; 32]).unwrap()
    }

    #[test]
    fn a_message_encrypts_to_the_bytes_geth_gives() {
        let random = EciesRandom {
            ephemeral: key(0x44),
            iv: [0x55; 16],
        };
        let plain = hex::decode("010568656c6c6faaaaaaaaaaaaaaaaaa").unwrap();
        let to = key(0x33).public_key();
        let keys = Keys::agree(&to, &random.ephemeral);
        assert_eq!(
            hex::encode(*shared_secret(&to, &random.ephemeral)),
            "d583a5c49d410f20165c8e3bb4b62c65b2f42cd08c02a6b6298558707772801c"
        );
        assert_eq!(
            hex::encode(*keys.encryption),
            "528f3b4c5e972da18ebc15904c08ac55"
        );
        assert_eq!(
            hex::encode(*keys.authentication),
            "ca79bd86a644218eda0fd7e4ed5f298778d7aa8d51218860c5a8eed4accffd1d"
        );
        let sent = encrypt(&random, &to, &plain, &[]);
        assert_eq!(
            hex::encode(&sent),
            "042c0b7cf95324a07d05398b240174dc0c2be444d96b159aa6c7f7b1e668680991ae31a9c671a36543f46\
             cea8fce6984608aa316aa0472a7eed08847440218cb2f55555555555555555555555555555555c0b40010\
             b0e511d94faef86390fc9ec007e56ac470c7d876958d45c8b5361bfdca5f6cc1cf2b2de658b55b76adc96b4d"
        );
        assert_eq!(decrypt(&key(0x33), &sent, &[]).unwrap(), plain);
    }

    #[test]
    fn every_length_below_an_empty_message_is_refused() {
        let sent = encrypt(&EciesRandom::draw(), &key(1).public_key(), b"", b"");
        assert_eq!(sent.len(), OVERHEAD);
        assert_eq!(decrypt(&key(1), &sent, b"").unwrap(), b"");
        for len in 0..OVERHEAD {
            assert_eq!(
                decrypt(&key(1), &sent[..len], b""),
                Err(EciesError::TooShort { len })
            );
        }
    }

    #[test]
    fn only_uncompressed_points_of_the_curve_open_a_message() {
        let sent = encrypt(&EciesRandom::draw(), &key(1).public_key(), b"text", b"");
        for first in [0, 1, 2, 3, 5, 6, 7, 255] {
            let mut other = sent.clone();
            other[0] = first;
            assert_eq!(
                decrypt(&key(1), &other, b""),
                Err(EciesError::BadPublicKey),
                "first byte {first}"
            );
        }
        let mut zero = sent;
        zero[1..65].fill(0);
        assert_eq!(decrypt(&key(1), &zero, b""), Err(EciesError::BadPublicKey));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_altered_bit_is_noticed(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            s2 in proptest::collection::vec(any::<u8>(), 0..4),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let sent = encrypt(&EciesRandom::draw(), &key(7).public_key(), &plain, &s2);
            prop_assert_eq!(decrypt(&key(7), &sent, &s2).unwrap(), plain);
            prop_assert!(decrypt(&key(8), &sent, &s2).is_err());
            let mut altered = sent.clone();
            altered[at.index(sent.len())] ^= 1_u8 << bit;
            prop_assert!(decrypt(&key(7), &altered, &s2).is_err());
            let mut longer = s2;
            longer.push(0);
            prop_assert!(decrypt(&key(7), &sent, &longer).is_err());
        }
    }
}
