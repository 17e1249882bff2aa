//! Which of several machines with one archive's key seals now.
//!
//! A lease is an entry that its holder writes again before it runs out. Nobody's
//! wall clock is believed: whoever waits for a lease measures, by its own monotonic
//! clock, how long the entry stayed as it is; the holder counts from before it asked
//! for its last writing.
//!
//! Always true:
//! - Each holder's token is above that of the one before it.
//! - The holder calls itself one for less time after it asked for a writing than
//!   others wait after they saw it.
//!
//! It keeps two machines from doing the same work, and that is all: that no number is
//! signed twice is held by [claims](super::claims), whatever clocks and pauses do.

use std::time::Duration;

use super::registry::{Entry, Version};

/// Name of the entry.
pub const NAME: &str = "LEASE";

/// How long a lease lasts that is not written again: a machine that died keeps
/// another from sealing for so long, which is well within the time between two seals.
pub const SPAN: Duration = Duration::from_secs(60);

/// How often its holder writes it: three of four writings may fail.
pub const BEAT_EVERY: Duration = Duration::from_secs(15);

/// Longest span that is believed of another's entry.
const MAX_SPAN: Duration = Duration::from_secs(3_600);

/// First line of an entry.
const FIRST_LINE: &str = "gwa lease 1";

/// A process that may hold a lease: 16 bytes drawn when it starts, so that no copy of
/// a data folder is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(pub [u8; 16]);

