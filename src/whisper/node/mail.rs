//! A peer's mail requests, answered one after another.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::mailserver::{BoxFuture, Delivered, MailPeer, MailRequest, PeerGone};
use crate::rlpx::NodeId;
use crate::whisper::node::Shared;
use crate::whisper::node::send::PacketWriter;
use crate::whisper::packet::Packet;

/// Requests of one peer that may wait for their turn.
const MAX_WAITING: usize = 8;

/// A peer as a mailserver sees it.
#[derive(Debug)]
struct LinkPeer {
    id: NodeId,
    writer: PacketWriter,
}

impl MailPeer for LinkPeer {
    fn id(&self) -> NodeId {
        self.id
    }

    fn send(&self, packet: Packet) -> BoxFuture<'_, Result<(), PeerGone>> {
        Box::pin(async move { self.writer.send(&packet).await.map_err(|_| PeerGone) })
    }
}

/// The requests of a peer, waiting.
#[derive(Debug)]
pub(super) struct MailDesk(mpsc::Sender<MailRequest>);

/// What happened to a request handed in.
#[derive(Debug)]
pub(super) enum HandedIn {
    /// It will be answered.
    Accepted,
    /// Too many wait.
    TooMany(MailRequest),
    /// It is none: the peer broke the protocol.
    NotARequest(crate::mailserver::request::NotARequest),
}

impl MailDesk {
    /// A desk, and the future that answers until the desk is dropped.
    pub(super) fn open(
        shared: Arc<Shared>,
        id: NodeId,
        writer: PacketWriter,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (desk, waiting) = mpsc::channel(MAX_WAITING);
        let peer = Arc::new(LinkPeer { id, writer });
        (Self(desk), answer(shared, peer, waiting))
    }

    /// Hands in the payload of a request.
    pub(super) fn hand_in(&self, payload: &Bytes) -> HandedIn {
        let request = match MailRequest::decode(payload) {
            Ok(request) => request,
            Err(error) => return HandedIn::NotARequest(error),
        };
        match self.0.try_send(request) {
            Ok(()) => HandedIn::Accepted,
            Err(full) => HandedIn::TooMany(full.into_inner()),
        }
    }
}

async fn answer(
    shared: Arc<Shared>,
    peer: Arc<LinkPeer>,
    mut waiting: mpsc::Receiver<MailRequest>,
) {
    while let Some(request) = waiting.recv().await {
        let peer = Arc::clone(&peer) as Arc<dyn MailPeer>;
        let delivered = shared.mail.deliver_mail(peer, request).await;
        shared.counters.update(|counters| match delivered {
            Delivered::Served { envelopes } => {
                counters.requests_served += 1;
                counters.delivered += envelopes;
            }
            Delivered::Refused => counters.requests_refused += 1,
            Delivered::PeerGone => {}
        });
    }
}
