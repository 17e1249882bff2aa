//! What a user writes to name an archive's head: a REF.
//!
//! Nothing (the own head), a bare CID, `ipfs://CID`, `/ipfs/CID` with or without
//! a path below it, `ipns://NAME` and `/ipns/NAME` of a key or a host that is looked
//! up, `http(s)://HOST` of another `gwa` or of a public folder, the
//! same of a gateway with `/ipfs/CID[/path]` below it, a CAR file, or a folder.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::{SourceAddressError, base_url};
use crate::blocks::{BlockError, Cid, check_cid};
use crate::config::without_credentials;
use crate::publish::ipns::{ContentPath, NameRef, PathError};
use crate::publish::{Share, ShareError};
use crate::swarm::{SwarmAddress, SwarmAddressError};

/// The forms a REF may take, as error messages name them.
const FORMS: &str = "a CID, gwa://HEAD?.., ipfs://CID, /ipfs/CID[/path], ipns://NAME[/path], \
                     http(s)://HOST[/ipfs/CID[/path]], swarm:http(s)://HOST#OWNER, a CAR file, \
                     a folder (./NAME), or nothing for the own head";

/// Longest REF read, in bytes: a path to any block of an archive is far below.
const MAX_LEN: usize = 4_096;

/// A REF.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Reference {
    /// The head of the archive in the data folder.
    #[default]
    OwnHead,
    /// A block, or what a path of names leads to from it.
    Cid {
        /// Where the path starts.
        cid: Cid,
        /// Names to follow from there; empty for the block itself.
        path: Vec<String>,
    },
    /// What a name stands for, or what a path leads to from it.
    Name {
        /// The name: of a key, or of a host.
        name: NameRef,
        /// Names to follow from there; empty for what it stands for itself.
        path: Vec<String>,
    },
    /// A CAR file, whose root is meant.
    CarFile(PathBuf),
    /// A data folder, or a copy of its public part, whose current head is meant.
    Folder(PathBuf),
    /// What stands behind a URL: its current head.
    Url(Url),
    /// An archive on Swarm: the head that its feed or its index shows.
    Swarm(SwarmAddress),
    /// A head, and where its archive is to be had, as `gwa share` prints it.
    Shared(Box<Share>),
    /// A block, or what a path leads to, as a gateway's URL names it.
    AtGateway {
        /// Where the gateway is.
        base: Url,
        /// Where the path starts.
        cid: Cid,
        /// Names to follow from there; empty for the block itself.
        path: Vec<String>,
    },
}

impl Reference {
    /// Names to follow from the block that is meant.
    pub fn path(&self) -> &[String] {
        match self {
            Self::Cid { path, .. } | Self::AtGateway { path, .. } | Self::Name { path, .. } => path,
            Self::OwnHead
            | Self::CarFile(_)
            | Self::Folder(_)
            | Self::Url(_)
            | Self::Swarm(_)
            | Self::Shared(_) => &[],
        }
    }
}

