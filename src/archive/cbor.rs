//! Strict DAG-CBOR.
//!
//! Always true: what [`decode`] accepts is the one encoding of what it returns;
//! any other spelling of the same data is refused. Nesting and size are bounded
//! before a byte is interpreted.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blocks::{Block, Codec, MAX_BLOCK_READ};

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

/// Why bytes are not the canonical encoding of what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
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
    /// Well-formed, but not of the expected shape.
    #[error("unexpected shape: {0}")]
    Shape(String),
    /// The same data has another, canonical encoding.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// Encodes `value` as a DAG-CBOR block.
pub fn encode<T: Serialize>(value: &T) -> Block {
    let bytes = serde_ipld_dagcbor::to_vec(value)
        .expect("our nodes hold only what DAG-CBOR can express, and memory writes do not fail");
    Block::new(Codec::DagCbor, bytes)
}

/// Decodes the canonical encoding of a `T`.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    check_bounds(bytes)?;
    let value: T =
        serde_ipld_dagcbor::from_slice(bytes).map_err(|e| CborError::Shape(e.to_string()))?;
    let again = serde_ipld_dagcbor::to_vec(&value).map_err(|e| CborError::Shape(e.to_string()))?;
    if again != bytes {
        return Err(CborError::NotCanonical);
    }
    Ok(value)
}

/// Walks the items without building anything: refuses what is too long, too
/// deep, too wide or cut short.
fn check_bounds(bytes: &[u8]) -> Result<(), CborError> {
    if bytes.len() > MAX_BLOCK_READ {
        return Err(CborError::TooLong(bytes.len()));
    }
    let mut at = 0;
    let mut links = 0;
    let mut items_seen = 0;
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
            return Err(CborError::TooManyItems);
        }
        let start = at;
        let (major, argument) = read_head(bytes, &mut at).ok_or(CborError::Malformed(start))?;
        match major {
            2 | 3 => {
                let len = usize::try_from(argument).map_err(|_| CborError::Malformed(start))?;
                at = at
                    .checked_add(len)
                    .filter(|end| *end <= bytes.len())
                    .ok_or(CborError::Malformed(start))?;
            }
            4 | 5 => {
                let items = argument
                    .checked_mul(if major == 5 { 2 } else { 1 })
                    .filter(|items| *items <= bytes.len() as u64)
                    .ok_or(CborError::Malformed(start))?;
                if open.len() > MAX_DEPTH {
                    return Err(CborError::TooDeep);
                }
                open.push(items);
            }
            6 => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(CborError::TooManyLinks);
                }
                if open.len() > MAX_DEPTH {
                    return Err(CborError::TooDeep);
                }
                open.push(1);
            }
            _ => {}
        }
    }
    if at == bytes.len() {
        Ok(())
    } else {
        Err(CborError::Malformed(at))
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
    use ipld_core::ipld::Ipld;

    use super::*;

    fn refused(bytes: &[u8]) -> CborError {
        decode::<Ipld>(bytes).expect_err("refused")
    }

    #[test]
    fn other_spellings_of_the_same_data_are_refused() {
        assert_eq!(decode::<Ipld>(&[0x01]), Ok(Ipld::Integer(1)));
        // 1 in two bytes; a map with keys out of order; an indefinite list.
        assert!(matches!(
            refused(&[0x18, 0x01]),
            CborError::NotCanonical | CborError::Shape(_)
        ));
        let unsorted = [0xa2, 0x61, b'b', 0x01, 0x61, b'a', 0x01];
        assert!(matches!(
            refused(&unsorted),
            CborError::NotCanonical | CborError::Shape(_)
        ));
        assert!(matches!(
            refused(&[0x9f, 0x01, 0xff]),
            CborError::Malformed(0)
        ));
        assert!(matches!(refused(&[0x01, 0x01]), CborError::Malformed(1)));
    }

    #[test]
    fn bombs_are_refused_before_they_are_built() {
        assert_eq!(refused(&[0x81; 100_000]), CborError::TooDeep);
        assert_eq!(refused(&[0xd8, 0x2a].repeat(50_000)), CborError::TooDeep);
        // A list that claims 2^60 items, a string of 2^40 bytes.
        assert!(matches!(
            refused(&[0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]),
            CborError::Malformed(0)
        ));
        assert!(matches!(
            refused(&[0x5b, 0, 0, 1, 0, 0, 0, 0, 0]),
            CborError::Malformed(0)
        ));
        let many_links = [&[0x99, 0x20, 0x01][..], &[0xd8, 0x2a, 0x40].repeat(8_193)].concat();
        assert_eq!(refused(&many_links), CborError::TooManyLinks);
        let many_items = [&[0x9a, 0, 1, 0, 0][..], &[0x80; MAX_ITEMS]].concat();
        assert_eq!(refused(&many_items), CborError::TooManyItems);
        assert!(matches!(
            refused(&vec![0; MAX_BLOCK_READ + 1]),
            CborError::TooLong(_)
        ));
    }
}
