//! Places away from this disk that keep an archive's blocks: an IPFS node, a
//! bucket of objects.
//!
//! Always true:
//! - What [`Depot::keep`] and [`Depot::keep_head`] returned from is durable there,
//!   and stays until it is released: no collector of garbage takes it.
//! - A head is kept after all that it reaches. Whoever reads the newest one there
//!   finds its whole live history.
//! - A depot may be away, slow or full at any moment. Files wait on this disk
//!   until it has them, so that nothing depends on it but how soon others see what
//!   was sealed.
//! - It is a source like any other, and not trusted: what comes back is hashed.
//!   It holds the archive's own blocks alone, so that asking it fetches nothing for
//!   strangers.

pub mod address;
mod bring;
pub mod carrier;
pub mod claims;
mod dropped;
mod folder;
pub mod kubo;
pub mod lease;
pub mod objects;
mod open;
pub mod plan;
pub mod registry;
mod status;
mod swarm;
#[doc(hidden)]
pub mod testing;
pub mod writer;

use std::path::Path;

pub use self::address::{StoreAddress, StoreAddressError};
pub use self::carrier::{Carried, Carrier, CarryError};
pub use self::folder::FolderDepot;
pub use self::kubo::KuboDepot;
pub use self::open::{DepotSettings, open};
pub use self::plan::{DEFAULT_KEEP, Keep};
pub use self::status::CarrierStatus;
pub(crate) use self::status::WITHOUT_NAMES;
pub use self::swarm::SwarmDepot;

use crate::archive::head::{Head, Sequence};
use crate::archive::watermark::Day;
use crate::blocks::{BlockFile, BlockSource, Cid};

/// A file of blocks that goes to a depot, as it lies on this disk.
#[derive(Clone, Debug)]
pub struct Parcel<'a> {
    /// What it holds; its name is the one that it is kept and released under.
    pub file: &'a BlockFile,
    /// The root in the header of the CAR.
    pub root: Cid,
    /// Where the CAR lies.
    pub car: &'a Path,
}

/// A file of blocks that a depot keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// Its name.
    pub name: String,
    /// Its bytes; `None` where the place does not tell them without being asked for each
    /// file. There a name is taken for what it names.
    pub bytes: Option<u64>,
}

/// A place away from this disk that keeps files of blocks and heads.
///
/// Calls wait for the network: asynchronous code makes them in `spawn_blocking`.
/// Each ends within the depot's own limits of time.
pub trait Depot: BlockSource {
    /// The place, as its user named it, without passwords.
    fn name(&self) -> &str;

    /// Keeps every block of a file. Keeping what is kept already changes nothing.
    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError>;

    /// All files that are kept, in any order, each name once.
    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError>;

    /// Their names.
    fn kept(&self) -> Result<Vec<String>, DepotError> {
        let files = self.kept_files()?.into_iter();
        Ok(files.map(|file| file.name).collect())
    }

    /// Lets a file go; blocks that others hold stay. Nothing happens where it is
    /// not kept.
    fn release(&self, name: &str) -> Result<(), DepotError>;

    /// Keeps a head, and makes it the newest where it is: `before` is the one that
    /// was the newest by all that the caller knows. All files that it reaches are
    /// kept already. Of the one that is the newest: whoever reads finds what was kept
    /// since it was.
    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError>;

    /// Keeps heads before the newest, which is kept already: whoever follows the
    /// archive walks them. Of what they reach nothing need be there. A depot to which
    /// a small block costs as much as a file may leave them out.
    fn keep_lineage(&self, heads: &[Head]) -> Result<(), DepotError> {
        let _ = heads;
        Ok(())
    }

    /// The newest head that is kept; `None` where none is.
    fn newest_head(&self) -> Result<Option<Head>, DepotError>;

    /// Whether heads before the newest were found to be gone since this was asked last:
    /// all of them are brought again then.
    fn lost_lineage(&self) -> bool {
        false
    }

    /// Says that the owner dropped the days before this one: they are not lost. A day
    /// before the one that was said last changes nothing. A depot may have no place for it.
    fn say_dropped(&self, before: Day) -> Result<(), DepotError> {
        let _ = before;
        Ok(())
    }

    /// The first day that the owner keeps there; `None` where nothing was said.
    fn dropped_before(&self) -> Result<Option<Day>, DepotError> {
        Ok(None)
    }

    /// Its entries that are written on a condition; `None` where the place knows no
    /// such writing.
    fn registry(&self) -> Option<&dyn registry::Registry> {
        None
    }
}

/// Why a depot did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// It could not be reached, broke off, or took too long: worth another try.
    #[error("{depot}: {what}")]
    Away {
        /// The depot.
        depot: String,
        /// What happened.
        what: String,
    },
    /// It has no room: worth another try once there is.
    #[error("{depot} is full: {what}")]
    Full {
        /// The depot.
        depot: String,
        /// What it said.
        what: String,
    },
    /// It does not do what it was asked for, whoever asks again: a wrong password,
    /// a bucket that is not there, another program at the address.
    #[error("{depot} refuses: {what}")]
    Refused {
        /// The depot.
        depot: String,
        /// What it said.
        what: String,
    },
    /// It lacks something that was kept there before, or that a head reaches: the
    /// files are to be carried there again.
    #[error("{depot} has lost {what}")]
    Lost {
        /// The depot.
        depot: String,
        /// What is missing.
        what: String,
    },
    /// Another writer was there: the newest head is not the one that was expected.
    #[error("{depot} holds head {} already, of another writer", .newest.0)]
    Overtaken {
        /// The depot.
        depot: String,
        /// The number of the newest head there.
        newest: Sequence,
    },
    /// This disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl DepotError {
    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Full { .. })
    }
}
