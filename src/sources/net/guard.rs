//! Which addresses a request may reach.
//!
//! Always true: what was checked is what is connected to. Names are resolved
//! here, and the connection goes to the addresses that were found good; an
//! address that stands in the URL itself is checked before the request.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;
use url::{Host, Url};

/// Whether an address is one that strangers may send us to: not this machine,
/// no private or link-local network, no multicast, nothing reserved.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = a == 192 && b == 0 && c == 0;
    let benchmarks = a == 198 && (18..20).contains(&b);
    let reserved = a == 0 || a >= 240;
    !(ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || shared
        || protocols
        || benchmarks
        || reserved)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // NAT64 and 6to4 carry an IPv4 address, which is the one that is reached.
    let carried = match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = carried {
        return is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    }
    // Only 2000::/3 is given out; documentation and Teredo lie in it.
    segments[0] & 0xe000 == 0x2000
        && !(segments[0] == 0x2001 && (segments[1] == 0xdb8 || segments[1] == 0))
}

/// Whether a URL may be asked although no user named its host: not where the
/// host is written as an address that is not public.
pub fn may_be_asked(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => is_public(ip.into()),
        Some(Host::Ipv6(ip)) => is_public(ip.into()),
        // Names are looked at when they are resolved.
        Some(Host::Domain(_)) => true,
        None => false,
    }
}

/// Resolves names; where it is guarded, to public addresses alone.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Whether addresses that are not public are refused.
    pub guarded: bool,
}

/// A name that leads to a place it must not.
#[derive(Debug, thiserror::Error)]
#[error("{host} resolves to {ip}, which is no public address")]
pub struct NotPublic {
    host: String,
    ip: IpAddr,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guarded = self.guarded;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            // The connector puts the port of the URL in the place of this one.
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            // One address that is not public is enough: a name that leads to both
            // is what an attack looks like.
            match found.iter().find(|at| guarded && !is_public(at.ip())) {
                Some(at) => Err(std::io::Error::other(NotPublic { host, ip: at.ip() })),
                None => Ok(found.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "193.0.0.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "2a00::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_address_in_the_url_is_checked_however_it_is_written() {
        for text in [
            "http://127.0.0.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:192.168.0.1]/",
            "http://017700000001/",
        ] {
            assert!(!may_be_asked(&Url::parse(text).unwrap()), "{text}");
        }
        assert!(may_be_asked(&Url::parse("https://example.org/").unwrap()));
    }

    #[tokio::test]
    async fn a_guarded_name_never_leads_to_this_machine() {
        let name = || "localhost".parse::<Name>().unwrap();
        assert!(Resolver { guarded: false }.call(name()).await.is_ok());
        let error = Resolver { guarded: true }.call(name()).await.unwrap_err();
        assert!(error.to_string().contains("no public address"), "{error}");
    }
}
