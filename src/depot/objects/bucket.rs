//! Requests to one folder of a bucket, and the threads they live on.
//!
//! Always true:
//! - What is read into memory is bounded by whoever asks for it; what is uploaded
//!   is in memory by [`PARTS_AT_ONCE`] parts.
//! - A writing on a condition whose answer was lost is told from one that another
//!   made: the object is read, and compared.

use std::fs::File;
use std::future::Future;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetOptions, GetResult, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, UpdateVersion,
};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;

use super::error::{is_absent, is_conflict, mapped};
use crate::depot::DepotError;
use crate::depot::registry::{Entry, Version};

/// A file up to this many bytes is one object in one request; a larger one goes in
/// parts of this size, which is above the least that S3 takes.
const PART: u64 = 8 << 20;

/// Most parts that an upload may have, by the rules of S3: above 80 GB parts grow.
const MAX_PARTS: u64 = 10_000;

/// Parts of one file under way at once.
const PARTS_AT_ONCE: usize = 2;

/// Most objects that a listing is read to: those of two hundred years of days and
/// hours, and what lies between.
const MAX_LISTED: usize = 2_000_000;

/// How often a conditional writing is made again where the server speaks of a
/// conflict and nothing is there: two that met, of which neither won.
const MEETINGS: usize = 5;

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its name below the folder that was listed.
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) version: Option<Version>,
}

/// A folder of a bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    name: String,
    threads: Threads,
}

