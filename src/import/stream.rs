//! Envelopes one after another, as `cat` would join them.

use std::io::{ErrorKind, Read};

use bytes::Bytes;

use super::{ImportError, MAX_ENVELOPE, MAX_PASSED_OVER, Place};
use crate::whisper::Envelope;

/// Longest RLP header in bytes: one byte, and a length of eight.
const MAX_HEADER: usize = 9;

/// Shortest long list of RLP: lists up to 55 bytes carry their length in the
/// first byte.
const LONG_LIST: u8 = 0xf7;

/// The envelopes of a stream, in order.
pub struct StreamEnvelopes<R> {
    input: R,
    /// Where the next envelope starts.
    offset: u64,
    ended: bool,
}

impl<R: Read> StreamEnvelopes<R> {
    /// Reads from `input`, single bytes too: hand in something buffered.
    pub fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            ended: false,
        }
    }

    fn step(&mut self) -> Result<Option<Envelope>, ImportError> {
        let offset = self.offset;
        let mut header = [0; MAX_HEADER];
        if self.first_byte(&mut header[..1])? == 0 {
            return Ok(None);
        }
        let header_len = match header[0] {
            0..0xc0 => {
                return Err(ImportError::Garbage {
                    offset,
                    what: "no RLP list starts here",
                });
            }
            0xc0..=LONG_LIST => 1,
            long => 1 + usize::from(long - LONG_LIST),
        };
        self.fill(&mut header[1..header_len])?;
        let rlp_len = header_len
            .checked_add(
                payload_len(&header[..header_len])
                    .map_err(|what| ImportError::Garbage { offset, what })?,
            )
            .filter(|len| *len <= MAX_PASSED_OVER)
            .ok_or(ImportError::Garbage {
                offset,
                what: "a list longer than any Whisper message",
            })?;
        if rlp_len > MAX_ENVELOPE {
            self.pass_over(rlp_len - header_len)?;
            self.offset += rlp_len as u64;
            return Err(ImportError::TooLarge {
                place: Place::Byte(offset),
                len: rlp_len,
            });
        }
        let mut rlp = vec![0; rlp_len];
        rlp[..header_len].copy_from_slice(&header[..header_len]);
        self.fill(&mut rlp[header_len..])?;
        self.offset += rlp_len as u64;
        Envelope::decode(&Bytes::from(rlp))
            .map(Some)
            .map_err(|source| ImportError::NotAnEnvelope {
                place: Place::Byte(offset),
                source,
            })
    }

    /// Reads one byte; 0 where the stream ends instead.
    fn first_byte(&mut self, byte: &mut [u8]) -> Result<usize, ImportError> {
        loop {
            match self.input.read(byte) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|source| self.io(source)),
            }
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ImportError> {
        self.input.read_exact(bytes).map_err(|error| self.io(error))
    }

    fn pass_over(&mut self, len: usize) -> Result<(), ImportError> {
        let passed = std::io::copy(
            &mut (&mut self.input).take(len as u64),
            &mut std::io::sink(),
        )
        .map_err(|error| self.io(error))?;
        if passed == len as u64 {
            Ok(())
        } else {
            Err(ImportError::Truncated {
                offset: self.offset,
            })
        }
    }

    fn io(&self, source: std::io::Error) -> ImportError {
        let offset = self.offset;
        if source.kind() == ErrorKind::UnexpectedEof {
            ImportError::Truncated { offset }
        } else {
            ImportError::Io { offset, source }
        }
    }
}

/// The length of a list's payload that its header tells.
fn payload_len(header: &[u8]) -> Result<usize, &'static str> {
    let [first, length @ ..] = header else {
        return Err("no RLP list starts here");
    };
    if length.is_empty() {
        return Ok(usize::from(first - 0xc0));
    }
    // Its canonical form is checked when the whole envelope is decoded.
    length
        .iter()
        .try_fold(0usize, |sum, byte| {
            sum.checked_mul(256)?.checked_add(usize::from(*byte))
        })
        .ok_or("a list longer than any Whisper message")
}

impl<R: Read> Iterator for StreamEnvelopes<R> {
    type Item = Result<Envelope, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = match &step {
            Some(Ok(_)) => false,
            Some(Err(error)) => !error.goes_on(),
            None => true,
        };
        step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::envelope;
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Envelope>, Vec<ImportError>) {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for item in StreamEnvelopes::new(bytes) {
            match item {
                Ok(envelope) => taken.push(envelope),
                Err(error) => refused.push(error),
            }
        }
        (taken, refused)
    }

    fn joined(numbers: &[u32]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|n| envelope(*n).rlp().to_vec())
            .collect()
    }

    #[test]
    fn the_corpus_is_read_whole() {
        let corpus = std::fs::File::open("fixtures/corpus/envelopes.rlps").unwrap();
        let read: Result<Vec<_>, _> =
            StreamEnvelopes::new(std::io::BufReader::new(corpus)).collect();
        assert_eq!(read.unwrap().len(), 20_000);
    }

    #[test]
    fn a_list_that_is_no_envelope_is_named_and_passed_over() {
        let mut bytes = joined(&[1]);
        let at = bytes.len() as u64;
        bytes.extend([0xc2, 0x01, 0x02]);
        bytes.extend(joined(&[2]));
        let (taken, refused) = read(&bytes);
        assert_eq!(taken, [envelope(1), envelope(2)]);
        assert!(matches!(
            refused[..],
            [ImportError::NotAnEnvelope { place: Place::Byte(offset), .. }] if offset == at
        ));
    }

    #[test]
    fn garbage_ends_the_stream_with_its_offset() {
        let mut bytes = joined(&[1]);
        let at = bytes.len() as u64;
        bytes.extend(b"hello");
        bytes.extend(joined(&[2]));
        let (taken, refused) = read(&bytes);
        assert_eq!(taken, [envelope(1)]);
        assert!(matches!(
            refused[..],
            [ImportError::Garbage { offset, .. }] if offset == at
        ));
    }

    #[test]
    fn a_torn_end_costs_the_torn_envelope_alone() {
        let whole = joined(&[1, 2]);
        let first = joined(&[1]).len();
        for cut in first + 1..whole.len() {
            let (taken, refused) = read(&whole[..cut]);
            assert_eq!(taken, [envelope(1)]);
            assert!(matches!(
                refused[..],
                [ImportError::Truncated { offset }] if offset == first as u64
            ));
        }
    }

    #[test]
    fn an_envelope_too_large_for_a_block_is_passed_over() {
        let large = Envelope::new(
            crate::time::Expiry(1),
            crate::time::Ttl(1),
            crate::whisper::Topic([0; 4]),
            &vec![0; MAX_ENVELOPE],
            0,
        );
        let mut bytes = large.rlp().to_vec();
        bytes.extend(joined(&[1]));
        let (taken, refused) = read(&bytes);
        assert_eq!(taken, [envelope(1)]);
        assert!(matches!(
            refused[..],
            [ImportError::TooLarge { place: Place::Byte(0), len }] if len == large.rlp().len()
        ));
    }

    #[test]
    fn a_length_beyond_reason_is_refused_unread() {
        for header in [
            &[0xffu8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
            &[0xfa, 0xff, 0xff, 0xff],
        ] {
            let (taken, refused) = read(header);
            assert!(taken.is_empty());
            assert!(matches!(
                refused[..],
                [ImportError::Garbage { offset: 0, .. }]
            ));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_what_is_taken_was_there(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (taken, _) = read(&bytes);
            for envelope in taken {
                let rlp = envelope.rlp();
                prop_assert!(bytes.windows(rlp.len()).any(|window| window == rlp));
            }
        }
    }
}
