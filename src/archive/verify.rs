//! Recomputes an archive from its envelopes up.
//!
//! Always true: a state that verifies is the canonical one of the envelopes it
//! holds: every leaf, pack, topic index and calendar node was made again and had
//! the CID its parent names. What does not verify is reported by block, and the
//! rest is still looked at.

use super::ArchiveError;
use super::builder::{Discard, SegmentBuilder, SegmentRef};
use super::calendar::{CalendarNode, CalendarReader, DayBucket, Level};
use super::fresh::Sealed;
use super::merge::{SegmentRun, SortedRecords};
use super::parallel;
use super::sums::Sums;
use super::topics::build_index;
use super::watermark::{Day, Month};
use crate::blocks::{BlockSource, Cid};
use crate::progress::Progress;
use crate::time::TimeRange;

/// Which share of the days is recomputed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// 0 to 1; 1 is everything.
    share: f64,
    /// Chooses which days.
    seed: u64,
}

impl Sample {
    /// Every day.
    pub const EVERYTHING: Self = Self {
        share: 1.0,
        seed: 0,
    };

    /// About `share` (above 0, up to 1) of the days, chosen by `seed`; `None`
    /// outside these bounds.
    pub fn new(share: f64, seed: u64) -> Option<Self> {
        (share > 0.0 && share <= 1.0).then_some(Self { share, seed })
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
}

impl Verified {
    fn note(&mut self, result: Result<Sums, ArchiveError>) {
        match result {
            Ok(sums) => {
                self.envelopes += sums.count;
                self.bytes += sums.bytes;
            }
            Err(fault) => self.faults.push(fault),
        }
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
    let mut verified = Verified::default();
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
struct Bucket {
    day: Day,
    range: TimeRange,
    segment: SegmentRef,
}

fn verify_state(
    source: &dyn BlockSource,
    sealed: &Sealed,
    sample: Sample,
    progress: &dyn Progress,
    verified: &mut Verified,
) -> Option<Sums> {
    let fault = |verified: &mut Verified, fault| verified.faults.push(fault);
    let mut calendar = match CalendarReader::new(source, sealed.state.as_ref()) {
        Ok(calendar) => calendar,
        Err(error) => {
            fault(verified, error);
            return None;
        }
    };
    let months = match calendar.months() {
        Ok(months) => months,
        Err(error) => {
            fault(verified, error);
            return Some(calendar.sums());
        }
    };
    for (month, child) in months {
        let (node, buckets) = match buckets_of(&mut calendar, month, child.cid, sealed) {
            Ok(found) => found,
            Err(error) => {
                fault(verified, error);
                continue;
            }
        };
        let days = node.children.len() as u64;
        let chosen: Vec<_> = buckets
            .into_iter()
            .filter(|b| sample.takes(b.day))
            .collect();
        let chosen_days = chosen
            .iter()
            .map(|b| b.day)
            .collect::<std::collections::BTreeSet<_>>();
        verified.days += chosen_days.len() as u64;
        verified.days_left_out += days - chosen_days.len() as u64;
        let results = parallel::map(&chosen, |bucket| {
            let result = recompute(source, bucket.segment, bucket.range);
            if let Ok(sums) = &result {
                progress.advance(sums.count, sums.bytes);
            }
            Ok::<_, std::convert::Infallible>(result)
        });
        let Ok(results) = results;
        results.into_iter().for_each(|result| verified.note(result));
        if !chosen_days.is_empty()
            && let Err(error) = verify_topics(source, &node, child.cid)
        {
            fault(verified, error);
        }
    }
    Some(calendar.sums())
}

fn buckets_of(
    calendar: &mut CalendarReader<'_>,
    month: Month,
    cid: Cid,
    sealed: &Sealed,
) -> Result<(CalendarNode, Vec<Bucket>), ArchiveError> {
    let wrong = || ArchiveError::NotAsLinked { cid };
    let node = calendar.month(month)?.cloned().ok_or_else(wrong)?;
    let mut buckets = Vec::new();
    for number in node.children.keys() {
        let number = u8::try_from(*number).map_err(|_| wrong())?;
        let day = Day::from_date(month, number).ok_or_else(wrong)?;
        match calendar.day(day)?.ok_or_else(wrong)? {
            DayBucket::Closed(segment) if sealed.watermark.closes_day(day) => {
                buckets.push(Bucket {
                    day,
                    range: day.range(),
                    segment,
                });
            }
            DayBucket::Open(hours) if !sealed.watermark.closes_day(day) => {
                for (hour, segment) in hours {
                    if !sealed.watermark.closes_hour(hour) {
                        return Err(wrong());
                    }
                    buckets.push(Bucket {
                        day,
                        range: hour.range(),
                        segment,
                    });
                }
            }
            // Open past its end, or closed before it.
            _ => return Err(wrong()),
        }
    }
    Ok((node, buckets))
}

/// Makes a segment again from its own records, which must lie in its time.
fn recompute(
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
    match (build_index(source, &closed, &mut Discard)?, node.topics) {
        (canonical, found) if canonical == found => Ok(()),
        (Some(canonical), Some(cid)) => Err(ArchiveError::NotCanonical { cid, canonical }),
        _ => Err(ArchiveError::NotAsLinked { cid: month }),
    }
}

/// Recomputes the open deltas; gives what they hold of the open hour.
fn verify_open(source: &dyn BlockSource, sealed: &Sealed, verified: &mut Verified) -> Option<Sums> {
    let hour = sealed.watermark.open_hour();
    let mut open = Some(Sums::default());
    for delta in &sealed.open {
        let result = || -> Result<Sums, ArchiveError> {
            let mut segments = Vec::new();
            let mut calendar = CalendarReader::new(source, Some(delta))?;
            calendar.for_each_day(|day, bucket| {
                if let DayBucket::Closed(segment) = bucket {
                    segments.push((day, segment));
                }
                Ok::<_, ArchiveError>(())
            })?;
            let mut open = Sums::default();
            for (day, segment) in segments {
                recompute(source, segment, day.range())?;
                if day == hour.day() {
                    let mut run = SegmentRun::new(source, segment).sent_in(hour.range());
                    while let Some(record) = run.take()? {
                        open = open.plus(Sums::of_one(record.bytes.len(), record.key.hash));
                    }
                }
            }
            Ok(open)
        };
        let result = result();
        open = open
            .zip(result.as_ref().ok())
            .map(|(sum, more)| sum.plus(*more));
        verified.note(result);
    }
    open
}

/// Whether a node is a calendar node of any level; for showing blocks.
pub fn calendar_level(bytes: &[u8]) -> Option<Level> {
    [Level::State, Level::Year, Level::Month, Level::OpenDay]
        .into_iter()
        .find(|level| CalendarNode::decode(*level, bytes).is_ok())
}
