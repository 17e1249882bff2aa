//! RLPx, the encrypted link of devp2p: handshakes, frames, the base protocol.

pub mod capability;
pub mod disconnect;
pub mod ecies;
pub mod enode;
pub mod frame;
pub mod handshake;
pub mod hello;
pub mod identity;
pub mod random;
pub mod session;
pub mod signature;
pub mod snappy;
pub mod socket;

pub use capability::{Capability, Protocol, SharedProtocol};
pub use disconnect::{DisconnectReason, PeerReason};
pub use enode::{Enode, EnodeError};
pub use hello::{Hello, HelloError};
pub use identity::{KeyError, NodeId, NodeKey};
pub use session::{LocalNode, Message, RemotePeer, SessionError};
