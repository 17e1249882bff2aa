//! The document that a feed's update is: the newest head, and where its folders are
//! described.
//!
//! ```text
//! length of the CBOR (2 bytes, big endian) | DAG-CBOR | zeros up to 4,096 bytes
//! {"v": 1, "head": bytes of the head's block,
//!  "folders": [[path, reference, bytes], ..]}     where that fits, else
//!  "list": [reference, bytes]}                    of the DAG-CBOR of that list
//! ```
//!
//! Always true: a document has one encoding, and a head in it is signed.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{CHUNK, MAX_FOLDER_DOCUMENT, Reference, SwarmError};
use crate::archive::cbor;
use crate::archive::head::Head;
use crate::blocks::{Block, Codec};

/// Version of all documents.
pub(super) const VERSION: u16 = 1;

/// Folders of an archive at most: one for each of the 137 years that 32 bits of
/// seconds name, and a few more. Each costs its readers a request.
pub const MAX_FOLDERS: usize = 160;

/// Longest path of a folder, bytes. Ours have 11 at most.
const MAX_PATH: usize = 64;

/// Longest list of folders, bytes: each has a path, a reference and a number.
const MAX_LIST: u64 = (MAX_FOLDERS * (MAX_PATH + 64)) as u64;

const WHAT: &str = "an index of an archive";
const WHAT_LIST: &str = "a list of folders of an archive";

/// The newest head, and where its folders are described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The head; its signature was checked.
    pub head: Head,
    /// The folders.
    pub folders: Folders,
}

/// The folders of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folders {
    /// All of them, in ascending order of path.
    Here(Vec<FolderAt>),
    /// Where they are listed.
    Elsewhere {
        /// The list.
        reference: Reference,
        /// Its length in bytes.
        bytes: u64,
    },
}

/// Where a folder is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderAt {
    /// Its path below the blocks of the archive, such as `days/2018`.
    pub path: String,
    /// Its document.
    pub reference: Reference,
    /// The length of that, bytes.
    pub bytes: u64,
}

type FolderCbor = (String, ByteArray<32>, u64);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexCbor {
    v: u16,
    head: ByteBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folders: Option<Vec<FolderCbor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<(ByteArray<32>, u64)>,
}

impl Index {
    /// Its bytes, a whole chunk; `None` where the folders do not fit into it and
    /// have to be listed elsewhere.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (folders, list) = match &self.folders {
            Folders::Here(folders) => (Some(folders.iter().map(to_cbor).collect()), None),
            Folders::Elsewhere { reference, bytes } => {
                (None, Some((ByteArray::new(reference.0), *bytes)))
            }
        };
        let document = cbor::encode(&IndexCbor {
            v: VERSION,
            head: ByteBuf::from(self.head.block().bytes().to_vec()),
            folders,
            list,
        })
        .into_bytes();
        if document.len() > CHUNK - 2 {
            return None;
        }
        let len = u16::try_from(document.len()).expect("a chunk has fewer than 65,536 bytes");
        let mut bytes = Vec::with_capacity(CHUNK);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&document);
        bytes.resize(CHUNK, 0);
        Some(bytes)
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, SwarmError> {
        if bytes.len() != CHUNK {
            return Err(SwarmError::Length {
                what: WHAT,
                len: bytes.len(),
            });
        }
        let (len, rest) = bytes.split_at(2);
        let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
        let (document, padding) = rest
            .split_at_checked(len)
            .ok_or_else(|| refused(WHAT, "it ends too early"))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(refused(WHAT, "something stands behind it"));
        }
        let IndexCbor {
            v,
            head,
            folders,
            list,
        } = cbor::decode(document).map_err(|error| refused(WHAT, error.to_string()))?;
        if v != VERSION {
            return Err(SwarmError::Version(v));
        }
        let head = Head::decode(Block::new(Codec::DagCbor, head.into_vec()))?;
        let folders = match (folders, list) {
            (Some(folders), None) => Folders::Here(from_cbor(folders)?),
            (None, Some((reference, bytes))) if bytes <= MAX_LIST => Folders::Elsewhere {
                reference: Reference(reference.into_array()),
                bytes,
            },
            _ => return Err(refused(WHAT, "it names no folders")),
        };
        Ok(Self { head, folders })
    }
}

/// The bytes of a list of folders that does not fit into an index.
pub fn encode_list(folders: &[FolderAt]) -> Vec<u8> {
    let folders: Vec<_> = folders.iter().map(to_cbor).collect();
    cbor::encode(&folders).into_bytes().to_vec()
}

