//! Blocks from elsewhere, kept for the next question.
//!
//! Always true:
//! - What is read is hashed: a damaged file is as good as none, and goes.
//! - The folder stays within its bytes, give or take what was added since it was
//!   looked through last.
//! - Any number of processes share a folder: files appear whole, under names that
//!   say what they hold, and whoever finds one gone asks elsewhere.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::account::{Account, Balance};
use crate::blocks::{Block, Cid};

/// Bytes kept: the calendar of a large archive, and some months of one's topics.
pub const CACHE_BYTES: u64 = 256 << 20;

/// After how many bytes added the folder is looked through again.
const LOOK_EVERY: u64 = CACHE_BYTES / 16;

/// Age of a file that was never finished at which it goes.
const UNFINISHED: Duration = Duration::from_secs(3_600);

/// A folder of blocks.
#[derive(Debug)]
pub struct BlockCache {
    dir: PathBuf,
    most: u64,
    /// Bytes added since the folder was looked through; the first one looks.
    added: AtomicU64,
}

impl BlockCache {
    /// The cache in `dir`, which is made when the first block is kept.
    pub fn new(dir: &Path) -> Self {
        Self::with_bytes(dir, CACHE_BYTES)
    }

    /// As [`Self::new`], with at most `most` bytes.
    pub fn with_bytes(dir: &Path, most: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            most,
            added: AtomicU64::new(u64::MAX),
        }
    }

    /// The block, where it is kept.
    pub fn get(&self, cid: &Cid) -> Option<Block> {
        let path = self.path(cid);
        let bytes = fs::read(&path).ok()?;
        match Block::verify(cid, bytes) {
            Ok(block) => {
                // Used now, so not the next to go. Nothing depends on it.
                let _ = File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(SystemTime::now()));
                Some(block)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), "damaged block in the cache: {error}");
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Keeps a block. Nothing is synced: what a crash leaves is hashed when read.
    pub fn put(&self, block: &Block) -> io::Result<()> {
        let path = self.path(block.cid());
        let unfinished = self
            .dir
            .join(format!("{:032x}.part", rand::random::<u128>()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let written =
            fs::write(&unfinished, block.bytes()).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        let len = block.bytes().len() as u64;
        let every = LOOK_EVERY.min(self.most / 16);
        let before = self
            .added
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |added| {
                let now = added.saturating_add(len);
                Some(if now >= every { 0 } else { now })
            });
        if before.is_ok_and(|added| added.saturating_add(len) >= every) {
            self.evict()?;
        }
        Ok(())
    }

    /// Removes what was used longest ago until an eighth of the bytes is free.
    fn evict(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        let mut bytes = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            if !path.is_dir() {
                let age = entry.metadata().and_then(|about| about.modified());
                let old = age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > UNFINISHED));
                if old
                    && path
                        .extension()
                        .is_some_and(|extension| extension == "part")
                {
                    let _ = fs::remove_file(&path);
                }
                continue;
            }
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                // Another process may have removed it since.
                let Ok(about) = entry.metadata() else {
                    continue;
                };
                bytes += about.len();
                let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                kept.push((used, about.len(), entry.path()));
            }
        }
        if bytes <= self.most {
            return Ok(());
        }
        kept.sort();
        for (_, len, path) in kept {
            if bytes <= self.most - self.most / 8 {
                break;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes -= len,
            }
        }
        Ok(())
    }

    fn path(&self, cid: &Cid) -> PathBuf {
        let name = cid.to_string();
        // The last two characters: the first ones are the same for all.
        let folder = &name[name.len().saturating_sub(2)..];
        self.dir.join(folder).join(&name)
    }
}

/// A cache, and what came out of it.
pub(super) struct Cache {
    blocks: BlockCache,
    account: Account,
}

impl Cache {
    pub(super) fn new(blocks: BlockCache) -> Self {
        Self {
            blocks,
            account: Account::new("the cache"),
        }
    }

    /// What it gave.
    pub(super) fn balance(&self) -> Balance {
        self.account.balance()
    }

    /// The block, where it is kept.
    pub(super) fn find(&self, cid: &Cid) -> Option<Block> {
        let block = self.blocks.get(cid)?;
        self.account.gave(block.bytes().len() as u64);
        Some(block)
    }

    /// Whether it is kept; its bytes are not looked at.
    pub(super) fn holds(&self, cid: &Cid) -> bool {
        self.blocks.path(cid).exists()
    }

    /// Keeps a block, if the disk lets it.
    pub(super) fn keep(&self, block: &Block) {
        if let Err(error) = self.blocks.put(block) {
            tracing::warn!(folder = %self.blocks.dir.display(), "cannot keep a block: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Codec;

    fn block(n: u32) -> Block {
        let mut bytes = vec![0; 1_000];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        Block::new(Codec::Raw, bytes)
    }

    fn held(cache: &BlockCache, blocks: &[Block]) -> usize {
        blocks
            .iter()
            .filter(|b| cache.path(b.cid()).exists())
            .count()
    }

    #[test]
    fn what_is_kept_is_given_back_and_what_is_damaged_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlockCache::new(dir.path());
        assert_eq!(cache.get(block(1).cid()), None);
        cache.put(&block(1)).unwrap();
        assert_eq!(cache.get(block(1).cid()), Some(block(1)));
        fs::write(cache.path(block(1).cid()), b"other bytes").unwrap();
        assert_eq!(cache.get(block(1).cid()), None);
        assert!(!cache.path(block(1).cid()).exists());
    }

    #[test]
    fn the_cache_stays_within_its_bytes_and_keeps_what_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlockCache::with_bytes(dir.path(), 40_000);
        let blocks: Vec<_> = (0..200).map(block).collect();
        for (at, block) in blocks.iter().enumerate() {
            cache.put(block).unwrap();
            // Ages are set by hand: file systems count in ticks.
            let age = Duration::from_secs(1_000 - at as u64);
            let file = File::options().append(true).open(cache.path(block.cid()));
            file.unwrap().set_modified(SystemTime::now() - age).unwrap();
            cache.get(blocks[0].cid()).unwrap();
        }
        let held = held(&cache, &blocks);
        assert!((30..=43).contains(&held), "{held}");
        assert!(cache.get(blocks[0].cid()).is_some());
        assert!(cache.get(blocks[199].cid()).is_some());
        assert!(cache.get(blocks[1].cid()).is_none());
    }

    #[test]
    fn processes_share_a_cache() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|threads| {
            for thread in 0..4u32 {
                let dir = dir.path();
                threads.spawn(move || {
                    let cache = BlockCache::with_bytes(dir, 20_000);
                    for n in 0..100 {
                        let block = block((n * 7 + thread) % 50);
                        cache.put(&block).unwrap();
                        if let Some(found) = cache.get(block.cid()) {
                            assert_eq!(found, block);
                        }
                    }
                });
            }
        });
    }
}
