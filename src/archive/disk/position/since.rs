//! What is new since a position.
//!
//! Always true:
//! - Whoever begins anywhere and goes on with the position of each answer is
//!   given every envelope that arrives, however late it is, whatever is sealed,
//!   killed or opened again in between.
//! - An envelope is given again at most once after it is sealed and once after
//!   each opening while it waits; mostly never.
//! - An answer is bounded in envelopes, bytes and work, and leads on.
//!
//! An answer walks from the head its reader has to the current one: first what
//! came late in the heads between ([`super::late`]), then what was sent from the
//! one watermark to the other. Then come the waiting, by arrival.

use std::collections::{HashMap, HashSet};

use super::fetch::{Fetched, fetch};
use super::late::{LateList, Standing};
use super::{ArchiveTag, Arrived, HeadMark, Position, Walk, WalkAt};
use crate::archive::ArchiveError;
use crate::archive::disk::page::{PageRequest, Reach};
use crate::archive::disk::{Archive, DiskError, Stop};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::head::Head;
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::journal::Location;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::EnvelopeHash;

/// Entries of the list of late envelopes looked at for one answer.
const LATE_SEARCH: u64 = 1 << 14;

/// Late envelopes read at once: what does not fit any more was read in vain.
const LATE_AT_ONCE: usize = 16;

/// Late envelopes up to which an answer leaves out what a later one will give.
/// With more, some are given twice.
const LATER_KNOWN: u64 = 1 << 12;

/// How often an answer is begun again because a seal moved what it was reading.
const TRIES: usize = 3;

/// Pages of time read for one answer at most: those may hold nothing wanted.
const STEPS: usize = 8;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on: gives a position and nothing else.
    Now,
    /// With what was sent at this instant or later, then all that comes.
    Time(UnixSeconds),
    /// Where an answer ended.
    Position(Position),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// Where to begin.
    pub start: Start,
    /// Which topics. May differ from answer to answer; what was not wanted is
    /// passed over.
    pub topics: TopicFilter,
    /// At most so many envelopes.
    pub limit: usize,
    /// And so many bytes of them, but for the first.
    pub max_bytes: usize,
}

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The envelopes.
    pub records: Vec<Record>,
    /// Where the next answer begins.
    pub next: Position,
    /// Whether more is there already. There may be more after an answer without
    /// envelopes.
    pub more: bool,
    /// Segments that were looked into, whether they held anything wanted or not.
    pub looked: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SinceError {
    /// The position is of another archive.
    #[error("the position is of another archive")]
    AnotherArchive,
    /// The position is of a head that this archive has not signed yet: it was
    /// restored from an old copy.
    #[error("the position is ahead of the archive")]
    Ahead,
    /// The archive had another head of this number: it was restored from an old
    /// copy and went on from there.
    #[error("the position is of heads that this archive no longer has")]
    AnotherLineage,
    /// What came late since then is no longer known: ask by time, generously.
    #[error("the position is too old: ask by time")]
    TooOld,
    /// The archive could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// An answer being filled.
struct Filling<'a> {
    archive: &'a Archive,
    asked: &'a Since,
    reach: Reach,
    records: Vec<Record>,
    bytes: usize,
    /// Something did not fit any more.
    full: bool,
    position: Position,
    looked: u64,
}

pub(in crate::archive::disk) fn since(
    archive: &Archive,
    asked: &Since,
    reach: Reach,
) -> Result<News, SinceError> {
    let mut tries = 1..TRIES;
    loop {
        let filling = Filling {
            archive,
            asked,
            reach,
            records: Vec::new(),
            bytes: 0,
            full: false,
            position: begin(archive, asked.start),
            looked: 0,
        };
        match filling.run() {
            Err(SinceError::Disk(DiskError::Archive(ArchiveError::Pending(_))))
                if tries.next().is_some() => {}
            other => return other,
        }
    }
}

/// Whether all that came late after a head is listed.
fn stands(late: &LateList, mark: HeadMark) -> Result<(), SinceError> {
    // Before the first head nothing can have come late.
    if mark.sequence == 0 {
        return Ok(());
    }
    match late.standing(mark) {
        Standing::Listed => Ok(()),
        Standing::TooOld => Err(SinceError::TooOld),
        Standing::Another => Err(SinceError::AnotherLineage),
    }
}

