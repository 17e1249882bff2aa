//! Recomputes an archive from its envelopes up.
//!
//! Always true: a state that verifies is the canonical one of the envelopes it
//! holds: every leaf, pack, topic index and calendar node was made again, had
//! the CID its parent names, and was there to be read. What does not verify is reported by block, and the
//! rest is still looked at.

use std::collections::BTreeSet;

use super::ArchiveError;
use super::builder::{BlockSink, Discard, SegmentBuilder, SegmentRef};
use super::calendar::{CalendarNode, CalendarReader, Child, Level};
use super::fresh::Sealed;
use super::merge::{SegmentRun, SortedRecords, unite};
use super::parallel;
use super::sums::Sums;
use super::topics::build_index;
use super::watermark::{Day, Hour, Month, Watermark};
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::progress::Progress;
use crate::time::TimeRange;

/// Which share of the days is recomputed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// 0 to 1; 1 is everything.
    share: f64,
    /// Chooses which days.
    seed: u64,
    /// Days before this one need not be held.
    held_from: Day,
}

impl Sample {
    /// Every day.
    pub const EVERYTHING: Self = Self {
        share: 1.0,
        seed: 0,
        held_from: Day(0),
    };

    /// About `share` (above 0, up to 1) of the days, chosen by `seed`; `None`
    /// outside these bounds.
    pub fn new(share: f64, seed: u64) -> Option<Self> {
        (share > 0.0 && share <= 1.0).then_some(Self {
            share,
            seed,
            held_from: Day(0),
        })
    }

    /// The same, of a source that has dropped days before `day`: those that it
    /// does not hold are listed, and are no fault.
    #[must_use]
    pub fn held_from(self, day: Day) -> Self {
        Self {
            held_from: day,
            ..self
        }
    }

    /// Whether one day is chosen.
    fn takes(&self, day: Day) -> bool {
        let input = [&self.seed.to_be_bytes()[..], &day.0.to_be_bytes()].concat();
        let [a, b, c, d, ..] = crate::keccak::keccak256(input);
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.share * 4_294_967_296.0
    }
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Days recomputed, and days passed over by the sample.
    pub days: u64,
    /// Days that the sample left out.
    pub days_left_out: u64,
    /// Envelopes hashed.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What does not hold, each naming its block.
    pub faults: Vec<ArchiveError>,
    /// Days that the source has dropped, which were not looked at; nor was the
    /// topic index of a month that has one.
    pub not_held: BTreeSet<Day>,
    /// Days before this one may have been dropped.
    held_from: Day,
}

impl Verified {
    /// Nothing yet, of a source that has dropped days before `day`.
    pub(super) fn held_from(day: Day) -> Self {
        Self {
            held_from: day,
            ..Self::default()
        }
    }

