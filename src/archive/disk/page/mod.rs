//! Pages of what an archive holds, sealed and waiting alike.
//!
//! Always true:
//! - A page is sorted by (sent, hash), starts after its cursor, and holds every
//!   envelope up to its last one that was held when it was asked for. A seal in
//!   between moves envelopes, never hides or repeats them.
//! - More follows exactly if it says so.
//! - Its cost follows the page: of a segment only what leads to the page's
//!   envelopes is read, whatever else matches, and at most [`ahead`]'s share
//!   beyond. Its memory does, too.
//! - A page that nobody waits for any more stops soon ([`Stop`]).
//!
//! The way: the head's buckets ([`Layout`]); in each, the wanted entries of its
//! segments' time files ([`cursor`]), merged with what waits; then the bytes of
//! what was picked ([`read`]). Where times cannot be made, because blocks of the
//! segment are damaged, its bucket is searched instead: what can be answered
//! without them still is.

mod ahead;
mod bucket;
mod cursor;
pub(super) mod hours;
mod part;
mod read;
#[cfg(test)]
mod tests;
mod times;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use self::ahead::Ahead;
use self::bucket::Bucket;
use self::read::Pick;
pub(super) use self::times::Times;
use super::cache::Cache;
use super::{Archive, DiskError, retention, sealed_by};
use crate::archive::ArchiveError;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::fresh::Sealed;
use crate::archive::leaf::Record;
use crate::archive::plan::{BucketPlan, Plan};
use crate::archive::times::Place;
use crate::blocks::{BlockSource, Cid};
use crate::time::{HOUR, TimeRange, UnixSeconds};
use crate::whisper::EnvelopeHash;

/// How often a page is begun again because a seal moved what it was reading, or
/// because a time file had to be made again.
const TRIES: usize = 4;

/// Bytes of the records of one page, unless its first alone is larger: a
/// thousand of the largest envelopes would fill the memory.
pub const MAX_PAGE_BYTES: usize = 16 << 20;

/// Folder of the time files.
const TIMES: &str = "times";

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
    /// What it cost.
    pub reads: Reads,
    /// Segments that were looked into, whether they held anything wanted or not.
    pub looked: u64,
}

/// What reading a page cost the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Blocks read whole and hashed.
    pub blocks: u64,
    /// Bytes read of blocks.
    pub bytes: u64,
}

/// Tells work that nobody wants its result any more. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops the work.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), PageError> {
        if self.is_stopped() {
            Err(PageError::Stopped)
        } else {
            Ok(())
        }
    }
}

/// Stops what works for somebody who may go before its end.
#[derive(Debug, Default)]
pub struct StopOnDrop(pub Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What pages are read with, kept between them.
pub(super) struct Pages {
    times: Times,
    layout: Mutex<Option<(Cid, Layout)>>,
    ahead: Ahead,
    /// What was sent in each hour of a segment.
    hours: Cache<Cid, Arc<hours::Hours>>,
}

/// Every bucket of a head, in order of time.
type Layout = Arc<[BucketPlan]>;

/// Why a page could not be read.
#[derive(Debug)]
enum PageError {
    Archive(ArchiveError),
    /// The times of this segment are damaged.
    Stale(Cid),
    Stopped,
}

impl<E: Into<ArchiveError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Archive(error.into())
    }
}

