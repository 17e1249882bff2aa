//! Finds the buckets a query must look into.
//!
//! A plan is a machine without I/O: it says which blocks it wants next
//! ([`Plan::wants`]), takes them in any order ([`Plan::feed`]), and ends with
//! the buckets in order of time. All wants of one round can be fetched at once;
//! a round depends on the one before.
//!
//! Always true: what a finished plan names is enough for a complete answer; a
//! want that cannot be met means the answer cannot be complete.

use std::collections::{BTreeMap, BTreeSet};

use super::ArchiveError;
use super::builder::SegmentRef;
use super::calendar::{CalendarNode, Child, Level};
use super::filter::{Filter, TopicFilter};
use super::fresh::Sealed;
use super::sums::Sums;
use super::topics::{TopicLine, TopicNode};
use super::watermark::{Day, Hour, Month, Watermark};
use crate::blocks::{Block, Cid};
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::Topic;

/// From how many closed days of a month on its topic index is asked instead of
/// each day's packs: the index costs two or three blocks a month.
const INDEX_FROM_DAYS: usize = 2;

/// Where the wanted envelopes of one bucket lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlan {
    /// The part of the bucket's time that is wanted.
    pub range: TimeRange,
    /// The time in which everything in its segments was sent.
    pub bounds: TimeRange,
    /// Segments to search.
    pub segments: Vec<SegmentRef>,
    /// Leaves known to hold wanted envelopes, each with how many of which topic.
    pub leaves: BTreeMap<Cid, Vec<(Topic, u32)>>,
}

/// What to do with a block that is on its way.
#[derive(Clone, Debug)]
enum Step {
    State,
    Year(u16, Sums),
    Month(Month, Sums),
    OpenDay(Day, Sums),
    /// A node of the topic index of a month whose days it maps to segments.
    Topics {
        month: Month,
        level: Option<u8>,
        first: Option<Topic>,
        topics: BTreeSet<Topic>,
    },
    /// A delta, or a year or month of one, of which only the open hour counts.
    Delta(Level, Option<Sums>),
}

/// A query's way from a head to its buckets.
#[derive(Debug)]
pub struct Plan {
    filter: Filter,
    /// From how many closed days of a month on its topic index is asked.
    index_from: usize,
    open_hour: Hour,
    wants: BTreeMap<Cid, Vec<Step>>,
    /// Closed days in range of the months whose topic index is being read.
    indexed: BTreeMap<Month, BTreeMap<u8, SegmentRef>>,
    buckets: BTreeMap<UnixSeconds, BucketPlan>,
}

impl Plan {
    /// Starts at what a head says is sealed.
    pub fn new(sealed: &Sealed, filter: Filter) -> Self {
        let mut plan = Self {
            index_from: INDEX_FROM_DAYS,
            open_hour: Watermark::open_hour(sealed.watermark),
            filter,
            wants: BTreeMap::new(),
            indexed: BTreeMap::new(),
            buckets: BTreeMap::new(),
        };
        let nothing = matches!(&plan.filter.topics, TopicFilter::Any(topics) if topics.is_empty());
        if !nothing {
            plan.want(sealed.state, Step::State);
            if plan
                .filter
                .range
                .intersect(plan.open_hour.range())
                .is_some()
            {
                for delta in &sealed.open {
                    plan.want(Some(*delta), Step::Delta(Level::State, None));
                }
            }
        }
        plan
    }

    /// As [`Self::new`], and asks the packs of every day instead of topic indexes.
    pub fn by_days(sealed: &Sealed, filter: Filter) -> Self {
        Self {
            index_from: usize::MAX,
            ..Self::new(sealed, filter)
        }
    }

    /// Blocks wanted now; none when the plan is finished.
    pub fn wants(&self) -> Vec<Cid> {
        self.wants.keys().copied().collect()
    }

    /// Takes a verified block that was wanted; one that was not is ignored.
    pub fn feed(&mut self, block: &Block) -> Result<(), ArchiveError> {
        for step in self.wants.remove(block.cid()).unwrap_or_default() {
            self.take(block, step)?;
        }
        Ok(())
    }

    /// The buckets, in order of time, once nothing is wanted.
    pub fn finish(self) -> Vec<BucketPlan> {
        self.buckets.into_values().collect()
    }

    fn want(&mut self, cid: Option<Cid>, step: Step) {
        if let Some(cid) = cid {
            self.wants.entry(cid).or_default().push(step);
        }
    }

    fn take(&mut self, block: &Block, step: Step) -> Result<(), ArchiveError> {
        match step {
            Step::State => {
                for (year, child) in CalendarNode::read(Level::State, block, None)?.children {
                    if self.year_wanted(year) {
                        self.want(Some(child.cid), Step::Year(year, child.sums));
                    }
                }
            }
            Step::Year(year, sums) => {
                for (month, child) in CalendarNode::read(Level::Year, block, Some(sums))?.children {
                    let month = Month {
                        year,
                        month: small(month),
                    };
                    if self.month_wanted(month) {
                        self.want(Some(child.cid), Step::Month(month, child.sums));
                    }
                }
            }
            Step::Month(month, sums) => {
                let node = CalendarNode::read(Level::Month, block, Some(sums))?;
                self.take_month(month, &node, block.cid())?;
            }
            Step::OpenDay(day, sums) => {
                let node = CalendarNode::read(Level::OpenDay, block, Some(sums))?;
                for (number, child) in node.children {
                    let hour = Hour(day.0 * 24 + u32::from(number));
                    self.search(hour.range(), hour.range(), child);
                }
            }
            Step::Topics {
                month,
                level,
                first,
                topics,
            } => {
                let node = TopicNode::read(block, level, first)?;
                self.take_topics(month, &node, topics, block.cid())?;
            }
            Step::Delta(level, sums) => self.take_delta(level, sums, block)?,
        }
        Ok(())
    }

