//! What a service manager is told, where one started the daemon: systemd, or whoever
//! else listens at `NOTIFY_SOCKET`.
//!
//! Always true:
//! - `READY=1` is said after all that was asked for listens, and not before.
//! - `WATCHDOG=1` is said after the archive has answered, for which its disk took a
//!   write, also where nothing arrives. So a daemon whose disk hangs, or whose journal
//!   takes nothing any more, is started again; one whose disk is full or read-only is
//!   not, since that would help nobody.

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::cli::serve::line::StatusLine;
use crate::node::vitals::{Observer, Trend, Vitals};

/// How often the status is told at least.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The service manager, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    every: Duration,
    is_watched: bool,
}

impl Service {
    /// The one that started this process.
    pub fn of_this_process() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let watchdog = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        Some(Self {
            // Half of the time, as systemd asks, so that one late word does no harm.
            every: watchdog.map_or(STATUS_EVERY, |time| (time / 2).min(STATUS_EVERY)),
            is_watched: watchdog.is_some(),
        })
    }

    /// The daemon listens.
    pub fn ready(&self, vitals: &Vitals) {
        let mut trend = Trend::default();
        trend.add(vitals);
        let line = status(vitals, &trend);
        tell(&[NotifyState::Ready, NotifyState::Status(&line)]);
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        tell(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping; what waits to be sealed is kept"),
        ]);
    }

    /// Tells how the daemon is, for as long as it is polled.
    pub async fn keep_told(self, observer: Observer) {
        let is_watched = self.is_watched;
        keep(
            self.every,
            || observer.look_at_work(),
            |line| match is_watched {
                true => tell(&[NotifyState::Watchdog, NotifyState::Status(line)]),
                false => tell(&[NotifyState::Status(line)]),
            },
        )
        .await;
    }
}

/// Says how it is each time that `look` succeeds. While a look is under way there is no
/// other.
async fn keep<L>(every: Duration, look: impl Fn() -> L, say: impl Fn(&str))
where
    L: Future<Output = Result<Vitals, String>>,
{
    let mut trend = Trend::default();
    let mut cycle = tokio::time::interval(every);
    cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_told = false;
    loop {
        cycle.tick().await;
        match look().await {
            Ok(vitals) => {
                trend.add(&vitals);
                say(&status(&vitals, &trend));
                is_told = false;
            }
            Err(error) if !is_told => {
                tracing::error!(error, "the archive takes nothing any more");
                is_told = true;
            }
            Err(_) => {}
        }
    }
}

fn status(vitals: &Vitals, trend: &Trend) -> String {
    StatusLine { vitals, trend }.to_string()
}

/// A manager that is gone is no reason to end.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager is not told");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::cli::serve::line::tests::at_work;

    const EVERY: Duration = Duration::from_secs(5);

    /// What is said within a minute where looks end as `look` says of each number.
    async fn said<L>(look: impl Fn(usize) -> L) -> Vec<String>
    where
        L: Future<Output = Result<Vitals, String>>,
    {
        let (said, looks) = (RefCell::new(Vec::new()), Cell::new(0));
        let keeping = keep(
            EVERY,
            || {
                looks.set(looks.get() + 1);
                look(looks.get())
            },
            |line| said.borrow_mut().push(line.to_owned()),
        );
        let minute = tokio::time::timeout(Duration::from_secs(58), keeping);
        minute.await.unwrap_err();
        said.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_works_says_so_again_and_again() {
        let said = said(|_| async { Ok(at_work()) }).await;
        assert_eq!(said.len(), 12);
        assert!(said[0].starts_with("archiving | "), "{}", said[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_archive_that_hangs_is_not_passed_for_one_that_works() {
        let said = said(|n| async move {
            match n {
                1..=3 => Ok(at_work()),
                _ => std::future::pending().await,
            }
        })
        .await;
        assert_eq!(said.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_archive_that_takes_nothing_any_more_is_not_either() {
        let said = said(|n| async move {
            match n {
                2 => Err("journal: stopped".to_owned()),
                _ => Ok(at_work()),
            }
        })
        .await;
        assert_eq!(said.len(), 11);
    }
}
