//! One connected peer: what it sends is read, what it wants is answered.
//!
//! Always true:
//! - Each of its streams is read, and none waits for another one, unless it was
//!   asked for more than fits. How many there may be is bounded where the connection
//!   is: a stream that is dropped is a want or a block that is lost.
//! - The messages of it that are under way take up at most [`ROOM`], or
//!   [`ROOM_OF_STRANGER`] where it was asked for nothing.
//! - One message to it is under way; the next is made when that was written, so
//!   that a peer that reads slowly holds up memory for one.
//! - Reads of the disk for all peers together are bounded, and taken in turn. What
//!   is looked for elsewhere has its own turns, so that what is here never waits
//!   for it. Nothing is looked up for a peer that has gone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::afar::Far;
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

/// Bytes of messages that are read at a time from a peer that was asked for blocks.
/// The others wait on their streams.
const ROOM: usize = 2 * MAX_MESSAGE;

/// The same for one that was asked for nothing: who has more than this under way is
/// hung up on, because streams that nobody reads take up memory.
const ROOM_OF_STRANGER: usize = 2 * MAX_WANTS_MESSAGE;

/// Messages in a row that say nothing, after which a peer is hung up on: they are
/// work, and no program has a use for them.
const MAX_IDLE: u32 = 64;

/// How long wants are looked up for one message; then what was found is sent, and
/// others have their turn.
const TURN: Duration = Duration::from_secs(1);

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Who it is.
    pub(super) id: PeerId,
    /// Where its first connection came from or went to.
    pub(super) address: Option<Address>,
    /// Ends with its last connection.
    pub(super) gone: CancellationToken,
    /// What it wants, and what of that is to be looked for elsewhere.
    here: Desk,
    afar: Desk,
    /// Bytes of messages that may be under way.
    room: Semaphore,
    room_of_stranger: Semaphore,
    /// Messages since the last one that said something.
    idle: AtomicU32,
}

/// Wants that wait to be answered.
#[derive(Debug, Default)]
struct Desk {
    ledger: Mutex<Ledger>,
    wanted: Notify,
}

/// Where wants are looked up.
#[derive(Clone, Copy, Debug)]
enum At {
    Here,
    Afar,
}

impl Desk {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, wants: &[Want], full: bool) {
        self.ledger().take_in(wants, full);
        self.wanted.notify_one();
    }
}

impl Peer {
    pub(super) fn new(id: PeerId, address: Option<Address>, gone: CancellationToken) -> Self {
        Self {
            id,
            address,
            gone,
            here: Desk::default(),
            afar: Desk::default(),
            room: Semaphore::new(ROOM),
            room_of_stranger: Semaphore::new(ROOM_OF_STRANGER),
            idle: AtomicU32::new(0),
        }
    }

    fn desk(&self, at: At) -> &Desk {
        match at {
            At::Here => &self.here,
            At::Afar => &self.afar,
        }
    }

    /// Takes in what it wants, and wants no more.
    fn take_in(&self, wants: &[Want], full: bool) {
        let cancelled: Vec<Want> = wants.iter().filter(|want| want.cancel).copied().collect();
        if full || !cancelled.is_empty() {
            self.afar.take_in(&cancelled, full);
        }
        self.here.take_in(wants, full);
    }

