//! The writing half of a session.

use std::time::Instant;

use bytes::BytesMut;

use super::{DISCONNECT, PING, PING_INTERVAL, PONG};
use crate::rlpx::DisconnectReason;
use crate::rlpx::frame::{FrameEncoder, MessageTooLarge};
use crate::rlpx::snappy::{Compressor, MAX_MESSAGE};

/// The payload of Ping and Pong: an empty list.
const EMPTY: [u8; 1] = [0xc0];

/// Turns messages into bytes to send. Bytes must be sent in the order they
/// were appended; several messages may go out in one write.
#[derive(Debug)]
pub struct Outbound {
    frames: FrameEncoder,
    compressor: Option<Compressor>,
    ping_at: Instant,
}

impl Outbound {
    pub(super) fn new(frames: FrameEncoder, compressor: Option<Compressor>, now: Instant) -> Self {
        Self {
            frames,
            compressor,
            ping_at: now + PING_INTERVAL,
        }
    }

    /// Appends a message of a shared protocol; `code` is the one on the wire.
    /// A message that is too large leaves `out` and the session as they were.
    pub fn message(
        &mut self,
        code: u64,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), MessageTooLarge> {
        if payload.len() > MAX_MESSAGE {
            return Err(MessageTooLarge {
                size: payload.len(),
            });
        }
        match &mut self.compressor {
            Some(compressor) => self.frames.encode(code, compressor.compress(payload), out),
            None => self.frames.encode(code, payload, out),
        }
    }

    /// When the next Ping is due.
    pub fn ping_at(&self) -> Instant {
        self.ping_at
    }

    /// Appends a Ping; the next is due [`PING_INTERVAL`] later.
    pub fn ping(&mut self, now: Instant, out: &mut BytesMut) {
        self.ping_at = now + PING_INTERVAL;
        self.base(PING, &EMPTY, out);
    }

    /// Appends the answer to a Ping.
    pub fn pong(&mut self, out: &mut BytesMut) {
        self.base(PONG, &EMPTY, out);
    }

    /// Appends a Disconnect; nothing may follow it.
    pub fn disconnect(&mut self, reason: DisconnectReason, out: &mut BytesMut) {
        self.base(DISCONNECT, &reason.payload(), out);
    }

    fn base(&mut self, code: u64, payload: &[u8], out: &mut BytesMut) {
        self.message(code, payload, out)
            .expect("messages of the base protocol are a few bytes long");
    }
}
