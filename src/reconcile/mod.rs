//! What archivers say to each other: the capability `gwa/1`.
//!
//! A peer may ask what is new since a position, find out by set reconciliation
//! what one side has and the other lacks, and fetch envelopes by their hashes.
//! Everything is asked for: nobody can push an envelope into an archive.
//! Specified in `docs/spec/gwa-protocol.md`.
//!
//! Always true:
//! - `message`, `snapshot`, `compare`, `pull` and `check` are pure; `shelf` reads
//!   the archive, `exchange` talks on the links of a node, `client` on one of its
//!   own.
//! - What a peer sends is stored only if it was asked for, and only after
//!   `check`.
//! - Each answer is bounded, one is made at a time for a peer, and what it costs
//!   is charged to the peer.

pub mod check;
pub mod client;
pub mod compare;
pub mod exchange;
pub mod message;
pub mod pull;
pub mod shelf;
pub mod snapshot;

use crate::rlpx::capability::{Capability, Protocol};

pub use client::{ArchiveClient, ArchiveClientError};
pub use compare::{Compare, CompareError, Difference};
pub use exchange::{Exchange, ExchangeConfig};
pub use message::{Message, Refusal, Status};
pub use pull::{Pull, PullReport};
pub use shelf::Shelf;
pub use snapshot::Snapshot;

/// The capability's name and version in Hello.
pub const CAPABILITY: (&str, u64) = ("gwa", 1);

/// Message codes the capability reserves.
pub const CODES_RESERVED: u64 = 16;

/// The capability as a node offers it beside Whisper.
pub fn protocol() -> Protocol {
    let (name, version) = CAPABILITY;
    Protocol {
        capability: Capability::new(name, version),
        length: CODES_RESERVED,
    }
}
