//! What a record, a DNSLink or a user points at: `/ipfs/CID[/path]` or
//! `/ipns/NAME[/path]`.

use std::fmt;
use std::str::FromStr;

use url::Host;

use super::Name;
use crate::blocks::{Cid, check_cid};

/// Most names in a path: an archive's longest have 13.
pub const MAX_NAMES: usize = 64;

/// Longest path read, in bytes.
const MAX_PATH: usize = 4_096;

/// Longest host name, in bytes, as DNS has it.
const MAX_HOST: usize = 253;

/// A name that is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NameRef {
    /// The name of a key, which records are signed for.
    Key(Name),
    /// A host whose DNS says what it stands for: DNSLink. In lower case.
    Host(String),
}

/// Something that is pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentPath {
    /// A block, or what names lead to from it.
    Block {
        /// Where the path starts.
        cid: Cid,
        /// Names to follow from there.
        path: Vec<String>,
    },
    /// What a name stands for, or what names lead to from it.
    Name {
        /// The name.
        name: NameRef,
        /// Names to follow from there.
        path: Vec<String>,
    },
}

/// Why a text points at nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not of the form.
    #[error("no /ipfs/CID[/path] and no /ipns/NAME[/path]")]
    Form,
    /// Longer or deeper than any.
    #[error("longer than any path")]
    TooLong,
    /// A CID that no archive uses.
    #[error("{0}")]
    ForeignCid(String),
    /// Neither the name of a key nor a host.
    #[error("neither the name of a key nor a host in DNS")]
    Name,
}

impl FromStr for NameRef {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(name) = text.parse() {
            return Ok(Self::Key(name));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        // A host of one label is more likely a name that was mistyped.
        if text.len() > MAX_HOST || !text.contains('.') {
            return Err(PathError::Name);
        }
        match Host::parse(text) {
            Ok(Host::Domain(host)) if is_host(&host) => Ok(Self::Host(host)),
            _ => Err(PathError::Name),
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    host.len() <= MAX_HOST && host.split('.').all(is_label)
}

impl fmt::Display for NameRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => name.fmt(f),
            Self::Host(host) => f.write_str(host),
        }
    }
}

impl FromStr for ContentPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let mut parts = text.split('/');
        let (Some(""), Some(space), Some(first)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(PathError::Form);
        };
        let path: Vec<_> = parts
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        if path.len() > MAX_NAMES {
            return Err(PathError::TooLong);
        }
        match space {
            "ipfs" => {
                let cid: Cid = first.parse().map_err(|_| PathError::Form)?;
                check_cid(&cid).map_err(|error| PathError::ForeignCid(error.to_string()))?;
                Ok(Self::Block { cid, path })
            }
            "ipns" => Ok(Self::Name {
                name: first.parse()?,
                path,
            }),
            _ => Err(PathError::Form),
        }
    }
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self {
            Self::Block { cid, path } => {
                write!(f, "/ipfs/{cid}")?;
                path
            }
            Self::Name { name, path } => {
                write!(f, "/ipns/{name}")?;
                path
            }
        };
        path.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}
