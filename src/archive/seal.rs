//! Makes new envelopes and a watermark into the next state.
//!
//! Always true:
//! - The state is a function of all envelopes sealed so far and the watermark.
//! - An envelope sealed before is not new, whatever bucket or delta holds it.
//! - Blocks are written in files that are durable before this returns; nothing
//!   names them yet. A crash leaves files no head reaches.
//!
//! Days of another archive may be adopted as they are: their segments were
//! copied and recomputed before, and what else is new of such a day is united
//! with them.
//!
//! The steps: what is really new ([`super::fresh`]), the segments of the days
//! touched, the delta, the calendar down to them
//! ([`super::calendar_edit`]).

use std::collections::{BTreeMap, BTreeSet};

use super::ArchiveError;
use super::builder::SegmentRef;
use super::calendar::{CalendarReader, DayBucket};
use super::calendar_edit::{CalendarEdit, write_delta};
use super::fresh::{NewByDay, Pending, Sealed, keep_new};
use super::key::Key;
use super::merge::{PendingRun, ReadPending, SegmentRun, SortedRecords, unite};
use super::sums::Sums;
use super::watermark::{Day, Hour, Watermark};
use crate::blocks::{BlockStore, BlockWriter, Cid, Group, Reuse};
use crate::progress::Progress;

/// What one seal is asked to do.
pub struct SealRequest<'a, T> {
    /// Where blocks lie and go.
    pub store: &'a dyn BlockStore,
    /// What was sealed before.
    pub base: &'a Sealed,
    /// Envelopes sent before `watermark`, in any order; some may be sealed
    /// already, or stand here twice. One sent later fails the seal: it would make
    /// a head that nobody can verify.
    pub pending: Vec<Pending<T>>,
    /// Reads the RLP of one of them.
    pub read: ReadPending<'a, T>,
    /// Up to when to seal: not before the base's watermark.
    pub watermark: Watermark,
    /// Number of the head to come; names the delta's file.
    pub sequence: u64,
    /// How many deltas may stay open before they are folded into one.
    pub max_open: usize,
}

/// What a seal has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealOutcome {
    /// What is sealed now.
    pub sealed: Sealed,
    /// The delta of what is new; `None` where nothing is.
    pub added: Option<Cid>,
    /// What is new.
    pub added_sums: Sums,
    /// Files that hold nothing of the new state, unless they are kept for a
    /// grace.
    pub superseded: Vec<Group>,
    /// Bytes written, framing of the files included.
    pub written: u64,
}

/// Segments of closed days of which the base holds nothing, in the store and
/// recomputed. Several may hold the same envelope.
pub type AdoptedDays = BTreeMap<Day, Vec<SegmentRef>>;

/// Seals; see the module.
pub fn seal<T: Copy + Send + Sync>(
    request: SealRequest<'_, T>,
    progress: &dyn Progress,
) -> Result<SealOutcome, ArchiveError> {
    seal_with(request, &AdoptedDays::new(), progress)
}

/// Seals, and takes over whole days of others.
pub fn seal_with<T: Copy + Send + Sync>(
    request: SealRequest<'_, T>,
    adopted: &AdoptedDays,
    progress: &dyn Progress,
) -> Result<SealOutcome, ArchiveError> {
    assert!(
        request.watermark >= request.base.watermark,
        "BUG: a watermark never falls"
    );
    let SealRequest {
        store,
        base,
        pending,
        read,
        watermark,
        sequence,
        max_open,
    } = request;
    if let Some(early) = pending.iter().find(|p| !watermark.covers(p.key.sent)) {
        return Err(ArchiveError::NotCovered {
            key: early.key,
            watermark,
        });
    }
    let seal = Seal {
        store,
        base,
        read,
        watermark,
    };

    progress.phase("sorting", Some(pending.len() as u64), None);
    let days = keep_new(store, base, pending)?;
    let fresh = seal.fresh_days(days.keys().chain(adopted.keys()))?;
    assert!(
        adopted.keys().all(|day| fresh.contains(day)),
        "BUG: an adopted day is new as a whole"
    );
    let pending_sums: Sums = days.values().map(|new| sums_of(new)).sum();
    let adopted_sums: Sums = adopted.values().flatten().map(|segment| segment.sums).sum();
    let most = pending_sums.plus(adopted_sums);

    progress.phase("sealing", Some(most.count), Some(most.bytes));
    let mut work = Work::new(&seal, sequence)?;
    let mut added_sums = work.store_fresh_days(&fresh, &days, adopted, progress)?;
    for (day, new) in &days {
        if !fresh.contains(day) {
            work.store_new(*day, new)?;
            let sums = sums_of(new);
            added_sums = added_sums.plus(sums);
            progress.advance(sums.count, sums.bytes);
        }
    }
    let opened = work.open_deltas(&days, max_open)?;
    let added = work.write_delta()?;
    let open = opened.list(added);
    work.commit_delta(added.or_else(|| open.first().copied()))?;

    progress.phase("indexing", None, None);
    work.close_buckets(&days, &fresh)?;
    let (state, calendar_bytes) = work.edit.write(store, base.state.as_ref())?;

    Ok(SealOutcome {
        sealed: Sealed {
            watermark,
            state,
            open,
            totals: base.totals.plus(added_sums),
        },
        added,
        added_sums,
        superseded: work.superseded,
        written: work.written + calendar_bytes,
    })
}

