//! IPFS Cluster: its proxy answers as a node does, and tells no names of pins.
//!
//! So each pin is looked into, once: a holding says by itself what it is.

use std::sync::PoisonError;

use super::KuboDepot;
use super::holding::Holding;
use crate::blocks::{Block, Cid, Codec};
use crate::kubo::KuboError;

impl KuboDepot {
    /// What a pin without a name holds; `None` where it is none of ours.
    pub(super) async fn look_into(&self, cid: &Cid) -> Result<Option<String>, KuboError> {
        if Codec::of(cid) != Some(Codec::DagCbor) {
            return Ok(None);
        }
        let known = self.known(cid);
        if let Some(known) = known {
            return Ok(known);
        }
        // It may lie at another node of the cluster than the one that is asked.
        let bytes = match self.client.block_get(cid, false).await {
            Ok(bytes) => bytes,
            Err(KuboError::Missing(_) | KuboError::Failed(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let block = Block::verify(cid, bytes).ok();
        let holding = block.and_then(|block| Holding::read(&block, &self.tag));
        let what = holding.map(|holding| holding.what);
        let mut known = self.nameless.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(*cid, what.clone());
        Ok(what)
    }

    /// What a pin was found to be before.
    fn known(&self, cid: &Cid) -> Option<Option<String>> {
        let known = self.nameless.lock();
        known
            .unwrap_or_else(PoisonError::into_inner)
            .get(cid)
            .cloned()
    }
}
