//! Strict DAG-CBOR.
//!
//! Always true: what [`decode`] accepts is the one encoding of what it returns;
//! any other spelling of the same data is refused. Nesting and size are bounded
//! before a byte is interpreted.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blocks::links::{self, OutOfBounds};
pub use crate::blocks::links::{MAX_DEPTH, MAX_ITEMS, MAX_LINKS};
use crate::blocks::{Block, Codec};

/// Why bytes are not the canonical encoding of what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Too long, deep or wide, or cut short.
    #[error(transparent)]
    Bounds(#[from] OutOfBounds),
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
    // Nothing is built before it is found to be within bounds.
    links::walk(bytes, |_, _| Ok(()))?;
    let value: T =
        serde_ipld_dagcbor::from_slice(bytes).map_err(|e| CborError::Shape(e.to_string()))?;
    let again = serde_ipld_dagcbor::to_vec(&value).map_err(|e| CborError::Shape(e.to_string()))?;
    if again != bytes {
        return Err(CborError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld::Ipld;

    use super::*;
    use crate::blocks::MAX_BLOCK_READ;

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
            CborError::Bounds(OutOfBounds::Malformed(0))
        ));
        assert!(matches!(
            refused(&[0x01, 0x01]),
            CborError::Bounds(OutOfBounds::Malformed(1))
        ));
    }

    #[test]
    fn bombs_are_refused_before_they_are_built() {
        assert_eq!(refused(&[0x81; 100_000]), OutOfBounds::TooDeep.into());
        assert_eq!(
            refused(&[0xd8, 0x2a].repeat(50_000)),
            OutOfBounds::TooDeep.into()
        );
        // A list that claims 2^60 items, a string of 2^40 bytes.
        assert!(matches!(
            refused(&[0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]),
            CborError::Bounds(OutOfBounds::Malformed(0))
        ));
        assert!(matches!(
            refused(&[0x5b, 0, 0, 1, 0, 0, 0, 0, 0]),
            CborError::Bounds(OutOfBounds::Malformed(0))
        ));
        let many_links = [&[0x99, 0x20, 0x01][..], &[0xd8, 0x2a, 0x40].repeat(8_193)].concat();
        assert_eq!(refused(&many_links), OutOfBounds::TooManyLinks.into());
        let many_items = [&[0x9a, 0, 1, 0, 0][..], &[0x80; MAX_ITEMS]].concat();
        assert_eq!(refused(&many_items), OutOfBounds::TooManyItems.into());
        assert!(matches!(
            refused(&vec![0; MAX_BLOCK_READ + 1]),
            CborError::Bounds(OutOfBounds::TooLong(_))
        ));
    }
}
