//! What a node tells the task of one connection to do.

use tokio::sync::{mpsc, oneshot};

use crate::rlpx::DisconnectReason;
use crate::whisper::node::send::PacketWriter;
use crate::whisper::packet::Packet;

/// Orders that may wait for one connection. Its task takes them between two
/// packets; one that takes none is stuck writing, and soon dropped for it.
const MAX_WAITING: usize = 64;

/// An order.
#[derive(Debug)]
pub(super) enum Order {
    /// Accept mail from this peer. Answered once that is so; dropped unanswered
    /// if the peer never introduced itself.
    Trust(oneshot::Sender<()>),
    /// Say this to the peer, once it can be said.
    Say(Packet),
    /// Pass on nothing but own envelopes, or everything.
    Light(bool),
    /// End the connection.
    Disconnect(DisconnectReason),
}

/// The receiving end, held by the connection.
pub(super) type Orders = mpsc::Receiver<Order>;

/// The line to one connection.
#[derive(Clone, Debug)]
pub(super) struct Line {
    orders: mpsc::Sender<Order>,
    writer: PacketWriter,
}

impl Line {
    /// A line to the connection that writes by `writer`, and what it has to
    /// listen to.
    pub(super) fn new(writer: PacketWriter) -> (Self, Orders) {
        let (orders, waiting) = mpsc::channel(MAX_WAITING);
        (Self { orders, writer }, waiting)
    }

    /// Gives an order without waiting; false where it cannot be taken.
    pub(super) fn give(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Has the peer trusted; false where it is gone or was never there.
    pub(super) async fn trust(&self) -> bool {
        let (done, is_done) = oneshot::channel();
        self.orders.send(Order::Trust(done)).await.is_ok() && is_done.await.is_ok()
    }

    /// Sends one packet to a peer that has introduced itself; waits while the
    /// peer is slow.
    pub(super) async fn send(&self, packet: &Packet) -> bool {
        self.writer.send(packet).await.is_ok()
    }
}
