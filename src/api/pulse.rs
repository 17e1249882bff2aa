//! When the daemon last did what it is for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::Archive;
use crate::metrics::ArchiveMeters;
use crate::time::UnixSeconds;
use crate::whisper::node::NodeControl;

/// How often the counters are looked at: the grain of the answers. Listening to
/// every envelope would cost more than the answer is worth.
const CYCLE: Duration = Duration::from_secs(1);

/// What the counters told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beat {
    taken_in: u64,
    failed: u64,
    /// When an envelope that was new was last stored, whoever it came from: a peer, or
    /// an archive that is followed.
    pub(super) last_stored: Option<UnixSeconds>,
    /// Whether storing failed since then.
    pub(super) is_failing: bool,
}

impl Beat {
    /// Before anything: what is in `archive` came before the daemon.
    fn before(archive: &ArchiveMeters) -> Self {
        Self {
            taken_in: archive.taken_in(),
            ..Self::default()
        }
    }

    /// What is known at `now`, when so many envelopes were taken in and so many could not
    /// be stored.
    fn after(self, taken_in: u64, failed: u64, now: UnixSeconds) -> Self {
        let is_new = taken_in > self.taken_in;
        let has_failed = failed > self.failed;
        Self {
            taken_in,
            failed,
            last_stored: if is_new { Some(now) } else { self.last_stored },
            is_failing: has_failed || (self.is_failing && !is_new),
        }
    }
}

/// The beat of a running daemon.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Beat>>);

impl Pulse {
    /// Watches `node` and `archive` until `stopping`.
    pub(super) fn start(
        node: NodeControl,
        archive: &Arc<Archive>,
        stopping: CancellationToken,
    ) -> Self {
        let pulse = Self(Arc::new(Mutex::new(Beat::before(archive.meters()))));
        // It keeps no archive open.
        let archive = Arc::downgrade(archive);
        let watched = pulse.clone();
        tokio::spawn(async move {
            let mut cycle = tokio::time::interval(CYCLE);
            cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = cycle.tick() => {
                        let Some(archive) = archive.upgrade() else {
                            return;
                        };
                        let taken_in = archive.meters().taken_in();
                        drop(archive);
                        let failed = node.counters().failed;
                        let beat = watched.read().after(taken_in, failed, node.now());
                        *watched.0.lock().unwrap_or_else(PoisonError::into_inner) = beat;
                    }
                }
            }
        });
        pulse
    }

    pub(super) fn read(&self) -> Beat {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_fails_from_a_failure_to_the_next_success() {
        let beat = Beat::default().after(5, 0, UnixSeconds(10));
        assert_eq!(beat.last_stored, Some(UnixSeconds(10)));
        let beat = beat.after(5, 3, UnixSeconds(11));
        assert!(beat.is_failing);
        let beat = beat.after(5, 3, UnixSeconds(12));
        assert!(beat.is_failing);
        assert_eq!(beat.last_stored, Some(UnixSeconds(10)));
        let beat = beat.after(6, 3, UnixSeconds(13));
        assert!(!beat.is_failing);
        assert_eq!(beat.last_stored, Some(UnixSeconds(13)));
    }

    #[test]
    fn what_came_before_the_daemon_is_nothing_new() {
        let archive = ArchiveMeters::default();
        archive.appended.observe(100);
        archive.merged.add(7);
        let beat = Beat::before(&archive).after(archive.taken_in(), 0, UnixSeconds(10));
        assert_eq!(beat.last_stored, None);
        archive.merged.add(1);
        let beat = beat.after(archive.taken_in(), 0, UnixSeconds(11));
        assert_eq!(beat.last_stored, Some(UnixSeconds(11)));
    }
}
