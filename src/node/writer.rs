//! Keeps the lease of a store that several machines write to.
//!
//! Always true:
//! - It is written again well before it runs out, also while nothing is sealed.
//! - The log says once that this machine seals, and once why it does not.
//! - At a clean end the lease is given back, so that another need not wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::Archive;
use crate::depot::lease::BEAT_EVERY;
use crate::depot::writer::{Standing, Writer, WriterError};
use crate::progress::Quiet;
use crate::time::Clock;

/// How soon the lease is asked for again by a machine that does not have it: a store
/// that is back, or a lease that was given back, is found so soon.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long giving it back may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// A machine that seals, or waits for its turn, and whether the holder is known to be
/// dead.
#[derive(Clone)]
pub struct Turn {
    /// The lease.
    pub writer: Arc<Writer>,
    /// Whether to take it from whoever holds it.
    pub take_over: bool,
}

/// Keeps the lease beside all else.
pub(super) struct WriterTask {
    stopping: CancellationToken,
    writer: Option<Arc<Writer>>,
    task: Option<JoinHandle<()>>,
}

impl WriterTask {
    /// Begins, where there is a lease to keep; `changed` is told when this machine's
    /// turn has come, and when it went over to a newer head while it waits.
    pub(super) fn start(
        turn: Option<Turn>,
        archive: Arc<Archive>,
        clock: Arc<dyn Clock>,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let stopping = CancellationToken::new();
        let writer = turn.as_ref().map(|turn| Arc::clone(&turn.writer));
        let task = turn.map(|turn| {
            let work = Work {
                turn,
                archive,
                clock,
            };
            tokio::spawn(run(work, stopping.clone(), changed))
        });
        Self {
            stopping,
            writer,
            task,
        }
    }

    /// Whether heads may be signed now.
    pub(super) fn may_seal(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.may_seal())
    }

    /// The first copy of a history takes hours: it goes on when the daemon runs again.
    fn cancel(&self) {
        self.stopping.cancel();
        if let Some(writer) = &self.writer {
            writer.stop();
        }
    }

    /// Gives the lease back.
    pub(super) async fn end(mut self) {
        self.cancel();
        let Some(mut task) = self.task.take() else {
            return;
        };
        let ended = async {
            // A round that is under way would take it again.
            let _ = (&mut task).await;
            if let Some(writer) = self.writer.take() {
                let given = tokio::task::spawn_blocking(move || writer.give_back()).await;
                if let Ok(Err(error)) = given {
                    tracing::warn!(%error, "the lease was not given back, and runs out by itself");
                }
            }
        };
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            tracing::warn!("the store does not answer; the lease runs out by itself");
        }
    }
}

impl Drop for WriterTask {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[derive(Clone)]
struct Work {
    turn: Turn,
    archive: Arc<Archive>,
    clock: Arc<dyn Clock>,
}

impl Work {
    async fn round(&self) -> Result<Standing, WriterError> {
        let work = self.clone();
        let round = move || {
            let Turn { writer, take_over } = &work.turn;
            let now = work.clock.now();
            let ended = writer.round(&work.archive, *take_over, now, &Quiet);
            if let Err(WriterError::Held { .. }) = &ended {
                writer.keep_up(&work.archive, now, &Quiet);
            }
            ended
        };
        match tokio::task::spawn_blocking(round).await {
            Ok(ended) => ended,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

async fn run(mut work: Work, stopping: CancellationToken, changed: impl Fn()) {
    let mut told: Option<String> = None;
    loop {
        let before = work.archive.head_cid();
        let ended = work.round().await;
        let is_moved = work.archive.head_cid() != before;
        if is_moved || ended.as_ref().is_ok_and(|standing| standing.is_new) {
            changed();
        }
        let pause = match ended {
            Ok(Standing { token, is_new }) => {
                if is_new {
                    tracing::info!(token = token.0, "this machine seals");
                }
                told = None;
                // Whoever takes it from here on is alive.
                work.turn.take_over = false;
                BEAT_EVERY
            }
            Err(error) => {
                let text = match &error {
                    WriterError::Held { .. } => "another machine seals".to_owned(),
                    error => error.to_string(),
                };
                if told.as_ref() != Some(&text) {
                    tracing::warn!(%error, "nothing is sealed here; what comes waits in the journal");
                    told = Some(text);
                }
                ASK_AGAIN
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