/// Why a text is no REF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// None of the accepted forms.
    #[error("`{text}` is none of: {FORMS}")]
    Form {
        /// What was given.
        text: String,
    },
    /// A name that is none.
    #[error("`{text}`: {reason}")]
    Name {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: PathError,
    },
    /// A shared line that is none.
    #[error("`{text}`: {reason}")]
    Share {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: ShareError,
    },
    /// A URL that is no REF.
    #[error(transparent)]
    Url(#[from] SourceAddressError),
    /// No archive on Swarm.
    #[error(transparent)]
    Swarm(#[from] SwarmAddressError),
    /// A CID that no archive uses.
    #[error("{reason}")]
    ForeignCid {
        /// What is foreign about it.
        reason: String,
    },
    /// Longer than any REF.
    #[error("a reference of {len} bytes, above the limit of {MAX_LEN}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LEN {
            return Err(ReferenceError::TooLong { len: text.len() });
        }
        // What is refused is told, and so logged: not with the password that it may have.
        let form = || ReferenceError::Form {
            text: without_credentials(text),
        };
        if let Some(rest) = text
            .strip_prefix("ipfs://")
            .or_else(|| text.strip_prefix("/ipfs/"))
        {
            return cid_and_path(rest)?.ok_or_else(form);
        }
        if SwarmAddress::is_meant(text) {
            return Ok(Self::Swarm(text.parse()?));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return at_url(text);
        }
        if text.starts_with("gwa://") {
            return match text.parse() {
                Ok(share) => Ok(Self::Shared(Box::new(share))),
                Err(reason) => Err(ReferenceError::Share {
                    text: without_credentials(text),
                    reason,
                }),
            };
        }
        if let Some(rest) = text
            .strip_prefix("ipns://")
            .or_else(|| text.strip_prefix("/ipns/"))
        {
            return match format!("/ipns/{rest}").parse() {
                Ok(ContentPath::Name { name, path }) => Ok(Self::Name { name, path }),
                Ok(ContentPath::Block { .. }) => Err(form()),
                Err(reason) => Err(ReferenceError::Name {
                    text: without_credentials(text),
                    reason,
                }),
            };
        }
        if text.contains("://") || text.is_empty() {
            return Err(form());
        }
        let is_car = text
            .rsplit_once('.')
            .is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("car"));
        if is_car {
            return Ok(Self::CarFile(text.into()));
        }
        match cid_and_path(text)? {
            Some(reference) if !text.contains('/') => Ok(reference),
            None if text.contains('/') || text == "." || text == ".." => {
                Ok(Self::Folder(text.into()))
            }
            _ => Err(form()),
        }
    }
}

/// The host alone, or `/ipfs/CID[/path]` at the end of what is below it.
fn at_url(text: &str) -> Result<Reference, ReferenceError> {
    let host = text.find("://").map_or(0, |at| at + 3);
    let Some(at) = text[host..].rfind("/ipfs/").map(|at| host + at) else {
        return Ok(Reference::Url(base_url(text)?));
    };
    let base = base_url(&text[..at])?;
    let (path, _query) = text[at + 6..]
        .split_once('?')
        .unwrap_or((&text[at + 6..], ""));
    match cid_and_path(path)? {
        Some(Reference::Cid { cid, path }) => Ok(Reference::AtGateway { base, cid, path }),
        _ => Err(ReferenceError::Form {
            text: without_credentials(text),
        }),
    }
}

