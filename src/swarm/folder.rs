//! The document of a folder: its CAR files, and which block lies where in them.
//!
//! ```text
//! length of the CBOR (4 bytes, big endian) | DAG-CBOR | catalogue
//! {"v": 1, "path": path, "files": [{"name", "root", "ref", "bytes"}, ..]}
//! ```
//!
//! The catalogue is that of a public folder ([`crate::blocks::catalogue`]).
//!
//! Always true: a document has one encoding, and its catalogue lists the files that
//! it names, with as many bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::index::{VERSION, is_path, refused};
use super::{Reference, SwarmError};
use crate::archive::cbor;
use crate::blocks::catalogue::{Catalogue, Listed, MAX_CATALOGUE, file_len};
use crate::blocks::{Cid, MAX_BLOCK_READ, check_cid};

/// Files of a folder at most: a year has 366 days, and the CBOR has bounds.
pub const MAX_FILES: usize = 4_096;

/// Longest document of a folder, bytes: its files, and the longest catalogue.
pub const MAX_FOLDER_DOCUMENT: usize = MAX_CATALOGUE + MAX_BLOCK_READ;

const WHAT: &str = "a folder of an archive";

/// The files of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path below the blocks of the archive, such as `days/2018`.
    pub path: String,
    /// The files, by their name in it.
    pub files: BTreeMap<String, FileAt>,
}

