//! Whether, and as whom, heads are told by IPNS.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::publish::ipns::KeyName;
use crate::publish::ipns::folder::ParseKeyNameError;

/// As users write it: `true` for the key that has no other name, `false`, or the name
/// of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishAs(pub Option<KeyName>);

impl FromStr for PublishAs {
    type Err = ParseKeyNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" => Ok(Self(Some(KeyName::default()))),
            "false" => Ok(Self(None)),
            key => key.parse().map(Some).map(Self),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Whether(bool),
    Key(String),
}

impl<'de> Deserialize<'de> for PublishAs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Written::deserialize(deserializer)? {
            Written::Whether(whether) => whether.to_string(),
            Written::Key(key) => key,
        };
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_or_taken_for_granted() {
        let read = |text: &str| {
            let table: toml::Table = format!("publish = {text}").parse().unwrap();
            table["publish"].clone().try_into::<PublishAs>()
        };
        assert_eq!(read("true").unwrap().0, Some(KeyName::default()));
        assert_eq!(read("false").unwrap().0, None);
        assert_eq!(read("\"mine\"").unwrap().0, "mine".parse().ok());
        assert!(read("\"no key\"").is_err() && read("7").is_err());
    }
}
