//! A depot in a bucket of objects, by the protocol of S3.
//!
//! It is laid out as the public folder of an archive is: `HEAD`, `heads/`, and under
//! `blocks/` the files with their catalogues. Where a bucket is shown over HTTP to
//! anybody, it is a source of blocks as it stands.
//!
//! Always true:
//! - `HEAD` is swapped on the condition that it is what it was when it was read: of
//!   two who swap it at once, one is [overtaken](DepotError::Overtaken).
//! - A head's files are there before it, and so are the catalogues that list them.
//! - A file is one object, written by one request or in parts; a catalogue is written
//!   where its own folder changed, and no other is.
//! - What is read is asked for by place, a range for blocks that lie near each other,
//!   and hashed.

mod bucket;
mod error;
mod lists;
mod place;
mod read;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use url::Url;

use self::bucket::Bucket;
pub use self::place::Environment;
use self::place::Place;
use self::read::Reading;
use self::view::{View, split};
use super::registry::{Entry, MAX_ENTRY, Registry, Version};
use super::{Depot, DepotError, KeptFile, Parcel, dropped};
use crate::archive::head::{Head, MAX_HEAD_LEN, Sequence};
use crate::archive::watermark::Day;
use crate::blocks::catalogue::file_len;
use crate::blocks::{
    Block, BlockError, BlockSource, Cid, Fault, Refusal, catalogues, has_by_getting,
};

/// Folder of the files of blocks.
const BLOCKS: &str = "blocks";
/// Name of the pointer.
const POINTER: &str = "HEAD";
/// Longest text of the pointer, bytes.
const MAX_POINTER: u64 = 256;

/// How long what is listed counts as new: a block that is not there is not looked for
/// by a listing of the bucket each time.
const RENEW_AFTER: Duration = Duration::from_secs(10);

/// Heads of a lineage that are written at once.
const HEADS_AT_ONCE: usize = 16;

/// A depot in a bucket.
pub struct ObjectsDepot {
    inner: Arc<Inner>,
}

/// What tasks that read share.
struct Inner {
    bucket: Bucket,
    /// What the bucket holds, and when that was looked at; `None` before it was, and
    /// where it is known to have changed.
    view: Mutex<(View, Option<Instant>)>,
    /// Held by whoever changes the bucket, or looks at it anew.
    changing: tokio::sync::Mutex<()>,
    /// Numbers of heads, which their objects are named by.
    heads: read::HeadNumbers,
    /// The pointer that was read last.
    seen: Mutex<Option<Version>>,
    /// When it was read for a block that nothing else names.
    pointed: Mutex<Option<Instant>>,
}

/// The pointer as it was read.
struct Pointer {
    sequence: Sequence,
    cid: Cid,
    version: Version,
}

impl ObjectsDepot {
    /// The depot in the bucket that `url` names: `s3://BUCKET/FOLDER`, or the URL of an
    /// endpoint with bucket and folder behind it. Credentials, region and the endpoint
    /// of the former come from the environment, as other programs for S3 read it.
    /// Nothing is asked yet.
    pub fn open(url: &Url, environment: Environment<'_>) -> Result<Self, DepotError> {
        let name = match url.scheme() {
            "s3" => url.as_str().trim_end_matches('/').to_owned(),
            _ => format!("s3:{}", url.as_str().trim_end_matches('/')),
        };
        let refused = |what| place::refused(&name, what);
        let place = Place::read(url, environment).map_err(refused)?;
        let store = place.store();
        let store = store.map_err(|error| error::mapped(&name, "opening it", &error))?;
        Self::over(store, place.folder, name)
    }

    /// The depot in a folder of a store that lives as long as the process.
    #[cfg(test)]
    pub(crate) fn in_memory(store: &Arc<object_store::memory::InMemory>, folder: &str) -> Self {
        let (store, name) = (Arc::clone(store) as _, "s3:memory".to_owned());
        Self::over(store, folder.into(), name).expect("a thread can be started")
    }