    /// Room for a message that is to be read.
    async fn room(&self, len: usize, is_asked: bool) -> Result<SemaphorePermit<'_>, FrameError> {
        let many = u32::try_from(len).map_err(|_| FrameError::Crowded { len })?;
        let room = if is_asked {
            self.room.acquire_many(many).await.ok()
        } else {
            self.room_of_stranger.try_acquire_many(many).ok()
        };
        room.ok_or(FrameError::Crowded { len })
    }

    /// A message of it says something, or not.
    fn hear(&self, message: &Message) -> Result<(), FrameError> {
        if !message.is_empty() {
            self.idle.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let many = self.idle.fetch_add(1, Ordering::Relaxed) + 1;
        if many < MAX_IDLE {
            Ok(())
        } else {
            Err(FrameError::Idle { many })
        }
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
            let is_asked = node.listens_to(&self.id);
            let most = if is_asked {
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
            // Held until what is in it was handed over.
            let room = self.room(len, is_asked).await?;
            let mut message = frame::body(stream, len).await?;
            self.hear(&message)?;
            let wants = std::mem::take(&mut message.wants);
            if message.full || !wants.is_empty() {
                node.count(|counters| &counters.wants, wants.len() as u64);
                self.take_in(&wants, message.full);
            }
            if !message.blocks.is_empty() || !message.presences.is_empty() {
                node.hand_over(&self.id, message).await;
            }
            drop(room);
            if !is_asked {
                let (address, now) = (self.address.as_ref(), Instant::now());
                let pause = node.budget().received(&self.id, address, len as u64, now);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            // A stream that always has more would keep others from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Answers what it wants for as long as it is connected.
    pub(super) async fn answer(self: Arc<Self>, node: Node) {
        let gone = self.gone.clone();
        let both = async {
            tokio::join!(
                self.answer_at(&node, At::Here),
                self.answer_at(&node, At::Afar)
            )
        };
        gone.run_until_cancelled(both).await;
    }

    async fn answer_at(self: &Arc<Self>, node: &Node, at: At) {
        loop {
            self.desk(at).wanted.notified().await;
            while !self.desk(at).ledger().is_empty() {
                let Some((message, filled)) = self.next_message(node, at).await else {
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
    /// where the program ends, or has a bug.
    async fn next_message(self: &Arc<Self>, node: &Node, at: At) -> Option<(Message, Filled)> {
        let turns = match at {
            At::Here => node.reads(),
            At::Afar => node.afar()?.turns(),
        };
        let turn = Arc::clone(turns).acquire_owned().await.ok()?;
        let (peer, of) = (Arc::clone(self), node.clone());
        let made = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, even if nobody waits for it.
            let _turn = turn;
            peer.make(of.given().as_deref(), of.afar(), at)
        });
        match made.await {
            Ok(made) => Some(made),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(peer = %self.id, %error, "a bug: a want was not looked up");
                    node.disconnect(self.id).await;
                }
                None
            }
        }
    }

    /// Makes a message of what waits, until the turn is over or the peer has gone.
    fn make(
        &self,
        given: Option<&dyn BlockSource>,
        afar: Option<&Far>,
        at: At,
    ) -> (Message, Filled) {
        let until = Instant::now() + TURN;
        let desk = self.desk(at);
        let pop = &mut || {
            let is_over = self.gone.is_cancelled() || Instant::now() >= until;
            if is_over { None } else { desk.ledger().pop() }
        };
        fill(pop, &mut |want| match at {
            At::Here => {
                let found = given.map_or(Found::Absent, |source| look_up(source, want));
                let is_absent = matches!(found, Found::Absent);
                if is_absent && afar.is_some_and(|afar| afar.may_hold(&want.cid)) {
                    self.afar.take_in(&[*want], false);
                    return Found::Elsewhere;
                }
                found
            }
            At::Afar => afar.map_or(Found::Absent, |afar| afar.look_up(want, Instant::now())),
        })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::super::afar::Afar;
    use super::*;
    use crate::blocks::{Block, Cid, Codec, Fault, Refusal};

    fn peer() -> Peer {
        Peer::new(PeerId::random(), None, CancellationToken::new())
    }

    fn want(cid: Cid, kind: Kind) -> Want {
        Want {
            cid,
            priority: 1,
            kind,
            cancel: false,
            send_dont_have: true,
        }
    }

    fn block(n: u32) -> Block {
        Block::new(Codec::Raw, n.to_be_bytes().to_vec())
    }

    /// Has one block.
    struct Near(Block);

    impl BlockSource for Near {
        fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
            let found = (self.0.cid() == cid).then(|| self.0.clone());
            found.ok_or(BlockError::Missing { cid: *cid })
        }

        fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
            Ok(self.0.cid() == cid)
        }
    }

    /// Holds what is asked for, or fails at it.
    struct Store {
        held: Option<Block>,
        asked: AtomicUsize,
    }

    impl Afar for Store {
        fn may_hold(&self, _: &Cid) -> bool {
            true
        }

        fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let away = Refusal {
                source: "store".to_owned(),
                fault: Fault::Failed("away".to_owned()),
            };
            self.held.clone().ok_or(BlockError::Unavailable {
                cid: *cid,
                by: vec![away],
            })
        }
    }

    fn far(held: Option<Block>) -> (Arc<Store>, Far) {
        let asked = AtomicUsize::new(0);
        let store = Arc::new(Store { held, asked });
        (Arc::clone(&store), Far::new(store))
    }

    #[tokio::test]
    async fn a_stranger_has_little_under_way_and_who_was_asked_waits() {
        let peer = peer();
        let first = peer.room(MAX_WANTS_MESSAGE, false).await.unwrap();
        let second = peer.room(MAX_WANTS_MESSAGE, false).await.unwrap();
        let third = peer.room(1, false).await;
        assert!(matches!(third, Err(FrameError::Crowded { len: 1 })));
        drop((first, second));
        assert!(peer.room(MAX_WANTS_MESSAGE, false).await.is_ok());
        let all = peer.room(ROOM, true).await.unwrap();
        let mut more = Box::pin(peer.room(MAX_MESSAGE, true));
        assert!(futures_util::poll!(&mut more).is_pending());
        drop(all);
        assert!(more.await.is_ok());
    }

    #[test]
    fn a_peer_that_says_nothing_again_and_again_is_not_listened_to() {
        let peer = peer();
        let nothing = Message::default();
        let wanting = Message {
            wants: vec![want(*block(1).cid(), Kind::Have)],
            ..Message::default()
        };
        for _ in 1..MAX_IDLE {
            peer.hear(&nothing).unwrap();
        }
        peer.hear(&wanting).unwrap();
        for _ in 1..MAX_IDLE {
            peer.hear(&nothing).unwrap();
        }
        let heard = peer.hear(&nothing);
        assert!(matches!(heard, Err(FrameError::Idle { many: MAX_IDLE })));
    }

    #[test]
    fn what_is_here_does_not_wait_for_what_is_not() {
        let (near, away) = (block(1), block(2));
        let given = Near(near.clone());
        let (store, far) = far(Some(away.clone()));
        let peer = peer();
        let wants = [
            want(*away.cid(), Kind::Have),
            want(*near.cid(), Kind::Block),
        ];
        peer.take_in(&wants, false);
        let (message, _) = peer.make(Some(&given), Some(&far), At::Here);
        assert_eq!((message.blocks.len(), message.presences.len()), (1, 0));
        assert_eq!(store.asked.load(Ordering::Relaxed), 0);
        // Word of the other one is given when it was read.
        let (message, _) = peer.make(Some(&given), Some(&far), At::Afar);
        assert!(message.presences[0].held);
        assert_eq!(store.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_store_that_failed_is_not_asked_for_each_want() {
        let (store, far) = far(None);
        let peer = peer();
        let wants: Vec<Want> = (0..100)
            .map(|n| want(*block(n).cid(), Kind::Block))
            .collect();
        peer.take_in(&wants, false);
        peer.make(None, Some(&far), At::Here);
        let (message, _) = peer.make(None, Some(&far), At::Afar);
        assert!(message.presences.iter().all(|told| !told.held));
        assert_eq!(message.presences.len(), 100);
        assert_eq!(store.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn nothing_is_looked_up_for_who_has_gone_or_wants_it_no_more() {
        let (store, far) = far(Some(block(1)));
        let peer = peer();
        let one = want(*block(1).cid(), Kind::Block);
        peer.take_in(&[one], false);
        peer.make(None, Some(&far), At::Here);
        peer.take_in(
            &[Want {
                cancel: true,
                ..one
            }],
            false,
        );
        let (message, _) = peer.make(None, Some(&far), At::Afar);
        assert!(message.is_empty());
        peer.afar.take_in(&[one], false);
        peer.gone.cancel();
        let (message, _) = peer.make(None, Some(&far), At::Afar);
        assert!(message.is_empty());
        assert_eq!(store.asked.load(Ordering::Relaxed), 0);
    }
}
