//! Whisper v6, protocol `shh/6`: envelopes, their proof of work, encryption,
//! the packets that carry them, and the node that relays them.

pub mod envelope;
pub mod topic;

pub use envelope::{Envelope, EnvelopeError, EnvelopeHash};
pub use topic::Topic;
