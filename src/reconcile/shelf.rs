//! The archive, as archivers ask it.
//!
//! Always true:
//! - The disk is waited for on threads meant for waiting; what two peers ask in the
//!   same moment is read once.
//! - A few requests read the archive at a time, and one takes a snapshot.
//! - What a request made this side read is charged, whether or not who asked is
//!   still there; if not, reading stops soon.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::message::{
    ANSWER_BYTES, EnvelopesAnswer, MAX_NEWS, Message, NewsAnswer, Refusal, Status,
};
use super::snapshot::{MAX_ITEMS, Snapshot};
use crate::archive::disk::{
    Appended, Archive, DiskError, HeadMark, Position, Since, SinceError, Start, Stop, StopOnDrop,
};
use crate::archive::filter::TopicFilter;
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::time::TimeRange;
use crate::whisper::Envelope;
use crate::whisper::bloom::Bloom;

/// Bytes that a request costs beside its answer, for each envelope of its range
/// that is held in memory: some nanoseconds of sums.
const LOOK: u64 = 8;

/// And for each that had to be read from the archive first: what it takes from the
/// disk and through the hash is ten times this, and is shared with whoever asks
/// next.
const READ: u64 = 64;

/// Bytes read for envelopes that cost as much as one that is sent: disks and hashes
/// are some ten times as fast as lines.
const READ_SHARE: u64 = 8;

/// Requests that read the archive at a time, whoever sent them: each may hold some
/// tens of megabytes, and more would only share the disk.
const READERS: usize = 2;

/// The archive and what of it was read last.
pub struct Shelf {
    archive: Arc<Archive>,
    /// Envelopes compared at a time; lower in tests.
    most: usize,
    readers: Arc<Semaphore>,
    /// Held by the one snapshot that is being taken.
    taking: Mutex<()>,
    sealed: Mutex<Option<SealedKeys>>,
    /// The last range of which this head holds too much.
    too_many: Mutex<Option<(HeadMark, TimeRange)>>,
    last: Mutex<Option<(Version, Arc<Snapshot>)>>,
}

/// What is sealed of a range, under one head.
#[derive(Clone)]
struct SealedKeys {
    head: HeadMark,
    range: TimeRange,
    keys: Arc<Vec<Key>>,
}

/// A snapshot, unless the range holds too much, and what taking it cost in bytes.
struct Taken {
    snapshot: Option<Arc<Snapshot>>,
    cost: u64,
}

impl Taken {
    fn too_many(cost: u64) -> Self {
        Self {
            snapshot: None,
            cost,
        }
    }
}

/// A range holds more than is compared at a time, as is known after reading so many.
struct TooMany {
    read: usize,
}

fn is_within(inner: TimeRange, outer: TimeRange) -> bool {
    outer.from() <= inner.from() && inner.to() <= outer.to()
}

/// A snapshot for another's request, and what looking cost in bytes.
struct Looked {
    snapshot: Result<Arc<Snapshot>, Refusal>,
    cost: u64,
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
            most: MAX_ITEMS,
            readers: Arc::new(Semaphore::new(READERS)),
            taking: Mutex::default(),
            sealed: Mutex::default(),
            too_many: Mutex::default(),
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

