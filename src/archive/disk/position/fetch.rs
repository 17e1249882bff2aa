//! Envelopes by their keys, sealed or waiting.
//!
//! Always true: each wanted envelope is given once, by (sent, hash), unless this
//! archive does not hold it, no longer keeps it, or an earlier one filled the
//! answer; no more is read ahead than [`AT_ONCE`] of them hold.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use crate::archive::ArchiveError;
use crate::archive::disk::page::Reach;
use crate::archive::disk::{Archive, DiskError, Stop, page, retention, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::archive::query::Query;
use crate::archive::watermark::Day;
use crate::blocks::BlockSource;
use crate::journal::Location;
use crate::time::{HOUR, TimeRange, UnixSeconds};
use crate::whisper::EnvelopeHash;

/// Keys further apart than this are looked for apart: what lies between them
/// would be read in vain.
const GAP: u32 = HOUR / 4;

/// How often reading begins again because a seal moved what was being read.
const TRIES: usize = 3;

/// Envelopes looked for at once, so that no more than as many of the largest are
/// in memory before it is known what fits.
const AT_ONCE: usize = 32;

/// What was found of the keys asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// By (sent, hash), up to the first that did not fit.
    pub records: Vec<Record>,
    /// Whether all that is held of the keys is there.
    pub complete: bool,
    /// Bytes of blocks read for it.
    pub read: u64,
}

pub(in crate::archive::disk) fn fetch(
    archive: &Archive,
    keys: &[Key],
    max_bytes: usize,
    reach: Reach,
) -> Result<Fetched, DiskError> {
    let mut tries = 1..TRIES;
    loop {
        match try_fetch(archive, keys, max_bytes, reach) {
            Err(ArchiveError::Pending(_)) if tries.next().is_some() => {}
            // It was dropped while it was read.
            Err(error) if error.is_missing() && tries.next().is_some() => {}
            other => return Ok(other?),
        }
    }
}

/// The envelopes found so far.
struct Filling<'a> {
    archive: &'a Archive,
    /// What waits of the keys, latest first.
    waiting: Vec<(Key, Location)>,
    fetched: Fetched,
    bytes: usize,
    max_bytes: usize,
}