/// Reads what [`encode_list`] wrote, and nothing else.
pub fn decode_list(bytes: &[u8]) -> Result<Vec<FolderAt>, SwarmError> {
    from_cbor(cbor::decode(bytes).map_err(|error| refused(WHAT_LIST, error.to_string()))?)
}

fn to_cbor(folder: &FolderAt) -> FolderCbor {
    let reference = ByteArray::new(folder.reference.0);
    (folder.path.clone(), reference, folder.bytes)
}

fn from_cbor(folders: Vec<FolderCbor>) -> Result<Vec<FolderAt>, SwarmError> {
    if folders.len() > MAX_FOLDERS {
        return Err(refused(WHAT_LIST, "it has too many folders"));
    }
    if !folders.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return Err(refused(WHAT_LIST, "its folders are out of order"));
    }
    let folders = folders.into_iter().map(|(path, reference, bytes)| {
        if !is_path(&path) {
            return Err(refused(WHAT_LIST, "a folder that no archive has"));
        }
        if bytes > MAX_FOLDER_DOCUMENT as u64 {
            return Err(refused(
                WHAT_LIST,
                "a folder is described at too great length",
            ));
        }
        Ok(FolderAt {
            path,
            reference: Reference(reference.into_array()),
            bytes,
        })
    });
    folders.collect()
}

/// Whether a folder of an archive may have this path.
pub(super) fn is_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_name = |name: &str| !name.is_empty() && name.chars().all(plain);
    path.len() <= MAX_PATH && path.split('/').count() <= 2 && path.split('/').all(is_name)
}

pub(super) fn refused(what: &'static str, why: impl Into<String>) -> SwarmError {
    SwarmError::Document {
        what,
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::folder::tests::head;
    use super::*;

    fn folders(count: usize) -> Vec<FolderAt> {
        let folder = |n: usize| FolderAt {
            path: format!("days/{:04}", 1_970 + n),
            reference: Reference([u8::try_from(n).unwrap(); 32]),
            bytes: n as u64 * 1_000,
        };
        (0..count).map(folder).collect()
    }

    #[test]
    fn an_index_is_a_chunk_and_reads_as_it_was_written() {
        for folders in [
            Folders::Here(Vec::new()),
            Folders::Here(folders(50)),
            Folders::Elsewhere {
                reference: Reference([3; 32]),
                bytes: 7,
            },
        ] {
            let index = Index {
                head: head(),
                folders,
            };
            let bytes = index.encode().unwrap();
            assert_eq!(bytes.len(), CHUNK);
            assert_eq!(Index::decode(&bytes), Ok(index));
        }
    }

    #[test]
    fn the_folders_of_every_year_fit_into_a_list() {
        let folders = folders(MAX_FOLDERS);
        let index = Index {
            head: head(),
            folders: Folders::Here(folders.clone()),
        };
        assert_eq!(index.encode(), None);
        let bytes = encode_list(&folders);
        assert!(bytes.len() as u64 <= MAX_LIST);
        assert_eq!(decode_list(&bytes), Ok(folders));
    }

    #[test]
    fn lists_that_no_archive_has_are_refused() {
        let with = |change: &dyn Fn(&mut Vec<FolderAt>)| {
            let mut folders = folders(3);
            change(&mut folders);
            decode_list(&encode_list(&folders))
        };
        assert!(with(&|_| {}).is_ok());
        assert!(with(&|folders| folders.swap(0, 1)).is_err());
        assert!(with(&|folders| folders[1] = folders[0].clone()).is_err());
        assert!(with(&|folders| folders[0].bytes = u64::MAX).is_err());
        for path in ["", "..", "a/b/c", "/days", "days/", "a b", &"x".repeat(65)] {
            assert!(
                with(&|folders| folders[0].path = path.to_owned()).is_err(),
                "{path}"
            );
        }
        assert!(decode_list(&encode_list(&self::folders(MAX_FOLDERS + 1))).is_err());
    }

    proptest! {
        #[test]
        fn bytes_that_were_changed_are_another_index_or_none(at in 0..CHUNK, to in any::<u8>()) {
            let index = Index { head: head(), folders: Folders::Here(folders(4)) };
            let bytes = index.encode().unwrap();
            let mut changed = bytes.clone();
            changed[at] = to;
            if let Ok(read) = Index::decode(&changed) {
                prop_assert_eq!(read.encode(), Some(changed));
            }
        }
    }
}
