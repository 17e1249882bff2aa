//! The nodes from a state down to its buckets: state, year, month, open day.
//!
//! Always true of a node that decoded:
//! - Children are named by two digits (four for years), so that any IPFS tool
//!   resolves `<head>/state/2019/07/15`.
//! - Each child carries the sums of what lies below it, under `sums`; no two
//!   are one.
//! - Only a month has a topic index, over its closed days; only its last day may
//!   be open, and an open day holds one segment for each closed hour.
//!
//! A delta is such a tree too, of the new envelopes alone: every day in it is a
//! segment and it has no topic index.

use std::collections::{BTreeMap, BTreeSet};

use ipld_core::ipld::Ipld;

use super::ArchiveError;
use super::builder::SegmentRef;
use super::cbor::{self, CborError};
use super::pack::links_to;
use super::sums::{Fingerprint, Sums};
use super::watermark::{Day, Hour, Month};
use crate::blocks::{Block, BlockSource, Cid, Codec};

/// Which node of the calendar one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The root, over years.
    State,
    /// A year, over months.
    Year,
    /// A month, over days.
    Month,
    /// A day that has not closed, over hours.
    OpenDay,
}

impl Level {
    /// The numbers children may have.
    fn numbers(self) -> std::ops::RangeInclusive<u16> {
        match self {
            Self::State => 1970..=2106,
            Self::Year => 1..=12,
            Self::Month => 1..=31,
            Self::OpenDay => 0..=23,
        }
    }

    fn name(self, number: u16) -> String {
        match self {
            Self::State => format!("{number:04}"),
            _ => format!("{number:02}"),
        }
    }
}

/// A link to a subtree and what lies below it.
pub type Child = SegmentRef;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarNode {
    /// Which node it is.
    pub level: Level,
    /// Its children by number: year, month, day or hour.
    pub children: BTreeMap<u16, Child>,
    /// In a month, the day that is still open.
    pub open: Option<u16>,
    /// In a month, the root of the topic index over its closed days.
    pub topics: Option<Cid>,
}

impl CalendarNode {
    /// A node without children.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            children: BTreeMap::new(),
            open: None,
            topics: None,
        }
    }

    /// What lies below the node.
    pub fn sums(&self) -> Sums {
        self.children.values().map(|child| child.sums).sum()
    }

    /// Encodes the node as a block.
    pub fn encode(&self) -> Block {
        let mut node = BTreeMap::new();
        let mut sums = BTreeMap::new();
        for (number, child) in &self.children {
            let name = self.level.name(*number);
            sums.insert(name.clone(), sums_to_ipld(child.sums));
            node.insert(name, Ipld::Link(child.cid));
        }
        node.insert("sums".to_owned(), Ipld::Map(sums));
        if let Some(day) = self.open {
            node.insert("open".to_owned(), Ipld::Integer(day.into()));
        }
        if let Some(topics) = self.topics {
            node.insert("topics".to_owned(), Ipld::Link(topics));
        }
        cbor::encode(&Ipld::Map(node))
    }

    /// Decodes a node, refusing whatever breaks what is always true of one.
    pub fn decode(level: Level, bytes: &[u8]) -> Result<Self, CborError> {
        let shape = |what: &str| CborError::Shape(what.to_owned());
        let Ipld::Map(mut fields) = cbor::decode(bytes)? else {
            return Err(shape("calendar node is no map"));
        };
        let Some(Ipld::Map(mut sums)) = fields.remove("sums") else {
            return Err(shape("calendar node has no sums"));
        };
        let mut node = Self::new(level);
        if level == Level::Month {
            node.open = match fields.remove("open") {
                None => None,
                Some(Ipld::Integer(day)) => {
                    Some(u16::try_from(day).map_err(|_| shape("open day is no day of a month"))?)
                }
                Some(_) => return Err(shape("open day is no number")),
            };
            node.topics = match fields.remove("topics") {
                None => None,
                Some(Ipld::Link(cid)) => Some(cid),
                Some(_) => return Err(shape("topic index is no link")),
            };
        }
        if node
            .topics
            .is_some_and(|cid| !links_to(&cid, Codec::DagCbor))
        {
            return Err(shape("topic index is no link to a node"));
        }
        for (name, value) in fields {
            let (Ok(number), Ipld::Link(cid)) = (name.parse::<u16>(), value) else {
                return Err(shape("calendar node has an unknown field"));
            };
            if !level.numbers().contains(&number) || level.name(number) != name {
                return Err(shape("calendar child has no such name"));
            }
            let sums = sums.remove(&name).and_then(sums_from_ipld);
            let sums = sums.ok_or_else(|| shape("calendar child has no sums"))?;
            if sums.count == 0 {
                return Err(shape("calendar child is empty"));
            }
            // A segment may be one leaf; every other child is a node.
            let is_segment = match level {
                Level::State | Level::Year => false,
                Level::Month => node.open != Some(number),
                Level::OpenDay => true,
            };
            let is_leaf = is_segment && links_to(&cid, Codec::Raw);
            if !is_leaf && !links_to(&cid, Codec::DagCbor) {
                return Err(shape("calendar child is no link to a block of its kind"));
            }
            node.children.insert(number, Child { cid, sums });
        }
        if node.children.is_empty() || !sums.is_empty() {
            return Err(shape("calendar node has no children, or sums of none"));
        }
        // What two children hold differs. A few nodes that link one child under
        // every name would stand for 50,000 days.
        let links: BTreeSet<Cid> = node.children.values().map(|child| child.cid).collect();
        if links.len() < node.children.len() {
            return Err(shape("calendar child stands twice"));
        }
        let last = node.children.keys().next_back().copied();
        if node.open.is_some() && node.open != last {
            return Err(shape("only the last day may be open"));
        }
        let closed = node.children.len() > usize::from(node.open.is_some());
        if node.topics.is_some() && !closed {
            return Err(shape("a topic index over no closed day"));
        }
        Ok(node)
    }

    /// Fetches the node `child` names and checks that it holds what its parent
    /// said.
    pub fn fetch(
        source: &dyn BlockSource,
        level: Level,
        child: Child,
    ) -> Result<Self, ArchiveError> {
        Self::read(level, &source.get(&child.cid)?, Some(child.sums))
    }

    /// Reads a verified block as the node it should be.
    pub fn read(level: Level, block: &Block, sums: Option<Sums>) -> Result<Self, ArchiveError> {
        let cid = *block.cid();
        if Codec::of(&cid) != Some(Codec::DagCbor) {
            return Err(ArchiveError::NotAsLinked { cid });
        }
        let node = Self::decode(level, block.bytes())
            .map_err(|source| ArchiveError::Node { cid, source })?;
        if sums.is_some_and(|sums| sums != node.sums()) {
            return Err(ArchiveError::NotAsLinked { cid });
        }
        Ok(node)
    }
}

