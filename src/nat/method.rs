//! How the way through a router is found, as users write it: geth's names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// How a node behind a router becomes reachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatMethod {
    /// Nothing is asked of anybody.
    #[default]
    None,
    /// UPnP and NAT-PMP at once; the first that works.
    Any,
    /// Somebody else forwards the port; this is the address outside.
    ExternalIp(IpAddr),
    /// UPnP: the router is found by multicast.
    Upnp,
    /// NAT-PMP: asked of this router, or of the default gateway.
    Pmp(Option<Ipv4Addr>),
}

/// A text that names no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no way through a router: none, any, extip:IP, upnp, pmp or pmp:IP")]
pub struct ParseNatError {
    /// What was given.
    pub text: String,
}

impl FromStr for NatMethod {
    type Err = ParseNatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseNatError {
            text: text.to_owned(),
        };
        let (name, ip) = match text.split_once(':') {
            Some((name, ip)) => (name, Some(ip)),
            None => (text, None),
        };
        match (name.to_ascii_lowercase().as_str(), ip) {
            ("none" | "off", None) => Ok(Self::None),
            ("any" | "auto" | "on", None) => Ok(Self::Any),
            ("upnp", None) => Ok(Self::Upnp),
            ("pmp" | "natpmp" | "nat-pmp", None) => Ok(Self::Pmp(None)),
            ("pmp" | "natpmp" | "nat-pmp", Some(ip)) => {
                ip.parse().map(|ip| Self::Pmp(Some(ip))).or(Err(refused()))
            }
            ("extip" | "ip", Some(ip)) => match ip.parse::<IpAddr>() {
                Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Ok(Self::ExternalIp(ip)),
                _ => Err(refused()),
            },
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for NatMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Any => f.write_str("any"),
            Self::ExternalIp(ip) => write!(f, "extip:{ip}"),
            Self::Upnp => f.write_str("upnp"),
            Self::Pmp(None) => f.write_str("pmp"),
            Self::Pmp(Some(ip)) => write!(f, "pmp:{ip}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prints_is_read_again() {
        for text in [
            "none",
            "any",
            "extip:203.0.113.7",
            "extip:2a00::1",
            "upnp",
            "pmp",
        ] {
            assert_eq!(text.parse::<NatMethod>().unwrap().to_string(), text);
        }
        assert_eq!(
            "pmp:10.0.0.1".parse(),
            Ok(NatMethod::Pmp(Some(Ipv4Addr::new(10, 0, 0, 1))))
        );
    }

    #[test]
    fn other_names_of_geth_mean_the_same() {
        for (text, meant) in [
            ("OFF", "none"),
            ("auto", "any"),
            ("on", "any"),
            ("NAT-PMP", "pmp"),
        ] {
            assert_eq!(text.parse::<NatMethod>().unwrap().to_string(), meant);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "extip",
            "extip:",
            "extip:0.0.0.0",
            "extip:224.0.0.1",
            "upnp:1.2.3.4",
            "pmp:2a00::1",
            "none:1",
            "stun",
        ] {
            assert!(text.parse::<NatMethod>().is_err(), "{text}");
        }
    }
}
