//! Unites sorted runs of records into one segment.
//!
//! Always true: the segment that comes out is the canonical one of the union,
//! whatever the runs; a record that several runs hold comes out once.
//!
//! Leaves that the union leaves untouched are taken over without being read.

use bytes::Bytes;

use super::ArchiveError;
use super::builder::{BlockSink, SegmentBuilder, SegmentRef};
use super::key::Key;
use super::leaf::Record;
use super::pack::LeafEntry;
use super::walk::{LeafWalk, decode_leaf_as};
use crate::blocks::{Block, BlockSource};
use crate::time::TimeRange;

/// A sorted run of records.
pub trait SortedRecords {
    /// Key of the next record, without taking it.
    fn peek(&mut self) -> Result<Option<Key>, ArchiveError>;

    /// Takes the next record.
    fn take(&mut self) -> Result<Option<Record>, ArchiveError>;

    /// Where a whole leaf of an existing segment comes next: the leaf, and the
    /// key that follows it.
    fn whole_leaf(&mut self) -> Option<(&LeafEntry, Option<Key>)> {
        None
    }

    /// Takes that leaf; its block comes along where the new segment's file does
    /// not hold it yet.
    fn take_leaf(&mut self) -> Result<Option<(LeafEntry, Option<Block>)>, ArchiveError> {
        Ok(None)
    }

    /// The leaf that the last [`Self::take`] had to read, once.
    fn leaf_just_read(&mut self) -> Option<Block> {
        None
    }
}

/// Unites `runs` into a segment whose blocks go to `sink`.
pub fn unite<S: BlockSink + ?Sized>(
    runs: &mut [Box<dyn SortedRecords + '_>],
    sink: &mut S,
) -> Result<Option<SegmentRef>, ArchiveError> {
    let mut builder = SegmentBuilder::new(sink);
    let mut heads = Vec::with_capacity(runs.len());
    for run in runs.iter_mut() {
        heads.push(run.peek()?);
    }
    while let Some((next, key)) = smallest(&heads, None) {
        if builder.at_cut()
            && let Some((_, follows)) = runs[next].whole_leaf()
        {
            let others = smallest(&heads, Some(next)).map(|(_, key)| key);
            // A leaf ends where it ends because of its own last record or of
            // the one that follows; both must be what they were.
            let untouched = match (follows, others) {
                (Some(follows), Some(others)) => follows <= others,
                (_, others) => others.is_none(),
            };
            if untouched && let Some((entry, block)) = runs[next].take_leaf()? {
                builder.push_leaf(entry, block.as_ref())?;
                heads[next] = runs[next].peek()?;
                continue;
            }
        }
        if let Some(record) = runs[next].take()? {
            if let Some(leaf) = runs[next].leaf_just_read() {
                builder.expect_leaf(leaf);
            }
            builder.push(&record)?;
        }
        heads[next] = runs[next].peek()?;
        // The same envelope in other runs has been counted.
        for other in 0..runs.len() {
            while heads[other] == Some(key) {
                runs[other].take()?;
                heads[other] = runs[other].peek()?;
            }
        }
    }
    Ok(builder.finish()?)
}

fn smallest(heads: &[Option<Key>], except: Option<usize>) -> Option<(usize, Key)> {
    let others = heads
        .iter()
        .enumerate()
        .filter(|(at, _)| Some(*at) != except);
    others
        .filter_map(|(at, key)| key.map(|key| (at, key)))
        .min_by_key(|(_, key)| *key)
}

/// Reads the bytes of a record that waits outside any block.
pub type ReadPending<'r, T> = &'r (dyn Fn(T) -> Result<Bytes, ArchiveError> + Sync);

/// Records known by key whose bytes are read when their turn comes.
pub struct PendingRun<'r, T> {
    /// Sorted strictly by key.
    pending: std::slice::Iter<'r, (Key, T)>,
    read: ReadPending<'r, T>,
}

impl<'r, T: Copy> PendingRun<'r, T> {
    /// A run over `pending`, sorted strictly by key.
    pub fn new(pending: &'r [(Key, T)], read: ReadPending<'r, T>) -> Self {
        Self {
            pending: pending.iter(),
            read,
        }
    }
}

impl<T: Copy> SortedRecords for PendingRun<'_, T> {
    fn peek(&mut self) -> Result<Option<Key>, ArchiveError> {
        Ok(self.pending.as_slice().first().map(|(key, _)| *key))
    }

    fn take(&mut self) -> Result<Option<Record>, ArchiveError> {
        let Some((key, at)) = self.pending.next() else {
            return Ok(None);
        };
        Ok(Some(Record {
            key: *key,
            bytes: (self.read)(*at)?,
        }))
    }
}

/// The records of a segment, or those of them sent in a range.
pub struct SegmentRun<'s> {
    source: &'s dyn BlockSource,
    walk: std::iter::Peekable<LeafWalk<'s>>,
    entry: Option<LeafEntry>,
    records: std::vec::IntoIter<Record>,
    just_read: Option<Block>,
    range: TimeRange,
    /// Whether the file being written already holds this segment's leaves.
    in_place: bool,
}

