//! The body of a post: a message to be made, or an envelope that is ready.
//!
//! Always true: pure. A body says one thing in one way: members that are unknown,
//! stand twice or contradict each other are refused by name. What does not have the
//! form that the OpenAPI document describes is told from what has it and is nothing.

use bytes::Bytes;
use secp256k1::PublicKey;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::time::Ttl;
use crate::whisper::keys::SymKey;
use crate::whisper::service::post::{DEFAULT_TTL, public_key};
use crate::whisper::{Envelope, Pow, Topic};

/// The longest life of a message: what `gwa post` takes, a week.
const MAX_TTL: u32 = 7 * 86_400;

/// How long to mine unless another time is asked for, in seconds: a client waits for
/// its answer.
const DEFAULT_POW_TIME: u32 = 10;

/// How long at most.
const MAX_POW_TIME: u32 = 60;

/// The most work that is asked for: beyond what is found in the longest time.
const MAX_POW_TARGET: f64 = 1e6;

/// What is posted.
#[derive(Debug)]
pub(super) enum Asked {
    /// An envelope with its work, sealed by whoever sent it.
    Envelope(Envelope),
    /// A message that is to be sealed and mined here.
    Message(Box<Message>),
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// What it is sealed with.
    pub(super) key: Key,
    /// Its topic; zeros where there is none.
    pub(super) topic: Topic,
    /// What it says.
    pub(super) payload: Vec<u8>,
    /// What hides its length; as much as usual where absent.
    pub(super) padding: Option<Vec<u8>>,
    /// The id of the key pair that signs it.
    pub(super) sign: Option<String>,
    /// How long it lives.
    pub(super) ttl: Ttl,
    /// The work it is to show; what the node asks for where absent.
    pub(super) pow_target: Option<Pow>,
    /// How long to mine, in seconds.
    pub(super) pow_time: u32,
}

/// Why a body says nothing, in words for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It does not have the form of one.
    Form(String),
    /// It has the form, and what is in it is no key or no envelope.
    Content(String),
}

/// What a message is sealed with.
#[derive(Debug)]
pub(super) enum Key {
    /// The key of a password; that of a public chat is its name.
    Password(Zeroizing<String>),
    /// This symmetric key.
    Bytes(SymKey),
    /// The symmetric key of this id, which the daemon holds.
    Held(String),
    /// This public key.
    Owner(PublicKey),
}

/// The body as it comes. A member that is there is not null.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    #[serde(deserialize_with = "given")]
    envelope: Option<String>,
    #[serde(deserialize_with = "given")]
    chat: Option<String>,
    #[serde(deserialize_with = "given")]
    topic: Option<String>,
    #[serde(deserialize_with = "given")]
    password: Option<String>,
    #[serde(deserialize_with = "given")]
    sym_key: Option<String>,
    #[serde(deserialize_with = "given")]
    sym_key_id: Option<String>,
    #[serde(deserialize_with = "given")]
    public_key: Option<String>,
    #[serde(deserialize_with = "given")]
    payload: Option<String>,
    #[serde(deserialize_with = "given")]
    text: Option<String>,
    #[serde(deserialize_with = "given")]
    padding: Option<String>,
    #[serde(deserialize_with = "given")]
    sign: Option<String>,
    #[serde(deserialize_with = "given")]
    ttl: Option<f64>,
    #[serde(deserialize_with = "given")]
    pow_target: Option<f64>,
    #[serde(deserialize_with = "given")]
    pow_time: Option<f64>,
}

/// The value of a member that is there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Asked {
    /// Reads a body.
    pub(super) fn read(json: &[u8]) -> Result<Self, Wrong> {
        let body = serde_json::from_slice(json);
        let body: Body = body.map_err(|error| Wrong::Form(error.to_string()))?;
        match body {
            Body {
                envelope: Some(text),
                chat: None,
                topic: None,
                password: None,
                sym_key: None,
                sym_key_id: None,
                public_key: None,
                payload: None,
                text: None,
                padding: None,
                sign: None,
                ttl: None,
                pow_target: None,
                pow_time: None,
            } => {
                let rlp = Bytes::from(hex_of("envelope", &text)?);
                let envelope = Envelope::decode(&rlp);
                let wrong = |error| Wrong::Content(format!("`envelope` is none: {error}"));
                Ok(Self::Envelope(envelope.map_err(wrong)?))
            }
            Body {
                envelope: Some(_), ..
            } => Err(form(
                "`envelope` stands alone: it is sealed and mined already",
            )),
            body => Ok(Self::Message(Box::new(body.message()?))),
        }
    }
}