    fn note(&mut self, result: Result<Sums, ArchiveError>) {
        match result {
            Ok(sums) => {
                self.envelopes += sums.count;
                self.bytes += sums.bytes;
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Whether `day` was dropped from the source; if so, notes it.
    fn lacks(
        &mut self,
        source: &dyn BlockSource,
        day: Day,
        segment: &Cid,
    ) -> Result<bool, ArchiveError> {
        let lacks = day < self.held_from && !source.has(segment)?;
        if lacks {
            self.not_held.insert(day);
        }
        Ok(lacks)
    }
}

/// Recomputes what a head says is sealed.
pub fn verify(
    source: &dyn BlockSource,
    sealed: &Sealed,
    head: Cid,
    sample: Sample,
    progress: &dyn Progress,
) -> Verified {
    let mut verified = Verified::held_from(sample.held_from);
    progress.phase(
        "verifying",
        Some(sealed.totals.count),
        Some(sealed.totals.bytes),
    );
    let state_sums = verify_state(source, sealed, sample, progress, &mut verified);
    let open_sums = verify_open(source, sealed, &mut verified);
    if let (Some(state), Some(open)) = (state_sums, open_sums)
        && state.plus(open) != sealed.totals
    {
        verified
            .faults
            .push(ArchiveError::NotAsLinked { cid: head });
    }
    verified
}

/// One bucket to recompute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// When its envelopes were sent.
    pub(super) range: TimeRange,
    /// What holds them.
    pub(super) segment: SegmentRef,
}

fn verify_state(
    source: &dyn BlockSource,
    sealed: &Sealed,
    sample: Sample,
    progress: &dyn Progress,
    verified: &mut Verified,
) -> Option<Sums> {
    let fault = |verified: &mut Verified, fault| verified.faults.push(fault);
    let calendar = match CalendarReader::new(source, sealed.state.as_ref()) {
        Ok(calendar) => calendar,
        Err(error) => {
            fault(verified, error);
            return None;
        }
    };
    for (year, child) in calendar.root().iter().flat_map(|root| &root.children) {
        let node = match CalendarNode::fetch(source, Level::Year, *child) {
            Ok(node) => node,
            Err(error) => {
                fault(verified, error);
                continue;
            }
        };
        for (number, child) in node.children {
            let month = Month {
                year: *year,
                month: u8::try_from(number).expect("a decoded month is 1 to 12"),
            };
            verify_month(source, sealed, month, child, sample, progress, verified);
        }
    }
    Some(calendar.sums())
}

fn verify_month(
    source: &dyn BlockSource,
    sealed: &Sealed,
    month: Month,
    child: Child,
    sample: Sample,
    progress: &dyn Progress,
    verified: &mut Verified,
) {
    let node = match CalendarNode::fetch(source, Level::Month, child) {
        Ok(node) => node,
        Err(error) => {
            verified.faults.push(error);
            return;
        }
    };
    let faults_before = verified.faults.len();
    let mut chosen = Vec::new();
    let mut some_lack = false;
    for (number, bucket) in &node.children {
        let day = u8::try_from(*number)
            .ok()
            .and_then(|number| Day::from_date(month, number));
        let Some(day) = day else {
            verified
                .faults
                .push(ArchiveError::NotAsLinked { cid: child.cid });
            continue;
        };
        match verified.lacks(source, day, &bucket.cid) {
            Ok(false) => {}
            Ok(true) => {
                some_lack = true;
                continue;
            }
            Err(error) => {
                verified.faults.push(error);
                continue;
            }
        }
        if !sample.takes(day) {
            verified.days_left_out += 1;
            continue;
        }
        verified.days += 1;
        match buckets_of(source, &node, child.cid, day, *bucket, sealed) {
            Ok(buckets) => chosen.extend(buckets),
            Err(error) => verified.faults.push(error),
        }
    }
    let results = parallel::map(&chosen, |bucket| {
        let result = recompute(source, bucket.segment, bucket.range);
        if let Ok(sums) = &result {
            progress.advance(sums.count, sums.bytes);
        }
        Ok::<_, std::convert::Infallible>(result)
    });
    let Ok(results) = results;
    results.into_iter().for_each(|result| verified.note(result));
    // Where days do not hold there is no index to speak of; and a segment that
    // stands for many days is not walked for each.
    if !chosen.is_empty()
        && !some_lack
        && verified.faults.len() == faults_before
        && let Err(error) = verify_topics(source, &node, child.cid)
    {
        verified.faults.push(error);
    }
}

/// The segments of one day of a month, which must be closed or open as the
/// watermark says.
pub(super) fn buckets_of(
    source: &dyn BlockSource,
    month: &CalendarNode,
    cid: Cid,
    day: Day,
    child: Child,
    sealed: &Sealed,
) -> Result<Vec<Bucket>, ArchiveError> {
    let wrong = || ArchiveError::NotAsLinked { cid };
    let is_open = month.open == Some(u16::from(day.date().1));
    if is_open == sealed.watermark.closes_day(day) {
        return Err(wrong());
    }
    if !is_open {
        return Ok(vec![Bucket {
            range: day.range(),
            segment: child,
        }]);
    }
    let mut buckets = Vec::new();
    for (number, segment) in CalendarNode::fetch(source, Level::OpenDay, child)?.children {
        let hour = Hour(day.0 * 24 + u32::from(number));
        if !sealed.watermark.closes_hour(hour) {
            return Err(wrong());
        }
        buckets.push(Bucket {
            range: hour.range(),
            segment,
        });
    }
    Ok(buckets)
}

/// Makes a segment again from its own records, which must lie in its time.
pub(super) fn recompute(
    source: &dyn BlockSource,
    segment: SegmentRef,
    range: TimeRange,
) -> Result<Sums, ArchiveError> {
    let mut sink = Discard;
    let mut builder = SegmentBuilder::new(&mut sink);
    let mut run = SegmentRun::new(source, segment);
    while let Some(record) = run.take()? {
        if let Some(leaf) = run.leaf_just_read() {
            builder.expect_leaf(leaf);
        }
        if !range.contains(record.key.sent) {
            return Err(ArchiveError::NotAsLinked { cid: segment.cid });
        }
        builder.push(&record)?;
    }
    match builder.finish()? {
        Some(again) if again == segment => Ok(segment.sums),
        Some(again) if again.cid == segment.cid => {
            Err(ArchiveError::NotAsLinked { cid: segment.cid })
        }
        Some(again) => Err(ArchiveError::NotCanonical {
            cid: segment.cid,
            canonical: again.cid,
        }),
        None => Err(ArchiveError::NotAsLinked { cid: segment.cid }),
    }
}

fn verify_topics(
    source: &dyn BlockSource,
    node: &CalendarNode,
    month: Cid,
) -> Result<(), ArchiveError> {
    let closed: Vec<_> = node
        .children
        .iter()
        .filter(|(number, _)| node.open != Some(**number))
        .filter_map(|(number, child)| Some((u8::try_from(*number).ok()?, *child)))
        .collect();
    let mut nodes = Cids::default();
    match (build_index(source, &closed, &mut nodes)?, node.topics) {
        (canonical, found) if canonical == found => {}
        (Some(canonical), Some(cid)) => return Err(ArchiveError::NotCanonical { cid, canonical }),
        _ => return Err(ArchiveError::NotAsLinked { cid: month }),
    }
    // The index was made, not read; whoever asks it needs the blocks.
    for cid in nodes.0 {
        source.get(&cid)?;
    }
    Ok(())
}

/// Keeps the names of blocks.
#[derive(Default)]
struct Cids(Vec<Cid>);

impl BlockSink for Cids {
    fn take(&mut self, block: &Block) -> Result<(), BlockError> {
        self.0.push(*block.cid());
        Ok(())
    }
}

/// Recomputes the open deltas; gives what they hold of the open hour, each
/// envelope counted once.
pub(super) fn verify_open(
    source: &dyn BlockSource,
    sealed: &Sealed,
    verified: &mut Verified,
) -> Option<Sums> {
    let hour = sealed.watermark.open_hour();
    let mut of_hour = Vec::new();
    let mut sound = true;
    for delta in &sealed.open {
        match verify_delta(source, delta, sealed.watermark, verified) {
            Ok(segment) => of_hour.extend(segment),
            Err(error) => {
                verified.faults.push(error);
                sound = false;
            }
        }
    }
    if !sound {
        return None;
    }
    let mut runs: Vec<Box<dyn SortedRecords>> = Vec::new();
    for segment in of_hour {
        let run = SegmentRun::new(source, segment).sent_in(hour.range());
        runs.push(Box::new(run));
    }
    match unite(&mut runs, &mut Discard) {
        Ok(united) => Some(united.map(|segment| segment.sums).unwrap_or_default()),
        Err(error) => {
            verified.faults.push(error);
            None
        }
    }
}

/// Recomputes a delta, whose days are all segments of envelopes sent before the
/// watermark; gives its segment of the day that holds the open hour.
pub(super) fn verify_delta(
    source: &dyn BlockSource,
    delta: &Cid,
    watermark: Watermark,
    verified: &mut Verified,
) -> Result<Option<SegmentRef>, ArchiveError> {
    let mut calendar = CalendarReader::new(source, Some(delta))?;
    let mut open_day = None;
    for (month, child) in calendar.months()? {
        let wrong = || ArchiveError::NotAsLinked { cid: child.cid };
        let node = calendar.month(month)?.ok_or_else(wrong)?;
        if node.open.is_some() || node.topics.is_some() {
            return Err(wrong());
        }
        for (number, segment) in &node.children {
            let number = u8::try_from(*number).map_err(|_| wrong())?;
            let day = Day::from_date(month, number).ok_or_else(wrong)?;
            let range = watermark.before(day.range());
            if verified.lacks(source, day, &segment.cid)? {
                continue;
            }
            let sums = recompute(source, *segment, range.ok_or_else(wrong)?)?;
            verified.note(Ok(sums));
            if day == watermark.open_hour().day() {
                open_day = Some(*segment);
            }
        }
    }
    Ok(open_day)
}

/// Whether a node is a calendar node of any level; for showing blocks.
pub fn calendar_level(bytes: &[u8]) -> Option<Level> {
    [Level::State, Level::Year, Level::Month, Level::OpenDay]
        .into_iter()
        .find(|level| CalendarNode::decode(*level, bytes).is_ok())
}
