//! Whoever is asked before a head is signed: where several machines have one
//! archive's key, one of them at a time.
//!
//! Always true:
//! - With a gate set, no head of this archive's key is stored that the gate did not let
//!   through.
//! - Once a number was claimed in a store, nothing is signed here without a gate: a
//!   command that was not told of the store must not sign what another machine signs.
//!
//! File: `claims.json`, absent while this machine alone signs.

use std::error::Error;
use std::fs;
use std::io;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::mirror::{FollowError, Followed};
use super::{Archive, DiskError};
use crate::archive::fresh::keep_all_but_known;
use crate::archive::head::Head;
use crate::archive::key::Key;
use crate::blocks::{BlockSource, CarFolder};
use crate::durable;
use crate::progress::Progress;
use crate::time::UnixSeconds;

/// Name of the file: JSON.
const FILE: &str = "claims.json";

/// What it says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// The store, as a user writes it.
    store: String,
}

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

    /// The store where the numbers of this archive's heads are claimed; `None` where this
    /// machine alone signs.
    pub fn claims_at(&self) -> Result<Option<String>, DiskError> {
        let path = self.dir.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(|said: Said| Some(said.store))
                .map_err(|error| DiskError::io(&path)(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::io(&path)(error)),
        }
    }

    /// Says durably that numbers are claimed at `store`: from then on nothing is signed
    /// without a gate.
    pub fn set_claims_at(&self, store: &str) -> Result<(), DiskError> {
        if self.claims_at()?.as_deref() == Some(store) {
            return Ok(());
        }
        let path = self.dir.join(FILE);
        let said = Said {
            store: store.to_owned(),
        };
        let mut text = serde_json::to_string(&said).expect("a text is JSON");
        text.push('\n');
        durable::replace_file(&path, text.as_bytes()).map_err(DiskError::io(&path))
    }

    /// Without a gate nothing is signed where numbers are claimed.
    fn ungated(&self) -> Result<(), DiskError> {
        match self.claims_at()? {
            None => Ok(()),
            Some(store) => Err(GateError::new(format!(
                "its numbers are claimed at {store}, which is not named as its store"
            ))
            .into()),
        }
    }

    /// Refuses to begin a seal where the gate does.
    pub(super) fn admitted(&self) -> Result<(), DiskError> {
        match self.gatekeeper() {
            Some(gate) => Ok(gate.admit()?),
            None => self.ungated(),
        }
    }

    /// Makes the number of a head its own, where there is a gate.
    pub(super) fn claimed(&self, head: &Head) -> Result<(), DiskError> {
        match self.gatekeeper() {
            Some(gate) => Ok(gate.claim(head, &self.blocks.folder)?),
            None => self.ungated(),
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

    /// Lets go of what waits and is sealed, in the journal too: a machine that waits for
    /// its turn for months would keep all of them.
    fn wait_no_more(&self) -> Result<(), DiskError> {
        let (sealed, covered, rotated) = {
            let _gate = self.gate_alone();
            let (sealed, covered) = {
                let state = self.read_state();
                let sealed = state.sealed();
                let covered = state.waiting.due(sealed.watermark);
                (sealed, covered)
            };
            if covered.is_empty() {
                return Ok(());
            }
            (sealed, covered, self.journal.rotate()?)
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
        self.trim(rotated)
    }
}

#[cfg(test)]
mod tests;
