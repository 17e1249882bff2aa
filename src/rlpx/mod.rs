//! RLPx, the encrypted link of devp2p: handshakes, frames, the base protocol.
