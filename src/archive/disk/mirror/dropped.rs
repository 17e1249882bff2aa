//! Which envelopes of a head are gone from a later one.
//!
//! Always true:
//! - Envelopes are compared one by one. Sums are the word of the signer, who is
//!   not believed here: only equal links are taken for equal days.
//! - Memory holds one leaf of each segment of a day, whatever the day's size.
//! - What this disk has lost of the head before is asked of the source.

use std::collections::BTreeSet;

use crate::archive::ArchiveError;
use crate::archive::builder::SegmentRef;
use crate::archive::calendar::CalendarReader;
use crate::archive::follow::PROOF_KEYS;
use crate::archive::fresh::Sealed;
use crate::archive::key::Key;
use crate::archive::merge::{SegmentRun, SortedRecords};
use crate::archive::watermark::Day;
use crate::blocks::{Block, BlockError, BlockSource, Cid};

/// How many envelopes one state has and another lacks, and the first of them.
/// Days before `from` are not looked into.
pub(super) fn dropped(
    blocks: &dyn BlockSource,
    before: &Sealed,
    after: &Sealed,
    from: Day,
) -> Result<(u64, Vec<Key>), ArchiveError> {
    let (mut count, mut some) = (0u64, Vec::new());
    let mut calendar = CalendarReader::new(blocks, before.state.as_ref())?;
    let mut days: BTreeSet<Day> = BTreeSet::new();
    calendar.for_each_day(|day, _| {
        days.insert(day);
        Ok::<_, ArchiveError>(())
    })?;
    days.insert(before.watermark.open_hour().day());
    let mut later = CalendarReader::new(blocks, after.state.as_ref())?;
    for day in days.into_iter().filter(|day| *day >= from) {
        let is_open = before.watermark.open_hour().day() == day;
        let (old, new) = (calendar.day(day)?, later.day(day)?);
        if old == new && !is_open {
            continue;
        }
        let closed = old.map(|bucket| bucket.segments()).unwrap_or_default();
        let mut old = Keys::new(blocks, before, day, closed)?;
        let closed = new.map(|bucket| bucket.segments()).unwrap_or_default();
        let mut new = Keys::new(blocks, after, day, closed)?;
        let mut held = new.next()?;
        while let Some(key) = old.next()? {
            while held.is_some_and(|held| held < key) {
                held = new.next()?;
            }
            if held != Some(key) {
                count += 1;
                if some.len() < PROOF_KEYS {
                    some.push(key);
                }
            }
        }
    }
    Ok((count, some))
}

/// The keys of all that a state holds of a day, in order, each once.
struct Keys<'s>(Vec<SegmentRun<'s>>);

impl<'s> Keys<'s> {
    /// Those of the segments `closed`, and of the open hour where it is the day's.
    fn new(
        blocks: &'s dyn BlockSource,
        sealed: &Sealed,
        day: Day,
        closed: Vec<SegmentRef>,
    ) -> Result<Self, ArchiveError> {
        let closed = closed.into_iter();
        let mut runs: Vec<_> = closed.map(|s| SegmentRun::new(blocks, s)).collect();
        let hour = sealed.watermark.open_hour().range();
        let open = sealed.open_segments(blocks, day)?.into_iter();
        runs.extend(open.map(|s| SegmentRun::new(blocks, s).sent_in(hour)));
        Ok(Self(runs))
    }

    fn next(&mut self) -> Result<Option<Key>, ArchiveError> {
        let mut least: Option<Key> = None;
        for run in &mut self.0 {
            least = least.into_iter().chain(run.peek()?).min();
        }
        if let Some(least) = least {
            for run in &mut self.0 {
                while run.peek()? == Some(least) {
                    run.take()?;
                }
            }
        }
        Ok(least)
    }
}

/// What this disk holds, and of another what it has lost.
pub(super) struct OwnOr<'s> {
    /// This disk.
    pub own: &'s dyn BlockSource,
    /// The other; trusted with nothing.
    pub source: &'s dyn BlockSource,
}

impl BlockSource for OwnOr<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.own.get(cid) {
            Err(error) if error.is_missing() || error.is_corrupt() => {
                Block::verify(cid, self.source.get(cid)?.into_bytes())
            }
            other => other,
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.own.has(cid)? || self.source.has(cid)?)
    }
}
