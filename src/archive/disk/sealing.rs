//! The steps of a seal on disk, in the order that makes them durable.
//!
//! Always true: a head is stored after its blocks, after its number was claimed where
//! there is a gate, and after the list of what came late in it; the pointer and the journal follow, and may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Instant;

use super::{Archive, DiskError, SealReport};
use crate::archive::fresh::{Pending, Sealed, keep_new};
use crate::archive::head::{Head, HeadBody, MAX_OPEN, Sequence};
use crate::archive::key::Key;
use crate::archive::seal::{SealOutcome, SealRequest, seal};
use crate::archive::sums::Sums;
use crate::archive::watermark::{Day, Watermark};
use crate::blocks::Cid;
use crate::journal::{FileNumber, Location};
use crate::progress::Progress;
use crate::time::UnixSeconds;

impl Archive {
    /// Seals what was sent before `until` under a new head. Where nothing is new
    /// and no bucket closes, the head stays what it is.
    pub fn seal(
        &self,
        until: Watermark,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<SealReport, DiskError> {
        let began = Instant::now();
        let sealed = self.seal_once(until, now, progress);
        match &sealed {
            Ok(report) if report.changed => {
                let (added, written) = (report.added.count, report.written);
                self.meters.sealed(began.elapsed(), added, written);
            }
            Ok(_) => {}
            Err(_) => self.meters.failed_seals.count(),
        }
        sealed
    }

    fn seal_once(
        &self,
        until: Watermark,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<SealReport, DiskError> {
        self.own()?;
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = self.due(until)?;
        let outcome = seal(
            SealRequest {
                store: &self.blocks,
                base: &due.base,
                pending: std::mem::take(&mut due.pending),
                read: &|at| self.read_waiting(at),
                watermark: until,
                sequence: due.sequence(),
                max_open: MAX_OPEN,
            },
            progress,
        )?;
        let changed = outcome.added.is_some() || outcome.sealed.state != due.base.state;
        let sealed = NewHead {
            late: late_of(&due.keys, due.base.watermark),
            outcome,
            merged: Vec::new(),
        };
        self.seal_under(&due, changed.then_some(sealed), now)
    }

    /// What is sealed, and what waits and is due: where a seal starts from. Called
    /// while `sealing` is held.
    pub(super) fn due(&self, until: Watermark) -> Result<Due, DiskError> {
        self.admitted()?;
        self.adopt_stored_head()?;
        let (base, before, pending, rotated) = {
            let _gate = self.gate_alone();
            let state = self.read_state();
            let base = state.sealed();
            if until < base.watermark {
                return Err(DiskError::Backwards {
                    sealed: base.watermark,
                    asked: until,
                });
            }
            let rotated = self.journal.rotate()?;
            (base, state.head.clone(), state.waiting.due(until), rotated)
        };
        let pending = self.readable(&base, pending)?;
        Ok(Due {
            base,
            before,
            keys: pending.iter().map(|pending| pending.key).collect(),
            pending,
            rotated,
        })
    }

    /// Signs and stores a new head, if there is one, and tidies up behind it.
    pub(super) fn seal_under(
        &self,
        due: &Due,
        new: Option<NewHead>,
        now: UnixSeconds,
    ) -> Result<SealReport, DiskError> {
        let mut report = SealReport {
            head: due.before.clone(),
            changed: new.is_some(),
            added: Sums::default(),
            written: 0,
        };
        if let Some(new) = new {
            let head = self.sign(&new, due, now)?;
            self.claimed(&head)?;
            self.late().append(&head, new.late);
            self.blocks.heads.store(&head)?;
            self.blocks.list();
            report.head = Some(head);
            report.added = new.outcome.added_sums;
            report.written = new.outcome.written;
        }
        // From here on the head is sealed, whatever fails: the pointer and the
        // journal are put right by the next seal or opening.
        {
            let mut state = self.write_state();
            state.head.clone_from(&report.head);
            state.waiting.sealed(&due.keys);
        }
        let tidied = match &report.head {
            Some(head) => self.blocks.heads.point_to(head),
            None => Ok(()),
        };
        if let Err(error) = tidied.and_then(|()| self.trim(due.rotated)) {
            tracing::warn!(%error, "sealed, but could not tidy up behind it");
        }
        Ok(report)
    }

    /// Leaves out what came late for a day whose blocks are not to be had now: it
    /// waits for a later seal, and keeps no other day from being sealed.
    fn readable(
        &self,
        base: &Sealed,
        pending: Vec<Pending<Location>>,
    ) -> Result<Vec<Pending<Location>>, DiskError> {
        let mut late: BTreeMap<Day, Vec<Pending<Location>>> = BTreeMap::new();
        for pending in pending.iter().filter(|p| base.watermark.covers(p.key.sent)) {
            let of_day = late.entry(Day::of(pending.key.sent)).or_default();
            of_day.push(*pending);
        }
        let mut unreadable = BTreeSet::new();
        for (day, of_day) in late {
            match keep_new(&self.blocks, base, of_day) {
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(%day, %error, "what came late for this day waits");
                    unreadable.insert(day);
                }
                other => drop(other?),
            }
        }
        let left_out = |p: &Pending<Location>| {
            base.watermark.covers(p.key.sent) && unreadable.contains(&Day::of(p.key.sent))
        };
        Ok(pending.into_iter().filter(|p| !left_out(p)).collect())
    }

    /// Takes over a head that was stored when what came after failed, so that no
    /// second one gets its number.
    pub(super) fn adopt_stored_head(&self) -> Result<(), DiskError> {
        if let Some(stored) = self.blocks.heads.current()? {
            let mut state = self.write_state();
            let known = state.head.as_ref().map(|head| head.body().sequence);
            if known < Some(stored.body().sequence) {
                self.blocks.heads.sync()?;
                state.head = Some(stored);
            }
        }
        Ok(())
    }

    fn sign(&self, new: &NewHead, due: &Due, now: UnixSeconds) -> Result<Head, DiskError> {
        let sequence = Sequence(due.sequence());
        let back = 1 << sequence.0.trailing_zeros();
        let skip = match sequence.0.checked_sub(back) {
            Some(earlier) if back > 1 => self.blocks.heads.by_sequence(Sequence(earlier))?,
            _ => None,
        };
        let NewHead {
            outcome, merged, ..
        } = new;
        let body = HeadBody {
            network: self.meta.network.clone(),
            name: self.meta.name.clone(),
            sequence,
            watermark: outcome.sealed.watermark,
            signed_at: now,
            state: outcome.sealed.state,
            open: outcome.sealed.open.clone(),
            added: outcome.added,
            totals: outcome.sealed.totals,
            prev: due.before.as_ref().map(|head| *head.cid()),
            skip: skip.map(|head| *head.cid()),
            merged: merged.clone(),
        };
        Ok(Head::sign(body, &self.key)?)
    }

    /// Deletes the journal's files up to `rotated`; what still waits in them is
    /// first written again. Where that is most of them they stay for now: what is
    /// dated ahead of its time is not written again by every seal.
    pub(super) fn trim(&self, rotated: FileNumber) -> Result<(), DiskError> {
        let left: Vec<_> = self
            .read_state()
            .waiting
            .all()
            .filter(|p| p.at.file <= rotated)
            .collect();
        let bytes: u64 = left.iter().map(|p| p.len as u64).sum();
        if 2 * bytes > self.journal.len_through(rotated) {
            return Ok(());
        }
        for some in left.chunks(1_024) {
            let records = some
                .iter()
                .map(|p| self.read_waiting(p.at))
                .collect::<Result<Vec<_>, _>>()?;
            let locations = self.journal_append(records)?;
            let mut state = self.write_state();
            for (pending, location) in some.iter().zip(locations) {
                state.waiting.moved(&pending.key, location);
            }
        }
        Ok(self.journal.remove_through(rotated)?)
    }
}

/// Where a seal starts from.
pub(super) struct Due {
    /// What is sealed.
    pub(super) base: Sealed,
    /// The head that says so.
    before: Option<Head>,
    /// What waits in the journal and is due.
    pub(super) pending: Vec<Pending<Location>>,
    /// The keys of all that was due.
    pub(super) keys: Vec<Key>,
    /// The journal's files up to this one hold it.
    rotated: FileNumber,
}

impl Due {
    /// The number of the head to come.
    pub(super) fn sequence(&self) -> u64 {
        self.before
            .as_ref()
            .map_or(1, |head| head.body().sequence.0 + 1)
    }
}

/// What a new head is to say.
pub(super) struct NewHead {
    /// What was sealed; its blocks are durable.
    pub(super) outcome: SealOutcome,
    /// What of it was sent before what had been sealed already.
    pub(super) late: Vec<Key>,
    /// Heads of others that were united into it.
    pub(super) merged: Vec<Cid>,
}

/// Which of `keys` were sent before what was sealed already.
pub(super) fn late_of(keys: &[Key], sealed: Watermark) -> Vec<Key> {
    keys.iter()
        .copied()
        .filter(|key| sealed.covers(key.sent))
        .collect()
}
