//! What `gwa serve` says when it has started.
//!
//! Always true: a password that is not the public one stands on a terminal alone, never
//! where output is kept.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::cli::human::Passed;
use crate::config::{DEFAULT_PASSWORD, Password};
use crate::nat::NatMethod;
use crate::rlpx::Enode;

/// What is told of a daemon that has started.
#[derive(Debug, Serialize)]
pub struct Started {
    /// By what peers reach it.
    pub enode: Enode,
    /// Where it accepts peers.
    pub listen: SocketAddr,
    /// Where its HTTP interface is, if it is on.
    pub http: Option<String>,
    /// Where IPFS nodes reach its libp2p peer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub p2p: Vec<String>,
    /// The data folder.
    pub archive: PathBuf,
    /// Where the archive is kept beside this disk, or that a replica answers out of.
    pub store: Option<String>,
    /// The current head, if there is one.
    pub head: Option<String>,
    /// The name that leads to the heads, where one does.
    pub name: Option<String>,
}

/// By what apps of Status reach a mailserver: its enode with the password of requests,
/// as they take it for a mailserver of one's own.
pub struct StatusAddress<'a> {
    /// The node.
    pub enode: Enode,
    /// The password.
    pub password: &'a Password,
}

impl StatusAddress<'_> {
    /// Whether it may stand where output is kept.
    pub fn is_public(&self) -> bool {
        self.password.expose() == DEFAULT_PASSWORD
    }
}

impl fmt::Display for StatusAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Enode { id, .. } = self.enode;
        let password = self.password.expose();
        write!(f, "enode://{id}:{password}@{}", self.enode.tcp_address())
    }
}

/// The lines where output is kept: one thing a line, its name first.
pub fn plain(started: &Started, status: &StatusAddress<'_>, reach: &Reachable) -> String {
    let mut lines = Lines::default();
    lines.add("enode", started.enode);
    lines.add("http", started.http.as_deref().unwrap_or("off"));
    for address in &started.p2p {
        lines.add("p2p", address);
    }
    lines.add("archive", started.archive.display());
    if let Some(store) = &started.store {
        lines.add("store", store);
    }
    lines.add("head", started.head.as_deref().unwrap_or("none yet"));
    if let Some(name) = &started.name {
        lines.add("name", name);
    }
    if status.is_public() {
        lines.add("status", status);
    }
    lines.add("reach", reach);
    lines.0
}

/// The lines on a terminal: what an operator asks first.
pub fn on_terminal(
    started: &Started,
    status: &StatusAddress<'_>,
    reach: &Reachable,
    seal_every: Duration,
) -> String {
    let mut lines = Lines::default();
    let seal_every = Passed(u32::try_from(seal_every.as_secs()).unwrap_or(u32::MAX));
    lines.add("archive", started.archive.display());
    match &started.head {
        Some(head) => lines.add("head", head),
        None => lines.add(
            "head",
            format_args!("none yet: what comes is sealed every {seal_every}"),
        ),
    }
    if let Some(store) = &started.store {
        lines.add("store", store);
    }
    if let Some(name) = &started.name {
        lines.add("name", name);
    }
    lines.add("enode", status.enode);
    lines.add("status", status);
    lines.add("reach", reach);
    for address in &started.p2p {
        lines.add("p2p", address);
    }
    match &started.http {
        Some(http) => lines.add("web", format_args!("{http}/")),
        None => lines.add("web", "off"),
    }
    lines.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl fmt::Display) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&format!("{name:<7} {value}"));
    }
}

/// Who can dial the node, as far as that is known when it starts, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachable {
    /// Programs of this machine.
    HereAlone,
    /// The network that this machine is in, at this address.
    Network(IpAddr),
    /// A network that could not be told.
    Unknown,
    /// A router is asked to let others in.
    Asking,
    /// Others, at the address that was given.
    At(IpAddr),
}

impl Reachable {
    /// Of a node that listens at `listen`, where `own` is this machine's address in its
    /// network.
    pub fn of(listen: SocketAddr, nat: NatMethod, own: Option<IpAddr>) -> Self {
        match (listen.ip(), nat) {
            (_, NatMethod::ExternalIp(ip)) => Self::At(ip),
            (ip, _) if ip.is_loopback() => Self::HereAlone,
            (_, NatMethod::Any | NatMethod::Upnp | NatMethod::Pmp(_)) => Self::Asking,
            (ip, NatMethod::None) if !ip.is_unspecified() => Self::Network(ip),
            (_, NatMethod::None) => own.map_or(Self::Unknown, Self::Network),
        }
    }
}

