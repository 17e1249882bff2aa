//! Copies the live history of a head from a source that nobody trusts into a
//! store.
//!
//! Always true:
//! - A block is stored only after it was hashed against a link of a block that
//!   was, from the head down.
//! - When a copy is finished the history has been recomputed from its envelopes
//!   up: it is the canonical one of what it holds.
//! - What the store holds is not fetched again: a copy that was cut off goes on
//!   where it was, a later one fetches what differs.
//! - Memory holds the calendar, and of the rest what is under way:
//!   32 MiB at most of each of two segments are written before they are made
//!   durable.
//!
//! Topic indexes are not fetched: they are made from the days, and must come out
//! as the head has them.

mod index;
mod missing;
mod onward;
mod parts;

use std::collections::{HashMap, HashSet};
use std::iter::Sum;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::ScopedJoinHandle;

use super::ArchiveError;
use super::builder::SegmentRef;
use super::calendar::{CalendarNode, Child, Level};
use super::fresh::Sealed;
use super::sums::Sums;
use super::topics::build_index;
use super::verify::{self, Bucket, Verified};
use super::watermark::{Day, Hour, Month};
use crate::blocks::{Block, BlockError, BlockSource, BlockStore, BlockWriter, Cid, Group, Reuse};
use crate::progress::Progress;
use missing::Missing;
pub use onward::copy_onward;
use parts::Parts;

/// Segments fetched and not yet recomputed: enough that the one who fetches does
/// not wait for the one who hashes.
const AHEAD: usize = 4;

/// Segments fetched at a time: while one waits for the disk or for the first byte
/// of its stream, another is hashed and written.
const FETCHED_AT_ONCE: usize = 2;

/// What a copy came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blocks fetched.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of files written.
    pub written: u64,
}

impl Copied {
    /// Counts another copy in.
    pub fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.written += other.written;
    }
}

impl Sum for Copied {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum.add(one);
            sum
        })
    }
}

/// What a thread came to, its panic included.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What is copied, from where to where.
pub struct CopyRequest<'a> {
    /// Who has the history; trusted with nothing.
    pub source: &'a dyn BlockSource,
    /// Where it goes. Its reads must not fall back on `source`.
    pub store: &'a dyn BlockStore,
    /// What the head says is sealed.
    pub sealed: &'a Sealed,
    /// The head.
    pub head: Cid,
    /// The delta of what is new in the head.
    pub added: Option<Cid>,
    /// The head's number, which names the file of its deltas.
    pub sequence: u64,
    /// Days before this one are left where they are.
    pub from: Day,
}

/// Copies; see the module.
pub fn copy(request: &CopyRequest<'_>, progress: &dyn Progress) -> Result<Copied, ArchiveError> {
    let mut copy = Copy::new(request, progress)?;
    progress.phase("fetching the calendar", None, None);
    let months = copy.calendar()?;
    let buckets = copy.buckets(&months)?;
    let (count, bytes) = months
        .iter()
        .flat_map(|month| month.node.children.values())
        .fold((0u64, 0u64), |(count, bytes), child| {
            (
                count.saturating_add(child.sums.count),
                bytes.saturating_add(child.sums.bytes),
            )
        });
    progress.phase("fetching", Some(count), Some(bytes));
    copy.segments(&buckets)?;
    copy.deltas(&buckets)?;
    progress.phase("checking", None, None);
    copy.topics(&months)?;
    copy.totals(&months)?;
    Ok(copy.copied)
}

/// Copies one delta, every segment of which is recomputed; gives these by day.
pub fn copy_delta(
    source: &dyn BlockSource,
    store: &dyn BlockStore,
    delta: Cid,
    sealed: &Sealed,
    sequence: u64,
    progress: &dyn Progress,
) -> Result<(Vec<SegmentRef>, Copied), ArchiveError> {
    let request = CopyRequest {
        source,
        store,
        sealed,
        head: delta,
        added: Some(delta),
        sequence,
        from: Day(0),
    };
    let mut copy = Copy::new(&request, progress)?;
    let segments = copy.delta(delta, |_, _| true)?;
    verify::verify_delta(store, &delta, sealed.watermark, &mut Verified::default())?;
    let segments = segments.into_iter().map(|(_, segment)| segment);
    Ok((segments.collect(), copy.copied))
}

/// Copies closed days, each of which is recomputed. Of a day that was copied
/// before nothing is fetched.
pub fn copy_days(
    source: &dyn BlockSource,
    store: &dyn BlockStore,
    days: &[(Day, SegmentRef)],
    progress: &dyn Progress,
) -> Result<Copied, ArchiveError> {
    let request = CopyRequest {
        source,
        store,
        sealed: &Sealed::default(),
        head: Cid::default(),
        added: None,
        sequence: 0,
        from: Day(0),
    };
    let mut copy = Copy::new(&request, progress)?;
    let wanted: Vec<Wanted> = days
        .iter()
        .map(|(day, segment)| Wanted {
            day: *day,
            group: Group::Day(day.0),
            bucket: Bucket {
                range: day.range(),
                segment: *segment,
            },
        })
        .collect();
    copy.segments(&wanted)?;
    Ok(copy.copied)
}