/// Where a file is, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAt {
    /// The bytes of the CAR.
    pub reference: Reference,
    /// The root in its header.
    pub root: Cid,
    /// Its blocks, in order.
    pub blocks: Vec<Listed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderCbor {
    v: u16,
    path: String,
    files: Vec<FileCbor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCbor {
    name: String,
    root: ByteBuf,
    #[serde(rename = "ref")]
    reference: ByteArray<32>,
    bytes: u64,
}

impl Folder {
    /// A folder without files.
    pub fn empty(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            files: BTreeMap::new(),
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Result<Vec<u8>, SwarmError> {
        if self.files.len() > MAX_FILES {
            return Err(SwarmError::TooManyFiles(self.files.len()));
        }
        let files = self.files.iter().map(|(name, file)| FileCbor {
            name: name.clone(),
            root: ByteBuf::from(file.root.to_bytes()),
            reference: ByteArray::new(file.reference.0),
            bytes: file_len(&file.blocks),
        });
        let document = cbor::encode(&FolderCbor {
            v: VERSION,
            path: self.path.clone(),
            files: files.collect(),
        })
        .into_bytes();
        let listed = |(name, file): (&String, &FileAt)| (name.clone(), file.blocks.clone());
        let catalogue = Catalogue {
            files: self.files.iter().map(listed).collect(),
        }
        .encode();
        if catalogue.len() > MAX_CATALOGUE {
            return Err(SwarmError::Length {
                what: "a catalogue above the limit",
                len: catalogue.len(),
            });
        }
        let len = u32::try_from(document.len()).map_err(|_| SwarmError::Length {
            what: WHAT,
            len: document.len(),
        })?;
        Ok([&len.to_be_bytes()[..], &document, &catalogue].concat())
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, SwarmError> {
        if bytes.len() > MAX_FOLDER_DOCUMENT {
            return Err(SwarmError::Length {
                what: WHAT,
                len: bytes.len(),
            });
        }
        let early = || refused(WHAT, "it ends too early");
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(early)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| early())?;
        let (document, catalogue) = rest.split_at_checked(len).ok_or_else(early)?;
        let FolderCbor { v, path, files } =
            cbor::decode(document).map_err(|error| refused(WHAT, error.to_string()))?;
        if v != VERSION {
            return Err(SwarmError::Version(v));
        }
        if !is_path(&path) {
            return Err(refused(WHAT, "a path that no folder has"));
        }
        if files.len() > MAX_FILES {
            return Err(SwarmError::TooManyFiles(files.len()));
        }
        let catalogue = Catalogue::decode(catalogue)?;
        if catalogue.files.len() != files.len() {
            return Err(refused(WHAT, "its catalogue has other files"));
        }
        let mut folder = Self::empty(path);
        // Both are in ascending order of name, each name once: the catalogue by its
        // own rule, the files because their names are the same.
        for (file, (name, blocks)) in files.into_iter().zip(catalogue.files) {
            if file.name != name || file.bytes != file_len(&blocks) {
                return Err(refused(WHAT, "its catalogue has other files"));
            }
            let root =
                Cid::try_from(&file.root[..]).map_err(|error| refused(WHAT, error.to_string()))?;
            check_cid(&root).map_err(|error| refused(WHAT, error.to_string()))?;
            if file.root != root.to_bytes() {
                return Err(refused(WHAT, "a root that is written otherwise"));
            }
            let at = FileAt {
                reference: Reference(file.reference.into_array()),
                root,
                blocks,
            };
            folder.files.insert(name, at);
        }
        Ok(folder)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use secp256k1::SecretKey;

    use super::*;
    use crate::archive::head::{Head, HeadBody, Sequence};
    use crate::archive::sums::Sums;
    use crate::archive::watermark::Watermark;
    use crate::blocks::{Block, Codec};
    use crate::time::UnixSeconds;

    /// Any head.
    pub(in crate::swarm) fn head() -> Head {
        let body = HeadBody {
            network: "whisper".to_owned(),
            name: "test".to_owned(),
            sequence: Sequence(1),
            watermark: Watermark::at_or_before(UnixSeconds(1_538_092_800)),
            signed_at: UnixSeconds(1_538_092_801),
            state: None,
            open: Vec::new(),
            added: None,
            totals: Sums::default(),
            prev: None,
            skip: None,
            merged: Vec::new(),
        };
        let secret = SecretKey::from_secret_bytes([5; 32]).unwrap();
        Head::sign(body, &secret).unwrap()
    }

    fn any_folder() -> impl Strategy<Value = Folder> {
        let blocks = proptest::collection::vec((any::<[u8; 3]>(), 0u32..2 << 20), 0..6);
        let file = (any::<[u8; 32]>(), any::<[u8; 8]>(), blocks).prop_map(|(at, root, blocks)| {
            let listed = |(fragment, len)| Listed { fragment, len };
            FileAt {
                reference: Reference(at),
                root: *Block::new(Codec::Raw, root.to_vec()).cid(),
                blocks: blocks.into_iter().map(listed).collect(),
            }
        });
        let files = proptest::collection::btree_map("[a-z0-9]{1,9}\\.car", file, 0..5);
        ("[a-z]{1,5}(/[0-9]{4})?", files).prop_map(|(path, files)| Folder { path, files })
    }

    proptest! {
        #[test]
        fn a_folder_reads_as_it_was_written(folder in any_folder()) {
            let bytes = folder.encode().unwrap();
            prop_assert_eq!(Folder::decode(&bytes), Ok(folder));
            for end in 0..bytes.len() {
                if let Ok(read) = Folder::decode(&bytes[..end]) {
                    prop_assert_eq!(read.encode().unwrap(), &bytes[..end]);
                }
            }
        }

        #[test]
        fn changed_bytes_are_another_folder_or_none(
            folder in any_folder(),
            at in any::<proptest::sample::Index>(),
            to in any::<u8>(),
        ) {
            let mut bytes = folder.encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(read) = Folder::decode(&bytes) {
                prop_assert_eq!(read.encode().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn more_files_than_a_folder_may_have_are_refused() {
        let root = *Block::new(Codec::Raw, vec![1]).cid();
        let file = |n: usize| {
            let at = FileAt {
                reference: Reference([0; 32]),
                root,
                blocks: Vec::new(),
            };
            (format!("{n:06}.car"), at)
        };
        let with = |count: usize| Folder {
            path: "hours".to_owned(),
            files: (0..count).map(file).collect(),
        };
        let most = with(MAX_FILES);
        assert_eq!(Folder::decode(&most.encode().unwrap()), Ok(most));
        assert_eq!(
            with(MAX_FILES + 1).encode(),
            Err(SwarmError::TooManyFiles(MAX_FILES + 1))
        );
    }
}