impl Pages {
    /// Nothing kept yet, for the archive in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            times: Times::new(dir.join(TIMES)),
            layout: Mutex::default(),
            ahead: Ahead::new(),
            hours: Cache::new(hours::KEPT_HOURS),
        }
    }

    #[cfg(test)]
    pub(super) fn with_parts_of(dir: &Path, part_entries: usize) -> Self {
        Self {
            times: Times::with_parts_of(dir.join(TIMES), part_entries),
            layout: Mutex::default(),
            ahead: Ahead::of_entries(32),
            hours: Cache::new(hours::KEPT_HOURS),
        }
    }

    /// Keeps everybody from making times until it is dropped.
    #[cfg(test)]
    fn hold_up(&self) -> impl Drop + '_ {
        self.times.hold_up()
    }

    /// The buckets of the head that `sealed` is of.
    fn layout(
        &self,
        source: &dyn BlockSource,
        head: Option<Cid>,
        sealed: &Sealed,
    ) -> Result<Layout, ArchiveError> {
        let Some(head) = head else {
            return Ok(Arc::default());
        };
        if let Some(layout) = self.known_layout(&head) {
            return Ok(layout);
        }
        let layout = planned(source, sealed, TimeRange::ALL)?;
        let mut kept = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((head, Arc::clone(&layout)));
        Ok(layout)
    }

    /// Those of them at least that touch `range`, out of what `source` has: for whom
    /// nothing is fetched, what is before and after may be missing.
    fn layout_within(
        &self,
        source: &dyn BlockSource,
        head: Option<Cid>,
        sealed: &Sealed,
        range: TimeRange,
    ) -> Result<Layout, ArchiveError> {
        match head {
            None => Ok(Arc::default()),
            Some(head) => match self.known_layout(&head) {
                Some(layout) => Ok(layout),
                None => planned(source, sealed, range),
            },
        }
    }

    fn known_layout(&self, head: &Cid) -> Option<Layout> {
        let kept = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        let of_head = kept.as_ref().filter(|(of, _)| of == head);
        of_head.map(|(_, layout)| Arc::clone(layout))
    }
}

/// The buckets that touch `range`.
fn planned(
    source: &dyn BlockSource,
    sealed: &Sealed,
    range: TimeRange,
) -> Result<Layout, ArchiveError> {
    let filter = Filter {
        topics: TopicFilter::All,
        range,
    };
    let mut plan = Plan::new(sealed, filter);
    loop {
        let wants = plan.wants();
        if wants.is_empty() {
            return Ok(plan.finish().into());
        }
        for cid in wants {
            plan.feed(&source.get(&cid)?)?;
        }
    }
}

#[cfg(test)]
impl Archive {
    /// Holds up every page that needs times which were not made yet.
    pub(crate) fn hold_up_pages(&self) -> impl Drop + '_ {
        self.pages.hold_up()
    }
}

/// A page that is being filled.
struct Filling {
    picks: Vec<Pick>,
    last: Option<Place>,
    bytes: usize,
    limit: usize,
    more: bool,
    looked: u64,
}

impl Filling {
    /// Takes what comes next, or notes that it does not fit any more. An
    /// envelope appended again just as it was sealed comes twice.
    fn push(&mut self, place: Place, len: usize, pick: impl FnOnce() -> Pick) {
        if self.last == Some(place) {
            return;
        }
        let bytes = self.bytes.saturating_add(len);
        if self.picks.len() >= self.limit || (bytes > MAX_PAGE_BYTES && !self.picks.is_empty()) {
            self.more = true;
        } else {
            self.bytes = bytes;
            self.last = Some(place);
            self.picks.push(pick());
        }
    }

    /// How many may still be looked at: what fits, and one that says whether
    /// more follows.
    fn left(&self) -> usize {
        self.limit
            .saturating_sub(self.picks.len())
            .saturating_add(1)
    }
}

impl Archive {
    /// One page of what is kept, sealed or waiting, by (sent, hash).
    pub fn page(&self, request: &PageRequest) -> Result<Page, DiskError> {
        self.page_unless(request, &Stop::default())
    }

    /// As [`Self::page`]; fails soon once `stop` is given.
    pub fn page_unless(&self, request: &PageRequest, stop: &Stop) -> Result<Page, DiskError> {
        self.page_within(request, Reach::Anywhere, stop)
    }

    /// As [`Self::page`], of what is on this disk: for those for whom nothing is to be
    /// fetched. Days that are not here are passed over.
    pub fn page_here(&self, request: &PageRequest) -> Result<Page, DiskError> {
        self.page_within(request, Reach::Here, &Stop::default())
    }

    pub(in crate::archive::disk) fn page_within(
        &self,
        request: &PageRequest,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Page, DiskError> {
        loop {
            let kept_from = self.kept_from();
            let Some(range) = retention::kept(request.filter.range, kept_from) else {
                return Ok(Page::default());
            };
            let mut request = request.clone();
            request.filter.range = range;
            match page(self, &request, reach, stop) {
                // It was dropped while it was read.
                Err(error) if error.is_missing() && self.kept_from() > kept_from => {}
                other => return other,
            }
        }
    }
}

/// How far a page may reach for its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::archive::disk) enum Reach {
    /// Whoever has them is asked.
    Anywhere,
    /// No further than this disk: segments that are not on it are passed over.
    Here,
}

