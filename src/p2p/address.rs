//! Where a peer is, and who it has to be.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use libp2p::PeerId;
use libp2p::core::Multiaddr;
use libp2p::multiaddr::Protocol;

/// An address with the identity of whoever is to answer there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Who it is.
    pub peer: PeerId,
    /// Where it is, without its identity.
    pub at: Multiaddr,
}

/// A text that names no peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerAddressError {
    /// No address at all.
    #[error("`{text}` is no address of a peer: {what}")]
    Form {
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// An address that nobody here can dial.
    #[error(
        "`{text}` is not reached from here: expected /ip4|ip6|dns4|dns6|dns/HOST/tcp/PORT/p2p/ID"
    )]
    Unreachable {
        /// What was given.
        text: String,
    },
    /// An address of nobody in particular.
    #[error("`{text}` says not who is there: expected /p2p/ID at its end")]
    Nobody {
        /// What was given.
        text: String,
    },
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut at: Multiaddr = text.parse().map_err(|error| PeerAddressError::Form {
            text: text.to_owned(),
            what: format!("{error}"),
        })?;
        let Some(Protocol::P2p(peer)) = at.pop() else {
            return Err(PeerAddressError::Nobody {
                text: text.to_owned(),
            });
        };
        if !is_host_and_port(&at) {
            return Err(PeerAddressError::Unreachable {
                text: text.to_owned(),
            });
        }
        Ok(Self { peer, at })
    }
}

impl PeerAddress {
    /// Whether this machine alone reaches it: a loopback address, or one that stands for
    /// all that there are.
    pub fn is_of_this_machine(&self) -> bool {
        let ip: IpAddr = match self.at.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.into(),
            Some(Protocol::Ip6(ip)) => ip.into(),
            _ => return false,
        };
        let ip = ip.to_canonical();
        ip.is_loopback() || ip.is_unspecified()
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.at, self.peer)
    }
}

impl<'de> serde::Deserialize<'de> for PeerAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where others dial a node, as they are told: a host and a port of TCP, and nobody's
/// identity, for it is the node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress(pub Multiaddr);

/// A text that is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is nowhere to be dialled: expected /ip4|ip6|dns4|dns6|dns/HOST/tcp/PORT")]
pub struct PublicAddressError {
    /// What was given.
    pub text: String,
}

impl FromStr for PublicAddress {
    type Err = PublicAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: Option<Multiaddr> = text.parse().ok();
        let at = at.filter(is_host_and_port);
        at.map(Self).ok_or_else(|| PublicAddressError {
            text: text.to_owned(),
        })
    }
}

impl<'de> serde::Deserialize<'de> for PublicAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether this is a host and a port of TCP, and nothing else.
fn is_host_and_port(at: &Multiaddr) -> bool {
    let parts: Vec<_> = at.iter().collect();
    matches!(
        parts[..],
        [
            Protocol::Ip4(_)
                | Protocol::Ip6(_)
                | Protocol::Dns(_)
                | Protocol::Dns4(_)
                | Protocol::Dns6(_),
            Protocol::Tcp(_)
        ]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    #[test]
    fn an_address_reads_as_it_is_written() {
        for at in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip6/::1/tcp/1",
            "/dns4/example.org/tcp/4001",
        ] {
            let text = format!("{at}/p2p/{ID}");
            let read: PeerAddress = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(read.at.to_string(), at);
        }
    }

    #[test]
    fn loopback_is_of_this_machine_alone() {
        for (at, is_own) in [
            ("/ip4/127.0.0.1/tcp/4011", true),
            ("/ip4/0.0.0.0/tcp/4011", true),
            ("/ip6/::1/tcp/4011", true),
            ("/ip4/192.168.1.2/tcp/4011", false),
            ("/ip4/203.0.113.7/tcp/4011", false),
            ("/dns4/archive.example/tcp/4011", false),
        ] {
            let peer: PeerAddress = format!("{at}/p2p/{ID}").parse().unwrap();
            assert_eq!(peer.is_of_this_machine(), is_own, "{at}");
        }
    }

    #[test]
    fn what_names_nobody_or_cannot_be_dialled_is_refused() {
        let parse = |text: &str| text.parse::<PeerAddress>().unwrap_err();
        assert!(matches!(
            parse("127.0.0.1:4001"),
            PeerAddressError::Form { .. }
        ));
        assert!(matches!(
            parse("/ip4/127.0.0.1/tcp/4001"),
            PeerAddressError::Nobody { .. }
        ));
        for at in [
            "",
            "/ip4/127.0.0.1/udp/4001/quic-v1",
            "/ip4/1.1.1.1/tcp/1/ws",
        ] {
            assert!(matches!(
                parse(&format!("{at}/p2p/{ID}")),
                PeerAddressError::Unreachable { .. }
            ));
        }
    }

    #[test]
    fn where_others_dial_is_a_host_and_a_port() {
        for at in ["/ip4/203.0.113.7/tcp/4011", "/dns4/archive.example/tcp/1"] {
            let read: PublicAddress = at.parse().unwrap();
            assert_eq!(read.0.to_string(), at);
        }
        let own = format!("/ip4/203.0.113.7/tcp/4011/p2p/{ID}");
        for at in ["", "203.0.113.7:4011", "/ip4/203.0.113.7", &own] {
            assert!(at.parse::<PublicAddress>().is_err(), "{at}");
        }
    }
}
