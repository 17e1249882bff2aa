//! What a swarm is made of: its transport, its limits, what is spoken on it.

use std::time::Duration;

use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Swarm, SwarmBuilder, connection_limits, identify, noise, tcp};

use super::bitswap::behaviour as bitswap;
use super::doors::Doors;
use super::muxer::{STREAMS, Yamux};
use super::node::{NodeConfig, NodeError};
use super::ping::Pings;
use super::walker::Walker;

/// Connections that others may open: some dozens of peers fetch at a time, and each
/// costs up to 32 MiB of what it sends and nobody has read yet.
const MAX_INCOMING: u32 = 32;

/// Handshakes under way that others began.
const MAX_PENDING_INCOMING: u32 = 16;

/// Connections to one peer: both sides may dial at once, and a new one may come
/// before the old one is known to be gone.
const MAX_OF_PEER: u32 = 4;

/// Connections that this node opens: a walk through a DHT has some twenty at a time.
const MAX_OUTGOING: u32 = 64;

/// How long a connection is kept on which nothing is done.
const IDLE: Duration = Duration::from_secs(60);

/// What others are told this program is.
const AGENT: &str = concat!("gwa/", env!("CARGO_PKG_VERSION"));

/// The protocol family that `identify` tells.
const FAMILY: &str = "ipfs/0.1.0";

/// All that is spoken.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    doors: Doors,
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: Pings,
    pub(super) bitswap: bitswap::Behaviour,
    pub(super) kad: Toggle<Walker>,
}

/// A swarm that does nothing yet.
pub(super) fn swarm(config: &NodeConfig) -> Result<Swarm<Behaviour>, NodeError> {
    let failed = |what: String| NodeError::Network(what);
    let caps = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING_INCOMING))
        .with_max_established_incoming(Some(MAX_INCOMING))
        .with_max_established_outgoing(Some(MAX_OUTGOING))
        .with_max_established_per_peer(Some(MAX_OF_PEER));
    let id = config.key.public().to_peer_id();
    let kad = config.dht.as_ref().map(|dht| Walker::new(dht, id));
    let doors = Doors::new(&config.limits);
    let swarm = SwarmBuilder::with_existing_identity(config.key.clone())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            || Yamux,
        )
        .map_err(|error| failed(error.to_string()))?
        .with_dns()
        .map_err(|error| failed(error.to_string()))?
        .with_behaviour(|key| Behaviour {
            doors,
            limits: connection_limits::Behaviour::new(caps),
            identify: identify::Behaviour::new(
                identify::Config::new(FAMILY.to_owned(), key.public())
                    .with_agent_version(AGENT.to_owned())
                    // Where a peer says that it is, nobody is dialled.
                    .with_cache_size(0),
            ),
            ping: Pings::default(),
            bitswap: bitswap::Behaviour::default(),
            kad: kad.into(),
        })
        .map_err(|error| failed(error.to_string()))?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(IDLE)
                .with_max_negotiating_inbound_streams(STREAMS)
        })
        .build();
    Ok(swarm)
}
