//! Uniting what other archives hold with one's own.
//!
//! Always true:
//! - The state that comes out is the canonical one of the union, up to the later
//!   of both watermarks.
//! - A head is signed where anything is new or the watermark rises, and only
//!   then; its blocks are durable before it. A merge that was cut off is done by
//!   merging again: days that were copied are not fetched twice.
//! - Bytes of new envelopes wait in a file without a name.
//!
//! What waits in the own journal before the new watermark is sealed by the same
//! head, for that is what a watermark says. Heads are merged one after the other,
//! each under heads of its own.

mod spool;
#[cfg(test)]
mod tests;

use std::sync::PoisonError;

use bytes::Bytes;

use self::spool::{Spool, Spooled};
use super::fork::acceptable;
use super::position::late::MAX_ENTRIES;
use super::sealing::{NewHead, late_of};
use super::{Archive, DiskError, sealed_by};
use crate::archive::ArchiveError;
use crate::archive::copy::Copied;
use crate::archive::diff::{Fault, Side};
use crate::archive::fresh::{Pending, Sealed};
use crate::archive::head::{Head, MAX_OPEN};
use crate::archive::key::Key;
use crate::archive::merge::{SegmentRun, SortedRecords};
use crate::archive::seal::{SealRequest, seal_with};
use crate::archive::sums::Sums;
use crate::archive::union::{Gain, Step, UnionRequest, find};
use crate::archive::watermark::{Day, Watermark};
use crate::blocks::{BlockSource, Cid};
use crate::journal::Location;
use crate::progress::Progress;
use crate::time::UnixSeconds;

/// How much is found before it is sealed under a head of its own: some 300 bytes
/// of memory for each envelope, and the bytes on disk.
const STEP: Step = Step {
    envelopes: 200_000,
    bytes: 256 << 20,
};

/// What a merge came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The current head; `None` where nothing was ever sealed.
    pub head: Option<Head>,
    /// How many heads were signed.
    pub heads: u64,
    /// What is new in them, what waited in the journal included.
    pub added: Sums,
    /// Days taken over whole.
    pub days: u64,
    /// What was fetched from the others, and written.
    pub copied: Copied,
    /// Days and hours of the others that differ, and are older than what is kept
    /// here.
    pub left_out: u64,
}

