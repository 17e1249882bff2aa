//! Answers the pages that other mailservers ask for.

use crate::mailserver::deliver::{ARCHIVE_FAILED, Mailserver, Measured, packets};
use crate::mailserver::sync::{SyncRequest, SyncResponse};
use crate::mailserver::{Cursor, Delivered, MailPeer, PageQuery, PeerGone, Vault};
use crate::metrics::SyncFailure;
use crate::whisper::packet::Packet;

/// What one is told whom this server does not answer.
pub(in crate::mailserver) const REFUSED: &str = "synchronisation is not offered";

impl<V: Vault> Mailserver<V> {
    /// Answers one page. The vault bounds its bytes, the request its envelopes.
    pub(in crate::mailserver) async fn synchronise(
        &self,
        peer: &dyn MailPeer,
        request: &SyncRequest,
    ) -> Delivered {
        let packet = |response: SyncResponse| Packet::SyncResponse(response.encode());
        let send = |response: SyncResponse| peer.send(packet(response));
        let failures = &self.meters().sync_failures;
        self.meters().sync_attempts.count();
        if !self.answers_anyone() {
            failures.count(SyncFailure::Invalid);
            return refused(send(SyncResponse::failed(REFUSED)).await);
        }
        let mut answer = Measured::begin(self.meters());
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let page = self
            .page(
                peer,
                PageQuery {
                    range: request.range,
                    topics: request.topics,
                    after: request.cursor,
                    limit,
                },
            )
            .await;
        let mut page = match page {
            Ok(page) => page,
            Err(error) => {
                failures.count(SyncFailure::Iterator);
                tracing::error!(%error, cause = %error.source, "sync request not answered");
                return refused(send(SyncResponse::failed(ARCHIVE_FAILED)).await);
            }
        };
        answer.cost.blocks = page.blocks;
        let last = page.envelopes.last().map(Cursor::of);
        // The one that fills the page travels alone, as from status-go.
        let alone = (page.envelopes.len() == limit)
            .then(|| page.envelopes.pop())
            .flatten();
        let bundles = packets(page.envelopes, true).into_iter();
        for bundle in bundles.chain(alone.map(|one| vec![one])) {
            answer.cost.envelopes += bundle.len() as u64;
            answer.cost.bytes += bundle.iter().map(|e| e.rlp().len() as u64).sum::<u64>();
            let sent = self.send(peer, packet(SyncResponse::some(bundle))).await;
            if sent.is_err() {
                failures.count(SyncFailure::Routine);
                return Delivered::PeerGone;
            }
        }
        match send(SyncResponse::end(last.filter(|_| page.more))).await {
            Ok(()) => Delivered::Served(answer.cost),
            Err(PeerGone) => {
                failures.count(SyncFailure::Response);
                Delivered::PeerGone
            }
        }
    }
}

fn refused(sent: Result<(), PeerGone>) -> Delivered {
    match sent {
        Ok(()) => Delivered::Refused,
        Err(PeerGone) => Delivered::PeerGone,
    }
}
