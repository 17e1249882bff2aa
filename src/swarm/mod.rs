//! An archive on Ethereum Swarm: what its files, its folders and its newest head are
//! called there, to the byte.
//!
//! Swarm names bytes by a hash of its own, so that an IPFS tool cannot ask
//! it for a CID. [Documents](Index) lead from the one to the other: the newest
//! update of a [feed](Update) holds the head and names the [folders](Folder), a
//! folder names its CAR files and says which block lies where in them.
//! `docs/spec/swarm.md` has the formats, with vectors.
//!
//! Always true:
//! - Nothing here asks anybody: bytes come in, and are what their name says or are
//!   refused.
//! - What a document says of blocks is a hint, as any catalogue: blocks are hashed
//!   against their CIDs, whatever led to them.

mod address;
mod chunk;
mod error;
mod feed;
mod folder;
mod index;

pub use self::address::{SwarmAddress, SwarmAddressError, SwarmPlace};
pub use self::chunk::{CHUNK, Hasher, Reference, address_of, reference_of};
pub use self::error::SwarmError;
pub use self::feed::{Owner, Update, identifier, single_owner_address, topic};
pub use self::folder::{FileAt, Folder, MAX_FILES, MAX_FOLDER_DOCUMENT};
pub use self::index::{FolderAt, Folders, Index, MAX_FOLDERS, decode_list, encode_list};