/// A month of the history.
struct MonthNode {
    month: Month,
    cid: Cid,
    node: CalendarNode,
}

/// A bucket on its way.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    day: Day,
    group: Group,
    bucket: Bucket,
}

struct Copy<'a> {
    request: &'a CopyRequest<'a>,
    progress: &'a dyn Progress,
    /// Groups of which the store holds something from before.
    held: HashSet<Group>,
    copied: Copied,
}

impl<'a> Copy<'a> {
    fn new(request: &'a CopyRequest<'a>, progress: &'a dyn Progress) -> Result<Self, ArchiveError> {
        let files = request.store.files()?;
        Ok(Self {
            request,
            progress,
            held: files.into_iter().map(|file| file.group).collect(),
            copied: Copied::default(),
        })
    }

    /// Fetches the nodes from the state down to its months and open days.
    fn calendar(&mut self) -> Result<Vec<MonthNode>, ArchiveError> {
        let Some(state) = self.request.sealed.state else {
            return Ok(Vec::new());
        };
        let mut file = self
            .request
            .store
            .begin(Group::Calendar, Reuse::SameGroup)?;
        let block = self.nodes(&[state], &mut *file)?.remove(0);
        let root = CalendarNode::read(Level::State, &block, None)?;
        let mut months = Vec::new();
        for (year, node) in self.level(Level::Year, root.children.into_iter(), &mut *file)? {
            let of_year = self.level(Level::Month, node.children.into_iter(), &mut *file)?;
            for ((number, node), cid) in of_year.into_iter().map(|at| {
                let cid = *at.1.encode().cid();
                (at, cid)
            }) {
                let month = u8::try_from(number).expect("a decoded month is 1 to 12");
                months.push(MonthNode {
                    month: Month { year, month },
                    cid,
                    node,
                });
            }
        }
        let open = months.iter().filter_map(|month| {
            let number = month.node.open?;
            month
                .node
                .children
                .get(&number)
                .map(|child| (number, *child))
        });
        self.level(
            Level::OpenDay,
            open.collect::<Vec<_>>().into_iter(),
            &mut *file,
        )?;
        self.commit(file, &state)?;
        Ok(months)
    }

    /// The nodes that `children` names, in their order.
    fn level(
        &mut self,
        level: Level,
        children: impl Iterator<Item = (u16, Child)>,
        file: &mut dyn BlockWriter,
    ) -> Result<Vec<(u16, CalendarNode)>, ArchiveError> {
        let children: Vec<(u16, Child)> = children.collect();
        let cids: Vec<Cid> = children.iter().map(|(_, child)| child.cid).collect();
        let blocks = self.nodes(&cids, file)?;
        let read = children.into_iter().zip(blocks);
        read.map(|((number, child), block)| {
            CalendarNode::read(level, &block, Some(child.sums)).map(|node| (number, node))
        })
        .collect()
    }

    /// Blocks by CID, in order, fetched where the store lacks them.
    fn nodes(
        &mut self,
        cids: &[Cid],
        file: &mut dyn BlockWriter,
    ) -> Result<Vec<Block>, ArchiveError> {
        let mut blocks = HashMap::new();
        let mut lacking = Vec::new();
        for cid in cids {
            match self.request.store.get(cid) {
                Ok(block) => {
                    // Another group may be the one that holds it.
                    file.put(&block)?;
                    blocks.insert(*cid, block);
                }
                Err(error) if error.is_missing() => lacking.push(*cid),
                Err(error) => return Err(error.into()),
            }
        }
        self.fetch(&lacking, &mut |block| {
            let stored = file.put(&block).map(drop);
            blocks.insert(*block.cid(), block);
            stored
        })?;
        let find = |cid: &Cid| blocks.get(cid).cloned();
        cids.iter()
            .map(|cid| find(cid).ok_or_else(|| BlockError::Missing { cid: *cid }.into()))
            .collect()
    }

