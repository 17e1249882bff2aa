//! What a pin of ours is on: a small block that names the archive, what it holds, and
//! every block of that.
//!
//! ```text
//! holding   {gwa: tag, root: CID as text, what: name, lists: [link, ..]}
//! list      [link, ..]
//! ```
//!
//! Always true:
//! - It holds what it names, block by block, and nothing that those lead to: the
//!   links of a list name blocks as raw bytes, which no walk goes into. A node keeps
//!   blocks by their hash, whatever a link calls them.
//! - Equal files of one archive give equal holdings, and no two archives or files
//!   share one. So a pin of ours is on nothing that anybody else pins, and letting it
//!   go takes nothing from them.

use ipld_core::ipld::Ipld;
use serde::{Deserialize, Serialize};

use crate::blocks::{Block, Cid, Codec, cid_from_digest, digest_of};

/// Links in a list of a file: as many as a block of ours may have, 330 KiB.
pub const LINKS: usize = 8_192;

/// Heads that are held together. With each new one those are gone through again, a
/// quarter of a MiB at most; a list that is full is pinned by itself, once.
pub const HEADS: usize = 256;

/// Most bytes of a holding that are read: a file of 10 GiB in small leaves has fewer.
const LONGEST: usize = crate::blocks::MAX_BLOCK_WRITTEN;

/// What a pin is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    // In DAG-CBOR's order of keys.
    /// The tag of the archive.
    pub gwa: String,
    /// Root of the file, or the newest head: for whoever looks.
    #[serde(with = "as_text")]
    pub root: Cid,
    /// Name of the file, or [`WHAT_HEADS`].
    pub what: String,
    /// Lists of blocks.
    pub lists: Vec<Cid>,
}

/// [`Holding::what`] of the one that holds heads.
pub const WHAT_HEADS: &str = "heads";

impl Holding {
    /// The holding as a block.
    pub fn block(&self) -> Block {
        let bytes = serde_ipld_dagcbor::to_vec(self).expect("texts and links encode");
        Block::new(Codec::DagCbor, bytes)
    }

    /// The holding in a block; `None` where it is none of the archive `tag`.
    pub fn read(block: &Block, tag: &str) -> Option<Self> {
        if block.bytes().len() > LONGEST {
            return None;
        }
        let holding: Self = serde_ipld_dagcbor::from_slice(block.bytes()).ok()?;
        (holding.gwa == tag && holding.block() == *block).then_some(holding)
    }
}

/// A list of blocks, as a block.
pub fn list(cids: &[Cid]) -> Block {
    let links = cids.iter().map(|cid| Ipld::Link(as_bytes(cid)));
    let links = Ipld::List(links.collect());
    let bytes = serde_ipld_dagcbor::to_vec(&links).expect("links encode");
    Block::new(Codec::DagCbor, bytes)
}

/// The links of a list; `None` where it is none.
pub fn read_list(block: &Block) -> Option<Vec<Cid>> {
    let links: Vec<Cid> = serde_ipld_dagcbor::from_slice(block.bytes()).ok()?;
    (links.len() <= LINKS && list(&links) == *block).then_some(links)
}

/// The name of a block that calls it bytes. One that is none of ours stays as it is.
pub fn as_bytes(cid: &Cid) -> Cid {
    match digest_of(cid) {
        Ok(digest) => cid_from_digest(Codec::Raw, digest),
        Err(_) => *cid,
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Cid;

    pub fn serialize<S: Serializer>(cid: &Cid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&cid.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cid, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blocks::links::links;

    fn leaf(n: u64) -> Block {
        Block::new(Codec::Raw, n.to_be_bytes().to_vec())
    }

    fn holding(lists: &[Block]) -> Holding {
        Holding {
            gwa: "0123456789abcdef".to_owned(),
            root: *leaf(0).cid(),
            what: "calendar/ei66wof36n5e.car".to_owned(),
            lists: lists.iter().map(|list| *list.cid()).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_its_links_lead_to_bytes(count in 0u64..50) {
            let nodes: Vec<Block> = (0..count)
                .map(|n| Block::new(Codec::DagCbor, serde_ipld_dagcbor::to_vec(&n).unwrap()))
                .collect();
            let cids: Vec<Cid> = nodes.iter().map(|node| *node.cid()).collect();
            let list = list(&cids);
            let back = read_list(&list).unwrap();
            prop_assert_eq!(&back, &cids.iter().map(as_bytes).collect::<Vec<_>>());
            prop_assert_eq!(&links(&list).unwrap(), &back);
            prop_assert!(back.iter().all(|cid| Codec::of(cid) == Some(Codec::Raw)));
            let held = holding(&[list]);
            let block = held.block();
            prop_assert_eq!(links(&block).unwrap(), held.lists.clone());
            prop_assert_eq!(Holding::read(&block, &held.gwa), Some(held));
        }
    }

    #[test]
    fn what_is_of_another_archive_or_written_otherwise_is_none() {
        let held = holding(&[]);
        assert_eq!(Holding::read(&held.block(), "another"), None);
        assert_eq!(Holding::read(&leaf(1), &held.gwa), None);
        let mut longer = held.block().bytes().to_vec();
        longer.push(0);
        let longer = Block::new(Codec::DagCbor, longer);
        assert_eq!(Holding::read(&longer, &held.gwa), None);
        assert_eq!(read_list(&held.block()), None);
    }

    #[test]
    fn a_full_list_is_a_block_that_every_node_takes() {
        let cids: Vec<Cid> = (0..LINKS as u64).map(|n| *leaf(n).cid()).collect();
        let list = list(&cids);
        assert!(list.bytes().len() <= crate::blocks::MAX_BLOCK_WRITTEN);
        assert_eq!(read_list(&list).unwrap().len(), LINKS);
    }
}
