//! By which address others reach the daemon.
//!
//! Always true: an address that was given is known from the start; one that a
//! router tells comes later, and the daemon does not wait for it.

use std::net::{IpAddr, SocketAddr};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::nat::{NatConfig, NatMethod, keep_open};

/// The way through a router, kept open in the background.
#[derive(Debug)]
pub struct Reach {
    told: watch::Receiver<Option<IpAddr>>,
    stopping: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Reach {
    /// Starts to open it to where the node listens, to its UDP port too if it
    /// is found by discovery.
    pub fn start(method: NatMethod, listen: SocketAddr, discovery: bool) -> Self {
        let (tell, told) = watch::channel(None);
        let stopping = CancellationToken::new();
        let task = match method {
            NatMethod::None => None,
            NatMethod::ExternalIp(ip) => {
                tell.send_replace(Some(ip));
                None
            }
            _ if listen.ip().is_loopback() => {
                tracing::warn!(
                    %listen,
                    "no router can forward to a loopback address; `--listen 0.0.0.0:30303` \
                     listens to others"
                );
                None
            }
            _ => {
                let config = NatConfig::new(method, listen, discovery);
                Some(tokio::spawn(keep_open(config, tell, stopping.clone())))
            }
        };
        Self {
            told,
            stopping,
            task,
        }
    }

    /// The address outside, if it is known.
    pub fn known(&mut self) -> Option<IpAddr> {
        *self.told.borrow_and_update()
    }

    /// Resolves when another address becomes known; never if none will.
    pub async fn changed(&mut self) -> IpAddr {
        while self.told.changed().await.is_ok() {
            if let Some(ip) = self.known() {
                return ip;
            }
        }
        std::future::pending().await
    }

    /// Gives the ports back.
    pub async fn end(mut self) {
        self.stopping.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: keeping the way through the router panicked");
        }
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
