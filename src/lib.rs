//! Global Whisper Archive: a Whisper v6 mailserver whose history is public,
//! verifiable and ownerless.
//!
//! The modules read as a journey:
//!
//! ```text
//! rlpx -> whisper -> mailserver -> journal -> archive (segment, state, head) -> blocks
//!                    ^ query <- index <-----------+
//! ```
//!
//! Always true of the whole crate:
//! - Formats, canonical trees and protocol states are pure: no socket, no disk,
//!   no clock. Those live in thin shells around them.
//! - Bytes from outside are parsed once, strictly: what decodes re-encodes to
//!   the same bytes, or it is refused.

pub mod api;
pub mod archive;
pub mod blocks;
pub mod cli;
pub mod config;
pub mod depot;
pub mod discovery;
pub mod durable;
pub mod export;
#[doc(hidden)]
pub mod fuzzing;
pub mod import;
pub mod index;
pub mod journal;
pub mod keccak;
pub mod kubo;
pub mod limits;
pub mod mailserver;
pub mod metrics;
pub mod nat;
pub mod node;
pub mod p2p;
pub mod progress;
pub mod publish;
pub mod reading;
pub mod reconcile;
pub mod rlpx;
pub mod sources;
pub mod swarm;
pub mod time;
pub mod tls;
pub mod warnings;
pub mod whisper;
