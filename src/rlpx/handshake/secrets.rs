//! What both sides derive from a finished handshake.
//!
//! ```text
//! shared = K(eS || K(responder nonce || initiator nonce))     eS = ECDH(ephemeral keys)
//! aes    = K(eS || shared)            mac = K(eS || aes)
//! initiator -> responder: MAC state absorbs (mac XOR responder nonce) || auth as sent
//! responder -> initiator: MAC state absorbs (mac XOR initiator nonce) || ack as sent
//! ```

use std::fmt;

use keccak_asm::{Digest, Keccak256};
use zeroize::Zeroizing;

use super::xor;
use crate::keccak::keccak256_concat;
use crate::rlpx::frame::{FrameDecoder, FrameEncoder};

/// Which side of the handshake this node was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sent auth.
    Initiator,
    /// It sent ack.
    Responder,
}

/// The public parts of a handshake that go into its secrets.
pub(super) struct Transcript<'a> {
    pub(super) initiator_nonce: &'a [u8; 32],
    pub(super) responder_nonce: &'a [u8; 32],
    /// The auth packet as sent, size prefix included.
    pub(super) auth: &'a [u8],
    /// The ack packet as sent, size prefix included.
    pub(super) ack: &'a [u8],
}

/// Keys and MAC states of a link, from one side's view.
pub struct Secrets {
    pub(super) aes: Zeroizing<[u8; 32]>,
    pub(super) mac: Zeroizing<[u8; 32]>,
    pub(super) egress: Keccak256,
    pub(super) ingress: Keccak256,
}

impl Secrets {
    pub(super) fn derive(
        role: Role,
        ephemeral_secret: &[u8; 32],
        transcript: &Transcript<'_>,
    ) -> Self {
        let nonces = keccak256_concat(&[transcript.responder_nonce, transcript.initiator_nonce]);
        let shared = Zeroizing::new(keccak256_concat(&[ephemeral_secret, &nonces]));
        let aes = Zeroizing::new(keccak256_concat(&[ephemeral_secret, shared.as_slice()]));
        let mac = Zeroizing::new(keccak256_concat(&[ephemeral_secret, aes.as_slice()]));

        let to_responder = seeded(&mac, transcript.responder_nonce, transcript.auth);
        let to_initiator = seeded(&mac, transcript.initiator_nonce, transcript.ack);
        let (egress, ingress) = match role {
            Role::Initiator => (to_responder, to_initiator),
            Role::Responder => (to_initiator, to_responder),
        };
        Self {
            aes,
            mac,
            egress,
            ingress,
        }
    }

    /// The two directions of the link, ready for the first frame.
    pub fn into_frames(self) -> (FrameEncoder, FrameDecoder) {
        (
            FrameEncoder::new(&self.aes, &self.mac, self.egress),
            FrameDecoder::new(&self.aes, &self.mac, self.ingress),
        )
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

fn seeded(mac: &[u8; 32], nonce: &[u8; 32], packet: &[u8]) -> Keccak256 {
    let mut state = Keccak256::new();
    state.update(xor(mac, nonce));
    state.update(packet);
    state
}
