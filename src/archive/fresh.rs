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
    if days.is_empty() {
        return Ok(days);
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

/// As [`keep_new`], where what cannot be read is no reason to turn anybody away:
/// of a day whose blocks are not to be had now, all of `pending` is kept, each
/// once. Some of it may be sealed already; a seal finds that out.
pub fn keep_all_but_known<T: Copy>(
    source: &dyn BlockSource,
    base: &Sealed,
    pending: Vec<Pending<T>>,
) -> Result<NewByDay<T>, ArchiveError> {
    match keep_new(source, base, pending.clone()) {
        Err(error) if error.is_unavailable() => {}
        other => return other,
    }
    let mut days: NewByDay<T> = BTreeMap::new();
    for record in pending {
        let of_day = days.entry(Day::of(record.key.sent)).or_default();
        of_day.push(record);
    }
    for (day, records) in &mut days {
        *records = match keep_new(source, base, records.clone()) {
            Ok(mut new) => new.remove(day).unwrap_or_default(),
            Err(error) if error.is_unavailable() => {
                tracing::warn!(%day, %error, "whether envelopes are new cannot be told now");
                records.sort_by_key(|record| record.key);
                records.dedup_by_key(|record| record.key);
                std::mem::take(records)
            }
            Err(error) => return Err(error),
        };
    }
    days.retain(|_, records| !records.is_empty());
    Ok(days)
}
