//! Bytes as JSON-RPC writes them: `0x` and an even number of hex digits.
//!
//! Always true: what is written is lower case, and empty bytes are `0x`. Read
//! are also the empty text and null, both as no bytes.

use serde_json::Value;

use crate::api::rpc::args::{Place, mismatch};
use crate::whisper::Topic;

/// The reference's name of such bytes.
const KIND: &str = "hexutil.Bytes";

/// Bytes as a client reads them.
pub(super) fn write(bytes: &[u8]) -> Value {
    Value::String(format!("0x{}", hex::encode(bytes)))
}

/// Bytes of any number.
pub(super) fn read(value: &Value, place: &Place<'_>) -> Result<Vec<u8>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => decode(text).map_err(|what| mismatch(what, place, KIND)),
        _ => Err(mismatch("non-string", place, KIND)),
    }
}

/// A topic; null is the topic of zeros.
pub(super) fn read_topic(value: &Value) -> Result<Topic, String> {
    match value {
        Value::Null => Ok(Topic::default()),
        Value::String(text) => {
            let digits = digits(text)?;
            if digits.len() != 8 {
                return Err(format!(
                    "hex string has length {}, want 8 for Topic",
                    digits.len()
                ));
            }
            let mut topic = Topic::default();
            hex::decode_to_slice(digits, &mut topic.0).map_err(|_| INVALID.to_owned())?;
            Ok(topic)
        }
        _ => Err(mismatch("non-string", &Place::Alone, "whisperv6.TopicType")),
    }
}

const INVALID: &str = "invalid hex string";

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    hex::decode(digits(text)?).map_err(|_| INVALID)
}

/// The digits after the prefix: an even number of characters.
fn digits(text: &str) -> Result<&str, &'static str> {
    if text.is_empty() {
        return Ok(text);
    }
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .ok_or("hex string without 0x prefix")?;
    if digits.len() % 2 == 1 {
        return Err("hex string of odd length");
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_read_as_they_are_written() {
        for bytes in [&[][..], &[0xab, 0x01]] {
            assert_eq!(read(&write(bytes), &Place::Alone).unwrap(), bytes);
        }
        assert_eq!(write(&[0xab]), json!("0xab"));
        assert_eq!(write(&[]), json!("0x"));
        for empty in [json!(""), json!("0x"), json!(null)] {
            assert!(read(&empty, &Place::Alone).unwrap().is_empty());
        }
    }

    #[test]
    fn a_topic_is_eight_digits_or_absent() {
        assert_eq!(
            read_topic(&json!("0xCD423760")).unwrap(),
            Topic([0xcd, 0x42, 0x37, 0x60])
        );
        assert_eq!(read_topic(&json!(null)).unwrap(), Topic::default());
        for (given, told) in [
            (json!("cd423760"), "hex string without 0x prefix"),
            (json!("0xcd42"), "hex string has length 4, want 8 for Topic"),
            (json!("0xcd42376"), "hex string of odd length"),
            (json!(""), "hex string has length 0, want 8 for Topic"),
            (json!("0xzzzzzzzz"), "invalid hex string"),
        ] {
            assert_eq!(read_topic(&given).unwrap_err(), told);
        }
    }
}
