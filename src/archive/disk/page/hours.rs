//! How much was sent in each hour.
//!
//! Always true:
//! - What is counted is what pages give: sealed and waiting, each envelope once.
//! - No envelope is read: times tell when each was sent, and how long it is.
//! - Nothing is fetched of whoever else has the history: where neither a segment's
//!   times nor its blocks are on this disk, the answer says of which time nothing is
//!   known.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::part::{Kind, Part, chunk_of, entry_in};
use super::{PageError, Stop, TRIES};
use crate::archive::ArchiveError;
use crate::archive::builder::SegmentRef;
use crate::archive::disk::{Archive, DiskError, retention, sealed_by};
use crate::archive::plan::BucketPlan;
use crate::archive::times::Entry;
use crate::archive::watermark::Hour;
use crate::blocks::{BlockError, BlockSource};
use crate::time::TimeRange;

/// Weight of an hour that is remembered of a segment, in bytes.
const HOUR_WEIGHT: usize = 32;

/// Bytes of hours remembered: those of some 1,300 days. Segments never change, so
/// that an operator's page that asks every minute costs the open day alone.
pub(super) const KEPT_HOURS: usize = 1 << 20;

/// What was sent in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Envelopes.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, len: u64) {
        self.count += 1;
        self.bytes += len;
    }
}

/// Hours with any envelope, in order of time.
pub(super) type Hours = BTreeMap<Hour, Tally>;

/// What was sent in each hour of a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoursOf {
    /// Hours with any envelope, in order of time.
    pub tallies: BTreeMap<Hour, Tally>,
    /// Of which times nothing is known, because what was sent then is not on this disk.
    pub unknown: Vec<TimeRange>,
    /// Buckets that had to be read for it: the others were remembered.
    pub read: u64,
}

impl Archive {
    /// What was sent in each hour that `range` touches, as far as it is kept; hours
    /// without an envelope are left out. Fails soon once `stop` is given.
    pub fn hours(&self, range: TimeRange, stop: &Stop) -> Result<HoursOf, DiskError> {
        loop {
            let kept_from = self.kept_from();
            let Some(range) = retention::kept(range, kept_from) else {
                return Ok(HoursOf::default());
            };
            let hours = hours(self, range, stop);
            let lacks = match &hours {
                Ok(hours) => !hours.unknown.is_empty(),
                Err(error) => error.is_missing(),
            };
            // It was dropped while it was read.
            if !lacks || self.kept_from() == kept_from {
                return hours;
            }
        }
    }
}

fn hours(archive: &Archive, range: TimeRange, stop: &Stop) -> Result<HoursOf, DiskError> {
    let mut last = None;
    for tried in 1..=TRIES {
        let head = archive.head_cid();
        match try_hours(archive, range, stop) {
            Ok(hours)
                if !hours.unknown.is_empty() && archive.head_cid() != head && tried < TRIES => {}
            Ok(hours) => return Ok(hours),
            Err(PageError::Stopped) => return Err(DiskError::Stopped),
            Err(PageError::Stale(cid)) => {
                archive.pages.times.forget(&cid);
                last = Some(ArchiveError::NotAsLinked { cid });
            }
            // What was read is gone, since a seal made another of it.
            Err(PageError::Archive(error)) if error.is_missing() && archive.head_cid() != head => {
                last = Some(error);
            }
            Err(PageError::Archive(error)) => return Err(error.into()),
        }
    }
    Err(last.expect("at least one try was made").into())
}

