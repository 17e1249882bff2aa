//! Sources of blocks that withhold, lie and count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gwa::archive::cbor;
use gwa::archive::fresh::Sealed;
use gwa::blocks::{
    Block, BlockError, BlockSource, BlockStore, Cid, Codec, Group, MemoryStore, Reuse,
};
use ipld_core::ipld::Ipld;

/// Bytes by CID, of which some may not be those of their CID: what comes from a
/// stranger, before it is hashed.
#[derive(Debug, Default)]
pub struct Source {
    pub bytes: BTreeMap<Cid, Bytes>,
    fetched: AtomicU64,
}

impl BlockSource for Source {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let bytes = self
            .bytes
            .get(cid)
            .ok_or(BlockError::Missing { cid: *cid })?;
        Block::verify(cid, bytes.clone())
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.bytes.contains_key(cid))
    }
}

impl Clone for Source {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            fetched: AtomicU64::default(),
        }
    }
}

impl Source {
    /// Every block that a head reaches.
    pub fn reached(store: &MemoryStore, sealed: &Sealed) -> Self {
        let mut source = Self::default();
        let mut todo: Vec<Cid> = sealed.state.iter().chain(&sealed.open).copied().collect();
        while let Some(cid) = todo.pop() {
            let block = store.get(&cid).expect("an honest archive lacks nothing");
            if source.put(&block) {
                todo.extend(links_of(&cid, block.bytes()));
            }
        }
        source
    }

    /// Adds a block; false where it was there.
    pub fn put(&mut self, block: &Block) -> bool {
        let before = self.bytes.insert(*block.cid(), block.bytes().clone());
        before.is_none()
    }

    /// How many blocks were asked for.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// The same blocks in a store that can be written to.
    pub fn to_store(&self) -> MemoryStore {
        let store = MemoryStore::default();
        let mut file = store
            .begin(Group::Delta(0), Reuse::Nothing)
            .expect("memory does not fail");
        let mut root = Cid::default();
        for (cid, bytes) in &self.bytes {
            let block = Block::verify(cid, bytes.clone()).expect("no lies in a store");
            file.put(&block).expect("memory does not fail");
            root = *cid;
        }
        file.commit(&root).expect("memory does not fail");
        store
    }

    /// Puts `block` where `old` was, and gives every block above it the new
    /// link: a forgery that hashes right from the root down. Gives the new name
    /// of each block that was renamed.
    pub fn replace(&mut self, old: Cid, block: &Block) -> BTreeMap<Cid, Cid> {
        let mut renamed = BTreeMap::from([(old, *block.cid())]);
        self.bytes.remove(&old);
        self.put(block);
        let mut todo = vec![old];
        while let Some(below) = todo.pop() {
            let above: Vec<Cid> = self
                .bytes
                .iter()
                .filter(|(cid, bytes)| links_of(cid, bytes).contains(&below))
                .map(|(cid, _)| *cid)
                .collect();
            for cid in above {
                let bytes = self.bytes.remove(&cid).expect("just seen");
                let node: Ipld = cbor::decode(&bytes).expect("a node with links decodes");
                let block = cbor::encode(&relink(node, below, renamed[&below]));
                self.put(&block);
                // What stood above under a name given before still does.
                match renamed.iter_mut().find(|(_, name)| **name == cid) {
                    Some((first, name)) => {
                        *name = *block.cid();
                        todo.push(*first);
                    }
                    None => {
                        renamed.insert(cid, *block.cid());
                        todo.push(cid);
                    }
                }
            }
        }
        renamed
    }
}

fn relink(node: Ipld, old: Cid, new: Cid) -> Ipld {
    match node {
        Ipld::Link(cid) if cid == old => Ipld::Link(new),
        Ipld::List(items) => Ipld::List(
            items
                .into_iter()
                .map(|item| relink(item, old, new))
                .collect(),
        ),
        Ipld::Map(fields) => Ipld::Map(
            fields
                .into_iter()
                .map(|(name, value)| (name, relink(value, old, new)))
                .collect(),
        ),
        other => other,
    }
}

/// The links in a block.
fn links_of(cid: &Cid, bytes: &[u8]) -> BTreeSet<Cid> {
    let mut links = BTreeSet::new();
    if Codec::of(cid) == Some(Codec::DagCbor)
        && let Ok(node) = cbor::decode::<Ipld>(bytes)
    {
        let mut todo = vec![node];
        while let Some(item) = todo.pop() {
            match item {
                Ipld::Link(cid) => {
                    links.insert(cid);
                }
                Ipld::List(items) => todo.extend(items),
                Ipld::Map(fields) => todo.extend(fields.into_values()),
                _ => {}
            }
        }
    }
    links
}

/// A head's view under the new names of its roots.
pub fn renamed(sealed: &Sealed, names: &BTreeMap<Cid, Cid>) -> Sealed {
    let name = |cid: &Cid| names.get(cid).copied().unwrap_or(*cid);
    Sealed {
        state: sealed.state.as_ref().map(name),
        open: sealed.open.iter().map(name).collect(),
        ..sealed.clone()
    }
}
