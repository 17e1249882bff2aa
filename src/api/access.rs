//! Who may use the HTTP interface, and for what.
//!
//! Always true:
//! - A request is answered only if its `Host` is an IP address, `localhost` or a
//!   name that was configured: a page that resolves its own name to this machine
//!   gets nowhere.
//! - A request that names an `Origin` comes from a web page, and is answered only if
//!   that origin was configured, or is the very host and port that is asked: the
//!   explorer's. Nothing else that is served there runs in a browser: blocks, which
//!   strangers wrote, are sent as downloads of a type that is no page and no script.
//! - Tokens are compared in constant time and printed nowhere.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::rlpx::random::random_bytes;

/// Bytes of randomness in a token: nobody guesses it.
const TOKEN_BYTES: usize = 32;

/// The secret that opens what changes something or touches keys.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A new random token.
    pub fn draw() -> Self {
        let bytes = Zeroizing::new(random_bytes::<TOKEN_BYTES>());
        Self(Zeroizing::new(hex::encode(*bytes)))
    }

    /// The token that a file holds; none if the file holds nothing of the kind.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let long_enough = text.len() >= TOKEN_BYTES;
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (long_enough && plain).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The text that clients send.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this token.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// Look at what is public anyway.
    Read,
    /// Look at what names others' addresses, folders and lines of the log: a program of
    /// this machine, without the token.
    Near,
    /// Everything.
    All,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The name in `Host` is not one of ours.
    #[error("invalid host specified")]
    Host,
    /// It comes from a web page that was not allowed.
    #[error("origin not allowed")]
    Origin,
    /// A token was given, and it is another.
    #[error("invalid token")]
    Token,
}

/// The rules of one server.
#[derive(Clone, Debug)]
pub struct Access {
    token: Token,
    open: bool,
    hosts: HashSet<String>,
    origins: HashSet<String>,
}

/// What a request shows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// The part of the target after `?`.
    pub query: Option<&'a str>,
}

impl Access {
    /// Rules where `token` opens everything; if `open`, everything is open
    /// without it. `hosts` are names beside IP addresses and `localhost`,
    /// `origins` the web pages allowed, or `*` for all.
    pub fn new(
        token: Token,
        open: bool,
        hosts: impl IntoIterator<Item = String>,
        origins: impl IntoIterator<Item = String>,
    ) -> Self {
        let lower = |text: String| text.to_ascii_lowercase();
        Self {
            token,
            open,
            hosts: hosts.into_iter().map(lower).collect(),
            origins: origins.into_iter().map(lower).collect(),
        }
    }

    /// What a request that shows `shown` may do.
    pub fn judge(&self, shown: &Credentials<'_>) -> Result<Grant, Denial> {
        let Some(host) = shown.host.filter(|host| self.is_our_host(host)) else {
            return Err(Denial::Host);
        };
        let is_ours = |origin| is_of_host(origin, host) || self.is_our_page(origin);
        if !shown.origin.is_none_or(is_ours) {
            return Err(Denial::Origin);
        }
        match given_token(shown) {
            Some(given) if self.token.is(given) => Ok(Grant::All),
            Some(_) => Err(Denial::Token),
            None if self.open => Ok(Grant::All),
            None => Ok(Grant::Read),
        }
    }

    fn is_our_host(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok() || name == "localhost" || self.hosts.contains(&name)
    }

    fn is_our_page(&self, origin: &str) -> bool {
        self.origins.contains("*") || self.origins.contains(&origin.to_ascii_lowercase())
    }
}

/// Whether an origin is that of pages which `host` itself serves. A reverse proxy may
/// serve them over TLS.
fn is_of_host(origin: &str, host: &str) -> bool {
    let rest = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

/// Whether a host is this machine by a name that no other machine goes by.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback()) || name.eq_ignore_ascii_case("localhost")
}

/// `name:port` or `[v6]:port` without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // The last group of a bare IPv6 address is no port.
            let is_bare_v6 = name.contains(':') && !name.ends_with(']');
            if is_bare_v6 { host } else { name }
        }
        _ => host,
    }
}

