//! What a head seals, written out for others.
//!
//! Always true:
//! - Every block was hashed on its way; every envelope comes out of a verified
//!   leaf.
//! - Equal heads give equal bytes, whoever writes them: a CAR has its blocks in
//!   depth-first order, each once; streams and lines are sorted by (sent, hash).
//! - What an export wrote, an import takes back ([`crate::import`]).
//!
//! | format | holds | `gwa import` takes |
//! | --- | --- | --- |
//! | CAR | every block of the head: it is an archive to read and to fork | its leaves |
//! | RLP | envelopes one after another | all |
//! | JSON | an object a line: [`Line`] | all |

mod dfs;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::Serialize;

pub use self::dfs::DepthFirst;
use crate::archive::leaf::Record;
use crate::whisper::{Envelope, EnvelopeError};

/// What an export writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Blocks.
    #[default]
    Car,
    /// Envelopes, as they are.
    Rlp,
    /// Envelopes, described.
    Json,
}

/// A text that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of: car, rlp, json")]
pub struct NoFormat(String);

impl FromStr for Format {
    type Err = NoFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "car" => Ok(Self::Car),
            "rlp" => Ok(Self::Rlp),
            "json" => Ok(Self::Json),
            _ => Err(NoFormat(text.to_owned())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Car => "car",
            Self::Rlp => "rlp",
            Self::Json => "json",
        })
    }
}

/// An envelope as a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its identity, hex with `0x`.
    hash: String,
    /// Its topic, hex with `0x`.
    topic: String,
    /// When it was sent, Unix seconds.
    sent: u32,
    /// How long it lived, seconds.
    ttl: u32,
    /// When it died, Unix seconds.
    expiry: u32,
    /// Its size as Whisper counts it, bytes.
    size: usize,
    /// All of it, hex with `0x`: what an import reads, and the rest repeats.
    rlp: String,
}

impl From<&Envelope> for Line {
    fn from(envelope: &Envelope) -> Self {
        Self {
            hash: envelope.hash().to_string(),
            topic: envelope.topic().to_string(),
            sent: envelope.sent().0,
            ttl: envelope.ttl().0,
            expiry: envelope.expiry().0,
            size: envelope.size(),
            rlp: format!("0x{}", hex::encode(envelope.rlp())),
        }
    }
}

impl Line {
    /// The envelope of a record.
    pub fn of(record: &Record) -> Result<Self, EnvelopeError> {
        Envelope::decode(&record.bytes).map(|envelope| Self::from(&envelope))
    }

    /// Writes it, and ends the line.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *output, self)?;
        output.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::envelope;
    use crate::import::{self, Found};

    #[test]
    fn a_line_is_taken_back_by_an_import() {
        let envelope = envelope(7, 1_600_000_000, 40);
        let mut text = Vec::new();
        Line::from(&envelope).write(&mut text).unwrap();
        let again: Vec<_> = import::envelopes(&text[..]).unwrap().collect();
        assert!(matches!(&again[..], [Ok(found)] if *found == Found::from(envelope)));
    }

    #[test]
    fn formats_go_by_their_names() {
        for format in [Format::Car, Format::Rlp, Format::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("zip".parse::<Format>().is_err());
    }
}