/// The position that stands for a start.
fn begin(archive: &Archive, start: Start) -> Position {
    match start {
        Start::Position(position) => position,
        Start::Now => archive.here().1,
        Start::Time(from) => Position {
            archive: archive.tag(),
            since: HeadMark {
                watermark: from,
                ..HeadMark::default()
            },
            arrived: Arrived::default(),
            walk: None,
        },
    }
}

impl Filling<'_> {
    fn run(mut self) -> Result<News, SinceError> {
        self.check()?;
        for _ in 0..STEPS {
            if self.is_full() {
                break;
            }
            match self.position.walk {
                None => {
                    if let Some(more) = self.arrivals()? {
                        return Ok(self.done(more));
                    }
                }
                Some(walk) => match walk.at {
                    WalkAt::Late(entry) => self.late(walk, entry)?,
                    WalkAt::OnTime(after) => self.on_time(walk, after)?,
                },
            }
        }
        Ok(self.done(true))
    }

    fn done(self, more: bool) -> News {
        News {
            records: self.records,
            next: self.position,
            more,
            looked: self.looked,
        }
    }

    /// Whether the position is one of this archive's.
    fn check(&self) -> Result<(), SinceError> {
        let Position {
            archive,
            since,
            walk,
            ..
        } = self.position;
        if archive != self.archive.tag() {
            return Err(SinceError::AnotherArchive);
        }
        let current = self.current();
        for mark in [Some(since), walk.map(|walk| walk.until)]
            .into_iter()
            .flatten()
        {
            if mark.sequence > current.sequence {
                return Err(SinceError::Ahead);
            }
            stands(&self.archive.late(), mark)?;
        }
        Ok(())
    }

    fn current(&self) -> HeadMark {
        let state = self.archive.read_state();
        state.head.as_ref().map(HeadMark::of).unwrap_or_default()
    }

    fn room(&self) -> usize {
        self.asked.limit.saturating_sub(self.records.len())
    }

    fn is_full(&self) -> bool {
        self.full || self.room() == 0 || self.bytes >= self.asked.max_bytes
    }

    /// Takes a record if there is room for it.
    fn take(&mut self, record: Record) -> bool {
        let bytes = self.bytes.saturating_add(record.bytes.len());
        let fits = self.room() > 0 && (bytes <= self.asked.max_bytes || self.records.is_empty());
        if fits {
            self.bytes = bytes;
            self.records.push(record);
        } else {
            self.full = true;
        }
        fits
    }

    /// Gives what waits, and whether more does; or begins to walk to a later
    /// head, and gives nothing.
    fn arrivals(&mut self) -> Result<Option<bool>, SinceError> {
        let arrivals = {
            // What is sealed leaves the waiting in the instant its head comes.
            let state = self.archive.read_state();
            let head = state.head.as_ref().map(HeadMark::of).unwrap_or_default();
            if head.sequence > self.position.since.sequence {
                drop(state);
                let late = self.archive.late();
                stands(&late, self.position.since)?;
                let entry = late.entries(self.position.since, head).start;
                self.position.walk = Some(Walk {
                    until: head,
                    at: WalkAt::Late(entry),
                });
                return Ok(None);
            }
            self.position.since = head;
            let (given, topics) = (self.position.arrived, &self.asked.topics);
            state.waiting.arrivals(given, topics, self.room())
        };
        if self.position.arrived.run != arrivals.last.run {
            self.position.arrived = Arrived {
                run: arrivals.last.run,
                count: 0,
            };
        }
        for (arrival, pending) in arrivals.some {
            let record = Record {
                key: pending.key,
                bytes: self.read(pending.at)?,
            };
            if !self.take(record) {
                return Ok(Some(true));
            }
            self.position.arrived.count = arrival;
        }
        if !arrivals.more {
            self.position.arrived = arrivals.last;
        }
        Ok(Some(arrivals.more))
    }

    fn read(&self, at: Location) -> Result<bytes::Bytes, SinceError> {
        Ok(self.archive.read_waiting(at).map_err(DiskError::from)?)
    }

    /// Goes on among what came late.
    fn late(&mut self, walk: Walk, entry: u64) -> Result<(), SinceError> {
        let since = self.position.since;
        let at = |at| Some(Walk { at, ..walk });
        if since.sequence == 0 {
            self.position.walk = at(WalkAt::OnTime(None));
            return Ok(());
        }
        let (listed, end) = {
            let late = self.archive.late();
            // A seal may have begun the list anew since the answer was begun: what
            // it forgot then is not passed over.
            stands(&late, since)?;
            stands(&late, walk.until)?;
            let range = late.entries(since, walk.until);
            let from = entry.clamp(range.start, range.end);
            let end = range.end.min(from.saturating_add(LATE_SEARCH));
            let listed = late.read(from..range.end, LATE_SEARCH);
            let path = self.archive.dir();
            (listed.map_err(DiskError::io(path))?, (end, range.end))
        };
        let mut wanted: Vec<(u64, Key)> = {
            let state = self.archive.read_state();
            let given = self.position.arrived;
            listed
                .into_iter()
                // What was sent since is given among what came in time.
                .filter(|(_, key)| key.sent < since.watermark)
                .filter(|(_, key)| self.asked.topics.matches(key.topic))
                .filter(|(_, key)| !state.waiting.was_among(given, key))
                .collect()
        };
        let cut = wanted.len() > self.room();
        let (mut next, last) = end;
        if cut {
            next = wanted[self.room()].0;
            wanted.truncate(self.room());
        }
        for some in wanted.chunks(LATE_AT_ONCE) {
            if self.is_full() {
                self.position.walk = at(WalkAt::Late(some[0].0));
                return Ok(());
            }
            let keys: Vec<Key> = some.iter().map(|(_, key)| *key).collect();
            // Late envelopes lie anywhere, each in a segment of its own at worst.
            self.looked += keys.len() as u64;
            let found = fetch(self.archive, &keys, usize::MAX, self.reach)?.records;
            let mut found: HashMap<Key, Record> = found
                .into_iter()
                .map(|record| (record.key, record))
                .collect();
            for (number, key) in some {
                if let Some(record) = found.remove(key)
                    && !self.take(record)
                {
                    self.position.walk = at(WalkAt::Late(*number));
                    return Ok(());
                }
            }
        }
        self.position.walk = if next < last {
            at(WalkAt::Late(next))
        } else {
            at(WalkAt::OnTime(None))
        };
        Ok(())
    }

    /// Goes on among what was sent from the one watermark to the other.
    fn on_time(
        &mut self,
        walk: Walk,
        after: Option<(UnixSeconds, EnvelopeHash)>,
    ) -> Result<(), SinceError> {
        let since = self.position.since;
        let last = walk.until.watermark.saturating_sub(1);
        let range = TimeRange::new(since.watermark, last);
        let Ok(range) = range else {
            self.arrive(walk);
            return Ok(());
        };
        let request = PageRequest {
            filter: Filter {
                topics: self.asked.topics.clone(),
                range,
            },
            after,
            limit: self.room(),
        };
        let stop = Stop::default();
        let page = self.archive.page_within(&request, self.reach, &stop)?;
        self.looked += page.looked;
        let later = self.later_than(walk.until)?;
        for record in page.records {
            let key = record.key;
            let not_yet = later.contains(&key) || self.waits_or_was_given(&key);
            if !not_yet && !self.take(record) {
                return Ok(());
            }
            self.position.walk = Some(Walk {
                at: WalkAt::OnTime(Some((key.sent, key.hash))),
                ..walk
            });
        }
        if !page.more {
            self.arrive(walk);
        }
        Ok(())
    }

    fn arrive(&mut self, walk: Walk) {
        self.position.since = walk.until;
        self.position.walk = None;
    }

    /// What waits comes with the waiting, or with the head that seals it.
    fn waits_or_was_given(&self, key: &Key) -> bool {
        let state = self.archive.read_state();
        state.waiting.contains(key) || state.waiting.was_among(self.position.arrived, key)
    }

    /// What came late in heads after this one: the next walk gives it.
    fn later_than(&self, head: HeadMark) -> Result<HashSet<Key>, SinceError> {
        let current = self.current();
        let late = self.archive.late();
        let range = late.entries(head, current);
        if range.end.saturating_sub(range.start) > LATER_KNOWN {
            return Ok(HashSet::new());
        }
        let listed = late.read(range, LATER_KNOWN);
        let listed = listed.map_err(DiskError::io(self.archive.dir()))?;
        Ok(listed.into_iter().map(|(_, key)| key).collect())
    }
}

