//! Envelopes out of files.
//!
//! Always true:
//! - Nothing is dropped for its age or its work: what is a canonical envelope of
//!   a size the archive takes comes out.
//! - What is refused is named by its offset in the file; where the next item is
//!   still known the reader goes on behind it.
//! - Memory is bounded by one block, however long the file.
//!
//! Two forms, told apart by content: a stream of RLP envelopes one after
//! another ([`stream`]), and a CAR with leaves of an archive ([`car`]).

pub mod car;
pub mod stream;

use std::io::{self, BufReader, Read};

use crate::blocks::MAX_BLOCK_WRITTEN;
use crate::blocks::car::CarError;
use crate::whisper::{Envelope, EnvelopeError};

/// Longest envelope RLP taken, in bytes: one block of an archive holds it.
pub const MAX_ENVELOPE: usize = MAX_BLOCK_WRITTEN;

/// Longest envelope that is passed over rather than taken for garbage: 10 MiB,
/// the ceiling that Whisper itself sets.
pub const MAX_PASSED_OVER: usize = 10 << 20;

/// Bytes looked at to tell the forms apart: a CAR's length, a CBOR map of two and
/// its first key.
const PROBE: usize = 19;

/// Why a part of a file, or the rest of it, was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// An RLP list that is no envelope.
    #[error("byte {offset}: {source}")]
    NotAnEnvelope {
        /// Where it starts.
        offset: u64,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// An envelope larger than an archive takes.
    #[error("byte {offset}: an envelope of {len} bytes, above the limit of {MAX_ENVELOPE}")]
    TooLarge {
        /// Where it starts.
        offset: u64,
        /// Its length in bytes.
        len: usize,
    },
    /// Bytes that start no RLP list: where the next envelope is cannot be known.
    #[error("byte {offset}: not an envelope: {what}")]
    Garbage {
        /// Where it starts.
        offset: u64,
        /// What was found.
        what: &'static str,
    },
    /// The file ends within an envelope.
    #[error("byte {offset}: the file ends within the envelope that starts here")]
    Truncated {
        /// Where the envelope starts.
        offset: u64,
    },
    /// The CAR, or a block of it, is damaged.
    #[error(transparent)]
    Car(#[from] CarError),
    /// A raw block of the CAR is no run of envelopes.
    #[error("block {cid}, {inner}")]
    Leaf {
        /// The block.
        cid: crate::blocks::Cid,
        /// What is wrong, and where in the block.
        inner: Box<ImportError>,
    },
    /// The file cannot be read.
    #[error("byte {offset}: {source}")]
    Io {
        /// How far it was read.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

impl ImportError {
    /// Whether the reader goes on behind what was refused.
    pub fn goes_on(&self) -> bool {
        match self {
            Self::NotAnEnvelope { .. } | Self::TooLarge { .. } | Self::Leaf { .. } => true,
            Self::Car(error) => error.next_section_is_known(),
            Self::Garbage { .. } | Self::Truncated { .. } | Self::Io { .. } => false,
        }
    }
}

/// The envelopes of a file of either form, in file order.
pub fn envelopes<'r>(
    input: impl Read + 'r,
) -> Result<Box<dyn Iterator<Item = Result<Envelope, ImportError>> + 'r>, ImportError> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut start = Vec::with_capacity(PROBE);
    (&mut input)
        .take(PROBE as u64)
        .read_to_end(&mut start)
        .map_err(|source| ImportError::Io { offset: 0, source })?;
    let is_car = looks_like_car(&start);
    let input = io::Cursor::new(start).chain(input);
    if is_car {
        Ok(Box::new(car::CarEnvelopes::new(input)?))
    } else {
        Ok(Box::new(stream::StreamEnvelopes::new(input)))
    }
}

/// Whether the bytes start like the header of a CAR: its length, then a CBOR map
/// of two that has `roots` or `version` first.
fn looks_like_car(start: &[u8]) -> bool {
    let varint = start.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    start.get(varint..).is_some_and(|header| {
        header.starts_with(b"\xa2\x65roots") || header.starts_with(b"\xa2\x67version")
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
        for bytes in [rlp, car] {
            let found: Vec<_> = envelopes(&bytes[..])
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(found, [envelope(1)]);
        }
    }

    #[test]
    fn an_empty_file_holds_nothing() {
        assert_eq!(envelopes(&[][..]).unwrap().count(), 0);
    }
}
