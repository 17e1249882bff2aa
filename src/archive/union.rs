//! What another archive adds to one's own.
//!
//! Always true:
//! - What is equal is not read, neither here nor there.
//! - Nothing of another's is given on that was not recomputed: an envelope was
//!   hashed, a whole day came out again from its envelopes and lies in the store.
//! - Memory holds the keys of one [`Step`] and one bucket more.
//!
//! A seal ([`super::seal::seal_with`]) of what is found, up to [`Gain::until`],
//! makes the union: there is no merge base, and the order does not matter.

use super::ArchiveError;
use super::builder::SegmentRef;
use super::copy::{Copied, copy_days};
use super::diff::{Detail, Diff, Difference, Fault, Found, Side, Sides};
use super::filter::{Filter, TopicFilter};
use super::fresh::{Pending, Sealed};
use super::leaf::Record;
use super::seal::AdoptedDays;
use super::sums::Sums;
use super::watermark::{Day, Watermark};
use crate::blocks::{BlockSource, BlockStore};
use crate::progress::Progress;
use crate::time::TimeRange;

/// How much is found before it is sealed and more is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Single envelopes.
    pub envelopes: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What is asked.
pub struct UnionRequest<'a> {
    /// Where the own blocks are read.
    pub own: &'a dyn BlockSource,
    /// Where whole days of the other go. Its reads must not fall back on `source`.
    pub store: &'a dyn BlockStore,
    /// What is sealed here.
    pub base: &'a Sealed,
    /// Who has the other's blocks; trusted with nothing.
    pub source: &'a dyn BlockSource,
    /// What the other's head says is sealed.
    pub other: &'a Sealed,
    /// Days before this one are left where they are.
    pub from: Day,
    /// How much is found at a time.
    pub step: Step,
}

/// What the other has and the own archive has not, as far as one step goes.
#[derive(Clone, Debug)]
pub struct Gain<T> {
    /// Single envelopes.
    pub pending: Vec<Pending<T>>,
    /// Whole days, stored.
    pub days: Vec<(Day, SegmentRef)>,
    /// Up to when it is complete.
    pub until: Watermark,
    /// Whether there is more, after that time.
    pub more: bool,
    /// What was fetched of the other's.
    pub copied: Copied,
    /// Buckets that differ before the first day that counts.
    pub left_out: u64,
}

impl<T> Gain<T> {
    /// Whether no envelope was found.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.days.is_empty()
    }

    /// Its days, as a seal takes them.
    pub fn adopted(&self) -> AdoptedDays {
        let days = self.days.iter();
        days.map(|(day, segment)| (*day, vec![*segment])).collect()
    }

    /// Leaves a bucket and what follows it for the next step, unless something of
    /// it was found already.
    fn cut_before(&mut self, difference: &Difference) {
        let start = difference.bucket.from();
        let last = self.pending.last();
        if last.is_some_and(|last| last.key.sent < start) {
            self.more = true;
            self.until = Watermark::at_or_before(start);
            self.days.retain(|(day, _)| day.range().from() < start);
        }
    }
}

/// Finds it; `keep` is given each single envelope and says how it is read back.
pub fn find<T>(
    request: &UnionRequest<'_>,
    keep: &mut dyn FnMut(&Record) -> Result<T, ArchiveError>,
    progress: &dyn Progress,
) -> Result<Gain<T>, Fault> {
    progress.phase("comparing", None, None);
    let everything = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let sources = Sides {
        a: request.own,
        b: request.source,
    };
    let sealed = Sides {
        a: request.base,
        b: request.other,
    };
    let mut diff = Diff::new(sources, sealed, &everything, Detail::Envelopes)?;
    let mut gain = Gain {
        pending: Vec::new(),
        days: Vec::new(),
        until: request.other.watermark,
        more: false,
        copied: Copied::default(),
        left_out: 0,
    };
    diff.retain(|bucket| {
        let is_theirs = !bucket.parts.b.is_empty();
        let is_kept = Day::of(bucket.range.from()) >= request.from;
        gain.left_out += u64::from(is_theirs && !is_kept);
        let whole = bucket.day_of_one(Side::B).filter(|_| is_kept);
        gain.days.extend(whole);
        is_theirs && is_kept && whole.is_none()
    });
    let mut bytes = 0;
    while !gain.more
        && let Some(difference) = diff.next().transpose()?
    {
        if gain.pending.len() >= request.step.envelopes || bytes >= request.step.bytes {
            gain.cut_before(&difference);
        }
        if let (false, Side::B, Found::Envelope(record)) =
            (gain.more, difference.side, difference.found)
        {
            let len = record.bytes.len();
            gain.pending.push(Pending {
                key: record.key,
                len,
                at: keep(&record).map_err(|error| Fault {
                    side: Side::A,
                    error,
                })?,
            });
            bytes += len as u64;
            progress.advance(1, len as u64);
        }
    }
    let cost = diff.cost_of(Side::B);
    gain.copied.blocks += cost.blocks;
    gain.copied.bytes += cost.bytes;
    if !gain.days.is_empty() {
        let sums: Sums = gain.days.iter().map(|(_, segment)| segment.sums).sum();
        progress.phase("fetching days", Some(sums.count), Some(sums.bytes));
        let copied = copy_days(request.source, request.store, &gain.days, progress);
        gain.copied.add(copied.map_err(|error| Fault {
            side: Side::B,
            error,
        })?);
    }
    Ok(gain)
}