impl fmt::Display for Reachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HereAlone => f.write_str(
                "this machine alone. `--listen 0.0.0.0:30303` lets others in, \
                 `--nat any` asks a router to",
            ),
            Self::Network(ip) => write!(
                f,
                "whoever can dial {ip}. From beyond a router: `--nat any`, or forward the \
                 port there and say `--nat extip:IP`"
            ),
            Self::Unknown => f.write_str(
                "whoever can dial this machine. `--nat extip:IP` tells peers its address",
            ),
            Self::Asking => {
                f.write_str("the router is asked to let others in; told here when it does")
            }
            Self::At(ip) => write!(f, "others, at {ip}, as `--nat` says"),
        }
    }
}

/// The address that this machine has in its network: that from which it would send to
/// others, of the family of `listen`. Nothing is sent for it.
pub fn own_address(listen: SocketAddr) -> Option<IpAddr> {
    // Addresses of documentation: nobody has them, and a route leads to them as to
    // anybody.
    let (any, far): (IpAddr, IpAddr) = match listen.ip() {
        IpAddr::V4(_) => (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        IpAddr::V6(_) => {
            let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            (Ipv6Addr::UNSPECIFIED.into(), far.into())
        }
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified() && !own.is_loopback()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rlpx::NodeKey;

    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    fn enode() -> Enode {
        let key = NodeKey::from_secret_bytes(&[0x33; 32]).unwrap();
        Enode::new(key.id(), "203.0.113.7:30303".parse().unwrap())
    }

    fn started() -> Started {
        Started {
            enode: enode(),
            listen: "127.0.0.1:30303".parse().unwrap(),
            http: Some("http://127.0.0.1:8547".to_owned()),
            p2p: Vec::new(),
            archive: PathBuf::from("/data"),
            store: None,
            head: None,
            name: None,
        }
    }

    #[test]
    fn a_password_of_ones_own_stands_on_the_terminal_alone() {
        for (password, is_public) in [(DEFAULT_PASSWORD, true), ("open:s@same", false)] {
            let password = password.parse().unwrap();
            let status = StatusAddress {
                enode: enode(),
                password: &password,
            };
            let id = enode().id;
            let address = format!("enode://{id}:{}@203.0.113.7:30303", password.expose());
            assert_eq!(status.to_string(), address);
            let kept = plain(&started(), &status, &Reachable::HereAlone);
            assert!(kept.contains("\nreach   this machine alone"), "{kept}");
            assert_eq!(kept.contains(password.expose()), is_public, "{kept}");
            let shown = on_terminal(&started(), &status, &Reachable::HereAlone, FIVE_MINUTES);
            assert!(shown.contains(&format!("\nstatus  {address}\n")), "{shown}");
            let json = serde_json::to_string(&started()).unwrap();
            assert!(!json.contains(password.expose()), "{json}");
        }
    }

    #[test]
    fn an_operator_is_told_who_can_dial_and_what_helps() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = Some(ip("192.168.1.5"));
        for (listen, nat, own, reachable) in [
            ("127.0.0.1:1", "none", own, Reachable::HereAlone),
            ("127.0.0.1:1", "any", own, Reachable::HereAlone),
            ("0.0.0.0:1", "any", own, Reachable::Asking),
            (
                "0.0.0.0:1",
                "none",
                own,
                Reachable::Network(ip("192.168.1.5")),
            ),
            ("0.0.0.0:1", "none", None, Reachable::Unknown),
            (
                "10.0.0.7:1",
                "none",
                own,
                Reachable::Network(ip("10.0.0.7")),
            ),
            (
                "127.0.0.1:1",
                "extip:203.0.113.9",
                own,
                Reachable::At(ip("203.0.113.9")),
            ),
        ] {
            let nat = nat.parse().unwrap();
            let told = Reachable::of(listen.parse().unwrap(), nat, own);
            assert_eq!(told, reachable, "{listen} {nat}");
        }
        assert!(
            Reachable::HereAlone
                .to_string()
                .contains("`--listen 0.0.0.0:30303`")
        );
    }
}
