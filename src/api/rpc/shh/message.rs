//! A message as clients read it.

use serde_json::{Map, Value, json};

use crate::api::rpc::hex_data;
use crate::api::rpc::shh::keys::public;
use crate::whisper::Pow;
use crate::whisper::service::Message;

/// The object of geth. `sig` is absent where nobody signed, and
/// `recipientPublicKey` where the message was for the holders of a key.
pub(super) fn object(message: &Message) -> Value {
    let mut object = Map::new();
    if let Some(signer) = &message.signer {
        object.insert("sig".to_owned(), public(signer));
    }
    object.insert("ttl".to_owned(), json!(message.ttl.0));
    object.insert("timestamp".to_owned(), json!(message.sent.0));
    object.insert("topic".to_owned(), hex_data::write(&message.topic.0));
    object.insert("payload".to_owned(), hex_data::write(&message.payload));
    object.insert("padding".to_owned(), hex_data::write(&message.padding));
    object.insert("pow".to_owned(), json!(finite(message.pow)));
    object.insert("hash".to_owned(), hex_data::write(&message.hash.0));
    if let Some(recipient) = &message.recipient {
        object.insert("recipientPublicKey".to_owned(), public(recipient));
    }
    Value::Object(object)
}

/// JSON knows no infinity, which is the work of a lifetime of 0.
fn finite(pow: Pow) -> f64 {
    pow.get().min(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rlpx::NodeKey;
    use crate::time::{Ttl, UnixSeconds};
    use crate::whisper::{EnvelopeHash, Topic};

    #[test]
    fn a_message_has_the_members_of_geth() {
        let key = NodeKey::from_secret_bytes(&[0x33; 32]).unwrap();
        let unsigned = Message {
            signer: None,
            recipient: None,
            ttl: Ttl(50),
            sent: UnixSeconds(1_600_000_000),
            topic: Topic([1, 2, 3, 4]),
            payload: b"hi".to_vec(),
            padding: Vec::new(),
            pow: Pow::INFINITE,
            hash: EnvelopeHash([7; 32]),
        };
        let expected = json!({
            "ttl": 50,
            "timestamp": 1_600_000_000,
            "topic": "0x01020304",
            "payload": "0x6869",
            "padding": "0x",
            "pow": f64::MAX,
            "hash": format!("0x{}", "07".repeat(32)),
        });
        assert_eq!(object(&unsigned), expected);
        let signed = Message {
            signer: Some(*key.public()),
            recipient: Some(*key.public()),
            ..unsigned
        };
        let object = object(&signed);
        let public = format!("0x04{}", key.id());
        assert_eq!(object["sig"], public);
        assert_eq!(object["recipientPublicKey"], public);
    }
}
