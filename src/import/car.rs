//! Envelopes out of a CAR: its raw blocks are runs of them, as the leaves of an
//! archive are; other blocks, whatever their codec, are passed over.

use std::io::Read;

use bytes::Buf;

use super::ImportError;
use super::stream::StreamEnvelopes;
use crate::blocks::car::{CarError, CarReader};
use crate::blocks::{Block, BlockError, Cid, Codec};
use crate::whisper::Envelope;

/// The envelopes of a CAR, leaf by leaf, in file order.
pub struct CarEnvelopes<R> {
    blocks: CarReader<R>,
    leaf: Option<Leaf>,
}

struct Leaf {
    cid: Cid,
    envelopes: StreamEnvelopes<bytes::buf::Reader<bytes::Bytes>>,
}

impl<R: Read> CarEnvelopes<R> {
    /// Reads the header.
    pub fn new(input: R) -> Result<Self, ImportError> {
        Ok(Self {
            blocks: CarReader::new(input)?,
            leaf: None,
        })
    }
}

/// Whether it is a block of another codec than leaves have, of a tool that knows
/// more codecs than we do.
fn is_of_others(error: &CarError) -> bool {
    let CarError::Block { source, .. } = error else {
        return false;
    };
    matches!(source, BlockError::ForeignCid { cid } if Codec::of(cid) != Some(Codec::Raw))
}

fn leaf_of(block: Block) -> Option<Leaf> {
    let cid = *block.cid();
    (Codec::of(&cid) == Some(Codec::Raw)).then(|| Leaf {
        cid,
        envelopes: StreamEnvelopes::new(block.into_bytes().reader()),
    })
}

impl<R: Read> Iterator for CarEnvelopes<R> {
    type Item = Result<Envelope, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(leaf) = &mut self.leaf {
                let cid = leaf.cid;
                match leaf.envelopes.next() {
                    Some(item) => {
                        return Some(item.map_err(|inner| ImportError::Leaf {
                            cid,
                            inner: Box::new(inner),
                        }));
                    }
                    None => self.leaf = None,
                }
            }
            match self.blocks.next()? {
                Ok(block) => self.leaf = leaf_of(block),
                Err(error) if is_of_others(&error) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::envelope;
    use super::*;
    use crate::blocks::car::CarWriter;

    fn car_of(blocks: &[Block]) -> Vec<u8> {
        let mut car = Vec::new();
        let root = blocks
            .first()
            .map_or(*leaf(&[0]).cid(), |first| *first.cid());
        let mut writer = CarWriter::new(&mut car, &root).unwrap();
        for block in blocks {
            writer.put(block).unwrap();
        }
        writer.finish().unwrap();
        car
    }

    fn leaf(numbers: &[u32]) -> Block {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|n| envelope(*n).rlp().to_vec())
            .collect();
        Block::new(Codec::Raw, bytes)
    }

    #[test]
    fn leaves_give_their_envelopes_and_other_nodes_none() {
        let node = Block::new(Codec::DagCbor, &b"\xa0"[..]);
        let car = car_of(&[node, leaf(&[1, 2]), leaf(&[3])]);
        let found: Result<Vec<_>, _> = CarEnvelopes::new(&car[..]).unwrap().collect();
        assert_eq!(found.unwrap(), [envelope(1), envelope(2), envelope(3)]);
    }

    #[test]
    fn nodes_of_other_codecs_are_passed_over_and_what_follows_still_comes() {
        let section = |cid: &[u8], body: &[u8]| {
            let len = u8::try_from(cid.len() + body.len()).unwrap();
            [&[len], cid, body].concat()
        };
        // As tools for files write them: a node of dag-pb, one with the older
        // form of a CID, and one that stands in its CID.
        let hash = *leaf(&[9]).cid().hash();
        let mut car = car_of(&[leaf(&[1])]);
        car.extend(section(&Cid::new_v1(0x70, hash).to_bytes(), b"node"));
        car.extend(section(&Cid::new_v0(hash).unwrap().to_bytes(), b"node"));
        car.extend(section(b"\x01\x70\x00\x03abc", b""));
        let more = car_of(&[leaf(&[2])]);
        car.extend(&more[car_of(&[]).len()..]);
        let found: Result<Vec<_>, _> = CarEnvelopes::new(&car[..]).unwrap().collect();
        assert_eq!(found.unwrap(), [envelope(1), envelope(2)]);
    }

    #[test]
    fn a_leaf_whose_bytes_cannot_be_checked_is_named() {
        let mut car = car_of(&[leaf(&[1])]);
        car.extend(b"\x07\x01\x55\x00\x03abc");
        let results: Vec<_> = CarEnvelopes::new(&car[..]).unwrap().collect();
        assert!(results[0].is_ok());
        assert!(matches!(results[1..], [Err(ImportError::Car(_))]));
    }

    #[test]
    fn a_raw_block_of_something_else_is_named_and_passed_over() {
        let other = Block::new(Codec::Raw, &b"hello"[..]);
        let car = car_of(&[leaf(&[1]), other.clone(), leaf(&[2])]);
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for item in CarEnvelopes::new(&car[..]).unwrap() {
            match item {
                Ok(envelope) => taken.push(envelope),
                Err(error) => refused.push(error),
            }
        }
        assert_eq!(taken, [envelope(1), envelope(2)]);
        assert!(matches!(&refused[..], [ImportError::Leaf { cid, .. }] if cid == other.cid()));
        assert!(refused[0].goes_on());
    }

    #[test]
    fn a_block_with_other_bytes_than_its_cid_names_is_never_taken() {
        let mut car = car_of(&[leaf(&[1]), leaf(&[2])]);
        let last = car.len() - 1;
        car[last] ^= 1;
        let results: Vec<_> = CarEnvelopes::new(&car[..]).unwrap().collect();
        assert_eq!(results.len(), 2);
        assert!(results[0].is_ok());
        assert!(matches!(results[1], Err(ImportError::Car(_))));
    }
}