fn try_hours(archive: &Archive, range: TimeRange, stop: &Stop) -> Result<HoursOf, PageError> {
    let range = whole_hours(range);
    let mut told = HoursOf::default();
    let hours = &mut told.tallies;
    // Head and waiting are read under one lock, as by pages.
    let (head, sealed) = {
        let state = archive.read_state();
        for pending in state.waiting.all() {
            if range.contains(pending.key.sent) {
                let hour = hours.entry(Hour::of(pending.key.sent)).or_default();
                hour.add(pending.len as u64);
            }
        }
        let head = state.head.as_ref();
        let sealed = head.map(sealed_by).unwrap_or_default();
        (head.map(|head| *head.cid()), sealed)
    };
    let held = archive.blocks.held();
    let layout = archive.pages.layout_within(&held, head, &sealed, range)?;
    let first = layout.partition_point(|bucket| bucket.range.to() < range.from());
    for plan in &layout[first..] {
        if plan.range.from() > range.to() {
            break;
        }
        stop.check()?;
        let of_bucket = match bucket(archive, plan, stop, &mut told.read) {
            Err(PageError::Archive(error)) if error.is_missing() => {
                told.unknown.extend(plan.range.intersect(range));
                continue;
            }
            other => other?,
        };
        for (hour, tally) in &*of_bucket {
            if range.contains(hour.range().from()) {
                let sum = hours.entry(*hour).or_default();
                sum.count += tally.count;
                sum.bytes += tally.bytes;
            }
        }
    }
    Ok(told)
}

/// The hours of a bucket; `read` counts those that were not remembered.
fn bucket(
    archive: &Archive,
    plan: &BucketPlan,
    stop: &Stop,
    read: &mut u64,
) -> Result<Arc<Hours>, PageError> {
    if let [segment] = &plan.segments[..]
        && plan.range == plan.bounds
    {
        let kept = &archive.pages.hours;
        if let Some(hours) = kept.get(&segment.cid) {
            return Ok(hours);
        }
        *read += 1;
        let mut hours = Hours::new();
        each_entry(archive, plan, *segment, stop, |entry| {
            let hour = hours.entry(Hour::of(entry.sent)).or_default();
            hour.add(u64::from(entry.len));
        })?;
        let hours = Arc::new(hours);
        let weight = hours.len() * HOUR_WEIGHT;
        kept.insert(segment.cid, Arc::clone(&hours), weight);
        return Ok(hours);
    }
    // Deltas of the open hour hold more than it, and may hold the same.
    *read += 1;
    let mut hours = Hours::new();
    let mut seen = HashSet::new();
    for segment in &plan.segments {
        each_entry(archive, plan, *segment, stop, |entry| {
            if plan.range.contains(entry.sent) && seen.insert(entry.hash) {
                let hour = hours.entry(Hour::of(entry.sent)).or_default();
                hour.add(u64::from(entry.len));
            }
        })?;
    }
    Ok(Arc::new(hours))
}

fn each_entry(
    archive: &Archive,
    plan: &BucketPlan,
    segment: SegmentRef,
    stop: &Stop,
    mut each: impl FnMut(Entry),
) -> Result<(), PageError> {
    let times = &archive.pages.times;
    if !times.is_filed(&segment.cid) {
        let is_here = archive.blocks.here().has(&segment.cid);
        if !is_here.map_err(ArchiveError::from)? {
            let cid = segment.cid;
            return Err(ArchiveError::from(BlockError::Missing { cid }).into());
        }
    }
    for part in &*times.of(&archive.blocks, segment, plan.bounds, stop)? {
        entries(archive, part, &mut each, stop)?;
    }
    Ok(())
}

fn entries(
    archive: &Archive,
    part: &Part,
    each: &mut impl FnMut(Entry),
    stop: &Stop,
) -> Result<(), PageError> {
    let stale = || PageError::Stale(part.segment());
    let count = part.directory.count();
    let mut at = 0;
    while at < count {
        stop.check()?;
        let (chunk, _) = chunk_of(Kind::Entries, at);
        let bytes = archive.pages.times.chunk(part, Kind::Entries, chunk)?;
        while at < count && chunk_of(Kind::Entries, at).0 == chunk {
            let (_, within) = chunk_of(Kind::Entries, at);
            each(entry_in(&bytes, within).ok_or_else(stale)?);
            at += 1;
        }
    }
    Ok(())
}

/// The hours that a range touches, whole.
fn whole_hours(range: TimeRange) -> TimeRange {
    let from = Hour::of(range.from()).range().from();
    let to = Hour::of(range.to()).range().to();
    TimeRange::new(from, to).unwrap_or(range)
}
