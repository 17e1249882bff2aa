//! Places that yield blocks by CID and are never trusted.
//!
//! Always true:
//! - A block that comes out was hashed, and is the one that was asked for.
//! - What a source did wrong is remembered under its name: whoever lies is not
//!   asked again, and errors say who did what.
//! - Time and memory stay within named limits, whatever a source sends.
//!
//! All of it stands behind [`BlockSource`](crate::blocks::BlockSource), so that
//! queries, mirrors and checks need not know where blocks come from.

mod account;
mod address;
mod cache;
mod gateway;
mod head;
mod http;
mod kubo;
mod local;
pub mod names;
pub mod net;
mod pool;
mod reference;
mod remote;
pub mod seen;
mod site;

pub use self::account::{Account, Balance, Lie};
pub use self::address::{SourceAddress, SourceAddressError, base_url};
pub use self::cache::{BlockCache, CACHE_BYTES};
pub use self::head::{NoHead, head_of_tag, head_tag};
pub use self::http::HttpSource;
pub use self::kubo::KuboSource;
pub use self::local::open_folder;
pub use self::pool::Pool;
pub use self::reference::{Reference, ReferenceError};
pub use self::remote::{Fetching, Remote, Stopped, Streamed, Wanted};
