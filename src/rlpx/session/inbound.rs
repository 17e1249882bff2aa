//! The reading half of a session.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{DISCONNECT, IDLE_LIMIT, PING, RemotePeer, SessionError};
use crate::limits::{Flood, Nuisance};
use crate::rlpx::PeerReason;
use crate::rlpx::capability::BASE_LENGTH;
use crate::rlpx::frame::{Frame, FrameDecoder};
use crate::rlpx::snappy;

/// A message of a shared protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its code on the wire; see [`super::SharedProtocol::message`].
    pub code: u64,
    /// Its payload, decompressed.
    pub payload: Bytes,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// For a protocol above.
    Message(Message),
    /// The peer asks for a Pong.
    Ping,
}

/// Turns received bytes into messages.
#[derive(Debug)]
pub struct Inbound {
    frames: FrameDecoder,
    compressed: bool,
    remote: Arc<RemotePeer>,
    heard_at: Instant,
    chatter: Nuisance,
}

impl Inbound {
    pub(super) fn new(
        frames: FrameDecoder,
        compressed: bool,
        remote: Arc<RemotePeer>,
        now: Instant,
    ) -> Self {
        Self {
            frames,
            compressed,
            remote,
            heard_at: now,
            chatter: Nuisance::of(Flood::Chatter),
        }
    }

    /// Takes the next message off `input`; `None` while none has fully
    /// arrived. After an error the session is over.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Option<Incoming>, SessionError> {
        while let Some(frame) = self.frames.decode(input)? {
            self.heard_at = now;
            match frame.code {
                DISCONNECT => {
                    let reason = PeerReason::from_payload(&frame.payload);
                    return Err(SessionError::Disconnected(reason));
                }
                // Pong says what every frame does: the peer is there. A second
                // Hello and the reserved codes mean nothing.
                code @ 0..BASE_LENGTH => {
                    self.chatter.count(1, now)?;
                    if code == PING {
                        return Ok(Some(Incoming::Ping));
                    }
                }
                _ => return self.message(frame).map(Some),
            }
        }
        Ok(None)
    }

    fn message(&self, frame: Frame) -> Result<Incoming, SessionError> {
        let Frame { code, payload } = frame;
        let shared = &self.remote.protocols;
        if !shared.iter().any(|shared| shared.message(code).is_some()) {
            return Err(SessionError::UnknownCode { code });
        }
        let payload = if self.compressed {
            snappy::decompress(&payload)?.into()
        } else {
            payload
        };
        Ok(Incoming::Message(Message { code, payload }))
    }

    /// When the peer will have been silent for too long. To be asked after
    /// [`Self::receive`] has seen all that arrived: a message counts from when
    /// it is read, so that a slow reader blames nobody.
    pub fn silent_at(&self) -> Instant {
        self.heard_at + IDLE_LIMIT
    }

    /// Fails once the peer has been silent for too long.
    pub fn check_silence(&self, now: Instant) -> Result<(), SessionError> {
        if now >= self.silent_at() {
            return Err(SessionError::Silent);
        }
        Ok(())
    }
}
