//! Finds the buckets in which two archives differ.
//!
//! A machine without I/O, like [`crate::archive::plan::Plan`]: it says which
//! blocks it wants, takes them in any order, and ends with the buckets in order
//! of time.
//!
//! Always true:
//! - What no bucket covers is equal: by its CID, or in different shapes by its
//!   sums.
//! - Days and hours stand closed or open as their archive's watermark says, and
//!   hold nothing sent after it, or the block that says otherwise is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Side, Sides, Wants};
use crate::archive::ArchiveError;
use crate::archive::builder::SegmentRef;
use crate::archive::calendar::{CalendarNode, Child, Level};
use crate::archive::fresh::Sealed;
use crate::archive::sums::Sums;
use crate::archive::watermark::{Day, Hour, Month, Watermark};
use crate::blocks::{Block, Cid};
use crate::time::TimeRange;

/// A segment that holds envelopes of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The segment.
    pub segment: SegmentRef,
    /// The time in which everything in it was sent.
    pub bounds: TimeRange,
    /// The time of which it counts.
    pub counts: TimeRange,
}

/// A day or hour in which two archives differ, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its time.
    pub range: TimeRange,
    /// The part of it that is wanted.
    pub wanted: TimeRange,
    /// What each archive holds of it.
    pub parts: Sides<Vec<Part>>,
}

impl Bucket {
    /// The segment of a closed day of which the other archive holds nothing.
    pub fn day_of_one(&self, side: Side) -> Option<(Day, SegmentRef)> {
        let day = Day::of(self.range.from());
        let alone = self.parts.of(side.other()).is_empty();
        match self.parts.of(side).as_slice() {
            [part] if alone && *part == whole(part.segment, day.range()) => {
                (self.wanted == day.range()).then_some((day, part.segment))
            }
            _ => None,
        }
    }
}

/// Where a calendar node stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    State,
    Year(u16),
    Month(Month),
    OpenDay(Day),
}

impl Place {
    fn level(self) -> Level {
        match self {
            Self::State => Level::State,
            Self::Year(_) => Level::Year,
            Self::Month(_) => Level::Month,
            Self::OpenDay(_) => Level::OpenDay,
        }
    }
}

/// One archive's node at a place.
#[derive(Clone, Debug, Default)]
enum Half {
    #[default]
    Absent,
    /// On its way; its sums where a parent says them.
    Wanted(Option<Sums>),
    Read(Box<CalendarNode>),
}

impl Half {
    fn children(&self) -> BTreeMap<u16, Child> {
        match self {
            Self::Read(node) => node.children.clone(),
            _ => BTreeMap::new(),
        }
    }
}

/// Two nodes at one place that differ.
#[derive(Debug)]
struct Pair {
    place: Place,
    halves: Sides<Half>,
}

/// What to do with a block that is on its way.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A half of the pair with this number.
    Pair(usize),
    /// A delta, or a year or month of one.
    Delta(Level, Option<Sums>),
}

/// What one archive's state holds of a day that differs.
#[derive(Clone, Debug, Default, PartialEq)]
enum DayHalf {
    #[default]
    Absent,
    Closed(SegmentRef),
    Hours(BTreeMap<Hour, SegmentRef>),
}

/// What is known of one archive.
#[derive(Debug)]
struct Archive {
    watermark: Watermark,
    totals: Sums,
    open: Vec<Cid>,
    /// What its state holds, once that is known.
    state: Option<Sums>,
    /// Segments of its open deltas.
    segments: Vec<SegmentRef>,
}

impl Archive {
    fn open_hour(&self) -> Hour {
        self.watermark.open_hour()
    }

    /// What it holds of its open hour: what its head counts and its state does
    /// not.
    fn open_sums(&self) -> Option<Sums> {
        self.state.map(|state| self.totals.minus(state))
    }
}

/// Two archives' way to the buckets in which they differ.
#[derive(Debug)]
pub struct CalendarDiff {
    wanted: TimeRange,
    archives: Sides<Archive>,
    states_equal: bool,
    /// Whether the open hours are equal, or nobody has asked for them yet.
    open_asked: bool,
    wants: BTreeMap<(Side, Cid), Vec<Step>>,
    pairs: Vec<Pair>,
    days: BTreeMap<Day, Sides<DayHalf>>,
}

