//! Brings an archive's files to its depot, and lets them go from this disk.
//!
//! Always true:
//! - A seal waits for nothing of this: the data folder stays the only place that is
//!   written first, and a round begins with what is committed there.
//! - What to do is found by comparing the files here with what the depot says that it
//!   keeps. Nothing else is believed, so that a round that was cut off anywhere, or a
//!   depot that was away or emptied, is made good by the next round.
//! - A file is hashed before it is carried: what is damaged here stays here, and no
//!   head goes above it (`depot::bring`).
//! - A head is kept after all files there were when it was the newest. What goes then,
//!   there and here, is in `release`.

mod release;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::bring::bring;
use super::plan::{Keep, KeptFiles, plan};
use super::status::CarrierStatus;
use super::writer::Writer;
use super::{Depot, DepotError};
use crate::archive::disk::{Archive, DiskError, Stop};
use crate::archive::head::{Head, Sequence};
use crate::archive::watermark::Day;
use crate::blocks::{BlockError, BlockFile, BlockStore};
use crate::progress::Progress;
use crate::time::UnixSeconds;

/// How often a round is begun again because a file went while it was carried: a sweep
/// drops files once an hour at most.
const ATTEMPTS: usize = 3;

/// Heads before the newest that are looked for when a process begins to carry, as its
/// predecessor may have been stopped before it had brought them: a day of five-minute
/// seals.
const HEADS_LOOKED_FOR: u64 = 288;

/// Heads brought at a time.
const HEADS_AT_ONCE: usize = 256;

/// What a round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Files that the depot has now and lacked before.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether it has a head now that it lacked before.
    pub head: bool,
    /// Files that it let go.
    pub released: u64,
    /// Files of days that went from this disk.
    pub evicted: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Files that neither this disk nor the depot has any more.
    pub lost: u64,
}

/// Why a round was not finished.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The depot.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// This archive.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file here is damaged.
    #[error("{file} is damaged, and stays here: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The depot holds the heads of another history than this one.
    #[error("{depot} holds head {newest}, which is not of this archive's history")]
    Foreign {
        /// The depot.
        depot: String,
        /// The number of the newest head there.
        newest: Sequence,
    },
    /// Days that left this disk are at another depot than the one that is named now.
    #[error("{files} files of days are in {store} alone, and not in {depot}")]
    Elsewhere {
        /// The depot that is named now.
        depot: String,
        /// The one that was named when the first of them left.
        store: String,
        /// How many.
        files: u64,
    },
    /// A fork whose history is still elsewhere.
    #[error("the history that this fork rests on is not all here yet")]
    Incomplete,
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

impl From<BlockError> for CarryError {
    fn from(error: BlockError) -> Self {
        Self::Disk(error.into())
    }
}

impl CarryError {
    /// Whether the next round may succeed without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Depot(DepotError::Lost { .. }) | Self::Stopped => true,
            Self::Depot(error) => error.is_transient(),
            Self::Disk(_)
            | Self::Damaged { .. }
            | Self::Foreign { .. }
            | Self::Elsewhere { .. }
            | Self::Incomplete => false,
        }
    }
}

/// Carries from one archive to one depot.
pub struct Carrier {
    archive: Arc<Archive>,
    depot: Arc<dyn Depot>,
    /// The depot as its user named it: how evicted files are found again.
    address: String,
    keep: Keep,
    /// Whether this machine is the one that writes there; none where no other could be.
    writer: OnceLock<Arc<Writer>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    status: CarrierStatus,
    /// Whether heads before the newest were looked for.
    knows_lineage: bool,
    /// Whether some of them were lost there, so that all are to be brought again.
    lost_lineage: bool,
    /// Lost files that the log has named.
    told_lost: HashSet<String>,
    /// The newest head that it keeps, as far as it said.
    kept: Option<Head>,
    /// The first day that is kept, where it was told of one.
    dropped: Option<Day>,
    /// Why nothing but days was released, where the log has said so.
    told_held: Option<String>,
}

