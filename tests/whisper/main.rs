//! Walks the vectors that geth and status-go produced: envelopes, blooms,
//! messages, packets and recorded sessions. Each list is checked field by
//! field, and none may be empty.

#![allow(
    clippy::unwrap_used,
    reason = "a vector that does not read fails the test"
)]

mod bloom;
mod captures;
mod envelopes;
mod fixture;
mod mail;
mod messages;
mod packets;
mod peers;
mod replay;
mod sync;
