//! Following the heads of another's key.
//!
//! Always true:
//! - A mirror's head is one whose whole history is on this disk and was
//!   recomputed from its envelopes. It changes only after the next one's was.
//! - What is new is fetched by the deltas that heads name, and nothing else; the
//!   state is computed here and compared. Where that does not come out, or the
//!   mirror is far behind, what differs of the tree is fetched.
//! - A head that breaks the rules of a lineage is not followed, unless the user
//!   says so; the proof stays in `alarms/`.
//! - Interrupted anywhere, the next call goes on.

pub(super) mod bounded;
mod dropped;

use std::path::Path;
use std::sync::PoisonError;

use bytes::Bytes;

use super::fork::acceptable;
use super::origin::{Kind, Origin};
use super::sealing::late_of;
use super::{Archive, DiskError, sealed_by};
use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarReader;
use crate::archive::copy::{Copied, CopyRequest, copy, copy_delta};
use crate::archive::follow::{Alarm, Proof, Way, way};
use crate::archive::fresh::{Pending, Sealed};
use crate::archive::head::{Head, MAX_OPEN, Sequence};
use crate::archive::key::Key;
use crate::archive::merge::{SegmentRun, SortedRecords};
use crate::archive::seal::{SealRequest, seal};
use crate::archive::verify::{self, Verified};
use crate::blocks::{BlockSource, MemoryStore};
use crate::durable;
use crate::progress::Progress;
use crate::time::UnixSeconds;
use bounded::Bounded;
use dropped::{OwnOr, dropped};

/// Bytes of new envelopes that one head may bring to be replayed, in memory. For
/// more, the days are fetched as they are.
pub(super) const MAX_REPLAY_BYTES: u64 = 64 << 20;

/// Folder of the proofs of alarms.
const ALARMS: &str = "alarms";

/// How a mirror got to a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// It was there already.
    Here,
    /// The whole history was fetched.
    Copied,
    /// Through the deltas of so many heads.
    Replayed(u64),
    /// By fetching what differs of the tree.
    Compared,
}

/// What following came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The head the mirror is at.
    pub head: Head,
    /// How it got there.
    pub route: Route,
    /// What was fetched.
    pub copied: Copied,
    /// The alarm that was overruled.
    pub overruled: Option<Alarm>,
}

/// Why a head was not followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The archive follows nobody.
    #[error("this archive signs heads of its own")]
    NotAMirror,
    /// The head is another key's.
    #[error("the head is signed by another key than the one that is followed")]
    AnotherKey,
    /// It breaks the rules of a lineage.
    #[error("{alarm}")]
    Alarm {
        /// How.
        alarm: Box<Alarm>,
        /// Where the proof is.
        proof: std::path::PathBuf,
    },
    /// What the mirror held before cannot be read any more, here or there.
    #[error("whether envelopes are gone since head {held} cannot be told")]
    Unread {
        /// The number of the head held.
        held: Sequence,
        /// What cannot be read.
        #[source]
        error: ArchiveError,
    },
    /// This archive, or a block of the other.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl From<ArchiveError> for FollowError {
    fn from(error: ArchiveError) -> Self {
        Self::Disk(error.into())
    }
}

impl Archive {
    /// Opens the mirror in `dir` of the archive that `head` is of, or makes one.
    pub fn mirror(dir: &Path, head: &Head, sources: Vec<String>) -> Result<Self, DiskError> {
        let archive = match Self::open(dir) {
            Err(DiskError::NoArchive { .. }) => Self::init(dir, &head.body().name)?,
            Ok(archive) => archive,
            Err(error) => return Err(error),
        };
        let fits = match archive.origin() {
            Some(origin) => origin.kind == Kind::Mirror && origin.key == *head.key(),
            None => archive.head().is_none() && archive.waiting() == 0,
        };
        if !fits {
            return Err(DiskError::Exists {
                dir: dir.to_owned(),
            });
        }
        let origin = Origin::of(Kind::Mirror, head, sources);
        if archive.origin().as_ref() != Some(&origin) {
            archive.set_origin(origin)?;
        }
        Ok(archive)
    }

