//! Settings of the HTTP interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Beside geth's 8545 and 8546, so that both can run.
const DEFAULT_PORT: u16 = 8_547;

/// Where to listen, as users write it: an address and port, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpAddress {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

/// A text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither an IP address and port nor `off`")]
pub struct ParseHttpAddressError {
    /// What was given.
    pub text: String,
}

impl FromStr for HttpAddress {
    type Err = ParseHttpAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| ParseHttpAddressError {
                text: text.to_owned(),
            })
    }
}

/// Settings where each may be left open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpPartial {
    /// Where to listen.
    pub address: Option<HttpAddress>,
    /// Names of this machine, beside IP addresses and `localhost`.
    pub hosts: Option<Vec<String>>,
    /// Web pages that may use it.
    pub origins: Option<Vec<String>>,
    /// Whether no token is needed.
    pub open: Option<bool>,
    /// Whether every name and page may read the archive.
    pub public: Option<bool>,
    /// Files of what is not served.
    pub denylists: Option<Vec<PathBuf>>,
}

/// Settings of the HTTP interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where to listen, if anywhere; port 0 picks one.
    pub address: Option<SocketAddr>,
    /// Names of this machine, beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Web pages that may use it, as `https://name`; `*` is all of them.
    pub origins: Vec<String>,
    /// Whether everything is allowed without a token.
    pub open: bool,
    /// Whether the archive itself may be read under every name and by every page,
    /// as a public gateway is.
    pub public: bool,
    /// Files of what is not served, in the compact denylist format; later ones
    /// override earlier ones.
    pub denylists: Vec<PathBuf>,
}

impl HttpSettings {
    /// Settings from `flags` and `file`, the defaults where both are silent.
    pub fn resolve(flags: HttpPartial, file: HttpPartial) -> Self {
        let loopback = HttpAddress::At((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into());
        Self {
            address: match flags.address.or(file.address).unwrap_or(loopback) {
                HttpAddress::Off => None,
                HttpAddress::At(address) => Some(address),
            },
            hosts: flags.hosts.or(file.hosts).unwrap_or_default(),
            origins: flags.origins.or(file.origins).unwrap_or_default(),
            open: flags.open.or(file.open).unwrap_or(false),
            public: flags.public.or(file.public).unwrap_or(true),
            denylists: flags.denylists.or(file.denylists).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_unless_told_otherwise() {
        let silent = HttpPartial::default;
        let address = |text: &str| HttpPartial {
            address: Some(text.parse().unwrap()),
            ..silent()
        };
        let resolve = |flags, file| HttpSettings::resolve(flags, file).address;
        let default: SocketAddr = "127.0.0.1:8547".parse().unwrap();
        assert_eq!(resolve(silent(), silent()), Some(default));
        assert_eq!(resolve(silent(), address("off")), None);
        assert_eq!(
            resolve(address("[::1]:0"), address("off")),
            "[::1]:0".parse().ok()
        );
        assert!(!HttpSettings::resolve(silent(), silent()).open);
        assert!("8547".parse::<HttpAddress>().is_err());
    }
}
