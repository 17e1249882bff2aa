//! Readers of files and folders that others wrote.

use crate::import::json::JsonEnvelopes;
use crate::import::stream::StreamEnvelopes;
use crate::import::{Found, ImportError, leveldb};

/// Parts of a LevelDB folder.
pub fn import_leveldb(data: &[u8]) {
    leveldb::read_any(data);
}

/// Lines of JSON: what is taken stands in them, in hex.
pub fn import_json(data: &[u8]) {
    let text = data.to_ascii_lowercase();
    for found in JsonEnvelopes::new(data).flatten() {
        let digits = hex::encode(found.envelope.rlp());
        // An escape may spell a digit.
        let stands = text.windows(digits.len()).any(|w| w == digits.as_bytes());
        assert!(stands || data.contains(&b'\\'));
    }
}

/// Envelopes one after another: what is taken comes in its order, and one that is
/// passed over costs no other.
pub fn import_stream(data: &[u8]) {
    let items: Vec<Result<Found, ImportError>> = StreamEnvelopes::new(data)
        .map(|item| item.map(Found::from))
        .collect();
    let taken: usize = items
        .iter()
        .flatten()
        .map(|found| found.envelope.rlp().len())
        .sum();
    assert!(taken <= data.len());
    let stops = items.iter().filter_map(|item| item.as_ref().err());
    assert!(stops.filter(|error| !error.goes_on()).count() <= 1);
}
