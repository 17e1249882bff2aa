//! Envelopes by their keys, sealed or waiting.
//!
//! Always true: each wanted envelope is given once, by (sent, hash), unless this
//! archive does not hold it, or no longer keeps it.

use std::collections::{BTreeSet, HashSet};

use crate::archive::ArchiveError;
use crate::archive::disk::{Archive, DiskError, retention, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::archive::query::Query;
use crate::archive::watermark::Day;
use crate::time::{HOUR, TimeRange};

/// Keys further apart than this are looked for apart: what lies between them
/// would be read in vain.
const GAP: u32 = HOUR / 4;

/// How often reading begins again because a seal moved what was being read.
const TRIES: usize = 3;

pub(in crate::archive::disk) fn fetch(
    archive: &Archive,
    keys: &[Key],
) -> Result<Vec<Record>, DiskError> {
    let mut tries = 1..TRIES;
    loop {
        match try_fetch(archive, keys) {
            Err(ArchiveError::Pending(_)) if tries.next().is_some() => {}
            // It was dropped while it was read.
            Err(error) if error.is_missing() && tries.next().is_some() => {}
            other => return Ok(other?),
        }
    }
}

fn try_fetch(archive: &Archive, keys: &[Key]) -> Result<Vec<Record>, ArchiveError> {
    // Head and waiting are read under one lock: a seal moves envelopes from one
    // to the other under it too.
    let (sealed, waiting, mut left) = {
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
    let mut found = Vec::with_capacity(keys.len());
    for (key, at) in waiting {
        let bytes = archive.read_waiting(at)?;
        found.push(Record { key, bytes });
    }
    left.retain(|key| sealed.watermark.covers(key.sent));
    left.sort_unstable_by_key(|key| (key.sent, key.hash));
    for near in left.chunk_by(|a, b| b.sent.since(a.sent) <= GAP) {
        let mut wanted: HashSet<Key> = near.iter().copied().collect();
        let topics: BTreeSet<_> = near.iter().map(|key| key.topic).collect();
        let (first, last) = (near[0].sent, near[near.len() - 1].sent);
        let filter = Filter {
            topics: TopicFilter::Any(topics),
            range: TimeRange::new(first, last).expect("keys are sorted by time"),
        };
        for record in Query::new(&archive.blocks, &sealed, filter)? {
            let record = record?;
            if wanted.remove(&record.key) {
                found.push(record);
                if wanted.is_empty() {
                    break;
                }
            }
        }
    }
    found.sort_unstable_by_key(|record| (record.key.sent, record.key.hash));
    found.dedup_by_key(|record| record.key);
    Ok(found)
}

pub(in crate::archive::disk) fn waiting_keys(archive: &Archive, range: TimeRange) -> Vec<Key> {
    let filter = Filter {
        topics: TopicFilter::All,
        range,
    };
    let state = archive.read_state();
    let waiting = state.waiting.matching(&filter, None);
    waiting.map(|pending| pending.key).collect()
}

pub(in crate::archive::disk) fn sealed_keys(
    archive: &Archive,
    range: TimeRange,
    most: usize,
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
        if keys.len() == most {
            return Ok(None);
        }
        keys.push(record?.key);
    }
    Ok(Some(keys))
}
