//! A CAR on its way to a client.
//!
//! Always true:
//! - The disk is read on threads of its own, one piece ahead of the socket: who
//!   reads slowly holds memory for a few pieces, and no thread.
//! - An answer ends as HTTP ends one only after its last block. If a block cannot
//!   be had, or whoever reads them fails, the connection breaks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;

use super::places::{CarPlace, Places};
use super::refusal::Refusal;
use super::walk::Walk;
use crate::blocks::Block;
use crate::limits::Address;

/// Bytes after which a piece is sent; the last block of it goes beyond.
pub(super) const PIECE: usize = 256 << 10;

/// Pieces that wait for the socket, beside one being read and one being written.
const AHEAD: usize = 1;

/// What the reading side tells the writing side.
enum Part {
    Bytes(Bytes),
    End,
}

/// A body of `start`, which is the header of a CAR, and the blocks of `walk`.
pub(super) fn body(
    start: Vec<u8>,
    walk: Walk,
    place: CarPlace,
    places: Arc<Places>,
    address: Option<Address>,
) -> Body {
    let (parts, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(refusal) = send(start, walk, &parts, &places, address).await {
            refusal.report();
            tracing::debug!(%refusal, "a CAR was cut off");
        }
        drop(place);
    });
    Body::new(Parts {
        receiver,
        state: State::Open,
    })
}

async fn send(
    start: Vec<u8>,
    mut walk: Walk,
    parts: &mpsc::Sender<Part>,
    places: &Places,
    address: Option<Address>,
) -> Result<(), Refusal> {
    let mut piece = start;
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let ended = fill(&mut walk, &mut piece);
            (walk, piece, ended)
        });
        // A panic was told by its own hook; whoever waits for more gets an error.
        let Ok(read) = read.await else {
            return Ok(());
        };
        let ended;
        (walk, piece, ended) = read;
        let len = piece.len();
        // What could be read is of use to who asked, whatever follows.
        let sent = parts.send(Part::Bytes(piece.into())).await;
        if sent.is_err() {
            // Nobody reads any more.
            return Ok(());
        }
        if ended? {
            let _ = parts.send(Part::End).await;
            return Ok(());
        }
        tokio::time::sleep(places.charge(address, len)).await;
        piece = Vec::with_capacity(PIECE);
    }
}

/// Adds blocks to `piece` until it is long enough; true after the last.
fn fill(walk: &mut Walk, piece: &mut Vec<u8>) -> Result<bool, Refusal> {
    while piece.len() < PIECE {
        match walk.next()? {
            Some(block) => section(&block, piece),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Adds one block as a CAR holds it.
fn section(block: &Block, piece: &mut Vec<u8>) {
    let cid = block.cid().to_bytes();
    let len = (cid.len() + block.bytes().len()) as u64;
    let mut varint = unsigned_varint::encode::u64_buffer();
    piece.extend_from_slice(unsigned_varint::encode::u64(len, &mut varint));
    piece.extend_from_slice(&cid);
    piece.extend_from_slice(block.bytes());
}

/// The body that hyper reads.
struct Parts {
    receiver: mpsc::Receiver<Part>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// It was cut off, and what came before may still be written.
    Cut,
    /// Nothing comes any more.
    Done,
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.state == State::Open {
            match ready!(self.receiver.poll_recv(context)) {
                Some(Part::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Part::End) => self.state = State::Done,
                None => {
                    // Before an error breaks the connection, what it has is written.
                    self.state = State::Cut;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        let was = std::mem::replace(&mut self.state, State::Done);
        let cut = || io::Error::other("the CAR could not be completed");
        Poll::Ready((was == State::Cut).then(|| Err(cut())))
    }
}
