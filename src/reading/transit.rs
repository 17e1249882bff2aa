//! Messages of Status before 2020: a tagged value of transit in its JSON form,
//! `["~#c4", [text, content type, message type, clock, timestamp, {..}]]`. Its library
//! writes words that repeat within a message as codes, `^0`; those are left as they are,
//! for in these messages none repeats.
//!
//! Always true: only tags that Status is known to have used are taken for its own.

use serde_json::Value;

use super::{Attached, Format, Said};

/// How a tagged value begins; with it, JSON of others is told apart.
const TAGGED: &str = "[\"~#";

/// What begins a map.
const MAP: &str = "^ ";

/// Reads a message; `None` for what is not a tagged value of transit.
pub(super) fn read(text: &str) -> Option<Said> {
    if !text.starts_with(TAGGED) {
        return None;
    }
    // What nests deeper than the library's 128 levels is no message.
    let [tag, values] = serde_json::from_str::<[Value; 2]>(text).ok()?;
    let (tag, values) = (tag.as_str()?.strip_prefix("~#")?, values.as_array()?);
    let at = |index: usize| values.get(index);
    let kind = match tag {
        "c4" | "c7" => return Some(chat_message(values)),
        "c1" => "new contact key",
        "c2" => "contact request",
        "c3" => "contact request confirmed",
        "c5" => "messages seen",
        "c6" => "contact update",
        "p1" => "sync installation",
        "p2" => "pair installation",
        "g5" => "membership update",
        tag => return Some(Said::unknown(format!("transit {tag}"))),
    };
    let has_name = matches!(tag, "c2" | "c3" | "c6");
    Some(Said {
        format: Format::StatusTransit,
        kind: Some(kind.to_owned()),
        name: has_name.then(|| at(0).and_then(string)).flatten(),
        ..Said::default()
    })
}

fn chat_message(values: &[Value]) -> Said {
    let at = |index: usize| values.get(index);
    let word = |index| at(index).and_then(string).filter(|word| !word.is_empty());
    let (content, message) = (word(1), word(2));
    // What is more than a text stands in the text's place, or after all others.
    let map = [at(5), at(0)].into_iter().flatten().find(|v| is_map(v));
    let kind: Vec<String> = message.into_iter().chain(content).collect();
    Said {
        format: Format::StatusTransit,
        kind: (!kind.is_empty()).then(|| kind.join(", ")),
        text: at(0)
            .and_then(string)
            .or_else(|| of_map(map, "text").and_then(string)),
        attached: sticker(map),
        chat: of_map(map, "chat-id").and_then(string),
        replies_to: of_map(map, "response-to-v2").and_then(string),
        written: at(4).and_then(Value::as_u64),
        ..Said::default()
    }
}

fn is_map(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|values| values.first().is_some_and(|first| first == MAP))
}

/// A sticker is a map with its hash and its pack.
fn sticker(map: Option<&Value>) -> Option<Attached> {
    let pack = of_map(map, "pack")?.as_i64()?;
    Some(Attached::Sticker {
        hash: of_map(map, "hash").and_then(string)?,
        pack: i32::try_from(pack).ok()?,
    })
}

/// What a map, `["^ ", key, value, ..]`, holds under a keyword; of several, the last.
fn of_map<'a>(map: Option<&'a Value>, keyword: &str) -> Option<&'a Value> {
    let (first, pairs) = map?.as_array()?.split_first()?;
    if first != MAP {
        return None;
    }
    let is_it = |key: &Value| {
        key.as_str()
            .and_then(|key| key.strip_prefix("~:"))
            .is_some_and(|key| key == keyword)
    };
    let found = pairs.chunks_exact(2).rev().find(|pair| is_it(&pair[0]));
    found.map(|pair| &pair[1])
}

/// A string or a keyword: `~:` marks keywords; `~~`, `~^` and `` ~` `` are escapes.
fn string(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let plain = match text.as_bytes() {
        [b'~', b':', ..] => &text[2..],
        [b'~', b'~' | b'^' | b'`', ..] => &text[1..],
        _ => text,
    };
    Some(plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_in_texts_as_in_what_stands_beside_them() {
        let said = read(
            r#"["~#c4",["~~tilde","text/plain","~:public-group-user-message",1,2,["^ ","~:chat-id","~:kw"]]]"#,
        )
        .unwrap();
        assert_eq!(said.text.as_deref(), Some("~tilde"));
        assert_eq!(said.chat.as_deref(), Some("kw"));
        let kind = "public-group-user-message, text/plain";
        assert_eq!(said.kind.as_deref(), Some(kind));
    }

    #[test]
    fn a_sticker_says_which() {
        let said = read(
            r#"["~#c4",[["^ ","~:hash","e301","~:pack",4],"sticker","~:public-group-user-message",1,2]]"#,
        )
        .unwrap();
        let hash = "e301".to_owned();
        assert_eq!(said.attached, Some(Attached::Sticker { hash, pack: 4 }));
    }

    #[test]
    fn a_contact_request_says_who_asks() {
        let said = read(r#"["~#c2",["Alice","data:image/png;base64,","0x0",null]]"#).unwrap();
        assert_eq!(said.kind.as_deref(), Some("contact request"));
        assert_eq!(said.name.as_deref(), Some("Alice"));
    }

    #[test]
    fn a_tag_of_others_is_unknown_by_its_name() {
        let said = read(r#"["~#q9",["x"]]"#).unwrap();
        assert_eq!(said.format, Format::Unknown);
        assert_eq!(said.kind.as_deref(), Some("transit q9"));
        assert_eq!(read(r#"["~#c4"]"#), None);
        assert_eq!(read(r#"["~#c4",{}]"#), None);
    }

    #[test]
    fn what_nests_without_end_is_no_message() {
        let deep = format!("[\"~#c4\",{}", "[".repeat(100_000));
        assert_eq!(read(&deep), None);
    }
}
