//! The half of a link that sends, and its task.
//!
//! Always true:
//! - One task writes; what is queued while it writes goes out together.
//! - Bytes that wait to be sent are bounded by [`OUTGOING_BUDGET`]: whoever
//!   sends faster than the peer reads, waits.
//! - A frame is written whole or the connection is closed.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::error::{LinkError, SendError};
use super::{CLOSE_DEADLINE, WRITE_DEADLINE, now};
use crate::rlpx::DisconnectReason;
use crate::rlpx::session::Outbound;

/// How many bytes may wait to be sent to a peer: 1 MiB, the largest message of
/// Whisper. A larger one waits until it is alone.
pub const OUTGOING_BUDGET: u32 = 1 << 20;

/// Largest payload that is sent: 12 MiB. Even if it grows by a sixth, which is
/// the worst that compression does, it fits into a frame.
pub const MAX_PAYLOAD: usize = 12 << 20;

/// What a message costs beyond its payload: frame header, tags, padding, and
/// its place in the queue.
const MESSAGE_COST: u32 = 128;

/// How much is put together for one write, in bytes. More saves no system
/// calls worth counting.
const WRITE_CHUNK: usize = 64 << 10;

/// The write buffer is given back from this size on, once it is written.
const KEPT_BUFFER: usize = 256 << 10;

/// The half of a link that sends. Clones send on the same link.
#[derive(Clone, Debug)]
pub struct PeerWriter {
    queue: mpsc::UnboundedSender<Queued>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Queued {
    code: u64,
    payload: Bytes,
    cost: u32,
}

#[derive(Debug)]
struct Shared {
    budget: Semaphore,
    pong: Notify,
    closing: watch::Sender<Closing>,
    ended: OnceLock<LinkError>,
}

/// How the link is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Not yet.
    Open,
    /// With what is queued, and a reason.
    Telling(DisconnectReason),
    /// At once.
    Silently,
}

impl PeerWriter {
    /// Queues a message; `code` is the one on the wire. Waits while the peer
    /// has [`OUTGOING_BUDGET`] bytes to read yet. May be dropped while it
    /// waits; the message is then not sent.
    pub async fn send(&self, code: u64, payload: impl Into<Bytes>) -> Result<(), SendError> {
        let payload = payload.into();
        let cost = cost(&payload)?;
        let Ok(permit) = self.shared.budget.acquire_many(cost).await else {
            return Err(self.reason().into());
        };
        permit.forget();
        self.enqueue(code, payload, cost)
    }

    /// Queues a message if there is room for it now.
    pub fn try_send(&self, code: u64, payload: impl Into<Bytes>) -> Result<(), SendError> {
        use tokio::sync::TryAcquireError::{Closed, NoPermits};
        let payload = payload.into();
        let cost = cost(&payload)?;
        match self.shared.budget.try_acquire_many(cost) {
            Ok(permit) => permit.forget(),
            Err(NoPermits) => return Err(SendError::Full),
            Err(Closed) => return Err(self.reason().into()),
        }
        self.enqueue(code, payload, cost)
    }

    fn enqueue(&self, code: u64, payload: Bytes, cost: u32) -> Result<(), SendError> {
        let queued = Queued {
            code,
            payload,
            cost,
        };
        self.queue
            .send(queued)
            .map_err(|_| SendError::Ended(self.reason()))
    }

    /// Ends the link: what is queued is sent, then a Disconnect, within
    /// [`CLOSE_DEADLINE`](super::CLOSE_DEADLINE). Returns at once.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.close(Closing::Telling(reason));
    }

    /// Ends the link without a word.
    pub fn abort(&self) {
        self.close(Closing::Silently);
    }

    fn close(&self, how: Closing) {
        self.shared.closing.send_if_modified(|closing| {
            // The first reason stays; only an abort is more urgent.
            let changes = *closing == Closing::Open || how == Closing::Silently;
            if changes {
                *closing = how;
            }
            changes
        });
    }

    /// Waits until the link has ended, and says why.
    pub async fn ended(&self) -> LinkError {
        self.queue.closed().await;
        self.reason()
    }

    pub(super) fn pong(&self) {
        // Several pings that came while writing was slow get one answer.
        self.shared.pong.notify_one();
    }

    fn reason(&self) -> LinkError {
        self.shared
            .ended
            .get()
            .cloned()
            .unwrap_or(LinkError::Closed)
    }
}

fn cost(payload: &Bytes) -> Result<u32, SendError> {
    let len = payload.len();
    match u32::try_from(len) {
        Ok(cost) if len <= MAX_PAYLOAD => Ok((cost + MESSAGE_COST).min(OUTGOING_BUDGET)),
        _ => Err(SendError::TooLarge { len }),
    }
}