    /// Fetches blocks, each once.
    fn fetch(
        &mut self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let mut taken = Ok(());
        let copied = &mut self.copied;
        self.request.source.get_each(cids, &mut |block| {
            copied.blocks += 1;
            copied.bytes += block.bytes().len() as u64;
            taken = take(block);
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        taken
    }

    fn commit(&mut self, file: Box<dyn BlockWriter + '_>, root: &Cid) -> Result<(), BlockError> {
        let file = file.commit(root)?;
        self.copied.written += file.map_or(0, |file| file.bytes);
        Ok(())
    }

    /// Every bucket that is to be copied, the newest first: a copy that serves
    /// while it grows soon has what most ask for.
    fn buckets(&self, months: &[MonthNode]) -> Result<Vec<Wanted>, ArchiveError> {
        let mut wanted = Vec::new();
        for month in months {
            for (number, child) in &month.node.children {
                let day = u8::try_from(*number)
                    .ok()
                    .and_then(|number| Day::from_date(month.month, number));
                let day = day.ok_or(ArchiveError::NotAsLinked { cid: month.cid })?;
                let buckets = verify::buckets_of(
                    self.request.store,
                    &month.node,
                    month.cid,
                    day,
                    *child,
                    self.request.sealed,
                )?;
                let open = month.node.open == Some(*number);
                wanted.extend(buckets.into_iter().map(|bucket| Wanted {
                    day,
                    group: if open {
                        Group::Hour(Hour::of(bucket.range.from()).0)
                    } else {
                        Group::Day(day.0)
                    },
                    bucket,
                }));
            }
        }
        // What was taken to another place was recomputed when it came here.
        let store = self.request.store;
        wanted.retain(|wanted| {
            let root = &wanted.bucket.segment.cid;
            wanted.day >= self.request.from && !store.keeps_elsewhere(root)
        });
        wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.bucket.range.from()));
        Ok(wanted)
    }

    /// Fetches segments, some at a time; each is recomputed while others are on
    /// their way. Every one is of a group of its own.
    fn segments(&mut self, wanted: &[Wanted]) -> Result<(), ArchiveError> {
        let store = self.request.store;
        let next = AtomicUsize::new(0);
        let (this, next) = (&*self, &next);
        let copied = std::thread::scope(|scope| {
            let (fetched, to_check) = mpsc::sync_channel::<Bucket>(AHEAD);
            let checking = scope.spawn(move || {
                for bucket in to_check {
                    verify::recompute(store, bucket.segment, bucket.range)?;
                }
                Ok::<_, ArchiveError>(())
            });
            let fetching: Vec<_> = (0..FETCHED_AT_ONCE)
                .map(|_| {
                    let fetched = fetched.clone();
                    scope.spawn(move || this.fetch_in_turn(wanted, next, &fetched))
                })
                .collect();
            drop(fetched);
            let copied: Vec<_> = fetching.into_iter().map(joined).collect();
            joined(checking)?;
            copied.into_iter().sum::<Result<Copied, ArchiveError>>()
        })?;
        self.copied.add(copied);
        Ok(())
    }

