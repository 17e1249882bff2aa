//! Blocks that are given and are not here: those that were evicted to a store.
//!
//! Always true:
//! - Looking for them takes up at most [`TURNS`] threads, whoever wants them.
//! - A store that failed has some rest before it is asked again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::bitswap::ledger::Found;
use super::bitswap::message::{Kind, Want};
use crate::blocks::{Block, BlockError, Cid};

/// Peers for whom something is looked for at a time: one that waits for a store that
/// is slow leaves another one its turn.
const TURNS: usize = 2;

/// How long a store that failed is not asked: whoever wants its blocks hears that
/// they are not here, instead of waiting until it fails again.
const REST: Duration = Duration::from_secs(10);

/// Where blocks are that are given and are not here.
pub trait Afar: Send + Sync {
    /// Whether a block may be there; soon known, and sometimes wrong.
    fn may_hold(&self, cid: &Cid) -> bool;

    /// The block, verified; this may take its time.
    fn get(&self, cid: &Cid) -> Result<Block, BlockError>;
}

/// It, and how it is asked.
pub(super) struct Far {
    source: Arc<dyn Afar>,
    turns: Arc<Semaphore>,
    failed: Mutex<Option<Instant>>,
}

impl Far {
    pub(super) fn new(source: Arc<dyn Afar>) -> Self {
        Self {
            source,
            turns: Arc::new(Semaphore::new(TURNS)),
            failed: Mutex::default(),
        }
    }

    pub(super) fn turns(&self) -> &Arc<Semaphore> {
        &self.turns
    }

    pub(super) fn may_hold(&self, cid: &Cid) -> bool {
        self.source.may_hold(cid)
    }

    /// What is there of a want. Word of a block is given when it was read: that it
    /// may be there says little.
    pub(super) fn look_up(&self, want: &Want, now: Instant) -> Found {
        let is_resting = self.failed().is_some_and(|failed| now < failed + REST);
        if is_resting {
            return Found::Absent;
        }
        match (self.source.get(&want.cid), want.kind) {
            (Ok(block), Kind::Block) => Found::Block(block),
            (Ok(_), Kind::Have) => Found::Held,
            (Err(error), _) => {
                let is_foreign = matches!(error, BlockError::ForeignCid { .. });
                if !error.is_missing() && !is_foreign {
                    tracing::warn!(cid = %want.cid, %error, "a peer wants what cannot be fetched");
                    // From when the answer came: it may have taken long.
                    *self.failed() = Some(Instant::now());
                }
                Found::Absent
            }
        }
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
