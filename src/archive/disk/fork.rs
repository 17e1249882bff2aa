//! Going on from a history of another's, under a key of one's own.
//!
//! Always true:
//! - A fork is one head over the state it goes on from: no block is copied, and
//!   it takes the same time whatever the history's size.
//! - The head before a fork's first is the one it goes on from: who follows the
//!   one can follow the other from there.
//! - A fork that a crash cut off is finished by doing it again.

use std::path::Path;
use std::sync::PoisonError;

use super::origin::{Kind, Origin};
use super::{Archive, DiskError, WHISPER};
use crate::archive::head::{Head, HeadBody, HeadError, Sequence};
use crate::archive::watermark::Watermark;
use crate::time::{HOUR, UnixSeconds};

/// How far a foreign head's watermark may be ahead of this clock. A watermark
/// never falls: one taken over from the far future would keep every envelope
/// until then out of reach of a seal.
pub const AHEAD: u32 = HOUR;

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
    Ok(())
}

impl Archive {
    /// Makes an archive in `dir` that goes on from `head`, and signs its first
    /// head. `dir` holds no archive, or one in which nothing ever was.
    pub fn fork(
        dir: &Path,
        name: &str,
        head: &Head,
        sources: Vec<String>,
        now: UnixSeconds,
    ) -> Result<Self, DiskError> {
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
        archive.set_origin(Origin::of(Kind::Fork, head, sources))?;
        if !cut_off {
            archive.blocks.heads.store(head)?;
        }
        archive.go_on_from(head, now)?;
        Ok(archive)
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

    /// Whether it follows the heads of another's key and signs none.
    pub fn is_mirror(&self) -> bool {
        self.origin()
            .is_some_and(|origin| origin.kind == Kind::Mirror)
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
