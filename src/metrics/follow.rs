//! How following the heads of others goes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Counter;
use crate::time::UnixSeconds;

/// What following counts of itself.
#[derive(Debug, Default)]
pub struct FollowMeters {
    /// How often another's head was asked for and all it holds was taken over.
    pub succeeded: Counter,
    /// How often that failed.
    pub failed: Counter,
    /// When it succeeded last, Unix seconds; 0 where it never did.
    last: AtomicU32,
    /// The number of the newest head that a mirror's leader told of; 0 before.
    leader: AtomicU64,
}

impl FollowMeters {
    /// All of another's newest head is here.
    pub fn took_over(&self, now: UnixSeconds) {
        self.succeeded.count();
        self.last.store(now.0, Ordering::Relaxed);
    }

    /// A mirror's leader has this head.
    pub fn leader_is_at(&self, sequence: u64) {
        self.leader.store(sequence, Ordering::Relaxed);
    }

    /// When it succeeded last, if ever.
    pub fn last_success(&self) -> Option<UnixSeconds> {
        let last = self.last.load(Ordering::Relaxed);
        (last > 0).then_some(UnixSeconds(last))
    }

    /// The number of the newest head of a mirror's leader, where one was told.
    pub fn leader(&self) -> Option<u64> {
        let leader = self.leader.load(Ordering::Relaxed);
        (leader > 0).then_some(leader)
    }
}
