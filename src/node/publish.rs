//! Telling by IPNS of the archive's heads: a name that leads to the current one.
//!
//! Always true:
//! - A record is durable in the data folder, and so served over HTTP, before it is
//!   handed to anybody; its number is above those that whoever is handed it has.
//! - Each new head makes a record. One that has lost half of its time is made anew,
//!   and every record of the data folder is handed in again each [`AGAIN`]: routers of
//!   IPFS forget what nobody repeats.
//! - A mirror, which has no heads of its own, has no name of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::Archive;
use crate::publish::Hints;
use crate::publish::ipns::{IpnsKey, KeyName, NameFolder, NameFolderError, Record, Wish};
use crate::sources::names::RecordTaker;
use crate::time::Clock;

/// How often the head is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// After how long a record is handed in again: what Kubo does with its own.
const AGAIN: Duration = Duration::from_secs(4 * 3_600);

/// After how long somebody who could not be handed a record is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// As whom, and to whom, heads are told.
#[derive(Clone)]
pub struct Publishing {
    /// The key whose name it is; made where there is none.
    pub key: KeyName,
    /// Where the archive is to be had.
    pub hints: Hints,
    /// Who is handed records.
    pub to: Vec<Arc<dyn RecordTaker>>,
}

/// Publishes in the background.
pub(super) struct Publisher {
    stopping: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Begins, unless `publishing` is `None`.
    pub(super) fn start(
        archive: Arc<Archive>,
        publishing: Option<Publishing>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let stopping = CancellationToken::new();
        let task = publishing
            .filter(|_| !archive.is_mirror())
            .map(|publishing| {
                let work = Work {
                    folder: NameFolder::new(archive.dir()),
                    archive,
                    clock,
                    publishing,
                    handed: HashMap::new(),
                    known: None,
                    failing: None,
                };
                let stopping = stopping.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = stopping.cancelled() => {}
                        () = work.run() => {}
                    }
                })
            });
        Self { stopping, task }
    }

    /// Stops, and waits for it.
    pub(super) async fn end(mut self) {
        self.stopping.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: publishing panicked");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// What became of a record at one place.
struct Handed {
    record: Record,
    at: Instant,
    done: bool,
}

struct Work {
    archive: Arc<Archive>,
    folder: NameFolder,
    clock: Arc<dyn Clock>,
    publishing: Publishing,
    /// By place and name.
    handed: HashMap<(usize, String), Handed>,
    /// The highest number that another place has of the name.
    known: Option<u64>,
    /// What was told last of why no record can be made.
    failing: Option<String>,
}

impl Work {
    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            match self.renew().await {
                Ok(records) => {
                    self.failing = None;
                    self.hand_in(&records).await;
                }
                // Once, and again only where it fails otherwise.
                Err(error) => {
                    if self.failing.as_ref() != Some(&error) {
                        tracing::error!(error, "the name cannot be brought up to date");
                    }
                    self.failing = Some(error);
                }
            }
        }
    }

    /// Makes the record of the current head where it is not made, and gives every
    /// record there is.
    async fn renew(&self) -> Result<Vec<Record>, String> {
        let head = self.archive.head();
        let (folder, known, now) = (self.folder.clone(), self.known, self.clock.now());
        let Publishing { key, hints, .. } = self.publishing.clone();
        let made = tokio::task::spawn_blocking(move || {
            let key: IpnsKey = folder.key_or_new(&key)?;
            if let Some(head) = head {
                let before = folder.record(&key.name())?;
                let wish = Wish::of_head(&head, &hints);
                let record = folder.say(&key, &wish, known, now)?;
                if before.as_ref() != Some(&record) {
                    let (name, sequence) = (record.name(), record.sequence());
                    tracing::info!(%name, sequence, head = %head.cid(), "named");
                }
            }
            folder.records()
        });
        match made.await {
            Ok(records) => records.map_err(|error: NameFolderError| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Hands every record that counts to whoever has not got it.
    async fn hand_in(&mut self, records: &[Record]) {
        let now = self.clock.now();
        for record in records.iter().filter(|record| !record.is_expired(now)) {
            for (at, taker) in self.publishing.to.clone().iter().enumerate() {
                let key = (at, record.name().to_string());
                let before = self.handed.get(&key);
                let is_due = before.is_none_or(|handed| {
                    let pause = if handed.done { AGAIN } else { RETRY };
                    (handed.done && handed.record != *record) || handed.at.elapsed() >= pause
                });
                if !is_due {
                    continue;
                }
                let was_failing = before.is_some_and(|handed| !handed.done);
                let done = self.hand_to(&**taker, record, was_failing).await;
                let handed = Handed {
                    record: record.clone(),
                    at: Instant::now(),
                    done,
                };
                self.handed.insert(key, handed);
            }
        }
    }

    async fn hand_to(
        &mut self,
        taker: &dyn RecordTaker,
        record: &Record,
        was_failing: bool,
    ) -> bool {
        let (name, to) = (record.name(), taker.name());
        match taker.put(record).await {
            Ok(()) => {
                if was_failing {
                    tracing::info!(%name, to, "handed in again");
                }
                true
            }
            Err(error) => {
                // It may have a newer one, made elsewhere with the same key.
                if let Ok(Some(bytes)) = taker.record(name).await
                    && let Ok(theirs) = Record::read(name, bytes)
                    && theirs.precedence() > record.precedence()
                {
                    let sequence = theirs.sequence();
                    tracing::warn!(%name, to, sequence, "has a newer record: a newer one is made");
                    self.known = self.known.max(Some(sequence));
                } else if !was_failing {
                    tracing::warn!(%name, to, error, "not handed in; tried again");
                }
                false
            }
        }
    }
}
