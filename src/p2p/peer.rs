//! One connected peer: what it sends is read, what it wants is answered.
//!
//! Always true:
//! - Each of its streams is read, one message of all of them at a time. How many
//!   there may be is bounded where the connection is: a stream that is dropped is a
//!   want or a block that is lost.
//! - One message to it is under way; the next is made when that was written, so
//!   that a peer that reads slowly holds up memory for one.
//! - Reads of the disk for all peers together are bounded, and taken in turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::bitswap::behaviour::Spoken;
use super::bitswap::frame::{self, FrameError};
use super::bitswap::ledger::{Filled, Found, Ledger, fill};
use super::bitswap::message::{Kind, Message, Want};
use super::bitswap::{MAX_MESSAGE, MAX_WANTS_MESSAGE};
use super::node::Node;
use super::outbox;
use crate::blocks::{BlockError, BlockSource};
use crate::limits::Address;

/// How long a stream may bring nothing before it is closed; who has more to say
/// opens another one. A connection without streams is closed in its turn.
const STREAM_IDLE: Duration = Duration::from_secs(120);

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Who it is.
    pub(super) id: PeerId,
    /// Where its first connection came from or went to.
    pub(super) address: Option<Address>,
    /// Ends with its last connection.
    pub(super) gone: CancellationToken,
    ledger: Mutex<Ledger>,
    wanted: Notify,
    /// Held while one message is read.
    reading: tokio::sync::Mutex<()>,
}

impl Peer {
    pub(super) fn new(id: PeerId, address: Option<Address>, gone: CancellationToken) -> Self {
        Self {
            id,
            address,
            gone,
            ledger: Mutex::default(),
            wanted: Notify::new(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a stream that it opened.
    pub(super) fn read(self: &Arc<Self>, node: &Node, mut stream: Spoken) {
        let (peer, node) = (Arc::clone(self), node.clone());
        tokio::spawn(async move {
            let read = peer.messages(&node, &mut stream);
            let read = peer.gone.run_until_cancelled(read).await;
            match read {
                None | Some(Ok(())) => {}
                Some(Err(FrameError::Io(error))) => {
                    tracing::debug!(peer = %peer.id, %error, "a stream broke");
                }
                Some(Err(error)) => {
                    tracing::debug!(peer = %peer.id, %error, "dropped");
                    node.count(|counters| &counters.dropped, 1);
                    node.disconnect(peer.id).await;
                }
            }
        });
    }

    async fn messages(&self, node: &Node, (stream, _): &mut Spoken) -> Result<(), FrameError> {
        loop {
            let most = if node.listens_to(&self.id) {
                MAX_MESSAGE
            } else {
                MAX_WANTS_MESSAGE
            };
            let Ok(length) = timeout(STREAM_IDLE, frame::length(stream, most)).await else {
                return Ok(());
            };
            let Some(len) = length? else {
                return Ok(());
            };
            let mut message = {
                let _one = self.reading.lock().await;
                frame::body(stream, len).await?
            };
            let wants = std::mem::take(&mut message.wants);
            if message.full || !wants.is_empty() {
                node.count(|counters| &counters.wants, wants.len() as u64);
                self.ledger().take_in(&wants, message.full);
                self.wanted.notify_one();
            }
            if !message.blocks.is_empty() || !message.presences.is_empty() {
                node.hand_over(&self.id, message).await;
            }
        }
    }

    /// Answers what it wants for as long as it is connected.
    pub(super) async fn answer(self: Arc<Self>, node: Node) {
        let gone = self.gone.clone();
        gone.run_until_cancelled(self.answer_on(&node)).await;
    }

    async fn answer_on(self: &Arc<Self>, node: &Node) {
        loop {
            self.wanted.notified().await;
            while !self.ledger().is_empty() {
                let Some((message, filled)) = self.next_message(node).await else {
                    return;
                };
                let sent = if message.is_empty() {
                    Ok(())
                } else {
                    outbox::send(node, self.id, &message).await
                };
                match sent {
                    Ok(()) => {
                        node.count(|counters| &counters.blocks, filled.blocks);
                        node.count(|counters| &counters.bytes, filled.bytes);
                    }
                    Err(what) => tracing::debug!(peer = %self.id, what, "was not answered"),
                }
                let (address, now) = (self.address.as_ref(), Instant::now());
                let Filled {
                    looked_up, bytes, ..
                } = filled;
                let pause = node
                    .budget()
                    .charge(&self.id, address, looked_up, bytes, now);
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// The next message to it, made where waiting for the disk is harmless; `None`
    /// where the program ends.
    async fn next_message(self: &Arc<Self>, node: &Node) -> Option<(Message, Filled)> {
        let turn = Arc::clone(node.reads()).acquire_owned().await.ok()?;
        let (peer, source) = (Arc::clone(self), node.given());
        let made = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, even if nobody waits for it.
            let _turn = turn;
            fill(&mut || peer.ledger().pop(), &mut |want| {
                let source = source.as_deref();
                source.map_or(Found::Absent, |source| look_up(source, want))
            })
        });
        made.await.ok()
    }
}

/// What is held of a want. A block that cannot be read is not held.
fn look_up(source: &dyn BlockSource, want: &Want) -> Found {
    let failed = |error: BlockError| {
        if !error.is_missing() && !matches!(error, BlockError::ForeignCid { .. }) {
            tracing::warn!(cid = %want.cid, %error, "a peer wants what cannot be read");
        }
        Found::Absent
    };
    match want.kind {
        Kind::Block => source.get(&want.cid).map_or_else(failed, Found::Block),
        Kind::Have => match source.has(&want.cid) {
            Ok(true) => Found::Held,
            Ok(false) => Found::Absent,
            Err(error) => failed(error),
        },
    }
}