impl Carrier {
    /// Carries from `archive` to `depot`, which its user named `address`.
    pub fn new(
        archive: Arc<Archive>,
        depot: Arc<dyn Depot>,
        address: impl Into<String>,
        keep: Keep,
    ) -> Self {
        let carrier = Self {
            archive,
            depot,
            address: address.into(),
            keep,
            writer: OnceLock::new(),
            state: Mutex::default(),
        };
        carrier.state().status.store = carrier.address.clone();
        carrier.count_evicted();
        carrier
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The depot.
    pub fn depot(&self) -> &Arc<dyn Depot> {
        &self.depot
    }

    /// Carries only while `writer` may seal: the depot is several machines'.
    pub fn set_writer(&self, writer: Arc<Writer>) {
        // It is set once, when the daemon starts.
        let _ = self.writer.set(writer);
    }

    /// How the depot stood when it was asked last.
    pub fn status(&self) -> CarrierStatus {
        self.state().status.clone()
    }

    /// The newest head of this archive that the depot keeps with all that it reaches, as
    /// far as it said: the newest one that may be told of to whoever reads there.
    pub fn kept_head(&self) -> Option<Head> {
        self.state().kept.clone()
    }

    fn count_evicted(&self) {
        let evicted = self.archive.blocks().evicted();
        let status = &mut self.state().status;
        status.evicted_files = evicted.len() as u64;
        status.evicted_bytes = evicted.iter().map(|file| file.bytes).sum();
    }

    /// Finds out what waits, and carries nothing.
    pub fn look(&self, now: UnixSeconds) -> Result<(), CarryError> {
        let newest = || Ok(self.depot.newest_head()?);
        let looked = self.compare(newest).map(drop);
        self.note(&looked, now);
        looked
    }

    /// Brings the depot to the current head, as the module says.
    pub fn round(
        &self,
        stop: &Stop,
        now: UnixSeconds,
        progress: &dyn Progress,
    ) -> Result<Carried, CarryError> {
        let mut carried = Carried::default();
        if self.writer.get().is_some_and(|writer| !writer.may_seal()) {
            // The machine whose turn it is carries.
            return Ok(carried);
        }
        let mut attempts = 1;
        let ended = loop {
            match self.try_round(stop, progress, &mut carried) {
                Ok(true) => break Ok(carried),
                Ok(false) if attempts < ATTEMPTS => attempts += 1,
                // It goes on with the next round.
                Ok(false) => break Ok(carried),
                Err(error) if self.is_no_turn(&error) => break Ok(carried),
                Err(error) => break Err(error),
            }
        };
        self.note(&ended, now);
        ended
    }

    /// Whether what was found there is the work of the machine whose turn it is by now.
    fn is_no_turn(&self, error: &CarryError) -> bool {
        let by_another = matches!(
            error,
            CarryError::Foreign { .. } | CarryError::Depot(DepotError::Overtaken { .. })
        );
        let writer = self.writer.get().filter(|_| by_another);
        writer.is_some_and(|writer| matches!(writer.still_holds(), Ok(false)))
    }

    fn note<T>(&self, ended: &Result<T, CarryError>, now: UnixSeconds) {
        let status = &mut self.state().status;
        match ended {
            Err(CarryError::Stopped) => {}
            Ok(_) => (status.failing_since, status.error) = (None, None),
            Err(error) => {
                status.failing_since.get_or_insert(now.0);
                status.error = Some(error.to_string());
            }
        }
    }

    /// The newest head there. One that the depot names and has lost is one of these here:
    /// nothing could be carried above it ever again.
    fn newest_or_mended(&self) -> Result<Option<Head>, CarryError> {
        match self.depot.newest_head() {
            Err(DepotError::Lost { what, .. }) => {
                tracing::warn!(store = %self.address, what, "lost, and brought again");
                let lineage = self.archive.blocks().heads().lineage()?;
                let some: Result<Vec<Head>, _> = lineage.take(HEADS_AT_ONCE).collect();
                self.depot.keep_lineage(&some?)?;
                Ok(self.depot.newest_head()?)
            }
            other => Ok(other?),
        }
    }

    /// What the depot lacks for the current head; `newest` asks for the newest one there.
    /// Where it does not say, what waits is no longer known.
    fn compare(
        &self,
        newest: impl FnOnce() -> Result<Option<Head>, CarryError>,
    ) -> Result<Option<Compared>, CarryError> {
        let compared = self.ask(newest);
        if compared.is_err() {
            self.state().status.does_not_say();
        }
        compared
    }

    fn ask(
        &self,
        newest: impl FnOnce() -> Result<Option<Head>, CarryError>,
    ) -> Result<Option<Compared>, CarryError> {
        let Some(head) = self.archive.head() else {
            // A depot that is not there is told of before there is anything to carry.
            let newest = self.depot.newest_head()?;
            let status = &mut self.state().status;
            status.keeps_head(newest.as_ref());
            status.waits(&[]);
            return Ok(None);
        };
        if !self.archive.is_complete() {
            return Err(CarryError::Incomplete);
        }
        let kept = self.depot.kept_files()?.into_iter();
        let kept: KeptFiles = kept.map(|file| (file.name, file.bytes)).collect();
        let newest = newest()?;
        self.state().status.keeps_head(newest.as_ref());
        let own = newest
            .as_ref()
            .map(|newest| self.require_own(newest, &head));
        let is_own = matches!(own, Some(Ok(())));
        self.state().kept = newest.clone().filter(|_| is_own);
        own.transpose()?;
        // All that the head reaches was there before it.
        let files = self.archive.blocks().folder().files()?;
        let plan = plan(&files, &self.archive.blocks().evicted(), &kept);
        self.require_here(&plan.lost)?;
        {
            let status = &mut self.state().status;
            status.waits(&plan.carry);
            status.lost_files = plan.lost.len() as u64;
        }
        self.count_evicted();
        Ok(Some(Compared {
            head,
            newest,
            kept,
            carry: plan.carry,
            lost: plan.lost,
        }))
    }

    /// The newest head there must be one of those that led to `head`.
    fn require_own(&self, newest: &Head, head: &Head) -> Result<(), CarryError> {
        let sequence = newest.body().sequence;
        let own = match sequence == head.body().sequence {
            true => Some(head.clone()),
            false => self.archive.blocks().heads().by_sequence(sequence)?,
        };
        if own.is_some_and(|own| own.cid() == newest.cid()) {
            return Ok(());
        }
        Err(CarryError::Foreign {
            depot: self.depot.name().to_owned(),
            newest: sequence,
        })
    }

    /// What is not kept there must not be kept by another depot: a head would be shown
    /// without it, and nothing lost be called so.
    fn require_here(&self, lost: &[String]) -> Result<(), CarryError> {
        let elsewhere = self.archive.blocks().evicted_elsewhere(&self.address);
        let mut elsewhere = elsewhere.filter(|(name, _)| lost.contains(name));
        let Some((_, store)) = elsewhere.next() else {
            return Ok(());
        };
        Err(CarryError::Elsewhere {
            depot: self.depot.name().to_owned(),
            store,
            files: 1 + elsewhere.count() as u64,
        })
    }

    /// Names lost files in the log, each once.
    fn tell_lost(&self, lost: &[String]) {
        let told = &mut self.state().told_lost;
        told.retain(|name| lost.contains(name));
        for name in lost {
            if told.insert(name.clone()) {
                tracing::error!(file = name, store = %self.address, "neither here nor at the store any more");
            }
        }
    }

    /// One try; false where a file went meanwhile.
    fn try_round(
        &self,
        stop: &Stop,
        progress: &dyn Progress,
        carried: &mut Carried,
    ) -> Result<bool, CarryError> {
        let Some(Compared {
            head,
            newest,
            mut kept,
            carry,
            lost,
        }) = self.compare(|| self.newest_or_mended())?
        else {
            return Ok(true);
        };
        carried.lost = lost.len() as u64;
        self.tell_lost(&lost);
        let bytes = carry.iter().map(|file| file.bytes).sum();
        progress.phase("carrying", Some(carry.len() as u64), Some(bytes));
        let mut damaged = None;
        for file in carry {
            if stop.is_stopped() {
                return Err(CarryError::Stopped);
            }
            let brought = bring(&*self.depot, self.archive.blocks().folder(), &file, &kept);
            let file = match brought {
                Ok(Some(file)) => file,
                Ok(None) => return Ok(false),
                Err(error @ CarryError::Damaged { .. }) => {
                    damaged.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            progress.advance(1, file.bytes);
            carried.files += 1;
            carried.bytes += file.bytes;
            self.state().status.waits_no_more(&file);
            kept.insert(file.name, Some(file.bytes));
        }
        if let Some(damaged) = damaged {
            return Err(damaged);
        }
        self.bring_head(&head, newest.as_ref(), carried)?;
        self.release(&head, &mut kept, stop, carried)?;
        self.evict(&head, &kept, stop, carried)
    }

    /// Makes a head the newest one there, and brings those before it.
    fn bring_head(
        &self,
        head: &Head,
        newest: Option<&Head>,
        carried: &mut Carried,
    ) -> Result<(), CarryError> {
        let is_news = newest.is_none_or(|newest| newest.cid() != head.cid());
        // What was carried below a head that is there already is shown with it again.
        self.depot.keep_head(head, newest)?;
        if is_news {
            carried.head = true;
            let mut state = self.state();
            state.status.keeps_head(Some(head));
            state.kept = Some(head.clone());
        }
        let (known, lost) = {
            let mut state = self.state();
            state.lost_lineage |= self.depot.lost_lineage();
            (state.knows_lineage, state.lost_lineage)
        };
        if !is_news && known && !lost {
            return Ok(());
        }
        let from = newest.map_or(0, |newest| newest.body().sequence.0);
        let from = match (lost, known) {
            (true, _) => 0,
            (false, true) => from,
            (false, false) => from.saturating_sub(HEADS_LOOKED_FOR),
        };
        // Until they are there they are looked for again.
        self.state().knows_lineage = false;
        let mut some: Vec<Head> = Vec::new();
        for earlier in self.archive.blocks().heads().lineage()? {
            let earlier = earlier?;
            let sequence = earlier.body().sequence;
            if sequence.0 <= from {
                break;
            }
            if sequence < head.body().sequence {
                some.push(earlier);
            }
            if some.len() == HEADS_AT_ONCE {
                self.depot.keep_lineage(&some)?;
                some.clear();
            }
        }
        if !some.is_empty() {
            self.depot.keep_lineage(&some)?;
        }
        let mut state = self.state();
        (state.knows_lineage, state.lost_lineage) = (true, false);
        Ok(())
    }
}

/// How archive and depot stand.
struct Compared {
    head: Head,
    newest: Option<Head>,
    kept: KeptFiles,
    carry: Vec<BlockFile>,
    lost: Vec<String>,
}

#[cfg(test)]
mod tests;
