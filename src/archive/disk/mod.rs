//! An archive on one disk.
//!
//! Always true:
//! - What [`Archive::append`] returned from survives `kill -9` and a power cut:
//!   it is in the journal, or in blocks that the current head reaches.
//! - Blocks are durable before the head that names them, the head before the
//!   pointer, and the journal is trimmed last. Opening finishes what a crash cut
//!   off, by the same steps.
//! - The order of locks is `sealing`, `gate`, `state`; `late` is held alone.
//!
//! Elsewhere: what a seal computes ([`super::seal`]), what the files are
//! (`docs/architecture.md`).

mod blocks;
mod cache;
mod complete;
mod error;
mod evicted;
mod fork;
mod gate;
mod heads;
mod key;
mod lock;
mod merging;
mod meta;
mod mirror;
mod origin;
mod page;
pub mod position;
mod public;
mod reader;
mod repair;
mod replica;
mod rest;
mod retention;
mod sealing;
mod standing;
mod sweep;
#[cfg(test)]
mod tests;
mod waiting;
mod whole;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use secp256k1::{PublicKey, SecretKey};

pub use blocks::{Blocks, Held, Own};
pub use error::DiskError;
pub use evicted::{EvictedTo, evicted_beside};
pub use gate::{Gate, GateError};
pub use heads::Heads;
pub use lock::{RUN_FILE, is_held_by};
pub use merging::{MergeError, Merged};
pub use meta::Meta;
pub use mirror::{FollowError, Followed, Route};
pub use origin::{Kind, Origin};
pub use page::hours::Tally;
pub use page::{Page, PageRequest, Reads, Stop, StopOnDrop};
pub use position::fetch::Fetched;
pub use position::since::{News, Since, SinceError, Start};
pub use position::{ArchiveTag, HeadMark, NotAPosition, Position};
pub use public::{Published, publish_folder};
pub use reader::{Reader, fetch_head, journal_of, open_public};
pub use repair::Repaired;
pub use retention::{Dropped, Plan, kept_from};

use super::ArchiveError;
use super::filter::Filter;
use super::fresh::{Pending, Sealed, keep_all_but_known};
use super::head::{FORMAT_VERSION, Head, HeadError, MAX_NAME_LEN};
use super::key::Key;
use super::leaf::MAX_ENVELOPE_RLP;
use super::query::Query;
use super::sums::Sums;
use super::watermark::{Day, Watermark};
use crate::blocks::{CarFolder, Cid};
use crate::durable;
use crate::index::Index;
use crate::journal::{Journal, Location, MAX_BATCH};
use crate::metrics::ArchiveMeters;
use crate::progress::Quiet;
use crate::time::UnixSeconds;
use crate::whisper::Envelope;
use evicted::Evicted;
use lock::Lock;
use position::late::LateList;
use waiting::Waiting;

/// Folder of the files of blocks.
const BLOCKS: &str = "blocks";
/// Folder of the journal.
const JOURNAL: &str = "journal";
/// Folder of the index.
const INDEX: &str = "index";

/// The network of Whisper v6 envelopes, as heads name it.
pub const WHISPER: &str = "shh/6";

/// How many envelopes may wait before a seal is due whatever the time: at about
/// 150 bytes each in memory, 150 MB.
pub const MAX_WAITING: u64 = 1_000_000;

/// How many bytes may wait in the journal before a seal is due.
pub const MAX_WAITING_BYTES: u64 = 1 << 30;

/// What became of envelopes given to [`Archive::append`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// New, and durable now.
    pub stored: u64,
    /// Held already.
    pub duplicate: u64,
    /// Too large for a block.
    pub refused: u64,
    /// Of days that are no longer kept: whether they are new cannot be told.
    pub too_old: u64,
}

/// What a seal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealReport {
    /// The current head; `None` where nothing was ever sealed.
    pub head: Option<Head>,
    /// Whether it is a new one.
    pub changed: bool,
    /// What is new in it.
    pub added: Sums,
    /// Bytes of blocks written.
    pub written: u64,
}

/// An archive open for writing; there is one at a time.
pub struct Archive {
    dir: PathBuf,
    meta: Meta,
    key: SecretKey,
    origin: RwLock<Option<Origin>>,
    blocks: Blocks,
    journal: Journal,
    /// Asked before a head is signed.
    gatekeeper: RwLock<Option<Arc<dyn Gate>>>,
    /// Held by one seal at a time.
    sealing: Mutex<()>,
    /// Shared by appends while an envelope is in the journal and not in
    /// `state`; taken alone when a seal looks at what waits.
    gate: RwLock<()>,
    state: RwLock<State>,
    late: Mutex<LateList>,
    pages: page::Pages,
    meters: ArchiveMeters,
    /// Dropped last, so that the files are closed before another may write.
    _lock: Lock,
}