    /// The depot in a folder of any store of objects that can write on a condition.
    fn over(
        store: Arc<dyn ObjectStore>,
        folder: object_store::path::Path,
        name: String,
    ) -> Result<Self, DepotError> {
        let inner = Inner {
            bucket: Bucket::new(store, folder, name)?,
            view: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            heads: read::HeadNumbers::default(),
            seen: Mutex::default(),
            pointed: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    fn bucket(&self) -> &Bucket {
        &self.inner.bucket
    }
}

fn object(file: &str) -> String {
    format!("{BLOCKS}/{file}")
}

fn head_object(sequence: Sequence, cid: &Cid) -> String {
    format!("heads/{:010}.{cid}.head", sequence.0)
}

/// The blocks of a file on this disk, where it is whole.
fn listed(car: &Path, len: u64) -> Result<Vec<crate::blocks::catalogue::Listed>, DepotError> {
    let io = |source| DepotError::Io {
        path: car.to_owned(),
        source,
    };
    let found = catalogues::blocks_of(car).map_err(|error| io(std::io::Error::other(error)))?;
    if file_len(&found) != len {
        let what = "it is damaged: what its blocks amount to is not its length";
        return Err(io(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            what,
        )));
    }
    Ok(found)
}

impl Inner {
    fn view(&self) -> MutexGuard<'_, (View, Option<Instant>)> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pointer; `None` where there is none.
    async fn pointer(&self) -> Result<Option<Pointer>, DepotError> {
        let Some(entry) = self.bucket.small(POINTER, MAX_POINTER).await? else {
            return Ok(None);
        };
        let read = || {
            let text = std::str::from_utf8(&entry.bytes).ok()?;
            let (number, cid) = text.trim_end().split_once(' ')?;
            Some((Sequence(number.parse().ok()?), cid.parse().ok()?))
        };
        let (sequence, cid) = read().ok_or_else(|| {
            let what = "its HEAD names no head: there is something else".to_owned();
            self.bucket.refused(what)
        })?;
        let pointer = Pointer {
            sequence,
            cid,
            version: entry.version,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref() != Some(&pointer.version) {
            // Another wrote here, or this is the first look: what it lists is newer.
            if seen.is_some() {
                self.view().1 = None;
            }
            *seen = Some(pointer.version.clone());
        }
        self.heads.remember(cid, sequence);
        Ok(Some(pointer))
    }

    async fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        let (name, len) = (&parcel.file.name, parcel.file.bytes);
        if split(name).is_none() {
            return Err(self
                .bucket
                .refused(format!("`{name}` is no name of a file of blocks")));
        }
        self.look(None).await?;
        let _changing = self.changing.lock().await;
        if self.view().0.holds(name, len) {
            return Ok(());
        }
        let blocks = listed(parcel.car, len)?;
        let file = File::open(parcel.car).map_err(|source| DepotError::Io {
            path: parcel.car.to_owned(),
            source,
        })?;
        self.bucket
            .upload(&object(name), &file, parcel.car, len)
            .await?;
        self.view().0.insert(name, blocks);
        Ok(())
    }

    async fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        let _changing = self.changing.lock().await;
        let newest = self.pointer().await?;
        let overtaken = |newest: Sequence| DepotError::Overtaken {
            depot: self.bucket.name().to_owned(),
            newest,
        };
        match (&newest, before) {
            (Some(newest), _) if newest.cid == *head.cid() => return self.list().await,
            (Some(newest), _)
                if before.map(Head::cid) != Some(&newest.cid)
                    || newest.sequence >= head.body().sequence =>
            {
                return Err(overtaken(newest.sequence));
            }
            (None, Some(before)) => {
                return Err(DepotError::Lost {
                    depot: self.bucket.name().to_owned(),
                    what: format!("head {}", before.body().sequence),
                });
            }
            _ => {}
        }
        self.list().await?;
        self.keep_block(head).await?;
        let text = format!("{} {}\n", head.body().sequence, head.cid());
        let swapped = match &newest {
            None => self.bucket.create(POINTER, text.as_bytes()).await?,
            Some(newest) => {
                let version = &newest.version;
                self.bucket
                    .replace(POINTER, text.as_bytes(), version)
                    .await?
            }
        };
        match swapped {
            Some(version) => {
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
                Ok(())
            }
            None => {
                let newest = self.pointer().await?;
                Err(newest.map_or_else(
                    || self.bucket.away("its HEAD comes and goes"),
                    |newest| overtaken(newest.sequence),
                ))
            }
        }
    }

    /// Writes what the catalogues lack. `changing` is held.
    async fn list(&self) -> Result<(), DepotError> {
        if self.view().1.is_none() {
            self.look_again().await?;
        }
        self.write_lists().await
    }

    /// Writes a head as an object of its own; what it is named says what it holds.
    async fn keep_block(&self, head: &Head) -> Result<(), DepotError> {
        let path = head_object(head.body().sequence, head.cid());
        match self.bucket.create(&path, head.block().bytes()).await? {
            Some(_) => Ok(()),
            // Its name says what it holds: whatever else is there was damaged.
            None => self.bucket.overwrite(&path, head.block().bytes()).await,
        }
    }

