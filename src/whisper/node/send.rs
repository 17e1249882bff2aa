//! What waits to be sent to one peer.
//!
//! Always true:
//! - Answers to batches overtake what is passed on.
//! - One turn of passing on waits at most; the next is made when it is sent.
//! - Nobody waits here while reading: answers are queued at once, and
//!   [`Outbox::is_clogged`] says when a peer reads none of them.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::rlpx::socket::{PeerWriter, SendError};
use crate::whisper::packet::Packet;

/// Answers that may wait for one peer. Each is some hundred bytes; a peer that
/// leaves so many unread gets no more of our attention.
const MAX_ANSWERS: usize = 4_096;

/// The sending end of a link, speaking Whisper.
#[derive(Clone, Debug)]
pub(super) struct PacketWriter {
    writer: PeerWriter,
    offset: u64,
}

impl PacketWriter {
    pub(super) fn new(writer: PeerWriter, offset: u64) -> Self {
        Self { writer, offset }
    }

    /// Sends one packet; waits while the peer is slow.
    pub(super) async fn send(&self, packet: &Packet) -> Result<(), SendError> {
        self.send_encoded(packet.code(), packet.encode()).await
    }

    async fn send_encoded(&self, code: u8, payload: Bytes) -> Result<(), SendError> {
        self.writer
            .send(self.offset + u64::from(code), payload)
            .await
    }

    pub(super) fn link(&self) -> &PeerWriter {
        &self.writer
    }
}

/// The queue in front of a peer.
#[derive(Debug)]
pub(super) struct Outbox {
    answers: mpsc::Sender<Packet>,
    turns: mpsc::Sender<Vec<Packet>>,
}

impl Outbox {
    /// A queue, and the future that empties it until the link ends or the
    /// queue is dropped and empty.
    pub(super) fn new(writer: PacketWriter) -> (Self, impl Future<Output = ()> + Send) {
        let (answers, waiting_answers) = mpsc::channel(MAX_ANSWERS);
        let (turns, waiting_turns) = mpsc::channel(1);
        let sending = deliver(writer, waiting_answers, waiting_turns);
        (Self { answers, turns }, sending)
    }

    /// Queues answers. Beyond the bound they are dropped: the peer reads none.
    pub(super) fn answer(&self, packets: impl IntoIterator<Item = Packet>) {
        for packet in packets {
            if self.answers.try_send(packet).is_err() {
                tracing::debug!("an answer is dropped: the peer does not read");
            }
        }
    }

    /// Whether so many answers wait that no more should be earned.
    pub(super) fn is_clogged(&self) -> bool {
        self.answers.capacity() < MAX_ANSWERS / 2
    }

    /// Room for one turn of passing on, if the last one is sent.
    pub(super) fn turn(&self) -> Option<mpsc::Permit<'_, Vec<Packet>>> {
        self.turns.try_reserve().ok()
    }
}

async fn deliver(
    writer: PacketWriter,
    mut answers: mpsc::Receiver<Packet>,
    mut turns: mpsc::Receiver<Vec<Packet>>,
) {
    let mut turn = Vec::new().into_iter();
    loop {
        let packet = match answers.try_recv() {
            Ok(answer) => answer,
            Err(_) => match turn.next() {
                Some(packet) => packet,
                None => tokio::select! {
                    biased;
                    answer = answers.recv() => match answer {
                        Some(answer) => answer,
                        None => return,
                    },
                    Some(next) = turns.recv() => {
                        turn = next.into_iter();
                        continue;
                    }
                },
            },
        };
        if writer.send(&packet).await.is_err() {
            return;
        }
    }
}
