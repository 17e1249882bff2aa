//! What an answer may hold: the measure by which everything received is
//! checked.
//!
//! Always true: pure, and of constant size, however long the answer.

use crate::mailserver::client::{MAX_ANSWER_BYTES, MAX_ENDLESS, Unasked};
use crate::mailserver::cursor::Cursor;
use crate::mailserver::request::MailQuery;
use crate::whisper::{Envelope, EnvelopeHash};

/// Pages followed of one history. Between two places of an archive there is
/// room for any number of invented ones.
pub const MAX_PAGES: u32 = 1_000_000;

/// How an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerEnd {
    /// The last envelope the server says it sent.
    pub last: Option<EnvelopeHash>,
    /// Where to go on, if the server says that more follows.
    pub next: Option<Cursor>,
    /// Whether the server ended it with a completion. geth's never does: its
    /// answer is taken for ended when nothing more comes, and may be cut short.
    pub completed: bool,
    /// Envelopes delivered.
    pub envelopes: u32,
    /// Whether the envelope that the server names as its last one came. Where
    /// it did not, something was lost on the way.
    pub last_came: bool,
}

/// One answer while it is received.
#[derive(Clone, Copy, Debug)]
pub struct AnswerCheck {
    query: MailQuery,
    most: u32,
    envelopes: u32,
    bytes: u64,
    last: Option<EnvelopeHash>,
}

impl AnswerCheck {
    /// The answer to a query in the RLP form, whose limit servers keep.
    pub fn new(query: MailQuery) -> Self {
        Self {
            query,
            most: query.limit,
            envelopes: 0,
            bytes: 0,
            last: None,
        }
    }

    /// The answer to the binary form, which has no limit.
    pub fn without_limit(query: MailQuery) -> Self {
        Self {
            most: MAX_ENDLESS,
            ..Self::new(query)
        }
    }

    /// Envelopes taken so far.
    pub fn envelopes(&self) -> u32 {
        self.envelopes
    }

    /// Takes the next envelope, if it was asked for.
    pub fn take(&mut self, envelope: &Envelope) -> Result<(), Unasked> {
        let hash = envelope.hash();
        if self.envelopes >= self.most {
            return Err(Unasked::Count { limit: self.most });
        }
        if !self.query.range.contains(envelope.sent()) {
            return Err(Unasked::Time { hash });
        }
        if !self.query.topics.matches(envelope.topic()) {
            return Err(Unasked::Topic { hash });
        }
        let len = u64::try_from(envelope.rlp().len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len);
        if self.bytes > MAX_ANSWER_BYTES {
            return Err(Unasked::Bytes {
                limit: MAX_ANSWER_BYTES,
            });
        }
        self.envelopes += 1;
        self.last = Some(hash);
        Ok(())
    }

    /// The end that a completion gives it.
    pub fn completed(&self, last: Option<EnvelopeHash>, next: Option<Cursor>) -> AnswerEnd {
        AnswerEnd {
            last,
            next,
            completed: true,
            envelopes: self.envelopes,
            last_came: last.is_none() || last == self.last,
        }
    }

    /// The end of an answer that no completion ended.
    pub fn fell_silent(&self) -> AnswerEnd {
        AnswerEnd {
            last: self.last,
            next: None,
            completed: false,
            envelopes: self.envelopes,
            last_came: true,
        }
    }
}

/// Follows a server's cursors.
///
/// Always true: what is followed ends, after [`MAX_PAGES`] at the latest. Cursors are places of envelopes, and a
/// server goes through its own in one direction: status-go's goes up with
/// LevelDB and down with Postgres. A cursor that turns back, or stands still, or
/// follows on nothing, is a circle.
#[derive(Clone, Copy, Debug, Default)]
pub struct Follow {
    at: Option<Cursor>,
    upward: Option<bool>,
    pages: u32,
}

impl Follow {
    /// Follows from `cursor`, or from the beginning.
    pub fn from(cursor: Option<Cursor>) -> Self {
        Self {
            at: cursor,
            ..Self::default()
        }
    }

