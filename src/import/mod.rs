//! Envelopes out of what others kept them in.
//!
//! Always true:
//! - Nothing is dropped for its age or its work: what is a canonical envelope of
//!   a size the archive takes comes out.
//! - What is refused is named by its place; where the next item is still known
//!   the reader goes on behind it.
//! - An envelope is what its own bytes say. Where the source says something else
//!   of it, as the key of a database may, it comes all the same, with a
//!   [`Mismatch`].
//! - Nothing is written to a source.
//! - Memory is bounded, however much a source holds.
//!
//! Files are told apart by content: a stream of RLP envelopes one after another
//! ([`stream`]), a CAR with leaves of an archive ([`car`]), lines of JSON
//! ([`json`]). Folders are a mailserver's LevelDB ([`leveldb`]) or another archive
//! ([`archive`]); a mailserver may have a PostgreSQL table too ([`postgres`]).
//! [`source`] opens any of them.

pub mod archive;
pub mod car;
mod error;
pub mod json;
pub mod leveldb;
pub mod postgres;
pub mod report;
mod rows;
pub mod source;
pub mod stream;

use std::io::{self, BufReader, Read};

pub use self::error::{ImportError, Place, Reason};
use crate::blocks::MAX_BLOCK_WRITTEN;
use crate::whisper::Envelope;

/// Longest envelope RLP taken, in bytes: one block of an archive holds it.
pub const MAX_ENVELOPE: usize = MAX_BLOCK_WRITTEN;

/// Longest envelope that is passed over rather than taken for garbage: 10 MiB,
/// the ceiling that Whisper itself sets.
pub const MAX_PASSED_OVER: usize = 10 << 20;

/// Bytes looked at to tell the forms apart: a CAR's length, a CBOR map and its
/// first key.
const PROBE: usize = 19;

/// What the source says of an envelope that its bytes do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Another hash.
    pub hash: bool,
    /// Another time of sending.
    pub sent: bool,
    /// Another topic.
    pub topic: bool,
    /// It stands under a key no mailserver writes.
    pub key: bool,
}

impl Mismatch {
    /// Whether they agree.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// An envelope out of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What its bytes say.
    pub envelope: Envelope,
    /// Where the source says something else.
    pub mismatch: Mismatch,
}

impl From<Envelope> for Found {
    fn from(envelope: Envelope) -> Self {
        Self {
            envelope,
            mismatch: Mismatch::default(),
        }
    }
}

/// What comes out of a source, in its order.
pub type Items<'s> = Box<dyn Iterator<Item = Result<Found, ImportError>> + 's>;

/// The envelopes of a file of any form, in file order.
pub fn envelopes<'r>(input: impl Read + 'r) -> Result<Items<'r>, ImportError> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut start = Vec::with_capacity(PROBE);
    (&mut input)
        .take(PROBE as u64)
        .read_to_end(&mut start)
        .map_err(|source| ImportError::Io { offset: 0, source })?;
    let is_car = looks_like_car(&start);
    let is_json = looks_like_json(&start);
    let input = io::Cursor::new(start).chain(input);
    if is_car {
        Ok(found(car::CarEnvelopes::new(input)?))
    } else if is_json {
        Ok(Box::new(json::JsonEnvelopes::new(input)))
    } else {
        Ok(found(stream::StreamEnvelopes::new(input)))
    }
}

fn found<'r>(envelopes: impl Iterator<Item = Result<Envelope, ImportError>> + 'r) -> Items<'r> {
    Box::new(envelopes.map(|item| item.map(Found::from)))
}

/// Whether the bytes start like text with an object, or with room before one.
/// No envelope starts so: lists start above all of it, and the mark's second byte
/// announces more than the list that its first would be has.
fn looks_like_json(start: &[u8]) -> bool {
    let text = start.strip_prefix(json::BYTE_ORDER_MARK).unwrap_or(start);
    let object = text.trim_ascii_start();
    match object.first() {
        Some(first) => *first == b'{',
        None => !start.is_empty(),
    }
}

/// Whether the bytes start like the header of a CAR: its length, then a CBOR map
/// that has `roots` or `version` first; the second version's has nothing else.
fn looks_like_car(start: &[u8]) -> bool {
    let varint = start.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    start.get(varint..).is_some_and(|header| {
        [
            &b"\xa2\x65roots"[..],
            b"\xa2\x67version",
            b"\xa1\x67version",
        ]
        .iter()
        .any(|form| header.starts_with(form))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::blocks::{Block, Codec};
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;

    pub(crate) fn envelope(n: u32) -> Envelope {
        Envelope::new(
            Expiry(1_600_000_000 + n),
            Ttl(50),
            Topic(n.to_be_bytes()),
            &n.to_le_bytes().repeat(20),
            u64::from(n),
        )
    }

    #[test]
    fn the_form_is_told_by_content() {
        let rlp = envelope(1).rlp().to_vec();
        let leaf = Block::new(Codec::Raw, rlp.clone());
        let mut car = Vec::new();
        let mut writer = crate::blocks::car::CarWriter::new(&mut car, leaf.cid()).unwrap();
        writer.put(&leaf).unwrap();
        writer.finish().unwrap();
        let json = format!("{{\"rlp\":\"0x{}\"}}\n", hex::encode(&rlp)).into_bytes();
        let before = ["\u{feff}", "\u{feff}\r\n", " ", "\n", &"\n\t ".repeat(20)];
        let texts = before.map(|before| [before.as_bytes(), &json].concat());
        for bytes in [rlp, car, json].into_iter().chain(texts) {
            let found: Vec<_> = envelopes(&bytes[..])
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(found, [Found::from(envelope(1))]);
        }
    }

    #[test]
    fn an_empty_file_holds_nothing() {
        for empty in ["", "\n", "\u{feff}"] {
            assert_eq!(envelopes(empty.as_bytes()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_car_of_the_second_version_is_refused_by_its_name() {
        let pragma = b"\x0a\xa1\x67version\x02";
        let refused = envelopes(&pragma[..]).err().expect("another version");
        assert!(matches!(
            refused,
            ImportError::Car(crate::blocks::car::CarError::Version { version: 2 })
        ));
    }
}
