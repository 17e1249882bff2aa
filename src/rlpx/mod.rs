//! RLPx, the encrypted link of devp2p: handshakes, frames, the base protocol.

pub mod ecies;
pub mod enode;
pub mod frame;
pub mod handshake;
pub mod identity;
pub mod random;
pub mod signature;
pub mod snappy;

pub use enode::{Enode, EnodeError};
pub use identity::{KeyError, NodeId, NodeKey};
