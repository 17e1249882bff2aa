//! Where an archive says that it is to be had.
//!
//! Always true: what an operator tells of an own archive holds no user, password, query
//! or fragment, where keys and tokens stand: hints are read by everybody.

use std::net::IpAddr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::config::without_credentials;
use crate::rlpx::Enode;

/// Most addresses told of one archive.
pub const MAX_ADDRESSES: usize = 4;

/// Longest address in bytes.
pub const MAX_ADDRESS: usize = 256;

/// Addresses of one archive; none of them is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    http: Vec<String>,
    enode: Option<Enode>,
}

/// Why hints are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HintsError {
    /// More addresses than anybody needs.
    #[error("{0} addresses, above the limit of {MAX_ADDRESSES}")]
    TooMany(usize),
    /// An address that is too long.
    #[error("an address of {0} bytes, above the limit of {MAX_ADDRESS}")]
    TooLong(usize),
    /// An address that is none.
    #[error("`{0}` is no http:// or https:// address")]
    NotHttp(String),
    /// An own address with what is not for everybody.
    #[error("`{0}` is told to everybody, so it takes no user, password, query or fragment")]
    NotForAll(String),
    /// A node's address that is none.
    #[error("`{0}` is no enode")]
    NotAnEnode(String),
}

impl Hints {
    /// Hints of one's own: of these HTTP addresses, and of a node that is a mailserver.
    pub fn new(http: Vec<String>, enode: Option<Enode>) -> Result<Self, HintsError> {
        let hints = Self::told(http, enode)?;
        for address in &hints.http {
            let url = Url::parse(address).map_err(|_| HintsError::NotHttp(shown(address)))?;
            let is_for_all = url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            if !is_for_all {
                return Err(HintsError::NotForAll(shown(address)));
            }
        }
        Ok(hints)
    }

    /// Addresses in their form, whoever tells them.
    fn told(http: Vec<String>, enode: Option<Enode>) -> Result<Self, HintsError> {
        if http.len() > MAX_ADDRESSES {
            return Err(HintsError::TooMany(http.len()));
        }
        for address in &http {
            check(address)?;
        }
        Ok(Self { http, enode })
    }

    /// Reads them as others wrote them.
    pub fn read(http: Vec<String>, enode: Option<&str>) -> Result<Self, HintsError> {
        let enode = enode.map(|text| {
            let whole = text.len() <= MAX_ADDRESS;
            let enode = whole.then(|| text.parse().ok()).flatten();
            enode.ok_or_else(|| HintsError::NotAnEnode(shown(text)))
        });
        Self::told(http, enode.transpose()?)
    }

    /// Hints of a daemon: the addresses that its operator told, else that of its HTTP
    /// interface, and its node; of all these, those that more than this machine
    /// reaches.
    pub fn of_daemon(public: &Self, http: Option<&str>, enode: Option<Enode>) -> Self {
        let own = http.filter(|url| is_reached(url)).map(str::to_owned);
        let own = own.filter(|url| check(url).is_ok());
        let hints = match public.http.is_empty() {
            true => Self {
                http: own.into_iter().collect(),
                enode: None,
            },
            false => public.clone(),
        };
        match enode {
            Some(enode) => hints.with_enode(enode),
            None => hints,
        }
    }

    /// The same, with a node where others reach it: one of this machine alone is
    /// not told.
    #[must_use]
    pub fn with_enode(mut self, enode: Enode) -> Self {
        let is_reached = !enode.ip.is_loopback() && !enode.ip.is_unspecified();
        self.enode = is_reached.then_some(enode);
        self
    }

    /// HTTP addresses of a `gwa` or gateway that has the blocks.
    pub fn http(&self) -> &[String] {
        &self.http
    }

    /// The mailserver's node.
    pub fn enode(&self) -> Option<&Enode> {
        self.enode.as_ref()
    }
}

