//! Why an archive's tree could not be read.

use super::cbor::CborError;
use super::leaf::LeafError;
use crate::blocks::{BlockError, Cid};

/// Why a node of an archive could not be had or is not what it should be. Every
/// kind names the block.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The block is missing or its bytes are wrong.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The block is no leaf.
    #[error("block {cid}: {source}")]
    Leaf {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        source: LeafError,
    },
    /// The block is no node of the kind its link says.
    #[error("block {cid}: {source}")]
    Node {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        source: CborError,
    },
    /// The block is sound in itself, but not what its parent says of it: other
    /// sums, keys or level.
    #[error("block {cid} is not what the block that links to it says")]
    NotAsLinked {
        /// The block.
        cid: Cid,
    },
    /// A tree holds the right records in a shape that is not the canonical one.
    #[error("block {cid} is not the canonical tree of its envelopes: {canonical} is")]
    NotCanonical {
        /// Root found.
        cid: Cid,
        /// Root that the records make.
        canonical: Cid,
    },
    /// An envelope was to be sealed by a watermark that does not cover it.
    #[error("envelope {} was sent at {}, which is not before the watermark {watermark}", .key.hash, .key.sent)]
    NotCovered {
        /// The envelope.
        key: super::key::Key,
        /// Up to when was to be sealed.
        watermark: super::watermark::Watermark,
    },
    /// A record waiting to be sealed could not be read back.
    #[error("cannot read an envelope that waits to be sealed")]
    Pending(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A head whose signature or fields do not hold.
    #[error("head {cid}: {source}")]
    Head {
        /// The head.
        cid: Cid,
        /// What is wrong with it.
        source: super::head::HeadError,
    },
}

impl ArchiveError {
    /// Whether a block is merely absent: another source may have it.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Block(error) if error.is_missing())
    }

    /// Whether a block cannot be had now: it is missing, or damaged, or whoever was
    /// asked for it did not give it. It may be had another time.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Block(error) => {
                error.is_missing()
                    || error.is_corrupt()
                    || matches!(error, BlockError::Unavailable { .. })
            }
            _ => false,
        }
    }

    /// Whether what was read is damaged or forged, rather than absent or
    /// unreadable.
    pub fn is_forged(&self) -> bool {
        match self {
            Self::Block(error) => {
                error.is_corrupt() || matches!(error, BlockError::ForeignCid { .. })
            }
            _ => true,
        }
    }

    /// The block at fault, where one is.
    pub fn cid(&self) -> Option<&Cid> {
        match self {
            Self::Block(
                BlockError::Missing { cid }
                | BlockError::WrongBytes { cid, .. }
                | BlockError::TooLarge { cid, .. }
                | BlockError::NotADag { cid, .. }
                | BlockError::Unavailable { cid, .. }
                | BlockError::ForeignCid { cid },
            )
            | Self::Leaf { cid, .. }
            | Self::Node { cid, .. }
            | Self::NotAsLinked { cid }
            | Self::NotCanonical { cid, .. }
            | Self::Head { cid, .. } => Some(cid),
            Self::Block(_) | Self::NotCovered { .. } | Self::Pending(_) => None,
        }
    }
}
