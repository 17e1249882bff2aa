//! A mail request as status-go's clients write it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::api::rpc::args::Object;
use crate::api::rpc::fault::Fault;
use crate::api::rpc::hex_data;
use crate::mailserver::Cursor;
use crate::mailserver::cursor::CURSOR_SIZE;
use crate::mailserver::request::MailQuery;
use crate::time::{DAY, TimeRange, UnixSeconds};
use crate::whisper::{Bloom, Topic};

/// How long an answer is waited for where the request does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest anybody may wait: within the time of a call.
const MAX_TIMEOUT: Duration = Duration::from_secs(100);

/// What is asked for, of whom.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The enode of the mailserver, or empty.
    pub(super) server: String,
    /// The key of the server's password, or empty: then its node key serves.
    pub(super) sym_key_id: String,
    /// Which envelopes.
    pub(super) query: MailQuery,
    /// The topics among that.
    pub(super) topics: BTreeSet<Topic>,
    /// How long to wait for the answer.
    pub(super) timeout: Duration,
    /// Whether to ask although the same was asked moments ago.
    pub(super) force: bool,
}

/// The members as they came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Members {
    server: String,
    from: u32,
    to: u32,
    limit: u32,
    cursor: String,
    topic: Topic,
    topics: Vec<Topic>,
    sym_key_id: String,
    timeout: u32,
    force: bool,
}

impl Members {
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let object = Object::read(value, "shhext", "MessagesRequest")?;
        Ok(Self {
            server: object.text("mailServerPeer")?,
            from: object.u32("from")?,
            to: object.u32("to")?,
            limit: object.u32("limit")?,
            cursor: object.text("cursor")?,
            topic: object.member("topic", |value, _| hex_data::read_topic(value))?,
            topics: object.list("topics", "[]types.TopicType", hex_data::read_topic)?,
            sym_key_id: object.text("symKeyID")?,
            timeout: object.u32("timeout")?,
            force: object.bool("force")?,
        })
    }

    /// What they mean at `now`: by default the last day.
    pub(super) fn wanted(self, now: UnixSeconds) -> Result<Wanted, Fault> {
        let to = match self.to {
            0 => now,
            to => UnixSeconds(to),
        };
        let from = match self.from {
            0 => to.saturating_sub(DAY),
            from => UnixSeconds(from),
        };
        let range = TimeRange::new(from, to).map_err(|_| {
            let (from, to) = (from.0, to.0);
            Fault::because(format!("Query range is invalid: from > to ({from} > {to})"))
        })?;
        let topics: BTreeSet<Topic> = if self.topics.is_empty() {
            [self.topic].into()
        } else {
            self.topics.into_iter().collect()
        };
        let timeout = match self.timeout {
            0 => TIMEOUT,
            seconds => Duration::from_secs(seconds.into()).min(MAX_TIMEOUT),
        };
        Ok(Wanted {
            server: self.server,
            sym_key_id: self.sym_key_id,
            query: MailQuery {
                range,
                topics: Bloom::of_topics(topics.iter().copied()),
                limit: self.limit,
                cursor: cursor(&self.cursor)?,
                batch: true,
            },
            topics,
            timeout,
            force: self.force,
        })
    }
}

/// A cursor in 72 hex digits, or none.
pub(in crate::api::rpc) fn cursor(text: &str) -> Result<Option<Cursor>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes =
        hex::decode(text).map_err(|error| Fault::because(format!("invalid cursor: {error}")))?;
    let size = bytes.len();
    match Cursor::from_wire(&bytes) {
        Some(cursor) => Ok(Some(cursor)),
        None => Err(Fault::because(format!(
            "invalid cursor size: expected {CURSOR_SIZE} but got {size}"
        ))),
    }
}

/// How often, and how long, the blocking form asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retries {
    base: Duration,
    step: Duration,
    most: u32,
}

impl Retries {
    /// From times in nanoseconds.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let object = Object::read(value, "shhext", "RetryConfig")?;
        let time = |name| object.float(name).map(nanoseconds);
        Ok(Self {
            base: time("baseTimeout")?,
            step: time("stepTimeout")?,
            most: object.u32("maxRetries")?,
        })
    }

    /// How long to wait each time it is asked. Together they stay within the
    /// time of a call.
    pub(super) fn timeouts(self) -> Result<Vec<Duration>, Fault> {
        let mut all = Vec::new();
        let mut sum = Duration::ZERO;
        for attempt in 0..=self.most {
            let timeout = self.base.saturating_add(self.step.saturating_mul(attempt));
            sum = sum.saturating_add(timeout);
            // A millisecond at least also bounds how many attempts there are.
            if sum > MAX_TIMEOUT || timeout < Duration::from_millis(1) {
                return Err(Fault::because(format!(
                    "each attempt must wait for 1 ms or more, and all of them for at most {} s",
                    MAX_TIMEOUT.as_secs()
                )));
            }
            all.push(timeout);
        }
        Ok(all)
    }
}

fn nanoseconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count / 1e9).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

    fn wanted(value: &Value) -> Result<Wanted, Fault> {
        Members::read(value).unwrap().wanted(NOW)
    }

    #[test]
    fn a_request_is_for_the_last_day_of_the_topic_of_zeros_unless_it_says() {
        let default = wanted(&json!({})).unwrap();
        assert_eq!(default.query.range.to(), NOW);
        assert_eq!(default.query.range.from(), NOW.saturating_sub(DAY));
        assert_eq!(default.query.topics, Bloom::of_topic(Topic::default()));
        assert_eq!((default.timeout, default.query.cursor), (TIMEOUT, None));

        let text = "5f5e1000".to_owned() + &"ab".repeat(32);
        let full = wanted(&json!({
            "mailServerPeer": "enode://x", "from": 5, "to": 7, "limit": 9, "cursor": text,
            "topics": ["0x01020304", "0xcd423760"], "symKeyID": "k", "timeout": 3, "force": true,
        }))
        .unwrap();
        assert_eq!((full.query.range.from().0, full.query.range.to().0), (5, 7));
        assert_eq!(full.query.cursor.unwrap().to_string(), text);
        assert_eq!((full.topics.len(), full.query.limit), (2, 9));
        assert_eq!((full.timeout.as_secs(), full.force), (3, true));
    }

    #[test]
    fn what_is_wrong_is_told_in_the_words_of_status_go() {
        for (value, told) in [
            (
                json!({"from": 10, "to": 5}),
                "Query range is invalid: from > to (10 > 5)",
            ),
            (
                json!({"cursor": "abcd"}),
                "invalid cursor size: expected 36 but got 2",
            ),
            (
                json!({"cursor": "xy"}),
                "invalid cursor: Invalid character 'x' at position 0",
            ),
        ] {
            assert_eq!(wanted(&value).unwrap_err(), Fault::because(told));
        }
    }

    #[test]
    fn attempts_grow_longer_and_end() {
        let second = 1_000_000_000u64;
        let read = |base: u64, step: u64, most: u32| {
            let value = json!({"baseTimeout": base, "stepTimeout": step, "maxRetries": most});
            Retries::read(&value).unwrap().timeouts()
        };
        let seconds: Vec<u64> = read(10 * second, 5 * second, 2)
            .unwrap()
            .iter()
            .map(Duration::as_secs)
            .collect();
        assert_eq!(seconds, [10, 15, 20]);
        assert!(read(0, 0, u32::MAX).is_err());
        assert!(read(second, 0, u32::MAX).is_err());
    }
}