impl CalendarDiff {
    /// Starts at what two heads say is sealed; looks only at what was sent in
    /// `wanted`.
    pub fn new(sealed: Sides<&Sealed>, wanted: TimeRange) -> Self {
        let archive = |sealed: &Sealed| Archive {
            watermark: sealed.watermark,
            totals: sealed.totals,
            open: sealed.open.clone(),
            state: sealed.state.is_none().then(Sums::default),
            segments: Vec::new(),
        };
        let mut diff = Self {
            wanted,
            archives: Sides {
                a: archive(sealed.a),
                b: archive(sealed.b),
            },
            states_equal: sealed.a.state == sealed.b.state,
            open_asked: false,
            wants: BTreeMap::new(),
            pairs: Vec::new(),
            days: BTreeMap::new(),
        };
        if !diff.states_equal {
            let half = |state: Option<Cid>| state.map(|cid| (cid, None));
            let (a, b) = (half(sealed.a.state), half(sealed.b.state));
            diff.compare(Place::State, Sides { a, b });
        }
        diff.ask_for_open_hours();
        diff
    }

    /// Blocks wanted now; none when the way is found.
    pub fn wants(&self) -> Wants {
        self.wants.keys().copied().collect()
    }

    /// Takes a verified block that was wanted; one that was not is ignored.
    pub fn feed(&mut self, side: Side, block: &Block) -> Result<(), ArchiveError> {
        for step in self.wants.remove(&(side, *block.cid())).unwrap_or_default() {
            match step {
                Step::Pair(at) => self.take_half(at, side, block)?,
                Step::Delta(level, sums) => self.take_delta(side, level, sums, block)?,
            }
        }
        self.ask_for_open_hours();
        Ok(())
    }

    /// The buckets, in order of time, once nothing is wanted.
    pub fn finish(mut self) -> Vec<Bucket> {
        // The open hours lie outside the states: equal states say nothing of
        // them.
        for side in Side::BOTH {
            if !self.archives.of(side).segments.is_empty() {
                let day = self.archives.of(side).open_hour().day();
                self.days.entry(day).or_default();
            }
        }
        let days = std::mem::take(&mut self.days);
        let mut buckets = Vec::new();
        for (day, halves) in days {
            match (&halves.a, &halves.b) {
                (DayHalf::Closed(_), _) | (_, DayHalf::Closed(_)) => {
                    buckets.extend(self.whole_day(day, &halves));
                }
                _ => buckets.extend(day.hours().filter_map(|hour| self.hour(hour, &halves))),
            }
        }
        buckets
    }

    fn compare(&mut self, place: Place, nodes: Sides<Option<(Cid, Option<Sums>)>>) {
        let at = self.pairs.len();
        let mut halves = Sides::default();
        for side in Side::BOTH {
            if let Some((cid, sums)) = nodes.of(side) {
                *halves.of_mut(side) = Half::Wanted(*sums);
                let steps = self.wants.entry((side, *cid)).or_default();
                steps.push(Step::Pair(at));
            }
        }
        self.pairs.push(Pair { place, halves });
    }

    fn take_half(&mut self, at: usize, side: Side, block: &Block) -> Result<(), ArchiveError> {
        let Pair { place, halves } = &mut self.pairs[at];
        let place = *place;
        let Half::Wanted(sums) = *halves.of(side) else {
            return Ok(());
        };
        let node = CalendarNode::read(place.level(), block, sums)?;
        self.archives
            .of(side)
            .check(place, &node)
            .ok_or(ArchiveError::NotAsLinked { cid: *block.cid() })?;
        if matches!(place, Place::State) {
            self.archives.of_mut(side).state = Some(node.sums());
        }
        *halves.of_mut(side) = Half::Read(Box::new(node));
        if let (Half::Wanted(_), _) | (_, Half::Wanted(_)) = (&halves.a, &halves.b) {
            return Ok(());
        }
        let halves = std::mem::take(halves);
        match place {
            Place::State | Place::Year(_) => self.descend(place, &halves),
            Place::Month(month) => self.take_month(month, &halves),
            Place::OpenDay(day) => {
                for side in Side::BOTH {
                    if let Half::Read(node) = halves.of(side) {
                        let hour = |number: u16| Hour(day.0 * 24 + u32::from(number));
                        let hours = node.children.iter().map(|(n, child)| (hour(*n), *child));
                        let half = self.days.entry(day).or_default().of_mut(side);
                        *half = DayHalf::Hours(hours.collect());
                    }
                }
            }
        }
        Ok(())
    }

