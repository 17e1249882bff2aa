//! An archive's blocks: on this disk, at its depot, or further up.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::DiskError;
use super::cache::Cache;
use super::evicted::Evicted;
use super::heads::Heads;
use super::rest::Rest;
use crate::blocks::{
    Block, BlockError, BlockFile, BlockSource, BlockStore, BlockWriter, CarFolder, Cid, Fault,
    Group, Place, Refusal, Reuse,
};

/// Bytes of blocks fetched from a depot that are kept in memory: the leaves that some
/// pages need one after another.
const KEPT_FETCHED: usize = 32 << 20;

/// Leaves fetched from a depot at a time: 4 MiB as they are cut, and room for them in
/// what is kept.
pub(super) const FETCHED_AT_ONCE: usize = 32;

/// Where blocks are kept that this disk evicted.
#[derive(Clone)]
struct DepotOf {
    name: String,
    source: Arc<dyn BlockSource>,
    rest: Arc<Rest>,
}

/// An archive's blocks, its heads among them.
///
/// What this disk evicted is read from the depot. What it lacks otherwise is asked of
/// the upstream, where one is set: a fork may rest on a history that it never copied.
/// The depot is asked for that last: it may have what is damaged here.
pub struct Blocks {
    pub(super) folder: CarFolder,
    pub(super) heads: Heads,
    pub(super) evicted: Evicted,
    depot: RwLock<Option<DepotOf>>,
    upstream: RwLock<Option<Arc<dyn BlockSource>>>,
    fetched: Cache<Cid, Block>,
}

impl Blocks {
    pub(super) fn new(folder: CarFolder, heads: Heads, evicted: Evicted) -> Self {
        Self {
            folder,
            heads,
            evicted,
            depot: RwLock::default(),
            upstream: RwLock::default(),
            fetched: Cache::new(KEPT_FETCHED),
        }
    }

    /// Where blocks are to be had that this disk lacks. They are hashed as they
    /// come, and not kept.
    pub fn set_upstream(&self, upstream: Option<Arc<dyn BlockSource>>) {
        *self
            .upstream
            .write()
            .unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Where blocks are that this disk evicted: the archive's own depot, by its name.
    pub fn set_depot(&self, name: impl Into<String>, source: Arc<dyn BlockSource>) {
        let depot = DepotOf {
            name: name.into(),
            source,
            rest: Arc::default(),
        };
        *self.depot.write().unwrap_or_else(PoisonError::into_inner) = Some(depot);
    }

    fn upstream(&self) -> Option<Arc<dyn BlockSource>> {
        let upstream = self.upstream.read().unwrap_or_else(PoisonError::into_inner);
        upstream.clone()
    }

    fn depot(&self) -> Option<DepotOf> {
        let depot = self.depot.read().unwrap_or_else(PoisonError::into_inner);
        depot.clone()
    }

    /// What the archive itself holds, on this disk or at its depot, and nothing else:
    /// for those for whom nothing is to be fetched.
    pub fn held(&self) -> Held<'_> {
        Held(self)
    }