/// The token a request brings: as a bearer, or as `token=` in the target, for
/// clients that can set nothing but a URL.
fn given_token<'a>(shown: &Credentials<'a>) -> Option<&'a str> {
    let bearer = shown.authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let in_query = || {
        let pairs = shown.query?.split('&');
        pairs.filter_map(|pair| pair.strip_prefix("token=")).next()
    };
    bearer.or_else(in_query)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn access(open: bool) -> Access {
        Access::new(
            Token::read(SECRET).unwrap(),
            open,
            ["Archive.example".to_owned()],
            ["https://page.example".to_owned()],
        )
    }

    fn local() -> Credentials<'static> {
        Credentials {
            host: Some("127.0.0.1:8547"),
            ..Credentials::default()
        }
    }

    #[test]
    fn hosts_are_addresses_localhost_and_what_was_configured() {
        for (host, ours) in [
            ("127.0.0.1:8547", true),
            ("127.0.0.1", true),
            ("[::1]:8547", true),
            ("[::1]", true),
            ("localhost:1", true),
            ("LOCALHOST", true),
            ("archive.example:80", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:8547", false),
            ("", false),
        ] {
            let shown = Credentials {
                host: Some(host),
                ..local()
            };
            let expected = if ours {
                Ok(Grant::Read)
            } else {
                Err(Denial::Host)
            };
            assert_eq!(access(false).judge(&shown), expected, "{host}");
        }
        let nameless = Credentials::default();
        assert_eq!(access(false).judge(&nameless), Err(Denial::Host));
    }

    #[test]
    fn web_pages_are_answered_only_if_configured() {
        for (origin, ours) in [
            ("https://page.example", true),
            ("http://page.example", false),
            // What the host that is asked serves itself, and nothing beside it.
            ("http://127.0.0.1:8547", true),
            ("https://127.0.0.1:8547", true),
            ("http://127.0.0.1:8548", false),
            ("http://127.0.0.1", false),
            ("ftp://127.0.0.1:8547", false),
            ("http://127.0.0.1:8547.evil.example", false),
            ("http://localhost", false),
            ("null", false),
            ("", false),
        ] {
            let shown = Credentials {
                origin: Some(origin),
                ..local()
            };
            // An open server is no more open to pages than any other.
            let expected = if ours {
                Ok(Grant::All)
            } else {
                Err(Denial::Origin)
            };
            assert_eq!(access(true).judge(&shown), expected, "{origin}");
        }
    }

    #[test]
    fn a_page_of_a_host_that_is_none_of_ours_is_not_answered_by_its_own_name() {
        let rebound = Credentials {
            host: Some("evil.example:8547"),
            origin: Some("http://evil.example:8547"),
            ..Credentials::default()
        };
        assert_eq!(access(true).judge(&rebound), Err(Denial::Host));
        let ours = Credentials {
            host: Some("archive.example"),
            origin: Some("https://Archive.example"),
            ..Credentials::default()
        };
        assert_eq!(access(false).judge(&ours), Ok(Grant::Read));
    }

    #[test]
    fn the_token_opens_everything_wherever_it_stands() {
        let bearer = format!("Bearer {SECRET}");
        let query = format!("a=b&token={SECRET}");
        for (authorization, query, expected) in [
            (None, None, Ok(Grant::Read)),
            (Some(bearer.as_str()), None, Ok(Grant::All)),
            (None, Some(query.as_str()), Ok(Grant::All)),
            (Some("bearer wrong"), None, Err(Denial::Token)),
            (None, Some("token="), Err(Denial::Token)),
            (Some("Basic eDp5"), None, Ok(Grant::Read)),
        ] {
            let shown = Credentials {
                authorization,
                query,
                ..local()
            };
            assert_eq!(access(false).judge(&shown), expected);
        }
    }

    #[test]
    fn a_wrong_token_is_refused_even_where_none_is_needed() {
        let shown = Credentials {
            query: Some("token=guess"),
            ..local()
        };
        assert_eq!(access(true).judge(&shown), Err(Denial::Token));
        assert_eq!(access(true).judge(&local()), Ok(Grant::All));
    }

    #[test]
    fn a_token_shows_itself_to_nobody() {
        let token = Token::draw();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(token.expose().len(), 2 * TOKEN_BYTES);
        assert!(Token::read(token.expose()).unwrap().is(token.expose()));
        assert!(Token::read("short").is_none());
        assert!(Token::read(&"ä".repeat(40)).is_none());
    }
}
