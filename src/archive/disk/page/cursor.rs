//! The wanted envelopes of one part, in order of time.
//!
//! Always true: what is held is one place for each wanted topic, and chunks of
//! the part; the bloom is tested against the part's topics, once each.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::part::{Kind, Part, chunk_of, entry_in, posting_in};
use super::times::Times;
use super::{PageError, Stop};
use crate::archive::filter::TopicFilter;
use crate::archive::times::{Entry, Place};
use crate::time::TimeRange;
use crate::whisper::{EnvelopeHash, Topic};

/// From how many wanted topics on all entries are looked at instead of merging
/// the topics' own: finding the start of each costs more then.
const MERGED_TOPICS: usize = 1_024;

/// How many entries are passed over before it is asked whether to stop.
const STOP_EVERY: u32 = 65_536;

/// A way through a part.
pub(super) struct PartCursor<'t> {
    times: &'t Times,
    part: Arc<Part>,
    entries: Option<(u32, Bytes)>,
    postings: Option<(u32, Bytes)>,
    way: Way,
    next: Option<(u32, Entry)>,
}

enum Way {
    /// All of these entries, or those of these topics.
    Walk {
        left: Range<u32>,
        topics: Option<HashSet<Topic>>,
    },
    /// The entries before `end` that the postings of some topics name: the next
    /// of each topic, with what is left of its postings.
    Merge {
        heads: BinaryHeap<Reverse<(u32, u32, u32)>>,
        end: u32,
    },
}

impl<'t> PartCursor<'t> {
    /// What `topics` wants of what was sent in `range`, after `after`.
    pub(super) fn new(
        times: &'t Times,
        part: Arc<Part>,
        topics: &TopicFilter,
        range: TimeRange,
        after: Option<Place>,
        stop: &Stop,
    ) -> Result<Self, PageError> {
        let mut cursor = Self {
            times,
            part,
            entries: None,
            postings: None,
            way: Way::Walk {
                left: 0..0,
                topics: None,
            },
            next: None,
        };
        cursor.way = cursor.way(topics, range, after)?;
        cursor.advance(stop)?;
        Ok(cursor)
    }

    /// The part it goes through.
    pub(super) fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// The next entry.
    pub(super) fn peek(&self) -> Option<&Entry> {
        self.next.as_ref().map(|(_, entry)| entry)
    }

    /// The number of the next entry, if every entry is wanted.
    pub(super) fn number(&self) -> Option<u32> {
        let (number, _) = self.next.as_ref()?;
        matches!(self.way, Way::Walk { topics: None, .. }).then_some(*number)
    }

    /// Goes on to the one after it.
    pub(super) fn advance(&mut self, stop: &Stop) -> Result<(), PageError> {
        self.next = match self.step(stop)? {
            Some(at) => Some((at, self.entry(at)?)),
            None => None,
        };
        Ok(())
    }

    fn way(
        &mut self,
        topics: &TopicFilter,
        range: TimeRange,
        after: Option<Place>,
    ) -> Result<Way, PageError> {
        let directory = &self.part.directory;
        let count = directory.count();
        let last = directory.last;
        let walked = |left, topics| Ok(Way::Walk { left, topics });
        let wanted: Vec<(Topic, Range<u32>)> = directory
            .topics()
            .filter(|(topic, _)| topics.matches(*topic))
            .collect();
        let all = wanted.len() == directory.topics().count();
        if wanted.is_empty() {
            return walked(0..0, None);
        }
        // The first place there is at `from`, or the first after the cursor.
        let from = (range.from(), EnvelopeHash([0; 32]));
        let start = match after {
            Some(after) if after >= from => self.first_beyond(after)?,
            _ => self.first_not_before(from)?,
        };
        let end = if last <= range.to() {
            count
        } else {
            self.first_beyond((range.to(), EnvelopeHash([0xff; 32])))?
        };
        if start >= end {
            return walked(0..0, None);
        }
        if all || wanted.len() > MERGED_TOPICS {
            let topics = (!all).then(|| wanted.into_iter().map(|(topic, _)| topic).collect());
            return walked(start..end, topics);
        }
        let mut heads = BinaryHeap::with_capacity(wanted.len());
        for (_, postings) in wanted {
            let first = self.partition(postings.clone(), |cursor, at| {
                Ok(cursor.posting(at)? < start)
            })?;
            if first < postings.end {
                heads.push(Reverse((self.posting(first)?, first + 1, postings.end)));
            }
        }
        Ok(Way::Merge { heads, end })
    }