/// `CID[/name/name..]`; `None` where it starts with no CID.
fn cid_and_path(text: &str) -> Result<Option<Reference>, ReferenceError> {
    let mut parts = text.split('/');
    let Some(Ok(cid)) = parts.next().map(Cid::from_str) else {
        return Ok(None);
    };
    check_cid(&cid).map_err(|error: BlockError| ReferenceError::ForeignCid {
        reason: error.to_string(),
    })?;
    let path = parts
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(Some(Reference::Cid { cid, path }))
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(share) => share.fmt(f),
            Self::OwnHead => f.write_str("the own head"),
            Self::Cid { cid, path } if path.is_empty() => write!(f, "{cid}"),
            Self::Cid { cid, path } => write!(f, "/ipfs/{cid}/{}", path.join("/")),
            Self::Name { name, path } => {
                write!(f, "ipns://{name}")?;
                path.iter().try_for_each(|name| write!(f, "/{name}"))
            }
            Self::CarFile(path) | Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url.as_str()),
            Self::Swarm(address) => address.fmt(f),
            Self::AtGateway { base, cid, path } if path.is_empty() => {
                write!(f, "{base}ipfs/{cid}")
            }
            Self::AtGateway { base, cid, path } => write!(f, "{base}ipfs/{cid}/{}", path.join("/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    fn reference(path: &[&str]) -> Reference {
        Reference::Cid {
            cid: CID.parse().unwrap(),
            path: path.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn every_accepted_form_is_read() {
        for (text, expected) in [
            (CID.to_owned(), reference(&[])),
            (format!("ipfs://{CID}"), reference(&[])),
            (format!("ipfs://{CID}/"), reference(&[])),
            (format!("/ipfs/{CID}"), reference(&[])),
            (
                format!("/ipfs/{CID}/state/2019/07/15"),
                reference(&["state", "2019", "07", "15"]),
            ),
            (
                "here/archive.CAR".to_owned(),
                Reference::CarFile("here/archive.CAR".into()),
            ),
            ("./copy".to_owned(), Reference::Folder("./copy".into())),
            ("/srv/gwa".to_owned(), Reference::Folder("/srv/gwa".into())),
            (
                "http://localhost:8547".to_owned(),
                Reference::Url("http://localhost:8547/".parse().unwrap()),
            ),
            (
                format!("https://example.org/gw/ipfs/{CID}/state/2019?format=car"),
                Reference::AtGateway {
                    base: "https://example.org/gw/".parse().unwrap(),
                    cid: CID.parse().unwrap(),
                    path: vec!["state".to_owned(), "2019".to_owned()],
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_reference_reads_what_it_prints() {
        let at_gateway = Reference::AtGateway {
            base: "https://example.org/gw/".parse().unwrap(),
            cid: CID.parse().unwrap(),
            path: vec!["state".to_owned()],
        };
        let url = Reference::Url("http://localhost:8547/".parse().unwrap());
        for written in [
            reference(&[]),
            reference(&["state", "2019"]),
            at_gateway,
            url,
        ] {
            assert_eq!(written.to_string().parse(), Ok(written));
        }
    }

    #[test]
    fn other_forms_are_refused_with_the_accepted_ones_named() {
        for text in [
            "",
            "head",
            "ftp://example.org",
            "https://example.org/ipfs/nonsense",
            "ipfs://nonsense",
            "/ipfs/",
            &format!("{CID}/state"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(matches!(error, ReferenceError::Form { .. }), "{text}");
            assert!(error.to_string().contains("/ipfs/CID[/path]"), "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_told_without_its_password() {
        for text in [
            "http://me:hunter2@example.org",
            "https://me:hunter2@example.org/ipfs/nonsense",
            "ftp://me:hunter2@example.org",
            "swarm:http://me:hunter2@example.org",
            "ipns://me:hunter2@example.org",
            "https://example.org/?token=hunter2",
            "gwa://nonsense?from=https://me:hunter2@example.org",
        ] {
            let told = text.parse::<Reference>().unwrap_err().to_string();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn names_of_keys_and_of_hosts_are_read() {
        const NAME: &str = "k51qzi5uqu5dm0t4vbwri4lkg76q03b4x9tsvekgvbu4zli6454ff7w8wdosa4";
        const LEGACY: &str = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";
        let name = |text: &str, path: &[&str]| Reference::Name {
            name: text.parse().unwrap(),
            path: path.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (text, expected) in [
            (format!("ipns://{NAME}"), name(NAME, &[])),
            (format!("/ipns/{LEGACY}/"), name(NAME, &[])),
            (
                "ipns://Archive.example/state/2019".to_owned(),
                name("archive.example", &["state", "2019"]),
            ),
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!(read, expected, "{text}");
            assert_eq!(read.to_string().parse(), Ok(expected));
        }
        for text in ["ipns://", "ipns://archive", "/ipns/127.0.0.1", "/ipns//x"] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(matches!(error, ReferenceError::Name { .. }), "{text}");
        }
        assert!(matches!(
            "http://u:p@example.org".parse::<Reference>(),
            Err(ReferenceError::Url(_))
        ));
    }

    #[test]
    fn a_cid_that_no_archive_uses_is_refused() {
        let v0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
        assert!(matches!(
            v0.parse::<Reference>(),
            Err(ReferenceError::ForeignCid { .. })
        ));
    }

    #[test]
    fn an_endless_reference_is_refused() {
        let text = format!("/ipfs/{CID}{}", "/a".repeat(MAX_LEN));
        assert!(matches!(
            text.parse::<Reference>(),
            Err(ReferenceError::TooLong { .. })
        ));
    }
}
