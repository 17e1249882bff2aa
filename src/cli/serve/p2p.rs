//! Flags of the libp2p peer.

use clap::Args;

use crate::config::{DEFAULT_P2P_LISTEN, P2pListen, P2pPartial};
use crate::p2p::{DhtMode, PeerAddress, PublicAddress};

/// Flags of the libp2p peer. Each may stand in `gwa.toml` too.
#[derive(Debug, Args)]
pub struct P2pArgs {
    /// Give the archive's blocks to IPFS nodes, over libp2p at this address, or `off`;
    /// port 0 picks one [default: off; without an address: /ip4/127.0.0.1/tcp/4011].
    #[arg(long, env = "GWA_P2P", value_name = "ADDR", num_args = 0..=1, default_missing_value = DEFAULT_P2P_LISTEN)]
    p2p: Option<P2pListen>,
    /// A node of a DHT, /ip4/../tcp/../p2p/.., by which heads, states and the roots of
    /// buckets are announced there; may be given more than once.
    #[arg(
        long = "p2p-bootstrap",
        env = "GWA_P2P_BOOTSTRAP",
        value_name = "PEER",
        value_delimiter = ','
    )]
    bootstrap: Vec<PeerAddress>,
    /// Whether the peer answers for the DHT too: client or server [default: client].
    #[arg(long = "p2p-dht", env = "GWA_P2P_DHT", value_name = "MODE")]
    dht: Option<DhtMode>,
    /// Where others dial the peer, /ip4/../tcp/.., where they reach it at another address
    /// than it listens at; it is announced too. May be given more than once.
    #[arg(
        long = "p2p-public",
        env = "GWA_P2P_PUBLIC",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    public: Vec<PublicAddress>,
}

impl P2pArgs {
    /// What was said, and what was left open.
    pub fn partial(&self) -> P2pPartial {
        P2pPartial {
            listen: self.p2p.clone(),
            bootstrap: (!self.bootstrap.is_empty()).then(|| self.bootstrap.clone()),
            dht: self.dht,
            public: (!self.public.is_empty()).then(|| self.public.clone()),
        }
    }
}