    /// What this disk holds: nobody else is asked, so that it is soon known.
    pub fn here(&self) -> Here<'_> {
        Here(self)
    }

    /// Whether a block that is not here may have been evicted; its depot is not asked.
    pub fn may_be_evicted(&self, cid: &Cid) -> bool {
        self.was_evicted(cid)
    }

    /// As [`Self::held`], as a store: what is written goes to this disk.
    pub fn own(&self) -> Own<'_> {
        Own(self)
    }

    /// All blocks rest in `store`: those of a replica.
    pub(super) fn rest_at(&self, store: &str) {
        self.evicted.rest_at(store);
    }

    /// Whether files were evicted.
    pub fn has_evicted(&self) -> bool {
        !self.evicted.is_empty()
    }

    /// The store that files were evicted to, as its user named it.
    pub fn evicted_to(&self) -> Option<String> {
        if let Some(store) = self.evicted.all_at() {
            return Some(store.to_owned());
        }
        let files = self.evicted.files();
        files.last().map(|file| file.store.clone())
    }

    /// The files that were evicted, in order of name.
    pub fn evicted(&self) -> Vec<BlockFile> {
        let files = self.evicted.files();
        files.iter().map(|file| file.file.clone()).collect()
    }

    /// The names of files that were evicted to another store than this one, and which.
    pub fn evicted_elsewhere<'s>(
        &self,
        store: &'s str,
    ) -> impl Iterator<Item = (String, String)> + 's {
        let files = self.evicted.files().into_iter();
        let elsewhere = files.filter(move |file| file.store != store);
        elsewhere.map(|file| (file.file.name.clone(), file.store.clone()))
    }

    /// Whether the store that is open says that it lacks a block: one that is not open,
    /// or does not answer, says nothing.
    pub(super) fn is_lacked(&self, cid: &Cid) -> bool {
        let depot = self.depot();
        depot.is_some_and(|depot| matches!(depot.get(cid), Err(error) if error.is_missing()))
    }

    /// Lists which block lies in which file, for readers behind a plain web
    /// server. A list that lags misleads nobody, so a failure is only told.
    pub(super) fn list(&self) {
        if let Err(error) = self.folder.write_catalogues() {
            tracing::warn!(%error, "cannot list the blocks for web servers");
        }
    }

    /// A block that this disk holds.
    fn local(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.folder.get(cid) {
            Err(error) if error.is_missing() => self.heads.get(cid),
            other => other,
        }
    }

    /// The heads among them.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The files of all others.
    pub fn folder(&self) -> &CarFolder {
        &self.folder
    }

    /// Whether a block that is not here was evicted. Another process may have done
    /// that since this one looked.
    fn was_evicted(&self, cid: &Cid) -> bool {
        if self.evicted.may_hold(cid) {
            return true;
        }
        // Whoever evicts knows of it already.
        let is_reader = !self.folder.is_writer();
        is_reader
            && self.evicted.refresh().is_ok_and(|changed| changed)
            && self.evicted.may_hold(cid)
    }

    /// A block that was evicted.
    fn at_depot(&self, cid: &Cid) -> Result<Block, BlockError> {
        if let Some(block) = self.fetched.get(cid) {
            return Ok(block);
        }
        let depot = self.depot().ok_or_else(|| self.not_open(cid))?;
        let given = depot.get(cid).map_err(|error| self.told(&depot, error))?;
        let block = Block::verify(cid, given.into_bytes())?;
        self.keep_fetched(&block);
        Ok(block)
    }

    /// A block that should be at the depot and is not: that is said of the depot, or of
    /// the one that it was evicted to.
    fn told(&self, depot: &DepotOf, error: BlockError) -> BlockError {
        let BlockError::Missing { cid } = error else {
            return error;
        };
        let store = self.evicted.store_of(&cid);
        if store.is_some_and(|store| store != depot.name) {
            return self.not_open(&cid);
        }
        depot.refusal(&cid, Fault::Absent)
    }

    fn keep_fetched(&self, block: &Block) {
        self.fetched
            .insert(*block.cid(), block.clone(), block.bytes().len());
    }

    /// Nobody has said how the depot is reached that keeps this block.
    fn not_open(&self, cid: &Cid) -> BlockError {
        let store = self.evicted.store_of(cid);
        BlockError::Unavailable {
            cid: *cid,
            by: vec![Refusal {
                source: store.unwrap_or_else(|| "the store".to_owned()),
                fault: Fault::Failed("it keeps this block and is not open here".to_owned()),
            }],
        }
    }

    /// A block that is not on this disk, or not as it should be.
    fn elsewhere(&self, cid: &Cid, error: BlockError) -> Result<Block, BlockError> {
        let error = if self.was_evicted(cid) {
            match self.at_depot(cid) {
                Ok(block) => return Ok(block),
                Err(error) => error,
            }
        } else {
            error
        };
        if let Some(upstream) = self.upstream() {
            let found = upstream.get(cid)?;
            // It is asked for by an own link; a source of ours may lie too.
            return Block::verify(cid, found.into_bytes());
        }
        // What is damaged here was carried there before it was.
        match self.depot() {
            Some(depot) => match depot.get(cid) {
                Ok(block) => Block::verify(cid, block.into_bytes()),
                Err(_) => Err(error),
            },
            None => Err(error),
        }
    }

    /// A leaf, and where it lies if that is on this disk.
    pub(super) fn find(&self, cid: &Cid) -> Result<(Block, Option<Place>), BlockError> {
        match self.folder.find(cid) {
            Ok((block, place)) => Ok((block, Some(place))),
            Err(error) if error.is_missing() && self.was_evicted(cid) => {
                Ok((self.at_depot(cid)?, None))
            }
            Err(error) => Err(error),
        }
    }

    /// Fetches those of `cids` that were evicted, at once: at most
    /// [`FETCHED_AT_ONCE`], to be asked for next.
    pub(super) fn fetch_ahead(&self, cids: &[Cid]) -> Result<(), BlockError> {
        if self.evicted.is_empty() {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for cid in cids.iter().take(FETCHED_AT_ONCE) {
            let is_away = self.evicted.may_hold(cid) && !self.folder.has(cid)?;
            if is_away && self.fetched.get(cid).is_none() {
                wanted.push(*cid);
            }
        }
        let (true, Some(depot)) = (wanted.len() > 1, self.depot()) else {
            return Ok(());
        };
        depot.get_each(&wanted, &mut |block| {
            // Hashed again: it is the archive's word that is given for it.
            if let Ok(block) = Block::verify(&block.cid().clone(), block.into_bytes()) {
                self.keep_fetched(&block);
            }
            ControlFlow::Continue(())
        })
    }

    /// Gives `take` each of the blocks, those of this disk first.
    fn each(
        &self,
        cids: &[Cid],
        upstream: Option<&dyn BlockSource>,
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let (mut evicted, mut lacking) = (Vec::new(), Vec::new());
        for cid in cids {
            match self.local(cid) {
                Ok(block) => {
                    if take(block).is_break() {
                        return Ok(());
                    }
                }
                Err(error) if error.is_missing() && self.was_evicted(cid) => evicted.push(*cid),
                Err(error) if error.is_missing() || error.is_corrupt() => {
                    lacking.push((*cid, error));
                }
                Err(error) => return Err(error),
            }
        }
        let mut broke = false;
        if let Some(first) = evicted.first() {
            let depot = self.depot().ok_or_else(|| self.not_open(first))?;
            let given = depot.get_each(&evicted, &mut |block| {
                let taken = take(block);
                broke = taken.is_break();
                taken
            });
            given.map_err(|error| self.told(&depot, error))?;
        }
        match (lacking.is_empty() || broke, upstream) {
            (true, _) => Ok(()),
            (false, Some(upstream)) => {
                let cids: Vec<Cid> = lacking.into_iter().map(|(cid, _)| cid).collect();
                upstream.get_each(&cids, take)
            }
            (false, None) => Err(lacking.swap_remove(0).1),
        }
    }

    fn holds(&self, cid: &Cid) -> Result<bool, BlockError> {
        if self.folder.has(cid)? || self.heads.has(cid)? {
            return Ok(true);
        }
        match (self.evicted.all_at(), self.depot()) {
            (Some(_), Some(depot)) => depot.source.has(cid),
            _ => Ok(self.was_evicted(cid)),
        }
    }
}