    /// Compares the children of two states or years.
    fn descend(&mut self, place: Place, halves: &Sides<Half>) {
        let (a, b) = (halves.a.children(), halves.b.children());
        let numbers: BTreeSet<u16> = a.keys().chain(b.keys()).copied().collect();
        for number in numbers {
            let (a, b) = (a.get(&number), b.get(&number));
            let below = match place {
                Place::Year(year) => Place::Month(Month {
                    year,
                    month: u8::try_from(number).expect("a decoded month is 1 to 12"),
                }),
                _ => Place::Year(number),
            };
            let same = a.map(|child| child.cid) == b.map(|child| child.cid);
            if !same && self.is_wanted(below) {
                let node = |child: Option<&Child>| child.map(|child| (child.cid, Some(child.sums)));
                let (a, b) = (node(a), node(b));
                self.compare(below, Sides { a, b });
            }
        }
    }

    fn take_month(&mut self, month: Month, halves: &Sides<Half>) {
        let (a, b) = (halves.a.children(), halves.b.children());
        let numbers: BTreeSet<u16> = a.keys().chain(b.keys()).copied().collect();
        let is_open =
            |half: &Half, number| matches!(half, Half::Read(node) if node.open == Some(number));
        for number in numbers {
            let day = u8::try_from(number)
                .ok()
                .and_then(|number| Day::from_date(month, number))
                .expect("days of months read were checked");
            let children = Sides {
                a: a.get(&number),
                b: b.get(&number),
            };
            let open = Sides {
                a: is_open(&halves.a, number),
                b: is_open(&halves.b, number),
            };
            let same = children.a.map(|c| c.cid) == children.b.map(|c| c.cid) && open.a == open.b;
            if same || self.wanted.intersect(day.range()).is_none() {
                continue;
            }
            let mut nodes = Sides::default();
            let entry = self.days.entry(day).or_default();
            for side in Side::BOTH {
                match children.of(side) {
                    Some(child) if *open.of(side) => {
                        *nodes.of_mut(side) = Some((child.cid, Some(child.sums)));
                    }
                    Some(child) => *entry.of_mut(side) = DayHalf::Closed(**child),
                    None => {}
                }
            }
            if nodes != Sides::default() {
                self.compare(Place::OpenDay(day), nodes);
            }
        }
    }

    /// Asks for the open deltas, once it is known whether they can be equal.
    fn ask_for_open_hours(&mut self) {
        if self.open_asked {
            return;
        }
        let (a, b) = (&self.archives.a, &self.archives.b);
        let same_hour = a.open_hour() == b.open_hour();
        if !self.states_equal && (a.state.is_none() || b.state.is_none()) {
            return;
        }
        self.open_asked = true;
        // Whole lists are compared: of one hour's deltas, some may repeat what
        // others hold.
        let same_lists = a.open == b.open;
        let same_sums = match (a.open_sums(), b.open_sums()) {
            (Some(a), Some(b)) => a == b,
            // One state under both, unread.
            _ => a.totals == b.totals,
        };
        if same_hour && (same_lists || same_sums) {
            return;
        }
        for side in Side::BOTH {
            let archive = self.archives.of(side);
            if self.wanted.intersect(archive.open_hour().range()).is_none() {
                continue;
            }
            for delta in &archive.open {
                let steps = self.wants.entry((side, *delta)).or_default();
                steps.push(Step::Delta(Level::State, None));
            }
        }
    }

    fn take_delta(
        &mut self,
        side: Side,
        level: Level,
        sums: Option<Sums>,
        block: &Block,
    ) -> Result<(), ArchiveError> {
        let node = CalendarNode::read(level, block, sums)?;
        let archive = self.archives.of_mut(side);
        let (month, day) = archive.open_hour().day().date();
        let (number, below) = match level {
            Level::State => (month.year, Level::Year),
            Level::Year => (month.month.into(), Level::Month),
            Level::Month | Level::OpenDay => {
                if node.open.is_some() {
                    return Err(ArchiveError::NotAsLinked { cid: *block.cid() });
                }
                let Some(segment) = node.children.get(&day.into()) else {
                    return Ok(());
                };
                let range = archive.open_hour().day().range();
                if archive.watermark.before(range).is_none() {
                    return Err(ArchiveError::NotAsLinked { cid: *block.cid() });
                }
                archive.segments.push(*segment);
                return Ok(());
            }
        };
        if let Some(child) = node.children.get(&number) {
            let steps = self.wants.entry((side, child.cid)).or_default();
            steps.push(Step::Delta(below, Some(child.sums)));
        }
        Ok(())
    }

