//! What an envelope's data holds once decrypted: payload, padding, signature.
//!
//! Always true:
//! - [`Opened::validate`] never panics and never reads past its input, whatever
//!   the sender wrote. (Both reference nodes can be crashed there.)
//! - Composing is the inverse of validating.
//! - Randomness is handed in.
//!
//! Plaintext: `flags (1) ++ payload size (LE, 0..3 bytes) ++ payload ++ padding
//! ++ signature (65, if signed)`. Flag bits 0-1: bytes of the size; bit 2:
//! signed. Symmetric data: `AES-256-GCM ciphertext ++ tag (16) ++ nonce (12)`;
//! asymmetric data: ECIES (`rlpx::ecies`) with nothing shared.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use secp256k1::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::keccak::keccak256;
use crate::rlpx::ecies::{self, EciesRandom};
use crate::rlpx::random::random_bytes;
use crate::rlpx::signature::{self, SIGNATURE};
use crate::whisper::keys::SymKey;

/// Plaintexts are padded to a multiple of this, to hide the payload's length.
pub const PADDING_BLOCK: usize = 256;

/// Bytes of the AES-GCM nonce, the last of symmetric data.
pub const NONCE_SIZE: usize = 12;

/// The longest payload: three bytes hold its length.
pub const MAX_PAYLOAD: usize = (1 << 24) - 1;

const SIZE_MASK: u8 = 0b011;
const SIGNED: u8 = 0b100;

/// Why data does not open, or does not hold a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not encrypted with this key, or changed on the way.
    #[error("not encrypted with this key")]
    WrongKey,
    /// Decrypts, but is empty.
    #[error("the plaintext is empty")]
    Empty,
    /// Announces a signature and is too short for one.
    #[error("a signed plaintext of {0} bytes has no room for its signature")]
    NoSignature(usize),
    /// Announces a payload that does not fit.
    #[error("a payload of {size} bytes does not fit into {room}")]
    PayloadSize {
        /// Bytes announced, with their size field.
        size: usize,
        /// Bytes there.
        room: usize,
    },
    /// No key can have made the signature.
    #[error("the signature is not one")]
    BadSignature,
}

/// A payload too long to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {0} bytes is longer than {MAX_PAYLOAD}")]
pub struct PayloadTooLong(pub usize);

/// A message out of its envelope.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The first byte as sent; its upper bits mean nothing.
    pub flags: u8,
    /// What was said.
    pub payload: Vec<u8>,
    /// What hid its length.
    pub padding: Vec<u8>,
    /// The signature over everything before it.
    pub signature: Option<[u8; SIGNATURE]>,
    /// Who signed.
    pub signer: Option<PublicKey>,
}

impl Opened {
    /// Decrypts symmetric data and validates what it holds.
    pub fn open_symmetric(key: &SymKey, data: &[u8]) -> Result<Self, MessageError> {
        Self::validate(&decrypt_symmetric(key, data)?)
    }

    /// Decrypts data made for the owner of `key` and validates what it holds.
    pub fn open_asymmetric(key: &SecretKey, data: &[u8]) -> Result<Self, MessageError> {
        let plain =
            Zeroizing::new(ecies::decrypt(key, data, &[]).map_err(|_| MessageError::WrongKey)?);
        Self::validate(&plain)
    }