struct State {
    head: Option<Head>,
    waiting: Waiting,
    /// The first day whose envelopes are kept.
    kept_from: Day,
}

impl State {
    fn sealed(&self) -> Sealed {
        self.head.as_ref().map(sealed_by).unwrap_or_default()
    }

    fn head_cid(&self) -> Option<Cid> {
        self.head.as_ref().map(|head| *head.cid())
    }
}

/// Envelopes that were looked for.
struct Looked {
    /// The head under which they were.
    head: Option<Cid>,
    /// Those that are not held, by position.
    new: Vec<Pending<usize>>,
    /// What became of the others.
    appended: Appended,
}

/// What a head says is sealed.
pub fn sealed_by(head: &Head) -> Sealed {
    let body = head.body();
    Sealed {
        watermark: body.watermark,
        state: body.state,
        open: body.open.clone(),
        totals: body.totals,
    }
}

impl Archive {
    /// Makes a new, empty archive in `dir`, with a new key.
    pub fn init(dir: &Path, name: &str) -> Result<Self, DiskError> {
        // No head could be signed under it, and so nothing ever sealed.
        if name.len() > MAX_NAME_LEN {
            return Err(HeadError::Field("archive name is too long").into());
        }
        durable::create_folder(dir).map_err(DiskError::io(dir))?;
        let lock = Lock::take(dir)?;
        if Meta::read(dir)?.is_some() {
            return Err(DiskError::Exists {
                dir: dir.to_owned(),
            });
        }
        if key::exists(dir) {
            return Err(DiskError::KeyAlone {
                dir: dir.to_owned(),
            });
        }
        key::create(dir)?;
        let meta = Meta {
            format: FORMAT_VERSION,
            network: WHISPER.to_owned(),
            name: name.to_owned(),
        };
        meta.write(dir)?;
        Self::open_locked(dir, meta, lock)
    }