fn sums_of<T>(records: &[Pending<T>]) -> Sums {
    records
        .iter()
        .map(|p| Sums::of_one(p.len, p.key.hash))
        .sum()
}

fn keyed<T: Copy>(records: &[Pending<T>]) -> Vec<(Key, T)> {
    records.iter().map(|p| (p.key, p.at)).collect()
}

/// What stays the same through one seal.
struct Seal<'a, T> {
    store: &'a dyn BlockStore,
    base: &'a Sealed,
    read: ReadPending<'a, T>,
    watermark: Watermark,
}

impl<T: Copy + Send + Sync> Seal<'_, T> {
    fn calendar(&self) -> Result<CalendarReader<'_>, ArchiveError> {
        CalendarReader::new(self.store, self.base.state.as_ref())
    }

    /// The hour that was open at the base, whose envelopes lie in deltas.
    fn base_open_hour(&self) -> Hour {
        self.base.watermark.open_hour()
    }

    fn open_segments(&self, day: Day) -> Result<Vec<SegmentRef>, ArchiveError> {
        self.base.open_segments(self.store, day)
    }

    /// Closed days of which nothing was sealed before: what is new is all there
    /// is, so their segment serves the state and the delta alike.
    fn fresh_days<'d>(
        &self,
        days: impl Iterator<Item = &'d Day>,
    ) -> Result<BTreeSet<Day>, ArchiveError> {
        let mut calendar = self.calendar()?;
        let mut fresh = BTreeSet::new();
        for day in days.filter(|day| self.watermark.closes_day(**day)) {
            if calendar.day(*day)?.is_none() && self.open_segments(*day)?.is_empty() {
                fresh.insert(*day);
            }
        }
        Ok(fresh)
    }
}

impl<T: Copy + Send + Sync> Seal<'_, T> {
    /// Unites what is new of a fresh day with what of it was adopted; gives the
    /// bytes written too.
    fn store_fresh_day(
        &self,
        day: Day,
        new: &[(Key, T)],
        adopted: &[SegmentRef],
    ) -> Result<(SegmentRef, u64), ArchiveError> {
        let reuse = if adopted.is_empty() {
            Reuse::Nothing
        } else {
            Reuse::SameGroup
        };
        let mut file = self.store.begin(Group::Day(day.0), reuse)?;
        let mut runs: Vec<Box<dyn SortedRecords>> = vec![Box::new(PendingRun::new(new, self.read))];
        for segment in adopted {
            runs.push(Box::new(SegmentRun::new(self.store, *segment)));
        }
        let segment = unite(&mut runs, &mut *file)?.expect("a fresh day has records");
        let written = file.commit(&segment.cid)?.map_or(0, |file| file.bytes);
        Ok((segment, written))
    }
}

/// What grows during one seal.
struct Work<'a, T> {
    seal: &'a Seal<'a, T>,
    /// Until it is committed.
    delta_file: Option<Box<dyn BlockWriter + 'a>>,
    /// Days of the delta.
    delta: BTreeMap<Day, SegmentRef>,
    edit: CalendarEdit,
    superseded: Vec<Group>,
    written: u64,
}

/// The deltas that stay open.
struct OpenDeltas {
    before: Vec<Cid>,
    /// Whether the new delta holds envelopes of the open hour.
    with_added: bool,
}

impl OpenDeltas {
    fn list(self, added: Option<Cid>) -> Vec<Cid> {
        let added = added.filter(|_| self.with_added);
        self.before.into_iter().chain(added).collect()
    }
}

impl<'a, T: Copy + Send + Sync> Work<'a, T> {
    fn new(seal: &'a Seal<'a, T>, sequence: u64) -> Result<Self, ArchiveError> {
        Ok(Self {
            seal,
            delta_file: Some(seal.store.begin(Group::Delta(sequence), Reuse::Nothing)?),
            delta: BTreeMap::new(),
            edit: CalendarEdit::default(),
            superseded: Vec::new(),
            written: 0,
        })
    }

