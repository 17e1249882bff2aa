//! How two nodes agree on the secrets of a link.
//!
//! ```text
//! initiator                                  responder
//! AuthSent --------------- auth -----------> AwaitingAuth
//! AuthSent <--------------- ack ------------ Established
//! Established
//! ```
//!
//! Always true:
//! - Each stage is a type, and reading consumes it: a secret that is not there
//!   yet cannot be used.
//! - No packet above [`MAX_PACKET`] is buffered, whatever length it claims.
//! - A failed handshake is answered by closing the connection: there are no
//!   secrets yet to write a reason with.
//!
//! Source: devp2p `rlpx.md` and EIP-8; the plain form of before EIP-8 is read
//! and answered in kind, never sent first.

mod ack;
mod auth;
#[cfg(test)]
mod hostile;
mod initiator;
mod packet;
mod responder;
mod secrets;
#[cfg(test)]
mod vectors;

use secp256k1::SecretKey;

use crate::rlpx::NodeId;
use crate::rlpx::ecies::{EciesError, EciesRandom};
use crate::rlpx::random::{random_bytes, random_secret_key};

pub use ack::AckBody;
pub use auth::AuthBody;
pub(in crate::rlpx) use auth::count_items;
pub use initiator::AuthSent;
pub use responder::{Answered, AwaitingAuth};
pub use secrets::{Role, Secrets};

/// Largest handshake packet that is read, size prefix included: 2 KB. EIP-8
/// packets have about 500 bytes; the two size bytes alone would allow 65,537.
pub const MAX_PACKET: usize = 2_048;

/// The version both sides write into auth and ack; readers do not compare it.
pub const RLPX_VERSION: u64 = 4;

/// Which of the two packet layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An RLP list with padding, after its size in two bytes (EIP-8).
    Eip8,
    /// Fields at fixed offsets and no size, from before EIP-8.
    Legacy,
}

/// What reading a stage gave.
#[derive(Debug)]
pub enum Step<Stage, Next> {
    /// The packet has not fully arrived.
    NeedMore(Stage),
    /// It has, and was taken off the input.
    Done(Next),
}

/// The link's secrets, and who is on the other end.
#[derive(Debug)]
pub struct Established {
    /// The peer's static key, proven by the handshake.
    pub remote: NodeId,
    /// Keys and MAC states for frames.
    pub secrets: Secrets,
}

/// The random values of one side of one handshake.
pub struct HandshakeRandom {
    /// One-time key of this side.
    pub ephemeral: SecretKey,
    /// Nonce of this side.
    pub nonce: [u8; 32],
    /// For the encryption of the one packet this side sends.
    pub ecies: EciesRandom,
    /// How many zero bytes follow an EIP-8 body.
    pub padding: usize,
}

impl HandshakeRandom {
    /// Least padding: less would make an auth packet shorter than 307 bytes,
    /// and a responder then takes its size for an error.
    const MIN_PADDING: usize = 100;
    /// How many paddings there are: 100 to 299, so that packets cannot be told
    /// by their length.
    const PADDINGS: u16 = 200;

    /// Fresh values from the operating system's generator.
    pub fn draw() -> Self {
        let draw = u16::from_be_bytes(random_bytes());
        Self {
            ephemeral: random_secret_key(),
            nonce: random_bytes(),
            ecies: EciesRandom::draw(),
            padding: Self::MIN_PADDING + usize::from(draw % Self::PADDINGS),
        }
    }
}

impl Drop for HandshakeRandom {
    fn drop(&mut self) {
        self.ephemeral.non_secure_erase();
    }
}

/// Why a handshake failed. Each is the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The size prefix names fewer bytes than the plain form has.
    #[error("handshake packet of {size} bytes; the shortest has {least}")]
    TooShort {
        /// Size the packet claims.
        size: usize,
        /// Size it needs.
        least: usize,
    },
    /// The packet would be larger than is read.
    #[error("handshake packet of {size} bytes; at most {MAX_PACKET} are read")]
    TooLarge {
        /// Size the packet claims, prefix included.
        size: usize,
    },
    /// It was not encrypted to us, or altered.
    #[error(transparent)]
    Ecies(#[from] EciesError),
    /// The decrypted list has the wrong shape.
    #[error("handshake body: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// A public key in the body is no point of the curve.
    #[error("handshake body holds an invalid public key")]
    BadPublicKey,
    /// No ephemeral key recovers from the signature.
    #[error("handshake signature recovers to no key")]
    BadSignature,
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}
