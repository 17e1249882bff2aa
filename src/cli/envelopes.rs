//! Envelopes as commands print them.

use std::fmt;

use serde::Serialize;

use crate::archive::leaf::Record;
use crate::cli::error::{CliError, Kind};
use crate::time::UnixSeconds;
use crate::whisper::Envelope;

/// What is told of an envelope: everything but its ciphertext and nonce.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
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
}

impl From<&Envelope> for Row {
    fn from(envelope: &Envelope) -> Self {
        Self {
            hash: envelope.hash().to_string(),
            topic: envelope.topic().to_string(),
            sent: envelope.sent().0,
            ttl: envelope.ttl().0,
            expiry: envelope.expiry().0,
            size: envelope.size(),
        }
    }
}

impl Row {
    /// When it was sent, and its topic, as both are printed.
    pub fn sent_and_topic(&self) -> (UnixSeconds, &str) {
        (UnixSeconds(self.sent), &self.topic)
    }
}

/// The envelope of a verified record.
pub fn envelope_of(record: &Record) -> Result<Envelope, CliError> {
    Envelope::decode(&record.bytes).map_err(|error| {
        let what = format!("envelope {} does not decode", record.key.hash);
        CliError::new(Kind::Verification, what).because(&error)
    })
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = UnixSeconds(self.sent);
        let Self {
            hash, topic, size, ..
        } = self;
        write!(f, "{sent}  {topic}  {hash}  {size:>8}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;

    #[test]
    fn an_envelope_prints_as_the_contract_says() {
        let envelope = Envelope::new(
            Expiry(1_600_000_000),
            Ttl(50),
            Topic([1, 2, 3, 4]),
            &[0xde, 0xad, 0xbe, 0xef],
            6_156,
        );
        let row = Row::from(&envelope);
        assert_eq!(
            serde_json::to_value(&row).unwrap(),
            serde_json::json!({
                "hash": "0x8ccbd4795a2f0cd96bead3776e4c403618c888133eacb0ee32c5aa72d0f11b43",
                "topic": "0x01020304",
                "sent": 1_599_999_950,
                "ttl": 50,
                "expiry": 1_600_000_000,
                "size": 24,
            })
        );
        assert_eq!(
            row.to_string(),
            "2020-09-13T12:25:50Z  0x01020304  \
             0x8ccbd4795a2f0cd96bead3776e4c403618c888133eacb0ee32c5aa72d0f11b43        24"
        );
    }
}
