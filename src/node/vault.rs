//! The archive as the mailserver's vault.
//!
//! Always true:
//! - The disk is waited for on threads meant for waiting, never on those that
//!   move packets.
//! - A page that nobody waits for any more is not read on.

use std::error::Error;
use std::sync::Arc;

use crate::archive::disk::{Archive, PageRequest, StopOnDrop};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::leaf::MAX_ENVELOPE_RLP;
use crate::mailserver::{ArchiveError, Archived, BoxFuture, Page, PageQuery, Vault};
use crate::whisper::peer::PACKET_LIMIT;
use crate::whisper::{Envelope, EnvelopeError};

// What is archived can be delivered.
const _: () = assert!(MAX_ENVELOPE_RLP <= PACKET_LIMIT);

/// An archive that a mailserver stores into and answers from.
pub struct ArchiveVault {
    archive: Arc<Archive>,
}

impl ArchiveVault {
    /// The vault over `archive`.
    pub fn new(archive: Arc<Archive>) -> Self {
        Self { archive }
    }

    /// Does `work` on the archive where waiting is harmless.
    fn wait_for<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Archive) -> Result<T, Box<dyn Error + Send + Sync>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ArchiveError>> {
        let archive = Arc::clone(&self.archive);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || work(&archive)).await {
                Ok(done) => done.map_err(|error| ArchiveError::new(doing, error)),
                Err(panicked) => Err(ArchiveError::new(doing, panicked)),
            }
        })
    }
}

impl Vault for ArchiveVault {
    fn append(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        self.wait_for("store envelopes", move |archive| {
            let appended = archive.append(&envelopes)?;
            let (stored, duplicate) = (appended.stored, appended.duplicate);
            tracing::info!(stored, duplicate, "archived");
            if appended.refused > 0 {
                tracing::warn!(refused = appended.refused, "too large for a block");
            }
            if appended.too_old > 0 {
                tracing::warn!(refused = appended.too_old, "of days no longer kept");
            }
            Ok(Archived { stored, duplicate })
        })
    }

    /// Reading stops soon after the future is dropped.
    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        let guard = StopOnDrop::default();
        let stop = guard.0.clone();
        let reading = self.wait_for("read envelopes", move |archive| {
            let found = archive.page_unless(&request(&query), &stop)?;
            let envelopes: Result<Vec<_>, EnvelopeError> = found
                .records
                .iter()
                .map(|record| Envelope::known(&record.bytes, record.key.hash))
                .collect();
            Ok(Page {
                envelopes: envelopes?,
                more: found.more,
                blocks: found.reads.blocks,
                read: found.reads.bytes,
                looked: found.looked,
            })
        });
        Box::pin(async move {
            let _guard = guard;
            reading.await
        })
    }
}

fn request(query: &PageQuery) -> PageRequest {
    let topics = if query.topics.is_full() {
        TopicFilter::All
    } else {
        TopicFilter::Bloom(Box::new(query.topics))
    };
    PageRequest {
        filter: Filter {
            topics,
            range: query.range,
        },
        after: query.after.map(|cursor| (cursor.sent, cursor.hash)),
        limit: query.limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailserver::Cursor;
    use crate::progress::Quiet;
    use crate::time::{Expiry, TimeRange, Ttl, UnixSeconds};
    use crate::whisper::{Bloom, Topic};

    const NOW: UnixSeconds = UnixSeconds(1_600_000_200);

    /// One of two topics that no bloom filter takes for one another.
    fn topic(n: u32) -> Topic {
        Topic(if n.is_multiple_of(2) {
            [8, 8, 8, 0]
        } else {
            [16, 16, 16, 0]
        })
    }

    fn envelope(n: u32) -> Envelope {
        let expiry = Expiry::of(UnixSeconds(1_600_000_000 + n), Ttl(50));
        Envelope::new(expiry, Ttl(50), topic(n), &n.to_be_bytes(), 0)
    }

    fn query(topics: Bloom, after: Option<Cursor>, limit: usize) -> PageQuery {
        PageQuery {
            range: TimeRange::ALL,
            topics,
            after,
            limit,
        }
    }

    /// Every envelope that pages of two lead to, in their order.
    async fn walk(vault: &ArchiveVault, topics: Bloom) -> Vec<Envelope> {
        let mut walked: Vec<Envelope> = Vec::new();
        loop {
            let after = walked.last().map(Cursor::of);
            let page = vault.page(query(topics, after, 2)).await.unwrap();
            assert!(page.envelopes.len() <= 2);
            walked.extend(page.envelopes);
            if !page.more {
                return walked;
            }
        }
    }

    #[tokio::test]
    async fn pages_lead_through_sealed_and_waiting_envelopes_alike() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Arc::new(Archive::init(folder.path(), "").unwrap());
        let vault = ArchiveVault::new(Arc::clone(&archive));
        let all: Vec<_> = (0..9).map(envelope).collect();

        let archived = vault.append(all[..5].to_vec()).await.unwrap();
        assert_eq!((archived.stored, archived.duplicate), (5, 0));
        let until = crate::archive::watermark::Watermark::at_or_before(UnixSeconds(u32::MAX));
        archive.seal(until, NOW, &Quiet).unwrap();
        let archived = vault.append(all.clone()).await.unwrap();
        assert_eq!((archived.stored, archived.duplicate), (4, 5));

        assert_eq!(walk(&vault, Bloom::FULL).await, all);
        let odd: Vec<_> = all.iter().skip(1).step_by(2).cloned().collect();
        assert_eq!(walk(&vault, Bloom::of_topic(topic(1))).await, odd);
    }

    #[tokio::test]
    async fn a_page_for_a_peer_that_left_is_not_read_on() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Arc::new(Archive::init(folder.path(), "").unwrap());
        let vault = Arc::new(ArchiveVault::new(Arc::clone(&archive)));
        vault.append((0..9).map(envelope).collect()).await.unwrap();
        let until = crate::archive::watermark::Watermark::at_or_before(UnixSeconds(u32::MAX));
        archive.seal(until, NOW, &Quiet).unwrap();

        let held_up = archive.hold_up_pages();
        let users = Arc::strong_count(&archive);
        let asking = {
            let vault = Arc::clone(&vault);
            tokio::spawn(async move { vault.page(query(Bloom::FULL, None, 2)).await })
        };
        // The reading thread has the archive now, and waits for its turn.
        while Arc::strong_count(&archive) == users {
            tokio::task::yield_now().await;
        }
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        // It gives up, although the turn never comes.
        while Arc::strong_count(&archive) > users {
            tokio::task::yield_now().await;
        }
        drop(held_up);
        let page = vault.page(query(Bloom::FULL, None, 2)).await.unwrap();
        assert_eq!(page.envelopes.len(), 2);
    }
}