impl<'s> SegmentRun<'s> {
    /// All records of a segment.
    pub fn new(source: &'s dyn BlockSource, segment: SegmentRef) -> Self {
        Self {
            source,
            walk: LeafWalk::new(source, segment).peekable(),
            entry: None,
            records: Vec::new().into_iter(),
            just_read: None,
            range: TimeRange::ALL,
            in_place: false,
        }
    }

    /// Says that untouched leaves need not be handed on, because the file
    /// being written belongs to the group that holds them.
    #[must_use]
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Only the records sent in `range`.
    #[must_use]
    pub fn sent_in(mut self, range: TimeRange) -> Self {
        self.range = range;
        self
    }

    fn load(&mut self, entry: &LeafEntry) -> Result<(), ArchiveError> {
        let block = self.source.get(&entry.cid)?;
        let mut records = decode_leaf_as(&block, entry)?;
        // Leaves overlap in no honest segment; what follows relies on it.
        if let (Some(last), Some(Ok(next))) = (records.last(), self.walk.peek())
            && last.key >= next.first
        {
            return Err(ArchiveError::NotAsLinked { cid: entry.cid });
        }
        if self.range == TimeRange::ALL {
            self.just_read = Some(block);
        } else {
            records.retain(|record| self.range.contains(record.key.sent));
        }
        self.records = records.into_iter();
        Ok(())
    }

    /// Makes the next leaf the current entry, unless records are at hand.
    fn advance(&mut self) -> Result<(), ArchiveError> {
        while self.records.as_slice().is_empty() && self.entry.is_none() {
            let Some(entry) = self.walk.next().transpose()? else {
                return Ok(());
            };
            if self.range == TimeRange::ALL {
                self.entry = Some(entry);
            } else if entry
                .runs
                .iter()
                .any(|run| run.first <= self.range.to() && self.range.from() <= run.last)
            {
                self.load(&entry)?;
            }
        }
        Ok(())
    }
}

impl SortedRecords for SegmentRun<'_> {
    fn peek(&mut self) -> Result<Option<Key>, ArchiveError> {
        self.advance()?;
        Ok(match self.records.as_slice().first() {
            Some(record) => Some(record.key),
            None => self.entry.as_ref().map(|entry| entry.first),
        })
    }

    fn take(&mut self) -> Result<Option<Record>, ArchiveError> {
        self.advance()?;
        if self.records.as_slice().is_empty()
            && let Some(entry) = self.entry.take()
        {
            self.load(&entry)?;
        }
        Ok(self.records.next())
    }

    fn whole_leaf(&mut self) -> Option<(&LeafEntry, Option<Key>)> {
        if !self.records.as_slice().is_empty() {
            return None;
        }
        let follows = match self.walk.peek() {
            None => None,
            Some(Ok(entry)) => Some(entry.first),
            // The walk's error comes out where the leaf after is taken.
            Some(Err(_)) => return None,
        };
        self.entry.as_ref().map(|entry| (entry, follows))
    }

    fn take_leaf(&mut self) -> Result<Option<(LeafEntry, Option<Block>)>, ArchiveError> {
        let Some(entry) = self.entry.take() else {
            return Ok(None);
        };
        let block = if self.in_place {
            None
        } else {
            Some(self.source.get(&entry.cid)?)
        };
        Ok(Some((entry, block)))
    }

    fn leaf_just_read(&mut self) -> Option<Block> {
        self.just_read.take()
    }
}

