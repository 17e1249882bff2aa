//! The engine under the rows: sled on disk, or a map in memory.
//!
//! Always true: no panic of sled passes this module; it becomes an error, and
//! the index is rebuilt.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cid::Cid;

use super::rows::{
    About, BLOCKS, BlockKey, BlockValue, FILE, Sought, Tally, VERSION, VERSION_KEY, file_value,
    parse_file,
};
use super::{FileId, FileMark, IndexError, Location, failed};

/// Bytes of pages sled may keep: 4 MiB. It holds several times that in memory:
/// 43 MB in all were measured with 330,000 rows, the blocks of ten million
/// envelopes, where 16 MiB led to 60 MB; look-ups took as long.
const CACHE_BYTES: u64 = 4 << 20;

/// Broken indexes kept for whoever wants to look; the next one is deleted.
const MOST_SET_ASIDE: usize = 4;

/// How long a dropped engine may take to let go of its file: its threads outlive
/// it for a moment, a longer one where processors are scarce. Other processes
/// are kept out by a lock of our own.
const LETS_GO_WITHIN: Duration = Duration::from_secs(5);

/// How often to try meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// Where rows are kept.
pub(super) enum Store {
    /// One tree for all rows: kills tear what goes to several.
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
            let config = sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .mode(sled::Mode::LowSpace)
                // No thread that wakes twice a second: every change flushes.
                .flush_every_ms(None);
            let db = open_engine(&config)?;
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

    /// Every location of a block.
    pub(super) fn locations(&self, sought: &Sought) -> Result<Vec<Location>, IndexError> {
        let mut found = Vec::new();
        match self {
            Self::Sled { db, .. } => {
                let rows = db.scan_prefix(sought.prefix);
                for (key, value) in guard(|| rows.collect::<sled::Result<Vec<_>>>())? {
                    found.extend(sought.location(&key, &value)?);
                }
            }
            Self::Memory(rows) => {
                let all = sought.key(FileId(0))..=sought.key(FileId(u32::MAX));
                let rows = rows.read().unwrap_or_else(PoisonError::into_inner);
                for (key, value) in rows.range(all) {
                    found.extend(sought.location(key, value)?);
                }
            }
        }
        Ok(found)
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
                    // Row by row. In a batch sled frees nothing until its end,
                    // and never catches up: 330,000 rows took 490 MB.
                    for (key, value) in rows {
                        db.insert(key, value)?;
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
        let mut keys: Vec<_> = blocks
            .iter()
            .filter_map(|cid| Some(Sought::of(cid)?.key(id)))
            .collect();
        keys.sort_unstable();
        match self {
            Self::Sled { db, .. } => guard(|| {
                for key in &keys {
                    db.remove(key)?;
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
            let rows = BLOCKS.into_iter().flat_map(|codec| db.scan_prefix([codec]));
            for row in rows {
                let (key, value) = row?;
                if !keep(&key, &value) {
                    db.remove(key)?;
                }
            }
            Ok(())
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

/// Opens the engine, waiting for one that was just dropped to let go.
pub(super) fn open_engine(config: &sled::Config) -> sled::Result<sled::Db> {
    let deadline = Instant::now() + LETS_GO_WITHIN;
    loop {
        match config.open() {
            Err(error) if is_held(&error) && Instant::now() < deadline => sleep(TRY_EVERY),
            opened => return opened,
        }
    }
}

/// Whether the file is locked; sled tells it in words alone.
fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
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
