//! The engine under the rows: sled on disk, or a map in memory.
//!
//! Always true: no panic of sled passes this module; it becomes an error, and
//! the index is rebuilt.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use cid::Cid;

use super::rows::{
    About, BLOCK, BlockKey, BlockPrefix, BlockValue, FILE, Tally, VERSION, VERSION_KEY, block_key,
    file_value, location, parse_file,
};
use super::{FileId, FileMark, IndexError, Location, failed};

/// Memory sled may use for pages: 16 MiB, a quarter of what an idle daemon may
/// use in all.
const CACHE_BYTES: u64 = 16 << 20;

/// Rows written in one batch: bounds the memory of a batch to a few MiB.
const BATCH_ROWS: usize = 10_000;

/// Broken indexes kept for whoever wants to look; the next one is deleted.
const MOST_SET_ASIDE: usize = 4;

/// Where rows are kept.
pub(super) enum Store {
    /// One tree for all rows: batches over several trees are torn by kills.
    Sled { db: sled::Db, path: PathBuf },
    /// Blocks alone; the table of files is in memory anyway.
    Memory(RwLock<BTreeMap<BlockKey, BlockValue>>),
}

impl Store {
    pub(super) fn in_memory() -> Self {
        Self::Memory(RwLock::default())
    }

    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        guard(|| {
            let db = sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .mode(sled::Mode::LowSpace)
                // No thread that wakes twice a second: every change flushes.
                .flush_every_ms(None)
                .open()?;
            Ok(match db.get(VERSION_KEY)? {
                None if db.is_empty() => {
                    db.insert(VERSION_KEY, &[VERSION])?;
                    Ok(db)
                }
                Some(version) if version[..] == [VERSION] => Ok(db),
                other => Err(failed(format!("layout {other:?} is not {VERSION}"))),
            })
        })?
        .map(|db| Self::Sled {
            db,
            path: path.into(),
        })
    }

    /// Every file row.
    pub(super) fn files(&self) -> Result<Vec<(String, About)>, IndexError> {
        let Self::Sled { db, .. } = self else {
            return Ok(Vec::new());
        };
        let rows = guard(|| db.scan_prefix([FILE]).collect::<sled::Result<Vec<_>>>())?;
        let parsed = rows.iter().map(|(key, value)| {
            let name = std::str::from_utf8(&key[1..]).ok()?;
            Some((name.to_owned(), parse_file(value)?))
        });
        let parsed: Option<Vec<_>> = parsed.collect();
        parsed.ok_or_else(|| failed("a file row makes no sense"))
    }

    /// Every location whose key starts with `prefix`.
    pub(super) fn locations(&self, prefix: &BlockPrefix) -> Result<Vec<Location>, IndexError> {
        let parse = |key: &[u8], value: &[u8]| {
            location(key, value).ok_or_else(|| failed("a block row makes no sense"))
        };
        match self {
            Self::Sled { db, .. } => {
                let rows = guard(|| db.scan_prefix(prefix).collect::<sled::Result<Vec<_>>>())?;
                rows.iter().map(|(key, value)| parse(key, value)).collect()
            }
            Self::Memory(rows) => {
                let mut last = [0xff; 38];
                let mut first = [0; 38];
                first[..34].copy_from_slice(prefix);
                last[..34].copy_from_slice(prefix);
                let rows = rows.read().unwrap_or_else(PoisonError::into_inner);
                let rows = rows.range(first..=last);
                rows.map(|(key, value)| parse(key, value)).collect()
            }
        }
    }

    /// Writes the sorted block rows of one file, then its own row.
    pub(super) fn put(
        &self,
        name: &str,
        id: FileId,
        mark: FileMark,
        tally: Tally,
        rows: &[(BlockKey, BlockValue)],
    ) -> Result<(), IndexError> {
        match self {
            Self::Sled { db, .. } => {
                guard(|| {
                    for rows in rows.chunks(BATCH_ROWS) {
                        let mut batch = sled::Batch::default();
                        for (key, value) in rows {
                            batch.insert(&key[..], &value[..]);
                        }
                        db.apply_batch(batch)?;
                    }
                    // Last, so that a file with a row of its own had all its
                    // blocks written before.
                    db.insert(file_key(name), &file_value(id, mark, tally)[..])?;
                    Ok(())
                })?;
                self.flush()
            }
            Self::Memory(held) => {
                let mut held = held.write().unwrap_or_else(PoisonError::into_inner);
                held.extend(rows.iter().copied());
                Ok(())
            }
        }
    }

    pub(super) fn remove_file(&self, name: &str) -> Result<(), IndexError> {
        if let Self::Sled { db, .. } = self {
            guard(|| db.remove(file_key(name)))?;
        }
        Ok(())
    }

    pub(super) fn remove_blocks(&self, id: FileId, blocks: &[Cid]) -> Result<(), IndexError> {
        let mut keys: Vec<_> = blocks.iter().filter_map(|cid| block_key(cid, id)).collect();
        keys.sort_unstable();
        match self {
            Self::Sled { db, .. } => guard(|| {
                for keys in keys.chunks(BATCH_ROWS) {
                    let mut batch = sled::Batch::default();
                    for key in keys {
                        batch.remove(&key[..]);
                    }
                    db.apply_batch(batch)?;
                }
                Ok(())
            }),
            Self::Memory(held) => {
                let mut held = held.write().unwrap_or_else(PoisonError::into_inner);
                for key in keys {
                    held.remove(&key);
                }
                Ok(())
            }
        }
    }

    /// Shows every block row to `keep`, and deletes those it does not want.
    pub(super) fn sweep(
        &self,
        mut keep: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), IndexError> {
        let Self::Sled { db, .. } = self else {
            return Ok(());
        };
        guard(|| {
            let mut batch = sled::Batch::default();
            let mut pending = 0;
            for row in db.scan_prefix([BLOCK]) {
                let (key, value) = row?;
                if keep(&key, &value) {
                    continue;
                }
                batch.remove(key);
                pending += 1;
                if pending == BATCH_ROWS {
                    db.apply_batch(std::mem::take(&mut batch))?;
                    pending = 0;
                }
            }
            db.apply_batch(batch)
        })
    }

    /// sled's flush starts writing and returns; only an fsync of its file makes
    /// the rows outlive the power, which saves a rebuild.
    fn flush(&self) -> Result<(), IndexError> {
        let Self::Sled { db, path } = self else {
            return Ok(());
        };
        guard(|| {
            db.flush()?;
            File::open(path.join("db"))?.sync_data()?;
            Ok(())
        })
    }
}

fn file_key(name: &str) -> Vec<u8> {
    [&[FILE], name.as_bytes()].concat()
}

fn guard<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    // Whatever state a panic leaves behind is thrown away with the index.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(failed("the engine panicked")),
    }
}

/// Moves a broken index out of the way; says where to.
pub(super) fn set_aside(path: &Path) -> String {
    for n in 1..=MOST_SET_ASIDE {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".bad-{n}"));
        let aside = PathBuf::from(name);
        if !aside.exists() && fs::rename(path, &aside).is_ok() {
            return aside.display().to_string();
        }
    }
    // A folder as a rule, a file where somebody was unkind.
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    "deleted".to_owned()
}
