//! Texts without what is nobody else's business.
//!
//! Always true of what comes out:
//! - No secret that was named is in it, as it is or as JSON writes it.
//! - No URL has a user, a password or a query, and no enode a password.
//! - No address is of a host beyond this machine and its private networks: what is left
//!   of one tells its network.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::limits::Address;

/// What stands where something was cut out.
const CUT: &str = "(cut)";

/// Shortest secret that is looked for: a shorter one is in any text by chance.
const SHORTEST: usize = 5;

/// Cuts out what it knows to be secret.
#[derive(Default)]
pub struct Scrubber {
    /// The longest first, so that none hides a part of another.
    secrets: Vec<String>,
}

impl Scrubber {
    /// Knows these secrets.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut known = Vec::new();
        for secret in secrets {
            let secret = secret.trim();
            if secret.len() < SHORTEST {
                continue;
            }
            let json = serde_json::to_string(secret).expect("a text is JSON");
            // Without its quotes.
            known.push(json[1..json.len() - 1].to_owned());
            known.push(secret.to_owned());
        }
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        known.dedup();
        Self { secrets: known }
    }

    /// `text` without all of it.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), CUT);
            }
        }
        without_addresses(&without_credentials(&text))
    }
}

/// Where a URL in a text ends. A comma or a parenthesis may stand in a password.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\')
}

/// URLs without user, password and query.
fn without_credentials(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        told.push_str(before);
        // An IPv6 address stands in brackets, which end a URL elsewhere.
        let host = after.find(['/', '?', '#']).unwrap_or(after.len());
        let bracket = after[..host].find(']').map_or(0, |at| at + 1);
        let end = after[bracket..]
            .find(ends_url)
            .map_or(after.len(), |at| bracket + at);
        let (url, left) = after.split_at(end);
        let is_enode = before.ends_with("enode://");
        push_url(&mut told, url, is_enode);
        rest = left;
    }
    told.push_str(rest);
    told
}

fn push_url(told: &mut String, url: &str, is_enode: bool) {
    let (url, query) = match url.find(['?', '#']) {
        Some(at) => url.split_at(at),
        None => (url, ""),
    };
    let (authority, path) = url.split_at(url.find('/').unwrap_or(url.len()));
    match authority.rsplit_once('@') {
        // The key of a node is public; a password may follow it.
        Some((user, host)) if is_enode => {
            let key = user.split(':').next().unwrap_or_default();
            told.push_str(key);
            told.push('@');
            told.push_str(host);
        }
        Some((_, host)) => told.push_str(host),
        None => told.push_str(authority),
    }
    told.push_str(path);
    // The ports of an enode are no secret.
    match (query, is_enode) {
        ("", _) => {}
        (ports, true) => told.push_str(ports),
        (_, false) => {
            told.push('?');
            told.push_str(CUT);
        }
    }
}

/// Addresses of far hosts cut to their networks.
fn without_addresses(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']');
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, after) = rest.split_at(start);
        told.push_str(before);
        let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
        let (word, left) = after.split_at(end);
        let glued = Glued {
            before: ends_in_name(&told),
            behind: left.starts_with(is_of_name),
        };
        match address_in(word, glued) {
            Some((at, short)) => {
                told.push_str(&word[..at.start]);
                told.push_str(&short);
                told.push_str(&word[at.end..]);
            }
            None => told.push_str(word),
        }
        rest = left;
    }
    told.push_str(rest);
    told
}

/// Where a word touches letters: `de::f` in `node::follow` is no address.
#[derive(Clone, Copy)]
struct Glued {
    before: bool,
    behind: bool,
}

/// Where in a word of digits, dots, colons and brackets the address of a far host is, and
/// what is left of it. A sentence may end behind it, and labels stand before it, as in
/// `extip:203.0.113.7`.
fn address_in(word: &str, glued: Glued) -> Option<(Range<usize>, String)> {
    let sentence = word.trim_end_matches(['.', ':']).len();
    let behind_labels = word.match_indices([':', '[']).map(|(at, mark)| match mark {
        ":" => at + 1,
        _ => at,
    });
    let mut starts = std::iter::once(0).chain(behind_labels).enumerate();
    starts.find_map(|(labels, start)| {
        let mut bare = [start..word.len(), start..sentence].into_iter();
        bare.find_map(|at| {
            let text = word.get(at.clone())?;
            let (ip, short) = shortened(text)?;
            let is_glued =
                (glued.before && at.start == 0) || (glued.behind && at.end == word.len());
            // Behind many colons it is the rest of a fingerprint.
            let may_be_v6 = text.starts_with('[') || (labels < 2 && !is_glued);
            (ip.is_ipv4() || may_be_v6).then_some((at, short))
        })
    })
}

/// Whether a name of a program or of a person has this letter.
fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a text ends within such a name, and not with the escape of a line's end.
fn ends_in_name(text: &str) -> bool {
    let is_escape = ["\\n", "\\r", "\\t"].iter().any(|end| text.ends_with(end));
    text.ends_with(is_of_name) && !is_escape
}

