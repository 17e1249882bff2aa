//! Blocks in memory: for tests, and for trees too short-lived to deserve a disk.
//!
//! Always true:
//! - It answers as every other store does: one suite tests them all.
//! - A block stays for as long as one file holds it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{
    Block, BlockError, BlockFile, BlockSource, BlockStore, BlockWriter, Cid, Group, Reuse,
    check_cid, check_writable, names,
};
use crate::time::{Clock, SystemClock};

/// A store that forgets everything with the process. It may be shared by
/// threads.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    files: BTreeMap<String, File>,
    /// The files that hold a block are counted, so that removing one file
    /// keeps what another shares with it.
    blocks: HashMap<Cid, (Block, usize)>,
}

struct File {
    about: BlockFile,
    root: Cid,
    cids: Vec<Cid>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store on the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store whose files are dated by `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            held: RwLock::default(),
        }
    }

    // Every change below is one step that cannot panic half-way, so what a
    // poisoned lock guards is whole.
    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockSource for MemoryStore {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        check_cid(cid)?;
        match self.read().blocks.get(cid) {
            Some((block, _)) => Ok(block.clone()),
            None => Err(BlockError::Missing { cid: *cid }),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        check_cid(cid)?;
        Ok(self.read().blocks.contains_key(cid))
    }
}

impl BlockStore for MemoryStore {
    fn begin(&self, group: Group, reuse: Reuse) -> Result<Box<dyn BlockWriter + '_>, BlockError> {
        let group_holds = match reuse {
            Reuse::Nothing => HashSet::new(),
            Reuse::SameGroup => self
                .read()
                .files
                .values()
                .filter(|file| file.about.group == group)
                .flat_map(|file| file.cids.iter().copied())
                .collect(),
        };
        Ok(Box::new(Writer {
            store: self,
            group,
            group_holds,
            order: Vec::new(),
            added: HashMap::new(),
        }))
    }

    fn files(&self) -> Result<Vec<BlockFile>, BlockError> {
        let held = self.read();
        Ok(held.files.values().map(|file| file.about.clone()).collect())
    }

    fn cids(&self, name: &str) -> Result<Vec<Cid>, BlockError> {
        match self.read().files.get(name) {
            Some(file) => Ok(file.cids.clone()),
            None => Err(BlockError::no_file(name)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), BlockError> {
        let mut held = self.write();
        let file = held
            .files
            .remove(name)
            .ok_or_else(|| BlockError::no_file(name))?;
        for cid in file.cids {
            if let Some((_, files)) = held.blocks.get_mut(&cid) {
                *files -= 1;
                if *files == 0 {
                    held.blocks.remove(&cid);
                }
            }
        }
        Ok(())
    }
}

struct Writer<'a> {
    store: &'a MemoryStore,
    group: Group,
    group_holds: HashSet<Cid>,
    order: Vec<Cid>,
    added: HashMap<Cid, Block>,
}

impl BlockSource for Writer<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.added.get(cid) {
            Some(block) => Ok(block.clone()),
            None => self.store.get(cid),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.added.contains_key(cid) || self.store.has(cid)?)
    }
}

impl BlockWriter for Writer<'_> {
    fn put(&mut self, block: &Block) -> Result<bool, BlockError> {
        check_writable(block)?;
        let cid = *block.cid();
        if self.leaves_out(&cid)? {
            return Ok(false);
        }
        self.order.push(cid);
        self.added.insert(cid, block.clone());
        Ok(true)
    }

    fn leaves_out(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.group_holds.contains(cid) || self.added.contains_key(cid))
    }

    fn commit(self: Box<Self>, root: &Cid) -> Result<Option<BlockFile>, BlockError> {
        check_cid(root)?;
        if self.order.is_empty() {
            return Ok(None);
        }
        let Self {
            store,
            group,
            order,
            added,
            ..
        } = *self;
        let mut held = store.write();
        for name in names::candidates(group, root) {
            if let Some(same) = held.files.get(&name) {
                if same.root == *root && same.cids == order {
                    return Ok(Some(same.about.clone()));
                }
                continue;
            }
            let bytes = added.values().map(|block| block.bytes().len() as u64).sum();
            let about = BlockFile {
                name: name.clone(),
                group,
                blocks: order.len() as u64,
                bytes,
                written: store.clock.now(),
            };
            for (cid, block) in added {
                held.blocks.entry(cid).or_insert((block, 0)).1 += 1;
            }
            let file = File {
                about: about.clone(),
                root: *root,
                cids: order,
            };
            held.files.insert(name, file);
            return Ok(Some(about));
        }
        unreachable!("names::candidates never ends")
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite;
    use super::*;

    #[test]
    fn memory_is_a_store_like_every_other() {
        suite::run(MemoryStore::new);
    }
}