impl DepotOf {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.ask(cid, |_| self.source.get(cid))
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let Some(first) = cids.first() else {
            return Ok(());
        };
        self.ask(first, |since| {
            self.source.get_each(cids, &mut |block| {
                let taken = take(block);
                since.set(Instant::now());
                taken
            })
        })
    }

    /// Asks for blocks, unless the depot was slow to fail a moment ago; `call` notes when
    /// it was given anything.
    fn ask<T>(
        &self,
        cid: &Cid,
        call: impl FnOnce(&Cell<Instant>) -> Result<T, BlockError>,
    ) -> Result<T, BlockError> {
        let since = Cell::new(Instant::now());
        if let Some(left) = self.rest.left(since.get()) {
            let left = left.as_secs() + 1;
            let what = format!("it was slow to fail, and is asked again in {left} s");
            return Err(self.refusal(cid, Fault::Failed(what)));
        }
        let given = call(&since);
        match &given {
            Err(error) if !error.is_missing() => self.rest.failed(since.get(), Instant::now()),
            _ => self.rest.end(),
        }
        given
    }

    fn refusal(&self, cid: &Cid, fault: Fault) -> BlockError {
        BlockError::Unavailable {
            cid: *cid,
            by: vec![Refusal {
                source: self.name.clone(),
                fault,
            }],
        }
    }
}

