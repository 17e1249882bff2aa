//! What applications put into Whisper messages, read for people: the formats of
//! Status' chats, and plain text.
//!
//! Always true:
//! - A payload of any other shape is told to be unknown, never guessed at.
//! - Reading takes time and memory in proportion to the payload, which is read no
//!   further than [`MAX_PAYLOAD`] bytes, and unwrapped once.
//! - [`Said::author`] signed what was said. What a sender calls itself
//!   ([`Said::name`]) or its chat is its own word.
//! - Strings are what the sender wrote, controls and all: [`Inert`] shows them.

mod inert;
mod status;
mod transit;

use secp256k1::PublicKey;
use serde::Serialize;

pub use self::inert::{Inert, fools_a_terminal};

/// Longest payload that is read, in bytes. Messages of chats are far below: Whisper
/// nodes take envelopes of 1 MiB at most.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Of which application format a payload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// What Status wrote first: transit, a dialect of JSON.
    StatusTransit,
    /// What Status wrote later: protobuf, signed by the author.
    StatusProtobuf,
    /// Text that a person wrote, as far as bytes can tell.
    Text,
    /// None that is known here.
    #[default]
    Unknown,
}

/// What a payload says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Of which application format it is.
    pub format: Format,
    /// What kind of message it is, in the words of the format: `text`, `sticker`,
    /// `contact update`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What a reader is shown; of an unknown format the payload itself, where it is
    /// UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What comes with the text, or instead of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attached>,
    /// The name that the sender gives itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The chat that the sender means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// The [`Said::id`] of the message that this one is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replies_to: Option<String>,
    /// When the sender says it was written, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// Who signed inside the payload; the signature is good.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_hex")]
    pub author: Option<PublicKey>,
    /// How Status names the message, hex with `0x`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What comes with a text, or instead of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attached {
    /// A picture out of a pack that both sides have.
    Sticker {
        /// The content hash of the picture, as the sender wrote it.
        hash: String,
        /// The number of the pack.
        pack: i32,
    },
    /// A picture; its bytes are in the payload.
    Image {
        /// How many.
        bytes: usize,
        /// How they are encoded.
        encoding: &'static str,
    },
    /// A recording; its bytes are in the payload.
    Audio {
        /// How many.
        bytes: usize,
        /// How long it plays, milliseconds.
        duration: u64,
    },
}

/// Reads a payload.
pub fn read(payload: &[u8]) -> Said {
    if payload.len() > MAX_PAYLOAD {
        return Said::unknown("longer than any message of a chat");
    }
    match status::published(payload) {
        // Within, it is not unwrapped again.
        Some(status::Published::Payload(inner)) => read_layer(&inner),
        Some(status::Published::Other(said)) => *said,
        None => read_layer(payload),
    }
}

fn read_layer(payload: &[u8]) -> Said {
    let text = std::str::from_utf8(payload).ok();
    text.and_then(transit::read)
        .or_else(|| status::read(payload))
        .or_else(|| text.and_then(plain))
        .unwrap_or_default()
}

/// UTF-8 of any other kind. What has controls beside ends of lines and tabs, and JSON
/// of other applications, is nothing that a person wrote as it stands.
fn plain(text: &str) -> Option<Said> {
    if text.is_empty() {
        return None;
    }
    let is_written = |c: char| !c.is_ascii_control() || matches!(c, '\n' | '\r' | '\t');
    let is_json = || {
        text.trim_start().starts_with(['[', '{'])
            && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    };
    let (format, kind) = if !text.chars().all(is_written) {
        (Format::Unknown, None)
    } else if is_json() {
        (Format::Unknown, Some("JSON".to_owned()))
    } else {
        (Format::Text, None)
    };
    Some(Said {
        format,
        kind,
        text: Some(text.to_owned()),
        ..Said::default()
    })
}

impl Said {
    /// Of no known format, and as much as can be told of it.
    fn unknown(kind: impl Into<String>) -> Self {
        Self {
            kind: Some(kind.into()),
            ..Self::default()
        }
    }
}

/// A key as JSON has it: [`full_key`].
pub(crate) fn as_hex<S: serde::Serializer>(
    key: &Option<PublicKey>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => to.collect_str(&full_key(key)),
        None => to.serialize_none(),
    }
}

/// A public key as Status and Whisper write it: uncompressed, hex with `0x`.
pub fn full_key(key: &PublicKey) -> String {
    format!("0x{}", hex::encode(key.serialize_uncompressed()))
}

/// So much of a public key that people tell senders apart by it: its first and last
/// bytes. Another key that looks the same takes some effort to find, no more.
pub fn short_key(key: &PublicKey) -> String {
    let bytes = key.serialize_uncompressed();
    format!(
        "0x{}..{}",
        hex::encode(&bytes[..5]),
        hex::encode(&bytes[bytes.len() - 3..])
    )
}

#[cfg(test)]
mod tests;