fn sums_to_ipld(sums: Sums) -> Ipld {
    Ipld::List(vec![
        Ipld::Integer(sums.count.into()),
        Ipld::Integer(sums.bytes.into()),
        Ipld::Bytes(sums.fingerprint.0.to_vec()),
    ])
}

fn sums_from_ipld(value: Ipld) -> Option<Sums> {
    let Ipld::List(fields) = value else {
        return None;
    };
    let [
        Ipld::Integer(count),
        Ipld::Integer(bytes),
        Ipld::Bytes(fingerprint),
    ] = fields.as_slice()
    else {
        return None;
    };
    Some(Sums {
        count: u64::try_from(*count).ok()?,
        bytes: u64::try_from(*bytes).ok()?,
        fingerprint: Fingerprint(fingerprint.as_slice().try_into().ok()?),
    })
}

/// A day as a state holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DayBucket {
    /// Closed: one segment.
    Closed(SegmentRef),
    /// Open: a segment for each closed hour.
    Open(BTreeMap<Hour, SegmentRef>),
}

impl DayBucket {
    /// Its segments, in order of time.
    pub fn segments(&self) -> Vec<SegmentRef> {
        match self {
            Self::Closed(segment) => vec![*segment],
            Self::Open(hours) => hours.values().copied().collect(),
        }
    }
}

/// Reads single days of a state (or delta), keeping no more than the path to
/// the last.
pub struct CalendarReader<'s> {
    source: &'s dyn BlockSource,
    root: Option<CalendarNode>,
    month: Option<(Month, Option<CalendarNode>)>,
}

impl<'s> CalendarReader<'s> {
    /// A reader of the tree at `root`; `None` is the empty state.
    pub fn new(source: &'s dyn BlockSource, root: Option<&Cid>) -> Result<Self, ArchiveError> {
        let root = match root {
            None => None,
            Some(cid) => Some(CalendarNode::read(Level::State, &source.get(cid)?, None)?),
        };
        Ok(Self {
            source,
            root,
            month: None,
        })
    }

    /// The root node, `None` for the empty state.
    pub fn root(&self) -> Option<&CalendarNode> {
        self.root.as_ref()
    }

    /// What the whole tree holds.
    pub fn sums(&self) -> Sums {
        self.root
            .as_ref()
            .map(CalendarNode::sums)
            .unwrap_or_default()
    }

    /// The node of one month.
    pub fn month(&mut self, month: Month) -> Result<Option<&CalendarNode>, ArchiveError> {
        if self.month.as_ref().is_none_or(|(at, _)| *at != month) {
            let node = self.fetch_month(month)?;
            self.month = Some((month, node));
        }
        Ok(self.month.as_ref().and_then(|(_, node)| node.as_ref()))
    }

