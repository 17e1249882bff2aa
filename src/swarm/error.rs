//! Why bytes from Swarm are refused.

use super::Reference;
use crate::archive::head::HeadError;
use crate::blocks::catalogue::CatalogueError;

/// Why bytes from Swarm are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwarmError {
    /// The bytes have another reference than the one they came for.
    #[error("bytes that were asked for as {asked} are {actual}")]
    WrongBytes {
        /// What was asked for.
        asked: Reference,
        /// What came.
        actual: Reference,
    },
    /// An update of a feed is not signed by its owner.
    #[error("update {index} of the feed is not signed by its owner")]
    Signature {
        /// The number of the update.
        index: u64,
    },
    /// A payload or a document of another length than it can have.
    #[error("{what} of {len} bytes")]
    Length {
        /// What it should be.
        what: &'static str,
        /// How long it is.
        len: usize,
    },
    /// Not the one encoding of a document.
    #[error("not {what}: {why}")]
    Document {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A document of another version.
    #[error("version {0} of a document; this program knows version 1")]
    Version(u16),
    /// More files than a folder's document names.
    #[error("a folder of {0} files, above the limit of {max}", max = super::MAX_FILES)]
    TooManyFiles(usize),
    /// The head is none.
    #[error("the head in it: {0}")]
    Head(#[from] HeadError),
    /// What lies where is not told as it should be.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}
