//! The side that dials.

use std::fmt;

use bytes::{Bytes, BytesMut};
use secp256k1::SecretKey;

use super::ack::{AckBody, LEGACY_ACK_PACKET};
use super::auth::AuthBody;
use super::packet::{self, PacketReader};
use super::secrets::{Role, Secrets, Transcript};
use super::{Established, Format, HandshakeError, HandshakeRandom, Step};
use crate::rlpx::ecies::shared_secret;
use crate::rlpx::{KeyError, NodeId, NodeKey};

/// An initiator that has sent auth and waits for ack.
pub struct AuthSent {
    key: SecretKey,
    remote: NodeId,
    random: HandshakeRandom,
    auth: Bytes,
    reader: PacketReader,
}

impl AuthSent {
    /// Starts a handshake with `remote`; the bytes are to be sent. Fails where
    /// `remote` is no public key.
    pub fn start(
        key: &NodeKey,
        remote: NodeId,
        random: HandshakeRandom,
    ) -> Result<(Self, Bytes), KeyError> {
        let remote_key = remote.public_key()?;
        let token = shared_secret(&remote_key, key.secret());
        let body = AuthBody::new(key, &random.ephemeral, random.nonce, &token);
        let auth = packet::seal(Format::Eip8, body.encode(), &remote_key, &random);
        Ok((Self::sent(key, remote, random, auth.clone()), auth))
    }

    /// The stage after `auth` went out.
    pub(super) fn sent(
        key: &NodeKey,
        remote: NodeId,
        random: HandshakeRandom,
        auth: Bytes,
    ) -> Self {
        Self {
            key: *key.secret(),
            remote,
            random,
            auth,
            reader: PacketReader::new(LEGACY_ACK_PACKET),
        }
    }

    /// Takes the responder's ack off `input`, once it has fully arrived.
    pub fn receive(
        mut self,
        input: &mut BytesMut,
    ) -> Result<Step<Self, Established>, HandshakeError> {
        let Some(ack) = self.reader.read(&self.key, input)? else {
            return Ok(Step::NeedMore(self));
        };
        let body = AckBody::decode(ack.format, &ack.body)?;
        let ephemeral = body
            .ephemeral
            .public_key()
            .map_err(|_| HandshakeError::BadPublicKey)?;
        let secrets = Secrets::derive(
            Role::Initiator,
            &shared_secret(&ephemeral, &self.random.ephemeral),
            &Transcript {
                initiator_nonce: &self.random.nonce,
                responder_nonce: &body.nonce,
                auth: &self.auth,
                ack: &ack.sent,
            },
        );
        Ok(Step::Done(Established {
            remote: self.remote,
            secrets,
        }))
    }
}

impl Drop for AuthSent {
    fn drop(&mut self) {
        self.key.non_secure_erase();
    }
}

impl fmt::Debug for AuthSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSent")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
