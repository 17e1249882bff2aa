//! The side that is dialled.

use std::fmt;

use bytes::{Bytes, BytesMut};
use secp256k1::SecretKey;

use super::ack::AckBody;
use super::auth::{AuthBody, LEGACY_AUTH_PACKET};
use super::packet::{self, PacketReader};
use super::secrets::{Role, Secrets, Transcript};
use super::{Established, HandshakeError, HandshakeRandom, Step, xor};
use crate::rlpx::ecies::shared_secret;
use crate::rlpx::{NodeId, NodeKey, signature};

/// A responder that waits for auth.
pub struct AwaitingAuth {
    key: SecretKey,
    random: HandshakeRandom,
    reader: PacketReader,
}

/// A responder that has read auth: its part of the handshake is done once
/// `ack` is sent.
#[derive(Debug)]
pub struct Answered {
    /// To be sent, in the format the initiator used.
    pub ack: Bytes,
    /// What the initiator said.
    pub auth: AuthBody,
    /// The link.
    pub established: Established,
}

impl AwaitingAuth {
    /// Waits for an initiator.
    pub fn new(key: &NodeKey, random: HandshakeRandom) -> Self {
        Self {
            key: *key.secret(),
            random,
            reader: PacketReader::new(LEGACY_AUTH_PACKET),
        }
    }

    /// Takes the initiator's auth off `input`, once it has fully arrived.
    pub fn receive(mut self, input: &mut BytesMut) -> Result<Step<Self, Answered>, HandshakeError> {
        let Some(auth) = self.reader.read(&self.key, input)? else {
            return Ok(Step::NeedMore(self));
        };
        let body = AuthBody::decode(auth.format, &auth.body)?;
        let initiator = body
            .initiator
            .public_key()
            .map_err(|_| HandshakeError::BadPublicKey)?;
        let token = shared_secret(&initiator, &self.key);
        let ephemeral = signature::recover(xor(&token, &body.nonce), &body.signature)
            .map_err(|_| HandshakeError::BadSignature)?;

        let ours = NodeId::of(&self.random.ephemeral.public_key());
        let ack_body = AckBody::new(ours, self.random.nonce);
        let ack = packet::seal(
            auth.format,
            ack_body.encode(auth.format),
            &initiator,
            &self.random,
        );
        let secrets = Secrets::derive(
            Role::Responder,
            &shared_secret(&ephemeral, &self.random.ephemeral),
            &Transcript {
                initiator_nonce: &body.nonce,
                responder_nonce: &self.random.nonce,
                auth: &auth.sent,
                ack: &ack,
            },
        );
        Ok(Step::Done(Answered {
            ack,
            established: Established {
                remote: body.initiator,
                secrets,
            },
            auth: body,
        }))
    }
}

impl Drop for AwaitingAuth {
    fn drop(&mut self) {
        self.key.non_secure_erase();
    }
}

impl fmt::Debug for AwaitingAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitingAuth")
    }
}