    /// Fetches the segments whose turn it is, and says which it has.
    fn fetch_in_turn(
        &self,
        wanted: &[Wanted],
        next: &AtomicUsize,
        fetched: &SyncSender<Bucket>,
    ) -> Result<Copied, ArchiveError> {
        let mut copied = Copied::default();
        while let Some(wanted_now) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = self.segment(wanted_now.group, &wanted_now.bucket.segment);
            if one.is_err() {
                // The others stop at the segment they are at.
                next.store(wanted.len(), Ordering::Relaxed);
            }
            copied.add(one?);
            // Who checks has found a fault and gone.
            if fetched.send(wanted_now.bucket).is_err() {
                break;
            }
        }
        Ok(copied)
    }

    /// Fetches what the store lacks of one segment.
    fn segment(&self, group: Group, segment: &SegmentRef) -> Result<Copied, ArchiveError> {
        let mut parts = Parts::new(self.request.store, group);
        let mut missing = Missing::new(*segment);
        let mut copied = Copied::default();
        loop {
            missing.look(&mut parts)?;
            let wants = missing.wants();
            if wants.is_empty() {
                break;
            }
            // Of a bucket that is all new, all is wanted: one stream gives it.
            let whole = wants == [segment.cid] && !self.held.contains(&group);
            let mut taken = Ok(());
            let mut take = |block: Block| {
                let len = block.bytes().len() as u64;
                copied.blocks += 1;
                copied.bytes += len;
                self.progress.advance(0, len);
                taken = missing.take(&block);
                if taken.is_ok() {
                    taken = parts.put(&block).map_err(ArchiveError::from);
                }
                match taken {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            };
            if whole {
                self.request
                    .source
                    .get_dag(&segment.cid, &|_| false, &mut take)?;
            } else {
                self.request.source.get_each(&wants, &mut take)?;
            }
            taken?;
        }
        copied.written = parts.finish(&segment.cid)?;
        self.progress.advance(segment.sums.count, 0);
        Ok(copied)
    }

    /// Fetches the deltas that the head names, but for days that are left where
    /// they are; a day of which all was new is among the `buckets` copied before.
    /// The delta of what is new in the head is a shortcut for followers and no part
    /// of the history: one that is not to be had or not what it should be is done
    /// without.
    fn deltas(&mut self, buckets: &[Wanted]) -> Result<(), ArchiveError> {
        let request = self.request;
        let days = buckets
            .iter()
            .filter(|wanted| matches!(wanted.group, Group::Day(_)));
        let copied: HashSet<Cid> = days.map(|wanted| wanted.bucket.segment.cid).collect();
        let wanted =
            |day, segment: &SegmentRef| day >= request.from && !copied.contains(&segment.cid);
        let open = &request.sealed.open;
        for root in open {
            self.delta(*root, wanted)?;
        }
        let Some(added) = request.added.filter(|added| !open.contains(added)) else {
            return Ok(());
        };
        match self.delta(added, wanted) {
            Err(error) if error.is_missing() || error.is_forged() => {
                tracing::warn!(%error, "the delta of what is new is left out");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Fetches the nodes of a delta, and those of its segments that are `wanted`;
    /// gives these.
    fn delta(
        &mut self,
        root: Cid,
        wanted: impl Fn(Day, &SegmentRef) -> bool,
    ) -> Result<Vec<(Day, SegmentRef)>, ArchiveError> {
        let group = self.delta_group(&root)?;
        let mut file = self.request.store.begin(group, Reuse::SameGroup)?;
        let block = self.nodes(&[root], &mut *file)?.remove(0);
        let node = CalendarNode::read(Level::State, &block, None)?;
        let mut segments = Vec::new();
        for (year, node) in self.level(Level::Year, node.children.into_iter(), &mut *file)? {
            for (number, node) in self.level(Level::Month, node.children.into_iter(), &mut *file)? {
                let month = u8::try_from(number).expect("a decoded month is 1 to 12");
                let month = Month { year, month };
                for (number, segment) in node.children {
                    let number = u8::try_from(number).expect("a decoded day is 1 to 31");
                    let day = Day::from_date(month, number)
                        .ok_or(ArchiveError::NotAsLinked { cid: root })?;
                    if wanted(day, &segment) {
                        segments.push((day, segment));
                    }
                }
            }
        }
        for (_, segment) in &segments {
            let copied = self.segment(group, segment)?;
            self.copied.add(copied);
        }
        // The root goes last: a sweep keeps the group that holds it.
        self.commit(file, &root)?;
        Ok(segments)
    }

    /// The group that holds a delta already, else that of the head's own.
    fn delta_group(&self, root: &Cid) -> Result<Group, BlockError> {
        let store = self.request.store;
        if store.has(root)? {
            for file in store.files()? {
                let is_delta = matches!(file.group, Group::Delta(_));
                if is_delta && store.cids(&file.name)?.contains(root) {
                    return Ok(file.group);
                }
            }
        }
        Ok(Group::Delta(self.request.sequence))
    }

    /// Makes the topic indexes, which must be what the months link to. Where days
    /// are left out they are fetched instead.
    fn topics(&mut self, months: &[MonthNode]) -> Result<(), ArchiveError> {
        let store = self.request.store;
        for MonthNode { month, cid, node } in months {
            let closed: Vec<_> = node
                .children
                .iter()
                .filter(|(number, _)| node.open != Some(**number))
                .filter_map(|(number, child)| Some((u8::try_from(*number).ok()?, *child)))
                .collect();
            let first = closed
                .first()
                .and_then(|(day, _)| Day::from_date(*month, *day));
            let whole = first.is_none_or(|first| first >= self.request.from);
            let mut file = store.begin(Group::Calendar, Reuse::SameGroup)?;
            if whole {
                match (build_index(store, &closed, &mut *file)?, node.topics) {
                    (canonical, found) if canonical == found => {}
                    (Some(canonical), Some(cid)) => {
                        return Err(ArchiveError::NotCanonical { cid, canonical });
                    }
                    _ => return Err(ArchiveError::NotAsLinked { cid: *cid }),
                }
            } else {
                self.index(node, &mut *file)?;
            }
            self.commit(file, &node.topics.unwrap_or(*cid))?;
        }
        Ok(())
    }

    /// State and open deltas must hold together what the head says.
    fn totals(&self, months: &[MonthNode]) -> Result<(), ArchiveError> {
        let request = self.request;
        let mut verified = Verified::held_from(request.from);
        let open = verify::verify_open(request.store, request.sealed, &mut verified);
        if let Some(fault) = verified.faults.into_iter().next() {
            return Err(fault);
        }
        let state: Sums = months.iter().map(|month| month.node.sums()).sum();
        if open.map(|open| state.plus(open)) == Some(request.sealed.totals) {
            Ok(())
        } else {
            Err(ArchiveError::NotAsLinked { cid: request.head })
        }
    }
}
