//! One CAR file as a source of blocks.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{CarError, Scan};
use crate::blocks::{Block, BlockError, BlockSource, Cid};

/// The blocks of a CAR file, read where they lie.
///
/// Memory: about 100 bytes for each block, none of its bytes.
#[derive(Debug)]
pub struct CarFile {
    path: PathBuf,
    file: File,
    roots: Vec<Cid>,
    places: HashMap<Cid, (u64, u32)>,
}

impl CarFile {
    /// Opens the file at `path` and notes where its blocks lie. A file that is
    /// torn, or has a section that is no block of ours, is refused.
    pub fn open(path: &Path) -> Result<Self, BlockError> {
        let io = |source| BlockError::Io {
            path: path.to_owned(),
            source,
        };
        let refused = |error: CarError| match error {
            CarError::Io { source, .. } => io(source),
            other => BlockError::Corrupt {
                path: path.to_owned(),
                what: other.to_string(),
            },
        };
        let file = File::open(path).map_err(io)?;
        let mut scan = Scan::new(&file).map_err(refused)?;
        let roots = scan.roots().to_vec();
        let places = scan
            .by_ref()
            .map(|entry| entry.map(|entry| (entry.cid, (entry.offset, entry.len))))
            .collect::<Result<_, _>>()
            .map_err(refused)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            roots,
            places,
        })
    }

    /// The roots the header names; they need not be among the blocks.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }
}

impl BlockSource for CarFile {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let Some((offset, len)) = self.places.get(cid) else {
            return Err(BlockError::Missing { cid: *cid });
        };
        let mut bytes = vec![0; *len as usize];
        self.file
            .read_exact_at(&mut bytes, *offset)
            .map_err(|source| BlockError::Io {
                path: self.path.clone(),
                source,
            })?;
        Block::verify(cid, bytes)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.places.contains_key(cid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Codec;
    use crate::blocks::car::CarWriter;

    fn car(blocks: &[Block]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = CarWriter::new(&mut bytes, blocks[0].cid()).unwrap();
        for block in blocks {
            writer.put(block).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn opened(bytes: &[u8]) -> Result<CarFile, BlockError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.car");
        std::fs::write(&path, bytes).unwrap();
        // The file stays readable through its handle when the folder goes.
        CarFile::open(&path)
    }

    fn two() -> [Block; 2] {
        [
            Block::new(Codec::Raw, &b"one"[..]),
            Block::new(Codec::Raw, &b"two"[..]),
        ]
    }

    #[test]
    fn every_block_of_the_file_is_found_and_no_other() {
        let blocks = two();
        let file = opened(&car(&blocks)).unwrap();
        assert_eq!(file.roots(), [*blocks[0].cid()]);
        for block in &blocks {
            assert_eq!(&file.get(block.cid()).unwrap(), block);
            assert!(file.has(block.cid()).unwrap());
        }
        let other = Block::new(Codec::Raw, &b"three"[..]);
        assert!(file.get(other.cid()).unwrap_err().is_missing());
    }

    #[test]
    fn bytes_that_are_not_the_cids_are_refused_when_read() {
        let blocks = two();
        let mut bytes = car(&blocks);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let file = opened(&bytes).unwrap();
        assert!(file.get(blocks[0].cid()).is_ok());
        assert!(file.get(blocks[1].cid()).unwrap_err().is_corrupt());
    }

    #[test]
    fn a_torn_file_is_refused() {
        let bytes = car(&two());
        assert!(matches!(
            opened(&bytes[..bytes.len() - 1]),
            Err(BlockError::Corrupt { .. })
        ));
    }
}
