//! What a user writes to name the store of an archive.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::swarm::{NoBatch, batch_digits};
use crate::config::without_credentials;
use crate::kubo::{Auth, AuthError};
use crate::sources::{SourceAddressError, base_url};

/// The forms a store may take, as error messages name them.
const FORMS: &str = "embedded, folder:PATH, kubo:URL, s3:https://HOST/BUCKET/PREFIX, \
                     s3://BUCKET/PREFIX or swarm:URL";

/// Where an archive's blocks are kept, as its user names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreAddress {
    /// The data folder alone.
    #[default]
    Embedded,
    /// A folder elsewhere: another disk, a share of the network.
    Folder(PathBuf),
    /// The RPC of a Kubo node, or of an IPFS Cluster before several.
    Kubo(Url),
    /// A bucket of objects: the URL of its endpoint and bucket, or `s3://BUCKET`
    /// where the environment names the endpoint.
    S3(Url),
    /// The API of a Bee node of Swarm.
    Swarm(Url),
}

/// A text that names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreAddressError {
    /// None of the accepted forms.
    #[error("`{text}` is no store: expected {FORMS}")]
    Form {
        /// What was given.
        text: String,
    },
    /// A store in a bucket whose name is not said.
    #[error("`{text}` is no store: it names no bucket")]
    NoBucket {
        /// What was given.
        text: String,
    },
    /// A URL that is more than the place of a store.
    #[error("`{text}` is no store: a store has {what}")]
    Url {
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What a store asks of those who write there is another thing. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreAuthError {
    /// For a node of IPFS.
    #[error(transparent)]
    Kubo(#[from] AuthError),
    /// For a node of Swarm.
    #[error(transparent)]
    Swarm(#[from] NoBatch),
}

impl StoreAddress {
    /// Whether a store here may ask for `auth`; the store itself is not asked.
    pub fn check_auth(&self, auth: &str) -> Result<(), StoreAuthError> {
        match self {
            Self::Kubo(_) => auth.parse::<Auth>().map(drop)?,
            Self::Swarm(_) => batch_digits(auth).map(drop)?,
            // The environment has the keys of buckets.
            Self::Embedded | Self::Folder(_) | Self::S3(_) => {}
        }
        Ok(())
    }
}

impl FromStr for StoreAddress {
    type Err = StoreAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What is refused is told, and so logged: not with the password that it may have.
        let form = || StoreAddressError::Form {
            text: without_credentials(text),
        };
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        match text.split_once(':').ok_or_else(form)? {
            ("folder", path) if !path.is_empty() => Ok(Self::Folder(path.into())),
            ("kubo", url) => place(text, url).map(Self::Kubo),
            ("swarm", url) => place(text, url).map(Self::Swarm),
            ("s3", rest) => bucket_url(text, rest).map(Self::S3),
            _ => Err(form()),
        }
    }
}

/// The URL in `text`; with a slash at its end.
fn place(text: &str, url: &str) -> Result<Url, StoreAddressError> {
    let text = without_credentials(text);
    base_url(url).map_err(|error| match error {
        SourceAddressError::Url { what, .. } => StoreAddressError::Url { text, what },
        _ => StoreAddressError::Form { text },
    })
}

/// The URL of a bucket, or of a folder in it; with a slash at its end.
fn bucket_url(text: &str, rest: &str) -> Result<Url, StoreAddressError> {
    let no_bucket = || StoreAddressError::NoBucket {
        text: without_credentials(text),
    };
    if let Some(bucket) = rest.strip_prefix("//") {
        // Checked as the host and path of any URL are.
        let checked = place(text, &format!("https://{bucket}"))?;
        if checked.port().is_some() {
            return Err(no_bucket());
        }
        let url = format!("s3://{}/", bucket.trim_end_matches('/'));
        return url.parse().map_err(|_| no_bucket());
    }
    let url = place(text, rest)?;
    if url.path() == "/" {
        return Err(no_bucket());
    }
    Ok(url)
}

impl<'de> serde::Deserialize<'de> for StoreAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trimmed = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Folder(path) => write!(f, "folder:{}", path.display()),
            Self::Kubo(url) => write!(f, "kubo:{}", trimmed(url)),
            Self::S3(url) if url.scheme() == "s3" => f.write_str(&trimmed(url)),
            Self::S3(url) => write!(f, "s3:{}", trimmed(url)),
            Self::Swarm(url) => write!(f, "swarm:{}", trimmed(url)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> StoreAddress {
        text.parse().unwrap()
    }

    #[test]
    fn each_form_is_read_and_shown_as_it_was_written() {
        for text in [
            "embedded",
            "folder:/mnt/nas/archive",
            "kubo:http://127.0.0.1:5001",
            "s3:https://objects.example.org/bucket/prefix",
            "s3:http://127.0.0.1:7070/bucket",
            "s3://bucket",
            "s3://bucket/a/b",
            "swarm:http://127.0.0.1:1633",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse("embedded"), StoreAddress::default());
        assert_eq!(parse("s3://bucket/a/"), parse("s3://bucket/a"));
        assert!(matches!(parse("s3://bucket"), StoreAddress::S3(url)
            if url.host_str() == Some("bucket") && url.path() == "/"));
    }

    #[test]
    fn what_names_no_store_is_refused() {
        for text in [
            "",
            "/mnt/nas",
            "folder:",
            "ftp://example.org",
            "kubo:127.0.0.1:5001",
            "kubo:http://token@127.0.0.1:5001",
            "kubo:http://127.0.0.1:5001?x=1",
            "s3:",
            "s3://",
            "s3://bucket:80/x",
            "s3://key:secret@bucket/x",
            "https://key:secret@objects.example.org/bucket",
            "s3:https://objects.example.org",
            "swarm:",
        ] {
            let told = text.parse::<StoreAddress>().unwrap_err().to_string();
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
