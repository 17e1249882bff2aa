//! Names whose owner can point them at another head: IPNS.
//!
//! A record says what a name stands for, and is signed by the key that the name is
//! made of (<https://specs.ipfs.tech/ipns/ipns-record/>). Ours carry the head itself
//! in fields of our own; `docs/spec/ipns.md` has them.
//!
//! Always true:
//! - A [`Record`] was read from at most [`MAX_RECORD`] bytes, and its V2 signature is
//!   that of the key its name stands for, whoever gave it.
//! - Whether it has expired depends on the time that is handed in; nothing here has a
//!   clock. Everything but [`folder`] is pure.
//! - What a record says of a head, [`Told`], agrees with the path that it is signed
//!   for, and the head's own signature holds.

pub mod folder;
mod key;
mod name;
mod path;
pub mod record;
#[cfg(test)]
mod tests;
mod told;

pub use folder::{KeyName, NameFolder, NameFolderError, Wish};
pub use key::{IpnsKey, KeyError};
pub use name::{Name, NameError};
pub use path::{ContentPath, MAX_NAMES, NameRef, PathError};
pub use record::{Draft, MAX_RECORD, Record, RecordError, ValidUntil};
pub use told::{FROM_FIELD, HEAD_FIELD, Told, ToldError};
