//! The ports of a node.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::discovery::{Discovery, DiscoveryConfig};
use crate::mailserver::BoxFuture;
use crate::rlpx::NodeKey;
use crate::time::Clock;
use crate::whisper::node::StartError;

/// How often another free TCP port is tried whose UDP neighbour is taken.
const PORT_TRIES: usize = 10;

/// Where a node can be reached: its TCP port, and the UDP port beside it.
pub(super) struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) discovery: Option<(Discovery, BoxFuture<'static, ()>)>,
}

impl Bound {
    /// Binds `address`; with discovery, both ports have one number.
    pub(super) async fn bind(
        address: SocketAddr,
        discovery: Option<DiscoveryConfig>,
        key: &NodeKey,
        clock: &Arc<dyn Clock>,
        stopping: &CancellationToken,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError { address, source };
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            let mut result = Self {
                listener,
                address: bound,
                discovery: None,
            };
            let Some(config) = discovery.clone() else {
                return Ok(result);
            };
            let (clock, stopping) = (Arc::clone(clock), stopping.clone());
            match Discovery::start(config, key, bound, clock, stopping).await {
                Ok((discovery, running)) => {
                    result.discovery = Some((discovery, Box::pin(running)));
                    return Ok(result);
                }
                Err(error) if tries == 0 => return Err(failed(error)),
                Err(_) => {}
            }
        }
    }
}