    /// The number of the next wanted entry.
    fn step(&mut self, stop: &Stop) -> Result<Option<u32>, PageError> {
        let mut way = std::mem::replace(
            &mut self.way,
            Way::Walk {
                left: 0..0,
                topics: None,
            },
        );
        let step = self.step_on(&mut way, stop);
        self.way = way;
        step
    }

    fn step_on(&mut self, way: &mut Way, stop: &Stop) -> Result<Option<u32>, PageError> {
        match way {
            Way::Walk { left, topics: None } => Ok(left.next()),
            Way::Walk {
                left,
                topics: Some(topics),
            } => {
                for at in left {
                    if at.is_multiple_of(STOP_EVERY) {
                        stop.check()?;
                    }
                    if topics.contains(&self.entry(at)?.topic) {
                        return Ok(Some(at));
                    }
                }
                Ok(None)
            }
            Way::Merge { heads, end } => {
                let Some(mut head) = heads.peek_mut() else {
                    return Ok(None);
                };
                let Reverse((at, next, last)) = *head;
                if at >= *end {
                    // The least of all is beyond the end.
                    drop(head);
                    heads.clear();
                    return Ok(None);
                }
                if next < last {
                    *head = Reverse((self.posting(next)?, next + 1, last));
                } else {
                    std::collections::binary_heap::PeekMut::pop(head);
                }
                Ok(Some(at))
            }
        }
    }

    fn first_beyond(&mut self, place: Place) -> Result<u32, PageError> {
        self.first_that_is_not(place, |entry, place| entry <= place)
    }

    fn first_not_before(&mut self, place: Place) -> Result<u32, PageError> {
        self.first_that_is_not(place, |entry, place| entry < place)
    }

    /// The first entry of which `is_before` does not hold. Entries of one second
    /// may fill many chunks, so where they begin and end is asked for apart.
    fn first_that_is_not(
        &mut self,
        place: Place,
        is_before: impl Fn(Place, Place) -> bool,
    ) -> Result<u32, PageError> {
        let directory = &self.part.directory;
        let from = directory.around(place.0).start;
        let to = match place.0.0.checked_add(1) {
            Some(next) => directory.around(crate::time::UnixSeconds(next)).end,
            None => directory.count(),
        };
        self.partition(from..to, |cursor, at| {
            Ok(is_before(cursor.entry(at)?.place(), place))
        })
    }

    /// The first number of `range` of which `holds` is false, where it is true
    /// of all before and of none after.
    fn partition(
        &mut self,
        range: Range<u32>,
        holds: impl Fn(&mut Self, u32) -> Result<bool, PageError>,
    ) -> Result<u32, PageError> {
        let (mut from, mut to) = (range.start, range.end);
        while from < to {
            let middle = from + (to - from) / 2;
            if holds(self, middle)? {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }

    fn entry(&mut self, at: u32) -> Result<Entry, PageError> {
        let (chunk, at) = chunk_of(Kind::Entries, at);
        if self.entries.as_ref().is_none_or(|(held, _)| *held != chunk) {
            let bytes = self.times.chunk(&self.part, Kind::Entries, chunk)?;
            self.entries = Some((chunk, bytes));
        }
        let found = self.entries.as_ref().and_then(|(_, b)| entry_in(b, at));
        found.ok_or_else(|| PageError::Stale(self.part.segment()))
    }

    fn posting(&mut self, at: u32) -> Result<u32, PageError> {
        let (chunk, at) = chunk_of(Kind::Postings, at);
        if self
            .postings
            .as_ref()
            .is_none_or(|(held, _)| *held != chunk)
        {
            let bytes = self.times.chunk(&self.part, Kind::Postings, chunk)?;
            self.postings = Some((chunk, bytes));
        }
        let found = self.postings.as_ref().and_then(|(_, b)| posting_in(b, at));
        found
            .filter(|entry| *entry < self.part.directory.count())
            .ok_or_else(|| PageError::Stale(self.part.segment()))
    }
}
