//! Content-addressed blocks, and the places that keep them.
//!
//! Always true:
//! - A [`Block`] in hand has been hashed: its bytes are those its CID names.
//! - Every CID is CIDv1 with sha2-256, codec `raw` or `dag-cbor`.
//! - Blocks are written in files (groups); a file is visible to readers, whole
//!   and durable, once its writer has committed, and not at all before.

pub mod car;
pub mod catalogue;
pub mod dag;
mod folder;
pub mod links;
mod memory;
mod names;
#[cfg(test)]
mod suite;

use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;
pub use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

pub use self::folder::catalogues;
pub use self::folder::{CarFolder, Checked, Finding, Place};
pub use self::memory::MemoryStore;
pub use self::names::group_of;

/// Largest block this program writes: 1 MiB. Every IPFS implementation
/// transfers blocks of this size; the bitswap specification promises no more
/// than 2 MiB.
pub const MAX_BLOCK_WRITTEN: usize = 1 << 20;

/// Largest block this program reads, whoever wrote it: 2 MiB, the bound of the
/// bitswap specification. Longer bytes are refused before they are hashed.
pub const MAX_BLOCK_READ: usize = 2 << 20;

/// Multicodec of sha2-256.
const SHA2_256: u64 = 0x12;

/// How a block's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Opaque bytes (multicodec `0x55`): leaves of envelopes.
    Raw,
    /// DAG-CBOR (multicodec `0x71`): every node with links.
    DagCbor,
}

impl Codec {
    /// The multicodec number.
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
        }
    }

    /// The codec a CID names; `None` where it is neither of ours.
    pub fn of(cid: &Cid) -> Option<Self> {
        match cid.codec() {
            0x55 => Some(Self::Raw),
            0x71 => Some(Self::DagCbor),
            _ => None,
        }
    }
}

/// Bytes and the CID they hash to.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Bytes,
}

impl Block {
    /// Hashes `bytes` into a block.
    pub fn new(codec: Codec, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        Self {
            cid: cid_from_digest(codec, digest),
            bytes,
        }
    }

    /// Accepts `bytes` as the block `cid` names, or says why not. This is the
    /// only way in for bytes from a disk or a stranger.
    pub fn verify(cid: &Cid, bytes: impl Into<Bytes>) -> Result<Self, BlockError> {
        let bytes = bytes.into();
        let codec = check_cid(cid)?;
        if bytes.len() > MAX_BLOCK_READ {
            return Err(BlockError::TooLarge {
                cid: *cid,
                len: bytes.len(),
            });
        }
        let block = Self::new(codec, bytes);
        if block.cid != *cid {
            return Err(BlockError::WrongBytes {
                cid: *cid,
                actual: block.cid,
            });
        }
        Ok(block)
    }

    /// The block's CID.
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The block's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The block's bytes, by value.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}, {} bytes)", self.cid, self.bytes.len())
    }
}

/// The CID of a sha2-256 digest.
pub fn cid_from_digest(codec: Codec, digest: [u8; 32]) -> Cid {
    let multihash =
        Multihash::wrap(SHA2_256, &digest).expect("a 64-byte multihash holds a 32-byte digest");
    Cid::new_v1(codec.code(), multihash)
}

/// The sha2-256 digest inside one of our CIDs.
pub fn digest_of(cid: &Cid) -> Result<[u8; 32], BlockError> {
    check_cid(cid)?;
    cid.hash()
        .digest()
        .try_into()
        .map_err(|_| BlockError::ForeignCid { cid: *cid })
}

/// Refuses a CID that is not CIDv1, sha2-256, raw or dag-cbor; gives its codec.
pub fn check_cid(cid: &Cid) -> Result<Codec, BlockError> {
    let foreign = BlockError::ForeignCid { cid: *cid };
    if cid.version() != cid::Version::V1 || cid.hash().code() != SHA2_256 || cid.hash().size() != 32
    {
        return Err(foreign);
    }
    Codec::of(cid).ok_or(foreign)
}

/// Refuses a block that no reader would accept. Above [`MAX_BLOCK_WRITTEN`] it
/// is still kept: a mirror stores what others wrote.
fn check_writable(block: &Block) -> Result<(), BlockError> {
    let len = block.bytes().len();
    if len > MAX_BLOCK_READ {
        return Err(BlockError::TooLarge {
            cid: *block.cid(),
            len,
        });
    }
    Ok(())
}