impl Body {
    fn message(self) -> Result<Message, Wrong> {
        let payload = match (self.payload, self.text) {
            (Some(payload), None) => hex_of("payload", &payload)?,
            (None, Some(text)) => text.into_bytes(),
            _ => return Err(form("either `payload` or `text` is what to say")),
        };
        let topic = self.topic.map(|text| {
            let topic = text.parse::<Topic>();
            topic.map_err(|_| form("`topic` is written as in 0xcd423760"))
        });
        let topic = topic.transpose()?;
        let keys = (
            self.chat,
            self.password,
            self.sym_key,
            self.sym_key_id,
            self.public_key,
        );
        let (key, topic) = match (keys, topic) {
            ((Some(chat), None, None, None, None), None) => {
                let topic = Topic::of_public_chat(&chat);
                (Key::Password(Zeroizing::new(chat)), topic)
            }
            ((Some(_), ..), _) => {
                return Err(form("`chat` is topic and key: neither stands beside it"));
            }
            ((None, None, None, None, Some(key)), topic) => {
                let bytes = hex_of("public_key", &key)?;
                if bytes.len() != 65 || bytes[0] != 4 {
                    return Err(form("`public_key` is 65 bytes: 04 and both coordinates"));
                }
                let told = || Wrong::Content("`public_key` is no point of the curve".to_owned());
                let key = public_key(&bytes).ok_or_else(told)?;
                (Key::Owner(key), topic.unwrap_or_default())
            }
            ((None, password, bytes, id, None), Some(topic)) => {
                let key = match (password, bytes, id) {
                    (Some(password), None, None) => Key::Password(Zeroizing::new(password)),
                    (None, Some(bytes), None) => Key::Bytes(sym_key(&bytes)?),
                    (None, None, Some(id)) => Key::Held(id),
                    _ => return Err(form(WHICH_KEY)),
                };
                (key, topic)
            }
            _ => return Err(form(WHICH_KEY)),
        };
        Ok(Message {
            key,
            topic,
            payload,
            padding: self
                .padding
                .map(|padding| hex_of("padding", &padding))
                .transpose()?,
            sign: self.sign,
            ttl: Ttl(within("ttl", self.ttl, DEFAULT_TTL.0, MAX_TTL)?),
            pow_target: self.pow_target.map(target).transpose()?,
            pow_time: within("pow_time", self.pow_time, DEFAULT_POW_TIME, MAX_POW_TIME)?,
        })
    }
}

const WHICH_KEY: &str = "one key is named: `chat`; or `topic` with `password`, `sym_key` or \
     `sym_key_id`; or `public_key`";

fn form(told: &str) -> Wrong {
    Wrong::Form(told.to_owned())
}

fn hex_of(field: &str, text: &str) -> Result<Vec<u8>, Wrong> {
    let digits = text.strip_prefix("0x");
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    let told = || Wrong::Form(format!("`{field}` is written in hex, with 0x before it"));
    bytes.ok_or_else(told)
}

fn sym_key(text: &str) -> Result<SymKey, Wrong> {
    let bytes = Zeroizing::new(hex_of("sym_key", text)?);
    let bytes: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| form("`sym_key` is 32 bytes"))?;
    SymKey::new(bytes).map_err(|error| Wrong::Content(error.to_string()))
}

/// So many seconds. JSON has one kind of numbers: 10.0 is 10.
fn within(field: &str, given: Option<f64>, default: u32, most: u32) -> Result<u32, Wrong> {
    let seconds = given.unwrap_or(default.into());
    let fits = seconds.fract() == 0.0 && (1.0..=f64::from(most)).contains(&seconds);
    // What fits reads as it is written.
    let number = format!("{seconds:.0}").parse().ok().filter(|_| fits);
    number.ok_or_else(|| {
        Wrong::Form(format!(
            "`{field}` is a whole number from 1 to {most}, of seconds"
        ))
    })
}

fn target(given: f64) -> Result<Pow, Wrong> {
    let target = Pow::new(given);
    let target = target.filter(|target| target.get() > 0.0 && target.get() <= MAX_POW_TARGET);
    target.ok_or_else(|| form("`pow_target` is a number above 0, a million at most"))
}

