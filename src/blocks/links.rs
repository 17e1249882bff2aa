//! The links of a block, whatever kind of node it is.
//!
//! Always true: nothing is built of a block before its nesting, its items and
//! its links were counted and found within their bounds.

use super::{Block, BlockError, Cid, Codec, MAX_BLOCK_READ};

/// Deepest nesting of lists and maps in a block. Ours have four levels; the
/// bound keeps a hostile block from exhausting the stack.
pub const MAX_DEPTH: usize = 32;

/// Most links in a block: what design tools and bitswap peers cope with, far
/// above the 512 children of our widest node.
pub const MAX_LINKS: usize = 8_192;

/// Most items in a block, nested ones included. Our fullest node, a topic index
/// node of 128 KiB, has about 14,000; the bound keeps 2 MiB of one-byte items
/// from becoming a hundred times as much memory.
pub const MAX_ITEMS: usize = 65_536;

/// The tag of a link, and the byte before its CID.
const LINK_TAG: u64 = 42;
const IDENTITY_MULTIBASE: u8 = 0;

/// Why bytes are no DAG-CBOR that anybody should build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// Longer than any block.
    #[error("{0} bytes, above the limit of {MAX_BLOCK_READ}")]
    TooLong(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_LINKS`] links.
    #[error("more than {MAX_LINKS} links")]
    TooManyLinks,
    /// More than [`MAX_ITEMS`] items.
    #[error("more than {MAX_ITEMS} items")]
    TooManyItems,
    /// Ends inside an item, or uses what DAG-CBOR does not have.
    #[error("malformed CBOR at byte {0}")]
    Malformed(usize),
}

/// The links in a block, in the order in which they stand: none in a raw one.
pub fn links(block: &Block) -> Result<Vec<Cid>, BlockError> {
    let mut found = Vec::new();
    if Codec::of(block.cid()) != Some(Codec::DagCbor) {
        return Ok(found);
    }
    let refused = |what: OutOfBounds| BlockError::NotADag {
        cid: *block.cid(),
        what: what.to_string(),
    };
    walk(block.bytes(), |at, bytes| {
        let cid = match bytes.split_first() {
            Some((&IDENTITY_MULTIBASE, cid)) => Cid::try_from(cid).ok(),
            _ => None,
        };
        found.push(cid.ok_or(OutOfBounds::Malformed(at))?);
        Ok(())
    })
    .map_err(refused)?;
    Ok(found)
}

/// Walks the items without building anything: refuses what is too long, too
/// deep, too wide or cut short. `link` is given where each link's bytes stand,
/// and the bytes.
pub fn walk(
    bytes: &[u8],
    mut link: impl FnMut(usize, &[u8]) -> Result<(), OutOfBounds>,
) -> Result<(), OutOfBounds> {
    if bytes.len() > MAX_BLOCK_READ {
        return Err(OutOfBounds::TooLong(bytes.len()));
    }
    let mut at = 0;
    let mut links = 0;
    let mut items_seen = 0;
    // Whether the item to come is what a link's tag stands before.
    let mut linked = false;
    // Items still to come in each open list or map; the outermost is one item.
    let mut open = vec![1u64];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        items_seen += 1;
        if items_seen > MAX_ITEMS {
            return Err(OutOfBounds::TooManyItems);
        }
        let start = at;
        let (major, argument) = read_head(bytes, &mut at).ok_or(OutOfBounds::Malformed(start))?;
        let of_a_link = std::mem::take(&mut linked);
        if of_a_link && !matches!(major, 2 | 6) {
            return Err(OutOfBounds::Malformed(start));
        }
        match major {
            2 | 3 => {
                let body = at;
                let len = usize::try_from(argument).map_err(|_| OutOfBounds::Malformed(start))?;
                at = at
                    .checked_add(len)
                    .filter(|end| *end <= bytes.len())
                    .ok_or(OutOfBounds::Malformed(start))?;
                if of_a_link {
                    link(start, &bytes[body..at])?;
                }
            }
            4 | 5 => {
                let items = argument
                    .checked_mul(if major == 5 { 2 } else { 1 })
                    .filter(|items| *items <= bytes.len() as u64)
                    .ok_or(OutOfBounds::Malformed(start))?;
                if open.len() > MAX_DEPTH {
                    return Err(OutOfBounds::TooDeep);
                }
                open.push(items);
            }
            6 => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(OutOfBounds::TooManyLinks);
                }
                if open.len() > MAX_DEPTH {
                    return Err(OutOfBounds::TooDeep);
                }
                if argument != LINK_TAG {
                    return Err(OutOfBounds::Malformed(start));
                }
                linked = true;
                open.push(1);
            }
            _ => {}
        }
    }
    if at == bytes.len() {
        Ok(())
    } else {
        Err(OutOfBounds::Malformed(at))
    }
}

/// Major type and argument of the item at `at`, which advances past them.
fn read_head(bytes: &[u8], at: &mut usize) -> Option<(u8, u64)> {
    let first = *bytes.get(*at)?;
    *at += 1;
    let extra = match first & 0x1f {
        short @ 0..=23 => return Some((first >> 5, u64::from(short))),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let argument = bytes.get(*at..*at + extra)?;
    *at += extra;
    Some((
        first >> 5,
        argument.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ipld_core::ipld::Ipld;

    use super::*;

    fn node(value: &Ipld) -> Block {
        Block::new(Codec::DagCbor, serde_ipld_dagcbor::to_vec(value).unwrap())
    }

    #[test]
    fn links_are_found_wherever_they_stand() {
        let leaves: Vec<Cid> = (0..4u8)
            .map(|n| *Block::new(Codec::Raw, vec![n]).cid())
            .collect();
        let map = BTreeMap::from([
            ("a".to_owned(), Ipld::Link(leaves[1])),
            ("b".to_owned(), Ipld::Bytes(leaves[3].to_bytes())),
            ("c".to_owned(), Ipld::List(vec![Ipld::Link(leaves[2])])),
        ]);
        let value = Ipld::List(vec![Ipld::Link(leaves[0]), Ipld::Map(map)]);
        assert_eq!(links(&node(&value)).unwrap(), leaves[..3]);
        let raw = Block::new(Codec::Raw, node(&value).into_bytes());
        assert!(links(&raw).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_link_under_a_links_tag_is_refused() {
        for bytes in [
            // Another tag; a number, a text and no multibase under the tag.
            &[0xc1, 0x40][..],
            &[0xd8, 0x2a, 0x01],
            &[0xd8, 0x2a, 0x61, b'a'],
            &[0xd8, 0x2a, 0x41, 0x01],
            &[0xd8, 0x2a, 0x40],
            // Cut short.
            &[0xd8, 0x2a],
            &[0x82, 0x01],
        ] {
            let block = Block::new(Codec::DagCbor, bytes.to_vec());
            let error = links(&block).unwrap_err();
            assert!(matches!(error, BlockError::NotADag { .. }), "{bytes:?}");
            assert!(error.is_corrupt());
        }
    }
}