impl Filling<'_> {
    /// Takes a record if there is room for it.
    fn take(&mut self, record: Record) -> bool {
        let bytes = self.bytes.saturating_add(record.bytes.len());
        let fits = bytes <= self.max_bytes || self.fetched.records.is_empty();
        if fits {
            self.bytes = bytes;
            self.fetched.records.push(record);
        }
        fits
    }

    /// Takes what waits and sorts before `key`, as far as there is room.
    fn take_waiting(&mut self, key: Option<&Key>) -> Result<bool, ArchiveError> {
        while let Some((next, at)) = self
            .waiting
            .pop_if(|(next, _)| key.is_none_or(|key| place(next) < place(key)))
        {
            let bytes = self.archive.read_waiting(at)?;
            if !self.take(Record { key: next, bytes }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn place(key: &Key) -> (UnixSeconds, EnvelopeHash) {
    (key.sent, key.hash)
}

fn try_fetch(
    archive: &Archive,
    keys: &[Key],
    max_bytes: usize,
    reach: Reach,
) -> Result<Fetched, ArchiveError> {
    let held = archive.blocks.held();
    let source: &dyn BlockSource = match reach {
        Reach::Anywhere => &archive.blocks,
        Reach::Here => &held,
    };
    // Head and waiting are read under one lock: a seal moves envelopes from one
    // to the other under it too.
    let (sealed, mut waiting, mut left) = {
        let state = archive.read_state();
        let mut waiting = Vec::new();
        let mut left = Vec::new();
        for key in keys {
            match state.waiting.find(key) {
                Some(at) => waiting.push((*key, at)),
                None if Day::of(key.sent) >= state.kept_from => left.push(*key),
                None => {}
            }
        }
        let sealed = state.head.as_ref().map(sealed_by).unwrap_or_default();
        (sealed, waiting, left)
    };
    waiting.sort_unstable_by_key(|(key, _)| Reverse(place(key)));
    waiting.dedup_by_key(|(key, _)| *key);
    left.retain(|key| sealed.watermark.covers(key.sent));
    left.sort_unstable_by_key(place);
    left.dedup();
    let mut filling = Filling {
        archive,
        waiting,
        fetched: Fetched::default(),
        bytes: 0,
        max_bytes,
    };
    let near = left.chunk_by(|a, b| b.sent.since(a.sent) <= GAP);
    for near in near.flat_map(|near| near.chunks(AT_ONCE)) {
        let mut wanted: HashSet<Key> = near.iter().copied().collect();
        let topics: BTreeSet<_> = near.iter().map(|key| key.topic).collect();
        let (first, last) = (near[0].sent, near[near.len() - 1].sent);
        let filter = Filter {
            topics: TopicFilter::Any(topics),
            range: TimeRange::new(first, last).expect("keys are sorted by time"),
        };
        let mut query = Query::new(source, &sealed, filter)?;
        while !wanted.is_empty()
            && let Some(record) = query.next()
        {
            let record = record?;
            if wanted.remove(&record.key)
                && !(filling.take_waiting(Some(&record.key))? && filling.take(record))
            {
                filling.fetched.read += query.cost().bytes;
                return Ok(filling.fetched);
            }
        }
        filling.fetched.read += query.cost().bytes;
    }
    filling.fetched.complete = filling.take_waiting(None)?;
    Ok(filling.fetched)
}

pub(in crate::archive::disk) fn waiting_keys(
    archive: &Archive,
    range: TimeRange,
    most: usize,
) -> Vec<Key> {
    let filter = Filter {
        topics: TopicFilter::All,
        range,
    };
    let state = archive.read_state();
    let waiting = state.waiting.matching(&filter, None);
    waiting.take(most).map(|pending| pending.key).collect()
}

/// About how many envelopes are sealed and kept of a range: of a bucket that it
/// cuts, as large a share as of its time.
pub(in crate::archive::disk) fn sealed_about(
    archive: &Archive,
    range: TimeRange,
) -> Result<u64, DiskError> {
    let seconds = |range: TimeRange| u64::from(range.to().since(range.from())) + 1;
    let mut about = 0u64;
    for bucket in page::kept_buckets(archive)? {
        if let Some(wanted) = range.intersect(bucket.range) {
            let count: u64 = bucket.segments.iter().map(|s| s.sums.count).sum();
            let share = u128::from(count) * u128::from(seconds(wanted));
            let share = share / u128::from(seconds(bucket.range));
            about = about.saturating_add(u64::try_from(share).unwrap_or(u64::MAX));
        }
    }
    Ok(about)
}

pub(in crate::archive::disk) fn sealed_keys(
    archive: &Archive,
    range: TimeRange,
    most: usize,
    stop: &Stop,
) -> Result<Option<Vec<Key>>, DiskError> {
    let Some(range) = retention::kept(range, archive.kept_from()) else {
        return Ok(Some(Vec::new()));
    };
    let Some(head) = archive.head() else {
        return Ok(Some(Vec::new()));
    };
    let filter = Filter {
        topics: TopicFilter::All,
        range,
    };
    let mut keys = Vec::new();
    for record in Query::new(&archive.blocks, &sealed_by(&head), filter)? {
        if stop.is_stopped() {
            return Err(DiskError::Stopped);
        }
        if keys.len() == most {
            return Ok(None);
        }
        keys.push(record?.key);
    }
    Ok(Some(keys))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::archive::testing::envelope;
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;

    /// 2018-10-01 00:00.
    const FROM: u32 = 1_538_352_000;

    /// An archive that has sealed what was sent before `sealed` seconds; the rest
    /// waits. Gives the keys too.
    fn archive(dir: &Path, sent: &[(u8, u32, usize)], sealed: u32) -> (Archive, Vec<Key>) {
        let archive = Archive::init(dir, "").unwrap();
        let all: Vec<_> = sent
            .iter()
            .map(|(topic, sent, data)| envelope(*topic, FROM + sent, *data))
            .collect();
        archive.append(&all).unwrap();
        let until = Watermark::at_or_before(UnixSeconds(FROM + sealed));
        archive.seal(until, until.at(), &Quiet).unwrap();
        let mut keys: Vec<_> = all.iter().map(Key::from).collect();
        keys.sort_unstable_by_key(place);
        keys.dedup();
        (archive, keys)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn answers_hold_every_key_once_in_order_and_no_more_bytes_than_asked_for(
            sent in prop::collection::vec((0..4u8, 0..20_000u32, 1..3_000usize), 1..60),
            sealed in 0..20_000u32,
            max_bytes in 1..9_000usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (archive, keys) = archive(dir.path(), &sent, sealed);
            let mut given = Vec::new();
            loop {
                let fetched = archive.fetch(&keys[given.len()..], max_bytes).unwrap();
                let bytes: usize = fetched.records.iter().map(|r| r.bytes.len()).sum();
                prop_assert!(bytes <= max_bytes || fetched.records.len() == 1);
                prop_assert!(fetched.complete || !fetched.records.is_empty());
                given.extend(fetched.records.into_iter().map(|record| record.key));
                if fetched.complete {
                    break;
                }
            }
            prop_assert_eq!(given, keys);
        }
    }

    #[test]
    fn large_envelopes_that_do_not_fit_are_not_read() {
        const LEN: usize = 200 << 10;
        let dir = tempfile::tempdir().unwrap();
        let sent: Vec<_> = (0..3 * 32).map(|n| (1, n, LEN)).collect();
        let (archive, keys) = archive(dir.path(), &sent, 3_600);
        let fetched = archive.fetch(&keys, 2 * LEN + 1_000).unwrap();
        assert_eq!((fetched.records.len(), fetched.complete), (2, false));
        let most = (AT_ONCE + 4) * LEN;
        assert!(fetched.read < most as u64, "{} bytes", fetched.read);
    }
}
