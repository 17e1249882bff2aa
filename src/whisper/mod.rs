//! Whisper v6, protocol `shh/6`: envelopes, their proof of work, encryption,
//! the packets that carry them, and the node that relays them.

pub mod admission;
pub mod bloom;
pub mod confirm;
pub mod dialect;
pub mod envelope;
pub mod keys;
pub mod known;
pub mod message;
pub mod mining;
pub mod node;
pub mod packet;
pub mod peer;
pub mod pool;
pub mod pow;
pub(crate) mod rlp;
pub mod rules;
pub mod service;
pub mod sift;
pub mod status;
pub mod topic;

pub use bloom::Bloom;
pub use envelope::{Envelope, EnvelopeError, EnvelopeHash};
pub use pow::{Pow, Work};
pub use topic::Topic;
