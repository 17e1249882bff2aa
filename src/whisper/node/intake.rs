//! What a peer sends, read ahead of its turn.
//!
//! Reading a link takes one hash of every byte; reading envelopes takes two
//! more, one for each envelope's identity and one for the batch's. One task does
//! the first, others the rest, several at a time, while the connection decides
//! about what came before.
//!
//! Always true:
//! - Messages are handed on in the order in which they came, and the error that
//!   ended the link after all of them.
//! - At most [`READ_AHEAD`] bytes were read and not handled yet, or one message
//!   that is larger, beside the one that is being read. Beyond that nothing is
//!   read, and TCP tells the peer to slow down.
//! - Nothing is opened of a peer that has not introduced itself.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::rlpx::session::Message;
use crate::rlpx::socket::{LinkError, PeerReader};
use crate::whisper::packet::code;
use crate::whisper::peer::{Opened, Violation};

/// What may be read of one peer before its turn, with [`MESSAGE_COST`] for each
/// message: two packets of the size that nodes fill.
const READ_AHEAD: u32 = 1 << 20;

/// What a message costs beside its bytes: so at most 1,024 wait.
const MESSAGE_COST: u32 = 1 << 10;

/// From this size on a packet of envelopes is opened by a task of its own: some
/// 50 microseconds of hashing. Below, handing it over costs more than it saves.
const OPENED_APART: usize = 8 << 10;

/// From this size on it gets a thread of its own: about five milliseconds of
/// hashing, which would hold up every peer on this one.
const OPENED_ON_THREAD: usize = 1 << 20;

/// A message whose turn it is.
pub(super) struct Received {
    pub(super) message: Message,
    /// Its envelopes, if they were read already.
    pub(super) opened: Option<Result<Opened, Violation>>,
    /// Given back once it is handled.
    pub(super) _room: OwnedSemaphorePermit,
}

struct Arrived {
    message: Message,
    opening: Option<JoinHandle<Result<Opened, Violation>>>,
    room: OwnedSemaphorePermit,
}

/// The receiving end of a connection. What reads for it ends with it.
pub(super) struct Intake {
    arriving: mpsc::Receiver<Result<Arrived, LinkError>>,
    next: Option<Arrived>,
    _reading: JoinSet<()>,
}

impl Intake {
    /// Reads from `reader`, whose Whisper codes begin at `offset`.
    pub(super) fn new(reader: PeerReader, offset: u64) -> Self {
        let most = usize::try_from(READ_AHEAD / MESSAGE_COST).unwrap_or(1);
        // One more for the error.
        let (arrived, arriving) = mpsc::channel(most + 1);
        let mut reading = JoinSet::new();
        reading.spawn(read_on(reader, offset, arrived));
        Self {
            arriving,
            next: None,
            _reading: reading,
        }
    }

    /// Whether nothing was read that has not been handed on.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none() && self.arriving.is_empty()
    }

    /// The next message, or why there is none. May be dropped while it waits.
    pub(super) async fn recv(&mut self) -> Result<Received, LinkError> {
        if self.next.is_none() {
            match self.arriving.recv().await {
                Some(arrived) => self.next = Some(arrived?),
                None => return Err(LinkError::Closed),
            }
        }
        let opened = match self.next.as_mut().and_then(|next| next.opening.as_mut()) {
            // What panicked is opened again by whoever handles it.
            Some(opening) => opening.await.ok(),
            None => None,
        };
        let arrived = self.next.take().expect("it was filled above");
        Ok(Received {
            message: arrived.message,
            opened,
            _room: arrived.room,
        })
    }
}

async fn read_on(
    mut reader: PeerReader,
    offset: u64,
    arrived: mpsc::Sender<Result<Arrived, LinkError>>,
) {
    let room = Arc::new(Semaphore::new(usize::try_from(READ_AHEAD).unwrap_or(0)));
    let mut is_first = true;
    loop {
        let message = match reader.recv().await {
            Ok(message) => message,
            Err(error) => {
                // Whoever is gone needs no reason.
                let _ = arrived.send(Err(error)).await;
                return;
            }
        };
        let len = u32::try_from(message.payload.len()).unwrap_or(u32::MAX);
        let cost = len.saturating_add(MESSAGE_COST).min(READ_AHEAD);
        let Ok(room) = Arc::clone(&room).acquire_many_owned(cost).await else {
            return;
        };
        // The first must be a status, and ends the link if it is not.
        let is_list = message.code == offset + u64::from(code::MESSAGES);
        let is_apart = is_list && !is_first && message.payload.len() >= OPENED_APART;
        let opening = is_apart.then(|| open(message.payload.clone()));
        is_first = false;
        let next = Arrived {
            message,
            opening,
            room,
        };
        if arrived.send(Ok(next)).await.is_err() {
            return;
        }
    }
}

fn open(payload: Bytes) -> JoinHandle<Result<Opened, Violation>> {
    if payload.len() >= OPENED_ON_THREAD {
        tokio::task::spawn_blocking(move || Opened::of(&payload))
    } else {
        tokio::spawn(async move { Opened::of(&payload) })
    }
}