    /// Answers a request; anything else has no answer. `charge` is told what it
    /// cost in bytes, even if nobody waits for the answer any more.
    pub async fn answer(
        self: &Arc<Self>,
        request: Message,
        charge: impl FnOnce(u64) + Send + 'static,
    ) -> Option<Message> {
        let permit = Arc::clone(&self.readers).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let shelf = Arc::clone(self);
        let guard = StopOnDrop::default();
        let stop = guard.0.clone();
        let answering = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let (message, cost) = shelf.answer_now(request, &stop)?;
            charge(cost + message.encode().len() as u64);
            Some(message)
        });
        answering
            .await
            .inspect_err(|error| tracing::error!(%error, "BUG: an archiver's request panicked"))
            .ok()?
    }

    /// The answer, and what it cost beside its bytes.
    fn answer_now(&self, request: Message, stop: &Stop) -> Option<(Message, u64)> {
        match request {
            Message::GetNews {
                id,
                start,
                topics,
                limit,
            } => {
                let limit = limit.min(MAX_NEWS);
                let answer = self.news(start, topics, limit);
                Some((Message::News { id, answer }, LOOK * u64::from(limit)))
            }
            Message::Compare { id, range, frame } => {
                let Looked { snapshot, cost } = self.look(range, stop);
                let answer = snapshot.and_then(|snapshot| {
                    let answer = snapshot.answer(&frame).map(bytes::Bytes::from);
                    answer.ok_or(Refusal::Malformed)
                });
                Some((Message::Compared { id, answer }, cost))
            }
            Message::GetEnvelopes { id, range, hashes } => {
                let Looked { snapshot, mut cost } = self.look(range, stop);
                let answer = snapshot.and_then(|snapshot| {
                    let (answer, read) = self.given(&snapshot.find(&hashes))?;
                    cost += read / READ_SHARE;
                    Ok(answer)
                });
                Some((Message::Envelopes { id, answer }, cost))
            }
            _ => None,
        }
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

    /// A snapshot for another's request.
    fn look(&self, range: TimeRange, stop: &Stop) -> Looked {
        match self.snapshot_unless(range, stop) {
            Ok(Taken { snapshot, cost }) => Looked {
                snapshot: snapshot.ok_or(Refusal::TooMany),
                cost,
            },
            // How far it came is not told.
            Err(error) => Looked {
                snapshot: Err(unavailable(&error)),
                cost: READ * self.most as u64,
            },
        }
    }

    /// Those of `keys` that fit an answer, and how many bytes were read for them.
    fn given(&self, keys: &[Key]) -> Result<(EnvelopesAnswer, u64), Refusal> {
        let fetched = self.archive.fetch(keys, ANSWER_BYTES);
        let fetched = fetched.map_err(|error| unavailable(&error))?;
        let answer = EnvelopesAnswer {
            complete: fetched.complete,
            envelopes: decoded(&fetched.records)?,
        };
        Ok((answer, fetched.read))
    }

    fn version(&self, range: TimeRange) -> Version {
        let (_, position) = self.archive.here();
        Version { range, position }
    }

    fn at_hand(&self, version: &Version) -> Option<Taken> {
        let last = lock(&self.last);
        let (taken_of, snapshot) = last.as_ref()?;
        (taken_of == version).then(|| Taken {
            snapshot: Some(Arc::clone(snapshot)),
            cost: LOOK * snapshot.keys().len() as u64,
        })
    }

    /// What is held of a range now; `None` where that is more than is compared
    /// at a time.
    pub fn snapshot(&self, range: TimeRange) -> Result<Option<Arc<Snapshot>>, DiskError> {
        Ok(self.snapshot_unless(range, &Stop::default())?.snapshot)
    }

    /// As [`Self::snapshot`]; fails soon once `stop` is given.
    fn snapshot_unless(&self, range: TimeRange, stop: &Stop) -> Result<Taken, DiskError> {
        // Who compares on does not wait for what others make this side read.
        if let Some(taken) = self.at_hand(&self.version(range)) {
            return Ok(taken);
        }
        let _taking = lock(&self.taking);
        let version = self.version(range);
        if let Some(taken) = self.at_hand(&version) {
            return Ok(taken);
        }
        // What waits first: what is sealed in between is found in the head.
        let mut keys = self.archive.waiting_keys(range, self.most + 1);
        if keys.len() > self.most {
            return Ok(Taken::too_many(LOOK * self.most as u64));
        }
        let head = version.position.since;
        let cached = lock(&self.sealed).clone();
        let (sealed, read) = match cached {
            Some(cached) if cached.head == head && cached.covers(range) => (cached.keys, 0),
            _ => match self.sealed(head, range, stop)? {
                Ok(keys) => {
                    let read = keys.len();
                    (keys, read)
                }
                Err(TooMany { read }) => return Ok(Taken::too_many(READ * read as u64)),
            },
        };
        let cost = READ * read as u64 + LOOK * (keys.len() + sealed.len()) as u64;
        keys.extend(sealed.iter().filter(|key| range.contains(key.sent)));
        if keys.len() > self.most {
            return Ok(Taken::too_many(cost));
        }
        let Some(snapshot) = Snapshot::new(range, keys).map(Arc::new) else {
            return Ok(Taken::too_many(cost));
        };
        // What arrived meanwhile is in it too, and does no harm.
        *lock(&self.last) = Some((version, Arc::clone(&snapshot)));
        Ok(Taken {
            snapshot: Some(snapshot),
            cost,
        })
    }

    /// Reads what is sealed of a range.
    fn sealed(
        &self,
        head: HeadMark,
        range: TimeRange,
        stop: &Stop,
    ) -> Result<Result<Arc<Vec<Key>>, TooMany>, DiskError> {
        let known = *lock(&self.too_many);
        if known.is_some_and(|(of, too_many)| of == head && is_within(too_many, range)) {
            return Ok(Err(TooMany { read: 0 }));
        }
        // Whoever asks for all there is need not make this side read a part of it.
        // Where it cannot be told, what is read says why.
        let about = self.archive.sealed_about(range);
        if about.is_ok_and(|about| about > self.most as u64) {
            return Ok(Err(TooMany { read: 0 }));
        }
        let Some(read) = self.archive.sealed_keys(range, self.most, stop)? else {
            let mut known = lock(&self.too_many);
            // The narrower one says more.
            if known.is_none_or(|(of, too_many)| of != head || is_within(range, too_many)) {
                *known = Some((head, range));
            }
            return Ok(Err(TooMany { read: self.most }));
        };
        let keys = Arc::new(read);
        *lock(&self.sealed) = Some(SealedKeys {
            head,
            range,
            keys: Arc::clone(&keys),
        });
        Ok(Ok(keys))
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
        let guard = StopOnDrop::default();
        let stop = guard.0.clone();
        let taking = tokio::task::spawn_blocking(move || shelf.snapshot_unless(range, &stop));
        match taking.await {
            Ok(Ok(taken)) => Ok(taken.snapshot),
            Ok(Err(error)) => Err(error.to_string()),
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

/// Does heavy sums on what a task owns where they keep nobody waiting; `None` where
/// they panicked.
pub(super) async fn apart<T: Send + 'static, R: Send + 'static>(
    mut thing: T,
    work: impl FnOnce(&mut T) -> R + Send + 'static,
) -> Option<(T, R)> {
    let working = tokio::task::spawn_blocking(move || {
        let result = work(&mut thing);
        (thing, result)
    });
    working
        .await
        .inspect_err(|error| tracing::error!(%error, "BUG: a comparison panicked"))
        .ok()
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

#[cfg(test)]
mod tests;
