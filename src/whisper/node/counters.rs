//! What a node did so far, in numbers.
//!
//! Always true: every envelope received is counted once more as stored,
//! duplicate, stale, refused or failed, as soon as that is known.

use std::sync::Mutex;
use std::sync::PoisonError;

use crate::whisper::sift::Refusals;

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// Envelopes received from peers or posted.
    pub received: u64,
    /// Envelopes the archive took as new; durable.
    pub stored: u64,
    /// Envelopes it had, or the pool had, or the batch repeated.
    pub duplicate: u64,
    /// Envelopes that had died moments ago.
    pub stale: u64,
    /// Envelopes refused, by reason.
    pub refused: Refusals,
    /// Envelopes the archive failed to store; not acknowledged.
    pub failed: u64,
    /// Envelopes sent on, counted for each peer.
    pub relayed: u64,
    /// Batches acknowledged to peers.
    pub acked: u64,
    /// Batches of ours that peers acknowledged.
    pub confirmed: u64,
    /// Mail requests answered with envelopes or with "nothing".
    pub requests_served: u64,
    /// Mail requests answered with an error.
    pub requests_refused: u64,
    /// Those of them that came too soon, or cost too much.
    pub requests_limited: u64,
    /// The same of other mailservers.
    pub syncs_limited: u64,
    /// Envelopes delivered for mail requests.
    pub delivered: u64,
    /// Peers dropped for breaking the protocol.
    pub violations: u64,
}

/// The counters of a node.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<CounterValues>);

impl Counters {
    /// Changes several numbers at once, so that their sums always hold.
    pub(super) fn update(&self, change: impl FnOnce(&mut CounterValues)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn values(&self) -> CounterValues {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