fn page(
    archive: &Archive,
    request: &PageRequest,
    reach: Reach,
    stop: &Stop,
) -> Result<Page, DiskError> {
    let mut use_times = true;
    let mut last = None;
    for _ in 0..TRIES {
        let head = archive.head_cid();
        match try_page(archive, request, reach, use_times, stop) {
            Ok(page) => return Ok(page),
            Err(PageError::Stopped) => return Err(DiskError::Stopped),
            Err(PageError::Stale(segment)) => {
                tracing::warn!(%segment, "damaged time file");
                archive.pages.times.forget(&segment);
                // Made again and still wrong, it is not relied on.
                use_times = last.is_none();
                last = Some(ArchiveError::NotAsLinked { cid: segment });
            }
            // What was read is gone, since it is in another place now.
            Err(PageError::Archive(error))
                if matches!(error, ArchiveError::Pending(_))
                    || (error.is_missing() && archive.head_cid() != head) =>
            {
                last = Some(error);
            }
            Err(PageError::Archive(error)) => return Err(error.into()),
        }
    }
    Err(last.expect("at least one try was made").into())
}

fn try_page(
    archive: &Archive,
    request: &PageRequest,
    reach: Reach,
    use_times: bool,
    stop: &Stop,
) -> Result<Page, PageError> {
    let Some(filter) = after_cursor(request) else {
        return Ok(Page::default());
    };
    let wanted = request.limit.saturating_add(1);
    // Head and waiting are read under one lock: a seal moves envelopes from one
    // to the other under it too.
    let (head, sealed, waiting) = {
        let state = archive.read_state();
        let waiting: Vec<_> = state
            .waiting
            .matching(&filter, request.after)
            .take(wanted)
            .collect();
        let head = state.head.as_ref();
        let sealed = head.map(sealed_by).unwrap_or_default();
        (head.map(|head| *head.cid()), sealed, waiting)
    };
    let mut waiting = waiting.into_iter().peekable();
    let mut filling = Filling {
        picks: Vec::new(),
        last: None,
        bytes: 0,
        limit: request.limit,
        more: false,
        looked: 0,
    };
    let pages = &archive.pages;
    let layout = match reach {
        Reach::Anywhere => pages.layout(&archive.blocks, head, &sealed)?,
        Reach::Here => {
            let held = archive.blocks.held();
            pages.layout_within(&held, head, &sealed, filter.range)?
        }
    };
    let first = layout.partition_point(|bucket| bucket.range.to() < filter.range.from());
    for plan in &layout[first..] {
        let Some(range) = filter.range.intersect(plan.range) else {
            break;
        };
        stop.check()?;
        if reach == Reach::Here && !is_here(archive, plan)? {
            continue;
        }
        let within = Filter {
            topics: filter.topics.clone(),
            range,
        };
        let ask = bucket::Ask {
            archive,
            sealed: &sealed,
            filter: within,
            after: request.after,
            most: filling.left(),
            stop,
        };
        filling.looked += plan.segments.len() as u64;
        let mut bucket = Bucket::open(&ask, plan, use_times)?;
        while let Some(place) = bucket.peek() {
            while let Some(earlier) = waiting.next_if(|p| (p.key.sent, p.key.hash) <= place) {
                let place = (earlier.key.sent, earlier.key.hash);
                filling.push(place, earlier.len, || Pick::Waiting(earlier));
            }
            let (len, pick) = bucket.next()?;
            filling.push(place, len, || pick);
            if filling.more {
                return finish(archive, filling, stop);
            }
        }
    }
    for later in waiting {
        let place = (later.key.sent, later.key.hash);
        filling.push(place, later.len, || Pick::Waiting(later));
        if filling.more {
            break;
        }
    }
    finish(archive, filling, stop)
}

