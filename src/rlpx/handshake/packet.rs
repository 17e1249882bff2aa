//! A handshake packet on the wire: where it ends, and what is inside.
//!
//! ```text
//! EIP-8:  size (2, big-endian) || ECIES(body || padding, s2 = the size bytes)
//! legacy: ECIES(body)          of one fixed length
//! ```
//!
//! Always true:
//! - Nothing past the packet is taken off the input.
//! - Each form is tried once, so a slow sender costs no more than a fast one.

use bytes::{Bytes, BytesMut};
use secp256k1::{PublicKey, SecretKey};

use super::{Format, HandshakeError, HandshakeRandom, MAX_PACKET};
use crate::rlpx::ecies;

/// Length of the EIP-8 size prefix.
const PREFIX: usize = 2;

/// A packet that has arrived and was decrypted.
#[derive(Debug)]
pub(super) struct Opened {
    /// The bytes as sent, prefix included: they seed the MACs.
    pub(super) sent: Bytes,
    /// The decrypted body, with its padding.
    pub(super) body: Vec<u8>,
    /// How it was written.
    pub(super) format: Format,
}

/// Reads one packet out of bytes that arrive in pieces.
#[derive(Debug)]
pub(super) struct PacketReader {
    /// Length of the plain form, 307 or 210 bytes; no EIP-8 size is below it.
    legacy_len: usize,
    /// The plain form was tried and does not fit.
    not_legacy: bool,
}

impl PacketReader {
    pub(super) fn new(legacy_len: usize) -> Self {
        Self {
            legacy_len,
            not_legacy: false,
        }
    }

    /// The packet, once it is complete; `None` until then.
    pub(super) fn read(
        &mut self,
        key: &SecretKey,
        input: &mut BytesMut,
    ) -> Result<Option<Opened>, HandshakeError> {
        let Some(&prefix) = input.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        // The plain form starts with the 04 of a public key. A size can, too,
        // so that both are tried then; all others are known by one byte.
        if prefix[0] != 4 {
            self.not_legacy = true;
        }
        if !self.not_legacy {
            if input.len() < self.legacy_len {
                return Ok(None);
            }
            if let Ok(body) = ecies::decrypt(key, &input[..self.legacy_len], &[]) {
                return Ok(Some(Opened {
                    sent: input.split_to(self.legacy_len).freeze(),
                    body,
                    format: Format::Legacy,
                }));
            }
            self.not_legacy = true;
        }

        let size = usize::from(u16::from_be_bytes(prefix));
        if size < self.legacy_len {
            return Err(HandshakeError::TooShort {
                size,
                least: self.legacy_len,
            });
        }
        let total = PREFIX + size;
        if total > MAX_PACKET {
            return Err(HandshakeError::TooLarge { size: total });
        }
        if input.len() < total {
            return Ok(None);
        }
        let body = ecies::decrypt(key, &input[PREFIX..total], &prefix)?;
        Ok(Some(Opened {
            sent: input.split_to(total).freeze(),
            body,
            format: Format::Eip8,
        }))
    }
}

/// Encrypts a body as a packet. An EIP-8 body is padded first; a plain one is
/// of fixed length.
pub(super) fn seal(
    format: Format,
    mut body: Vec<u8>,
    to: &PublicKey,
    random: &HandshakeRandom,
) -> Bytes {
    match format {
        Format::Legacy => ecies::encrypt(&random.ecies, to, &body, &[]).into(),
        Format::Eip8 => {
            body.resize(body.len() + random.padding, 0);
            let size = u16::try_from(body.len() + ecies::OVERHEAD)
                .expect("a handshake body and its padding are below 64 KiB");
            let prefix = size.to_be_bytes();
            let mut sent = prefix.to_vec();
            sent.extend_from_slice(&ecies::encrypt(&random.ecies, to, &body, &prefix));
            sent.into()
        }
    }
}
