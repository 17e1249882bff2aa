//! The archive, as archivers ask it.
//!
//! Always true: the disk is waited for on threads meant for waiting; what two
//! peers ask in the same moment is read once.

use std::sync::{Arc, Mutex, PoisonError};

use super::message::{
    ANSWER_BYTES, EnvelopesAnswer, MAX_NEWS, Message, NewsAnswer, Refusal, RequestNumber, Status,
};
use super::snapshot::{MAX_ITEMS, Snapshot};
use crate::archive::disk::{
    Appended, Archive, DiskError, HeadMark, Position, Since, SinceError, Start,
};
use crate::archive::filter::TopicFilter;
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::time::TimeRange;
use crate::whisper::Envelope;
use crate::whisper::bloom::Bloom;

/// Bytes that a request costs beside its answer, for each envelope it looks at.
const LOOK: u64 = 8;

/// What a request was answered with, and what that cost in bytes.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub message: Message,
    /// Its price.
    pub cost: u64,
}

/// The archive and what of it was read last.
pub struct Shelf {
    archive: Arc<Archive>,
    sealed: Mutex<Option<SealedKeys>>,
    last: Mutex<Option<(Version, Arc<Snapshot>)>>,
}

/// What is sealed of a range, under one head.
#[derive(Clone)]
struct SealedKeys {
    head: HeadMark,
    range: TimeRange,
    keys: Arc<Vec<Key>>,
}

/// What a snapshot was taken of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    range: TimeRange,
    position: Position,
}

