//! A router that forwards ports, over UPnP or NAT-PMP.
//!
//! Always true:
//! - Every question has a deadline.
//! - A port that was opened under another number than asked for is closed again:
//!   the enode URL has one port, and discovery tells others that one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::nat::pmp::{self, PmpError};
use crate::nat::{Places, Transport, route};

/// How long a NAT-PMP router is waited for: four attempts, twice as long each
/// time, 3.75 s in all. The RFC would go on for a minute, for a router that is
/// silent because it does not speak it.
const PMP_WAITS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// How long UPnP routers may take to be found and to describe themselves.
const UPNP_SEARCH: Duration = Duration::from_secs(5);

/// What routers show of us in their lists.
const DESCRIPTION: &str = "gwa";

/// Why a router is of no use.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// UPnP finds none.
    #[error("no UPnP router: {0}")]
    Search(#[from] igd_next::SearchError),
    /// There is no default route.
    #[error("there is no default gateway to ask by NAT-PMP")]
    NoGateway,
    /// The socket failed.
    #[error("the router cannot be reached: {0}")]
    Socket(#[from] std::io::Error),
    /// It said nothing.
    #[error("the router does not answer NAT-PMP")]
    Silent,
    /// It refused, or is not understood.
    #[error(transparent)]
    Pmp(#[from] PmpError),
    /// It tells no address.
    #[error("the router does not tell its address: {0}")]
    Address(#[from] igd_next::GetExternalIpError),
    /// It does not forward the port.
    #[error("the router does not forward {transport} port {port}: {source}")]
    Map {
        /// Of which transport.
        transport: Transport,
        /// Which port.
        port: u16,
        /// What it said.
        source: AddPortError,
    },
    /// It would forward another.
    #[error("the router forwards {transport} port {given} instead of {port}")]
    OtherPort {
        /// Of which transport.
        transport: Transport,
        /// The port wanted.
        port: u16,
        /// The port given.
        given: u16,
    },
    /// It is behind another router.
    #[error("the router's own address, {0}, is not public: it is behind another router")]
    NotPublic(IpAddr),
}

/// A router that was found.
#[derive(Debug)]
pub enum Gateway {
    /// Over UPnP.
    Upnp(Box<igd_next::aio::Gateway<Tokio>>),
    /// Over NAT-PMP, at this address.
    Pmp(SocketAddrV4),
}

impl Gateway {
    /// Finds one by UPnP.
    pub async fn upnp(places: &Places) -> Result<Self, GatewayError> {
        let mut options = SearchOptions::default();
        options.broadcast_address = places.ssdp;
        if places.ssdp.ip().is_loopback() {
            // Asked for by name; from anywhere else, nobody may point at this
            // machine's own servers.
            options.allowed_gateway_ips = vec![places.ssdp.ip()];
        }
        options.timeout = Some(UPNP_SEARCH);
        options.single_search_timeout = Some(UPNP_SEARCH);
        Ok(Self::Upnp(Box::new(search_gateway(options).await?)))
    }

    /// The router at `named`, or the default gateway, if it speaks NAT-PMP.
    pub async fn pmp(places: &Places, named: Option<Ipv4Addr>) -> Result<Self, GatewayError> {
        let at = match (named, places.pmp) {
            (Some(ip), at) => SocketAddrV4::new(ip, at.map_or(pmp::PORT, |at| at.port())),
            (None, Some(at)) => at,
            (None, None) => {
                let routes = tokio::task::spawn_blocking(|| std::fs::read_to_string(route::FILE));
                let routes = routes.await.ok().and_then(Result::ok).unwrap_or_default();
                let ip = route::default_gateway(&routes).ok_or(GatewayError::NoGateway)?;
                SocketAddrV4::new(ip, pmp::PORT)
            }
        };
        ask(at, pmp::Request::Address).await?;
        Ok(Self::Pmp(at))
    }

    /// Where the router is.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Upnp(gateway) => gateway.addr,
            Self::Pmp(at) => (*at).into(),
        }
    }

    /// Its address outside, which must be a public one.
    pub async fn external_ip(&self) -> Result<IpAddr, GatewayError> {
        let ip = match self {
            Self::Upnp(gateway) => gateway.get_external_ip().await?,
            Self::Pmp(at) => match ask(*at, pmp::Request::Address).await? {
                pmp::Response::Address(ip) => ip.into(),
                pmp::Response::Mapped { .. } => return Err(GatewayError::Silent),
            },
        };
        if is_public(ip) {
            Ok(ip)
        } else {
            Err(GatewayError::NotPublic(ip))
        }
    }

    /// Has a port forwarded to the same port of `local` for `lease`. Asking
    /// again prolongs it.
    pub async fn map(
        &self,
        transport: Transport,
        local: SocketAddrV4,
        lease: Duration,
    ) -> Result<(), GatewayError> {
        let port = local.port();
        // 0 would end it.
        let seconds = u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).max(1);
        match self {
            Self::Upnp(gateway) => {
                let add = |lease| {
                    gateway.add_port(igd(transport), port, local.into(), lease, DESCRIPTION)
                };
                let added = match add(seconds).await {
                    // Some routers know leases without end alone.
                    Err(AddPortError::OnlyPermanentLeasesSupported) => add(0).await,
                    other => other,
                };
                added.map_err(|source| GatewayError::Map {
                    transport,
                    port,
                    source,
                })
            }
            Self::Pmp(at) => {
                let request = pmp::Request::Map {
                    transport,
                    internal: port,
                    external: port,
                    lifetime: seconds,
                };
                match ask(*at, request).await? {
                    pmp::Response::Mapped { external, .. } if external != port => {
                        self.unmap(transport, port).await;
                        Err(GatewayError::OtherPort {
                            transport,
                            port,
                            given: external,
                        })
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Ends the forwarding of a port. What fails ends with its lease.
    pub async fn unmap(&self, transport: Transport, port: u16) {
        let ended = match self {
            Self::Upnp(gateway) => gateway
                .remove_port(igd(transport), port)
                .await
                .map_err(|error| error.to_string()),
            Self::Pmp(at) => {
                let request = pmp::Request::Map {
                    transport,
                    internal: port,
                    external: 0,
                    lifetime: 0,
                };
                let asked = ask(*at, request).await;
                asked.map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%transport, port, error, "the router goes on forwarding");
        }
    }
}

fn igd(transport: Transport) -> PortMappingProtocol {
    match transport {
        Transport::Tcp => PortMappingProtocol::TCP,
        Transport::Udp => PortMappingProtocol::UDP,
    }
}

/// Whether others may reach a node at this address.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

/// Asks until the answer to this question comes from this router.
async fn ask(at: SocketAddrV4, request: pmp::Request) -> Result<pmp::Response, GatewayError> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(at).await?;
    for wait in PMP_WAITS {
        socket.send(&request.encode()).await?;
        match timeout(wait, answer(&socket, &request)).await {
            Ok(answered) => return answered,
            Err(_elapsed) => {}
        }
    }
    Err(GatewayError::Silent)
}

async fn answer(socket: &UdpSocket, request: &pmp::Request) -> Result<pmp::Response, GatewayError> {
    // One more, to tell a datagram that is too long.
    let mut buffer = [0; pmp::MAX_RESPONSE + 1];
    loop {
        let len = socket.recv(&mut buffer).await?;
        match pmp::Response::decode(&buffer[..len]) {
            // To an earlier question.
            Ok(response) if !request.is_answered_by(&response) => {}
            Ok(response) => return Ok(response),
            Err(PmpError::Malformed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_do_not_reach_are_not_public() {
        for ip in [
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.9.9",
            "127.0.0.1",
            "0.0.0.0",
            "169.254.1.1",
            "fe80::1",
            "fd00::1",
            "::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.7", "100.63.0.1", "100.128.0.1", "2a00::1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