impl Archive {
    /// Which archive it is, as positions name it.
    pub fn tag(&self) -> ArchiveTag {
        ArchiveTag::of(&self.key.public_key())
    }

    /// What is new since a position; see `docs/spec/positions.md`.
    pub fn since(&self, asked: &Since) -> Result<News, SinceError> {
        since(self, asked, Reach::Anywhere)
    }

    /// As [`Self::since`], for those for whom nothing is to be fetched: of a fork that
    /// rests on another's history, what is on this disk.
    pub fn since_held(&self, asked: &Since) -> Result<News, SinceError> {
        let reach = match self.is_complete() {
            true => Reach::Anywhere,
            false => Reach::Here,
        };
        since(self, asked, reach)
    }

    /// The current head, and the position of a reader who has everything.
    pub fn here(&self) -> (Option<Head>, Position) {
        let state = self.read_state();
        let position = Position {
            archive: self.tag(),
            since: state.head.as_ref().map(HeadMark::of).unwrap_or_default(),
            arrived: state.waiting.arrived(),
            walk: None,
        };
        (state.head.clone(), position)
    }

    /// The envelopes with these keys, as far as they are held and fit `max_bytes`;
    /// the first is given however large it is.
    pub fn fetch(&self, keys: &[Key], max_bytes: usize) -> Result<Fetched, DiskError> {
        fetch(self, keys, max_bytes, Reach::Anywhere)
    }

