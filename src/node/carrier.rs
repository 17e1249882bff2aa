//! Carries to the archive's store in the background.
//!
//! Always true:
//! - It begins at every new head, one round at a time, and nothing waits for it.
//! - A store that is away is asked again after a pause that doubles up to
//!   [`LONGEST_PAUSE`]; one that refuses, after [`RARELY`]. The log says once that it went
//!   away, and once that it is back.
//! - It ends within [`FAREWELL`] of being told to: what is left waits for the next start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chain;
use crate::archive::disk::Stop;
use crate::depot::{Carried, Carrier, CarryError};
use crate::progress::Quiet;
use crate::time::Clock;

/// The pause after a first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two tries of a store that is away: a head is there at
/// most one seal late once it is back.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause where somebody has to do something first.
pub const RARELY: Duration = Duration::from_secs(3_600);

/// How often the store is asked what it keeps though nothing is new: whoever loses
/// files is noticed within the hour.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);

/// How long a clean end waits for what is still to be carried.
pub const FAREWELL: Duration = Duration::from_secs(20);

/// Beyond [`FAREWELL`], for a call that is under way to notice.
const GRACE: Duration = Duration::from_secs(2);

/// Carries beside all else.
pub(super) struct CarrierTask {
    news: Arc<Notify>,
    stopping: CancellationToken,
    stop: Stop,
    task: Option<JoinHandle<()>>,
}

impl CarrierTask {
    /// Begins with what waits now, where there is a carrier.
    pub(super) fn start(carrier: Option<Arc<Carrier>>, clock: Arc<dyn Clock>) -> Self {
        let (news, stopping) = (Arc::new(Notify::new()), CancellationToken::new());
        let stop = Stop::default();
        let task = carrier.map(|carrier| {
            let work = Work {
                carrier,
                clock,
                stop: stop.clone(),
            };
            tokio::spawn(run(work, Arc::clone(&news), stopping.clone()))
        });
        Self {
            news,
            stopping,
            stop,
            task,
        }
    }

    /// There is a new head, or files went.
    pub(super) fn is_news(&self) {
        self.news.notify_one();
    }

    /// Carries what waits, for a while, then ends.
    pub(super) async fn end(mut self) {
        self.stopping.cancel();
        let Some(mut task) = self.task.take() else {
            return;
        };
        let ended = tokio::time::timeout(FAREWELL, &mut task).await;
        let ended = match ended {
            Ok(ended) => Ok(ended),
            Err(_) => {
                self.stop.stop();
                tokio::time::timeout(GRACE, task).await
            }
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "BUG: carrying panicked"),
            Err(_) => tracing::warn!("the store is still at it; what it lacks is carried later"),
        }
    }
}

impl Drop for CarrierTask {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.stop.stop();
    }
}

#[derive(Clone)]
struct Work {
    carrier: Arc<Carrier>,
    clock: Arc<dyn Clock>,
    stop: Stop,
}

impl Work {
    async fn round(&self) -> Result<Carried, CarryError> {
        let work = self.clone();
        let round = move || work.carrier.round(&work.stop, work.clock.now(), &Quiet);
        match tokio::task::spawn_blocking(round).await {
            Ok(ended) => ended,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

async fn run(work: Work, news: Arc<Notify>, stopping: CancellationToken) {
    let mut pauses = Pauses::default();
    loop {
        let store = work.carrier.status().store;
        let ended = work.round().await;
        let pause = match &ended {
            Ok(carried) => {
                if pauses.is_failing() {
                    tracing::warn!(store, "the store is back, and has the current head");
                }
                tell(&store, carried);
                pauses.forget();
                None
            }
            Err(CarryError::Stopped) => return,
            Err(error) => {
                let text = chain(error);
                match (error.is_transient(), pauses.is_failing()) {
                    (true, false) => {
                        tracing::warn!(store, error = text, "the store is away; files wait here");
                    }
                    (true, true) => tracing::debug!(store, error = text, "still away"),
                    (false, _) => tracing::error!(store, error = text, "nothing is carried"),
                }
                Some(pauses.next(error.is_transient()))
            }
        };
        let until = Instant::now() + pause.unwrap_or(LOOK_AGAIN);
        tokio::select! {
            () = stopping.cancelled() => {
                // One that is away is not waited for.
                if ended.is_ok()
                    && let Ok(carried) = work.round().await
                {
                    tell(&store, &carried);
                }
                return;
            }
            () = tokio::time::sleep_until(until) => {}
            () = news.notified(), if pause.is_none() => {}
        }
    }
}

fn tell(store: &str, carried: &Carried) {
    if carried.head || carried.files > 0 {
        let Carried { files, bytes, .. } = carried;
        tracing::info!(store, files, bytes, "carried");
    }
    if carried.evicted > 0 {
        let (files, bytes) = (carried.evicted, carried.evicted_bytes);
        tracing::info!(store, files, bytes, "days left this disk");
    }
}

/// How long to wait after failures that follow each other.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    fn is_failing(&self) -> bool {
        self.last.is_some()
    }

    fn forget(&mut self) {
        self.last = None;
    }

    fn next(&mut self, is_transient: bool) -> Duration {
        let next = match self.last {
            None => FIRST_PAUSE,
            Some(last) => (last * 2).min(LONGEST_PAUSE),
        };
        self.last = Some(next);
        if is_transient { next } else { RARELY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let mut pauses = Pauses::default();
        let waited: Vec<u64> = (0..12).map(|_| pauses.next(true).as_secs()).collect();
        assert_eq!(waited[..4], [1, 2, 4, 8]);
        assert_eq!(waited[11], LONGEST_PAUSE.as_secs());
        assert_eq!(pauses.next(false), RARELY);
        pauses.forget();
        assert_eq!(pauses.next(true), FIRST_PAUSE);
    }
}
