//! Decoders of what archivers say to each other.

use bytes::Bytes;

use crate::archive::disk::Position;
use crate::archive::key::Key;
use crate::keccak::keccak256;
use crate::reconcile::message::MAX_FRAME;
use crate::reconcile::{Compare, Message, Snapshot};
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::{EnvelopeHash, Topic};

/// A position.
pub fn archive_position(data: &[u8]) {
    if let Ok(position) = Position::from_bytes(data) {
        assert_eq!(position.to_bytes(), data);
        assert_eq!(position.to_string().parse(), Ok(position));
    }
}

/// A message: its code, then its payload.
pub fn gwa_message(data: &[u8]) {
    let Some((code, payload)) = data.split_first() else {
        return;
    };
    let payload = Bytes::copy_from_slice(payload);
    if let Ok(message) = Message::decode(*code, &payload) {
        assert_eq!(message.code(), *code);
        assert_eq!(message.encode(), payload);
    }
}

/// A frame of a comparison, to either side.
pub fn gwa_frame(data: &[u8]) {
    let keys = (0..200u32).map(|n| Key {
        topic: Topic([0; 4]),
        sent: UnixSeconds(n / 3),
        hash: EnvelopeHash(keccak256(n.to_be_bytes())),
    });
    let snapshot = Snapshot::new(TimeRange::ALL, keys).expect("two hundred are not too many");
    if let Some(answer) = snapshot.answer(data) {
        assert!(answer.len() <= MAX_FRAME);
    }
    let (compare, _) = Compare::begin(snapshot.into());
    // It is a step or an error.
    let _ = compare.answered(data);
}
