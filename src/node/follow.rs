//! Following the heads of others, beside all else.
//!
//! Always true:
//! - A mirror follows the one key it mirrors; any other archive unites what it is
//!   told to follow with its own.
//! - One round at a time. A source that fails, lies or breaks the rules of a
//!   lineage costs a line in the log; the archive stays what it was, and the next
//!   round tries again.
//! - It ends soon after it is told to.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::{Archive, DiskError, FollowError, Route, Stop};
use crate::archive::head::Head;
use crate::blocks::BlockSource;
use crate::progress::Quiet;
use crate::time::Clock;

/// Where the newest head of an archive is told, and its blocks are to be had.
/// Calls may wait for a network.
pub trait Leader: Send + Sync {
    /// What it is, as its user named it.
    fn name(&self) -> &str;

    /// The newest head, its signature checked.
    fn head(&self) -> Result<Head, Box<dyn Error + Send + Sync>>;

    /// Where blocks come from.
    fn blocks(&self) -> Arc<dyn BlockSource>;
}

/// What is followed, and how often.
#[derive(Clone)]
pub struct Following {
    /// Whose heads.
    pub leaders: Vec<Arc<dyn Leader>>,
    /// Time between two rounds.
    pub every: Duration,
    /// Whether a fork fetches the history it rests on.
    pub complete: bool,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            leaders: Vec::new(),
            every: DEFAULT_EVERY,
            complete: true,
        }
    }
}

/// How often heads are asked for: what is new reaches a mirror well before the
/// next seal.
pub const DEFAULT_EVERY: Duration = Duration::from_secs(60);

/// Follows in the background.
pub(super) struct Follower {
    stopping: CancellationToken,
    stop: Stop,
    task: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins; `changed` is told of every new head.
    pub(super) fn start(
        archive: Arc<Archive>,
        following: Following,
        clock: Arc<dyn Clock>,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (stopping, stop) = (CancellationToken::new(), Stop::default());
        let work = Work {
            archive,
            following,
            clock,
            stop: stop.clone(),
            changed: Box::new(changed),
        };
        let idle = work.following.leaders.is_empty();
        let task = (!idle).then(|| tokio::spawn(run(Arc::new(work), stopping.clone())));
        Self {
            stopping,
            stop,
            task,
        }
    }

    /// Stops, and waits until the archive is let go of.
    pub(super) async fn end(mut self) {
        self.stopping.cancel();
        self.stop.stop();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: following panicked");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.stop.stop();
    }
}

struct Work {
    archive: Arc<Archive>,
    following: Following,
    clock: Arc<dyn Clock>,
    stop: Stop,
    changed: Box<dyn Fn() + Send + Sync>,
}

async fn run(work: Arc<Work>, stopping: CancellationToken) {
    loop {
        let round = Arc::clone(&work);
        if let Err(error) = tokio::task::spawn_blocking(move || round.round()).await {
            tracing::error!(%error, "BUG: a round of following panicked");
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(work.following.every) => {}
        }
    }
}

impl Work {
    fn round(&self) {
        for leader in &self.following.leaders {
            if self.stop.is_stopped() {
                return;
            }
            let before = self.archive.head_cid();
            if let Err(error) = self.follow(&**leader) {
                tracing::warn!(leader = leader.name(), error, "not followed");
            }
            if self.archive.head_cid() != before {
                (self.changed)();
            }
        }
    }

    fn follow(&self, leader: &dyn Leader) -> Result<(), String> {
        let head = leader.head().map_err(|error| chain(&*error))?;
        let blocks = leader.blocks();
        let source = self.stop.guard(&*blocks);
        if self.archive.is_mirror() {
            let followed = self
                .archive
                .follow(&head, &source, false, self.clock.now(), &Quiet);
            return match followed {
                Ok(followed) => {
                    if followed.route != Route::Here {
                        tracing::info!(
                            head = %head.cid(),
                            seq = head.body().sequence.0,
                            bytes = followed.copied.bytes,
                            "followed"
                        );
                    }
                    Ok(())
                }
                Err(FollowError::Disk(DiskError::Stopped)) => Ok(()),
                Err(_) if self.stop.is_stopped() => Ok(()),
                Err(error) => Err(chain(&error)),
            };
        }
        if self.following.complete && !self.archive.is_complete() {
            match self.archive.complete(&*blocks, &self.stop, &Quiet) {
                Ok(copied) => tracing::info!(bytes = copied.bytes, "the history is all here"),
                Err(DiskError::Stopped) => return Ok(()),
                Err(error) => return Err(chain(&error)),
            }
        }
        Ok(())
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
