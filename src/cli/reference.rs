//! What a user writes to name an archive's head: a REF.
//!
//! Nothing (the own head), a bare CID, `ipfs://CID`, `/ipfs/CID` with or without
//! a path below it, or a CAR file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::blocks::{BlockError, Cid, check_cid};

/// The forms a REF may take, as error messages name them.
const FORMS: &str = "a CID, ipfs://CID, /ipfs/CID[/path], a CAR file, or nothing for the own head";

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
    /// A CAR file, whose root is meant.
    CarFile(PathBuf),
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
        let form = || ReferenceError::Form {
            text: text.to_owned(),
        };
        if let Some(rest) = text
            .strip_prefix("ipfs://")
            .or_else(|| text.strip_prefix("/ipfs/"))
        {
            return cid_and_path(rest)?.ok_or_else(form);
        }
        if text.contains("://") || text.starts_with("/ipns/") || text.is_empty() {
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
            _ => Err(form()),
        }
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

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnHead => f.write_str("the own head"),
            Self::Cid { cid, path } if path.is_empty() => write!(f, "{cid}"),
            Self::Cid { cid, path } => write!(f, "/ipfs/{cid}/{}", path.join("/")),
            Self::CarFile(path) => write!(f, "{}", path.display()),
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
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_reference_reads_what_it_prints() {
        for written in [reference(&[]), reference(&["state", "2019"])] {
            assert_eq!(written.to_string().parse(), Ok(written));
        }
    }

    #[test]
    fn other_forms_are_refused_with_the_accepted_ones_named() {
        for text in [
            "",
            "head",
            "ipns://example",
            "/ipns/example",
            "https://example.org",
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
