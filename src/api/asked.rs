//! What the part of a URL after `?` asks for.
//!
//! Always true: pure. What is not understood is refused by name, in bounded words;
//! parameters that nobody asks about are passed over.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use axum::http::Uri;

use crate::api::failure::Failure;
use crate::archive::filter::TopicFilter;
use crate::archive::watermark::{Day, Month};
use crate::whisper::Topic;

/// Most parameters looked at: a hundred topics, and all else there is.
const MAX_PARAMETERS: usize = 256;

/// Most topics and chats of a request: more than anybody follows, and still a URL.
const MAX_TOPICS: usize = 100;

/// The parameters of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked(Vec<(String, String)>);

impl Asked {
    /// Reads those of `uri`.
    pub(super) fn of(uri: &Uri) -> Result<Self, Failure> {
        let query = uri.query().unwrap_or_default().as_bytes();
        let mut pairs = Vec::new();
        for (key, value) in form_urlencoded::parse(query) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(Failure::bad_request(format!(
                    "more than {MAX_PARAMETERS} parameters"
                )));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The values of a parameter that may stand more than once.
    pub(super) fn each<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().filter(move |(key, _)| key == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// The topics that `topic` and `chat` name; all of them where neither stands.
    pub(super) fn topics(&self) -> Result<TopicFilter, Failure> {
        let chats = self.each("chat").map(Topic::of_public_chat).map(Ok);
        let named = self.each("topic").map(|text| {
            text.parse()
                .map_err(|_| Failure::bad_request("a topic is written as in 0xcd423760"))
        });
        let topics: BTreeSet<Topic> = named.chain(chats).collect::<Result<_, _>>()?;
        if topics.len() > MAX_TOPICS {
            let told = format!("more than {MAX_TOPICS} topics and chats");
            return Err(Failure::bad_request(told));
        }
        Ok(match topics.is_empty() {
            true => TopicFilter::All,
            false => TopicFilter::Any(topics),
        })
    }

    /// Whether ciphertext is asked for: `data=1`.
    pub(super) fn data(&self) -> Result<bool, Failure> {
        match self.one::<String>("data")?.as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(Failure::bad_request("`data` is 1 or 0")),
        }
    }

    /// The value of a parameter that stands once at most.
    pub(super) fn one<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Failure> {
        let mut values = self.each(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Failure::bad_request(format!("`{name}` stands twice")));
        }
        let read = value.parse();
        read.map(Some)
            .map_err(|_| Failure::bad_request(format!("`{name}` is not what it should be")))
    }

    /// The number of a parameter, within bounds; `default` where it is absent.
    pub(super) fn number<T>(
        &self,
        name: &'static str,
        default: T,
        bounds: std::ops::RangeInclusive<T>,
    ) -> Result<T, Failure>
    where
        T: FromStr + PartialOrd + Display,
    {
        let number = self.one(name)?.unwrap_or(default);
        if bounds.contains(&number) {
            return Ok(number);
        }
        let (least, most) = bounds.into_inner();
        Err(Failure::bad_request(format!(
            "`{name}` is a number from {least} to {most}"
        )))
    }
}

/// The day that `2018-09-15` names.
pub(super) fn day(text: &str) -> Option<Day> {
    let mut parts = text.split('-');
    let month = Month {
        year: parts.next()?.parse().ok()?,
        month: parts.next()?.parse().ok()?,
    };
    let day = Day::from_date(month, parts.next()?.parse().ok()?)?;
    // One way of writing it: no signs, no missing zeros, nothing behind.
    (day.to_string() == text).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        Asked::of(&uri).unwrap()
    }

    #[test]
    fn parameters_are_read_once_and_within_their_bounds() {
        let asked = asked("limit=7&topic=a&topic=b%20c&x=&limit2=9");
        assert_eq!(asked.number("limit", 50, 1..=1_000), Ok(7));
        assert_eq!(asked.number("none", 50, 1..=1_000), Ok(50));
        assert!(asked.number("limit", 50, 10..=1_000).is_err());
        assert_eq!(asked.each("topic").collect::<Vec<_>>(), ["a", "b c"]);
        assert!(asked.one::<String>("topic").is_err());
        assert!(asked.one::<u32>("x").is_err());
        assert_eq!(asked.one("x"), Ok(Some(String::new())));
    }

    #[test]
    fn parameters_without_end_are_refused() {
        let uri: Uri = format!("/x?{}", "a=1&".repeat(300)).parse().unwrap();
        assert!(Asked::of(&uri).is_err());
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!(day("2018-09-15"), Some(Day(17_789)));
        for text in [
            "2018-9-15",
            "2018-09-31",
            "2018-09",
            "2018-09-15-1",
            "+2018-09-15",
            "2018-09-15 ",
            "",
            "9999-01-01",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
    }
}