    /// Opens the archive in `dir` for writing.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        let meta = Meta::read(dir)?.ok_or_else(|| DiskError::NoArchive {
            dir: dir.to_owned(),
        })?;
        let lock = Lock::take(dir)?;
        Self::open_locked(dir, meta, lock)
    }

    fn open_locked(dir: &Path, meta: Meta, lock: Lock) -> Result<Self, DiskError> {
        key::settle(dir)?;
        let key = key::read(dir)?;
        // The index is a cache: without one, the files are read again.
        let index = Index::open(&dir.join(INDEX)).unwrap_or_else(|error| {
            tracing::warn!(%error, "working without an index");
            Index::in_memory()
        });
        let folder = CarFolder::open(&dir.join(BLOCKS), index)?;
        let blocks = Blocks::new(folder, Heads::new(dir), Evicted::open(dir)?);
        // Names given by a process that was killed may not be durable yet.
        durable::sync_folder(dir).map_err(DiskError::io(dir))?;
        blocks.heads.finish_replacing()?;
        blocks.heads.sync()?;
        let head = blocks.heads.current()?;
        if let Some(head) = &head {
            blocks.heads.point_to(head)?;
        }
        blocks.list();
        let mut replayed = Vec::new();
        let (journal, recovery) = Journal::open(&dir.join(JOURNAL), |entry| {
            // Every record was an envelope when it was acknowledged, and its
            // checksum holds.
            match Envelope::decode(&entry.bytes) {
                Ok(envelope) => replayed.push(Pending {
                    key: Key::from(&envelope),
                    len: entry.bytes.len(),
                    at: entry.location,
                }),
                Err(error) => {
                    tracing::error!(at = ?entry.location, %error, "a journal record is no envelope");
                }
            }
        })?;
        if let Some(torn) = recovery.torn {
            let bytes = torn.bytes;
            tracing::warn!(bytes, "cut off the journal what was never acknowledged");
        }
        let late = LateList::open(dir, head.as_ref());
        let mut state = State {
            head,
            waiting: Waiting::default(),
            kept_from: retention::kept_from(dir)?,
        };
        let sealed = state.sealed();
        // When a day was dropped, nothing of it waited: what the journal still
        // has of it is sealed.
        let (covered, later): (Vec<_>, Vec<_>) = replayed
            .into_iter()
            .filter(|p| Day::of(p.key.sent) >= state.kept_from)
            .partition(|p| sealed.watermark.covers(p.key.sent));
        // A crash between head and trimming leaves what is sealed in the journal.
        let unsealed = keep_all_but_known(&blocks, &sealed, covered)?;
        let unsealed = unsealed.into_values().flatten();
        for pending in unsealed.chain(later) {
            state.waiting.insert(pending.key, pending.len, pending.at);
        }
        Ok(Self {
            dir: dir.to_owned(),
            meta,
            key,
            origin: RwLock::new(Origin::read(dir)?),
            blocks,
            journal,
            gatekeeper: RwLock::default(),
            sealing: Mutex::new(()),
            gate: RwLock::new(()),
            state: RwLock::new(state),
            late: Mutex::new(late),
            pages: page::Pages::new(dir),
            meters: ArchiveMeters::default(),
            _lock: lock,
        })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The key its heads are signed with.
    pub(crate) fn signing_key(&self) -> &SecretKey {
        &self.key
    }

    /// The key that its heads are checked with: of a mirror, that of the archive it
    /// follows.
    pub fn public_key(&self) -> PublicKey {
        match self.origin() {
            Some(origin) if origin.kind != Kind::Fork => origin.key,
            _ => self.key.public_key(),
        }
    }

    /// Its blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The current head; `None` before the first seal.
    pub fn head(&self) -> Option<Head> {
        self.read_state().head.clone()
    }

    /// Waits until what was given to the journal before is durable or refused, the disk
    /// took one byte more, and whoever changes the archive lets others in. Fails where
    /// the journal takes nothing any more, and where the disk refuses; where the disk
    /// hangs, it hangs.
    pub fn answers(&self) -> Result<(), DiskError> {
        self.journal.pass()?;
        drop(self.gate.read().unwrap_or_else(PoisonError::into_inner));
        drop(self.read_state());
        Ok(())
    }

    /// Stores envelopes; when this returns, every one is durable or counted as
    /// a duplicate, refused or too old.
    pub fn append(&self, envelopes: &[Envelope]) -> Result<Appended, DiskError> {
        self.own()?;
        let looked = self.look_up(envelopes)?;
        let appended = self.store(envelopes, looked)?;
        self.meters.duplicate.add(appended.duplicate);
        self.meters.too_large.add(appended.refused);
        self.meters.too_old.add(appended.too_old);
        Ok(appended)
    }

    /// Looks which of `envelopes` are neither too large, nor too old, nor held.
    fn look_up(&self, envelopes: &[Envelope]) -> Result<Looked, DiskError> {
        let mut appended = Appended::default();
        let mut candidates = Vec::with_capacity(envelopes.len());
        let (head, sealed) = {
            let state = self.read_state();
            let mut seen = HashSet::with_capacity(envelopes.len());
            for (at, envelope) in envelopes.iter().enumerate() {
                let key = Key::from(envelope);
                let len = envelope.rlp().len();
                if len > MAX_ENVELOPE_RLP {
                    appended.refused += 1;
                } else if Day::of(key.sent) < state.kept_from {
                    appended.too_old += 1;
                } else if state.waiting.contains(&key) || !seen.insert(key.hash) {
                    appended.duplicate += 1;
                } else {
                    candidates.push(Pending { key, len, at });
                }
            }
            (state.head_cid(), state.sealed())
        };
        let (new, held) = self.not_sealed(&sealed, candidates)?;
        appended.duplicate += held;
        Ok(Looked {
            head,
            new,
            appended,
        })
    }

    /// Those that are not sealed, in their order, and how many are.
    fn not_sealed<T: Copy + Ord>(
        &self,
        sealed: &Sealed,
        candidates: Vec<Pending<T>>,
    ) -> Result<(Vec<Pending<T>>, u64), ArchiveError> {
        // Traffic as it comes was sent after the watermark: nothing to look up.
        let (covered, mut new): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|p| sealed.watermark.covers(p.key.sent));
        let mut held = covered.len();
        if !covered.is_empty() {
            let kept = keep_all_but_known(&self.blocks, sealed, covered)?;
            let before = new.len();
            new.extend(kept.into_values().flatten());
            held -= new.len() - before;
            // The journal keeps the order of arrival.
            new.sort_by_key(|pending| pending.at);
        }
        Ok((new, held as u64))
    }

    /// Makes durable what was found to be new.
    fn store(&self, envelopes: &[Envelope], looked: Looked) -> Result<Appended, DiskError> {
        let Looked {
            mut head,
            mut new,
            mut appended,
        } = looked;
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        // Days may have been dropped since.
        let kept_from = self.kept_from();
        let before = new.len();
        new.retain(|pending| Day::of(pending.key.sent) >= kept_from);
        appended.too_old += (before - new.len()) as u64;
        let records: Vec<Bytes> = new.iter().map(|p| envelopes[p.at].rlp().clone()).collect();
        if records.is_empty() {
            return Ok(appended);
        }
        let locations = self.journal_append(records)?;
        let mut durable: Vec<Pending<Location>> = new
            .into_iter()
            .zip(locations)
            .map(|(Pending { key, len, .. }, at)| Pending { key, len, at })
            .collect();
        loop {
            let sealed = {
                let mut state = self.write_state();
                if state.head_cid() == head {
                    for pending in durable {
                        if state.waiting.insert(pending.key, pending.len, pending.at) {
                            appended.stored += 1;
                            self.meters.appended.observe(pending.len as u64);
                        } else {
                            appended.duplicate += 1;
                        }
                    }
                    return Ok(appended);
                }
                head = state.head_cid();
                state.sealed()
            };
            // Another copy may have been stored and sealed since it was looked for:
            // this one must not wait again. One more seal can end while the gate
            // is held.
            durable = match self.not_sealed(&sealed, durable.clone()) {
                Ok((new, held)) => {
                    appended.duplicate += held;
                    new
                }
                Err(error) => {
                    tracing::warn!(%error, "whether envelopes are new is told by the next seal");
                    durable
                }
            };
        }
    }

    /// Deletes files of blocks that have been superseded for longer than the
    /// grace; gives how many bytes went.
    pub fn sweep(&self, now: UnixSeconds) -> Result<u64, DiskError> {
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.read_state().head.clone();
        match head {
            None => Ok(0),
            Some(head) => {
                let held = match self.is_complete() {
                    true => sweep::Calendar::Whole,
                    false => sweep::Calendar::Part,
                };
                let freed = sweep::sweep(&self.blocks.folder, &head, held, now)?;
                self.blocks.list();
                page::sweep_times(self)?;
                Ok(freed)
            }
        }
    }

    /// Makes what pages of mail are read with for every segment that has none
    /// yet, so that no request has to wait for it.
    pub fn make_times(&self, stop: &Stop) -> Result<usize, DiskError> {
        page::make_times(self, stop)
    }

    /// Drops the days that ended before `before`, as far as they are closed and
    /// nothing of them waits; later calls go on from there.
    pub fn drop_before(&self, before: UnixSeconds) -> Result<Dropped, DiskError> {
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        retention::drop_before(self, before)
    }

    /// What [`Self::drop_before`] would come to, of which nothing is done.
    pub fn would_drop(&self, before: UnixSeconds) -> Result<Plan, DiskError> {
        retention::would_drop(self, before)
    }

    /// The first day whose envelopes are kept.
    pub fn kept_from(&self) -> Day {
        self.read_state().kept_from
    }

    /// Queries what a head of this archive seals.
    pub fn query(&self, head: &Head, filter: Filter) -> Result<Query<'_>, ArchiveError> {
        let mut query = Query::new(&self.blocks, &sealed_by(head), filter)?;
        query.charge(head.block());
        Ok(query)
    }

    /// The CID of the current head; `None` before the first seal.
    pub fn head_cid(&self) -> Option<Cid> {
        self.read_state().head_cid()
    }

    /// Appends any number of records, in batches the journal takes.
    fn journal_append(&self, records: Vec<Bytes>) -> Result<Vec<Location>, DiskError> {
        let mut locations = Vec::with_capacity(records.len());
        let mut batch: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        for record in records {
            if bytes + record.len() > MAX_BATCH {
                locations.extend(self.journal.append(std::mem::take(&mut batch))?);
                bytes = 0;
            }
            bytes += record.len();
            batch.push(record);
        }
        locations.extend(self.journal.append(batch)?);
        Ok(locations)
    }

    fn read_waiting(&self, at: Location) -> Result<Bytes, ArchiveError> {
        self.journal
            .read(at)
            .map_err(|error| ArchiveError::Pending(Box::new(error)))
    }

    /// Waits until no envelope is in the journal and not in the state.
    fn gate_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> MutexGuard<'_, LateList> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seals quietly all that is due at `now`: what daemons and imports do on the
/// way.
pub fn seal_due(archive: &Archive, now: UnixSeconds) -> Result<SealReport, DiskError> {
    let base = archive
        .head()
        .map(|head| head.body().watermark)
        .unwrap_or_default();
    archive.seal(Watermark::due(now).max(base), now, &Quiet)
}
