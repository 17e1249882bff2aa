//! Messages of Status since 2020: protobuf. A wrapper holds a message, its type, and
//! the author's signature over the message; older clients put what they publish into
//! one more layer, that of encryption between two devices, where it stays open.
//!
//! Sources: Status' specifications 5 (secure transport) and 6 (payloads), and the
//! definitions of status-go for what came later.
//!
//! Always true: a wrapper is what its bytes are made of to the last one. Bytes that
//! happen to read as protobuf and are no message of Status are left alone.

mod proto;

use prost::Message;

use super::{Attached, Format, Said};
use crate::keccak::keccak256;
use crate::rlpx::signature::{self, SIGNATURE};

/// What a message in the layer of encryption holds.
pub(super) enum Published {
    /// Something for everyone.
    Payload(Vec<u8>),
    /// Nothing that everyone can read.
    Other(Box<Said>),
}

/// Takes the layer of encryption off; `None` where there is none.
pub(super) fn published(payload: &[u8]) -> Option<Published> {
    let layer: proto::Layer = whole(payload)?;
    let of_kind = |kind: &str| {
        Some(Published::Other(Box::new(Said {
            format: Format::StatusProtobuf,
            kind: Some(kind.to_owned()),
            ..Said::default()
        })))
    };
    if !layer.direct_message.is_empty() {
        of_kind("direct message")
    } else if !layer.public_message.is_empty() {
        Some(Published::Payload(layer.public_message))
    } else if !layer.bundles.is_empty() && layer.bundles.iter().all(|bundle| is_bundle(bundle)) {
        of_kind("keys of devices")
    } else {
        None
    }
}

/// Whether bytes are a signed bundle of keys.
fn is_bundle(bytes: &[u8]) -> bool {
    let bundle = whole::<proto::Bundle>(bytes);
    bundle.is_some_and(|bundle| bundle.signature.len() == SIGNATURE)
}

