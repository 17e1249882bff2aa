//! DNSLink: what a host's DNS says that it stands for (<https://dnslink.dev/>).
//!
//! Nothing here is signed: whoever answers for the host's DNS says what he likes. So a
//! host keeps the key that it showed first, as a URL does.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::publish::ipns::{ContentPath, PathError};

/// How long a DNS server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is asked again.
const ATTEMPTS: usize = 2;

/// Texts of one host looked at; a page of them is no sign of a DNSLink.
const MAX_TEXTS: usize = 100;

/// What stands before the host that is asked.
const LABEL: &str = "_dnslink";

/// What a text begins with that is a DNSLink.
const MARK: &str = "dnslink=";

/// Why DNS does not say what a host stands for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// This machine says of no DNS server.
    #[error("there is no DNS server to ask: {0}")]
    NoServer(String),
    /// It could not be asked, or did not answer.
    #[error("DNS of {LABEL}.{host}: {reason}")]
    Failed {
        /// The host.
        host: String,
        /// What came of it.
        reason: String,
    },
    /// There is no such text.
    #[error("{LABEL}.{host} has no TXT record with `{MARK}/ipfs/..` or `{MARK}/ipns/..`")]
    NoLink {
        /// The host.
        host: String,
    },
    /// What the text points at is no path.
    #[error("{LABEL}.{host} points at `{value}`: {reason}")]
    Path {
        /// The host.
        host: String,
        /// What stands there, as far as it can be shown.
        value: String,
        /// What is wrong with it.
        reason: PathError,
    },
}

/// The way to DNS; nobody is asked before the first question.
#[derive(Debug, Default)]
pub struct Dns {
    server: Option<SocketAddr>,
    resolver: OnceLock<Result<TokioResolver, DnsError>>,
}

impl Dns {
    /// By the server at this address, over UDP and TCP; by what the system is set to
    /// where there is none.
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self {
            server,
            resolver: OnceLock::new(),
        }
    }

    /// What `host` stands for.
    pub async fn link(&self, host: &str) -> Result<ContentPath, DnsError> {
        let resolver = self.resolver.get_or_init(|| resolver(self.server));
        let resolver = resolver.as_ref().map_err(Clone::clone)?;
        // With the last dot no domain of this machine's own is tried.
        let texts = match resolver.txt_lookup(format!("{LABEL}.{host}.")).await {
            Ok(found) => {
                let answers = found.answers().iter().take(MAX_TEXTS);
                let texts = answers.filter_map(|answer| match &answer.data {
                    RData::TXT(text) => Some(text.txt_data.concat()),
                    _ => None,
                });
                texts
                    .filter_map(|bytes| String::from_utf8(bytes).ok())
                    .collect()
            }
            Err(error) if error.is_no_records_found() => Vec::new(),
            Err(error) => {
                return Err(DnsError::Failed {
                    host: host.to_owned(),
                    reason: error.to_string(),
                });
            }
        };
        pick(host, &texts)
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, DnsError> {
    let builder = match server {
        None => TokioResolver::builder_tokio(),
        Some(at) => {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (at.port(), at.port());
            let server = NameServerConfig::new(at.ip(), true, vec![udp, tcp]);
            let config = ResolverConfig::from_name_servers(vec![server]);
            Ok(TokioResolver::builder_with_config(
                config,
                TokioRuntimeProvider::default(),
            ))
        }
    };
    let built = builder.and_then(|mut builder| {
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = ATTEMPTS;
        builder.build()
    });
    built.map_err(|error| DnsError::NoServer(error.to_string()))
}

/// The link among the texts of a host: of several the first in the order of bytes, so
/// that all readers agree.
fn pick(host: &str, texts: &[String]) -> Result<ContentPath, DnsError> {
    let links = texts.iter().filter_map(|text| text.strip_prefix(MARK));
    let links = links.filter(|link| link.starts_with("/ipfs/") || link.starts_with("/ipns/"));
    let link = links.min().ok_or_else(|| DnsError::NoLink {
        host: host.to_owned(),
    })?;
    link.parse().map_err(|reason| DnsError::Path {
        host: host.to_owned(),
        value: link
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafyreic5wlgq6a6ibjfx5m73hs4v3g5lv4ibxktyhdf524kl6q6w6dxiqi";

    fn picked(texts: &[&str]) -> Result<String, DnsError> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        pick("h.example", &texts).map(|path| path.to_string())
    }

    #[test]
    fn the_first_link_counts_and_other_texts_do_not() {
        let link = format!("dnslink=/ipfs/{CID}");
        assert_eq!(
            picked(&["v=spf1 -all", "dnslink=/ipns/b.example", &link]),
            Ok(format!("/ipfs/{CID}"))
        );
        assert_eq!(
            picked(&["dnslink=/ipns/b.example", "dnslink=/hyper/x"]),
            Ok("/ipns/b.example".to_owned())
        );
    }

    #[test]
    fn a_host_without_a_usable_link_says_so() {
        for texts in [&[][..], &["v=spf1"], &["dnslink=/hyper/x"], &["dnslink="]] {
            assert!(matches!(picked(texts), Err(DnsError::NoLink { .. })));
        }
        let refused = picked(&["dnslink=/ipfs/\u{1b}[2J"]).unwrap_err();
        assert!(!refused.to_string().contains('\u{1b}'), "{refused}");
    }
}
