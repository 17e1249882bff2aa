//! Whether the archive answers, asked again and again.
//!
//! Always true:
//! - One question at a time, none of them on the threads of the runtime: where the disk
//!   hangs, one thread waits for it and nothing else does.
//! - Whoever wants to know reads what was found last, and waits for no disk.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::archive::disk::{Archive, DiskError};
use crate::journal::JournalError;

/// How often the archive is asked: a byte written, and a hang known of within half a
/// minute.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// How long an answer may take. A disk that works needs a second where all of the
/// journal's queue is before it; seals hold nobody up for longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What was found last.
#[derive(Debug, Default)]
enum Found {
    /// It answers, or was never asked.
    #[default]
    Well,
    /// It says that it takes nothing.
    Refused(Cow<'static, str>),
    /// It was asked then, and said nothing so far.
    Silent(Instant),
}

/// Asks an archive as long as there is somebody to be told.
#[derive(Debug)]
pub(super) struct Answering {
    found: Arc<Mutex<Found>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Answering {
    /// Asks `archive` until `stopping`.
    pub(super) fn start(archive: Arc<Archive>, stopping: CancellationToken) -> Self {
        let found = Arc::<Mutex<Found>>::default();
        let task = tokio::spawn({
            let found = Arc::clone(&found);
            async move {
                keep(&found, &stopping, || {
                    let archive = Arc::clone(&archive);
                    let asked = tokio::task::spawn_blocking(move || archive.answers());
                    async move {
                        match asked.await {
                            Ok(answer) => answer.map_err(|error| reason(&error)),
                            Err(panicked) => Err(panicked.to_string().into()),
                        }
                    }
                })
                .await;
            }
        });
        Self {
            found,
            task: Mutex::new(Some(task)),
        }
    }

    /// Why the archive cannot take anything, if that is so.
    pub(super) fn trouble(&self) -> Option<Cow<'static, str>> {
        match &*lock(&self.found) {
            Found::Well => None,
            Found::Refused(reason) => Some(reason.clone()),
            Found::Silent(since) => {
                let seconds = since.elapsed().as_secs();
                Some(format!("the disk has not answered for {seconds} s").into())
            }
        }
    }

    /// Waits until the archive is let go of; the end was told by then.
    pub(super) async fn end(&self) {
        let task = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            task.take()
        };
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: asking the archive panicked");
        }
    }
}

/// Asks until `stopping`. While a question is open there is no other.
async fn keep<A>(found: &Mutex<Found>, stopping: &CancellationToken, ask: impl Fn() -> A)
where
    A: Future<Output = Result<(), Cow<'static, str>>>,
{
    let mut cycle = tokio::time::interval(ASK_EVERY);
    cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = cycle.tick() => {}
        }
        let began = Instant::now();
        let answer = ask();
        tokio::pin!(answer);
        let answer = match tokio::time::timeout(PATIENCE, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                tracing::error!("the disk does not answer");
                *lock(found) = Found::Silent(began);
                let answer = answer.await;
                tracing::info!(seconds = began.elapsed().as_secs(), "the disk has answered");
                answer
            }
        };
        let mut found = lock(found);
        *found = match answer {
            Ok(()) => Found::Well,
            Err(reason) => {
                if !matches!(*found, Found::Refused(_)) {
                    tracing::error!(%reason, "the archive takes nothing");
                }
                Found::Refused(reason)
            }
        };
    }
}

/// Why nothing is taken, for whoever asks over HTTP: without paths of this machine.
fn reason(error: &DiskError) -> Cow<'static, str> {
    match error {
        DiskError::Journal(JournalError::Io { source, .. }) => {
            format!("the disk takes nothing: {source}").into()
        }
        _ => "the archive takes nothing until it is opened anew".into(),
    }
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::path::PathBuf;

    use tokio::sync::Notify;

    use super::*;

    /// What is found while `ask` answers the questions by number, and `look` looks on.
    async fn while_asked<A, L>(ask: impl Fn(usize) -> A, look: impl FnOnce(Arc<Answering>) -> L)
    where
        A: Future<Output = Result<(), Cow<'static, str>>>,
        L: Future<Output = ()>,
    {
        let (stopping, asked) = (CancellationToken::new(), Cell::new(0));
        let answering = Arc::new(Answering {
            found: Arc::default(),
            task: Mutex::default(),
        });
        let keeping = keep(&answering.found, &stopping, || {
            asked.set(asked.get() + 1);
            ask(asked.get())
        });
        let looking = async {
            look(Arc::clone(&answering)).await;
            stopping.cancel();
        };
        tokio::join!(keeping, looking);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_told_of_and_so_is_its_return() {
        let back = Notify::new();
        let ask = |n| {
            let back = &back;
            async move {
                if n == 3 {
                    back.notified().await;
                }
                Ok(())
            }
        };
        while_asked(ask, async |answering| {
            tokio::time::sleep(2 * ASK_EVERY + PATIENCE / 2).await;
            // It may just be slow.
            assert_eq!(answering.trouble(), None);
            tokio::time::sleep(Duration::from_secs(60)).await;
            let told = answering.trouble().unwrap();
            assert_eq!(told, "the disk has not answered for 67 s");
            back.notify_one();
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(answering.trouble(), None);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_archive_that_refuses_is_in_trouble_until_it_takes_again() {
        let ask = async |n| match n {
            2 => Err("the disk takes nothing: full".into()),
            _ => Ok(()),
        };
        while_asked(ask, async |answering| {
            tokio::time::sleep(ASK_EVERY + ASK_EVERY / 2).await;
            assert_eq!(
                answering.trouble().as_deref(),
                Some("the disk takes nothing: full")
            );
            tokio::time::sleep(ASK_EVERY).await;
            assert_eq!(answering.trouble(), None);
        })
        .await;
    }

    #[test]
    fn the_reason_names_what_the_system_said_and_no_path() {
        let refused = DiskError::Journal(JournalError::Io {
            path: PathBuf::from("/home/me/journal/lock"),
            source: Arc::new(io::ErrorKind::ReadOnlyFilesystem.into()),
        });
        let told = reason(&refused);
        assert!(
            told.starts_with("the disk takes nothing: read-only"),
            "{told}"
        );
        assert!(!told.contains("/home"), "{told}");
    }

    #[tokio::test]
    async fn an_archive_that_works_answers_and_is_let_go_of() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Arc::new(Archive::init(dir.path(), "").unwrap());
        let stopping = CancellationToken::new();
        let answering = Answering::start(Arc::clone(&archive), stopping.clone());
        assert_eq!(answering.trouble(), None);
        stopping.cancel();
        answering.end().await;
        assert!(Arc::into_inner(archive).is_some(), "it is still held");
    }
}
