//! What a user writes to name a source of blocks.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::config::without_credentials;
use crate::kubo;
use crate::p2p::{PeerAddress, PeerAddressError};
use crate::swarm::{SwarmAddress, SwarmAddressError};

/// The forms a source may take, as error messages name them.
const FORMS: &str = "a folder, a CAR file, http://HOST, https://HOST, \
                     kubo:URL, p2p:/ip4/../tcp/../p2p/.. or swarm:http(s)://HOST#OWNER";

/// Stands before the URL of a host that is asked at public addresses alone.
const PUBLIC: &str = "public:";

/// Stands before the address of a peer.
const P2P: &str = "p2p:";

/// Stands before the address of a peer of a DHT.
const DHT: &str = "dht:";

/// A source of blocks, as its user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceAddress {
    /// A data folder, a copy of its public part, or a folder of CAR files.
    Folder(PathBuf),
    /// A CAR file.
    Car(PathBuf),
    /// Another `gwa`, a trustless gateway, or a public folder on a web server.
    Http(Url),
    /// The same, as a stranger named it: asked only where it leads to public
    /// addresses. Written with `public:` before the URL.
    Public(Url),
    /// The RPC of a Kubo node. Written with `kubo:` before the URL.
    Kubo(Url),
    /// A peer of IPFS, asked by bitswap.
    P2p(PeerAddress),
    /// Whoever the DHT that this peer takes part in says has a block.
    Dht(PeerAddress),
    /// An archive on Swarm, and the node or gateway that is asked for it.
    Swarm(SwarmAddress),
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceAddressError {
    /// None of the accepted forms.
    #[error("`{text}` is no source: expected {FORMS}")]
    Form {
        /// What was given.
        text: String,
    },
    /// An address of no peer.
    #[error(transparent)]
    Peer(#[from] PeerAddressError),
    /// A URL that is more than the place of a source.
    #[error("`{text}` is no source: a source has {what}")]
    Url {
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No archive on Swarm.
    #[error(transparent)]
    Swarm(#[from] SwarmAddressError),
}

impl FromStr for SourceAddress {
    type Err = SourceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return base_url(text).map(Self::Http);
        }
        if let Some(url) = text.strip_prefix(PUBLIC) {
            return base_url(url).map(Self::Public);
        }
        if let Some(url) = text.strip_prefix(kubo::SCHEME) {
            return base_url(url).map(Self::Kubo);
        }
        if SwarmAddress::is_meant(text) {
            return Ok(Self::Swarm(text.parse()?));
        }
        if let Some(peer) = text.strip_prefix(P2P) {
            return Ok(Self::P2p(peer.parse()?));
        }
        if let Some(peer) = text.strip_prefix(DHT) {
            return Ok(Self::Dht(peer.parse()?));
        }
        let is_of_another_kind = text.contains("://")
            || ["ipfs:", "ipns:"]
                .iter()
                .any(|scheme| text.starts_with(scheme));
        if text.is_empty() || is_of_another_kind {
            return Err(SourceAddressError::Form {
                text: without_credentials(text),
            });
        }
        let path = PathBuf::from(text);
        let is_car = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("car"));
        Ok(if is_car {
            Self::Car(path)
        } else {
            Self::Folder(path)
        })
    }
}

/// The URL of a host, or of a folder on it: always with a slash at its end.
pub fn base_url(text: &str) -> Result<Url, SourceAddressError> {
    // What is refused is told, and so logged: not with the password that it has.
    let told = || without_credentials(text);
    let refused = |what| SourceAddressError::Url { text: told(), what };
    let form = || SourceAddressError::Form { text: told() };
    let mut url: Url = text.parse().map_err(|_| form())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(form());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("no user name and no password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("no query and no fragment"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

impl fmt::Display for SourceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) | Self::Car(path) => path.display().fmt(f),
            Self::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Kubo(url) => write!(f, "{}{}", kubo::SCHEME, url.as_str().trim_end_matches('/')),
            Self::Swarm(address) => address.fmt(f),
            Self::Public(url) => write!(f, "{PUBLIC}{}", url.as_str().trim_end_matches('/')),
            Self::P2p(peer) => write!(f, "{P2P}{peer}"),
            Self::Dht(peer) => write!(f, "{DHT}{peer}"),
        }
    }
}

impl<'de> serde::Deserialize<'de> for SourceAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SourceAddress {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_refused_is_told_without_its_password() {
        for text in [
            "https://me:hunter2@a.example/",
            "kubo:http://me:hunter2@127.0.0.1:5001",
            "https://a.example/?token=hunter2",
            "https://me:hunter2@",
            "ftp://me:hunter2@a.example",
        ] {
            let told = text.parse::<SourceAddress>().unwrap_err().to_string();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn each_form_is_read() {
        assert_eq!(parse("a/b.CAR"), SourceAddress::Car("a/b.CAR".into()));
        assert_eq!(parse("/srv/gwa"), SourceAddress::Folder("/srv/gwa".into()));
        for (text, shown) in [
            ("http://localhost:8547", "http://localhost:8547"),
            ("https://example.org/archive", "https://example.org/archive"),
            (
                "https://example.org/archive/",
                "https://example.org/archive",
            ),
        ] {
            let address = parse(text);
            assert!(matches!(&address, SourceAddress::Http(url) if url.path().ends_with('/')));
            assert_eq!(address.to_string(), shown);
        }
        for scheme in ["p2p", "dht"] {
            let at = "/ip4/127.0.0.1/tcp/4001";
            let text =
                format!("{scheme}:{at}/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA");
            assert_eq!(parse(&text).to_string(), text);
        }
        let told = parse("public:http://localhost:8547");
        assert!(matches!(&told, SourceAddress::Public(url) if url.port() == Some(8547)));
        assert_eq!(parse(&told.to_string()), told);
        let node = parse("kubo:http://localhost:5001/");
        assert!(matches!(&node, SourceAddress::Kubo(url) if url.port() == Some(5001)));
        assert_eq!(node.to_string(), "kubo:http://localhost:5001");
        let on_swarm = "swarm:http://localhost:1633#8d3766440f0d7b949a5e32995d09619a7f86e632";
        assert!(matches!(parse(on_swarm), SourceAddress::Swarm(_)));
        assert_eq!(parse(on_swarm).to_string(), on_swarm);
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in [
            "",
            "ftp://a",
            "kubo:127.0.0.1:5001",
            "kubo:http://token@127.0.0.1:5001",
            "p2p:/ip4/1.1.1.1",
            "public:./folder",
            "ipfs://x",
            "swarm:http://localhost:1633",
            "http://",
            "http://u:p@example.org",
            "http://u@example.org",
            "http://example.org/?x=1",
            "http://example.org/#x",
        ] {
            assert!(text.parse::<SourceAddress>().is_err(), "{text}");
        }
    }
}