    fn fetch_month(&self, month: Month) -> Result<Option<CalendarNode>, ArchiveError> {
        let year = self
            .root
            .as_ref()
            .and_then(|root| root.children.get(&month.year));
        let Some(year) = year else { return Ok(None) };
        let year = CalendarNode::fetch(self.source, Level::Year, *year)?;
        let Some(child) = year.children.get(&u16::from(month.month)) else {
            return Ok(None);
        };
        let node = CalendarNode::fetch(self.source, Level::Month, *child)?;
        let is_day =
            |day: &u16| u8::try_from(*day).is_ok_and(|d| Day::from_date(month, d).is_some());
        if !node.children.keys().all(is_day) {
            return Err(ArchiveError::NotAsLinked { cid: child.cid });
        }
        Ok(Some(node))
    }

    /// The bucket of one day.
    pub fn day(&mut self, day: Day) -> Result<Option<DayBucket>, ArchiveError> {
        let source = self.source;
        let (month, number) = day.date();
        let number = u16::from(number);
        let Some(node) = self.month(month)? else {
            return Ok(None);
        };
        let Some(child) = node.children.get(&number) else {
            return Ok(None);
        };
        if node.open != Some(number) {
            return Ok(Some(DayBucket::Closed(*child)));
        }
        let open = CalendarNode::fetch(source, Level::OpenDay, *child)?;
        let hours = open
            .children
            .into_iter()
            .map(|(h, s)| (Hour(day.0 * 24 + u32::from(h)), s));
        Ok(Some(DayBucket::Open(hours.collect())))
    }

    /// Every month of the tree, in order.
    pub fn months(&self) -> Result<Vec<(Month, Child)>, ArchiveError> {
        let mut months = Vec::new();
        for (year, child) in self.root.iter().flat_map(|root| &root.children) {
            let node = CalendarNode::fetch(self.source, Level::Year, *child)?;
            for (month, child) in node.children {
                let month = u8::try_from(month).expect("a decoded month is 1 to 12");
                months.push((Month { year: *year, month }, child));
            }
        }
        Ok(months)
    }

    /// Every day of the tree, in order; `visit` may stop the walk by an error.
    pub fn for_each_day<E: From<ArchiveError>>(
        &mut self,
        mut visit: impl FnMut(Day, DayBucket) -> Result<(), E>,
    ) -> Result<(), E> {
        for (month, _) in self.months()? {
            let days: Vec<u16> = self
                .month(month)?
                .map(|m| m.children.keys().copied().collect())
                .unwrap_or_default();
            for number in days {
                let number = u8::try_from(number).expect("a decoded day is 1 to 31");
                let day = Day::from_date(month, number).expect("a month read here has real days");
                if let Some(bucket) = self.day(day)? {
                    visit(day, bucket)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(n: u8) -> Child {
        let block = Block::new(Codec::DagCbor, vec![n]);
        Child {
            cid: *block.cid(),
            sums: Sums {
                count: u64::from(n),
                bytes: 100,
                ..Sums::default()
            },
        }
    }

    fn month() -> CalendarNode {
        CalendarNode {
            level: Level::Month,
            children: [(1, child(1)), (15, child(2)), (30, child(3))].into(),
            open: Some(30),
            topics: Some(child(4).cid),
        }
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        let day = CalendarNode {
            children: [(0, child(1)), (23, child(9))].into(),
            ..CalendarNode::new(Level::OpenDay)
        };
        let state = CalendarNode {
            children: [(2018, child(1))].into(),
            ..CalendarNode::new(Level::State)
        };
        for node in [month(), day, state] {
            assert_eq!(
                CalendarNode::decode(node.level, node.encode().bytes()),
                Ok(node)
            );
        }
    }

    #[test]
    fn children_resolve_by_path() {
        let Ok(Ipld::Map(fields)) = cbor::decode::<Ipld>(month().encode().bytes()) else {
            panic!("a node is a map");
        };
        assert_eq!(fields.get("15"), Some(&Ipld::Link(child(2).cid)));
        assert_eq!(fields.get("01"), Some(&Ipld::Link(child(1).cid)));
    }

    #[test]
    fn nodes_that_cannot_be_are_refused() {
        let refused = |level, node: &CalendarNode| {
            assert!(
                CalendarNode::decode(level, node.encode().bytes()).is_err(),
                "{node:?}"
            );
        };
        refused(
            Level::Month,
            &CalendarNode {
                children: BTreeMap::new(),
                open: None,
                ..month()
            },
        );
        refused(
            Level::Month,
            &CalendarNode {
                open: Some(15),
                ..month()
            },
        );
        refused(
            Level::Month,
            &CalendarNode {
                children: [(30, child(3))].into(),
                ..month()
            },
        );
        refused(
            Level::Month,
            &CalendarNode {
                children: [(32, child(3))].into(),
                open: None,
                ..month()
            },
        );
        refused(
            Level::Month,
            &CalendarNode {
                children: [(0, child(3))].into(),
                open: None,
                ..month()
            },
        );
        refused(Level::Year, &month());
        refused(Level::State, &month());
        let mut empty = month();
        empty.children.insert(2, child(0));
        refused(Level::Month, &empty);
        let year_13 = CalendarNode {
            children: [(13, child(3))].into(),
            ..CalendarNode::new(Level::Year)
        };
        refused(Level::Year, &year_13);
    }
}
