//! When the node last did what it is for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::time::UnixSeconds;
use crate::whisper::node::{CounterValues, NodeControl};

/// How often the counters are looked at: the grain of the answers. Listening to
/// every envelope would cost more than the answer is worth.
const CYCLE: Duration = Duration::from_secs(1);

/// What the counters told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beat {
    stored: u64,
    failed: u64,
    /// When an envelope that was new was last stored.
    pub(super) last_stored: Option<UnixSeconds>,
    /// Whether storing failed since then.
    pub(super) is_failing: bool,
}

impl Beat {
    /// What is known at `now`, when the counters say `counted`.
    pub(super) fn after(self, counted: &CounterValues, now: UnixSeconds) -> Self {
        let is_new = counted.stored > self.stored;
        let has_failed = counted.failed > self.failed;
        Self {
            stored: counted.stored,
            failed: counted.failed,
            last_stored: if is_new { Some(now) } else { self.last_stored },
            is_failing: has_failed || (self.is_failing && !is_new),
        }
    }
}

/// The beat of a running node.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Beat>>);

impl Pulse {
    /// Watches `node` until `stopping`.
    pub(super) fn start(node: NodeControl, stopping: CancellationToken) -> Self {
        let pulse = Self(Arc::default());
        let watched = pulse.clone();
        tokio::spawn(async move {
            let mut cycle = tokio::time::interval(CYCLE);
            cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = cycle.tick() => {
                        let beat = watched.read().after(&node.counters(), node.now());
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

    fn counted(stored: u64, failed: u64) -> CounterValues {
        CounterValues {
            stored,
            failed,
            ..CounterValues::default()
        }
    }

    #[test]
    fn a_node_fails_from_a_failure_to_the_next_success() {
        let beat = Beat::default().after(&counted(5, 0), UnixSeconds(10));
        assert_eq!(beat.last_stored, Some(UnixSeconds(10)));
        let beat = beat.after(&counted(5, 3), UnixSeconds(11));
        assert!(beat.is_failing);
        let beat = beat.after(&counted(5, 3), UnixSeconds(12));
        assert!(beat.is_failing);
        assert_eq!(beat.last_stored, Some(UnixSeconds(10)));
        let beat = beat.after(&counted(6, 3), UnixSeconds(13));
        assert!(!beat.is_failing);
        assert_eq!(beat.last_stored, Some(UnixSeconds(13)));
    }
}
