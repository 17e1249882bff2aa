//! The way through a router: ports are forwarded to this node, and it learns by
//! which address others reach it.
//!
//! Always true:
//! - It runs beside the node and never holds it up; a failure is told once, until
//!   something works again.
//! - A port forwarded here is asked for again at half its lease, and given back
//!   when the node ends. A port that was refused is not given back: it may be
//!   another machine's.
//! - No address is told before the ports are forwarded.

pub mod gateway;
pub mod method;
pub mod pmp;
pub mod route;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use gateway::{Gateway, GatewayError};
pub use method::{NatMethod, ParseNatError};

/// For how long a router is asked to forward a port: geth's 20 minutes. After a
/// crash the port is open for that long and no longer.
pub const LEASE: Duration = Duration::from_secs(20 * 60);

/// How long after a failure it is tried again: routers restart.
pub const RETRY: Duration = Duration::from_secs(5 * 60);

/// How long the end waits for a router to take a port back; its lease ends it
/// anyway.
pub const GIVE_BACK: Duration = Duration::from_secs(2);

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RLPx.
    Tcp,
    /// Discovery.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Where routers are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Where UPnP routers hear searches.
    pub ssdp: SocketAddr,
    /// The NAT-PMP router; `None` for the default gateway.
    pub pmp: Option<SocketAddrV4>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            ssdp: SocketAddr::from(([239, 255, 255, 250], 1900)),
            pmp: None,
        }
    }
}

/// What is to be reached from outside, and how.
#[derive(Clone, Debug)]
pub struct NatConfig {
    /// How.
    pub method: NatMethod,
    /// Where the node listens. An unspecified address stands for the one that
    /// the router is reached from.
    pub listen: SocketAddr,
    /// Whether discovery listens there, too.
    pub with_udp: bool,
    /// Where routers are looked for.
    pub places: Places,
    /// For how long ports are asked for.
    pub lease: Duration,
    /// How long after a failure it is tried again.
    pub retry: Duration,
}

impl NatConfig {
    /// The usual places and times.
    pub fn new(method: NatMethod, listen: SocketAddr, with_udp: bool) -> Self {
        Self {
            method,
            listen,
            with_udp,
            places: Places::default(),
            lease: LEASE,
            retry: RETRY,
        }
    }

    fn transports(&self) -> impl Iterator<Item = Transport> + use<> {
        std::iter::once(Transport::Tcp).chain(self.with_udp.then_some(Transport::Udp))
    }
}

/// Keeps the way open until `stopping`, and tells the address outside whenever
/// another becomes known.
pub async fn keep_open(
    config: NatConfig,
    told: watch::Sender<Option<IpAddr>>,
    stopping: CancellationToken,
) {
    match config.method {
        NatMethod::None => return,
        NatMethod::ExternalIp(ip) => {
            tell(&told, ip);
            return;
        }
        NatMethod::Any | NatMethod::Upnp | NatMethod::Pmp(_) => {}
    }
    let mut complained = false;
    while !stopping.is_cancelled() {
        let mut open = None;
        let opened = tokio::select! {
            // What was forwarded half way is given back below.
            () = stopping.cancelled() => Ok(()),
            ended = open_and_renew(&config, &told, &mut open, &mut complained) => ended,
        };
        if let Err(error) = opened {
            if complained {
                tracing::debug!(%error, "no way through the router");
            } else {
                tracing::warn!(%error, "no way through the router: others cannot dial this node");
            }
            complained = true;
        }
        if let Some(open) = open {
            open.give_back(config.listen.port()).await;
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            () = sleep(config.retry) => {}
        }
    }
}

/// A router, and what it may be forwarding.
struct Open {
    gateway: Gateway,
    forwarded: Vec<Transport>,
}

impl Open {
    async fn map(
        &mut self,
        transport: Transport,
        local: SocketAddrV4,
        lease: Duration,
    ) -> Result<(), GatewayError> {
        // Before it is asked: the question may be cut off on its way.
        self.forwarded.retain(|known| *known != transport);
        self.forwarded.push(transport);
        let mapped = self.gateway.map(transport, local, lease).await;
        if mapped.is_err() {
            self.forwarded.pop();
        }
        mapped
    }

    async fn give_back(self, port: u16) {
        let all = async {
            for transport in &self.forwarded {
                self.gateway.unmap(*transport, port).await;
            }
        };
        if timeout(GIVE_BACK, all).await.is_err() {
            tracing::debug!("the router does not take the ports back");
        }
    }
}

/// Finds a router and asks it again and again; ends when something fails. The
/// router is left in `open` once it may be forwarding.
async fn open_and_renew(
    config: &NatConfig,
    told: &watch::Sender<Option<IpAddr>>,
    open: &mut Option<Open>,
    complained: &mut bool,
) -> Result<(), GatewayError> {
    let open = open.insert(Open {
        gateway: find(config).await?,
        forwarded: Vec::new(),
    });
    let local = local_address(config.listen, open.gateway.address()).await?;
    loop {
        for transport in config.transports() {
            open.map(transport, local, config.lease).await?;
        }
        let ip = open.gateway.external_ip().await?;
        *complained = false;
        tell(told, ip);
        sleep(config.lease / 2).await;
    }
}

fn tell(told: &watch::Sender<Option<IpAddr>>, ip: IpAddr) {
    told.send_if_modified(|known| known.replace(ip) != Some(ip));
}

async fn find(config: &NatConfig) -> Result<Gateway, GatewayError> {
    let places = &config.places;
    let named = match config.method {
        NatMethod::Upnp => return Gateway::upnp(places).await,
        NatMethod::Pmp(named) => return Gateway::pmp(places, named).await,
        _ => None,
    };
    // The first that is there; where none is, the reason of UPnP, which more
    // routers have.
    let (upnp, pmp) = (Gateway::upnp(places), Gateway::pmp(places, named));
    tokio::pin!(upnp, pmp);
    tokio::select! {
        found = &mut upnp => match found {
            Ok(gateway) => Ok(gateway),
            Err(why) => pmp.await.map_err(|_| why),
        },
        found = &mut pmp => match found {
            Ok(gateway) => Ok(gateway),
            Err(_) => upnp.await,
        },
    }
}

/// Where the router shall forward to.
async fn local_address(
    listen: SocketAddr,
    gateway: SocketAddr,
) -> Result<SocketAddrV4, GatewayError> {
    if let SocketAddr::V4(listen) = listen
        && !listen.ip().is_unspecified()
    {
        return Ok(listen);
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // Nothing is sent by this: it picks the address the route goes out from.
    socket.connect(gateway).await?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(ip) => Ok(SocketAddrV4::new(ip, listen.port())),
        IpAddr::V6(_) => Err(GatewayError::NoGateway),
    }
}
