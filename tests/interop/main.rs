//! The mailserver beside real peers: geth's `wnode`, a node of Status's Whisper
//! library, murmur and web3.js; and the databases of their mailservers. The archive
//! beside IPFS nodes, Kubo; beside Bee, the node of Swarm; and in a bucket that
//! versitygw keeps. Its figures before Prometheus' checker. What the documentation shows
//! beside those nodes.
//!
//! Environment variables name what `.ci/run` builds and installs. This suite is
//! built with the feature `interop` alone, and fails where a peer is absent: it
//! never passes by not running.

#![allow(clippy::unwrap_used, reason = "what does not work fails the test")]

mod bee;
mod cluster;
mod discovery;
mod docs;
mod geth;
mod kubo;
mod kubo_client;
mod kubo_daemon;
mod kubo_depot;
mod kubo_history;
mod kubo_killed;
mod kubo_losses;
mod kubo_names;
mod murmur;
mod objects;
mod p2p;
mod postgres;
mod promtool;
mod running;
mod scene;
mod status;
mod statusd;
mod swarm;
mod versitygw;
mod web3;

/// The time.
fn unix_now() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u32::try_from(now.unwrap().as_secs()).unwrap()
}