    /// A day that at least one archive has closed.
    fn whole_day(&self, day: Day, halves: &Sides<DayHalf>) -> Option<Bucket> {
        let mut parts: Sides<Vec<Part>> = Sides::default();
        let mut sums: Sides<Option<Sums>> = Sides::default();
        for side in Side::BOTH {
            let parts = parts.of_mut(side);
            let closed = match halves.of(side) {
                DayHalf::Closed(segment) => {
                    parts.push(whole(*segment, day.range()));
                    segment.sums
                }
                DayHalf::Hours(hours) => {
                    parts.extend(hours.iter().map(|(hour, s)| whole(*s, hour.range())));
                    hours.values().map(|segment| segment.sums).sum()
                }
                DayHalf::Absent => Sums::default(),
            };
            let archive = self.archives.of(side);
            let is_open = archive.open_hour().day() == day;
            if is_open {
                parts.extend(self.open_parts(side));
            }
            *sums.of_mut(side) = match (is_open, archive.open_sums()) {
                (false, _) => Some(closed),
                (true, open) => open.map(|open| closed.plus(open)),
            };
        }
        let both_closed = matches!(
            (&halves.a, &halves.b),
            (DayHalf::Closed(_), DayHalf::Closed(_))
        );
        // In one shape, other CIDs are other sets whatever sums say.
        if !both_closed && sums.a.is_some() && sums.a == sums.b {
            return None;
        }
        self.bucket(day.range(), parts)
    }

    /// An hour of a day that neither archive has closed.
    fn hour(&self, hour: Hour, halves: &Sides<DayHalf>) -> Option<Bucket> {
        let mut parts: Sides<Vec<Part>> = Sides::default();
        let mut sums: Sides<Option<Sums>> = Sides::default();
        for side in Side::BOTH {
            let archive = self.archives.of(side);
            if archive.open_hour() == hour {
                *parts.of_mut(side) = self.open_parts(side).collect();
                *sums.of_mut(side) = archive.open_sums();
                continue;
            }
            let segment = match halves.of(side) {
                DayHalf::Hours(hours) => hours.get(&hour),
                _ => None,
            };
            parts
                .of_mut(side)
                .extend(segment.map(|segment| whole(*segment, hour.range())));
            *sums.of_mut(side) = Some(segment.map(|segment| segment.sums).unwrap_or_default());
        }
        let one_shape = self.archives.a.open_hour() != hour && self.archives.b.open_hour() != hour;
        if parts.a == parts.b || !one_shape && sums.a.is_some() && sums.a == sums.b {
            return None;
        }
        self.bucket(hour.range(), parts)
    }

    fn open_parts(&self, side: Side) -> impl Iterator<Item = Part> + '_ {
        let archive = self.archives.of(side);
        let hour = archive.open_hour();
        // What a head seals was sent before its watermark.
        let bounds = archive.watermark.before(hour.day().range());
        let counts = archive.watermark.before(hour.range());
        archive.segments.iter().filter_map(move |segment| {
            Some(Part {
                segment: *segment,
                bounds: bounds?,
                counts: counts?,
            })
        })
    }

    fn bucket(&self, range: TimeRange, parts: Sides<Vec<Part>>) -> Option<Bucket> {
        let wanted = self.wanted.intersect(range)?;
        let nothing = parts.a.is_empty() && parts.b.is_empty();
        (!nothing).then_some(Bucket {
            range,
            wanted,
            parts,
        })
    }

    fn is_wanted(&self, place: Place) -> bool {
        let month_of = |at| Day::of(at).date().0;
        let (first, last) = (month_of(self.wanted.from()), month_of(self.wanted.to()));
        match place {
            Place::Year(year) => (first.year..=last.year).contains(&year),
            Place::Month(month) => (first..=last).contains(&month),
            Place::State | Place::OpenDay(_) => true,
        }
    }
}

impl Archive {
    /// Whether a node of its state may be what it is: `None` where a day does not
    /// exist, or a day or hour is closed or open against the watermark.
    fn check(&self, place: Place, node: &CalendarNode) -> Option<()> {
        let sound = match place {
            Place::State | Place::Year(_) => true,
            Place::Month(month) => node.children.keys().all(|number| {
                let day = u8::try_from(*number)
                    .ok()
                    .and_then(|number| Day::from_date(month, number));
                let is_open = node.open == Some(*number);
                day.is_some_and(|day| is_open != self.watermark.closes_day(day))
            }),
            Place::OpenDay(day) => node.children.keys().all(|number| {
                let hour = Hour(day.0 * 24 + u32::from(*number));
                self.watermark.closes_hour(hour)
            }),
        };
        sound.then_some(())
    }
}

/// A segment of which everything counts.
fn whole(segment: SegmentRef, range: TimeRange) -> Part {
    Part {
        segment,
        bounds: range,
        counts: range,
    }
}