/// Whether all segments of a bucket are on this disk.
fn is_here(archive: &Archive, plan: &BucketPlan) -> Result<bool, ArchiveError> {
    let here = archive.blocks.here();
    for segment in &plan.segments {
        if !here.has(&segment.cid)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn finish(archive: &Archive, filling: Filling, stop: &Stop) -> Result<Page, PageError> {
    let (records, reads) = read::records(archive, filling.picks, stop)?;
    Ok(Page {
        records,
        more: filling.more,
        reads,
        looked: filling.looked,
    })
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

/// Days whose times are made again at a time, before anybody asks for them: whoever
/// sends a tiny envelope dated long ago can have a whole day read after each seal.
/// Those of more days are made by later calls, or by the pages that need them.
const REMADE_DAYS: usize = 4;

/// Makes the time files of segments of the current head that have none, so that
/// no request has to wait for them; the newest first. Gives how many it made.
pub(super) fn make_times(archive: &Archive, stop: &Stop) -> Result<usize, DiskError> {
    let times = &archive.pages.times;
    let (mut made, mut remade) = (0, 0);
    // Nothing is fetched of what a fork rests on: a page that needs its times makes them.
    let is_complete = archive.is_complete();
    let buckets = match buckets_of(archive, &archive.blocks.held()) {
        Err(error) if error.is_missing() && !is_complete => return Ok(0),
        other => other?,
    };
    let is_day = |plan: &BucketPlan| plan.range.to().since(plan.range.from()) >= HOUR;
    for plan in buckets.iter().rev() {
        if is_day(plan) && times.is_remade(plan.range) && !is_settled(times, plan) {
            if remade == REMADE_DAYS {
                continue;
            }
            remade += 1;
        }
        for segment in plan.segments.iter().filter(|s| !times.is_settled(s)) {
            // A whole day is fetched for nobody who has not asked for it.
            if archive.blocks.evicted.has_root(&segment.cid) {
                continue;
            }
            let here = archive.blocks.here().has(&segment.cid);
            if !is_complete && !here.map_err(ArchiveError::from)? {
                continue;
            }
            match times.of(&archive.blocks, *segment, plan.bounds, stop) {
                Ok(_) => made += 1,
                Err(PageError::Stopped) => return Err(DiskError::Stopped),
                Err(PageError::Stale(cid)) => times.forget(&cid),
                // A page that needs it says so.
                Err(PageError::Archive(error)) => {
                    tracing::debug!(segment = %segment.cid, %error, "no times");
                }
            }
        }
    }
    let settled = buckets.iter().filter(|plan| is_settled(times, plan));
    times.note(settled.filter(|plan| is_day(plan)).map(|plan| plan.range));
    Ok(made)
}

fn is_settled(times: &Times, plan: &BucketPlan) -> bool {
    plan.segments
        .iter()
        .all(|segment| times.is_settled(segment))
}

/// The buckets of the current head that are kept.
pub(super) fn kept_buckets(archive: &Archive) -> Result<Vec<BucketPlan>, DiskError> {
    buckets_of(archive, &archive.blocks)
}

/// The same, out of what `source` has.
fn buckets_of(archive: &Archive, source: &dyn BlockSource) -> Result<Vec<BucketPlan>, DiskError> {
    let (head, sealed, kept_from) = {
        let state = archive.read_state();
        let head = state.head.as_ref();
        let sealed = head.map(sealed_by).unwrap_or_default();
        (head.map(|head| *head.cid()), sealed, state.kept_from)
    };
    let layout = archive.pages.layout(source, head, &sealed)?;
    let kept_from = kept_from.range().from();
    let kept = layout.iter().filter(|plan| plan.range.to() >= kept_from);
    Ok(kept.cloned().collect())
}

/// Deletes the time files of segments that the current head does not name, and
/// gives up what was read ahead: who reads on reads it again.
pub(super) fn sweep_times(archive: &Archive) -> Result<(), DiskError> {
    let buckets = match buckets_of(archive, &archive.blocks.held()) {
        // Which segments are live is not known here, and nothing is fetched to know it.
        Err(error) if error.is_missing() && !archive.is_complete() => return Ok(()),
        other => other?,
    };
    let live: HashSet<Cid> = buckets
        .iter()
        .flat_map(|plan| plan.segments.iter().map(|segment| segment.cid))
        .collect();
    archive.pages.ahead.give_up();
    let swept = archive.pages.times.sweep(|cid| live.contains(cid));
    swept.map_err(DiskError::io(&archive.dir.join(TIMES)))
}