/// Whether a URL may lead others here: not one of this machine alone.
fn is_reached(url: &str) -> bool {
    let ip = match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(url::Host::Domain(_)) | None => return true,
    };
    !ip.is_loopback() && !ip.is_unspecified()
}

/// HTTP addresses of one's own, as a list of texts.
impl<'de> Deserialize<'de> for Hints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let http = Vec::deserialize(deserializer)?;
        Self::new(http, None).map_err(D::Error::custom)
    }
}

/// One address: printable, and of the web.
fn check(address: &str) -> Result<(), HintsError> {
    if address.len() > MAX_ADDRESS {
        return Err(HintsError::TooLong(address.len()));
    }
    let rest = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"));
    // What is printed to a terminal must not steer it.
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic());
    if rest.is_none_or(str::is_empty) || !is_plain {
        return Err(HintsError::NotHttp(shown(address)));
    }
    Ok(())
}

/// Text as it may stand in a message: foreign, or with a password in it.
fn shown(text: &str) -> String {
    without_credentials(text)
        .chars()
        .take(64)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_web_are_taken_and_no_others() {
        let one = |text: &str| Hints::new(vec![text.to_owned()], None);
        assert!(one("http://127.0.0.1:8547").is_ok());
        assert!(one("https://example.org/archive").is_ok());
        for text in [
            "",
            "http://",
            "ftp://example.org",
            "http://a b",
            "http://a\x1b[2J",
            "x",
        ] {
            assert!(one(text).is_err(), "{text:?}");
        }
        assert!(one(&format!("http://{}", "a".repeat(MAX_ADDRESS))).is_err());
        let many = vec!["http://a".to_owned(); MAX_ADDRESSES + 1];
        assert_eq!(Hints::new(many, None), Err(HintsError::TooMany(5)));
    }

    #[test]
    fn what_is_secret_is_not_told_to_everybody_and_not_in_the_refusal() {
        for text in [
            "https://me:hunter2@h.example/b?token=hunter3",
            "https://hunter2@h.example",
            "https://:hunter2@h.example",
            "https://h.example/b?token=hunter3",
            "https://h.example/b#hunter3",
            "ftp://me:hunter2@h.example",
        ] {
            let refused = Hints::new(vec![text.to_owned()], None).unwrap_err();
            let told = refused.to_string();
            assert!(
                told.contains("h.example") && !told.contains("hunter"),
                "{told}"
            );
        }
        let written = toml::Value::from(vec!["https://me:hunter2@h.example"]);
        assert!(written.try_into::<Hints>().is_err());
        // What others tell of themselves is theirs to know.
        let foreign = vec!["https://h.example/b?page=1".to_owned()];
        assert_eq!(Hints::read(foreign.clone(), None).unwrap().http(), foreign);
    }

    #[test]
    fn a_daemon_is_told_by_what_more_than_its_machine_reaches() {
        let id = crate::rlpx::NodeKey::generate().id();
        let enode = |ip: [u8; 4]| Some(Enode::new(id, (ip, 30_303).into()));
        let public = Hints::new(vec!["https://a.example".into()], None).unwrap();
        let none = Hints::default();
        let local = Hints::of_daemon(&none, Some("http://127.0.0.1:8547"), enode([127, 0, 0, 1]));
        assert_eq!(local, none);
        let reached = Hints::of_daemon(&none, Some("http://192.0.2.7:8547"), enode([192, 0, 2, 7]));
        assert_eq!(reached.http(), ["http://192.0.2.7:8547"]);
        assert_eq!(reached.enode().copied(), enode([192, 0, 2, 7]));
        let told = Hints::of_daemon(&public, Some("http://192.0.2.7:8547"), None);
        assert_eq!(told, public);
    }

    #[test]
    fn what_steers_a_terminal_does_not_stand_in_a_message() {
        let error = Hints::read(Vec::new(), Some("enode://\x1b[2J")).unwrap_err();
        assert!(!error.to_string().contains('\x1b'));
    }
}
