//! RLPx, the encrypted link of devp2p.
//!
//! ```text
//! socket -> handshake (ecies, signature) -> frame -> session (hello, disconnect, capability, snappy)
//! ```
//!
//! A node dials or accepts with [`socket::connect`] and [`socket::accept`], and
//! gets a link that carries messages of the shared protocols.
//!
//! Always true:
//! - Only `socket` reads, writes and knows the time; all else is bytes in,
//!   bytes out.
//! - Lengths are judged before memory is taken for them.
//! - No byte of a peer makes this panic; what it breaks decides whether it is
//!   told a reason or the connection just closes, as geth decides it.
//!
//! Source: devp2p `rlpx.md`, EIP-8, EIP-706. Checked against go-ethereum
//! v1.8.27 (vectors) and v1.9.20 (a running `wnode`, dialled and dialling).

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
