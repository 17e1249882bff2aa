//! Everything that is wrong with a `gwa.toml`, at once and with its place.
//!
//! Always true: each key is judged by the code that reads it for the daemon, and what
//! cannot be together as the daemon judges it. What depends on flags, on the environment
//! or on what is there beside the file is not judged.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use toml::de::DeTable;

use super::{ConfigError, KEYS, Partial, Settings, nearest, parse_table};
use crate::limits::Limits;

/// Where something stands in a file; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` of `text`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
        }
    }
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, if that can be said.
    #[serde(flatten)]
    pub at: Option<Place>,
    /// The key or field, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong with it.
    pub says: String,
    /// What is probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.at {
            write!(f, "{line}:{column}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        f.write_str(&self.says)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// The problems of `text`, in the order in which they stand. `path` is where the file
/// lies, for the paths in it that are relative.
pub fn check(path: &Path, text: &str) -> Vec<Problem> {
    let whole = |says: String, at: Option<Place>| Problem {
        at,
        key: None,
        says,
        hint: None,
    };
    let places = match DeTable::parse(text) {
        Ok(places) => places,
        Err(error) => {
            let at = error.span().map(|span| Place::of(text, span.start));
            return vec![whole(error.message().to_owned(), at)];
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![whole(error.to_string(), None)],
    };
    let mut problems = Vec::new();
    let mut right = toml::Table::new();
    for (key, value) in places.get_ref() {
        let name = key.get_ref().as_ref();
        let at = |offset| Some(Place::of(text, offset));
        let Some(known) = KEYS.iter().find(|known| **known == name) else {
            problems.push(unknown(at(key.span().start), name, nearest(KEYS, name)));
            continue;
        };
        // Each limit is judged for itself, so that each is told of.
        if let ("limits", Some(limits)) = (*known, value.get_ref().as_table()) {
            for (limit, value) in limits {
                let alone = table["limits"].get(limit.get_ref().as_ref()).cloned();
                let name = limit.get_ref().as_ref();
                let places = (at(limit.span().start), at(value.span().start));
                problems.extend(alone.and_then(|alone| judge_limit(places, name, alone)));
            }
            continue;
        }
        let alone = table.get(name).cloned();
        let alone = alone.into_iter().map(|value| (name.to_owned(), value));
        let alone: toml::Table = alone.collect();
        match parse_table(path, alone.clone()) {
            Ok(_) => right.extend(alone),
            Err(error) => problems.push(Problem {
                at: at(value.span().start),
                key: Some(name.to_owned()),
                says: match error {
                    ConfigError::Value { reason, .. } => reason,
                    other => other.to_string(),
                },
                hint: None,
            }),
        }
    }
    if let Ok(file) = parse_table(path, right) {
        let data = path.parent().unwrap_or(Path::new(""));
        let settings = Settings::resolve(data, Partial::default(), file);
        problems.extend(settings.conflicts().into_iter().map(|conflict| {
            let value = places.get_ref().get(conflict.key);
            Problem {
                at: value.map(|value| Place::of(text, value.span().start)),
                key: Some(conflict.key.to_owned()),
                says: conflict.says,
                hint: Some(conflict.hint.to_owned()),
            }
        }));
    }
    problems.sort_by_key(|problem| problem.at);
    problems
}

/// A limit alone, given the places of its name and of its value.
fn judge_limit(
    (name_at, value_at): (Option<Place>, Option<Place>),
    name: &str,
    value: toml::Value,
) -> Option<Problem> {
    let mut names = vec!["exempt-local"];
    names.extend(Limits::default().told().iter().map(|limit| limit.name));
    if !names.contains(&name) {
        return Some(unknown(
            name_at,
            &format!("limits.{name}"),
            nearest(&names, name),
        ));
    }
    let alone = toml::Table::from_iter([(name.to_owned(), value)]);
    let error = alone.try_into::<Limits>().err()?;
    Some(Problem {
        at: value_at,
        key: Some(format!("limits.{name}")),
        says: error.message().to_owned(),
        hint: None,
    })
}

fn unknown(at: Option<Place>, name: &str, nearest: &str) -> Problem {
    Problem {
        at,
        key: Some(name.to_owned()),
        says: "there is no such key".to_owned(),
        hint: Some(format!("is `{nearest}` meant?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn told(text: &str) -> Vec<String> {
        let problems = check(Path::new("/data/gwa.toml"), text);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_places() {
        let text = "\
lisen = \"0.0.0.0:1\"
min-pow = -1
  peers = [\"enode://x\"]
[limits]
max-peers = 0
maxpeers = 3
envelopes-per-second = 5
";
        let told = told(text);
        let starts = [
            "1:1: `lisen`: there is no such key (is `listen` meant?)",
            "2:11: `min-pow`: `-1` is no proof of work",
            "3:11: `peers`: ",
            "5:13: `limits.max-peers`: ",
            "6:1: `limits.maxpeers`: there is no such key (is `max-peers` meant?)",
        ];
        assert_eq!(told.len(), starts.len(), "{told:#?}");
        for (told, start) in told.iter().zip(starts) {
            assert!(told.starts_with(start), "{told} <> {start}");
        }
    }

    #[test]
    fn what_cannot_be_together_is_told_beside_what_cannot_be_alone() {
        let text = "\
nat = \"stun\"
store = \"kubo:http://127.0.0.1:5001\"
store-auth = \"hunter2\"
rpc-open = true
http = \"0.0.0.0:8547\"
";
        let told = told(text);
        let starts = [
            "1:7: `nat`: ",
            "3:14: `store-auth`: credentials are written bearer:TOKEN",
            "4:12: `rpc-open`: without a token `http` cannot be 0.0.0.0:8547",
        ];
        assert_eq!(told.len(), starts.len(), "{told:#?}");
        for (told, start) in told.iter().zip(starts) {
            assert!(told.starts_with(start), "{told} <> {start}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_where_it_breaks() {
        let told = told("listen = \"127.0.0.1:1\"\nhttp =\n");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("2:7: "), "{told:?}");
    }

    #[test]
    fn a_file_without_problems_is_one_that_the_daemon_takes_and_the_reverse() {
        let path = Path::new("/data/gwa.toml");
        for text in [
            "",
            "listen = \"127.0.0.1:1\"",
            "listen = 1",
            "limits = 3",
            "[limits]\nexempt-local = false",
            "[limits]\nexempt-local = 1",
            "a = 1",
            "a",
            "nat = \"stun\"",
            "\"listen\" = \"127.0.0.1:1\"\n\"\\u0061\" = 1",
            "listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:1\"",
            "http = \"ä\"",
        ] {
            let problems = check(path, text);
            assert_eq!(problems.is_empty(), parse(path, text).is_ok(), "{text}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(300))]
        #[test]
        fn no_text_makes_it_fail(text in "(\\PC|\n|=|\"|\\[|\\]|listen|limits|max-peers){0,60}") {
            let path = Path::new("/data/gwa.toml");
            // No two keys of these are at odds.
            proptest::prop_assert_eq!(check(path, &text).is_empty(), parse(path, &text).is_ok());
        }
    }
}
