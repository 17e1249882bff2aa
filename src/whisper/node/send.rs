//! What waits to be sent to one peer.
//!
//! Always true:
//! - Answers to batches overtake what is passed on.
//! - One turn of passing on waits at most; the next is made when it is sent.
//! - Nobody waits here while reading: answers are queued at once, and
//!   [`Outbox::is_clogged`] says when a peer reads none of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::rlpx::socket::{PeerWriter, SendError};
use crate::whisper::node::tally::Tally;
use crate::whisper::packet::Packet;

/// Answers that may wait for one peer. A peer that leaves half of them unread
/// gets no more of our attention.
const MAX_ANSWERS: usize = 4_096;

/// Bytes of answers that a peer may leave unread before the same happens. An
/// answer that blames thousands of envelopes is larger than what it answers.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The sending end of a link, speaking Whisper.
#[derive(Clone, Debug)]
pub(super) struct PacketWriter {
    writer: PeerWriter,
    offset: u64,
    tally: Arc<Tally>,
}

impl PacketWriter {
    /// A writer that counts what it sends in `tally`.
    pub(super) fn new(writer: PeerWriter, offset: u64, tally: Arc<Tally>) -> Self {
        Self {
            writer,
            offset,
            tally,
        }
    }

    /// Sends one packet; waits while the peer is slow.
    pub(super) async fn send(&self, packet: &Packet) -> Result<(), SendError> {
        self.send_encoded(packet.code(), packet.encode()).await
    }

    /// Sends one packet whose payload is known.
    pub(super) async fn send_encoded(&self, code: u8, payload: Bytes) -> Result<(), SendError> {
        let len = payload.len();
        self.writer
            .send(self.offset + u64::from(code), payload)
            .await?;
        self.tally.sent(len);
        Ok(())
    }

    pub(super) fn link(&self) -> &PeerWriter {
        &self.writer
    }
}

/// An answer, encoded: what it costs to keep is known then.
#[derive(Debug)]
struct Answer {
    code: u8,
    payload: Bytes,
}

/// The queue in front of a peer.
#[derive(Debug)]
pub(super) struct Outbox {
    answers: mpsc::Sender<Answer>,
    answer_bytes: Arc<AtomicUsize>,
    turns: mpsc::Sender<Vec<Packet>>,
}

impl Outbox {
    /// A queue, and the future that empties it until the link ends or the
    /// queue is dropped and empty.
    pub(super) fn new(writer: PacketWriter) -> (Self, impl Future<Output = ()> + Send) {
        let (answers, waiting_answers) = mpsc::channel(MAX_ANSWERS);
        let (turns, waiting_turns) = mpsc::channel(1);
        let answer_bytes = Arc::default();
        let sending = deliver(
            writer,
            waiting_answers,
            Arc::clone(&answer_bytes),
            waiting_turns,
        );
        let outbox = Self {
            answers,
            answer_bytes,
            turns,
        };
        (outbox, sending)
    }

    /// Queues answers. Beyond the bound they are dropped: the peer reads none.
    pub(super) fn answer(&self, packets: impl IntoIterator<Item = Packet>) {
        for packet in packets {
            let answer = Answer {
                code: packet.code(),
                payload: packet.encode(),
            };
            let len = answer.payload.len();
            // Counted before it can be sent, and its bytes taken off again.
            self.answer_bytes.fetch_add(len, Ordering::Relaxed);
            if self.answers.try_send(answer).is_err() {
                self.answer_bytes.fetch_sub(len, Ordering::Relaxed);
                tracing::debug!("an answer is dropped: the peer does not read");
            }
        }
    }

    /// Whether so many answers wait that no more should be earned.
    pub(super) fn is_clogged(&self) -> bool {
        self.answers.capacity() < MAX_ANSWERS / 2
            || self.answer_bytes.load(Ordering::Relaxed) >= MAX_ANSWER_BYTES
    }

    /// Room for one turn of passing on, if the last one is sent.
    pub(super) fn turn(&self) -> Option<mpsc::Permit<'_, Vec<Packet>>> {
        self.turns.try_reserve().ok()
    }
}

async fn deliver(
    writer: PacketWriter,
    mut answers: mpsc::Receiver<Answer>,
    answer_bytes: Arc<AtomicUsize>,
    mut turns: mpsc::Receiver<Vec<Packet>>,
) {
    enum Next {
        Answer(Answer),
        Relay(Packet),
    }
    let mut turn = Vec::new().into_iter();
    loop {
        let next = match answers.try_recv() {
            Ok(answer) => Next::Answer(answer),
            Err(_) => match turn.next() {
                Some(packet) => Next::Relay(packet),
                None => tokio::select! {
                    biased;
                    answer = answers.recv() => match answer {
                        Some(answer) => Next::Answer(answer),
                        None => return,
                    },
                    Some(next) = turns.recv() => {
                        turn = next.into_iter();
                        continue;
                    }
                },
            },
        };
        let sent = match next {
            Next::Relay(packet) => writer.send(&packet).await,
            Next::Answer(Answer { code, payload }) => {
                let len = payload.len();
                let sent = writer.send_encoded(code, payload).await;
                answer_bytes.fetch_sub(len, Ordering::Relaxed);
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