/// Why a block could not be had, or kept.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Nobody asked holds the block.
    #[error("block {cid} is missing")]
    Missing {
        /// The block asked for.
        cid: Cid,
    },
    /// The bytes are not those the CID names.
    #[error("block {cid}: bytes hash to {actual}")]
    WrongBytes {
        /// The block asked for.
        cid: Cid,
        /// What the bytes are.
        actual: Cid,
    },
    /// More bytes than any block may have.
    #[error("block {cid} has {len} bytes, above the limit of {MAX_BLOCK_READ}")]
    TooLarge {
        /// The block asked for.
        cid: Cid,
        /// Its length in bytes.
        len: usize,
    },
    /// A CID this format never uses (other version, hash or codec).
    #[error("{cid} is not a CIDv1 with sha2-256 and codec raw or dag-cbor")]
    ForeignCid {
        /// The CID.
        cid: Cid,
    },
    /// The bytes are right, and yet no node of a DAG that anybody should walk.
    #[error("block {cid} is no node of a DAG: {what}")]
    NotADag {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        what: String,
    },
    /// Others were asked, and none gave the block.
    #[error("block {cid} could not be had: {}", refusals(.by))]
    Unavailable {
        /// The block asked for.
        cid: Cid,
        /// Who was asked, and what came of it.
        by: Vec<Refusal>,
    },
    /// A file of blocks is damaged.
    #[error("{path}: {what}")]
    Corrupt {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// Another process writes to this store.
    #[error("{path} is in use by another process")]
    Locked {
        /// The store.
        path: std::path::PathBuf,
    },
    /// The store was opened for reading alone.
    #[error("{path} was opened read-only")]
    ReadOnly {
        /// The store.
        path: std::path::PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// One who was asked for a block and did not give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The source, as its user named it.
    pub source: String,
    /// What came of it.
    pub fault: Fault,
}

/// Why a source gave no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It says that it does not hold it.
    #[error("does not have it")]
    Absent,
    /// What it gave is provably not what was asked for.
    #[error("lied: {0}")]
    Lied(String),
    /// It could not be reached, or broke off.
    #[error("failed: {0}")]
    Failed(String),
}

fn refusals(by: &[Refusal]) -> String {
    let one = |refusal: &Refusal| format!("{} {}", refusal.source, refusal.fault);
    match by {
        [] => "there is no source to ask".to_owned(),
        by => by.iter().map(one).collect::<Vec<_>>().join("; "),
    }
}

impl BlockError {
    /// There is no file of blocks named `name`.
    fn no_file(name: &str) -> Self {
        Self::Io {
            path: name.into(),
            source: std::io::ErrorKind::NotFound.into(),
        }
    }

    /// The block concerned, where it is one block.
    pub fn cid(&self) -> Option<Cid> {
        match self {
            Self::Missing { cid }
            | Self::WrongBytes { cid, .. }
            | Self::TooLarge { cid, .. }
            | Self::NotADag { cid, .. }
            | Self::Unavailable { cid, .. }
            | Self::ForeignCid { cid } => Some(*cid),
            Self::Corrupt { .. }
            | Self::Locked { .. }
            | Self::ReadOnly { .. }
            | Self::Io { .. } => None,
        }
    }

    /// Whether the block is merely absent: another source may have it.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            Self::Unavailable { by, .. } => by.iter().all(|refusal| refusal.fault == Fault::Absent),
            _ => false,
        }
    }

    /// Whether the bytes found were damaged or forged.
    pub fn is_corrupt(&self) -> bool {
        match self {
            Self::WrongBytes { .. }
            | Self::TooLarge { .. }
            | Self::NotADag { .. }
            | Self::Corrupt { .. } => true,
            Self::Unavailable { by, .. } => by
                .iter()
                .any(|refusal| matches!(refusal.fault, Fault::Lied(_))),
            _ => false,
        }
    }
}

/// Anything that yields blocks by CID.
pub trait BlockSource: Send + Sync {
    /// The block `cid` names, hashed and found right.
    fn get(&self, cid: &Cid) -> Result<Block, BlockError>;

    /// Whether the block is held; its bytes are not looked at.
    fn has(&self, cid: &Cid) -> Result<bool, BlockError>;

