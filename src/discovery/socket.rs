//! Discovery on a UDP socket.
//!
//! Always true: the task ends with the node. A datagram that cannot be sent is
//! lost, as it might have been on its way.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::discovery::machine::{Datagram, Machine, Moment};
use crate::discovery::packet::{Endpoint, MAX_PACKET};
use crate::rlpx::random::random_bytes;
use crate::rlpx::{Enode, NodeKey};
use crate::time::Clock;

/// How often the machine looks at what is due.
const TICK: Duration = Duration::from_millis(100);

/// How discovery is set up.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryConfig {
    /// Nodes known from the start.
    pub bootnodes: Vec<Enode>,
}

/// Discovery, running.
#[derive(Clone, Debug)]
pub struct Discovery(Arc<Mutex<Machine>>);

impl Discovery {
    /// Binds the UDP port beside the TCP port of `address`, and gives the task
    /// that discovers until `stopping`.
    pub async fn start(
        config: DiscoveryConfig,
        key: &NodeKey,
        address: SocketAddr,
        clock: Arc<dyn Clock>,
        stopping: CancellationToken,
    ) -> std::io::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let socket = UdpSocket::bind(address).await?;
        let endpoint = Endpoint {
            ip: Some(address.ip()),
            udp: address.port(),
            tcp: address.port(),
        };
        let machine = Machine::new(*key.secret(), endpoint, &config.bootnodes, random_bytes());
        let discovery = Self(Arc::new(Mutex::new(machine)));
        let running = run(discovery.clone(), socket, clock, stopping);
        Ok((discovery, running))
    }

    /// Up to `count` nodes that may be dialled, by chance.
    pub fn candidates(&self, count: usize) -> Vec<Enode> {
        self.machine().candidates(count)
    }

    /// How many nodes are known.
    pub fn known(&self) -> usize {
        self.machine().known()
    }

    /// The address others reach this node by has become known.
    pub fn set_ip(&self, ip: IpAddr) {
        self.machine().set_ip(ip);
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(
    discovery: Discovery,
    socket: UdpSocket,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) {
    let start = Instant::now();
    let moment = || Moment {
        since_start: start.elapsed(),
        unix: clock.now(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // One more, to tell a datagram that is too large.
    let mut buffer = [0; MAX_PACKET + 1];
    loop {
        let datagrams = tokio::select! {
            () = stopping.cancelled() => return,
            _ = tick.tick() => discovery.machine().tick(moment()),
            received = socket.recv_from(&mut buffer) => match received {
                Ok((len, from)) => {
                    discovery.machine().receive(from, &buffer[..len], moment())
                }
                // That an earlier datagram arrived nowhere.
                Err(error) => {
                    tracing::trace!(%error, "discovery");
                    continue;
                }
            },
        };
        send(&socket, datagrams).await;
    }
}

async fn send(socket: &UdpSocket, datagrams: Vec<Datagram>) {
    for (to, datagram) in datagrams {
        if let Err(error) = socket.send_to(&datagram, to).await {
            tracing::trace!(%to, %error, "discovery");
        }
    }
}