    /// The keys of what waits and was sent in `range`: the first `most` of them.
    pub fn waiting_keys(&self, range: TimeRange, most: usize) -> Vec<Key> {
        super::fetch::waiting_keys(self, range, most)
    }

    /// About how many envelopes are sealed and kept that were sent in `range`. Next
    /// to nothing is read for it.
    pub fn sealed_about(&self, range: TimeRange) -> Result<u64, DiskError> {
        super::fetch::sealed_about(self, range)
    }

    /// The keys of what is sealed and kept, and was sent in `range`; `None` where
    /// they are more than `most`. Fails soon once `stop` is given.
    pub fn sealed_keys(
        &self,
        range: TimeRange,
        most: usize,
        stop: &Stop,
    ) -> Result<Option<Vec<Key>>, DiskError> {
        super::fetch::sealed_keys(self, range, most, stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::envelope;
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;
    use crate::time::DAY;

    #[test]
    fn a_list_begun_anew_while_an_answer_is_made_is_not_taken_for_an_empty_one() {
        const FROM: u32 = 1_538_265_600;
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "").unwrap();
        let seal = |day: u32, sent: u32| {
            archive.append(&[envelope(1, sent, 50)]).unwrap();
            let until = Watermark::at_or_before(UnixSeconds(FROM + day * DAY));
            let report = archive.seal(until, until.at(), &Quiet).unwrap();
            report.head.unwrap()
        };
        seal(1, FROM);
        let before = archive.here().1;
        let head = seal(2, FROM + 10);
        let asked = Since {
            start: Start::Position(before),
            topics: TopicFilter::All,
            limit: 10,
            max_bytes: 1 << 20,
        };
        let filling = |walk| Filling {
            archive: &archive,
            asked: &asked,
            reach: Reach::Anywhere,
            records: Vec::new(),
            bytes: 0,
            full: false,
            position: Position { walk, ..before },
            looked: 0,
        };
        let walk = Walk {
            until: HeadMark::of(&head),
            at: WalkAt::Late(0),
        };
        let (mut resting, mut walking) = (filling(None), filling(Some(walk)));
        resting.check().unwrap();
        walking.check().unwrap();
        let head = seal(3, FROM + 20);
        archive.late().restart(&head);
        let told = walking.late(walk, 0);
        assert!(matches!(told, Err(SinceError::TooOld)), "{told:?}");
        let told = resting.arrivals();
        assert!(matches!(told, Err(SinceError::TooOld)), "{told:?}");
    }
}
