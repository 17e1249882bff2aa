//! What one peer, and one address, may take of this node.
//!
//! Always true:
//! - Pure: the time is passed in, nothing here touches a socket or a clock.
//! - Whatever is counted for a peer is counted for its address too, so that a
//!   fresh node key from the same address gains nothing.
//! - Memory is bounded by constants, however many peers and addresses come.
//! - Every refusal has a [`Reason`], counted in the [`Ledger`].
//!
//! Elsewhere: who applies this to connections (`whisper::node`).

pub mod address;
pub mod bounded;
pub mod handshakes;
pub mod ledger;
pub mod meter;
pub mod nuisance;
pub mod settings;
pub mod told;
pub mod traffic;

pub use address::Address;
pub use handshakes::Handshakes;
pub use ledger::{DropCount, Dropped, Ledger, Reason};
pub use meter::{Meter, Rate};
pub use nuisance::{Flood, Nuisance};
pub use settings::Limits;
pub use traffic::{Load, Party, Refused, RequestKind, Traffic};
