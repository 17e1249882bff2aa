//! What a user writes to name an archive on Swarm: `swarm:http(s)://HOST#OWNER` for
//! the one that an owner's feed shows, `swarm:http(s)://HOST#REFERENCE` for an index
//! as it was once.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::{Owner, Reference};
use crate::config::without_credentials;
use crate::sources::{SourceAddressError, base_url};

/// Stands before the URL of a node or gateway.
const SCHEME: &str = "swarm:";

/// An archive on Swarm, and whom to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmAddress {
    /// The node or gateway; always with a slash at its end.
    pub base: Url,
    /// Which archive.
    pub place: SwarmPlace,
}

/// Where on Swarm an archive is, whichever node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwarmPlace {
    /// What the owner's feed shows now.
    Feed(Owner),
    /// What this index showed.
    Index(Reference),
}

/// A text that names no archive on Swarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwarmAddressError {
    /// None of the accepted forms.
    #[error(
        "`{text}` names no archive on Swarm: expected swarm:http(s)://HOST#OWNER, with the 40 \
         hex digits of a feed's owner, or the 64 of an index behind the #"
    )]
    Form {
        /// What was given.
        text: String,
    },
    /// A URL that is more than the place of a node.
    #[error("`{text}` names no archive on Swarm: its URL has {what}")]
    Url {
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl SwarmAddress {
    /// Whether a text is meant to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The base with the place behind a `#`: tells archives on one node apart, and is
    /// the base to whatever joins a path to it.
    pub fn url(&self) -> Url {
        let mut url = self.base.clone();
        url.set_fragment(Some(&self.place.to_string()));
        url
    }
}

impl FromStr for SwarmAddress {
    type Err = SwarmAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What is refused is told, and so logged: not with the password that it may have.
        let form = || SwarmAddressError::Form {
            text: without_credentials(text),
        };
        let url = text.strip_prefix(SCHEME).ok_or_else(form)?;
        let (url, place) = url.rsplit_once('#').ok_or_else(form)?;
        let digits = place.strip_prefix("0x").unwrap_or(place);
        let place = match digits.len() {
            40 => digits.parse().map(SwarmPlace::Feed),
            64 => digits.parse().map(SwarmPlace::Index),
            _ => return Err(form()),
        };
        let base = base_url(url).map_err(|error| match error {
            SourceAddressError::Url { what, .. } => SwarmAddressError::Url {
                text: without_credentials(text),
                what,
            },
            _ => form(),
        })?;
        Ok(Self {
            base,
            place: place.map_err(|_| form())?,
        })
    }
}

impl fmt::Display for SwarmPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(owner) => owner.fmt(f),
            Self::Index(reference) => reference.fmt(f),
        }
    }
}

impl fmt::Display for SwarmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base.as_str().trim_end_matches('/');
        write!(f, "{SCHEME}{base}#{}", self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_shown_as_they_were_written() {
        let owner = "8d3766440f0d7b949a5e32995d09619a7f86e632";
        for place in [owner, &"a5".repeat(32)] {
            for base in ["http://127.0.0.1:1633", "https://example.org/bee"] {
                let text = format!("swarm:{base}#{place}");
                let address: SwarmAddress = text.parse().unwrap();
                assert_eq!(address.to_string(), text);
                assert_eq!(address.url().as_str(), format!("{base}/#{place}"));
                assert_eq!(
                    address.url().join("bytes/x").unwrap().as_str(),
                    format!("{base}/bytes/x")
                );
            }
        }
        let prefixed: SwarmAddress = format!("swarm:http://a#0x{owner}").parse().unwrap();
        assert_eq!(prefixed.to_string(), format!("swarm:http://a#{owner}"));
    }

    #[test]
    fn what_names_no_archive_is_refused() {
        for text in [
            "swarm:http://127.0.0.1:1633",
            "swarm:http://127.0.0.1:1633#",
            "swarm:http://127.0.0.1:1633#abc",
            "swarm:#8d3766440f0d7b949a5e32995d09619a7f86e632",
            "swarm:ftp://a#8d3766440f0d7b949a5e32995d09619a7f86e632",
            "swarm:http://u:p@a",
            "swarm:http://u:p@a#8d3766440f0d7b949a5e32995d09619a7f86e63x",
            "swarm:http://u:p@a#8d3766440f0d7b949a5e32995d09619a7f86e632",
            "swarm:http://a#8d3766440f0d7b949a5e32995d09619a7f86e63x",
            "http://a#8d3766440f0d7b949a5e32995d09619a7f86e632",
        ] {
            let told = text.parse::<SwarmAddress>().unwrap_err().to_string();
            assert!(!told.contains("u:p@"), "{told}");
        }
    }
}