/// Drops from `keys`, sorted, those whose record `segment` holds. Only leaves
/// whose topic runs allow a match are read.
pub fn drop_known<T>(
    source: &dyn BlockSource,
    segment: SegmentRef,
    keys: &mut Vec<(Key, T)>,
) -> Result<(), ArchiveError> {
    let mut known = vec![false; keys.len()];
    let mut at = 0;
    let mut walk = LeafWalk::new(source, segment).peekable();
    while let Some(entry) = walk.next().transpose()? {
        let until = match walk.peek() {
            Some(Ok(next)) => keys.partition_point(|(key, _)| *key < next.first),
            Some(Err(_)) => at,
            None => keys.len(),
        };
        let candidates = at..until.max(at);
        at = candidates.end;
        let possible = |key: &Key| {
            entry
                .run_of(key.topic)
                .is_some_and(|r| r.first <= key.sent && key.sent <= r.last)
        };
        if !keys[candidates.clone()]
            .iter()
            .any(|(key, _)| possible(key))
        {
            continue;
        }
        let records = decode_leaf_as(&source.get(&entry.cid)?, &entry)?;
        for at in candidates {
            known[at] = records
                .binary_search_by_key(&keys[at].0, |record| record.key)
                .is_ok();
        }
    }
    let mut known = known.into_iter();
    keys.retain(|_| !known.next().unwrap_or(false));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::archive::builder::Discard;
    use crate::archive::testing::{store_segment, traffic};
    use crate::blocks::MemoryStore;
    use crate::blocks::{BlockStore, Group, Reuse};

    fn store(records: &[Record], blocks: &MemoryStore) -> Option<SegmentRef> {
        store_segment(records, blocks, Group::Day(0)).unwrap()
    }

    fn sorted(mut records: Vec<Record>) -> Vec<Record> {
        records.sort_by_key(|r| r.key);
        records.dedup_by_key(|r| r.key);
        records
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn however_records_are_split_into_runs_their_union_is_one_segment(
            seed: u64,
            parts in proptest::collection::vec(0usize..4, 400),
        ) {
            let blocks = MemoryStore::default();
            let records = sorted(traffic(seed, 400, 20, 0, 86_400));
            let whole = store(&records, &blocks);
            // Part 3 goes into two runs: a duplicate.
            let run = |part: usize| {
                let of_part = records.iter().zip(&parts).filter(|(_, p)| **p == part || **p == 3);
                of_part.map(|(r, _)| r.clone()).collect::<Vec<_>>()
            };
            let segments: Vec<_> = (0..3).filter_map(|part| store(&run(part), &blocks)).collect();
            let mut runs: Vec<Box<dyn SortedRecords>> = segments
                .iter()
                .map(|s| Box::new(SegmentRun::new(&blocks, *s)) as Box<dyn SortedRecords>)
                .collect();
            prop_assert_eq!(unite(&mut runs, &mut Discard).unwrap(), whole);
        }

        #[test]
        fn a_few_late_records_give_what_building_anew_gives(seed: u64, late in 1usize..6) {
            let blocks = MemoryStore::default();
            let all = traffic(seed, 3000, 40, 0, 86_400);
            let (before, late) = all.split_at(all.len() - late);
            let segment = store(&sorted(before.to_vec()), &blocks).unwrap();
            let late_segment = store(&sorted(late.to_vec()), &blocks).unwrap();
            let mut writer = blocks.begin(Group::Day(0), Reuse::SameGroup).unwrap();
            let mut runs: Vec<Box<dyn SortedRecords>> = vec![
                Box::new(SegmentRun::new(&blocks, segment).in_place()),
                Box::new(SegmentRun::new(&blocks, late_segment)),
            ];
            let patched = unite(&mut runs, &mut *writer).unwrap();
            let anew = MemoryStore::default();
            prop_assert_eq!(patched, store(&sorted(all), &anew));
        }

        #[test]
        fn known_records_are_dropped_and_no_others(seed: u64) {
            let blocks = MemoryStore::default();
            let all = sorted(traffic(seed, 500, 20, 0, 86_400));
            let held: Vec<_> = all.iter().step_by(3).cloned().collect();
            let segment = store(&held, &blocks).unwrap();
            let mut keys: Vec<_> = all.iter().map(|r| (r.key, ())).collect();
            drop_known(&blocks, segment, &mut keys).unwrap();
            let held: BTreeSet<_> = held.iter().map(|r| r.key).collect();
            let expected: Vec<_> =
                all.iter().map(|r| (r.key, ())).filter(|(k, ())| !held.contains(k)).collect();
            prop_assert_eq!(keys, expected);
        }
    }

    #[test]
    fn a_late_record_in_a_large_day_rewrites_about_two_leaves() {
        let blocks = MemoryStore::default();
        let all = traffic(5, 10_000, 300, 0, 86_400);
        let segment = store(&sorted(all[1..].to_vec()), &blocks).unwrap();
        let late = store(&all[..1], &blocks).unwrap();
        let mut writer = blocks.begin(Group::Day(0), Reuse::SameGroup).unwrap();
        let mut runs: Vec<Box<dyn SortedRecords>> = vec![
            Box::new(SegmentRun::new(&blocks, segment).in_place()),
            Box::new(SegmentRun::new(&blocks, late)),
        ];
        let patched = unite(&mut runs, &mut *writer).unwrap().unwrap();
        let file = writer.commit(&patched.cid).unwrap().unwrap();
        assert!(file.blocks <= 8, "{} blocks rewritten", file.blocks);
    }

    #[test]
    fn a_range_keeps_only_what_was_sent_in_it() {
        let blocks = MemoryStore::default();
        let all = sorted(traffic(9, 400, 10, 0, 86_400));
        let segment = store(&all, &blocks).unwrap();
        let range = TimeRange::new(
            crate::time::UnixSeconds(3_600),
            crate::time::UnixSeconds(7_199),
        )
        .unwrap();
        let mut run = SegmentRun::new(&blocks, segment).sent_in(range);
        let mut found = Vec::new();
        while let Some(key) = run.peek().unwrap() {
            let record = run.take().unwrap().unwrap();
            assert_eq!(record.key, key);
            found.push(record);
        }
        let expected: Vec<_> = all
            .into_iter()
            .filter(|r| range.contains(r.key.sent))
            .collect();
        assert_eq!(found, expected);
    }
}
