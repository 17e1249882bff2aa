//! Which block lies where in the CAR files of one folder, for readers that can
//! neither list the folder nor look through its files: those of a web server.
//!
//! ```text
//! "gwa catalogue 1\n"
//! for each file, in ascending order of name:
//!   varint bytes of its name | its name within the folder
//!   varint number of its blocks
//!   for each block, in the order of the file:
//!     first 3 bytes of its digest | varint number of its bytes
//! ```
//!
//! Six bytes for each block: 0.02 % of an archive of 32 KiB leaves. Three bytes of
//! a digest name one of 16 million: among the 20,000 blocks of a million envelopes
//! one look-up in 800 meets a second block, which costs a fetch and nothing else.
//!
//! Always true:
//! - A catalogue is a hint and is believed in nothing: what lies where it says is
//!   hashed, and a block it does not name may be there all the same.
//! - It is a function of the files it lists; equal folders have equal catalogues.

use std::collections::BTreeMap;

use super::car::ONE_ROOT_HEADER;
use super::{Cid, MAX_BLOCK_READ, digest_of};

/// Name of a catalogue in its folder.
pub const FILE: &str = "CATALOGUE";

/// Largest catalogue read, bytes: that of a folder with ten million blocks, which
/// is a year of 500 million envelopes.
pub const MAX_CATALOGUE: usize = 64 << 20;

/// Longest name of a file. Ours have 33 bytes at most, and a number where two
/// have one root.
const MAX_NAME: usize = 64;

const MAGIC: &[u8] = b"gwa catalogue 1\n";

/// Bytes of a CID before each block in a file.
const CID_LEN: u64 = 36;

/// The start of a digest.
pub type Fragment = [u8; 3];

/// What tells a block from most others.
pub fn fragment_of(cid: &Cid) -> Option<Fragment> {
    let digest = digest_of(cid).ok()?;
    Some([digest[0], digest[1], digest[2]])
}

/// A block as a catalogue lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The start of its digest.
    pub fragment: Fragment,
    /// Its length in bytes.
    pub len: u32,
}

/// The files of one folder, by name, each with its blocks in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The files.
    pub files: BTreeMap<String, Vec<Listed>>,
}

/// Why bytes are no catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a catalogue of blocks: {what} at byte {at}")]
pub struct CatalogueError {
    what: &'static str,
    at: usize,
}

/// Where a block of `len` bytes starts, given where its section does.
pub(super) fn body_of(section: u64, len: u32) -> u64 {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    let varint = unsigned_varint::encode::u64(CID_LEN + u64::from(len), &mut buffer);
    section + varint.len() as u64 + CID_LEN
}

/// Where the blocks of a file lie: bytes from its start. The file ends where the
/// last of them does.
pub fn offsets(blocks: &[Listed]) -> impl Iterator<Item = u64> + '_ {
    let mut section = ONE_ROOT_HEADER as u64;
    blocks.iter().map(move |block| {
        let body = body_of(section, block.len);
        section = body + u64::from(block.len);
        body
    })
}

/// How many bytes a file with these blocks has.
pub fn file_len(blocks: &[Listed]) -> u64 {
    let last = offsets(blocks).last().zip(blocks.last());
    last.map_or(ONE_ROOT_HEADER as u64, |(at, block)| {
        at + u64::from(block.len)
    })
}