    /// Stores fresh days, each in its file, on all cores; gives what they hold. A
    /// day adopted from one archive alone is stored already.
    fn store_fresh_days(
        &mut self,
        fresh: &BTreeSet<Day>,
        days: &NewByDay<T>,
        adopted: &AdoptedDays,
        progress: &dyn Progress,
    ) -> Result<Sums, ArchiveError> {
        let seal = self.seal;
        let todo: Vec<Day> = fresh.iter().copied().collect();
        let done = super::parallel::map(&todo, |day| {
            let new = days.get(day).map(|new| keyed(new)).unwrap_or_default();
            let adopted = adopted.get(day).map(Vec::as_slice).unwrap_or_default();
            let (segment, written) = match (adopted, new.as_slice()) {
                ([segment], []) => (*segment, 0),
                _ => seal.store_fresh_day(*day, &new, adopted)?,
            };
            progress.advance(segment.sums.count, segment.sums.bytes);
            Ok::<_, ArchiveError>((*day, segment, written))
        })?;
        let mut sums = Sums::default();
        for (day, segment, written) in done {
            self.delta.insert(day, segment);
            self.edit.close_day(day, segment);
            self.written += written;
            sums = sums.plus(segment.sums);
        }
        Ok(sums)
    }

    /// Stores what is new of one day in the delta's file.
    fn store_new(&mut self, day: Day, new: &[Pending<T>]) -> Result<(), ArchiveError> {
        let keys = keyed(new);
        let mut runs: Vec<Box<dyn SortedRecords>> =
            vec![Box::new(PendingRun::new(&keys, self.seal.read))];
        if let Some(segment) = unite(&mut runs, self.delta_file())? {
            self.delta.insert(day, segment);
        }
        Ok(())
    }

    /// Which deltas hold the hour that is open now; folds them into one where
    /// they have become too many.
    fn open_deltas(
        &mut self,
        days: &NewByDay<T>,
        max_open: usize,
    ) -> Result<OpenDeltas, ArchiveError> {
        let hour = self.seal.watermark.open_hour();
        let base = self.seal.base;
        let before = if self.seal.base_open_hour() == hour {
            base.open.clone()
        } else {
            Vec::new()
        };
        let new: Vec<_> = days
            .get(&hour.day())
            .into_iter()
            .flatten()
            .filter(|p| Hour::of(p.key.sent) == hour)
            .copied()
            .collect();
        if before.len() + usize::from(!new.is_empty()) <= max_open {
            return Ok(OpenDeltas {
                before,
                with_added: !new.is_empty(),
            });
        }
        let keys = keyed(&new);
        let mut runs: Vec<Box<dyn SortedRecords>> =
            vec![Box::new(PendingRun::new(&keys, self.seal.read))];
        for segment in self.seal.open_segments(hour.day())? {
            runs.push(Box::new(
                SegmentRun::new(self.seal.store, segment).sent_in(hour.range()),
            ));
        }
        // The open deltas of a head that was forked may hold nothing of the hour.
        let Some(segment) = unite(&mut runs, self.delta_file())? else {
            return Ok(OpenDeltas {
                before: Vec::new(),
                with_added: false,
            });
        };
        let folded = [(hour.day(), segment)].into();
        let folded = write_delta(&folded, self.delta_file())?.expect("one day is not none");
        Ok(OpenDeltas {
            before: vec![folded],
            with_added: false,
        })
    }

    fn write_delta(&mut self) -> Result<Option<Cid>, ArchiveError> {
        let delta = std::mem::take(&mut self.delta);
        let root = write_delta(&delta, self.delta_file());
        self.delta = delta;
        root
    }

    fn delta_file(&mut self) -> &mut (dyn BlockWriter + 'a) {
        &mut **self
            .delta_file
            .as_mut()
            .expect("the delta is committed once all is in it")
    }

    fn commit_delta(&mut self, root: Option<Cid>) -> Result<(), ArchiveError> {
        let file = self.delta_file.take();
        if let (Some(root), Some(file)) = (root, file) {
            self.written += file.commit(&root)?.map_or(0, |file| file.bytes);
        }
        Ok(())
    }

    /// Brings every touched bucket that is closed up to date.
    fn close_buckets(
        &mut self,
        days: &NewByDay<T>,
        fresh: &BTreeSet<Day>,
    ) -> Result<(), ArchiveError> {
        let was_open = self.seal.base_open_hour().day();
        let mut touched: BTreeSet<Day> = days.keys().copied().collect();
        touched.insert(was_open);
        let mut calendar = self.seal.calendar()?;
        for day in touched.difference(fresh) {
            let before = calendar.day(*day)?;
            if self.seal.watermark.closes_day(*day) {
                self.close_day(*day, before.as_ref())?;
            } else {
                self.close_hours(*day, before)?;
            }
        }
        Ok(())
    }