    async fn keep_lineage(&self, heads: &[Head]) -> Result<(), DepotError> {
        if heads.is_empty() {
            return Ok(());
        }
        let there = self.bucket.list("heads").await?;
        let there: HashSet<String> = there
            .into_iter()
            .map(|object| format!("heads/{}", object.name))
            .collect();
        // That it has its name does not say that it is whole: the one that is pointed to is
        // compared, as nothing is carried above one that is not.
        let pointed = self.pointer().await?.map(|pointer| pointer.cid);
        let lacking = heads.iter().filter(|head| {
            let is_there = there.contains(&head_object(head.body().sequence, head.cid()));
            !is_there || pointed == Some(*head.cid())
        });
        let writing: Vec<_> = lacking.map(|head| self.keep_block(head)).collect();
        futures_util::stream::iter(writing)
            .buffer_unordered(HEADS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        let Some(pointer) = self.pointer().await? else {
            return Ok(None);
        };
        let path = head_object(pointer.sequence, &pointer.cid);
        let lost = |what: String| DepotError::Lost {
            depot: self.bucket.name().to_owned(),
            what,
        };
        let entry = self.bucket.small(&path, MAX_HEAD_LEN as u64).await?;
        let entry = entry.ok_or_else(|| lost(format!("head {}", pointer.sequence)))?;
        let block = Block::verify(&pointer.cid, entry.bytes);
        let block = block.map_err(|error| lost(format!("{path}: {error}")))?;
        let head = Head::decode(block).map_err(|error| lost(format!("{path}: {error}")))?;
        self.heads.learn(&head);
        Ok(Some(head))
    }
}

impl Inner {
    async fn dropped(&self) -> Result<Option<(Day, Version)>, DepotError> {
        let Some(entry) = self.bucket.small(dropped::NAME, dropped::MAX_LEN).await? else {
            return Ok(None);
        };
        let before = dropped::decode(self.bucket.name(), &entry.bytes)?;
        Ok(Some((before, entry.version)))
    }

    async fn say_dropped(&self, before: Day) -> Result<(), DepotError> {
        let text = dropped::encode(before);
        let written = match self.dropped().await? {
            Some((said, _)) if said >= before => return Ok(()),
            Some((_, version)) => {
                let replaced = self.bucket.replace(dropped::NAME, &text, &version);
                replaced.await?
            }
            None => self.bucket.create(dropped::NAME, &text).await?,
        };
        match written {
            Some(_) => Ok(()),
            None => Err(self.bucket.away("another writer says what was dropped")),
        }
    }
}

impl Depot for ObjectsDepot {
    fn name(&self) -> &str {
        self.bucket().name()
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        self.bucket().wait(self.inner.keep(parcel))
    }

    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError> {
        let inner = &self.inner;
        self.bucket().wait(async {
            let _changing = inner.changing.lock().await;
            inner.look_again().await?;
            inner.read_unlisted().await?;
            Ok(inner.view().0.kept())
        })
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        if split(name).is_none() {
            return Ok(());
        }
        let inner = &self.inner;
        self.bucket().wait(async {
            inner.look(None).await?;
            let _changing = inner.changing.lock().await;
            inner.bucket.delete(&object(name)).await?;
            inner.view().0.remove(name);
            Ok(())
        })
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        self.bucket().wait(self.inner.keep_head(head, before))
    }

    fn keep_lineage(&self, heads: &[Head]) -> Result<(), DepotError> {
        self.bucket().wait(self.inner.keep_lineage(heads))
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        self.bucket().wait(self.inner.newest_head())
    }

    fn say_dropped(&self, before: Day) -> Result<(), DepotError> {
        self.bucket().wait(self.inner.say_dropped(before))
    }

    fn dropped_before(&self) -> Result<Option<Day>, DepotError> {
        let said = self.bucket().wait(self.inner.dropped());
        Ok(said?.map(|(before, _)| before))
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(self)
    }
}

impl Registry for ObjectsDepot {
    fn entry(&self, name: &str) -> Result<Option<Entry>, DepotError> {
        self.bucket().wait(self.bucket().small(name, MAX_ENTRY))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Option<Version>, DepotError> {
        self.bucket().wait(self.bucket().create(name, bytes))
    }

    fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        version: &Version,
    ) -> Result<Option<Version>, DepotError> {
        let replacing = self.bucket().replace(name, bytes, version);
        self.bucket().wait(replacing)
    }
}

impl BlockSource for ObjectsDepot {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let found = self.bucket().wait(self.inner.block(cid));
        found.map_err(|fault| self.unavailable(cid, fault))
    }

    /// Catalogues are hints: it costs as much as to get it.
    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        has_by_getting(self, cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let mut reading = Reading::start(&self.inner, cids);
        while let Some(read) = reading.next() {
            match read {
                Ok(block) => {
                    if take(block).is_break() {
                        break;
                    }
                }
                Err((cid, fault)) => return Err(self.unavailable(&cid, fault)),
            }
        }
        Ok(())
    }
}

impl ObjectsDepot {
    fn unavailable(&self, cid: &Cid, fault: Fault) -> BlockError {
        let source = self.bucket().name().to_owned();
        match fault {
            Fault::Absent => BlockError::Missing { cid: *cid },
            fault => BlockError::Unavailable {
                cid: *cid,
                by: vec![Refusal { source, fault }],
            },
        }
    }
}