impl Shelf {
    /// The archive.
    pub fn new(archive: Arc<Archive>) -> Self {
        Self {
            archive,
            sealed: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// The archive itself.
    pub fn archive(&self) -> &Arc<Archive> {
        &self.archive
    }

    /// What the archive says of itself.
    pub fn status(&self) -> Status {
        let (head, position) = self.archive.here();
        Status {
            archive: self.archive.tag(),
            sequence: position.since.sequence,
            watermark: position.since.watermark,
            head: head.map(|head| *head.cid()),
            position,
        }
    }

    /// Answers a request. Anything else has no answer.
    pub async fn answer(self: &Arc<Self>, request: Message) -> Option<Answer> {
        let shelf = Arc::clone(self);
        let answered = tokio::task::spawn_blocking(move || shelf.answer_now(request)).await;
        answered
            .inspect_err(|error| tracing::error!(%error, "BUG: an archiver's request panicked"))
            .ok()?
    }

    fn answer_now(&self, request: Message) -> Option<Answer> {
        let (message, looked_at) = match request {
            Message::GetNews {
                id,
                start,
                topics,
                limit,
            } => {
                let limit = limit.min(MAX_NEWS);
                let answer = self.news(start, topics, limit);
                (Message::News { id, answer }, limit.into())
            }
            Message::Compare { id, range, frame } => {
                let (answer, looked_at) = match self.snapshot(range) {
                    Ok(Some(snapshot)) => {
                        let answer = snapshot.answer(&frame).map(bytes::Bytes::from);
                        (answer.ok_or(Refusal::Malformed), snapshot.keys().len())
                    }
                    Ok(None) => (Err(Refusal::TooMany), MAX_ITEMS),
                    Err(error) => (Err(unavailable(&error)), 0),
                };
                (Message::Compared { id, answer }, looked_at as u64)
            }
            Message::GetEnvelopes { id, range, hashes } => self.envelopes(id, range, &hashes),
            _ => return None,
        };
        let cost = message.encode().len() as u64 + LOOK * looked_at;
        Some(Answer { message, cost })
    }

    fn news(&self, start: Start, topics: Option<Bloom>, limit: u32) -> Result<NewsAnswer, Refusal> {
        let news = self
            .archive
            .since(&Since {
                start,
                topics: topics.map_or(TopicFilter::All, |bloom| {
                    TopicFilter::Bloom(Box::new(bloom))
                }),
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
                max_bytes: ANSWER_BYTES,
            })
            .map_err(|error| match error {
                SinceError::AnotherArchive => Refusal::AnotherArchive,
                SinceError::Ahead => Refusal::Ahead,
                SinceError::AnotherLineage => Refusal::AnotherLineage,
                SinceError::TooOld => Refusal::TooOld,
                SinceError::Disk(error) => unavailable(&error),
            })?;
        Ok(NewsAnswer {
            next: news.next,
            more: news.more,
            envelopes: decoded(&news.records)?,
        })
    }

    fn envelopes(
        &self,
        id: RequestNumber,
        range: TimeRange,
        hashes: &[crate::whisper::EnvelopeHash],
    ) -> (Message, u64) {
        let (answer, looked_at) = match self.snapshot(range) {
            Ok(Some(snapshot)) => {
                let keys = snapshot.find(hashes);
                (self.given(&keys), snapshot.keys().len())
            }
            Ok(None) => (Err(Refusal::TooMany), MAX_ITEMS),
            Err(error) => (Err(unavailable(&error)), 0),
        };
        (Message::Envelopes { id, answer }, looked_at as u64)
    }

    fn given(&self, keys: &[Key]) -> Result<EnvelopesAnswer, Refusal> {
        let fetched = self.archive.fetch(keys, ANSWER_BYTES);
        let fetched = fetched.map_err(|error| unavailable(&error))?;
        Ok(EnvelopesAnswer {
            complete: fetched.complete,
            envelopes: decoded(&fetched.records)?,
        })
    }

    /// What is held of a range now; `None` where that is more than is compared
    /// at a time.
    pub fn snapshot(&self, range: TimeRange) -> Result<Option<Arc<Snapshot>>, DiskError> {
        let (_, position) = self.archive.here();
        let version = Version { range, position };
        if let Some((last, snapshot)) = &*lock(&self.last)
            && *last == version
        {
            return Ok(Some(Arc::clone(snapshot)));
        }
        let Some(keys) = self.keys(range, position.since)? else {
            return Ok(None);
        };
        let Some(snapshot) = Snapshot::new(range, keys).map(Arc::new) else {
            return Ok(None);
        };
        // What arrived meanwhile is in it too, and does no harm.
        *lock(&self.last) = Some((version, Arc::clone(&snapshot)));
        Ok(Some(snapshot))
    }

    fn keys(&self, range: TimeRange, head: HeadMark) -> Result<Option<Vec<Key>>, DiskError> {
        // What waits first: what is sealed in between is found in the head.
        let mut keys = self.archive.waiting_keys(range);
        let cached = lock(&self.sealed).clone();
        let sealed = match cached {
            Some(cached) if cached.head == head && cached.covers(range) => cached.keys,
            _ => {
                let Some(read) = self.archive.sealed_keys(range, MAX_ITEMS)? else {
                    return Ok(None);
                };
                let keys = Arc::new(read);
                *lock(&self.sealed) = Some(SealedKeys {
                    head,
                    range,
                    keys: Arc::clone(&keys),
                });
                keys
            }
        };
        keys.extend(sealed.iter().filter(|key| range.contains(key.sent)));
        Ok(Some(keys))
    }

    /// Stores what was fetched.
    pub async fn store(self: &Arc<Self>, envelopes: Vec<Envelope>) -> Result<Appended, String> {
        let archive = Arc::clone(&self.archive);
        match tokio::task::spawn_blocking(move || archive.append(&envelopes)).await {
            Ok(stored) => stored.map_err(|error| error.to_string()),
            Err(panicked) => Err(panicked.to_string()),
        }
    }

    /// As [`Self::snapshot`], where waiting is harmless.
    pub async fn snapshot_soon(
        self: &Arc<Self>,
        range: TimeRange,
    ) -> Result<Option<Arc<Snapshot>>, String> {
        let shelf = Arc::clone(self);
        match tokio::task::spawn_blocking(move || shelf.snapshot(range)).await {
            Ok(snapshot) => snapshot.map_err(|error| error.to_string()),
            Err(panicked) => Err(panicked.to_string()),
        }
    }
}

impl SealedKeys {
    /// Whether all that is sealed of `range` is among these.
    fn covers(&self, range: TimeRange) -> bool {
        let sealed = self.head.watermark;
        self.range.from() <= range.from()
            && (range.to() <= self.range.to() || sealed <= self.range.to())
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf")
            .field("archive", &self.archive.dir())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a peer is not told in detail.
fn unavailable(error: &dyn std::error::Error) -> Refusal {
    tracing::error!(%error, "cannot answer an archiver");
    Refusal::Unavailable
}

fn decoded(records: &[Record]) -> Result<Vec<Envelope>, Refusal> {
    let envelopes: Result<Vec<_>, _> = records
        .iter()
        .map(|record| Envelope::decode(&record.bytes))
        .collect();
    envelopes.map_err(|error| unavailable(&error))
}
