//! What applications put into messages.

use prost::encode_length_delimiter;

use super::{RECIPIENT, key};
use crate::keccak::keccak256;
use crate::reading::{Format, Inert, Said, read};
use crate::rlpx::signature;

/// Types of messages whose contents are read.
const TYPES: [u8; 6] = [1, 2, 22, 28, 29, 31];

/// A payload as it comes out of a message, then as what an author signed: what is told
/// of it does nothing to a terminal.
pub fn reading_payload(data: &[u8]) {
    look(&read(data));
    // An empty field is not written, and its wrapper would be none.
    if data.is_empty() {
        return;
    }
    let signature = signature::sign(key(RECIPIENT).secret(), keccak256(data));
    for of_type in TYPES {
        let mut wrapper = vec![0x0a];
        field(&signature, &mut wrapper);
        wrapper.push(0x12);
        field(data, &mut wrapper);
        wrapper.extend([0x18, of_type]);
        let said = read(&wrapper);
        assert_eq!(said.format, Format::StatusProtobuf);
        assert_eq!(said.author, Some(key(RECIPIENT).secret().public_key()));
        look(&said);
    }
}

/// The length of some bytes and the bytes, as protobuf writes them.
fn field(bytes: &[u8], to: &mut Vec<u8>) {
    encode_length_delimiter(bytes.len(), to).expect("a vector grows");
    to.extend(bytes);
}

fn look(said: &Said) {
    assert_eq!(said.author.is_some(), said.id.is_some());
    let texts = [
        &said.text,
        &said.name,
        &said.chat,
        &said.kind,
        &said.replies_to,
    ];
    for text in texts.into_iter().flatten() {
        let shown = Inert(text).to_string();
        assert!(!shown.chars().any(char::is_control));
    }
    serde_json::to_string(said).expect("what is said is written as JSON");
}
