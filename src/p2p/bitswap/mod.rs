//! Bitswap: which blocks are wanted, and which are given
//! (<https://specs.ipfs.tech/bitswap-protocol/>).
//!
//! Always true:
//! - [`message`], [`ledger`] and [`wants`] are pure: no socket, no clock.
//! - Each message is bounded before it is read, and what it holds before it is
//!   decoded.
//! - What the other side says of a block is never believed: the CID is computed
//!   from the bytes.

pub mod behaviour;
pub mod frame;
pub mod ledger;
pub mod message;
pub mod wants;

use libp2p::StreamProtocol;

/// Bytes of a message, at most: what other implementations send and read.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Bytes of a message from somebody who was asked for nothing, at most. Wants are
/// all that it may hold: [`MAX_ITEMS`] of them, and room to spare.
pub const MAX_WANTS_MESSAGE: usize = 1 << 20;

/// Wants, blocks and presences of one message, at most. Kubo keeps 1,024 wants of a
/// peer, and drops the rest.
pub const MAX_ITEMS: usize = 16 << 10;

/// What two sides can have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/ipfs/bitswap/1.2.0`: wants of blocks or of word about them, and answers
    /// that say what is not held.
    V1_2,
    /// `/ipfs/bitswap/1.1.0`: blocks with the prefix of their CID.
    V1_1,
    /// `/ipfs/bitswap/1.0.0`: blocks alone.
    V1_0,
}

impl Dialect {
    /// The best one first.
    pub const ALL: [Self; 3] = [Self::V1_2, Self::V1_1, Self::V1_0];

    /// The name that two sides agree by.
    pub const fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::V1_2 => "/ipfs/bitswap/1.2.0",
            Self::V1_1 => "/ipfs/bitswap/1.1.0",
            Self::V1_0 => "/ipfs/bitswap/1.0.0",
        })
    }
}
