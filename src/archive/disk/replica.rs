//! Answering for an archive whose blocks rest in its store.
//!
//! Always true:
//! - A replica signs nothing, takes in nothing, and writes nothing to the store. Its
//!   heads are those of one key, which was told or seen first.
//! - A head that goes back, or has a rival of its number, is not shown: the proof
//!   stays in `alarms/`.
//! - Which days the owner dropped is the store's word. It may fall again: nothing is
//!   deleted for it.
//! - Blocks are hashed as they come. What the state says is believed of the key that
//!   signed it: whoever wants it recomputed makes a mirror.

use std::path::Path;
use std::sync::PoisonError;

use super::fork::acceptable;
use super::mirror::bounded::Bounded;
use super::mirror::{FollowError, Followed, MAX_REPLAY_BYTES, Route};
use super::origin::{Kind, Origin};
use super::sealing::late_of;
use super::{Archive, DiskError, retention, sealed_by};
use crate::archive::copy::{Copied, copy_delta};
use crate::archive::follow::{Alarm, Way, way};
use crate::archive::head::Head;
use crate::archive::key::Key;
use crate::archive::merge::{SegmentRun, SortedRecords};
use crate::archive::watermark::Day;
use crate::blocks::{BlockSource, MemoryStore};
use crate::progress::Quiet;
use crate::time::UnixSeconds;

impl Archive {
    /// Opens the replica in `dir` of the archive that `head` is of, or makes one.
    /// `store` is where its blocks are, as a user names it.
    pub fn replica(dir: &Path, head: &Head, store: String) -> Result<Self, DiskError> {
        let archive = match Self::open(dir) {
            Err(DiskError::NoArchive { .. }) => Self::init(dir, &head.body().name)?,
            Ok(archive) => archive,
            Err(error) => return Err(error),
        };
        let fits = match archive.origin() {
            Some(origin) => origin.kind == Kind::Replica && origin.key == *head.key(),
            None => archive.head().is_none() && archive.waiting() == 0,
        };
        if !fits {
            return Err(DiskError::Exists {
                dir: dir.to_owned(),
            });
        }
        archive.blocks.rest_at(&store);
        let origin = Origin::of(Kind::Replica, head, vec![store]);
        if archive.origin().as_ref() != Some(&origin) {
            archive.set_origin(origin)?;
        }
        Ok(archive)
    }

    /// Whether its blocks rest in a store that it only reads.
    pub fn is_replica(&self) -> bool {
        self.origin()
            .is_some_and(|origin| origin.kind == Kind::Replica)
    }

    /// Takes the store's word that the owner dropped the days before one: of a replica, and
    /// of an archive that has no head yet and is to begin with `head`. All others know
    /// what they keep.
    pub fn believe_dropped(&self, before: Day, head: &Head) -> Result<(), DiskError> {
        if !self.is_replica() && self.head().is_some() {
            return Ok(());
        }
        retention::believe(self, before, head)
    }

    /// Goes over to a later head, whose blocks `source` has.
    pub fn show(
        &self,
        offered: &Head,
        source: &dyn BlockSource,
        now: UnixSeconds,
    ) -> Result<Followed, FollowError> {
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = self.origin().filter(|origin| origin.kind == Kind::Replica);
        let origin = origin.ok_or(FollowError::NotAMirror)?;
        if origin.key != *offered.key() {
            return Err(FollowError::AnotherKey);
        }
        acceptable(offered, now)?;
        if self.head_cid() != Some(*offered.cid()) {
            self.finish_pointing()?;
        }
        let route = match self.head() {
            None => {
                self.install_anew(offered)?;
                Route::Copied
            }
            Some(held) => self.show_after(&held, offered, source)?,
        };
        Ok(Followed {
            head: offered.clone(),
            route,
            copied: Copied::default(),
            overruled: None,
        })
    }

    fn show_after(
        &self,
        held: &Head,
        offered: &Head,
        source: &dyn BlockSource,
    ) -> Result<Route, FollowError> {
        let alarm = match way(source, held, offered)? {
            Ok(Way::Here) => return Ok(Route::Here),
            Ok(Way::Replay(heads)) => {
                let mut before = held;
                for head in &heads {
                    match late_in(source, before, head) {
                        Some(late) => self.install(head, late)?,
                        None => self.install_anew(head)?,
                    }
                    before = head;
                }
                return Ok(Route::Replayed(heads.len() as u64));
            }
            Ok(Way::Compare) if offered.body().watermark >= held.body().watermark => {
                self.install_anew(offered)?;
                return Ok(Route::Compared);
            }
            Ok(Way::Compare) => Alarm::Backwards {
                held: held.body().watermark,
                offered: offered.body().watermark,
            },
            Err(alarm) => alarm,
        };
        self.alarm(alarm, held, offered, false)?;
        Ok(Route::Here)
    }
}

/// What came late in `head`; `None` where its delta is gone, damaged, or too large to
/// look through.
fn late_in(source: &dyn BlockSource, before: &Head, head: &Head) -> Option<Vec<Key>> {
    let Some(delta) = head.body().added else {
        return Some(Vec::new());
    };
    let (base, sealed) = (sealed_by(before), sealed_by(head));
    let new_bytes = sealed.totals.bytes.checked_sub(base.totals.bytes)?;
    if new_bytes > MAX_REPLAY_BYTES {
        return None;
    }
    let memory = MemoryStore::new();
    let bounded = Bounded::new(source, MAX_REPLAY_BYTES);
    let sequence = head.body().sequence.0;
    let copied = copy_delta(&bounded, &memory, delta, &sealed, sequence, &Quiet);
    let (segments, _) = copied.ok()?;
    let mut keys = Vec::new();
    for segment in segments {
        let mut run = SegmentRun::new(&memory, segment);
        while let Some(record) = run.take().ok()? {
            keys.push(record.key);
        }
    }
    Some(late_of(&keys, base.watermark))
}

#[cfg(test)]
mod tests;
