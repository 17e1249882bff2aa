//! What users see of an archive at a node: a pin on its newest head, and one on all that
//! the head's state leads to.
//!
//! Always true:
//! - Nothing rests on either: files are held by pins of their own, and a head is told
//!   whether these come about or not.
//! - The one on the head is direct, on one block. The one on the state is recursive, and
//!   goes from state to state by what differs: years, months and days change at their end
//!   alone, so that a node pairs the right ones, as it would not below a head, whose open
//!   deltas come and go before its state.
//! - A seal waits for the node to look through what is new for as long as an answer may
//!   take, and no longer; a node that is too slow [`MOST_SLOW`] times is not asked again.
//!   So an archive of any size is shown in bounded time.
//! - Pins of others are left alone, on the same blocks too.

use std::sync::atomic::Ordering;

use super::KuboDepot;
use crate::archive::head::Head;
use crate::blocks::Cid;
use crate::depot::DepotError;
use crate::kubo::{Depth, KuboError, Update};

/// Name of the pin on the newest head itself.
pub(super) const WHAT_HEAD: &str = "head";

/// Name of the pin on its state.
const WHAT_STATE: &str = "state";

/// Largest state that is pinned as a whole, where none before it is: all of it is gone
/// through then, minutes on a hard disk that is busy with others. A state that has grown
/// beyond that step by step stays pinned.
const MOST_WALKED: u64 = 256 << 20;

/// How often in a row a node may be too slow for a state. One that collects its garbage
/// keeps pins waiting now and then.
const MOST_SLOW: u32 = 3;

impl KuboDepot {
    /// Lets the node look through what is new below `head`, and pin its state. An error
    /// where files are to be carried again before the head is told.
    pub(super) async fn look_through(&self, head: &Head) -> Result<(), DepotError> {
        let Some(state) = head.body().state else {
            return Ok(());
        };
        match self.move_state(&state, head.body().totals.bytes).await {
            Ok(()) => {
                // That it was given up stays so.
                let _ = self
                    .slow
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |slow| {
                        (slow < MOST_SLOW).then_some(0)
                    });
                Ok(())
            }
            Err(KuboError::Missing(text)) => {
                let files = self.note_missing(&text).await;
                let files = files.map_err(|error| self.failed(error))?;
                if !files.is_empty() {
                    return Err(DepotError::Lost {
                        depot: self.name.clone(),
                        what: format!("a block of {}: {text}", files.join(", ")),
                    });
                }
                // It was never kept here, as that of a day that was dropped, or of a
                // history that was not fetched; or nobody has it any more.
                tracing::warn!(depot = self.name, text, "the state is not whole there");
                self.let_go_state()
                    .await
                    .map_err(|error| self.failed(error))
            }
            Err(error) => {
                tracing::warn!(depot = self.name, %error, "the state is not pinned");
                if self.slow.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_SLOW {
                    // It would keep what is superseded.
                    self.let_go_state()
                        .await
                        .map_err(|error| self.failed(error))?;
                }
                Ok(())
            }
        }
    }

    async fn move_state(&self, state: &Cid, bytes: u64) -> Result<(), KuboError> {
        let name = format!("{}{WHAT_STATE}", self.prefix);
        let pins = self.shown(Depth::Recursive, &name).await?;
        if pins.contains(state) {
            return self.drop_others(pins, state, Depth::Recursive).await;
        }
        let Some(old) = pins.first() else {
            let is_given_up = self.slow.load(Ordering::Relaxed) >= MOST_SLOW;
            if is_given_up || bytes > MOST_WALKED || self.is_pinned_by_others(state).await? {
                return Ok(());
            }
            let pin = self.client.pin_add(state, Depth::Recursive, &name, bytes);
            return pin.await;
        };
        match self.client.pin_update(old, state).await? {
            Update::Updated | Update::NoOld => Ok(()),
            // By somebody else, or another archive with the same history: it is his.
            Update::IsPinned => self.drop_others(pins, state, Depth::Recursive).await,
        }
    }

    /// Takes the pin off the state for as long as this process lives: it would keep a day
    /// that goes, or what is superseded.
    pub(super) async fn let_go_state(&self) -> Result<(), KuboError> {
        self.slow.store(MOST_SLOW, Ordering::Relaxed);
        let name = format!("{}{WHAT_STATE}", self.prefix);
        for cid in self.shown(Depth::Recursive, &name).await? {
            self.client.pin_rm(&cid, Depth::Recursive).await?;
        }
        Ok(())
    }

    /// Puts the pin that users see on `head`, where it is not theirs.
    pub(super) async fn show(&self, head: &Cid) -> Result<(), KuboError> {
        let name = format!("{}{WHAT_HEAD}", self.prefix);
        let pins = self.shown(Depth::Direct, &name).await?;
        if !pins.contains(head) && !self.is_pinned_by_others(head).await? {
            self.client.pin_add(head, Depth::Direct, &name, 0).await?;
        }
        self.drop_others(pins, head, Depth::Direct).await
    }

    /// What the pins of exactly this name are on.
    async fn shown(&self, depth: Depth, name: &str) -> Result<Vec<Cid>, KuboError> {
        let pins = self.client.pin_ls(depth, name).await?.pins;
        let ours = pins
            .into_iter()
            .filter(|pin| pin.name.as_deref() == Some(name));
        Ok(ours.map(|pin| pin.cid).collect())
    }

    async fn drop_others(&self, pins: Vec<Cid>, but: &Cid, depth: Depth) -> Result<(), KuboError> {
        for old in pins.iter().filter(|old| *old != but) {
            self.client.pin_rm(old, depth).await?;
        }
        Ok(())
    }

    /// Whether somebody else pinned a block himself, in whichever way: a pin of ours would
    /// take the place of his.
    async fn is_pinned_by_others(&self, cid: &Cid) -> Result<bool, KuboError> {
        for depth in [Depth::Recursive, Depth::Direct] {
            let pin = self.client.pin_of(cid, depth).await?;
            let is_ours = |name: &Option<String>| {
                name.as_ref()
                    .is_some_and(|name| name.starts_with(&self.prefix))
            };
            if pin.is_some_and(|pin| !is_ours(&pin.name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