/// Reads a wrapper and what it holds; `None` for what is none.
pub(super) fn read(payload: &[u8]) -> Option<Said> {
    let wrapper: proto::Wrapper = whole(payload)?;
    let signature: [u8; SIGNATURE] = wrapper.signature.as_slice().try_into().ok()?;
    let message = wrapper.payload.as_slice();
    let author = signature::recover(keccak256(message), &signature).ok()?;
    let id = keccak256([&author.serialize_uncompressed()[..], payload].concat());
    let mut said = inside(message, wrapper.r#type);
    said.format = Format::StatusProtobuf;
    said.author = Some(author);
    said.id = Some(format!("0x{}", hex::encode(id)));
    Some(said)
}

/// What a signed message of a type says.
fn inside(message: &[u8], of_type: i32) -> Said {
    let kind = kind_of(of_type);
    let known = match of_type {
        CHAT_MESSAGE => proto::ChatMessage::decode(message).map(chat_message),
        CONTACT_UPDATE => proto::ContactUpdate::decode(message).map(|update| Said {
            name: said(update.ens_name).or_else(|| said(update.display_name)),
            ..Said::default()
        }),
        EMOJI_REACTION => proto::EmojiReaction::decode(message).map(|reaction| Said {
            text: REACTIONS
                .get(usize::try_from(reaction.r#type).unwrap_or(0))
                .filter(|emoji| !emoji.is_empty())
                .map(|emoji| match reaction.retracted {
                    true => format!("{emoji} taken back"),
                    false => (*emoji).to_owned(),
                }),
            chat: said(reaction.chat_id),
            replies_to: said(reaction.message_id),
            ..Said::default()
        }),
        PIN_MESSAGE => proto::PinMessage::decode(message).map(|pin| Said {
            // `false` is not written: a message that says nothing of it takes a pin out.
            kind: (!pin.pinned).then(|| "unpin message".to_owned()),
            chat: said(pin.chat_id),
            replies_to: said(pin.message_id),
            ..Said::default()
        }),
        EDIT_MESSAGE => proto::EditMessage::decode(message).map(|edit| Said {
            text: said(edit.text),
            chat: said(edit.chat_id),
            replies_to: said(edit.message_id),
            ..Said::default()
        }),
        DELETE_MESSAGE => proto::DeleteMessage::decode(message).map(|delete| Said {
            chat: said(delete.chat_id),
            replies_to: said(delete.message_id),
            ..Said::default()
        }),
        _ => Ok(Said::default()),
    };
    match known {
        Ok(known) => Said {
            kind: known.kind.clone().or(Some(kind)),
            ..known
        },
        Err(_) => Said::unknown(format!("{kind} that does not read")),
    }
}

fn chat_message(message: proto::ChatMessage) -> Said {
    Said {
        kind: Some(named(&CONTENTS, message.content_type, "content")),
        attached: attached(&message),
        text: said(message.text),
        name: said(message.display_name).or_else(|| said(message.ens_name)),
        chat: said(message.chat_id),
        replies_to: said(message.response_to),
        written: (message.timestamp > 0).then_some(message.timestamp),
        ..Said::default()
    }
}

fn attached(message: &proto::ChatMessage) -> Option<Attached> {
    if let Some(sticker) = &message.sticker {
        Some(Attached::Sticker {
            hash: sticker.hash.clone(),
            pack: sticker.pack,
        })
    } else if let Some(image) = &message.image {
        let encoding = usize::try_from(image.r#type).ok();
        Some(Attached::Image {
            bytes: image.payload.len(),
            encoding: encoding
                .and_then(|index| IMAGES.get(index))
                .unwrap_or(&IMAGES[0]),
        })
    } else {
        message.audio.as_ref().map(|audio| Attached::Audio {
            bytes: audio.payload.len(),
            duration: audio.duration_ms,
        })
    }
}

/// A string; empty ones are not written.
fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A message that is made of `bytes` to the last one, written as everybody writes it.
fn whole<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    // Unknown fields are dropped on the way: what held one comes back shorter.
    (!bytes.is_empty() && message.encode_to_vec() == bytes).then_some(message)
}

/// The name of a number in a list that may have grown since.
fn named(names: &[&str], number: i32, what: &str) -> String {
    usize::try_from(number)
        .ok()
        .and_then(|index| names.get(index))
        .map_or_else(
            || format!("{what} of type {number}"),
            |name| (*name).to_owned(),
        )
}

fn kind_of(of_type: i32) -> String {
    named(&TYPES, of_type, "message")
}

const CHAT_MESSAGE: i32 = 1;
const CONTACT_UPDATE: i32 = 2;
const EMOJI_REACTION: i32 = 22;
const PIN_MESSAGE: i32 = 28;
const EDIT_MESSAGE: i32 = 29;
const DELETE_MESSAGE: i32 = 31;

/// Types of messages by their number.
const TYPES: [&str; 32] = [
    "unknown",
    "chat message",
    "contact update",
    "membership update",
    "pair installation",
    "sync installation",
    "request for an address",
    "address for a transaction",
    "declined request for an address",
    "request for a transaction",
    "transaction",
    "declined request for a transaction",
    "sync of a contact",
    "sync of an account",
    "sync of a public chat",
    "contact code",
    "push notification registration",
    "push notification registration response",
    "push notification query",
    "push notification query response",
    "push notification request",
    "push notification response",
    "emoji reaction",
    "group chat invitation",
    "chat identity",
    "community description",
    "community invitation",
    "request to join a community",
    "pin message",
    "edit message",
    "status update",
    "delete message",
];

/// What a chat message holds, by number.
const CONTENTS: [&str; 15] = [
    "unknown",
    "text",
    "sticker",
    "status",
    "emoji",
    "command",
    "group event",
    "image",
    "audio",
    "community",
    "gap",
    "contact request",
    "discord message",
    "identity verification",
    "pinned message",
];

/// Encodings of images by their number.
const IMAGES: [&str; 5] = ["unknown", "PNG", "JPEG", "WebP", "GIF"];

/// Reactions by their number.
const REACTIONS: [&str; 7] = ["", "❤", "👍", "👎", "😆", "😢", "😠"];

#[cfg(test)]
mod tests;
