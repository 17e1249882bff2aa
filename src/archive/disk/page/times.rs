//! The time files of an archive: opened, made where they are missing, damaged
//! or of another segment, and kept open within bounds.
//!
//! Always true:
//! - A segment's times amount to exactly what its parent says of it, and lie
//!   within its bucket; when they are made, every block is hashed, and every
//!   leaf held against its pack.
//! - A segment's times are made once at a time, and whoever else wants them waits;
//!   at most [`MAKERS`] large segments' are. Opening a file waits for nobody.
//! - Deleting `times/` costs time, nothing else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::part::{Kind, Part};
use super::{PageError, Stop};
use crate::archive::ArchiveError;
use crate::archive::builder::SegmentRef;
use crate::archive::disk::Blocks;
use crate::archive::disk::blocks::FETCHED_AT_ONCE;
use crate::archive::disk::cache::Cache;
use crate::archive::pack::LeafEntry;
use crate::archive::sums::Sums;
use crate::archive::times::{PART_ENTRIES, PartBuilder};
use crate::archive::walk::{LeafWalk, decode_leaf_as};
use crate::blocks::{Cid, Place};
use crate::time::{TimeRange, UnixSeconds};

/// Segments from this many envelopes on have files; the times of smaller ones
/// are made in a few milliseconds.
const FILED_FROM: u64 = 1_024;

/// Bytes of open time files kept: those of some 250 days.
const KEPT_PARTS: usize = 16 << 20;

/// Bytes of their chunks kept: the entries of some 300,000 envelopes.
const KEPT_CHUNKS: usize = 16 << 20;

/// Segments with files whose times are made at a time: one ahead of any request, the
/// others for pages. More would only share the disk, and hold some megabytes each.
const MAKERS: usize = 3;

/// How often whoever waits for another's work looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(20);

/// A chunk of one part.
type ChunkKey = (u64, Kind, u32);

/// Which segments' times are being made, and whether those are large.
#[derive(Default)]
struct Making {
    segments: HashMap<Cid, bool>,
    /// Nobody may begin.
    #[cfg(test)]
    held_up: bool,
}

impl Making {
    fn may_begin(&self, segment: &Cid, is_large: bool) -> bool {
        #[cfg(test)]
        if self.held_up {
            return false;
        }
        let large = self.segments.values().filter(|is_large| **is_large).count();
        !self.segments.contains_key(segment) && (!is_large || large < MAKERS)
    }
}

/// See the module.
pub(in crate::archive::disk) struct Times {
    dir: PathBuf,
    part_entries: usize,
    filed_from: u64,
    segments: Cache<Cid, Arc<[Arc<Part>]>>,
    chunks: Cache<ChunkKey, Bytes>,
    ids: AtomicU64,
    making: Mutex<Making>,
    made: Condvar,
    /// First instants of the days whose times were made before, in this run.
    days: Mutex<HashSet<UnixSeconds>>,
}

impl Times {
    /// The time files in `dir`, which need not be there.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            part_entries: PART_ENTRIES,
            filed_from: FILED_FROM,
            segments: Cache::new(KEPT_PARTS),
            chunks: Cache::new(KEPT_CHUNKS),
            ids: AtomicU64::new(0),
            making: Mutex::default(),
            made: Condvar::new(),
            days: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_parts_of(dir: PathBuf, part_entries: usize) -> Self {
        Self {
            part_entries,
            filed_from: 1,
            ..Self::new(dir)
        }
    }

    /// The parts of a segment whose envelopes were all sent within `bounds`.
    pub(super) fn of(
        &self,
        blocks: &Blocks,
        segment: SegmentRef,
        bounds: TimeRange,
        stop: &Stop,
    ) -> Result<Arc<[Arc<Part>]>, PageError> {
        if let Some(parts) = self.segments.get(&segment.cid) {
            return within(parts, bounds);
        }
        if let Some(parts) = self.open(segment) {
            return within(self.keep_open(segment, parts), bounds);
        }
        let _turn = self.turn(&segment, stop)?;
        // Somebody may have made them meanwhile.
        if let Some(parts) = self.segments.get(&segment.cid) {
            return within(parts, bounds);
        }
        let parts = match self.open(segment) {
            Some(parts) => parts,
            None => self.make(blocks, segment, bounds, stop)?,
        };
        within(self.keep_open(segment, parts), bounds)
    }

    fn keep_open(&self, segment: SegmentRef, parts: Vec<Arc<Part>>) -> Arc<[Arc<Part>]> {
        let parts: Arc<[_]> = parts.into();
        let weight = parts.iter().map(|part| part.weight()).sum();
        self.segments
            .insert(segment.cid, Arc::clone(&parts), weight);
        parts
    }

