//! Pages of what an archive holds, sealed and waiting alike.
//!
//! Always true: a page is sorted by (sent, hash), starts after its cursor, and
//! holds every envelope up to its last one that was held when it was asked for.
//! A seal in between moves envelopes, never hides or repeats them.

use super::{Archive, DiskError, sealed_by};
use crate::archive::ArchiveError;
use crate::archive::filter::Filter;
use crate::archive::fresh::Pending;
use crate::archive::leaf::Record;
use crate::archive::query::Query;
use crate::journal::Location;
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::EnvelopeHash;

/// How often a page is begun again because a seal moved what it was reading.
const TRIES: usize = 3;

/// Bytes of the records of one page, unless its first alone is larger: a
/// thousand of the largest envelopes would fill the memory.
pub const MAX_PAGE_BYTES: usize = 16 << 20;

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

/// A page that is being filled.
struct Filling {
    page: Page,
    bytes: usize,
    limit: usize,
}

impl Filling {
    /// Takes the next record, or notes that it does not fit any more.
    fn push(&mut self, record: Record) {
        let bytes = self.bytes.saturating_add(record.bytes.len());
        let is_full = self.page.records.len() >= self.limit
            || (bytes > MAX_PAGE_BYTES && !self.page.records.is_empty());
        if is_full {
            self.page.more = true;
        } else {
            self.bytes = bytes;
            self.page.records.push(record);
        }
    }

    /// Whether nothing that follows can be in it.
    fn is_done(&self) -> bool {
        self.page.more
    }
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
    let mut filling = Filling {
        page: Page::default(),
        bytes: 0,
        limit: request.limit,
    };
    let read = |pending: Pending<Location>| -> Result<Record, ArchiveError> {
        Ok(Record {
            key: pending.key,
            bytes: archive.read_waiting(pending.at)?,
        })
    };
    let place = |record: &Record| (record.key.sent, record.key.hash);
    for record in Query::new(&archive.blocks, &sealed, filter)? {
        let record = record?;
        if request.after.is_some_and(|after| place(&record) <= after) {
            continue;
        }
        while let Some(earlier) = waiting.next_if(|p| (p.key.sent, p.key.hash) <= place(&record)) {
            // An envelope appended again just as it was sealed is in both.
            if earlier.key != record.key && !filling.is_done() {
                filling.push(read(earlier)?);
            }
        }
        if filling.is_done() {
            return Ok(filling.page);
        }
        filling.push(record);
    }
    for later in waiting {
        if filling.is_done() {
            break;
        }
        filling.push(read(later)?);
    }
    Ok(filling.page)
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