    fn take_month(
        &mut self,
        month: Month,
        node: &CalendarNode,
        cid: &Cid,
    ) -> Result<(), ArchiveError> {
        let mut closed = BTreeMap::new();
        for (number, child) in &node.children {
            let day = Day::from_date(month, small(*number))
                .ok_or(ArchiveError::NotAsLinked { cid: *cid })?;
            if self.filter.range.intersect(day.range()).is_none() {
                continue;
            }
            if node.open == Some(*number) {
                self.want(Some(child.cid), Step::OpenDay(day, child.sums));
            } else {
                closed.insert(small(*number), *child);
            }
        }
        match (&self.filter.topics, node.topics) {
            (TopicFilter::Any(topics), Some(index)) if closed.len() >= self.index_from => {
                let topics = topics.clone();
                self.indexed.insert(month, closed);
                let step = Step::Topics {
                    month,
                    level: None,
                    first: None,
                    topics,
                };
                self.want(Some(index), step);
            }
            _ => {
                for (number, child) in closed {
                    self.search_day(month, number, child);
                }
            }
        }
        Ok(())
    }

    fn take_topics(
        &mut self,
        month: Month,
        node: &TopicNode,
        topics: BTreeSet<Topic>,
        cid: &Cid,
    ) -> Result<(), ArchiveError> {
        if let TopicNode::Nodes { level, .. } = node {
            let mut below: BTreeMap<Cid, (Topic, BTreeSet<Topic>)> = BTreeMap::new();
            for topic in topics {
                if let Some((first, child)) = node.child_for(topic) {
                    below
                        .entry(child)
                        .or_insert_with(|| (first, BTreeSet::new()))
                        .1
                        .insert(topic);
                }
            }
            for (child, (first, topics)) in below {
                let (level, first) = (Some(level - 1), Some(first));
                self.want(
                    Some(child),
                    Step::Topics {
                        month,
                        level,
                        first,
                        topics,
                    },
                );
            }
            return Ok(());
        }
        for line in topics.iter().filter_map(|topic| node.line(*topic)) {
            self.take_line(month, line, cid)?;
        }
        Ok(())
    }

    fn take_line(&mut self, month: Month, line: &TopicLine, cid: &Cid) -> Result<(), ArchiveError> {
        let wrong = || ArchiveError::NotAsLinked { cid: *cid };
        for found in &line.days {
            let day = Day::from_date(month, found.day).ok_or_else(wrong)?;
            let Some(range) = self.filter.range.intersect(day.range()) else {
                continue;
            };
            let days = self.indexed.get(&month);
            // The index names only days that the month has, and closed ones.
            let segment = *days
                .and_then(|days| days.get(&found.day))
                .ok_or_else(wrong)?;
            let bucket = self.bucket(range, day.range());
            match found.leaf {
                Some(leaf) => {
                    bucket
                        .leaves
                        .entry(leaf)
                        .or_default()
                        .push((line.topic, found.count));
                }
                None if bucket.segments.is_empty() => bucket.segments.push(segment),
                None => {}
            }
        }
        Ok(())
    }

    fn take_delta(
        &mut self,
        level: Level,
        sums: Option<Sums>,
        block: &Block,
    ) -> Result<(), ArchiveError> {
        let node = CalendarNode::read(level, block, sums)?;
        let (month, day) = self.open_hour.day().date();
        let child = |number: u16| -> Option<Child> { node.children.get(&number).copied() };
        match level {
            Level::State => {
                if let Some(year) = child(month.year) {
                    self.want(Some(year.cid), Step::Delta(Level::Year, Some(year.sums)));
                }
            }
            Level::Year => {
                if let Some(month) = child(month.month.into()) {
                    self.want(Some(month.cid), Step::Delta(Level::Month, Some(month.sums)));
                }
            }
            Level::Month | Level::OpenDay => {
                if let Some(segment) = child(day.into()) {
                    let bounds = self.open_hour.day().range();
                    self.search(self.open_hour.range(), bounds, segment);
                }
            }
        }
        Ok(())
    }

    fn search_day(&mut self, month: Month, number: u8, segment: SegmentRef) {
        if let Some(day) = Day::from_date(month, number) {
            self.search(day.range(), day.range(), segment);
        }
    }

    fn search(&mut self, bucket: TimeRange, bounds: TimeRange, segment: SegmentRef) {
        if let Some(range) = self.filter.range.intersect(bucket) {
            self.bucket(range, bounds).segments.push(segment);
        }
    }

    fn bucket(&mut self, range: TimeRange, bounds: TimeRange) -> &mut BucketPlan {
        self.buckets
            .entry(range.from())
            .or_insert_with(|| BucketPlan {
                range,
                bounds,
                segments: Vec::new(),
                leaves: BTreeMap::new(),
            })
    }

    fn year_wanted(&self, year: u16) -> bool {
        let first = Month { year, month: 1 };
        let last = Month { year, month: 12 };
        self.first_month() <= last && first <= self.last_month()
    }

    fn month_wanted(&self, month: Month) -> bool {
        (self.first_month()..=self.last_month()).contains(&month)
    }

    fn first_month(&self) -> Month {
        Day::of(self.filter.range.from()).date().0
    }

    fn last_month(&self) -> Month {
        Day::of(self.filter.range.to()).date().0
    }
}

fn small(number: u16) -> u8 {
    u8::try_from(number).expect("a decoded month, day or hour is below 32")
}