/// Why a merge did not come to its end. What it sealed before stays.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A block of another's is missing or wrong.
    #[error("merging head {head}: {error}")]
    Other {
        /// Whose head.
        head: Cid,
        /// What is wrong.
        #[source]
        error: Box<ArchiveError>,
    },
    /// This archive, or a head that nothing here may rest on.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Archive {
    /// Unites the archives of `others`, each a head and who has its blocks, with
    /// this one. All heads are looked at before any block is fetched.
    pub fn merge(
        &self,
        others: &[(Head, &dyn BlockSource)],
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Merged, MergeError> {
        self.merge_by(STEP, others, now, progress)
    }

    fn merge_by(
        &self,
        step: Step,
        others: &[(Head, &dyn BlockSource)],
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Merged, MergeError> {
        self.own()?;
        for (head, _) in others {
            acceptable(head, now)?;
        }
        let mut merged = Merged {
            head: None,
            heads: 0,
            added: Sums::default(),
            days: 0,
            copied: Copied::default(),
            left_out: 0,
        };
        for (head, source) in others {
            let other = Other {
                cid: *head.cid(),
                sealed: sealed_by(head),
                source: *source,
                step,
            };
            while self.merge_step(&other, now, progress, &mut merged)? {}
        }
        merged.head = self.head();
        Ok(merged)
    }

    /// Merges as much of one archive as a step may hold; gives whether there is
    /// more.
    fn merge_step(
        &self,
        other: &Other,
        now: UnixSeconds,
        progress: &dyn Progress,
        merged: &mut Merged,
    ) -> Result<bool, MergeError> {
        let standing = self.standing();
        // Seals go on while blocks are fetched; one that comes between makes it
        // be done again, this time alone.
        let mut found = self.find(other, &standing, progress, merged)?;
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        self.adopt_stored_head()?;
        let base_now = self.standing();
        if standing != base_now {
            found = self.find(other, &base_now, progress, merged)?;
        }
        let (gain, spool) = found;
        merged.left_out = merged.left_out.max(gain.left_out);
        let until = gain.until.max(base_now.sealed.watermark);
        if gain.is_empty() && until == base_now.sealed.watermark {
            return Ok(gain.more);
        }

        let mut due = self.due(until)?;
        let waited = due.pending.len() as u64;
        let late = self.late_among(&due.keys, &gain, due.base.watermark)?;
        let waiting = std::mem::take(&mut due.pending).into_iter();
        let waiting = waiting.map(|pending| at(&pending, At::Journal(pending.at)));
        let theirs = gain.pending.iter();
        let theirs = theirs.map(|pending| at(pending, At::Spool(pending.at)));
        let outcome = seal_with(
            SealRequest {
                store: &self.blocks,
                base: &due.base,
                pending: waiting.chain(theirs).collect(),
                read: &|at: At| -> Result<Bytes, ArchiveError> {
                    match at {
                        At::Journal(at) => self.read_waiting(at),
                        At::Spool(at) => Ok(spool.read(at)?),
                    }
                },
                watermark: until,
                sequence: due.sequence(),
                max_open: MAX_OPEN,
            },
            &gain.adopted(),
            progress,
        )
        .map_err(DiskError::from)?;
        // Only the last step has brought all of it.
        let complete = (!gain.more).then_some(other.cid);
        let new = NewHead {
            outcome,
            late,
            merged: complete.into_iter().collect(),
        };
        let report = self.seal_under(&due, Some(new), now)?;
        merged.heads += 1;
        merged.days += gain.days.len() as u64;
        merged.added = merged.added.plus(report.added);
        // What waited here was counted when it came.
        let theirs = report.added.count.saturating_sub(waited);
        self.meters.merged.add(theirs);
        merged.copied.written += report.written;
        Ok(gain.more)
    }

    fn standing(&self) -> Standing {
        let state = self.read_state();
        Standing {
            sealed: state.sealed(),
            kept_from: state.kept_from,
        }
    }

    /// Finds what another archive has and this one has not.
    fn find(
        &self,
        other: &Other,
        standing: &Standing,
        progress: &dyn Progress,
        merged: &mut Merged,
    ) -> Result<(Gain<Spooled>, Spool), MergeError> {
        let mut spool = Spool::new(&self.dir);
        let request = UnionRequest {
            own: &self.blocks,
            store: &self.blocks.folder,
            base: &standing.sealed,
            source: other.source,
            other: &other.sealed,
            from: standing.kept_from,
            step: other.step,
        };
        let gain = find(
            &request,
            &mut |record| Ok(spool.push(&record.bytes)?),
            progress,
        )
        .map_err(|Fault { side, error }| match side {
            Side::A => MergeError::Disk(error.into()),
            Side::B => MergeError::Other {
                head: other.cid,
                error: Box::new(error),
            },
        })?;
        spool.finish().map_err(DiskError::from)?;
        merged.copied.add(gain.copied);
        Ok((gain, spool))
    }

    /// What of what is new was sent before the watermark of the base.
    fn late_among(
        &self,
        waited: &[Key],
        gain: &Gain<Spooled>,
        watermark: Watermark,
    ) -> Result<Vec<Key>, MergeError> {
        let theirs: Vec<Key> = gain.pending.iter().map(|pending| pending.key).collect();
        let mut late = late_of(waited, watermark);
        late.extend(late_of(&theirs, watermark));
        let days = gain.days.iter();
        for (_, segment) in days.filter(|(day, _)| watermark.covers(day.range().from())) {
            let mut run = SegmentRun::new(&self.blocks, *segment);
            // The list holds no more, and begins anew behind a head that has more.
            while (late.len() as u64) < MAX_ENTRIES
                && let Some(record) = run.take().map_err(DiskError::from)?
            {
                late.extend(watermark.covers(record.key.sent).then_some(record.key));
            }
        }
        late.sort_unstable_by_key(|key| key.hash);
        late.dedup_by_key(|key| key.hash);
        Ok(late)
    }
}

/// The archive that is merged.
struct Other<'a> {
    cid: Cid,
    sealed: Sealed,
    source: &'a dyn BlockSource,
    step: Step,
}

/// Where this archive stands; what is found is found against it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    sealed: Sealed,
    kept_from: Day,
}

/// Where the bytes of a new envelope are.
#[derive(Clone, Copy, Debug)]
enum At {
    Journal(Location),
    Spool(Spooled),
}

fn at<T>(pending: &Pending<T>, at: At) -> Pending<At> {
    Pending {
        key: pending.key,
        len: pending.len,
        at,
    }
}