/// Starts the task of a link's writing half.
pub(super) fn spawn(stream: OwnedWriteHalf, outbound: Outbound) -> PeerWriter {
    let (queue, queued) = mpsc::unbounded_channel();
    let (closing, closing_seen) = watch::channel(Closing::Open);
    let shared = Arc::new(Shared {
        budget: Semaphore::new(OUTGOING_BUDGET as usize),
        pong: Notify::new(),
        closing,
        ended: OnceLock::new(),
    });
    let task = WriteTask {
        stream,
        outbound,
        queued,
        closing: closing_seen,
        shared: Arc::clone(&shared),
        out: BytesMut::new(),
    };
    tokio::spawn(task.run());
    PeerWriter { queue, shared }
}

struct WriteTask {
    stream: OwnedWriteHalf,
    outbound: Outbound,
    queued: mpsc::UnboundedReceiver<Queued>,
    closing: watch::Receiver<Closing>,
    shared: Arc<Shared>,
    out: BytesMut,
}

/// What the task does next.
enum Next {
    Write(Queued),
    Pong,
    Ping,
    Close(Closing),
}

impl WriteTask {
    async fn run(mut self) {
        let error = self.serve().await;
        // In this order: whoever sees the link ended also sees why.
        self.shared.ended.get_or_init(|| error);
        self.shared.budget.close();
        drop(self);
    }

    async fn serve(&mut self) -> LinkError {
        loop {
            let mut cost = 0;
            match self.next().await {
                Next::Write(first) => cost = self.encode_waiting(&first),
                Next::Pong => self.outbound.pong(&mut self.out),
                Next::Ping => self.outbound.ping(now(), &mut self.out),
                Next::Close(Closing::Telling(reason)) => return self.farewell(reason).await,
                Next::Close(_) => return LinkError::Closed,
            }
            if let Err(error) = self.flush().await {
                return error;
            }
            self.shared.budget.add_permits(cost);
        }
    }

    async fn next(&mut self) -> Next {
        let ping_at = Instant::from_std(self.outbound.ping_at());
        tokio::select! {
            biased;
            how = closed(&mut self.closing) => Next::Close(how),
            queued = self.queued.recv() => match queued {
                Some(first) => Next::Write(first),
                // Nobody holds the link any more.
                None => Next::Close(Closing::Telling(DisconnectReason::Requested)),
            },
            () = self.shared.pong.notified() => Next::Pong,
            () = sleep_until(ping_at) => Next::Ping,
        }
    }

    /// Encodes `first` and what else is queued, as far as one write goes. Gives
    /// what they cost.
    fn encode_waiting(&mut self, first: &Queued) -> usize {
        let mut cost = self.encode(first);
        while self.out.len() < WRITE_CHUNK {
            match self.queued.try_recv() {
                Ok(queued) => cost += self.encode(&queued),
                Err(_) => break,
            }
        }
        cost
    }

    fn encode(&mut self, queued: &Queued) -> usize {
        self.outbound
            .message(queued.code, &queued.payload, &mut self.out)
            .expect("larger payloads are not queued");
        queued.cost as usize
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        tokio::select! {
            biased;
            written = timeout(WRITE_DEADLINE, self.stream.write_all(&self.out)) => {
                written.map_err(|_| LinkError::WriteTimeout)??;
            }
            () = grace(&mut self.closing) => return Err(LinkError::Closed),
        }
        self.out.clear();
        if self.out.capacity() > KEPT_BUFFER {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    async fn farewell(&mut self, reason: DisconnectReason) -> LinkError {
        self.queued.close();
        while let Ok(queued) = self.queued.try_recv() {
            self.encode(&queued);
        }
        self.outbound.disconnect(reason, &mut self.out);
        // The peer may be gone already; then nobody is left to tell.
        let _ = timeout(CLOSE_DEADLINE, async {
            self.stream.write_all(&self.out).await?;
            self.stream.shutdown().await
        })
        .await;
        LinkError::Closed
    }
}

/// Waits until the link is to be closed.
async fn closed(closing: &mut watch::Receiver<Closing>) -> Closing {
    match closing.wait_for(|closing| *closing != Closing::Open).await {
        Ok(how) => *how,
        // The sender lives as long as the task that waits here.
        Err(_) => Closing::Silently,
    }
}

/// Waits until the link is to be closed and a write has had its time to end.
async fn grace(closing: &mut watch::Receiver<Closing>) {
    if closed(closing).await != Closing::Silently {
        sleep(CLOSE_DEADLINE).await;
    }
}
