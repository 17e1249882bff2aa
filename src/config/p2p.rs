//! Settings of the libp2p peer.

use std::str::FromStr;

use libp2p::core::Multiaddr;
use serde::Deserialize;

use crate::p2p::{DhtConfig, DhtMode, PeerAddress, PublicAddress};

/// Where the peer listens, as users write it: an address of IP and TCP, or
/// `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum P2pListen {
    /// Nowhere: there is no peer.
    Off,
    /// There.
    At(Multiaddr),
}

/// Where a peer listens that was given no address: on this machine alone, beside
/// Kubo's 4001, so that both can run.
pub const DEFAULT_LISTEN: &str = "/ip4/127.0.0.1/tcp/4011";

/// A text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither `off` nor an address as in {DEFAULT_LISTEN}")]
pub struct ParseP2pListenError {
    /// What was given.
    pub text: String,
}

impl FromStr for P2pListen {
    type Err = ParseP2pListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use libp2p::multiaddr::Protocol::{Ip4, Ip6, Tcp};
        if text == "off" {
            return Ok(Self::Off);
        }
        let refused = || ParseP2pListenError {
            text: text.to_owned(),
        };
        let address: Multiaddr = text.parse().map_err(|_| refused())?;
        let parts: Vec<_> = address.iter().collect();
        match parts[..] {
            [Ip4(_) | Ip6(_), Tcp(_)] => Ok(Self::At(address)),
            _ => Err(refused()),
        }
    }
}

impl<'de> Deserialize<'de> for P2pListen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Settings where each may be left open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct P2pPartial {
    /// Where it listens.
    pub listen: Option<P2pListen>,
    /// Who is asked first of the DHT.
    pub bootstrap: Option<Vec<PeerAddress>>,
    /// Whether it answers for the DHT.
    pub dht: Option<DhtMode>,
    /// Where others dial it, where that is not where it listens.
    pub public: Option<Vec<PublicAddress>>,
}

/// Settings of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct P2pSettings {
    /// Where it listens; there is no peer where it is `None`.
    pub listen: Option<Multiaddr>,
    /// Where others dial it, beside that.
    pub public: Vec<Multiaddr>,
    /// The DHT that it takes part in, if any.
    pub dht: Option<DhtConfig>,
}

impl P2pSettings {
    /// Settings from `flags` and `file`: off where both are silent, and without a
    /// DHT where nobody is named to ask first.
    pub fn resolve(flags: P2pPartial, file: P2pPartial) -> Self {
        let bootstrap = flags.bootstrap.or(file.bootstrap).unwrap_or_default();
        let mode = flags.dht.or(file.dht);
        let public = flags.public.or(file.public).unwrap_or_default();
        Self {
            listen: match flags.listen.or(file.listen) {
                None | Some(P2pListen::Off) => None,
                Some(P2pListen::At(address)) => Some(address),
            },
            public: public.into_iter().map(|one| one.0).collect(),
            dht: (!bootstrap.is_empty()).then(|| DhtConfig {
                bootstrap,
                mode: mode.unwrap_or_default(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_peer_unless_one_is_asked_for() {
        let at = |text: &str| P2pPartial {
            listen: Some(text.parse().unwrap()),
            ..P2pPartial::default()
        };
        let resolve = |flags, file| P2pSettings::resolve(flags, file).listen;
        assert_eq!(resolve(P2pPartial::default(), P2pPartial::default()), None);
        assert_eq!(resolve(at("off"), at(DEFAULT_LISTEN)), None);
        let there = resolve(at(DEFAULT_LISTEN), at("off")).unwrap();
        assert_eq!(there.to_string(), DEFAULT_LISTEN);
        for text in [
            "on",
            "/ip4/127.0.0.1",
            "/ip4/1.1.1.1/udp/1/quic-v1",
            "127.0.0.1:1",
        ] {
            assert!(text.parse::<P2pListen>().is_err(), "{text}");
        }
    }

    #[test]
    fn where_others_dial_it_is_said_by_flags_before_the_file() {
        let at = |text: &str| P2pPartial {
            public: Some(vec![text.parse().unwrap()]),
            ..P2pPartial::default()
        };
        let resolve = |flags, file| P2pSettings::resolve(flags, file).public;
        let (flag, file) = (
            "/ip4/203.0.113.7/tcp/4011",
            "/dns4/archive.example/tcp/4011",
        );
        let told = resolve(at(flag), at(file));
        assert_eq!(told, [flag.parse::<Multiaddr>().unwrap()]);
        let told = resolve(P2pPartial::default(), at(file));
        assert_eq!(told, [file.parse::<Multiaddr>().unwrap()]);
        assert!(resolve(P2pPartial::default(), P2pPartial::default()).is_empty());
    }
}
