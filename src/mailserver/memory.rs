//! A vault in memory: for tests, demonstrations, and as the plainest statement
//! of what a vault does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use crate::mailserver::{ArchiveError, Archived, BoxFuture, Cursor, Page, PageQuery, Vault};
use crate::whisper::{Envelope, EnvelopeHash};

/// Envelopes in order of (sent, hash). Durable only as long as the process.
#[derive(Debug, Default)]
pub struct MemoryVault {
    envelopes: Mutex<BTreeMap<Cursor, Envelope>>,
}

impl MemoryVault {
    /// All envelopes held, in order.
    pub fn envelopes(&self) -> Vec<Envelope> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Cursor, Envelope>> {
        // A panic cannot leave the map half changed: each change is one insert.
        self.envelopes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn append_now(&self, envelopes: Vec<Envelope>) -> Archived {
        let mut held = self.lock();
        let mut archived = Archived::default();
        for envelope in envelopes {
            match held.insert(Cursor::of(&envelope), envelope) {
                None => archived.stored += 1,
                Some(_) => archived.duplicate += 1,
            }
        }
        archived
    }

    fn page_now(&self, query: &PageQuery) -> Page {
        let first = Cursor {
            sent: query.range.from(),
            hash: EnvelopeHash([0; 32]),
        };
        let start = match query.after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let held = self.lock();
        let mut matching = held
            .range((start, Bound::Unbounded))
            .map(|(_, envelope)| envelope)
            .take_while(|envelope| envelope.sent() <= query.range.to())
            .filter(|envelope| query.topics.matches(envelope.topic()));
        Page {
            envelopes: matching.by_ref().take(query.limit).cloned().collect(),
            more: matching.next().is_some(),
            ..Page::default()
        }
    }
}

impl Vault for MemoryVault {
    fn append(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        Box::pin(async move { Ok(self.append_now(envelopes)) })
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(async move { Ok(self.page_now(&query)) })
    }
}
