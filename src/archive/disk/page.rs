//! Pages of what an archive holds, sealed and waiting alike.
//!
//! Always true: a page is sorted by (sent, hash), starts after its cursor, and
//! holds every envelope up to its last one that was held when it was asked for.
//! A seal in between moves envelopes, never hides or repeats them.

use bytes::Bytes;

use super::{Archive, DiskError, sealed_by};
use crate::archive::ArchiveError;
use crate::archive::filter::Filter;
use crate::archive::leaf::Record;
use crate::archive::query::Query;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::EnvelopeHash;

/// How often a page is begun again because a seal moved what it was reading.
const TRIES: usize = 3;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Topics and times.
    pub filter: Filter,
    /// Only what sorts after this.
    pub after: Option<(UnixSeconds, EnvelopeHash)>,
    /// At most this many.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The envelopes' records, by (sent, hash).
    pub records: Vec<Record>,
    /// Whether more follow.
    pub more: bool,
}

pub(super) fn page(archive: &Archive, request: &PageRequest) -> Result<Page, DiskError> {
    let mut last = None;
    for _ in 0..TRIES {
        match try_page(archive, request) {
            Err(error @ ArchiveError::Pending(_)) => last = Some(error),
            other => return Ok(other?),
        }
    }
    Err(last.expect("at least one try was made").into())
}

fn try_page(archive: &Archive, request: &PageRequest) -> Result<Page, ArchiveError> {
    let Some(filter) = after_cursor(request) else {
        return Ok(Page::default());
    };
    let wanted = request.limit.saturating_add(1);
    // Head and waiting are read under one lock: a seal moves envelopes from one
    // to the other under it too.
    let (sealed, waiting) = {
        let state = archive.read_state();
        let waiting: Vec<_> = state
            .waiting
            .matching(&filter, request.after)
            .take(wanted)
            .collect();
        (
            state.head.as_ref().map(sealed_by).unwrap_or_default(),
            waiting,
        )
    };
    let mut waiting = waiting.into_iter().peekable();
    let mut records: Vec<Record> = Vec::new();
    let place = |record: &Record| (record.key.sent, record.key.hash);
    for record in Query::new(&archive.blocks, &sealed, filter)? {
        let record = record?;
        if request.after.is_some_and(|after| place(&record) <= after) {
            continue;
        }
        while let Some(earlier) = waiting.next_if(|p| (p.key.sent, p.key.hash) <= place(&record)) {
            // An envelope appended again just as it was sealed is in both.
            if earlier.key != record.key {
                let bytes: Bytes = archive.read_waiting(earlier.at)?;
                records.push(Record {
                    key: earlier.key,
                    bytes,
                });
            }
        }
        records.push(record);
        if records.len() >= wanted {
            break;
        }
    }
    for later in waiting {
        if records.len() >= wanted {
            break;
        }
        records.push(Record {
            key: later.key,
            bytes: archive.read_waiting(later.at)?,
        });
    }
    let more = records.len() > request.limit;
    records.truncate(request.limit);
    Ok(Page { records, more })
}

/// The filter from the cursor on; `None` where nothing can follow it.
fn after_cursor(request: &PageRequest) -> Option<Filter> {
    match request.after {
        None => Some(request.filter.clone()),
        Some((sent, _)) => {
            let rest = TimeRange::new(sent, UnixSeconds::MAX).ok()?;
            request.filter.within(rest)
        }
    }
}
