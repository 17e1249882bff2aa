//! Telling the network of the archive's heads.
//!
//! Always true: what is announced is the current head, signed with the archive's
//! own key; a mirror, which has no heads of its own, announces nothing. A new head
//! is announced once, and the current one again every [`AGAIN`]; never more often
//! than every [`LOOK`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::Archive;
use crate::blocks::Cid;
use crate::publish::{Announcement, Hints};
use crate::whisper::Envelope;
use crate::whisper::message::MessageRandom;
use crate::whisper::mining::{Mined, Target, Template, mine};
use crate::whisper::node::NodeControl;
use crate::whisper::pow::Pow;

/// How often the head is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// After how long the same head is announced again: who asks a mailserver for the
/// last hour finds every archive of the network.
const AGAIN: Duration = Duration::from_secs(900);

/// Nonces tried between two looks at whether to go on.
const CHUNK: u32 = 1 << 14;

/// Chunks after which mining is given up: a hundred times what it takes.
const MOST_CHUNKS: u32 = 4_096;

/// Announces in the background.
pub(super) struct Announcer {
    stopping: CancellationToken,
    cancelled: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

impl Announcer {
    /// Begins, unless `hints` is `None`.
    pub(super) fn start(archive: Arc<Archive>, node: NodeControl, hints: Option<Hints>) -> Self {
        let stopping = CancellationToken::new();
        let cancelled = Arc::new(AtomicBool::new(false));
        let task = hints.filter(|_| !archive.is_mirror()).map(|hints| {
            let work = run(archive, node, hints, Arc::clone(&cancelled));
            let stopping = stopping.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = work => {}
                }
            })
        });
        Self {
            stopping,
            cancelled,
            task,
        }
    }

    /// Stops, and waits for it.
    pub(super) async fn end(mut self) {
        self.stop();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: announcing panicked");
        }
    }

    fn stop(&self) {
        self.stopping.cancel();
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(archive: Arc<Archive>, node: NodeControl, hints: Hints, cancelled: Arc<AtomicBool>) {
    let mut last: Option<(Cid, Instant)> = None;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let Some(head) = archive.head() else {
            continue;
        };
        let known = last.is_some_and(|(cid, at)| cid == *head.cid() && at.elapsed() < AGAIN);
        if known {
            continue;
        }
        let announcement = Announcement {
            head,
            hints: hints.clone(),
        };
        let cid = *announcement.head.cid();
        match announce(&archive, &node, announcement, &cancelled).await {
            Ok(()) => {
                tracing::info!(head = %cid, "announced");
                last = Some((cid, Instant::now()));
            }
            Err(error) => tracing::warn!(error, "not announced"),
        }
    }
}

async fn announce(
    archive: &Arc<Archive>,
    node: &NodeControl,
    announcement: Announcement,
    cancelled: &Arc<AtomicBool>,
) -> Result<(), String> {
    let (archive, now) = (Arc::clone(archive), node.now());
    let cancelled = Arc::clone(cancelled);
    // Deriving the key of the chat takes a moment, the first time.
    let mined = tokio::task::spawn_blocking(move || {
        let key = archive.signing_key();
        let template = announcement.seal(key, now, &MessageRandom::draw());
        work_for(&template, &cancelled)
    });
    let envelope = match mined.await {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return Err("no nonce shows the work".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let posted = node.post(envelope).await;
    posted.map(drop).map_err(|error| error.to_string())
}

/// What nodes of the network ask of an envelope, by both definitions.
fn work_for(template: &Template, cancelled: &AtomicBool) -> Option<Envelope> {
    let target = Target::Both(Pow::STATUS_DEFAULT);
    let mut from = 0;
    for _ in 0..MOST_CHUNKS {
        if cancelled.load(Ordering::Relaxed) {
            return None;
        }
        match mine(template, target, from, CHUNK) {
            Mined::Found(envelope) => return Some(envelope),
            Mined::Continue(next) => from = next,
        }
    }
    None
}