    /// Brings a mirror to `offered`, whose blocks `source` has. Where the head is
    /// one that should not be followed, `overrule` follows it all the same.
    pub fn follow(
        &self,
        offered: &Head,
        source: &dyn BlockSource,
        overrule: bool,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Followed, FollowError> {
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = self.origin().filter(|origin| origin.kind == Kind::Mirror);
        let origin = origin.ok_or(FollowError::NotAMirror)?;
        if origin.key != *offered.key() {
            return Err(FollowError::AnotherKey);
        }
        self.go_to(offered, source, overrule, now, progress)
    }

    /// Goes over to a later head of the key whose heads these are. `sealing` is held.
    pub(super) fn go_to(
        &self,
        offered: &Head,
        source: &dyn BlockSource,
        overrule: bool,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Followed, FollowError> {
        acceptable(offered, now)?;
        if self.head_cid() != Some(*offered.cid()) {
            self.finish_pointing()?;
        }
        let mut follow = Follow {
            archive: self,
            source,
            progress,
            copied: Copied::default(),
        };
        let mut overruled = None;
        let route = match self.head() {
            None => {
                follow.copy(offered)?;
                self.install(offered, Vec::new())?;
                Route::Copied
            }
            Some(held) => match way(source, &held, offered)? {
                Ok(Way::Here) => Route::Here,
                Ok(Way::Replay(heads)) => follow.replay(held, &heads, overrule, &mut overruled)?,
                Ok(Way::Compare) => follow.compare(&held, offered, overrule, &mut overruled)?,
                Err(alarm) => {
                    self.alarm(alarm.clone(), &held, offered, overrule)?;
                    overruled = Some(alarm);
                    follow.copy(offered)?;
                    self.late().restart(offered);
                    self.blocks.heads.replace_from(offered)?;
                    self.point(offered)?;
                    Route::Compared
                }
            },
        };
        Ok(Followed {
            head: offered.clone(),
            route,
            copied: follow.copied,
            overruled,
        })
    }

    /// Keeps the proof of an alarm; an error unless it is overruled.
    pub(super) fn alarm(
        &self,
        alarm: Alarm,
        held: &Head,
        offered: &Head,
        overrule: bool,
    ) -> Result<(), FollowError> {
        let folder = self.dir.join(ALARMS);
        let proof = folder.join(format!("{}.json", offered.cid()));
        let mut text = serde_json::to_string_pretty(&Proof::of(&alarm, held, offered))
            .expect("texts are JSON");
        text.push('\n');
        durable::create_folder(&folder)
            .and_then(|()| durable::replace_file(&proof, text.as_bytes()))
            .map_err(DiskError::io(&proof))?;
        if overrule {
            tracing::warn!(%alarm, proof = %proof.display(), "followed all the same");
            return Ok(());
        }
        Err(FollowError::Alarm {
            alarm: Box::new(alarm),
            proof,
        })
    }

    /// Makes a head the current one. Its history is on this disk.
    pub(super) fn install(&self, head: &Head, late: Vec<Key>) -> Result<(), DiskError> {
        self.late().append(head, late);
        self.blocks.heads.store(head)?;
        self.point(head)
    }

    /// As [`Self::install`], where it is not known what came late since the head
    /// before.
    pub(super) fn install_anew(&self, head: &Head) -> Result<(), DiskError> {
        self.late().restart(head);
        self.blocks.heads.store(head)?;
        self.point(head)
    }

    /// Takes over the head that was stored when what came after failed.
    pub(super) fn finish_pointing(&self) -> Result<(), DiskError> {
        if self.blocks.heads.finish_replacing()? {
            self.write_state().head = self.blocks.heads.current()?;
        }
        self.adopt_stored_head()?;
        match self.head() {
            Some(head) => self.blocks.heads.point_to(&head),
            None => Ok(()),
        }
    }

    /// Goes over to a head that is stored.
    fn point(&self, head: &Head) -> Result<(), DiskError> {
        self.blocks.list();
        self.write_state().head = Some(head.clone());
        self.blocks.heads.point_to(head)
    }
}

/// One call of [`Archive::follow`].
struct Follow<'a> {
    archive: &'a Archive,
    source: &'a dyn BlockSource,
    progress: &'a dyn Progress,
    copied: Copied,
}

impl Follow<'_> {
    /// Fetches all that is lacking of a head's history.
    fn copy(&mut self, head: &Head) -> Result<(), ArchiveError> {
        let request = CopyRequest {
            source: self.source,
            store: &self.archive.blocks.own(),
            sealed: &sealed_by(head),
            head: *head.cid(),
            added: head.body().added,
            sequence: head.body().sequence.0,
            from: self.archive.kept_from(),
        };
        let copied = copy(&request, self.progress)?;
        self.count(copied);
        Ok(())
    }

    fn count(&mut self, copied: Copied) {
        self.copied.blocks += copied.blocks;
        self.copied.bytes += copied.bytes;
        self.copied.written += copied.written;
    }

    /// Follows heads one by one; compares trees where a delta does not explain
    /// the state it should lead to.
    fn replay(
        &mut self,
        mut held: Head,
        heads: &[Head],
        overrule: bool,
        overruled: &mut Option<Alarm>,
    ) -> Result<Route, FollowError> {
        let count = heads.len() as u64;
        self.progress.phase("following heads", Some(count), None);
        for head in heads {
            let late = match self.replay_one(&held, head) {
                Ok(Some(late)) => late,
                Ok(None) => {
                    tracing::warn!(
                        head = %head.cid(),
                        "what it says is new does not make its state: comparing the trees"
                    );
                    let last = heads.last().unwrap_or(head);
                    return self.compare(&held, last, overrule, overruled);
                }
                // Deltas are kept for a day only. One that is not what its head says
                // costs the shortcut: the state is checked either way.
                Err(error) if error.is_missing() || error.is_forged() => {
                    tracing::warn!(head = %head.cid(), %error, "comparing the trees");
                    let last = heads.last().unwrap_or(head);
                    return self.compare(&held, last, overrule, overruled);
                }
                Err(error) => return Err(error.into()),
            };
            self.archive.install(head, late)?;
            self.progress.advance(1, 0);
            held = head.clone();
        }
        Ok(Route::Replayed(count))
    }