    /// Whether nothing need be done ahead for a segment: it has a file, or is so
    /// small that it gets none. The file is not looked into.
    pub(super) fn is_settled(&self, segment: &SegmentRef) -> bool {
        segment.sums.count < self.filed_from || self.path(&segment.cid, 0).exists()
    }

    /// Whether there is a file for a segment. It is not looked into.
    pub(super) fn is_filed(&self, segment: &Cid) -> bool {
        self.path(segment, 0).exists()
    }

    /// Whether a day had its times in this run, and wants others now.
    pub(super) fn is_remade(&self, day: TimeRange) -> bool {
        let days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        days.contains(&day.from())
    }

    /// Notes the days that have their times.
    pub(super) fn note(&self, days: impl IntoIterator<Item = TimeRange>) {
        let mut noted = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(days.into_iter().map(|day| day.from()));
    }

    /// Forgets a segment's times: they are made again when asked for next.
    pub(super) fn forget(&self, segment: &Cid) {
        self.segments.forget(|cid| cid == segment);
        for part in 0.. {
            if fs::remove_file(self.path(segment, part)).is_err() {
                break;
            }
        }
    }

    /// Deletes the files of all segments but those `is_live` tells of.
    pub(super) fn sweep(&self, is_live: impl Fn(&Cid) -> bool) -> io::Result<()> {
        let folder = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        self.segments.forget(|cid| !is_live(cid));
        for file in folder {
            let path = file?.path();
            if !segment_of(&path).is_some_and(|cid| is_live(&cid)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// A checked chunk of a part.
    pub(super) fn chunk(&self, part: &Part, kind: Kind, chunk: u32) -> Result<Bytes, PageError> {
        if let Some(bytes) = part.chunk_in_memory(kind, chunk) {
            return Ok(bytes);
        }
        let key = (part.id, kind, chunk);
        if let Some(bytes) = self.chunks.get(&key) {
            return Ok(bytes);
        }
        let bytes = part.read_chunk(kind, chunk);
        let bytes = bytes.ok_or_else(|| PageError::Stale(part.segment()))?;
        self.chunks.insert(key, bytes.clone(), bytes.len());
        Ok(bytes)
    }

    /// Waits until nobody makes this segment's times, and few others'.
    pub(super) fn turn(&self, segment: &SegmentRef, stop: &Stop) -> Result<Turn<'_>, PageError> {
        let is_large = segment.sums.count >= self.filed_from;
        let mut making = self.making();
        while !making.may_begin(&segment.cid, is_large) {
            stop.check()?;
            let waited = self.made.wait_timeout(making, LOOK);
            making = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        making.segments.insert(segment.cid, is_large);
        Ok(Turn {
            times: self,
            segment: segment.cid,
        })
    }

    fn making(&self) -> MutexGuard<'_, Making> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps everybody from making times until it is dropped.
    #[cfg(test)]
    pub(super) fn hold_up(&self) -> impl Drop + '_ {
        struct HeldUp<'t>(&'t Times);

        impl Drop for HeldUp<'_> {
            fn drop(&mut self) {
                self.0.making().held_up = false;
                self.0.made.notify_all();
            }
        }

        self.making().held_up = true;
        HeldUp(self)
    }

    fn path(&self, segment: &Cid, part: u32) -> PathBuf {
        self.dir.join(format!("{segment}-{part}"))
    }

