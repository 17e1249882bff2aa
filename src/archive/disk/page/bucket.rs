//! What is wanted of one bucket, in order of time.

use super::cursor::PartCursor;
use super::read::{Lying, Pick};
use super::{PageError, Stop};
use crate::archive::ArchiveError;
use crate::archive::disk::Archive;
use crate::archive::filter::Filter;
use crate::archive::fresh::Sealed;
use crate::archive::leaf::Record;
use crate::archive::plan::BucketPlan;
use crate::archive::query::Query;
use crate::archive::times::Place;

use super::MAX_PAGE_BYTES;

/// What is asked of a bucket.
pub(super) struct Ask<'a> {
    pub(super) archive: &'a Archive,
    pub(super) sealed: &'a Sealed,
    /// Topics, and times within the bucket.
    pub(super) filter: Filter,
    pub(super) after: Option<Place>,
    /// More than so many will not be taken.
    pub(super) most: usize,
    pub(super) stop: &'a Stop,
}

/// A bucket's wanted envelopes; one that several segments hold comes as often.
pub(super) struct Bucket<'a> {
    parts: Vec<PartCursor<'a>>,
    /// What a search found instead, the next at the end.
    searched: Vec<Record>,
    stop: &'a Stop,
}

impl<'a> Bucket<'a> {
    /// By its segments' times, if those may be used and made; by a search
    /// otherwise.
    pub(super) fn open(
        ask: &Ask<'a>,
        plan: &BucketPlan,
        use_times: bool,
    ) -> Result<Self, PageError> {
        let mut bucket = Self {
            parts: Vec::new(),
            searched: Vec::new(),
            stop: ask.stop,
        };
        if use_times {
            match cursors(ask, plan) {
                Ok(parts) => {
                    bucket.parts = parts;
                    return Ok(bucket);
                }
                // What a fork rests on is elsewhere: no fault, and told for each page.
                Err(PageError::Archive(error)) if error.is_missing() => {
                    tracing::debug!(from = plan.range.from().0, %error, "searched without times");
                }
                Err(PageError::Archive(error)) => {
                    tracing::warn!(from = plan.range.from().0, %error, "searched without times");
                }
                Err(other) => return Err(other),
            }
        }
        bucket.searched = searched(ask)?;
        Ok(bucket)
    }

    /// Where the next stands.
    pub(super) fn peek(&self) -> Option<Place> {
        match self.searched.last() {
            Some(record) => Some((record.key.sent, record.key.hash)),
            None => self
                .parts
                .iter()
                .filter_map(|part| part.peek().map(|entry| entry.place()))
                .min(),
        }
    }

    /// The length of the next, and what it is. There must be one.
    pub(super) fn next(&mut self) -> Result<(usize, Pick), PageError> {
        if let Some(record) = self.searched.pop() {
            return Ok((record.bytes.len(), Pick::Read(record)));
        }
        let next = self
            .parts
            .iter_mut()
            .filter(|part| part.peek().is_some())
            .min_by_key(|part| part.peek().map(|entry| entry.place()))
            .expect("BUG: asked for what was not there");
        let entry = *next.peek().expect("what has nothing was left out");
        let pick = Pick::Sealed(Lying {
            part: std::sync::Arc::clone(next.part()),
            entry,
            number: next.number(),
        });
        next.advance(self.stop)?;
        Ok((usize::try_from(entry.len).unwrap_or(usize::MAX), pick))
    }
}

fn cursors<'a>(ask: &Ask<'a>, plan: &BucketPlan) -> Result<Vec<PartCursor<'a>>, PageError> {
    let Ask { archive, stop, .. } = *ask;
    let times = &archive.pages.times;
    let mut cursors = Vec::new();
    for segment in &plan.segments {
        let parts = times.of(&archive.blocks, *segment, plan.bounds, stop)?;
        for part in &*parts {
            let cursor = PartCursor::new(
                times,
                std::sync::Arc::clone(part),
                &ask.filter.topics,
                ask.filter.range,
                ask.after,
                stop,
            )?;
            if cursor.peek().is_some() {
                cursors.push(cursor);
            }
        }
    }
    Ok(cursors)
}

/// As many as a page may take, the first at the end.
fn searched(ask: &Ask<'_>) -> Result<Vec<Record>, PageError> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for record in Query::new(&ask.archive.blocks, ask.sealed, ask.filter.clone())? {
        ask.stop.check()?;
        let record = record.map_err(|error: ArchiveError| error)?;
        let place = (record.key.sent, record.key.hash);
        if ask.after.is_some_and(|after| place <= after) {
            continue;
        }
        bytes += record.bytes.len();
        found.push(record);
        if found.len() >= ask.most || bytes > 2 * MAX_PAGE_BYTES {
            break;
        }
    }
    found.reverse();
    Ok(found)
}
