//! Where a peer is, and who it has to be.

use std::fmt;
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
        let parts: Vec<_> = at.iter().collect();
        let is_reachable = matches!(
            parts[..],
            [
                Protocol::Ip4(_)
                    | Protocol::Ip6(_)
                    | Protocol::Dns(_)
                    | Protocol::Dns4(_)
                    | Protocol::Dns6(_),
                Protocol::Tcp(_)
            ]
        );
        if !is_reachable {
            return Err(PeerAddressError::Unreachable {
                text: text.to_owned(),
            });
        }
        Ok(Self { peer, at })
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
}
