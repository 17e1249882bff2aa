//! Rewrites the path from changed buckets to the root of a state.
//!
//! Always true: months, years and topic indexes that hold no changed bucket are
//! kept by their links, unread. An index brought up to date reads of the days
//! only those that changed: the others need not be there.

use std::collections::{BTreeMap, BTreeSet};

use super::ArchiveError;
use super::builder::{BlockSink, SegmentRef};
use super::calendar::{CalendarNode, CalendarReader, Child, Level};
use super::topics::update_index;
use super::watermark::{Day, Hour, Month};
use crate::blocks::{BlockStore, Cid, Group, Reuse};

/// Buckets that changed.
#[derive(Clone, Debug, Default)]
pub struct CalendarEdit {
    closed: BTreeMap<Day, SegmentRef>,
    open: BTreeMap<Day, BTreeMap<Hour, SegmentRef>>,
}

impl CalendarEdit {
    /// A closed day now is this segment.
    pub fn close_day(&mut self, day: Day, segment: SegmentRef) {
        self.open.remove(&day);
        self.closed.insert(day, segment);
    }

    /// The open day now has these closed hours.
    pub fn set_open_day(&mut self, day: Day, hours: BTreeMap<Hour, SegmentRef>) {
        self.open.insert(day, hours);
    }

    /// Writes the new state into a calendar file of `store`; gives its root and
    /// the bytes written. Without changes the state stays what it was.
    pub fn write(
        self,
        store: &dyn BlockStore,
        before: Option<&Cid>,
    ) -> Result<(Option<Cid>, u64), ArchiveError> {
        let days = self.closed.keys().chain(self.open.keys());
        let months: BTreeSet<Month> = days.map(|day| day.date().0).collect();
        if months.is_empty() {
            return Ok((before.copied(), 0));
        }
        let mut calendar = CalendarReader::new(store, before)?;
        let mut file = store.begin(Group::Calendar, Reuse::SameGroup)?;
        let mut changed: BTreeMap<Month, Child> = BTreeMap::new();
        for month in months {
            let node = calendar.month(month)?.cloned();
            let node = node.unwrap_or_else(|| CalendarNode::new(Level::Month));
            let node = self.edit_month(month, node, store, &mut *file)?;
            changed.insert(month, put(&node, &mut *file)?);
        }
        let state = write_years(calendar.root(), &changed, store, &mut *file)?;
        let written = file.commit(&state)?.map_or(0, |file| file.bytes);
        Ok((Some(state), written))
    }

    fn edit_month<S: BlockSink + ?Sized>(
        &self,
        month: Month,
        mut node: CalendarNode,
        store: &dyn BlockStore,
        sink: &mut S,
    ) -> Result<CalendarNode, ArchiveError> {
        let in_month = |day: &Day| {
            let (of, number) = day.date();
            (of == month).then_some(u16::from(number))
        };
        let mut indexed: Vec<u8> = match node.topics {
            Some(_) => closed_days(&node).map(|(number, _)| number).collect(),
            None => Vec::new(),
        };
        let mut reindex = false;
        for (day, segment) in &self.closed {
            if let Some(number) = in_month(day) {
                node.children.insert(number, *segment);
                node.open = node.open.filter(|open| *open != number);
                indexed.retain(|indexed| u16::from(*indexed) != number);
                reindex = true;
            }
        }
        for (day, hours) in &self.open {
            if let Some(number) = in_month(day) {
                let mut open = CalendarNode::new(Level::OpenDay);
                open.children = hours
                    .iter()
                    .map(|(hour, child)| (u16::from(hour.of_day()), *child))
                    .collect();
                node.children.insert(number, put(&open, sink)?);
                node.open = Some(number);
            }
        }
        if reindex {
            let changed: Vec<_> = closed_days(&node)
                .filter(|(number, _)| !indexed.contains(number))
                .collect();
            node.topics = update_index(store, node.topics, indexed, &changed, sink)?;
        }
        Ok(node)
    }
}

/// A month's closed days, by number.
fn closed_days(month: &CalendarNode) -> impl Iterator<Item = (u8, Child)> + '_ {
    let closed = |number: &u16| month.open != Some(*number);
    month.children.iter().filter_map(move |(number, child)| {
        let day = u8::try_from(*number).expect("a day of a month is 1 to 31");
        closed(number).then_some((day, *child))
    })
}

/// Writes the tree of a delta: the days' segments of new envelopes, without
/// topic indexes. `None` where there are no days.
pub fn write_delta<S: BlockSink + ?Sized>(
    days: &BTreeMap<Day, SegmentRef>,
    sink: &mut S,
) -> Result<Option<Cid>, ArchiveError> {
    let mut months: BTreeMap<Month, CalendarNode> = BTreeMap::new();
    for (day, segment) in days {
        let (month, number) = day.date();
        let node = months
            .entry(month)
            .or_insert_with(|| CalendarNode::new(Level::Month));
        node.children.insert(number.into(), *segment);
    }
    if months.is_empty() {
        return Ok(None);
    }
    let mut changed = BTreeMap::new();
    for (month, node) in months {
        changed.insert(month, put(&node, sink)?);
    }
    let mut state = CalendarNode::new(Level::State);
    for (year, node) in by_year(&changed) {
        state.children.insert(year, put(&node, sink)?);
    }
    Ok(Some(put(&state, sink)?.cid))
}

fn write_years<S: BlockSink + ?Sized>(
    before: Option<&CalendarNode>,
    changed: &BTreeMap<Month, Child>,
    store: &dyn BlockStore,
    sink: &mut S,
) -> Result<Cid, ArchiveError> {
    let mut state = before
        .cloned()
        .unwrap_or_else(|| CalendarNode::new(Level::State));
    for (year, new) in by_year(changed) {
        let node = match state.children.get(&year) {
            None => new,
            Some(child) => {
                let mut node = CalendarNode::fetch(store, Level::Year, *child)?;
                node.children.extend(new.children);
                node
            }
        };
        state.children.insert(year, put(&node, sink)?);
    }
    Ok(put(&state, sink)?.cid)
}

fn by_year(months: &BTreeMap<Month, Child>) -> BTreeMap<u16, CalendarNode> {
    let mut years: BTreeMap<u16, CalendarNode> = BTreeMap::new();
    for (month, child) in months {
        let year = years
            .entry(month.year)
            .or_insert_with(|| CalendarNode::new(Level::Year));
        year.children.insert(month.month.into(), *child);
    }
    years
}

fn put<S: BlockSink + ?Sized>(node: &CalendarNode, sink: &mut S) -> Result<Child, ArchiveError> {
    let block = node.encode();
    sink.take(&block)?;
    Ok(Child {
        cid: *block.cid(),
        sums: node.sums(),
    })
}
