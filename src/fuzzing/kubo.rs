//! What an IPFS node gives back of what was stored there.

use crate::blocks::{Block, Codec, MAX_BLOCK_READ};
use crate::depot::kubo::holding::{Holding, list, read_list};

/// The tag of the archive that asks: that of the honest inputs.
const TAG: &str = "0123456789abcdef";

/// A block that a pin is on, or a list of blocks: what reads is written the same
/// again.
pub fn kubo_holding(data: &[u8]) {
    if data.len() > MAX_BLOCK_READ {
        return;
    }
    let block = Block::new(Codec::DagCbor, data.to_vec());
    if let Some(holding) = Holding::read(&block, TAG) {
        assert_eq!(holding.block(), block);
    }
    if let Some(cids) = read_list(&block) {
        assert_eq!(list(&cids), block);
    }
}
