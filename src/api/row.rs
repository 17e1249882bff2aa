//! An envelope as JSON.

use serde::Serialize;

use crate::api::failure::Failure;
use crate::archive::leaf::Record;
use crate::whisper::{Envelope, Work};

/// An envelope.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Its identity, hex with `0x`.
    hash: String,
    /// Hex with `0x`.
    topic: String,
    /// When it was sent, Unix seconds.
    sent: u32,
    /// How long it lived, seconds.
    ttl: u32,
    /// When it died, Unix seconds.
    expiry: u32,
    /// Its size as Whisper counts it, bytes.
    size: usize,
    /// The work it shows, by the better of the two formulas; null where it lived no
    /// time, and any work is without bound.
    pow: f64,
    /// Hex with `0x`: a 64-bit number, which scripts cannot hold.
    nonce: String,
    /// Its ciphertext, hex with `0x`, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl Row {
    /// The row of an envelope.
    pub(super) fn of(envelope: &Envelope, with_data: bool) -> Self {
        Self {
            hash: envelope.hash().to_string(),
            topic: envelope.topic().to_string(),
            sent: envelope.sent().0,
            ttl: envelope.ttl().0,
            expiry: envelope.expiry().0,
            size: envelope.size(),
            pow: Work::of(envelope).most().get(),
            nonce: format!("{:#018x}", envelope.nonce()),
            data: with_data.then(|| format!("0x{}", hex::encode(envelope.data()))),
        }
    }

    /// The row of one that the archive holds.
    pub(super) fn of_record(record: &Record, with_data: bool) -> Result<Self, Failure> {
        let envelope = Envelope::known(&record.bytes, record.key.hash);
        let envelope = envelope.map_err(|error| Failure::internal(&error))?;
        Ok(Self::of(&envelope, with_data))
    }
}