    /// The parts in the files of a segment, if they are all there and right.
    fn open(&self, segment: SegmentRef) -> Option<Vec<Arc<Part>>> {
        let mut parts: Vec<Arc<Part>> = Vec::new();
        let mut sums = Sums::default();
        loop {
            let number = u32::try_from(parts.len()).ok()?;
            let path = self.path(&segment.cid, number);
            let part = match File::open(&path).and_then(|file| Part::open(self.id(), file)) {
                Ok(Ok(part)) => part,
                Ok(Err(error)) => {
                    tracing::warn!(file = %path.display(), %error, "made again");
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "made again");
                    return None;
                }
            };
            sums = sums.plus(part.directory.sums);
            if !part.directory.is_of(&segment.cid, number) || sums.count > segment.sums.count {
                tracing::warn!(file = %path.display(), "of another segment, made again");
                return None;
            }
            let is_last = part.directory.is_last;
            parts.push(Arc::new(part));
            if is_last {
                return (sums == segment.sums).then_some(parts);
            }
        }
    }

    /// Makes the times of a segment out of its blocks.
    fn make(
        &self,
        blocks: &Blocks,
        segment: SegmentRef,
        bounds: TimeRange,
        stop: &Stop,
    ) -> Result<Vec<Arc<Part>>, PageError> {
        let mut parts = Vec::new();
        let mut builder = PartBuilder::new(segment.cid, 0);
        let mut places: Vec<Option<Place>> = Vec::new();
        let mut keep = |builder: PartBuilder, places: &mut Vec<Option<Place>>, is_last| {
            let part = self.keep(segment, number(parts.len()), &builder.finish(is_last))?;
            for (leaf, place) in places.drain(..).enumerate() {
                if let Some(place) = place {
                    part.note(leaf, place);
                }
            }
            parts.push(Arc::new(part));
            Ok::<_, PageError>(number(parts.len()))
        };
        let mut walk = LeafWalk::new(blocks, segment);
        let mut next: VecDeque<LeafEntry> = VecDeque::new();
        loop {
            stop.check()?;
            if next.is_empty() {
                let some = walk.by_ref().take(FETCHED_AT_ONCE);
                next = some.collect::<Result<_, _>>()?;
                let cids: Vec<Cid> = next.iter().map(|entry| entry.cid).collect();
                blocks.fetch_ahead(&cids).map_err(ArchiveError::from)?;
            }
            let Some(entry) = next.pop_front() else {
                break;
            };
            if builder.len() >= self.part_entries {
                let full = std::mem::replace(&mut builder, PartBuilder::new(segment.cid, 0));
                let next = keep(full, &mut places, false)?;
                builder = PartBuilder::new(segment.cid, next);
            }
            let (block, place) = blocks.find(&entry.cid).map_err(ArchiveError::from)?;
            let records = decode_leaf_as(&block, &entry)?;
            if !records.iter().all(|r| bounds.contains(r.key.sent)) {
                return Err(ArchiveError::NotAsLinked { cid: entry.cid }.into());
            }
            builder.add_leaf(&entry.cid, &records);
            places.push(place);
        }
        if !builder.is_empty() {
            keep(builder, &mut places, true)?;
        }
        let sums: Sums = parts.iter().map(|part| part.directory.sums).sum();
        if sums != segment.sums {
            return Err(ArchiveError::NotAsLinked { cid: segment.cid }.into());
        }
        Ok(parts)
    }

    /// Writes a part where it is worth a file, and opens it.
    fn keep(&self, segment: SegmentRef, part: u32, bytes: &[u8]) -> Result<Part, PageError> {
        if segment.sums.count >= self.filed_from {
            let path = self.path(&segment.cid, part);
            match self.write(&path, bytes) {
                Ok(file) => match Part::open(self.id(), file) {
                    Ok(Ok(part)) => return Ok(part),
                    Ok(Err(error)) => tracing::warn!(file = %path.display(), %error, "not kept"),
                    Err(error) => tracing::warn!(file = %path.display(), %error, "not kept"),
                },
                Err(error) => tracing::warn!(file = %path.display(), %error, "not kept"),
            }
        }
        let made = Part::in_memory(self.id(), bytes.to_vec());
        Ok(made.expect("BUG: a time file just made is right"))
    }

    /// Not synced: what a power cut leaves of it does not pass its checksums.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<File> {
        fs::create_dir_all(&self.dir)?;
        let new = path.with_extension("new");
        fs::write(&new, bytes)?;
        fs::rename(&new, path)?;
        File::open(path)
    }

    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

/// The turn to make a segment's times; passes on when dropped.
pub(super) struct Turn<'t> {
    times: &'t Times,
    segment: Cid,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.times.making().segments.remove(&self.segment);
        self.times.made.notify_all();
    }
}

/// The parts, if all of them were sent within `bounds`: a segment may be linked
/// from where it does not belong.
fn within(parts: Arc<[Arc<Part>]>, bounds: TimeRange) -> Result<Arc<[Arc<Part>]>, PageError> {
    let fits = parts.iter().all(|part| {
        bounds.contains(part.directory.first()) && bounds.contains(part.directory.last)
    });
    match parts.first() {
        Some(part) if !fits => {
            let cid = part.segment();
            Err(ArchiveError::NotAsLinked { cid }.into())
        }
        _ => Ok(parts),
    }
}

fn segment_of(path: &Path) -> Option<Cid> {
    let (cid, part) = path.file_name()?.to_str()?.split_once('-')?;
    part.parse::<u32>().ok()?;
    cid.parse().ok()
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a segment has fewer than 2^32 parts")
}
