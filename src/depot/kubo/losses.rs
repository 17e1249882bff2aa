//! What a node was found to have lost.
//!
//! Always true:
//! - Nothing is let go because it is damaged: a pin is all that keeps what is left of a
//!   file that may be nowhere else.
//! - A file that lacks a block counts as not kept until the block is back. One that is on
//!   this disk too is carried again then, and mends it.
//! - Each lost block holds up a head once, for the files to be carried again. Where that
//!   does not bring it back, the heads go on without it.

use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use super::KuboDepot;
use super::holding::{Holding, as_bytes, read_list};
use crate::blocks::{Cid, group_of};
use crate::kubo::KuboError;

/// Most lost blocks that are remembered: a node that has lost more is better replaced.
const MOST_BLOCKS: usize = 4_096;

/// What was found missing since this process began.
#[derive(Default)]
pub(super) struct Losses {
    /// Files that lack a block, and which one.
    files: HashMap<String, Cid>,
    /// Blocks that have held up a head.
    blocks: HashSet<Cid>,
    /// Whether heads before the newest went with a list of them.
    lineage: bool,
}

impl KuboDepot {
    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what `text` says is missing. Gives the files that hold it, where they
    /// are to be carried again before anything else: none where that was tried, or no file
    /// here has it.
    pub(super) async fn note_missing(&self, text: &str) -> Result<Vec<String>, KuboError> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let named = words.filter_map(|word| word.parse::<Cid>().ok());
        let missing: Vec<Cid> = named.map(|cid| as_bytes(&cid)).collect();
        {
            let blocks = &mut self.losses().blocks;
            if missing.iter().all(|cid| blocks.contains(cid)) {
                return Ok(Vec::new());
            }
            if blocks.len() + missing.len() > MOST_BLOCKS {
                blocks.clear();
            }
            blocks.extend(&missing);
        }
        let mut files = Vec::new();
        for pin in self.pinned("").await? {
            if group_of(&pin.what).is_none() {
                continue;
            }
            if let Some(lost) = self.lacks(&pin.cid, &missing).await? {
                tracing::error!(depot = self.name, file = pin.what, block = %lost, "lost a block");
                self.losses().files.insert(pin.what.clone(), lost);
                files.push(pin.what);
            }
        }
        Ok(files)
    }

    /// Which of these blocks a holding holds, or which of its own is gone.
    async fn lacks(&self, holding: &Cid, missing: &[Cid]) -> Result<Option<Cid>, KuboError> {
        let block = match self.block(holding).await {
            Err(error) if error.is_missing() => return Ok(Some(*holding)),
            other => other?,
        };
        let Some(holding) = Holding::read(&block, &self.tag) else {
            return Ok(None);
        };
        for cid in &holding.lists {
            let list = match self.block(cid).await {
                Err(error) if error.is_missing() => return Ok(Some(*cid)),
                other => other?,
            };
            let links = read_list(&list).unwrap_or_default();
            if let Some(lost) = links.into_iter().find(|link| missing.contains(link)) {
                return Ok(Some(lost));
            }
        }
        Ok(None)
    }

    /// Whether a file was found to lack a block.
    pub(super) fn is_damaged(&self, file: &str) -> bool {
        self.losses().files.contains_key(file)
    }

    /// Forgets a file.
    pub(super) fn forget(&self, file: &str) {
        self.losses().files.remove(file);
    }

    /// The files that still lack a block.
    pub(super) async fn damaged(&self) -> Result<HashSet<String>, KuboError> {
        let noted: Vec<(String, Cid)> = {
            let losses = self.losses();
            let files = losses.files.iter();
            files.map(|(file, cid)| (file.clone(), *cid)).collect()
        };
        let mut damaged = HashSet::new();
        for (file, cid) in noted {
            match self.client.block_stat(&cid, true).await {
                Ok(_) => self.forget(&file),
                Err(error) if error.is_missing() => {
                    damaged.insert(file);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(damaged)
    }

    /// Takes note of heads before the newest that went.
    pub(super) fn note_lost_heads(&self, of: &Cid, error: &KuboError) {
        tracing::warn!(depot = self.name, pin = %of, %error, "heads before the newest are lost");
        self.losses().lineage = true;
    }

    /// Whether there were such since this was asked last.
    pub(super) fn take_lost_heads(&self) -> bool {
        std::mem::take(&mut self.losses().lineage)
    }
}