/// An address and what is left of it; `None` where the word is none, or of a near host.
fn shortened(word: &str) -> Option<(IpAddr, String)> {
    let (ip, port) = match word.parse::<SocketAddr>() {
        Ok(socket) => (socket.ip(), format!(":{}", socket.port())),
        Err(_) => {
            let bare = word.trim_start_matches('[').trim_end_matches(']');
            (bare.parse::<IpAddr>().ok()?, String::new())
        }
    };
    if ip.is_unspecified() || Address::from(ip).is_local() {
        return None;
    }
    let ip = ip.to_canonical();
    let short = match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            format!("{a}.{b}.x.x{port}")
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            format!("[{a:x}:{b:x}:x]{port}")
        }
    };
    Some((ip, short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(text: &str) -> String {
        Scrubber::default().scrub(text)
    }

    #[test]
    fn secrets_are_cut_out_as_they_are_and_as_json_writes_them() {
        let scrubber = Scrubber::new(["a \"secret\" word\n".to_owned(), "abc".to_owned()]);
        let json = serde_json::json!({"error": "it is a \"secret\" word", "abc": 1}).to_string();
        assert_eq!(scrubber.scrub(&json), r#"{"abc":1,"error":"it is (cut)"}"#);
        let nested = Scrubber::new(["secret".to_owned(), "secret-of-all".to_owned()]);
        assert_eq!(nested.scrub("x secret-of-all y"), "x (cut) y");
    }

    #[test]
    fn urls_lose_users_passwords_and_queries() {
        for (text, expected) in [
            (
                "asks https://me:pass@a.example/b?token=x, then",
                "asks https://a.example/b?(cut) then",
            ),
            (
                "{\"store\":\"s3://b/p\",\"x\":\"postgres://u:p@h/d\"}",
                "{\"store\":\"s3://b/p\",\"x\":\"postgres://h/d\"}",
            ),
            ("http://u:p@[::1]:80/x", "http://[::1]:80/x"),
            ("at http://me:pa,s)s@h.example)", "at http://h.example)"),
            ("nothing :// here", "nothing :// here"),
            (
                "enode://abcd:mail-password@127.0.0.1:30303?discport=5",
                "enode://abcd@127.0.0.1:30303?discport=5",
            ),
        ] {
            assert_eq!(scrubbed(text), expected);
        }
    }

    #[test]
    fn addresses_of_others_are_cut_to_their_networks() {
        for (text, expected) in [
            ("\"203.0.113.7:30303\"", "\"203.0.x.x:30303\""),
            ("from 203.0.113.7.", "from 203.0.x.x."),
            ("[2001:db8:1::7]:30303 left", "[2001:db8:x]:30303 left"),
            ("2001:db8::1", "[2001:db8:x]"),
            (
                "127.0.0.1:8547 and 192.168.1.2",
                "127.0.0.1:8547 and 192.168.1.2",
            ),
            ("0.0.0.0:30303, gwa/v0.1.0", "0.0.0.0:30303, gwa/v0.1.0"),
            ("peer:203.0.113.7:30303", "peer:203.0.x.x:30303"),
            ("fed:203.0.113.7 left", "fed:203.0.x.x left"),
            ("extip:203.0.113.7", "extip:203.0.x.x"),
            ("of:fed:203.0.113.7:1", "of:fed:203.0.x.x:1"),
            ("peer:2001:db8::1 left", "peer:[2001:db8:x] left"),
            ("a\\n2001:db8::1", "a\\n[2001:db8:x]"),
            ("of[2001:db8::1]:1", "of[2001:db8:x]:1"),
            ("at 2001:db8::1.", "at [2001:db8:x]."),
        ] {
            assert_eq!(scrubbed(text), expected);
        }
    }

    #[test]
    fn what_only_looks_like_an_address_stays_as_it_is() {
        for text in [
            "gwa::node::follow: not followed",
            "gwa::swarm::feed",
            "gwa::cli::bad::decade",
            "12:30:45 1.5",
            "gwa 0.1.0 (ad0b::x)",
            "aa:bb:cc:dd:ee:ff:00:11:22:33:44",
            "x_2001::",
        ] {
            assert_eq!(scrubbed(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn an_address_is_cut_wherever_it_stands_apart(
            before in "[g-zG-Z:]{0,8}[ =(@/,]", last in 1u8.., after in "[ ,)/]?",
        ) {
            for (address, cut) in [
                (format!("203.0.113.{last}"), "203.0.x.x"),
                (format!("2001:db8:7::{last:x}"), "[2001:db8:x]"),
            ] {
                let told = scrubbed(&format!("{before}{address}{after}"));
                proptest::prop_assert_eq!(told, format!("{before}{cut}{after}"));
            }
        }

        #[test]
        fn any_text_comes_through_and_a_secret_never(
            before in ".{0,40}", secret in "[a-z]{12,20}", after in ".{0,40}",
        ) {
            let scrubber = Scrubber::new([secret.clone()]);
            let told = scrubber.scrub(&format!("{before}{secret}{after}"));
            proptest::prop_assert!(!told.contains(&secret));
        }
    }
}