impl Catalogue {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let mut buffer = unsigned_varint::encode::u64_buffer();
        let mut number = |bytes: &mut Vec<u8>, n: u64| {
            bytes.extend_from_slice(unsigned_varint::encode::u64(n, &mut buffer));
        };
        for (name, blocks) in &self.files {
            number(&mut bytes, name.len() as u64);
            bytes.extend_from_slice(name.as_bytes());
            number(&mut bytes, blocks.len() as u64);
            for block in blocks {
                bytes.extend_from_slice(&block.fragment);
                number(&mut bytes, u64::from(block.len));
            }
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CatalogueError> {
        let mut rest = Rest { bytes, at: 0 };
        if bytes.len() > MAX_CATALOGUE {
            return Err(rest.refused("too long"));
        }
        if rest.take(MAGIC.len())? != MAGIC {
            return Err(CatalogueError {
                what: "another first line",
                at: 0,
            });
        }
        let mut files: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        while rest.at < bytes.len() {
            let len = rest.number(MAX_NAME)?;
            let name = rest.take(len)?;
            // Names become parts of paths and URLs.
            let plain = |c: &u8| c.is_ascii_alphanumeric() || b".-".contains(c);
            if !name.ends_with(b".car") || !name.iter().all(plain) || name.starts_with(b".") {
                return Err(rest.refused("a name that no file of ours has"));
            }
            let name = String::from_utf8_lossy(name).into_owned();
            if files
                .last_key_value()
                .is_some_and(|(last, _)| *last >= name)
            {
                return Err(rest.refused("a name out of order"));
            }
            // Four bytes for each at least: nothing is reserved on a claim.
            let most = (bytes.len() - rest.at) / 4;
            let count = rest.number(most)?;
            let mut blocks = Vec::with_capacity(count);
            for _ in 0..count {
                let fragment = rest.take(3)?;
                let fragment = [fragment[0], fragment[1], fragment[2]];
                let len = u32::try_from(rest.number(MAX_BLOCK_READ)?).unwrap_or(u32::MAX);
                blocks.push(Listed { fragment, len });
            }
            files.insert(name, blocks);
        }
        Ok(Self { files })
    }
}

struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn refused(&self, what: &'static str) -> CatalogueError {
        CatalogueError { what, at: self.at }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CatalogueError> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.refused("it ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    fn number(&mut self, most: usize) -> Result<usize, CatalogueError> {
        let rest = &self.bytes[self.at..];
        let (number, left) =
            unsigned_varint::decode::usize(rest).map_err(|_| self.refused("a bad number"))?;
        if number > most {
            return Err(self.refused("a number too large"));
        }
        self.at += rest.len() - left.len();
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::car::CarWriter;
    use super::super::{Block, Codec};
    use super::*;

    fn listed(block: &Block) -> Listed {
        Listed {
            fragment: fragment_of(block.cid()).unwrap(),
            len: u32::try_from(block.bytes().len()).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn offsets_are_those_of_the_file(lengths in proptest::collection::vec(0usize..40_000, 0..20)) {
            let blocks: Vec<_> = lengths
                .iter()
                .map(|len| Block::new(Codec::Raw, vec![7; *len]))
                .collect();
            let root = Block::new(Codec::Raw, &b"root"[..]);
            let mut car = CarWriter::new(Vec::new(), root.cid()).unwrap();
            let written: Vec<u64> = blocks.iter().map(|block| car.put(block).unwrap()).collect();
            let list: Vec<_> = blocks.iter().map(listed).collect();
            prop_assert_eq!(offsets(&list).collect::<Vec<_>>(), written);
            prop_assert_eq!(file_len(&list), car.finish().unwrap().len() as u64);
        }

        #[test]
        fn a_catalogue_reads_as_it_was_written(
            files in proptest::collection::btree_map(
                "[a-z0-9]{1,9}\\.car",
                proptest::collection::vec((any::<Fragment>(), 0u32..2 << 20), 0..9),
                0..5,
            ),
        ) {
            let files = files.into_iter().map(|(name, blocks)| {
                let blocks = blocks.into_iter().map(|(fragment, len)| Listed { fragment, len });
                (name, blocks.collect())
            });
            let catalogue = Catalogue { files: files.collect() };
            let bytes = catalogue.encode();
            prop_assert_eq!(Catalogue::decode(&bytes), Ok(catalogue));
            for end in 0..bytes.len() {
                if let Ok(short) = Catalogue::decode(&bytes[..end]) {
                    prop_assert_eq!(short.encode(), &bytes[..end]);
                }
            }
        }

        #[test]
        fn what_is_read_is_written_alike(tail in proptest::collection::vec(any::<u8>(), 0..60)) {
            let bytes = [MAGIC, &tail].concat();
            if let Ok(catalogue) = Catalogue::decode(&bytes) {
                prop_assert_eq!(catalogue.encode(), bytes);
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "../x.car", "/x.car", "a/b.car", ".car", "x.txt", "a b.car", "x%2f.car",
        ] {
            let files = BTreeMap::from([(name.to_owned(), Vec::new())]);
            let bytes = Catalogue { files }.encode();
            assert!(Catalogue::decode(&bytes).is_err(), "{name}");
        }
    }
}