    /// Takes a decrypted plaintext apart.
    pub fn validate(plain: &[u8]) -> Result<Self, MessageError> {
        let Some((&flags, rest)) = plain.split_first() else {
            return Err(MessageError::Empty);
        };
        let (rest, signature) = if flags & SIGNED == 0 {
            (rest, None)
        } else {
            // Something besides flags and signature must be there: the
            // reference refuses a plaintext of 66 bytes.
            let (rest, signature) = rest
                .split_last_chunk::<SIGNATURE>()
                .filter(|(rest, _)| !rest.is_empty())
                .ok_or(MessageError::NoSignature(plain.len()))?;
            (rest, Some(*signature))
        };
        let size_len = usize::from(flags & SIZE_MASK);
        let mut size = [0; 4];
        let room = rest.len();
        let too_long = |size| MessageError::PayloadSize { size, room };
        let (size_field, rest) = rest
            .split_at_checked(size_len)
            .ok_or_else(|| too_long(size_len))?;
        size[..size_len].copy_from_slice(size_field);
        let size = usize::try_from(u32::from_le_bytes(size)).map_err(|_| too_long(usize::MAX))?;
        let (payload, padding) = rest
            .split_at_checked(size)
            .ok_or_else(|| too_long(size_len + size))?;
        let signer = signature
            .map(|signature| {
                let signed = &plain[..plain.len() - SIGNATURE];
                signature::recover(keccak256(signed), &signature)
                    .map_err(|_| MessageError::BadSignature)
            })
            .transpose()?;
        Ok(Self {
            flags,
            payload: payload.to_vec(),
            padding: padding.to_vec(),
            signature,
            signer,
        })
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("payload_len", &self.payload.len())
            .field("padding_len", &self.padding.len())
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// Writes the plaintext of a message. `padding` stands between payload and
/// signature as it is; [`padding_len`] tells how much the reference adds.
pub fn compose(
    payload: &[u8],
    padding: &[u8],
    signer: Option<&SecretKey>,
) -> Result<Zeroizing<Vec<u8>>, PayloadTooLong> {
    let size = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= MAX_PAYLOAD)
        .ok_or(PayloadTooLong(payload.len()))?
        .to_le_bytes();
    let size_len = size_field_len(payload.len());
    let mut flags = size_len;
    if signer.is_some() {
        flags |= SIGNED;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(
        1 + size.len() + payload.len() + padding.len() + SIGNATURE,
    ));
    plain.push(flags);
    plain.extend_from_slice(&size[..usize::from(size_len)]);
    plain.extend_from_slice(payload);
    plain.extend_from_slice(padding);
    if let Some(key) = signer {
        let signature = signature::sign(key, keccak256(&*plain));
        plain.extend_from_slice(&signature);
    }
    Ok(plain)
}

/// How much padding brings a plaintext to a multiple of [`PADDING_BLOCK`]: 1 to
/// 256 bytes.
pub fn padding_len(payload_len: usize, signed: bool) -> usize {
    let signature = if signed { SIGNATURE } else { 0 };
    let unpadded = 1 + usize::from(size_field_len(payload_len)) + payload_len + signature;
    PADDING_BLOCK - unpadded % PADDING_BLOCK
}

/// The fewest bytes that hold a payload's length; one for an empty payload.
fn size_field_len(payload_len: usize) -> u8 {
    match payload_len {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 3,
    }
}

/// Random values one message needs.
pub struct MessageRandom {
    /// Padding; as much is used as [`padding_len`] says.
    pub padding: [u8; PADDING_BLOCK],
    /// The AES-GCM nonce of a symmetric message. Never used twice with a key.
    pub nonce: [u8; NONCE_SIZE],
    /// Ephemeral key and IV of an asymmetric message.
    pub ecies: EciesRandom,
}

impl MessageRandom {
    /// Draws them from the operating system.
    pub fn draw() -> Self {
        Self {
            padding: random_bytes(),
            nonce: random_bytes(),
            ecies: EciesRandom::draw(),
        }
    }
}

/// Who may read a message.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// All who hold this key.
    Holders(&'a SymKey),
    /// The owner of this key.
    Owner(&'a PublicKey),
}

/// Makes the data of an envelope: composed, padded, encrypted.
pub fn seal(
    payload: &[u8],
    signer: Option<&SecretKey>,
    reader: Reader<'_>,
    random: &MessageRandom,
) -> Result<Vec<u8>, PayloadTooLong> {
    let padding = &random.padding[..padding_len(payload.len(), signer.is_some())];
    let plain = compose(payload, padding, signer)?;
    Ok(match reader {
        Reader::Holders(key) => encrypt_symmetric(key, &random.nonce, &plain),
        Reader::Owner(key) => ecies::encrypt(&random.ecies, key, &plain, &[]),
    })
}

/// Encrypts a plaintext for the holders of `key`.
pub fn encrypt_symmetric(key: &SymKey, nonce: &[u8; NONCE_SIZE], plain: &[u8]) -> Vec<u8> {
    let mut data = cipher(key)
        .encrypt(&Nonce::from(*nonce), plain)
        .expect("a plaintext of at most 16 MiB is within what AES-GCM takes");
    data.extend_from_slice(nonce);
    data
}

/// Decrypts symmetric data; the plaintext is still to be validated.
pub fn decrypt_symmetric(key: &SymKey, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    let (ciphertext, nonce) = data
        .split_last_chunk::<NONCE_SIZE>()
        .ok_or(MessageError::WrongKey)?;
    cipher(key)
        .decrypt(&Nonce::from(*nonce), ciphertext)
        .map(Zeroizing::new)
        .map_err(|_| MessageError::WrongKey)
}

fn cipher(key: &SymKey) -> Aes256Gcm {
    Aes256Gcm::new(key.secret_bytes().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_secret_bytes([byte; 32]).unwrap()
    }

    #[test]
    fn plaintexts_are_laid_out_as_in_the_reference() {
        let unsigned = compose(b"hello", &[0xaa; 9], None).unwrap();
        assert_eq!(hex::encode(&*unsigned), "010568656c6c6faaaaaaaaaaaaaaaaaa");
        let signed = compose(b"hello", &[0xaa; 9], Some(&key(0x33))).unwrap();
        assert_eq!(
            hex::encode(&*signed),
            "050568656c6c6faaaaaaaaaaaaaaaaaa26f142694977fbfb1d65a4cf79ea58a1845792206fb88d3c\
             c241a02f350f087553243960ecd8cb305141f8d6a5a58d6c158ffb6be8e0c8fbd9648a52135a54ca00"
        );
    }

    #[test]
    fn symmetric_data_ends_with_its_nonce() {
        let key = SymKey::new([0x11; 32]).unwrap();
        let plain = compose(b"hello", &[0xaa; 9], None).unwrap();
        let data = encrypt_symmetric(&key, &[0x22; 12], &plain);
        assert_eq!(
            hex::encode(&data),
            "16f26f2caca3f0f54f957496e20c437f31ccc1d38c9df1fb76f5c5d88cd4e89f\
             222222222222222222222222"
        );
        assert_eq!(
            Opened::open_symmetric(&key, &data).unwrap().payload,
            b"hello"
        );
    }

    #[test]
    fn padding_fills_the_block_and_is_never_empty() {
        assert_eq!(padding_len(5, false), 249);
        assert_eq!(padding_len(254, false), 256);
        assert_eq!(padding_len(253, false), 1);
        assert_eq!(padding_len(0, true), 256 - 67);
    }

    #[test]
    fn a_message_for_one_reader_opens_for_no_other() {
        let reader = key(0x44).public_key();
        let random = MessageRandom::draw();
        let data = seal(b"hi", Some(&key(0x33)), Reader::Owner(&reader), &random).unwrap();
        let opened = Opened::open_asymmetric(&key(0x44), &data).unwrap();
        assert_eq!(opened.payload, b"hi");
        assert_eq!(opened.signer, Some(key(0x33).public_key()));
        assert_eq!(
            Opened::open_asymmetric(&key(0x45), &data),
            Err(MessageError::WrongKey)
        );
    }

    #[test]
    fn payloads_beyond_three_bytes_of_length_are_not_composed() {
        let payload = vec![0; MAX_PAYLOAD + 1];
        assert_eq!(
            compose(&payload, &[], None).err(),
            Some(PayloadTooLong(MAX_PAYLOAD + 1))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_a_message_or_refused(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(opened) = Opened::validate(&plain) {
                let used = 1 + usize::from(opened.flags & SIZE_MASK)
                    + opened.payload.len()
                    + opened.padding.len()
                    + opened.signature.map_or(0, |signature| signature.len());
                prop_assert_eq!(used, plain.len());
            }
        }

        #[test]
        fn what_is_composed_is_what_is_read(
            payload in proptest::collection::vec(any::<u8>(), 0..700),
            padding in proptest::collection::vec(any::<u8>(), 0..300),
            signed in any::<bool>(),
        ) {
            let signer = key(0x33);
            let plain = compose(&payload, &padding, signed.then_some(&signer)).unwrap();
            let opened = Opened::validate(&plain).unwrap();
            prop_assert_eq!(opened.payload, payload);
            prop_assert_eq!(opened.padding, padding);
            prop_assert_eq!(opened.signer, signed.then(|| signer.public_key()));
        }
    }
}
