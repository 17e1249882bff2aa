//! A peer of its own: blocks to and from other IPFS nodes over libp2p.
//!
//! Always true:
//! - What is given is what the archive holds and no denylist names. Nothing is
//!   fetched for whoever asks.
//! - What comes is hashed before anything else is done with it, and who sends
//!   something else is dropped.
//! - Connections, streams, messages, wants and rates are bounded, for each peer and
//!   each address, and all together.
//!
//! `bitswap` says what is said, and is pure but for its streams; [`Node`] runs a
//! swarm and gives blocks; [`P2pSource`] asks another peer for them, [`DhtSource`]
//! whomever a DHT names.

pub mod address;
mod afar;
pub mod bitswap;
mod book;
mod budget;
mod dht;
pub mod doors;
mod finder;
pub mod key;
mod muxer;
mod node;
mod outbox;
mod peer;
mod ping;
mod session;
mod source;
mod swarm;
mod walker;

pub use self::address::{PeerAddress, PeerAddressError, PublicAddress, PublicAddressError};
pub use self::afar::Afar;
pub use self::dht::{DhtConfig, DhtMode, DhtStanding};
pub use self::finder::DhtSource;
pub use self::node::{Counters, Node, NodeConfig, NodeError};
pub use self::source::{Client, P2pSource};
