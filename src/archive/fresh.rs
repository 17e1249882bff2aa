//! Tells what is new from what is sealed already.
//!
//! Always true: an envelope that any bucket or open delta of the base holds is
//! dropped, and no other; of several equal ones the first stays.

use std::collections::BTreeMap;

use super::ArchiveError;
use super::builder::SegmentRef;
use super::calendar::CalendarReader;
use super::key::Key;
use super::merge::drop_known;
use super::sums::Sums;
use super::watermark::{Day, Watermark};
use crate::blocks::{BlockSource, Cid};

/// What has been sealed so far, as a head says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Up to when.
    pub watermark: Watermark,
    /// Root of the calendar.
    pub state: Option<Cid>,
    /// Deltas holding the envelopes of the hour still open.
    pub open: Vec<Cid>,
    /// Everything sealed.
    pub totals: Sums,
}

/// An envelope waiting to be sealed.
#[derive(Clone, Copy, Debug)]
pub struct Pending<T> {
    /// Its key.
    pub key: Key,
    /// Length of its RLP in bytes.
    pub len: usize,
    /// How to read it back.
    pub at: T,
}

impl Sealed {
    /// Segments of the open deltas that hold a day's envelopes of the hour that
    /// is open; they may hold some of the hours before it too.
    pub fn open_segments(
        &self,
        source: &dyn BlockSource,
        day: Day,
    ) -> Result<Vec<SegmentRef>, ArchiveError> {
        let mut segments = Vec::new();
        if self.watermark.open_hour().day() == day {
            for delta in &self.open {
                let bucket = CalendarReader::new(source, Some(delta))?.day(day)?;
                segments.extend(bucket.into_iter().flat_map(|b| b.segments()));
            }
        }
        Ok(segments)
    }
}

/// New envelopes by day, each day's sorted by key.
pub type NewByDay<T> = BTreeMap<Day, Vec<Pending<T>>>;

/// Sorts `pending` by day and key, and drops what `base` holds or stands twice.
pub fn keep_new<T: Copy>(
    source: &dyn BlockSource,
    base: &Sealed,
    pending: Vec<Pending<T>>,
) -> Result<NewByDay<T>, ArchiveError> {
    let mut days: NewByDay<T> = BTreeMap::new();
    for record in pending {
        days.entry(Day::of(record.key.sent))
            .or_default()
            .push(record);
    }
    let mut calendar = CalendarReader::new(source, base.state.as_ref())?;
    for (day, records) in &mut days {
        records.sort_by_key(|record| record.key);
        records.dedup_by_key(|record| record.key);
        let mut segments = calendar
            .day(*day)?
            .map(|bucket| bucket.segments())
            .unwrap_or_default();
        segments.extend(base.open_segments(source, *day)?);
        if segments.is_empty() {
            continue;
        }
        let mut keys: Vec<_> = records.iter().map(|p| (p.key, *p)).collect();
        for segment in segments {
            drop_known(source, segment, &mut keys)?;
        }
        *records = keys.into_iter().map(|(_, pending)| pending).collect();
    }
    days.retain(|_, records| !records.is_empty());
    Ok(days)
}
