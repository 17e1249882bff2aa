//! Lines of JSON, as `gwa export --json` writes them: an object a line, whose
//! `rlp` is the envelope in hex. What else it says of the envelope is compared, of
//! whatever type it is.

use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::{Found, ImportError, MAX_ENVELOPE, Mismatch, Place};
use crate::whisper::Envelope;

/// Longest line read, in bytes: the hex of the largest envelope, and as much
/// room as the other fields can need.
const MAX_LINE: usize = 2 * MAX_ENVELOPE + (4 << 10);

/// What is read of a line; other fields are passed over.
#[derive(Deserialize)]
struct Line {
    rlp: String,
    hash: Option<Value>,
    sent: Option<Value>,
    topic: Option<Value>,
}

/// What some editors put before a text.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Why a line holds no envelope.
#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    /// It is no such object.
    #[error("not an object with a field `rlp`: {0}")]
    Json(#[from] serde_json::Error),
    /// Its `rlp` is no hex.
    #[error("`rlp` is no hex: {0}")]
    Hex(#[from] hex::FromHexError),
    /// It is longer than one with an envelope that an archive takes.
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
}

/// The envelopes of the lines, in order.
pub struct JsonEnvelopes<R> {
    input: BufReader<R>,
    /// Lines read.
    line: u64,
    /// Bytes read.
    offset: u64,
    ended: bool,
}

impl<R: Read> JsonEnvelopes<R> {
    /// Reads lines from `input`.
    pub fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(64 << 10, input),
            line: 0,
            offset: 0,
            ended: false,
        }
    }

    /// The next line that is not empty; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, ImportError> {
        loop {
            let mut line = Vec::new();
            let read = self.read_to_newline(&mut line, MAX_LINE + 1)?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.line == 1 && line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            if line.len() > MAX_LINE && line.last() != Some(&b'\n') {
                self.pass_over()?;
                return Err(self.fault(LineFault::TooLong));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn read_to_newline(&mut self, line: &mut Vec<u8>, most: usize) -> Result<usize, ImportError> {
        line.clear();
        let offset = self.offset;
        let read = (&mut self.input)
            .take(most as u64)
            .read_until(b'\n', line)
            .map_err(|source| ImportError::Io { offset, source })?;
        self.offset += read as u64;
        Ok(read)
    }

    /// Goes to the end of the line.
    fn pass_over(&mut self) -> Result<(), ImportError> {
        let mut piece = Vec::new();
        while self.read_to_newline(&mut piece, 64 << 10)? > 0 && piece.last() != Some(&b'\n') {}
        Ok(())
    }

    fn fault(&self, source: LineFault) -> ImportError {
        ImportError::Line {
            line: self.line,
            source,
        }
    }

    fn read(&self, line: &[u8]) -> Result<Found, ImportError> {
        let line: Line = serde_json::from_slice(line).map_err(|error| self.fault(error.into()))?;
        let digits = line.rlp.strip_prefix("0x").unwrap_or(&line.rlp);
        let rlp = hex::decode(digits).map_err(|error| self.fault(error.into()))?;
        let place = Place::Line(self.line);
        if rlp.len() > MAX_ENVELOPE {
            let len = rlp.len();
            return Err(ImportError::TooLarge { place, len });
        }
        let envelope = Envelope::decode(&Bytes::from(rlp))
            .map_err(|source| ImportError::NotAnEnvelope { place, source })?;
        let differs = |said: &Option<Value>, is: String| match said {
            None => false,
            Some(Value::String(said)) => !said.eq_ignore_ascii_case(&is),
            Some(said) => {
                // A number is compared as it is written.
                let said = said.to_string();
                said != is
            }
        };
        let mismatch = Mismatch {
            hash: differs(&line.hash, envelope.hash().to_string()),
            sent: differs(&line.sent, envelope.sent().0.to_string()),
            topic: differs(&line.topic, envelope.topic().to_string()),
            key: false,
        };
        Ok(Found { envelope, mismatch })
    }
}

impl<R: Read> Iterator for JsonEnvelopes<R> {
    type Item = Result<Found, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self
            .next_line()
            .and_then(|line| line.map(|line| self.read(&line)).transpose())
            .transpose();
        self.ended = match &item {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => !error.goes_on(),
        };
        item
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reason;
    use super::super::tests::envelope;
    use super::*;

    fn line(n: u32) -> String {
        let envelope = envelope(n);
        format!(
            "{{\"hash\":\"{}\",\"sent\":{},\"topic\":\"{}\",\"more\":[],\"rlp\":\"0x{}\"}}\n",
            envelope.hash(),
            envelope.sent().0,
            envelope.topic(),
            hex::encode(envelope.rlp())
        )
    }

    fn read(text: &str) -> (Vec<Found>, Vec<ImportError>) {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for item in JsonEnvelopes::new(text.as_bytes()) {
            match item {
                Ok(found) => taken.push(found),
                Err(error) => refused.push(error),
            }
        }
        (taken, refused)
    }

    #[test]
    fn a_line_that_holds_no_envelope_is_named_and_passed_over() {
        for bad in [
            "nonsense",
            "{}",
            "{\"rlp\":7}",
            "{\"rlp\":\"0xzz\"}",
            "{\"rlp\":\"0xc0\"}",
            &format!("{{\"rlp\":\"0x{}\"}}", "c0".repeat(MAX_ENVELOPE + 70_000)),
        ] {
            let text = format!("{}\n{bad}\n{}", line(1), line(2));
            let (taken, refused) = read(&text);
            assert_eq!(taken, [envelope(1).into(), envelope(2).into()]);
            assert_eq!(refused.len(), 1);
            assert!(refused[0].to_string().starts_with("line 3: "), "{bad:.20}");
            let reason = if bad.len() > MAX_LINE {
                Reason::TooLarge
            } else {
                Reason::Undecodable
            };
            assert_eq!(refused[0].reason(), reason, "{bad:.20}");
        }
    }

    #[test]
    fn what_a_line_says_of_its_envelope_is_compared() {
        let sound = line(1);
        let sent = envelope(1).sent().0.to_string();
        for (from, to, expected) in [
            ("\"sent\":1", "\"sent\":2", (true, false, false)),
            ("\"hash\":\"0x", "\"hash\":\"0x0", (false, true, false)),
            ("\"topic\":\"0x", "\"topic\":\"0x0", (false, false, true)),
            // Of types that we do not write.
            ("\"sent\":", "\"sent\":-", (true, false, false)),
            ("\"sent\":", "\"sent\":1000000", (true, false, false)),
            ("\"sent\":", "\"sent\":{},\"at\":", (true, false, false)),
            ("\"hash\":", "\"hash\":7,\"of\":", (false, true, false)),
            ("\"topic\":", "\"topic\":[],\"of\":", (false, false, true)),
            // A number in quotes is the same number.
            (&sent[..], &format!("\"{sent}\"")[..], (false, false, false)),
        ] {
            assert!(sound.contains(from));
            let (taken, refused) = read(&sound.replace(from, to));
            assert!(refused.is_empty(), "{refused:?}");
            let Mismatch {
                sent, hash, topic, ..
            } = taken[0].mismatch;
            assert_eq!((sent, hash, topic), expected);
            assert_eq!(taken[0].envelope, envelope(1));
        }
    }
}
