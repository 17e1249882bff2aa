//! Reading fixture files.

use std::path::Path;

use bytes::Bytes;
use gwa::whisper::{EnvelopeHash, Topic};
use serde_json::Value;

/// A fixture file, by its path below `fixtures/`.
pub fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("fixtures are JSON")
}

/// A list of a fixture, which must hold something.
pub fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    let list = file[name].as_array().expect("the list is there");
    assert!(!list.is_empty(), "the list `{name}` is empty");
    list
}

/// A field that is a byte string.
pub fn bytes(vector: &Value, field: &str) -> Bytes {
    hex_bytes(text(vector, field))
}

/// The bytes of `0x...`.
pub fn hex_bytes(text: &str) -> Bytes {
    let digits = text.strip_prefix("0x").expect("byte strings start with 0x");
    hex::decode(digits).expect("hex").into()
}

/// A field that is a text.
pub fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field]
        .as_str()
        .unwrap_or_else(|| panic!("no text `{field}` in {}", name(vector)))
}

/// A field that is a count.
pub fn number(vector: &Value, field: &str) -> u64 {
    vector[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no number `{field}` in {}", name(vector)))
}

/// A field that is a 32-bit number.
pub fn number32(vector: &Value, field: &str) -> u32 {
    u32::try_from(number(vector, field)).expect("32 bits")
}

/// A field that is a size.
pub fn size(vector: &Value, field: &str) -> usize {
    usize::try_from(number(vector, field)).expect("a size")
}

/// The IEEE bits of a double written as `0x` and 16 digits.
pub fn double_bits(vector: &Value, field: &str) -> u64 {
    u64::from_str_radix(text(vector, field).trim_start_matches("0x"), 16).expect("16 hex digits")
}

/// A double written in decimal.
pub fn decimal(vector: &Value, field: &str) -> f64 {
    match text(vector, field) {
        "+Inf" => f64::INFINITY,
        decimal => decimal.parse().expect("a decimal number"),
    }
}

/// A field that is an envelope hash.
pub fn hash(vector: &Value, field: &str) -> EnvelopeHash {
    text(vector, field).parse().expect("an envelope hash")
}

/// A field that is a topic.
pub fn topic(vector: &Value, field: &str) -> Topic {
    text(vector, field).parse().expect("a topic")
}

/// What a vector is called, for failures.
pub fn name(vector: &Value) -> &str {
    vector["name"]
        .as_str()
        .or_else(|| vector["note"].as_str())
        .unwrap_or("a vector without a name")
}