    fn close_day(&mut self, day: Day, before: Option<&DayBucket>) -> Result<(), ArchiveError> {
        let store = self.seal.store;
        let mut runs: Vec<Box<dyn SortedRecords>> = Vec::new();
        let unchanged = matches!(before, Some(DayBucket::Closed(_)));
        match before {
            Some(DayBucket::Closed(segment)) => {
                runs.push(Box::new(SegmentRun::new(store, *segment).in_place()));
            }
            Some(DayBucket::Open(hours)) => {
                for (hour, segment) in hours {
                    runs.push(Box::new(SegmentRun::new(store, *segment)));
                    self.superseded.push(Group::Hour(hour.0));
                }
            }
            None => {}
        }
        let open_hour = self.seal.base_open_hour().range();
        for segment in self.seal.open_segments(day)? {
            runs.push(Box::new(SegmentRun::new(store, segment).sent_in(open_hour)));
        }
        match self.delta.get(&day) {
            Some(new) => runs.push(Box::new(SegmentRun::new(store, *new))),
            None if unchanged || runs.is_empty() => return Ok(()),
            None => {}
        }
        if let Some(segment) = self.write(Group::Day(day.0), &mut runs)? {
            self.edit.close_day(day, segment);
        }
        Ok(())
    }

    fn close_hours(&mut self, day: Day, before: Option<DayBucket>) -> Result<(), ArchiveError> {
        let store = self.seal.store;
        let mut hours = match before {
            Some(DayBucket::Open(hours)) => hours,
            _ => BTreeMap::new(),
        };
        let was_open = self.seal.base_open_hour();
        let carried = self.seal.open_segments(day)?;
        let new = self.delta.get(&day).copied();
        for hour in day
            .hours()
            .filter(|hour| self.seal.watermark.closes_hour(*hour))
        {
            let mut runs: Vec<Box<dyn SortedRecords>> = Vec::new();
            if hour == was_open {
                for segment in &carried {
                    runs.push(Box::new(
                        SegmentRun::new(store, *segment).sent_in(hour.range()),
                    ));
                }
            }
            if let Some(new) = new {
                runs.push(Box::new(SegmentRun::new(store, new).sent_in(hour.range())));
            }
            // Most hours get nothing new; they stay as they are.
            let mut comes = false;
            for run in &mut runs {
                comes |= run.peek()?.is_some();
            }
            if !comes {
                continue;
            }
            if let Some(segment) = hours.get(&hour) {
                runs.push(Box::new(SegmentRun::new(store, *segment).in_place()));
            }
            if let Some(segment) = self.write(Group::Hour(hour.0), &mut runs)? {
                hours.insert(hour, segment);
                self.edit.set_open_day(day, hours.clone());
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        group: Group,
        runs: &mut [Box<dyn SortedRecords + '_>],
    ) -> Result<Option<SegmentRef>, ArchiveError> {
        let mut file = self.seal.store.begin(group, Reuse::SameGroup)?;
        let segment = unite(runs, &mut *file)?;
        if let Some(segment) = segment {
            self.written += file.commit(&segment.cid)?.map_or(0, |file| file.bytes);
        }
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::head::MAX_OPEN;
    use crate::archive::testing::record;
    use crate::blocks::MemoryStore;
    use crate::progress::Quiet;
    use crate::time::UnixSeconds;

    #[test]
    fn what_was_sent_at_the_watermark_or_later_is_not_sealed() {
        let store = MemoryStore::new();
        let records = [record(1, 599, 9), record(1, 600, 9)];
        let sealed = |count: usize| {
            let pending = records[..count].iter().enumerate();
            let pending = pending.map(|(at, record)| Pending {
                key: record.key,
                len: record.bytes.len(),
                at,
            });
            let request = SealRequest {
                store: &store,
                base: &Sealed::default(),
                pending: pending.collect(),
                read: &|at: usize| Ok(records[at].bytes.clone()),
                watermark: Watermark::at_or_before(UnixSeconds(600)),
                sequence: 1,
                max_open: MAX_OPEN,
            };
            seal(request, &Quiet)
        };
        assert!(matches!(
            sealed(2),
            Err(ArchiveError::NotCovered { key, .. }) if key == records[1].key
        ));
        assert!(store.files().unwrap().is_empty());
        assert_eq!(sealed(1).unwrap().added_sums.count, 1);
    }
}
