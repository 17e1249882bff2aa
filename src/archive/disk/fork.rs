//! Going on from a history of another's, under a key of one's own.
//!
//! Always true:
//! - A fork is one head over the state it goes on from, whatever the history's
//!   size. Before it is signed, what sealing on takes is on this disk: the source
//!   deletes the open day's hours and deltas a day after they were superseded.
//! - The head before a fork's first is the one it goes on from: who follows the
//!   one can follow the other from there.
//! - A fork that a crash cut off is finished by doing it again.

use std::path::Path;
use std::sync::PoisonError;

use super::origin::{Kind, Origin};
use super::{Archive, DiskError, WHISPER, sealed_by};
use crate::archive::copy::{Copied, CopyRequest, copy_onward};
use crate::archive::head::{Head, HeadBody, HeadError, Sequence};
use crate::archive::watermark::{Day, Watermark};
use crate::blocks::BlockSource;
use crate::progress::Progress;
use crate::time::{HOUR, UnixSeconds};

/// How far a foreign head's watermark may be ahead of this clock. A watermark
/// never falls: one taken over from the far future would keep every envelope
/// until then out of reach of a seal.
pub const AHEAD: u32 = HOUR;

/// Highest number a foreign head may have. A head every second would take nine
/// million years to get there, and whoever goes on from one that lies above would
/// soon be out of numbers.
pub const MAX_SEQUENCE: u64 = 1 << 48;

/// Refuses a head that nothing here may rest on.
pub(super) fn acceptable(head: &Head, now: UnixSeconds) -> Result<(), DiskError> {
    let body = head.body();
    if body.network != WHISPER {
        return Err(DiskError::Network {
            network: body.network.clone(),
        });
    }
    if body.watermark.at() > now.saturating_add(AHEAD) {
        return Err(DiskError::Ahead {
            watermark: body.watermark,
        });
    }
    if body.sequence.0 > MAX_SEQUENCE {
        return Err(HeadError::Field("its number leaves none to go on with").into());
    }
    Ok(())
}

impl Archive {
    /// Makes an archive in `dir` that goes on from `head`, whose blocks `source`
    /// has, and signs its first head; gives what was fetched too. `dir` holds no
    /// archive, or one in which nothing ever was. `sources` is where the history
    /// is to be had from then on.
    pub fn fork(
        dir: &Path,
        name: &str,
        head: &Head,
        source: &dyn BlockSource,
        sources: Vec<String>,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<(Self, Copied), DiskError> {
        acceptable(head, now)?;
        let archive = match Self::open(dir) {
            Err(DiskError::NoArchive { .. }) => Self::init(dir, name)?,
            Ok(archive) => archive,
            Err(error) => return Err(error),
        };
        let begun = archive.head();
        let cut_off = begun
            .as_ref()
            .is_some_and(|begun| begun.cid() == head.cid());
        if archive.waiting() > 0 || (begun.is_some() && !cut_off) {
            return Err(DiskError::Exists {
                dir: dir.to_owned(),
            });
        }
        let copied = archive.fetch_onward(head, source, progress)?;
        archive.set_origin(Origin::of(Kind::Fork, head, sources))?;
        if !cut_off {
            archive.blocks.heads.store(head)?;
        }
        archive.go_on_from(head, now)?;
        Ok((archive, copied))
    }

    /// Fetches what it takes to seal on from `head`.
    fn fetch_onward(
        &self,
        head: &Head,
        source: &dyn BlockSource,
        progress: &dyn Progress,
    ) -> Result<Copied, DiskError> {
        let sealed = sealed_by(head);
        let request = CopyRequest {
            source,
            store: self.blocks.folder(),
            sealed: &sealed,
            head: *head.cid(),
            added: None,
            sequence: head.body().sequence.0,
            from: Day(0),
        };
        copy_onward(&request, progress).map_err(|error| match error.cid() {
            Some(cid) if error.is_missing() => DiskError::Past {
                day: sealed.watermark.open_hour().day(),
                cid: *cid,
            },
            _ => error.into(),
        })
    }

    /// Makes a mirror an archive of its own, that goes on from where the mirror
    /// is. Its blocks are all here.
    pub fn leave_origin(&self, now: UnixSeconds) -> Result<Head, DiskError> {
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head().ok_or_else(|| DiskError::NoHead {
            dir: self.dir.clone(),
        })?;
        let sources = self
            .origin()
            .map(|origin| origin.sources)
            .unwrap_or_default();
        self.set_origin(Origin {
            complete: true,
            ..Origin::of(Kind::Fork, &head, sources)
        })?;
        self.go_on_from(&head, now)
    }

    /// Signs a head over the state of `before`.
    fn go_on_from(&self, before: &Head, now: UnixSeconds) -> Result<Head, DiskError> {
        let of = before.body();
        let body = HeadBody {
            network: self.meta.network.clone(),
            name: self.meta.name.clone(),
            sequence: Sequence(of.sequence.0.checked_add(1).ok_or(DiskError::Head(
                HeadError::Field("there is no sequence number after it"),
            ))?),
            watermark: of.watermark,
            signed_at: now,
            state: of.state,
            open: of.open.clone(),
            added: None,
            totals: of.totals,
            prev: Some(*before.cid()),
            skip: None,
            merged: Vec::new(),
        };
        let head = Head::sign(body, &self.key)?;
        self.claimed(&head)?;
        self.late().append(&head, Vec::new());
        self.blocks.heads.store(&head)?;
        self.blocks.list();
        self.write_state().head = Some(head.clone());
        self.blocks.heads.point_to(&head)?;
        Ok(head)
    }

    /// Where its history came from, if it was begun by another.
    pub fn origin(&self) -> Option<Origin> {
        let origin = self.origin.read().unwrap_or_else(PoisonError::into_inner);
        origin.clone()
    }

    /// Whether it follows the heads of another's key and signs none: a mirror, or a
    /// replica.
    pub fn is_mirror(&self) -> bool {
        self.origin()
            .is_some_and(|origin| origin.kind != Kind::Fork)
    }

    pub(super) fn set_origin(&self, origin: Origin) -> Result<(), DiskError> {
        origin.write(&self.dir)?;
        *self.origin.write().unwrap_or_else(PoisonError::into_inner) = Some(origin);
        Ok(())
    }

    /// Refuses what a mirror does not do.
    pub(super) fn own(&self) -> Result<(), DiskError> {
        if self.is_mirror() {
            return Err(DiskError::Mirror {
                dir: self.dir.clone(),
            });
        }
        Ok(())
    }

    /// The watermark of the current head.
    pub fn watermark(&self) -> Watermark {
        let state = self.read_state();
        state
            .head
            .as_ref()
            .map(|head| head.body().watermark)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