impl BlockSource for Blocks {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.local(cid) {
            Err(error) if error.is_missing() || error.is_corrupt() => self.elsewhere(cid, error),
            other => other,
        }
    }

    /// Whether the archive holds it itself.
    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.holds(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.each(cids, self.upstream().as_deref(), take)
    }
}

/// The blocks that an archive holds itself: see [`Blocks::held`].
pub struct Held<'a>(&'a Blocks);

impl BlockSource for Held<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.0.local(cid) {
            Err(error) if error.is_missing() && self.0.was_evicted(cid) => self.0.at_depot(cid),
            other => other,
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.holds(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.0.each(cids, None, take)
    }
}

/// What an archive has on its disk: see [`Blocks::here`].
pub struct Here<'a>(&'a Blocks);

impl BlockSource for Here<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.local(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.0.folder.has(cid)? || self.0.heads.has(cid)?)
    }
}

/// The blocks that an archive holds itself, as a store: see [`Blocks::own`].
pub struct Own<'a>(&'a Blocks);

impl BlockSource for Own<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        Held(self.0).get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.holds(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.0.each(cids, None, take)
    }
}

impl BlockStore for Own<'_> {
    fn begin(&self, group: Group, reuse: Reuse) -> Result<Box<dyn BlockWriter + '_>, BlockError> {
        self.0.folder.begin(group, reuse)
    }

    fn files(&self) -> Result<Vec<BlockFile>, BlockError> {
        self.0.folder.files()
    }

    fn cids(&self, name: &str) -> Result<Vec<Cid>, BlockError> {
        self.0.folder.cids(name)
    }

    fn remove(&self, name: &str) -> Result<(), BlockError> {
        self.0.folder.remove(name)
    }

    fn keeps_elsewhere(&self, root: &Cid) -> bool {
        self.0.evicted.has_root(root)
    }
}

/// What is written goes to this disk.
impl BlockStore for Blocks {
    fn begin(&self, group: Group, reuse: Reuse) -> Result<Box<dyn BlockWriter + '_>, BlockError> {
        self.folder.begin(group, reuse)
    }

    fn files(&self) -> Result<Vec<BlockFile>, BlockError> {
        self.folder.files()
    }

    fn cids(&self, name: &str) -> Result<Vec<Cid>, BlockError> {
        self.folder.cids(name)
    }

    fn remove(&self, name: &str) -> Result<(), BlockError> {
        self.folder.remove(name)
    }

    fn keeps_elsewhere(&self, root: &Cid) -> bool {
        self.evicted.has_root(root)
    }
}

impl super::Archive {
    /// Takes the file of a day from this disk, which `store` keeps: that it does, and
    /// that a head there leads to it, is for the caller to know. Gives the bytes that
    /// went; none where the file is not here, or is of a day that is no longer kept.
    pub fn evict(&self, name: &str, store: &str) -> Result<u64, DiskError> {
        // No days are dropped meanwhile.
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = &self.blocks.folder;
        let mut files = folder.files()?.into_iter();
        let Some(file) = files.find(|file| file.name == name) else {
            return Ok(0);
        };
        match file.group {
            Group::Day(day) if day >= self.kept_from().0 => {}
            _ => return Ok(0),
        }
        let (_, root) = folder.locate(name)?;
        self.blocks
            .evicted
            .say(&file, &root, &folder.cids(name)?, store)?;
        folder.remove(name)?;
        Ok(file.bytes)
    }
}
