//! Settings of the HTTP interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use url::{Host, Url};

use super::without_credentials;

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

/// A text that is no name of this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no name of a host: expected one as in archive.example, without a port")]
pub struct HostNameError {
    /// What was given.
    pub text: String,
}

/// A name of this machine as clients send it in `Host`: in small letters and ASCII.
pub fn host_name(text: &str) -> Result<String, HostNameError> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match Host::parse(text) {
        // `*` means every name nowhere here.
        Ok(Host::Domain(name)) if name.chars().all(is_of_name) => Ok(name),
        Ok(Host::Ipv4(ip)) => Ok(ip.to_string()),
        Ok(Host::Ipv6(ip)) => Ok(format!("[{ip}]")),
        _ => Err(HostNameError {
            text: without_credentials(text),
        }),
    }
}

/// A text that is the origin of no web page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no origin of web pages: expected https://NAME[:PORT] without a path, or `*`")]
pub struct PageOriginError {
    /// What was given.
    pub text: String,
}

/// The origin of web pages as browsers send it in `Origin`: without the port that its
/// scheme has anyway. `*` is all of them, `null` those of files and of frames apart.
pub fn page_origin(text: &str) -> Result<String, PageOriginError> {
    if matches!(text, "*" | "null") {
        return Ok(text.to_owned());
    }
    let is_bare = |url: &Url| {
        let has_user = !url.username().is_empty() || url.password().is_some();
        let has_path = !matches!(url.path(), "" | "/");
        !has_user && !has_path && url.query().is_none() && url.fragment().is_none()
    };
    let url = Url::parse(text).ok().filter(is_bare);
    let origin = url.and_then(|url| {
        // Those of extensions and of apps have schemes of their own.
        let host = url.host_str().filter(|host| !host.contains('*'))?;
        let port = url.port().map(|port| format!(":{port}"));
        Some(format!(
            "{}://{host}{}",
            url.scheme(),
            port.unwrap_or_default()
        ))
    });
    origin.ok_or_else(|| PageOriginError {
        text: without_credentials(text),
    })
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

    #[test]
    fn names_of_hosts_are_taken_as_clients_send_them() {
        for (text, sent) in [
            ("archive.example", "archive.example"),
            ("Gwa_Node", "gwa_node"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:DB8::7]", "[2001:db8::7]"),
        ] {
            assert_eq!(host_name(text).as_deref(), Ok(sent), "{text}");
        }
        for text in [
            "",
            "bad host/",
            "a.example:80",
            "https://a.example",
            "*",
            "*.example",
            "a b",
        ] {
            assert!(host_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_of_pages_are_taken_as_browsers_send_them() {
        for (text, sent) in [
            ("https://page.example", "https://page.example"),
            ("https://Page.example:443/", "https://page.example"),
            ("http://page.example:8080", "http://page.example:8080"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
            ("*", "*"),
        ] {
            assert_eq!(page_origin(text).as_deref(), Ok(sent), "{text}");
        }
        for text in [
            "",
            "not an origin",
            "page.example",
            "https://",
            "https://page.example/path",
            "https://page.example?x",
            "https://me:hunter2@page.example",
            "https://*.example",
            "mailto:a@page.example",
        ] {
            let told = page_origin(text).unwrap_err().to_string();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
