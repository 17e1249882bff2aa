//! Where a node is reached: `enode://<id>@<ip>:<tcp>[?discport=<udp>]`.
//!
//! Always true: the id is a point of the curve, and the host is an IP literal,
//! as geth demands. What prints parses back to the same value.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rlpx::{KeyError, NodeId};

/// A node's id and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enode {
    /// The node's public key.
    pub id: NodeId,
    /// Its address.
    pub ip: IpAddr,
    /// Where it accepts RLPx.
    pub tcp: u16,
    /// Where it answers discovery; equal to `tcp` where the URL says nothing.
    pub udp: u16,
}

/// Why a text is no enode URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnodeError {
    /// It does not start with `enode://`.
    #[error("does not start with enode://")]
    Scheme,
    /// Nothing separates the id from the host.
    #[error("has no @ after the node id")]
    NoHost,
    /// The id is not a public key.
    #[error("node id: {0}")]
    Id(#[from] KeyError),
    /// The host is not `ip:port` with a literal IP address.
    #[error("`{text}` is not an IP address and port")]
    Address {
        /// What stands there.
        text: String,
    },
    /// The query is not `discport=<port>`.
    #[error("`{text}` is not discport=<port>")]
    Query {
        /// What stands there.
        text: String,
    },
}

impl Enode {
    /// The node `id`, with RLPx and discovery at the same port of `address`.
    pub fn new(id: NodeId, address: SocketAddr) -> Self {
        Self {
            id,
            ip: address.ip(),
            tcp: address.port(),
            udp: address.port(),
        }
    }

    /// Where to dial.
    pub fn tcp_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.tcp)
    }

    /// Where discovery packets go.
    pub fn udp_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.udp)
    }
}

impl FromStr for Enode {
    type Err = EnodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("enode://").ok_or(EnodeError::Scheme)?;
        let (id, host) = rest.split_once('@').ok_or(EnodeError::NoHost)?;
        let (address, query) = match host.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (host, None),
        };
        let address: SocketAddr = address.parse().map_err(|_| EnodeError::Address {
            text: address.to_owned(),
        })?;
        let udp = query.map(parse_discport).transpose()?;
        Ok(Self {
            id: id.parse()?,
            ip: address.ip(),
            tcp: address.port(),
            udp: udp.unwrap_or(address.port()),
        })
    }
}

fn parse_discport(query: &str) -> Result<u16, EnodeError> {
    query
        .strip_prefix("discport=")
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| EnodeError::Query {
            text: query.to_owned(),
        })
}

impl fmt::Display for Enode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enode://{}@{}", self.id, self.tcp_address())?;
        if self.udp != self.tcp {
            write!(f, "?discport={}", self.udp)?;
        }
        Ok(())
    }
}

impl Serialize for Enode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Enode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rlpx::NodeKey;

    fn id() -> NodeId {
        NodeKey::from_secret_bytes(&[0x33; 32]).unwrap().id()
    }

    #[test]
    fn urls_print_as_they_were_read() {
        for (host, tcp, udp) in [
            ("127.0.0.1:30303", 30303, 30303),
            ("10.0.0.1:30303?discport=30301", 30303, 30301),
            ("10.0.0.1:0?discport=7", 0, 7),
            ("[::1]:1", 1, 1),
            ("[2001:db8::2]:30303?discport=0", 30303, 0),
        ] {
            let url = format!("enode://{}@{host}", id());
            let enode: Enode = url.parse().unwrap();
            assert_eq!((enode.id, enode.tcp, enode.udp), (id(), tcp, udp));
            assert_eq!(enode.to_string(), url);
            let json = serde_json::to_string(&enode).unwrap();
            assert_eq!(serde_json::from_str::<Enode>(&json).unwrap(), enode);
        }
    }

    #[test]
    fn other_texts_are_refused_for_what_is_wrong_with_them() {
        let id = id();
        let parse = |text: String| text.parse::<Enode>().unwrap_err();
        assert_eq!(parse(format!("http://{id}@1.1.1.1:1")), EnodeError::Scheme);
        assert_eq!(parse(format!("enode://{id}")), EnodeError::NoHost);
        assert_eq!(
            parse("enode://00@1.1.1.1:1".to_owned()),
            EnodeError::Id(KeyError::Hex { digits: 128 })
        );
        assert_eq!(
            parse(format!("enode://{}@1.1.1.1:1", "11".repeat(64))),
            EnodeError::Id(KeyError::NotAPublicKey)
        );
        for host in ["localhost:1", "1.1.1.1", "1.1.1.1:65536", "", "1.1.1.1:1/"] {
            assert!(
                matches!(
                    parse(format!("enode://{id}@{host}")),
                    EnodeError::Address { .. }
                ),
                "{host}"
            );
        }
        for query in [
            "",
            "discport=",
            "discport=65536",
            "discport=1&x=2",
            "port=1",
        ] {
            assert!(
                matches!(
                    parse(format!("enode://{id}@1.1.1.1:1?{query}")),
                    EnodeError::Query { .. }
                ),
                "{query}"
            );
        }
    }
}