    /// Where the next request starts.
    pub fn at(&self) -> Option<Cursor> {
        self.at
    }

    /// Takes the end of an answer; tells whether more is to be asked for.
    pub fn step(&mut self, end: &AnswerEnd) -> Result<bool, Unasked> {
        let Some(next) = end.next else {
            return Ok(false);
        };
        if end.envelopes == 0 || self.pages == MAX_PAGES {
            return Err(Unasked::Circle);
        }
        self.pages += 1;
        if let Some(at) = self.at {
            let upward = next > at;
            if next == at || self.upward.is_some_and(|before| before != upward) {
                return Err(Unasked::Circle);
            }
            self.upward = Some(upward);
        }
        self.at = Some(next);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{Expiry, TimeRange, Ttl, UnixSeconds};
    use crate::whisper::{Bloom, Topic};

    fn query(limit: u32) -> MailQuery {
        MailQuery {
            range: TimeRange::new(UnixSeconds(100), UnixSeconds(200)).unwrap(),
            topics: Bloom::of_topic(Topic([1, 2, 3, 0])),
            limit,
            cursor: None,
            batch: true,
        }
    }

    fn envelope(sent: u32, topic: [u8; 4], nonce: u64) -> Envelope {
        let expiry = Expiry::of(UnixSeconds(sent), Ttl(50));
        Envelope::new(expiry, Ttl(50), Topic(topic), &[7; 20], nonce)
    }

    fn cursor(sent: u32) -> Cursor {
        Cursor {
            sent: UnixSeconds(sent),
            hash: EnvelopeHash([0; 32]),
        }
    }

    fn end(next: Option<Cursor>, envelopes: u32) -> AnswerEnd {
        AnswerEnd {
            next,
            envelopes,
            completed: true,
            ..AnswerEnd::default()
        }
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let wanted = [1, 2, 3, 0];
        let mut check = AnswerCheck::new(query(2));
        assert_eq!(check.take(&envelope(100, wanted, 0)), Ok(()));
        for (sent, topic) in [(99, wanted), (201, wanted), (150, [9, 9, 9, 0])] {
            assert!(check.take(&envelope(sent, topic, 0)).is_err());
        }
        let last = envelope(200, wanted, 1);
        assert_eq!(check.take(&last), Ok(()));
        assert_eq!(
            check.take(&envelope(150, wanted, 2)),
            Err(Unasked::Count { limit: 2 })
        );
        assert!(check.completed(Some(last.hash()), None).last_came);
        assert!(!check.completed(Some(EnvelopeHash([1; 32])), None).last_came);
    }

    #[test]
    fn cursors_are_followed_up_or_down_and_never_round() {
        for steps in [[10, 20, 30], [30, 20, 10]] {
            let mut follow = Follow::default();
            for step in steps {
                assert_eq!(follow.step(&end(Some(cursor(step)), 5)), Ok(true));
            }
            assert_eq!(follow.step(&end(None, 0)), Ok(false));
        }
        for steps in [&[10, 10][..], &[10, 20, 10], &[30, 20, 25]] {
            let mut follow = Follow::default();
            let (last, before) = steps.split_last().unwrap();
            for step in before {
                assert_eq!(follow.step(&end(Some(cursor(*step)), 5)), Ok(true));
            }
            let circle = follow.step(&end(Some(cursor(*last)), 5));
            assert_eq!(circle, Err(Unasked::Circle), "{steps:?}");
        }
    }

    #[test]
    fn a_cursor_after_nothing_is_not_followed() {
        let mut follow = Follow::default();
        assert_eq!(follow.step(&end(Some(cursor(1)), 0)), Err(Unasked::Circle));
    }

    proptest! {
        #[test]
        fn what_is_followed_never_comes_back(steps in proptest::collection::vec(0u32..20, 1..40)) {
            let mut follow = Follow::default();
            let mut seen = std::collections::BTreeSet::new();
            for step in steps {
                match follow.step(&end(Some(cursor(step)), 1)) {
                    Ok(_) => prop_assert!(seen.insert(step)),
                    Err(_) => return Ok(()),
                }
            }
        }
    }
}
