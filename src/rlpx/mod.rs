//! RLPx, the encrypted link of devp2p: handshakes, frames, the base protocol.

pub mod ecies;
pub mod random;
