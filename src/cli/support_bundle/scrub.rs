//! Texts without what is nobody else's business.
//!
//! Always true of what comes out:
//! - No secret that was named is in it, as it is or as JSON writes it.
//! - No URL has a user, a password or a query, and no enode a password.
//! - No address is of a host beyond this machine and its private networks: what is left
//!   of one tells its network.

use std::net::{IpAddr, SocketAddr};

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
        // A sentence may end behind an address, and one begin behind a label.
        let behind_label = word.find(':').map_or(word.len(), |colon| colon + 1);
        let sentence = word.trim_end_matches(['.', ':']).len();
        let bare = [0, behind_label]
            .into_iter()
            .flat_map(|start| [start..word.len(), start..sentence]);
        let short = bare.into_iter().find_map(|at| {
            let short = shortened(word.get(at.clone())?)?;
            Some((at, short))
        });
        match short {
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

/// What is left of an address; `None` where the word is none, or of a near host.
fn shortened(word: &str) -> Option<String> {
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
    Some(match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            format!("{a}.{b}.x.x{port}")
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            format!("[{a:x}:{b:x}:x]{port}")
        }
    })
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
            ("12:30:45 1.5 dead::", "12:30:45 1.5 [dead:0:x]"),
        ] {
            assert_eq!(scrubbed(text), expected);
        }
    }

    proptest::proptest! {
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
