//! CARv1, the file that every IPFS tool imports and exports blocks in.
//!
//! ```text
//! varint(header) | dag-cbor {roots: [CID], version: 1}
//! varint(CID + bytes) | CID (36 bytes) | bytes        once for each block
//! ```
//!
//! Always true:
//! - A block that comes out of a [`CarReader`] has been hashed.
//! - Nothing is allocated on the word of a length that was not checked.
//! - Varints and the header are canonical: equal blocks in equal order give
//!   equal bytes, and other bytes are refused.
//!
//! Source: <https://ipld.io/specs/transport/car/carv1/>.

mod read;
mod scan;
mod source;
mod write;

use cid::Cid;
use serde::{Deserialize, Serialize};

pub use self::read::CarReader;
pub use self::scan::Scan;
pub use self::source::CarFile;
pub(super) use self::write::section_prefix;
pub use self::write::{CarWriter, write_car};
use super::{BlockError, MAX_BLOCK_READ, check_cid};

/// Longest header read, in bytes: room for about 1,500 roots, where ours have
/// one.
pub const MAX_HEADER: usize = 64 << 10;

/// Bytes of every CID in our files: version, codec, hash, length, digest.
const CID_LEN: usize = 36;

/// Most bytes before a block's own: the section's length, and its CID.
const MAX_PREFIX: usize = MAX_VARINT + CID_LEN;

/// Most bytes of a varint of 64 bits.
const MAX_VARINT: usize = 10;

/// Bytes from the start of a file to its first section, where the header has
/// one root of [`CID_LEN`] bytes.
pub(super) const ONE_ROOT_HEADER: usize = 59;

/// Why a CAR could not be read. Offsets are bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
pub enum CarError {
    /// The input failed.
    #[error("offset {offset}: {source}")]
    Io {
        /// Where it was being read.
        offset: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// The header is not that of a CARv1.
    #[error("header: {what}")]
    Header {
        /// What is wrong with it.
        what: String,
    },
    /// A CAR, but of another version.
    #[error("CAR version {version} is not supported, only version 1")]
    Version {
        /// The version it claims.
        version: u64,
    },
    /// The file ends within a section.
    #[error("offset {offset}: the file ends within this section")]
    Truncated {
        /// Where the section starts.
        offset: u64,
    },
    /// A section's length is spelled wrongly, or fits no block.
    #[error("offset {offset}: {what}")]
    Section {
        /// Where the section starts.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A section is whole, but what stands in the CID's place is none.
    #[error("offset {offset}: unreadable CID: {source}")]
    Cid {
        /// Where the section starts.
        offset: u64,
        /// Why it is none.
        source: cid::Error,
    },
    /// A section is whole, but what it holds is not a block of ours.
    #[error("offset {offset}: {source}")]
    Block {
        /// Where the section starts.
        offset: u64,
        /// What is wrong with the block.
        source: BlockError,
    },
}

impl CarError {
    /// Whether later sections can still be told apart. Where they cannot, a
    /// reader ends after the error.
    pub fn next_section_is_known(&self) -> bool {
        matches!(self, Self::Block { .. } | Self::Cid { .. })
    }

    /// Where the trouble lies, in bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Header { .. } | Self::Version { .. } => 0,
            Self::Io { offset, .. }
            | Self::Truncated { offset }
            | Self::Section { offset, .. }
            | Self::Cid { offset, .. }
            | Self::Block { offset, .. } => *offset,
        }
    }

    /// The block concerned, where its CID could be read.
    pub fn cid(&self) -> Option<Cid> {
        match self {
            Self::Block { source, .. } => source.cid(),
            _ => None,
        }
    }

    /// Whether the input failed, rather than what it said.
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    // In DAG-CBOR's order of keys.
    roots: Vec<Cid>,
    version: u64,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// The length and header that start a file under `root`.
pub(super) fn one_root_header(root: &Cid) -> Result<[u8; ONE_ROOT_HEADER], BlockError> {
    check_cid(root)?;
    let header = Header {
        roots: vec![*root],
        version: 1,
    };
    let body = serde_ipld_dagcbor::to_vec(&header).expect("a list of CIDs encodes");
    let mut bytes = [0; ONE_ROOT_HEADER];
    bytes[0] = u8::try_from(body.len()).expect("58 bytes");
    bytes[1..].copy_from_slice(&body);
    Ok(bytes)
}

/// The roots a header (without its length) names.
fn parse_header(bytes: &[u8]) -> Result<Vec<Cid>, CarError> {
    let refused = |what: String| CarError::Header { what };
    let header: Header = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| {
        // A CARv2 starts with {version: 2}: say so, rather than "no roots".
        match serde_ipld_dagcbor::from_slice::<Versioned>(bytes) {
            Ok(Versioned { version }) if version != 1 => CarError::Version { version },
            _ => refused(error.to_string()),
        }
    })?;
    if header.version != 1 {
        return Err(CarError::Version {
            version: header.version,
        });
    }
    let again = serde_ipld_dagcbor::to_vec(&header).map_err(|error| refused(error.to_string()))?;
    if again != bytes {
        return Err(refused("not in canonical form".to_owned()));
    }
    Ok(header.roots)
}

/// What precedes a block's bytes.
struct Prefix {
    /// The CID, one of ours, or why it is not: that leaves the lengths valid.
    cid: Result<Cid, CarError>,
    /// Bytes of the prefix itself.
    len: usize,
    /// Bytes of the block, at most [`MAX_BLOCK_READ`].
    body: usize,
}

/// The whole length of the section whose varint `head` starts with, and the
/// bytes of that varint. `offset` is for the error.
fn parse_length(head: &[u8], offset: u64) -> Result<(usize, usize), CarError> {
    use unsigned_varint::decode::Error;
    let wrong = |what: String| CarError::Section { offset, what };
    let (len, rest) = unsigned_varint::decode::u64(head).map_err(|error| match error {
        Error::Insufficient => CarError::Truncated { offset },
        error => wrong(format!("length: {error}")),
    })?;
    let most = CID_LEN + MAX_BLOCK_READ;
    match usize::try_from(len) {
        Ok(len) if len > most => Err(wrong(format!("a section of {len} bytes, above {most}"))),
        Ok(0) => Err(wrong("a section of 0 bytes holds no CID".to_owned())),
        Ok(len) => Ok((len, head.len() - rest.len())),
        Err(_) => Err(wrong(format!("a section of {len} bytes, above {most}"))),
    }
}

/// Reads a prefix; `head` holds at least the varint and the CID, where the
/// file does.
fn parse_prefix(head: &[u8], offset: u64) -> Result<Prefix, CarError> {
    let (section, varint) = parse_length(head, offset)?;
    // Another's may be all of a shorter section.
    let cid_len = section.min(CID_LEN);
    let cid = head
        .get(varint..varint + cid_len)
        .ok_or(CarError::Truncated { offset })?;
    // A CID of ours fills the bytes exactly. Another's may be shorter or
    // longer; it is read only to be named in the refusal.
    let cid = Cid::read_bytes(cid)
        .map_err(|source| CarError::Cid { offset, source })
        .and_then(|cid| match check_cid(&cid) {
            Ok(_) => Ok(cid),
            Err(source) => Err(CarError::Block { offset, source }),
        });
    Ok(Prefix {
        cid,
        len: varint + cid_len,
        body: section - cid_len,
    })
}

#[cfg(test)]
mod tests;
