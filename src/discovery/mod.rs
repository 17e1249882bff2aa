//! Finding other nodes, and being found: devp2p's discovery, version 4.
//!
//! A table of nodes sorted by distance, kept true by asking again and again
//! whether they are there, and looked through by asking them whom they know.
//!
//! Always true:
//! - Nobody is told of nodes before proving to be where its packets come from:
//!   this node cannot be made to flood others.
//! - Only nodes that answered from where they are said to be get into the table
//!   and are told of; what a single network may fill of it is bounded.
//! - Memory, packets in flight and work for strangers are bounded.
//!
//! The topics of Status' own discovery ("temporary discovery v5") are not
//! spoken; nodes found so can be given as peers.

pub mod machine;
pub mod packet;
pub mod relay;
pub mod socket;
pub mod table;

mod bonds;
mod lookup;
mod meter;

pub use machine::{Machine, Moment};
pub use socket::{Discovery, DiscoveryConfig};