/// Reads a body as the interface does: for fuzzing.
pub(crate) fn read_any(json: &[u8]) {
    if let Ok(Asked::Envelope(envelope)) = Asked::read(json) {
        let again = Envelope::decode(&envelope.rlp().clone());
        assert_eq!(again, Ok(envelope));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::time::Expiry;

    fn read(body: &Value) -> Result<Asked, Wrong> {
        Asked::read(body.to_string().as_bytes())
    }

    fn message(body: &Value) -> Message {
        match read(body) {
            Ok(Asked::Message(message)) => *message,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn a_chat_is_topic_and_key() {
        let message = message(&json!({"chat": "status", "text": "hi"}));
        assert_eq!(message.topic, Topic::of_public_chat("status"));
        assert!(matches!(message.key, Key::Password(name) if *name == "status"));
        assert_eq!(message.payload, b"hi");
        assert_eq!((message.ttl, message.pow_time), (DEFAULT_TTL, 10));
        assert!(message.padding.is_none() && message.pow_target.is_none());
    }

    #[test]
    fn other_keys_are_named_one_at_a_time() {
        let owner = format!("0x04{}", crate::rlpx::NodeKey::generate().id());
        let said = |key: Value| {
            let mut body = json!({"payload": "0x6869"});
            let members = body.as_object_mut().unwrap();
            members.extend(key.as_object().unwrap().clone());
            body
        };
        let topic = "0x01020304";
        let key = format!("0x{}", "11".repeat(32));
        for fits in [
            json!({"topic": topic, "password": "p"}),
            json!({"topic": topic, "sym_key": key}),
            json!({"topic": topic, "sym_key_id": "aa"}),
            json!({"topic": topic, "public_key": owner}),
            json!({"public_key": owner}),
        ] {
            assert_eq!(message(&said(fits)).payload, b"hi");
        }
        for wrong in [
            json!({}),
            json!({"topic": topic}),
            json!({"password": "p"}),
            json!({"chat": "a", "topic": topic}),
            json!({"chat": "a", "password": "p"}),
            json!({"topic": topic, "password": "p", "sym_key": key}),
            json!({"topic": topic, "public_key": owner, "sym_key": key}),
            json!({"topic": topic, "sym_key": "0x11"}),
            json!({"topic": topic, "sym_key": format!("0x{}", "00".repeat(32))}),
            json!({"public_key": "0x04"}),
            json!({"topic": "0x0102", "password": "p"}),
            json!({"topic": topic, "passwort": "p"}),
        ] {
            assert!(read(&said(wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_said_and_how_is_within_bounds() {
        for wrong in [
            json!({"chat": "a"}),
            json!({"chat": "a", "text": "b", "payload": "0x"}),
            json!({"chat": "a", "payload": "6869"}),
            json!({"chat": "a", "payload": "0x123"}),
            json!({"chat": "a", "text": "b", "ttl": 0}),
            json!({"chat": "a", "text": "b", "ttl": MAX_TTL + 1}),
            json!({"chat": "a", "text": "b", "pow_time": 61}),
            json!({"chat": "a", "text": "b", "pow_time": 1.5}),
            json!({"chat": "a", "text": "b", "pow_target": 0}),
            json!({"chat": "a", "text": "b", "pow_target": -1}),
            json!({"chat": "a", "text": "b", "pow_target": 1e7}),
            json!({"chat": "a", "text": "b", "pow_target": "1"}),
            json!({"chat": "a", "text": "b", "padding": "aa"}),
            json!({"chat": 7, "text": "b"}),
            json!({"chat": "a", "text": "b", "ttl": null}),
            json!([]),
            json!(null),
        ] {
            assert!(matches!(read(&wrong), Err(Wrong::Form(_))), "{wrong}");
        }
        let whole = message(&json!({"chat": "a", "text": "b", "pow_time": 7.0, "ttl": MAX_TTL}));
        assert_eq!((whole.pow_time, whole.ttl), (7, Ttl(MAX_TTL)));
        assert!(Asked::read(br#"{"chat":"a","chat":"b","text":"c"}"#).is_err());
        assert!(Asked::read(b"").is_err());
    }

    #[test]
    fn an_envelope_comes_alone_and_whole() {
        let envelope = Envelope::new(Expiry(50), Ttl(50), Topic([1; 4]), &[7; 40], 3);
        let text = format!("0x{}", hex::encode(envelope.rlp()));
        match read(&json!({"envelope": text})) {
            Ok(Asked::Envelope(read)) => assert_eq!(read, envelope),
            other => panic!("{other:?}"),
        }
        for wrong in [
            json!({"envelope": text, "ttl": 50}),
            json!({"envelope": format!("{text}00")}),
            json!({"envelope": &text[..20]}),
            json!({"envelope": "0x"}),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