    /// Computes the state after `held` and compares it with that of `head`; gives
    /// what came late, or `None` where it is another.
    fn replay_one(&mut self, held: &Head, head: &Head) -> Result<Option<Vec<Key>>, ArchiveError> {
        let (base, sealed) = (sealed_by(held), sealed_by(head));
        let new_bytes = sealed.totals.bytes.checked_sub(base.totals.bytes);
        if new_bytes.is_none_or(|bytes| bytes > MAX_REPLAY_BYTES) {
            return Ok(None);
        }
        let mut records: Vec<Bytes> = Vec::new();
        let mut pending = Vec::new();
        if let Some(delta) = head.body().added {
            let memory = MemoryStore::new();
            let sequence = head.body().sequence.0;
            // Its trees may be large, whatever the totals say.
            let bounded = Bounded::new(self.source, MAX_REPLAY_BYTES);
            let (segments, copied) =
                match copy_delta(&bounded, &memory, delta, &sealed, sequence, self.progress) {
                    Err(_) if bounded.is_exceeded() => return Ok(None),
                    other => other?,
                };
            self.count(copied);
            for segment in segments {
                let mut run = SegmentRun::new(&memory, segment);
                while let Some(record) = run.take()? {
                    pending.push(Pending {
                        key: record.key,
                        len: record.bytes.len(),
                        at: records.len(),
                    });
                    records.push(record.bytes);
                }
            }
        }
        let keys: Vec<Key> = pending.iter().map(|p| p.key).collect();
        let outcome = seal(
            SealRequest {
                store: &self.archive.blocks,
                base: &base,
                pending,
                read: &|at: usize| Ok(records[at].clone()),
                watermark: sealed.watermark,
                sequence: head.body().sequence.0,
                max_open: MAX_OPEN,
            },
            &crate::progress::Quiet,
        )?;
        self.copied.written += outcome.written;
        let same = outcome.sealed.state == sealed.state
            && outcome.sealed.totals == sealed.totals
            && outcome.added == head.body().added;
        if !same || !self.open_is_here(&sealed, &outcome.sealed, head)? {
            return Ok(None);
        }
        Ok(Some(late_of(&keys, base.watermark)))
    }

    /// Fetches the open deltas where they are not those that were computed, and
    /// sees that they hold the same.
    fn open_is_here(
        &mut self,
        sealed: &Sealed,
        computed: &Sealed,
        head: &Head,
    ) -> Result<bool, ArchiveError> {
        if sealed.open == computed.open {
            return Ok(true);
        }
        let folder = self.archive.blocks.folder();
        for delta in &sealed.open {
            let sequence = head.body().sequence.0;
            let (_, copied) =
                copy_delta(self.source, folder, *delta, sealed, sequence, self.progress)?;
            self.count(copied);
        }
        let mut verified = Verified::default();
        let state = CalendarReader::new(folder, sealed.state.as_ref())?.sums();
        let open = verify::verify_open(folder, sealed, &mut verified);
        Ok(open.is_some_and(|open| state.plus(open) == sealed.totals))
    }

    /// Fetches what differs of the tree, and sees that no envelope is gone.
    fn compare(
        &mut self,
        held: &Head,
        offered: &Head,
        overrule: bool,
        overruled: &mut Option<Alarm>,
    ) -> Result<Route, FollowError> {
        let archive = self.archive;
        if offered.body().watermark < held.body().watermark {
            let alarm = Alarm::Backwards {
                held: held.body().watermark,
                offered: offered.body().watermark,
            };
            archive.alarm(alarm.clone(), held, offered, overrule)?;
            *overruled = Some(alarm);
        }
        self.copy(offered)?;
        let blocks = OwnOr {
            own: &archive.blocks.held(),
            source: self.source,
        };
        let (before, after) = (sealed_by(held), sealed_by(offered));
        let (count, some) = match dropped(&blocks, &before, &after, archive.kept_from()) {
            Err(error) if error.is_unavailable() || error.is_forged() => {
                if !overrule {
                    let held = held.body().sequence;
                    return Err(FollowError::Unread { held, error });
                }
                tracing::warn!(%error, "what was there before cannot be read: followed all the same");
                (0, Vec::new())
            }
            other => other?,
        };
        if count > 0 {
            let alarm = Alarm::Dropped { count, some };
            archive.alarm(alarm.clone(), held, offered, overrule)?;
            *overruled = Some(alarm);
        }
        archive.install_anew(offered)?;
        Ok(Route::Compared)
    }
}

#[cfg(test)]
pub(super) mod tests;