/// Threads that end with this, wherever that is: a runtime that is dropped waits
/// for its threads, which asynchronous code must not.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    /// The folder in a store, as messages name it.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        folder: Path,
        name: String,
    ) -> Result<Self, DepotError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("gwa-objects")
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => Ok(Self {
                store,
                folder,
                name,
                threads: Threads(Some(runtime)),
            }),
            Err(error) => Err(DepotError::Away {
                depot: name,
                what: format!("no thread can be started for it: {error}"),
            }),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn threads(&self) -> &Handle {
        let runtime = self.threads.0.as_ref();
        runtime.expect("it is taken when this is dropped").handle()
    }

    /// Waits for what asynchronous code does.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.threads().block_on(work)
    }

    fn path(&self, name: &str) -> Path {
        let parts = name.split('/').map(object_store::path::PathPart::from);
        self.folder.parts().chain(parts).collect()
    }

    fn failed(&self, what: &str, name: &str) -> impl FnOnce(object_store::Error) -> DepotError {
        move |error| mapped(&self.name, &format!("{what} {name}"), &error)
    }

    pub(super) fn refused(&self, what: String) -> DepotError {
        super::place::refused(&self.name, what)
    }

    pub(super) fn away(&self, what: impl Into<String>) -> DepotError {
        DepotError::Away {
            depot: self.name.clone(),
            what: what.into(),
        }
    }

    /// An object of at most `most` bytes; `None` where it is not there.
    pub(super) async fn small(&self, name: &str, most: u64) -> Result<Option<Entry>, DepotError> {
        let result = match self.store.get(&self.path(name)).await {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other.map_err(self.failed("reading", name))?,
        };
        let version = self.version(name, result.meta.e_tag.clone())?;
        let bytes = self.body(result, name, most).await?;
        Ok(Some(Entry { bytes, version }))
    }

    /// Without a version nothing is written on a condition, whatever the server says.
    fn version(&self, name: &str, tag: Option<String>) -> Result<Version, DepotError> {
        let tag = tag.filter(|tag| !tag.is_empty());
        let version = tag.map(Version);
        version.ok_or_else(|| self.refused(format!("it gives no ETag with {name}")))
    }

    /// What a server sends, up to a length: it may send on for ever.
    async fn body(&self, result: GetResult, name: &str, most: u64) -> Result<Vec<u8>, DepotError> {
        let too_long = || self.refused(format!("{name} has more than {most} bytes"));
        let mut bytes = Vec::new();
        let mut stream = result.into_stream();
        while let Some(piece) = stream
            .try_next()
            .await
            .map_err(self.failed("reading", name))?
        {
            if (bytes.len() + piece.len()) as u64 > most {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// A part of an object; `None` where the object is not there.
    pub(super) async fn part(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, DepotError> {
        let most = range.end - range.start;
        let options = GetOptions {
            range: Some(range.into()),
            ..GetOptions::default()
        };
        let part = match self.store.get_opts(&self.path(name), options).await {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other.map_err(self.failed("reading", name))?,
        };
        Ok(Some(self.body(part, name, most).await?.into()))
    }

    /// Writes an object where the condition holds; `None` where it does not.
    async fn put_if(
        &self,
        name: &str,
        bytes: &[u8],
        mode: PutMode,
    ) -> Result<Option<Version>, DepotError> {
        let payload = PutPayload::from(bytes.to_vec());
        let put = self
            .store
            .put_opts(&self.path(name), payload, PutOptions::from(mode))
            .await;
        match put {
            Ok(done) => Ok(Some(self.version(name, done.e_tag)?)),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(self.failed("writing", name)(error)),
        }
    }

    /// Writes an object where there is none; `None` where there is another. One of
    /// the same bytes counts as written.
    pub(super) async fn create(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<Option<Version>, DepotError> {
        for _ in 0..MEETINGS {
            if let Some(version) = self.put_if(name, bytes, PutMode::Create).await? {
                return Ok(Some(version));
            }
            let most = (bytes.len() as u64).max(crate::depot::registry::MAX_ENTRY);
            match self.small(name, most).await? {
                Some(there) if there.bytes == bytes => return Ok(Some(there.version)),
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Err(self.away(format!("writing {name}: others write it at the same time")))
    }

    /// Writes an object in the place of one version; `None` where it is another by
    /// now. One of the same bytes counts as written.
    pub(super) async fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        version: &Version,
    ) -> Result<Option<Version>, DepotError> {
        let expected = UpdateVersion {
            e_tag: Some(version.0.clone()),
            version: None,
        };
        let written = self.put_if(name, bytes, PutMode::Update(expected)).await?;
        if written.is_some() {
            return Ok(written);
        }
        let most = (bytes.len() as u64).max(crate::depot::registry::MAX_ENTRY);
        let there = self.small(name, most).await?;
        Ok(there
            .filter(|there| there.bytes == bytes)
            .map(|there| there.version))
    }

    /// Writes an object, whatever is there.
    pub(super) async fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), DepotError> {
        self.put_if(name, bytes, PutMode::Overwrite).await.map(drop)
    }

    /// Writes a file as an object, whatever is there.
    pub(super) async fn upload(
        &self,
        name: &str,
        file: &File,
        local: &FilePath,
        len: u64,
    ) -> Result<(), DepotError> {
        let path = self.path(name);
        if len <= PART {
            let payload = read_part(file, local, 0..len)?.into();
            let put = self.store.put(&path, payload).await;
            return put.map(drop).map_err(self.failed("writing", name));
        }
        let begun = self.store.put_multipart(&path).await;
        let mut upload = begun.map_err(self.failed("writing", name))?;
        let sent = self.send_parts(&mut *upload, name, file, local, len).await;
        if sent.is_err() {
            // Parts of an upload that is not ended cost room, until a rule of the
            // bucket drops them.
            if let Err(error) = upload.abort().await {
                tracing::debug!(name, %error, "parts of an upload stay behind");
            }
        }
        sent
    }

    async fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        name: &str,
        file: &File,
        local: &FilePath,
        len: u64,
    ) -> Result<(), DepotError> {
        let part = PART.max(len.div_ceil(MAX_PARTS));
        let mut under_way = JoinSet::new();
        let mut from = 0;
        while from < len {
            let to = (from + part).min(len);
            let bytes = read_part(file, local, from..to)?;
            under_way.spawn(upload.put_part(bytes.into()));
            from = to;
            while under_way.len() >= PARTS_AT_ONCE {
                self.joined(&mut under_way, name).await?;
            }
        }
        while !under_way.is_empty() {
            self.joined(&mut under_way, name).await?;
        }
        let completed = upload.complete().await;
        completed.map(drop).map_err(self.failed("writing", name))
    }

    async fn joined(
        &self,
        under_way: &mut JoinSet<object_store::Result<()>>,
        name: &str,
    ) -> Result<(), DepotError> {
        match under_way.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.failed("writing", name)(error)),
            Some(Err(error)) => Err(self.away(format!("writing {name}: {error}"))),
        }
    }

    /// Deletes an object; nothing happens where it is not there.
    pub(super) async fn delete(&self, name: &str) -> Result<(), DepotError> {
        match self.store.delete(&self.path(name)).await {
            Err(error) if is_absent(&error) => Ok(()),
            other => other.map_err(self.failed("deleting", name)),
        }
    }

    /// The objects below a folder, in any order.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Listed>, DepotError> {
        let path = self.path(folder);
        let mut objects = self.store.list(Some(&path));
        let mut listed = Vec::new();
        loop {
            let object = match objects.try_next().await {
                // A store that tells an empty folder from one that never was.
                Err(error) if is_absent(&error) => break,
                other => other.map_err(self.failed("listing", folder))?,
            };
            let Some(object) = object else { break };
            if listed.len() == MAX_LISTED {
                return Err(self.refused(format!("{folder} holds more than {MAX_LISTED} objects")));
            }
            let Some(below) = object.location.prefix_match(&path) else {
                continue;
            };
            let below: Vec<_> = below.map(|part| part.as_ref().to_owned()).collect();
            listed.push(Listed {
                name: below.join("/"),
                len: object.size,
                version: object.e_tag.map(Version),
            });
        }
        Ok(listed)
    }
}

/// A part of a file on this disk.
fn read_part(file: &File, path: &FilePath, range: Range<u64>) -> Result<Vec<u8>, DepotError> {
    let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start)
        .map_err(|source| DepotError::Io {
            path: path.to_owned(),
            source,
        })?;
    Ok(bytes)
}
