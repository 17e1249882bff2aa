//! Answers the pages that other mailservers ask for.

use crate::mailserver::deliver::{ARCHIVE_FAILED, Mailserver, packets};
use crate::mailserver::sync::{SyncRequest, SyncResponse};
use crate::mailserver::{AnswerCost, Cursor, Delivered, MailPeer, PageQuery, PeerGone, Vault};
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
        let send = |response: SyncResponse| peer.send(Packet::SyncResponse(response.encode()));
        if !self.answers_anyone() {
            return refused(send(SyncResponse::failed(REFUSED)).await);
        }
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
                tracing::error!(%error, cause = %error.source, "sync request not answered");
                return refused(send(SyncResponse::failed(ARCHIVE_FAILED)).await);
            }
        };
        let cost = AnswerCost {
            envelopes: page.envelopes.len() as u64,
            bytes: page.envelopes.iter().map(|e| e.rlp().len() as u64).sum(),
            blocks: page.blocks,
        };
        let last = page.envelopes.last().map(Cursor::of);
        // The one that fills the page travels alone, as from status-go.
        let alone = (page.envelopes.len() == limit)
            .then(|| page.envelopes.pop())
            .flatten();
        let bundles = packets(page.envelopes, true).into_iter();
        for bundle in bundles.chain(alone.map(|one| vec![one])) {
            if send(SyncResponse::some(bundle)).await.is_err() {
                return Delivered::PeerGone;
            }
        }
        match send(SyncResponse::end(last.filter(|_| page.more))).await {
            Ok(()) => Delivered::Served(cost),
            Err(PeerGone) => Delivered::PeerGone,
        }
    }
}

fn refused(sent: Result<(), PeerGone>) -> Delivered {
    match sent {
        Ok(()) => Delivered::Refused,
        Err(PeerGone) => Delivered::PeerGone,
    }
}