    /// Gives `take` each of the blocks `cids` names, which all differ, until one
    /// cannot be had or `take` breaks off. A source for which a block takes a
    /// journey fetches many at a time and gives them in any order; memory holds
    /// what is under way, not all that was asked for.
    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        for cid in cids {
            if take(self.get(cid)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Gives `take` every block of the DAG below `root`, `root` first, each once
    /// and after a block that links to it, until one cannot be had or `take`
    /// breaks off. Links are those of dag-cbor; a raw block has none. Where `skip`
    /// says yes, a block is neither fetched nor walked: neither is what only it
    /// leads to. Bounds and memory: [`dag`].
    fn get_dag(
        &self,
        root: &Cid,
        skip: &dyn Fn(&Cid) -> bool,
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        dag::walk_on(self, &mut dag::DagWalk::new(root, skip)?, take)
    }
}

/// What [`BlockSource::has`] is where knowing costs as much as getting.
pub fn has_by_getting(source: &dyn BlockSource, cid: &Cid) -> Result<bool, BlockError> {
    match source.get(cid) {
        Ok(_) => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A source behind a pointer is the source.
macro_rules! source_behind {
    ($($pointer:ty),*) => {$(
        impl<S: BlockSource + ?Sized> BlockSource for $pointer {
            fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
                (**self).get(cid)
            }

            fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
                (**self).has(cid)
            }

            fn get_each(
                &self,
                cids: &[Cid],
                take: &mut dyn FnMut(Block) -> ControlFlow<()>,
            ) -> Result<(), BlockError> {
                (**self).get_each(cids, take)
            }

            fn get_dag(
                &self,
                root: &Cid,
                skip: &dyn Fn(&Cid) -> bool,
                take: &mut dyn FnMut(Block) -> ControlFlow<()>,
            ) -> Result<(), BlockError> {
                (**self).get_dag(root, skip, take)
            }
        }
    )*};
}

source_behind!(&S, Box<S>, std::sync::Arc<S>);

/// What a file of blocks holds; files of one group may share blocks, files of
/// different groups never rely on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The segment of one UTC day (days since 1970-01-01).
    Day(u32),
    /// The segment of one UTC hour (hours since 1970-01-01T00).
    Hour(u32),
    /// The delta of the head with this sequence number.
    Delta(u64),
    /// Nodes of the calendar: state, years, months, open days, topic indexes.
    Calendar,
}

/// What a writer may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Blocks that a committed file of the same group holds.
    SameGroup,
    /// Nothing: the new file stands alone.
    Nothing,
}

/// One committed file of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFile {
    /// Its name within the store, stable for its life.
    pub name: String,
    /// What it holds.
    pub group: Group,
    /// Number of blocks.
    pub blocks: u64,
    /// Size in bytes, framing included.
    pub bytes: u64,
    /// When it was committed, by the store's clock.
    pub written: crate::time::UnixSeconds,
}

/// A place that keeps blocks.
pub trait BlockStore: BlockSource {
    /// Starts a file. Dropping the writer abandons it without a trace.
    fn begin(&self, group: Group, reuse: Reuse) -> Result<Box<dyn BlockWriter + '_>, BlockError>;

    /// Every committed file, in order of name.
    fn files(&self) -> Result<Vec<BlockFile>, BlockError>;

    /// The CIDs in one file, in file order.
    fn cids(&self, name: &str) -> Result<Vec<Cid>, BlockError>;

    /// Deletes one file; blocks that other files hold stay readable.
    fn remove(&self, name: &str) -> Result<(), BlockError>;

    /// Whether the file under this root, and all that it leads to, is kept for the
    /// store in another place: nobody need fetch it again.
    fn keeps_elsewhere(&self, root: &Cid) -> bool {
        let _ = root;
        false
    }
}

/// A file of blocks being written.
pub trait BlockWriter: BlockSource {
    /// Adds a block; false where it was left out because it is already held
    /// (by this file, or by what [`Reuse`] allows). Reads through the writer
    /// ([`BlockSource`]) see it, and the store's committed blocks, at once.
    fn put(&mut self, block: &Block) -> Result<bool, BlockError>;

    /// Whether [`Self::put`] would leave the block out.
    fn leaves_out(&self, cid: &Cid) -> Result<bool, BlockError>;

    /// Makes the file durable, then visible; gives what it holds. `root` heads
    /// the file (the root of its CAR header). A file without blocks is
    /// dropped, and `None` returned.
    fn commit(self: Box<Self>, root: &Cid) -> Result<Option<BlockFile>, BlockError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_block_has_the_cid_every_ipfs_tool_gives() {
        // `ipfs block put --cid-codec raw` of "hello world".
        assert_eq!(
            Block::new(Codec::Raw, &b"hello world"[..])
                .cid()
                .to_string(),
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
        );
    }

    #[test]
    fn bytes_that_are_not_the_cids_are_refused() {
        let block = Block::new(Codec::Raw, &b"a"[..]);
        assert!(Block::verify(block.cid(), &b"a"[..]).is_ok());
        assert!(
            Block::verify(block.cid(), &b"b"[..])
                .unwrap_err()
                .is_corrupt()
        );
    }

    #[test]
    fn foreign_cids_and_oversized_bytes_are_refused() {
        let v0 = Cid::new_v0(*Block::new(Codec::Raw, &b"a"[..]).cid().hash()).unwrap();
        assert!(matches!(
            Block::verify(&v0, &b"a"[..]),
            Err(BlockError::ForeignCid { .. })
        ));
        let large = vec![0; MAX_BLOCK_READ + 1];
        let cid = *Block::new(Codec::Raw, large.clone()).cid();
        assert!(matches!(
            Block::verify(&cid, large),
            Err(BlockError::TooLarge { .. })
        ));
    }
}
