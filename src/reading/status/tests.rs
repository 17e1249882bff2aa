use prost::Message;
use secp256k1::SecretKey;

use super::*;

fn author() -> SecretKey {
    SecretKey::from_secret_bytes([7; 32]).unwrap()
}

fn wrapped(message: &[u8], of_type: i32) -> Vec<u8> {
    proto::Wrapper {
        signature: signature::sign(&author(), keccak256(message)).to_vec(),
        payload: message.to_vec(),
        r#type: of_type,
    }
    .encode_to_vec()
}

fn read_chat(message: &proto::ChatMessage) -> Said {
    read(&wrapped(&message.encode_to_vec(), CHAT_MESSAGE)).unwrap()
}

#[test]
fn pictures_and_recordings_are_told_by_size_and_not_by_bytes() {
    let said = read_chat(&proto::ChatMessage {
        content_type: 7,
        image: Some(proto::Image {
            payload: vec![1; 1_000],
            r#type: 2,
        }),
        ..Default::default()
    });
    let image = Attached::Image {
        bytes: 1_000,
        encoding: "JPEG",
    };
    assert_eq!(said.attached, Some(image));
    assert_eq!(said.kind.as_deref(), Some("image"));

    let said = read_chat(&proto::ChatMessage {
        content_type: 8,
        audio: Some(proto::Audio {
            payload: vec![1; 10],
            duration_ms: 3_500,
        }),
        ..Default::default()
    });
    let audio = Attached::Audio {
        bytes: 10,
        duration: 3_500,
    };
    assert_eq!(said.attached, Some(audio));
}

#[test]
fn a_contact_request_in_a_chat_is_called_one() {
    let said = read_chat(&proto::ChatMessage {
        content_type: 11,
        text: "it is me".to_owned(),
        display_name: "Alice".to_owned(),
        ..Default::default()
    });
    assert_eq!(said.kind.as_deref(), Some("contact request"));
    assert_eq!(said.name.as_deref(), Some("Alice"));
}

#[test]
fn edits_deletions_reactions_and_pins_name_the_message_they_are_about() {
    let id = || "0x01".to_owned();
    let chat_id = || "status".to_owned();
    let edit = proto::EditMessage {
        text: "better".to_owned(),
        chat_id: chat_id(),
        message_id: id(),
    };
    let delete = proto::DeleteMessage {
        chat_id: chat_id(),
        message_id: id(),
    };
    let reaction = proto::EmojiReaction {
        chat_id: chat_id(),
        message_id: id(),
        r#type: 2,
        retracted: false,
    };
    let pin = proto::PinMessage {
        chat_id: chat_id(),
        message_id: id(),
        pinned: true,
    };
    let unpin = proto::PinMessage {
        pinned: false,
        ..pin.clone()
    };
    let cases = [
        (
            edit.encode_to_vec(),
            EDIT_MESSAGE,
            "edit message",
            Some("better"),
        ),
        (
            delete.encode_to_vec(),
            DELETE_MESSAGE,
            "delete message",
            None,
        ),
        (
            reaction.encode_to_vec(),
            EMOJI_REACTION,
            "emoji reaction",
            Some("👍"),
        ),
        (pin.encode_to_vec(), PIN_MESSAGE, "pin message", None),
        (unpin.encode_to_vec(), PIN_MESSAGE, "unpin message", None),
    ];
    for (message, of_type, kind, text) in cases {
        let said = read(&wrapped(&message, of_type)).unwrap();
        assert_eq!(said.kind.as_deref(), Some(kind));
        assert_eq!(said.text.as_deref(), text, "{kind}");
        assert_eq!(said.chat.as_deref(), Some("status"), "{kind}");
        assert_eq!(said.replies_to.as_deref(), Some("0x01"), "{kind}");
        assert_eq!(said.author, Some(author().public_key()));
    }
}

#[test]
fn a_reaction_is_read_by_the_numbers_of_its_fields() {
    // clock 1, chat 2, message 3, kind of message 4 (a public chat), emoji 5.
    let mut reaction = b"\x08\x07\x12\x06status\x1a\x040x01\x20\x02\x28\x01".to_vec();
    let text = |bytes: &[u8]| read(&wrapped(bytes, EMOJI_REACTION)).unwrap().text;
    assert_eq!(text(&reaction).as_deref(), Some("❤"));
    // 6: taken back.
    reaction.extend(b"\x30\x01");
    assert_eq!(text(&reaction).as_deref(), Some("❤ taken back"));
}

#[test]
fn numbers_are_called_as_the_explorer_calls_them() {
    let names = crate::reading::tests::fixture()["names"].take();
    assert_eq!(names["messages"], serde_json::json!(TYPES));
    assert_eq!(names["contents"], serde_json::json!(CONTENTS));
    assert_eq!(names["images"], serde_json::json!(IMAGES));
    assert_eq!(names["reactions"], serde_json::json!(REACTIONS));
}

#[test]
fn a_type_that_came_later_is_told_by_its_number() {
    let said = read(&wrapped(&[8, 9], 99)).unwrap();
    assert_eq!(said.kind.as_deref(), Some("message of type 99"));
    assert_eq!(said.author, Some(author().public_key()));
    let said = read(&wrapped(&[8, 9], -1)).unwrap();
    assert_eq!(said.kind.as_deref(), Some("message of type -1"));
    let said = read_chat(&proto::ChatMessage {
        content_type: 99,
        ..Default::default()
    });
    assert_eq!(said.kind.as_deref(), Some("content of type 99"));
}

#[test]
fn a_signed_message_that_does_not_read_is_still_its_authors() {
    let said = read(&wrapped(&[0xff; 5], CHAT_MESSAGE)).unwrap();
    assert_eq!(
        said.kind.as_deref(),
        Some("chat message that does not read")
    );
    assert_eq!(said.author, Some(author().public_key()));
}

#[test]
fn what_is_no_wrapper_is_left_alone() {
    let honest = wrapped(&[8, 9], 5);
    assert!(read(&honest).is_some());
    // One more field, a signature cut short, none, and nothing.
    let more = [&honest[..], &[0x20, 0x01]].concat();
    let short = proto::Wrapper {
        signature: vec![1; 64],
        payload: vec![8, 9],
        r#type: 1,
    };
    let none = proto::Wrapper {
        signature: Vec::new(),
        ..short.clone()
    };
    let unsigned = [short.encode_to_vec(), none.encode_to_vec(), Vec::new()];
    for payload in unsigned.iter().chain([&more]) {
        assert_eq!(read(payload), None, "{payload:02x?}");
        assert!(published(payload).is_none());
    }
}

#[test]
fn keys_of_devices_are_called_so() {
    let bundle = proto::Bundle {
        identity: vec![2; 33],
        signed_pre_keys: vec![vec![10, 1, b'x']],
        signature: vec![1; SIGNATURE],
        timestamp: 7,
    };
    let layer = proto::Layer {
        installation_id: "x".to_owned(),
        bundles: vec![bundle.encode_to_vec()],
        ..Default::default()
    };
    let Some(Published::Other(said)) = published(&layer.encode_to_vec()) else {
        panic!("no keys");
    };
    assert_eq!(said.kind.as_deref(), Some("keys of devices"));
    let junk = proto::Layer {
        bundles: vec![b"junk".to_vec()],
        ..layer
    };
    assert!(published(&junk.encode_to_vec()).is_none());
}
