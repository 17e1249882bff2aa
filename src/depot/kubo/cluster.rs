//! IPFS Cluster: its proxy answers as a node does, and tells no names of pins.
//!
//! So each pin is looked into, once: a holding says by itself what it is.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::KuboDepot;
use super::holding::Holding;
use crate::blocks::{Block, Cid, Codec};
use crate::kubo::KuboError;

/// After how long a pin whose block nobody had is looked into again. Each look may last
/// as long as the cluster's nodes look in the network, and pins of others may be many.
const ABSENT_FOR: Duration = Duration::from_secs(3_600);

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
        if self.is_absent(cid) {
            return Ok(None);
        }
        // It may lie at another node of the cluster than the one that is asked.
        let bytes = match self.client.block_get(cid, false).await {
            Ok(bytes) => bytes,
            Err(KuboError::Missing(_) | KuboError::Failed(_)) => {
                let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
                absent.insert(*cid, Instant::now());
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let block = Block::verify(cid, bytes).ok();
        let holding = block.and_then(|block| Holding::read(&block, &self.tag));
        let what = holding.map(|holding| holding.what);
        let mut known = self.nameless.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(*cid, what.clone());
        Ok(what)
    }

    /// Whether nobody had it a while ago.
    fn is_absent(&self, cid: &Cid) -> bool {
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        absent
            .get(cid)
            .is_some_and(|since| since.elapsed() < ABSENT_FOR)
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
