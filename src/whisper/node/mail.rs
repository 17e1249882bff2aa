//! A peer's mail requests, answered one after another.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::limits::{Party, Reason, Refused, RequestKind};
use crate::mailserver::{BoxFuture, Delivered, MailPeer, MailRequest, PeerGone, SyncRequest};
use crate::rlpx::NodeId;
use crate::whisper::EnvelopeHash;
use crate::whisper::node::Shared;
use crate::whisper::node::send::PacketWriter;
use crate::whisper::node::tally::Tally;
use crate::whisper::packet::Packet;

/// Requests of one peer that may wait for their turn.
const MAX_WAITING: usize = 8;

/// A peer as a mailserver sees it.
struct LinkPeer {
    shared: Arc<Shared>,
    party: Party,
    writer: PacketWriter,
    tally: Arc<Tally>,
}

impl MailPeer for LinkPeer {
    fn id(&self) -> NodeId {
        self.party.peer
    }

    fn send(&self, packet: Packet) -> BoxFuture<'_, Result<(), PeerGone>> {
        Box::pin(async move {
            let (code, payload) = (packet.code(), packet.encode());
            let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
            let sent = self.writer.send_encoded(code, payload).await;
            sent.map_err(|_| PeerGone)?;
            self.tally.answered(bytes);
            self.shared.guard.answered(&self.party, bytes);
            Ok(())
        })
    }

    fn looked(&self, cost: u64) {
        self.shared.guard.answered(&self.party, cost);
    }
}

/// The requests of a peer, waiting.
pub(super) struct MailDesk {
    waiting: mpsc::Sender<Asked>,
    peer: Arc<LinkPeer>,
}

/// Who wants something answered.
#[derive(Debug)]
enum Asked {
    Mail(MailRequest),
    Sync(SyncRequest),
}

/// What happened to a request handed in.
#[derive(Debug)]
pub(super) enum HandedIn {
    /// It will be answered.
    Accepted,
    /// It came too soon, and why that is.
    Refused(MailRequest, Reason),
    /// It is none: the peer broke the protocol.
    NotARequest(crate::mailserver::request::NotARequest),
}

impl MailDesk {
    /// A desk, and the future that answers until the desk is dropped.
    pub(super) fn open(
        shared: Arc<Shared>,
        party: Party,
        writer: PacketWriter,
        tally: Arc<Tally>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (desk, waiting) = mpsc::channel(MAX_WAITING);
        let peer = Arc::new(LinkPeer {
            shared: Arc::clone(&shared),
            party,
            writer,
            tally,
        });
        let desk = Self {
            waiting: desk,
            peer: Arc::clone(&peer),
        };
        (desk, answer(shared, peer, waiting))
    }

    /// Hands in the payload of a request.
    pub(super) fn hand_in(&self, payload: &Bytes) -> HandedIn {
        let request = match MailRequest::decode(payload) {
            Ok(request) => request,
            Err(error) => return HandedIn::NotARequest(error),
        };
        match self.admit(kind_of(&request)) {
            Ok(room) => {
                room.send(Asked::Mail(request));
                HandedIn::Accepted
            }
            Err(reason) => {
                let counters = &self.peer.shared.counters;
                counters.update(|counters| counters.requests_limited += 1);
                HandedIn::Refused(request, reason)
            }
        }
    }

    /// Hands in another mailserver's request, or says why it comes too soon.
    pub(super) fn hand_in_sync(&self, request: SyncRequest) -> Result<(), Reason> {
        // It proves no more than an open one.
        let room = self.admit(RequestKind::Open).inspect_err(|_| {
            let counters = &self.peer.shared.counters;
            counters.update(|counters| counters.syncs_limited += 1);
        })?;
        room.send(Asked::Sync(request));
        Ok(())
    }

    /// Room for one request, where there is some and the peer may ask.
    fn admit(&self, kind: RequestKind) -> Result<mpsc::Permit<'_, Asked>, Reason> {
        let LinkPeer {
            shared,
            party,
            tally,
            ..
        } = &*self.peer;
        tally.asked();
        let refused = match self.waiting.try_reserve() {
            Err(_) => Reason::RequestRate,
            Ok(room) => match shared.guard.request(party, kind) {
                Ok(()) => return Ok(room),
                Err(Refused::Requests(_)) => Reason::RequestRate,
                Err(Refused::Answers(_)) => Reason::AnswerBudget,
            },
        };
        tally.limited();
        Err(refused)
    }
}

fn kind_of(request: &MailRequest) -> RequestKind {
    match request {
        MailRequest::Sealed(_) => RequestKind::Sealed,
        MailRequest::Open(_) => RequestKind::Open,
    }
}

async fn answer(shared: Arc<Shared>, peer: Arc<LinkPeer>, mut waiting: mpsc::Receiver<Asked>) {
    while let Some(request) = waiting.recv().await {
        let server = Arc::clone(&peer) as Arc<dyn MailPeer>;
        let delivered = match request {
            Asked::Mail(request) => {
                let id = request.id();
                let delivered = shared.mail.deliver_mail(server, request).await;
                tracing::debug!(peer = ?peer.id(), request = %EnvelopeHash(id.0), how = ?delivered, "mail request answered");
                delivered
            }
            Asked::Sync(request) => {
                let delivered = shared.mail.sync(server, request).await;
                tracing::debug!(peer = ?peer.id(), how = ?delivered, "sync request answered");
                delivered
            }
        };
        shared.counters.update(|counters| match delivered {
            Delivered::Served(cost) => {
                counters.requests_served += 1;
                counters.delivered += cost.envelopes;
            }
            Delivered::Refused => counters.requests_refused += 1,
            Delivered::PeerGone => {}
        });
    }
}
