//! Whoever is asked before a head is signed: where several machines have one
//! archive's key, one of them at a time.
//!
//! Always true: with a gate set, no head of this archive's key is stored that the
//! gate did not let through.

use std::error::Error;
use std::sync::{Arc, PoisonError};

use super::mirror::{FollowError, Followed};
use super::{Archive, DiskError};
use crate::archive::fresh::keep_all_but_known;
use crate::archive::head::Head;
use crate::archive::key::Key;
use crate::blocks::{BlockSource, CarFolder};
use crate::progress::Progress;
use crate::time::UnixSeconds;

/// Says whether heads may be signed here. Calls may wait for a network.
pub trait Gate: Send + Sync {
    /// Whether a seal may begin.
    fn admit(&self) -> Result<(), GateError>;

    /// Makes the number of `head` its own for good, before the head is stored or
    /// shown. The files that it reaches lie in `folder`, or were seen to already.
    fn claim(&self, head: &Head, folder: &CarFolder) -> Result<(), GateError>;
}

/// Why a head may not be signed now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GateError(Box<dyn Error + Send + Sync>);

impl GateError {
    /// With this reason.
    pub fn new(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(why.into())
    }
}

impl Archive {
    /// From now on `gate` is asked before every head.
    pub fn set_gate(&self, gate: Option<Arc<dyn Gate>>) {
        *self
            .gatekeeper
            .write()
            .unwrap_or_else(PoisonError::into_inner) = gate;
    }

    fn gatekeeper(&self) -> Option<Arc<dyn Gate>> {
        let gate = self
            .gatekeeper
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        gate.clone()
    }

    /// Refuses to begin a seal where the gate does.
    pub(super) fn admitted(&self) -> Result<(), DiskError> {
        match self.gatekeeper() {
            Some(gate) => Ok(gate.admit()?),
            None => Ok(()),
        }
    }

    /// Makes the number of a head its own, where there is a gate.
    pub(super) fn claimed(&self, head: &Head) -> Result<(), DiskError> {
        match self.gatekeeper() {
            Some(gate) => Ok(gate.claim(head, &self.blocks.folder)?),
            None => Ok(()),
        }
    }

    /// Goes over to a later head of this archive's own key, that was signed on
    /// another machine; `source` has its blocks. What waits here and is sealed there
    /// waits no more.
    pub fn rejoin(
        &self,
        offered: &Head,
        source: &dyn BlockSource,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Followed, FollowError> {
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        self.own()?;
        if *offered.key() != self.key.public_key() {
            return Err(FollowError::AnotherKey);
        }
        let followed = self.go_to(offered, source, false, now, progress)?;
        self.wait_no_more()?;
        Ok(followed)
    }

    /// Lets go of what waits and is sealed.
    fn wait_no_more(&self) -> Result<(), DiskError> {
        let (sealed, covered) = {
            let _gate = self.gate_alone();
            let state = self.read_state();
            let sealed = state.sealed();
            let covered = state.waiting.due(sealed.watermark);
            (sealed, covered)
        };
        let mut known: Vec<Key> = covered.iter().map(|pending| pending.key).collect();
        let unsealed = keep_all_but_known(&self.blocks, &sealed, covered)?;
        let unsealed: std::collections::HashSet<_> = unsealed
            .into_values()
            .flatten()
            .map(|pending| pending.key.hash)
            .collect();
        known.retain(|key| !unsealed.contains(&key.hash));
        self.write_state().waiting.sealed(&known);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