impl Holder {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Number of a holder among all there were; rises from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What the entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` where it was given back.
    pub holder: Option<Holder>,
    /// The holder's number.
    pub token: Token,
    /// How often this holder wrote it.
    pub beat: u64,
    /// How long it lasts after a writing.
    pub span: Duration,
    /// The number of the newest head that the holder knew of, 0 before there was one.
    pub number: u64,
}

impl Record {
    /// Its text.
    pub fn encode(&self) -> Vec<u8> {
        let holder = self
            .holder
            .map_or_else(|| "none".to_owned(), |holder| holder.to_string());
        format!(
            "{FIRST_LINE}\nholder {holder}\ntoken {}\nbeat {}\nspan {}\nnumber {}\n",
            self.token.0,
            self.beat,
            self.span.as_millis(),
            self.number
        )
        .into_bytes()
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut field = |name: &str| {
            let (key, value) = lines.next()?.split_once(' ')?;
            (key == name).then(|| value.to_owned())
        };
        let holder = match &*field("holder")? {
            "none" => None,
            text => Some(Holder(hex::decode(text).ok()?.try_into().ok()?)),
        };
        let mut number = |name: &str| field(name)?.parse::<u64>().ok();
        let record = Self {
            holder,
            token: Token(number("token")?),
            beat: number("beat")?,
            span: Duration::from_millis(number("span")?),
            number: number("number")?,
        };
        (record.span <= MAX_SPAN && record.encode() == bytes).then_some(record)
    }
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this: in the place of a version, or where there is nothing.
    Write(Record, Option<Version>),
    /// Another holds it, and for so long at least.
    Wait(Duration),
}

/// One that holds the lease or wants to. Instants are durations on its own clock,
/// which never goes back.
#[derive(Clone, Debug)]
pub struct Tenant {
    me: Holder,
    span: Duration,
    seen: Option<Seen>,
    held: Option<Held>,
}

#[derive(Clone, Debug)]
struct Seen {
    record: Record,
    version: Version,
    since: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    token: Token,
    until: Duration,
}

impl Tenant {
    /// One that knows nothing yet.
    pub fn new(me: Holder, span: Duration) -> Self {
        Self {
            me,
            span: span.min(MAX_SPAN),
            seen: None,
            held: None,
        }
    }

    /// The entry as it was read at `now`. False where it is no lease: nobody may
    /// write over what another program keeps there.
    pub fn read(&mut self, now: Duration, entry: Option<Entry>) -> bool {
        let Some(Entry { bytes, version }) = entry else {
            self.seen = None;
            self.held = None;
            return true;
        };
        let Some(record) = Record::decode(&bytes) else {
            self.held = None;
            return false;
        };
        let is_mine = |held: &Held| record.holder == Some(self.me) && record.token == held.token;
        self.held = self.held.filter(is_mine);
        let since = match &self.seen {
            Some(seen) if seen.version == version => seen.since,
            _ => now,
        };
        self.seen = Some(Seen {
            record,
            version,
            since,
        });
        true
    }

    /// What to do at `now`, after a reading. With `force` the holder is taken for
    /// dead. `number` is that of the newest head that is known of.
    pub fn next(&self, now: Duration, force: bool, number: u64) -> Step {
        let record = |token: Token, beat, number| Record {
            holder: Some(self.me),
            token,
            beat,
            span: self.span,
            number,
        };
        let Some(Seen {
            record: seen,
            version,
            since,
        }) = &self.seen
        else {
            return Step::Write(record(Token(1), 0, number), None);
        };
        let number = number.max(seen.number);
        let write = |record| Step::Write(record, Some(version.clone()));
        if seen.holder == Some(self.me) {
            return write(record(seen.token, seen.beat.saturating_add(1), number));
        }
        let unchanged = now.saturating_sub(*since);
        if seen.holder.is_some() && !force && unchanged < seen.span {
            return Step::Wait(seen.span.saturating_sub(unchanged));
        }
        let token = Token(seen.token.0.saturating_add(1));
        write(record(token, 0, number))
    }

    /// What became of a writing that was asked for at `asked`.
    pub fn wrote(&mut self, asked: Duration, record: Record, version: Option<Version>) {
        let Some(version) = version else {
            self.held = None;
            return;
        };
        self.held = Some(Held {
            token: record.token,
            until: asked + self.span,
        });
        self.seen = Some(Seen {
            record,
            version,
            since: asked,
        });
    }

    /// What gives the lease back; `None` where it is not held.
    pub fn give_back(&mut self) -> Option<(Record, Version)> {
        self.held.take()?;
        let seen = self.seen.take()?;
        let record = Record {
            holder: None,
            ..seen.record
        };
        Some((record, seen.version))
    }

    /// The token, where the lease is held for a quarter of its span yet: what is begun
    /// now ends within it.
    pub fn token(&self, now: Duration) -> Option<Token> {
        let margin = self.span / 4;
        let held = self.held.filter(|held| now + margin < held.until);
        held.map(|held| held.token)
    }

    /// Who holds it, by the last reading.
    pub fn holder(&self) -> Option<Holder> {
        self.seen.as_ref()?.record.holder
    }

    /// The number of the newest head that any holder told of.
    pub fn number(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.record.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The entry, and how often it was written.
    #[derive(Default)]
    struct Place {
        entry: Option<Entry>,
        writings: u64,
    }

    impl Place {
        fn write(&mut self, record: &Record, on: Option<&Version>) -> Option<Version> {
            if self.entry.as_ref().map(|entry| &entry.version) != on {
                return None;
            }
            self.writings += 1;
            let version = Version(self.writings.to_string());
            self.entry = Some(Entry {
                bytes: record.encode(),
                version: version.clone(),
            });
            Some(version)
        }

        /// One reading, and what follows from it.
        fn turn(&mut self, tenant: &mut Tenant, now: Duration, force: bool) {
            assert!(tenant.read(now, self.entry.clone()));
            if let Step::Write(record, on) = tenant.next(now, force, 0) {
                let version = self.write(&record, on.as_ref());
                tenant.wrote(now, record, version);
            }
        }
    }

    fn tenants() -> [Tenant; 2] {
        [1, 2].map(|n| Tenant::new(Holder([n; 16]), s(60)))
    }

    #[test]
    fn a_lease_that_is_written_again_is_kept_and_one_that_is_not_is_taken() {
        let (mut place, [mut a, mut b]) = (Place::default(), tenants());
        place.turn(&mut a, s(0), false);
        assert_eq!(a.token(s(0)), Some(Token(1)));
        for now in (0..300).step_by(15) {
            place.turn(&mut a, s(now), false);
            place.turn(&mut b, s(now + 1), false);
            assert_eq!(a.token(s(now + 1)), Some(Token(1)));
            assert_eq!(b.token(s(now + 1)), None);
        }
        // The first one falls silent at 285, seen at 286.
        place.turn(&mut b, s(345), false);
        assert_eq!(b.token(s(345)), None);
        place.turn(&mut b, s(346), false);
        assert_eq!((a.token(s(346)), b.token(s(346))), (None, Some(Token(2))));
        // It finds out when it comes back.
        place.turn(&mut a, s(350), false);
        assert_eq!(a.token(s(350)), None);
    }

    #[test]
    fn one_that_is_known_to_be_dead_is_not_waited_for() {
        let (mut place, [mut a, mut b]) = (Place::default(), tenants());
        place.turn(&mut a, s(0), false);
        place.turn(&mut b, s(1), true);
        assert_eq!(b.token(s(1)), Some(Token(2)));
        // It was not dead: its next writing fails.
        if let Step::Write(record, on) = a.next(s(2), false, 0) {
            let version = place.write(&record, on.as_ref());
            a.wrote(s(2), record, version);
        }
        assert_eq!(a.token(s(2)), None);
    }

    #[test]
    fn one_that_is_given_back_is_free_at_once() {
        let (mut place, [mut a, mut b]) = (Place::default(), tenants());
        place.turn(&mut a, s(0), false);
        let (record, version) = a.give_back().unwrap();
        assert!(place.write(&record, Some(&version)).is_some());
        assert_eq!(a.token(s(0)), None);
        place.turn(&mut b, s(1), false);
        assert_eq!(b.token(s(1)), Some(Token(2)));
    }

    #[test]
    fn what_another_program_keeps_there_is_left_alone() {
        let [mut a, _] = tenants();
        for bytes in [&b""[..], b"<html>", b"gwa lease 2\n"] {
            let entry = Entry {
                bytes: bytes.to_vec(),
                version: Version("x".to_owned()),
            };
            assert!(!a.read(s(0), Some(entry)));
        }
    }

    proptest! {
        #[test]
        fn a_record_reads_as_it_was_written(
            holder in proptest::option::of(any::<[u8; 16]>()),
            token: u64,
            beat: u64,
            span in 0u64..=3_600_000,
            number: u64,
        ) {
            let record = Record {
                holder: holder.map(Holder),
                token: Token(token),
                beat,
                span: Duration::from_millis(span),
                number,
            };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn no_other_text_is_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = [b"gwa lease 1\nholder none\n", &bytes[..]].concat();
            if let Some(record) = Record::decode(&text) {
                prop_assert_eq!(record.encode(), text);
            }
        }

        /// Clocks of one rate, messages of any delay, pauses of any length.
        #[test]
        fn two_never_hold_it_at_once_and_tokens_rise(
            turns in proptest::collection::vec((0usize..3, 0u64..50, 0u64..40), 1..200),
        ) {
            let mut place = Place::default();
            let mut tenants = [1, 2, 3].map(|n| Tenant::new(Holder([n; 16]), s(60)));
            let (mut now, mut last) = (s(0), Token(0));
            // A writing that is asked for and not there yet: of whom, when, what.
            let mut under_way: Vec<(usize, Duration, Record, Option<Version>)> = Vec::new();
            for (who, wait, delay) in turns {
                now += s(wait);
                let tenant = &mut tenants[who];
                if !under_way.iter().any(|(of, ..)| *of == who) {
                    prop_assert!(tenant.read(now, place.entry.clone()));
                    if let Step::Write(record, on) = tenant.next(now, false, 0) {
                        under_way.push((who, now, record, on));
                    }
                }
                now += s(delay);
                if delay % 2 == 0 && !under_way.is_empty() {
                    let (who, asked, record, on) = under_way.remove(0);
                    let version = place.write(&record, on.as_ref());
                    if version.is_some() {
                        prop_assert!(record.token >= last);
                        last = record.token;
                    }
                    tenants[who].wrote(asked, record, version);
                }
                let holding = tenants.iter().filter(|tenant| tenant.token(now).is_some());
                prop_assert!(holding.count() <= 1);
            }
        }
    }
}
