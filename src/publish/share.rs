//! One line that carries all another needs: head, key and hints.
//!
//! `gwa://HEAD?key=HEX&name=TEXT&from=URL&from=URL&enode=ENODE`, each value
//! percent-encoded; all but the head may be absent. The key says whose later
//! heads to accept, and the head from which number on.

use std::fmt;
use std::str::FromStr;

use secp256k1::PublicKey;
use url::Url;

use super::hints::{Hints, HintsError};
use crate::archive::head::{Head, MAX_NAME_LEN};
use crate::blocks::{Cid, check_cid};

/// Scheme of the line.
const SCHEME: &str = "gwa";

/// Longest line in bytes: every hint at its longest, percent-encoded.
pub const MAX_LEN: usize = 8_192;

/// What is shared of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its head.
    pub head: Cid,
    /// The key its heads are signed with.
    pub key: Option<PublicKey>,
    /// Its name, empty for none.
    pub name: String,
    /// Where it is to be had.
    pub hints: Hints,
}

impl Share {
    /// What is shared of the archive whose head this is.
    pub fn of(head: &Head, hints: Hints) -> Self {
        Self {
            head: *head.cid(),
            key: Some(*head.key()),
            name: head.body().name.clone(),
            hints,
        }
    }
}

/// Why a text shares nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Not of the form.
    #[error("no gwa://HEAD?key=..&from=..")]
    Form,
    /// Longer than any.
    #[error("{0} bytes, above the limit of {MAX_LEN}")]
    TooLong(usize),
    /// No head that an archive could have.
    #[error("`{0}` is the CID of no head")]
    Head(String),
    /// No public key.
    #[error("the key is no compressed public key in hex")]
    Key,
    /// A name that fits into no head.
    #[error("the name is longer than {MAX_NAME_LEN} bytes")]
    Name,
    /// Something stands twice that stands once.
    #[error("`{0}` stands twice")]
    Twice(&'static str),
    /// Hints out of bounds.
    #[error(transparent)]
    Hints(#[from] HintsError),
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(key) = &self.key {
            query.append_pair("key", &key.to_string());
        }
        if !self.name.is_empty() {
            query.append_pair("name", &self.name);
        }
        for address in self.hints.http() {
            query.append_pair("from", address);
        }
        if let Some(enode) = self.hints.enode() {
            query.append_pair("enode", &enode.to_string());
        }
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        write!(f, "{SCHEME}://{}{mark}{query}", self.head)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LEN {
            return Err(ShareError::TooLong(text.len()));
        }
        let url: Url = text.parse().map_err(|_| ShareError::Form)?;
        if url.scheme() != SCHEME || url.fragment().is_some() || url.path().len() > 1 {
            return Err(ShareError::Form);
        }
        let host = url.host_str().ok_or(ShareError::Form)?;
        let head: Cid = host
            .parse()
            .map_err(|_| ShareError::Head(host.to_owned()))?;
        check_cid(&head).map_err(|_| ShareError::Head(host.to_owned()))?;
        let (mut key, mut name, mut enode) = (None, None, None);
        let mut http = Vec::new();
        for (field, value) in url.query_pairs() {
            match &*field {
                "key" => {
                    let read = value.parse().map_err(|_| ShareError::Key)?;
                    once(&mut key, read, "key")?;
                }
                "name" => once(&mut name, value.into_owned(), "name")?,
                "enode" => once(&mut enode, value.into_owned(), "enode")?,
                "from" => http.push(value.into_owned()),
                // Later versions may tell more.
                _ => {}
            }
        }
        let name = name.unwrap_or_default();
        if name.len() > MAX_NAME_LEN {
            return Err(ShareError::Name);
        }
        Ok(Self {
            head,
            key,
            name,
            hints: Hints::read(http, enode.as_deref())?,
        })
    }
}

fn once<T>(place: &mut Option<T>, value: T, what: &'static str) -> Result<(), ShareError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ShareError::Twice(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafyreic5wlgq6a6ibjfx5m73hs4v3g5lv4ibxktyhdf524kl6q6w6dxiqi";

    fn share() -> Share {
        let key = secp256k1::SecretKey::from_secret_bytes([3; 32]).unwrap();
        Share {
            head: CID.parse().unwrap(),
            key: Some(key.public_key()),
            name: "ein Archiv & mehr".into(),
            hints: Hints::read(
                vec![
                    "http://127.0.0.1:8547".into(),
                    "https://example.org/a?b".into(),
                ],
                None,
            )
            .unwrap(),
        }
    }

    #[test]
    fn reading_is_the_inverse_of_writing() {
        for written in [
            share(),
            Share {
                key: None,
                name: String::new(),
                hints: Hints::default(),
                ..share()
            },
        ] {
            assert_eq!(written.to_string().parse(), Ok(written));
        }
    }

    #[test]
    fn what_is_out_of_form_is_refused() {
        let key = share().key.unwrap();
        for text in [
            "",
            "gwa://",
            "gwa://nonsense",
            "ipfs://bafyreic5wlgq6a6ibjfx5m73hs4v3g5lv4ibxktyhdf524kl6q6w6dxiqi",
            &format!("gwa://{CID}/path"),
            &format!("gwa://{CID}#x"),
            &format!("gwa://{CID}?key=00"),
            &format!("gwa://{CID}?key={key}&key={key}"),
            &format!("gwa://{CID}?from=ftp://a"),
            &format!("gwa://{CID}?name={}", "x".repeat(33)),
            &format!("gwa://{CID}?x={}", "x".repeat(MAX_LEN)),
        ] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        let text = format!("gwa://{CID}?later=1");
        assert_eq!(text.parse::<Share>().unwrap().head.to_string(), CID);
    }
}
