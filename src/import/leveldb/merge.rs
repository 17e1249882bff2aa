//! Runs of versions in order of keys, made one: the latest version of each key
//! counts.
//!
//! The order within a run is believed, not checked: where it is wrong, what was
//! deleted may come back, and nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::files::{Folder, Named};
use super::journal::{BatchFault, Waiting};
use super::manifest::{Manifest, ManifestFault, current};
use super::records::{Item, Records};
use super::table::{Said, TableFault, TableReader, Version};
use super::{Entry, LevelDbError, MAX_JOURNALS, MAX_OPEN, MAX_RUNS};

/// Tables one after the other, whose keys follow each other.
#[derive(Debug, Default)]
struct Run {
    tables: VecDeque<PathBuf>,
    open: Option<(PathBuf, TableReader)>,
}

impl Run {
    fn of(tables: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            tables: tables.into_iter().collect(),
            open: None,
        }
    }

    /// Bytes of memory that its open table holds.
    fn held(&self) -> u64 {
        self.open.as_ref().map_or(0, |(_, table)| table.held()) as u64
    }

    /// The next version; damage before it goes to `faults`.
    fn next(&mut self, faults: &mut VecDeque<LevelDbError>) -> Option<Version> {
        loop {
            if let Some((path, table)) = &mut self.open {
                match table.next() {
                    Ok(Some(version)) => return Some(version),
                    Ok(None) => self.open = None,
                    Err(TableFault::Damaged { offset, what }) => {
                        faults.push_back(LevelDbError::Damaged {
                            path: path.clone(),
                            offset,
                            what,
                        });
                    }
                    Err(TableFault::Io(source)) => {
                        faults.push_back(LevelDbError::io(path)(source));
                        self.open = None;
                    }
                }
                continue;
            }
            let path = self.tables.pop_front()?;
            match TableReader::open(&path) {
                Ok(table) => self.open = Some((path, table)),
                Err(TableFault::Damaged { offset, what }) => {
                    faults.push_back(LevelDbError::Damaged { path, offset, what });
                }
                Err(TableFault::Io(source)) => faults.push_back(LevelDbError::io(&path)(source)),
            }
        }
    }
}

/// A version, and the run that it came from; the least is the next one.
#[derive(Debug)]
struct Next {
    version: Version,
    run: usize,
}

impl Next {
    fn order(&self) -> (&[u8], Reverse<u64>, usize) {
        let Version { key, sequence, .. } = &self.version;
        (key, Reverse(*sequence), self.run)
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// All runs of a database.
#[derive(Debug)]
pub(super) struct Merge {
    runs: Vec<Run>,
    /// What is in journals is one more run, behind the others.
    waiting: Waiting,
    heap: BinaryHeap<Reverse<Next>>,
    faults: VecDeque<LevelDbError>,
    last: Option<Vec<u8>>,
    dir: PathBuf,
    /// Bytes of memory that open tables hold.
    held: u64,
}

impl Merge {
    /// Finds the runs of a database, and reads its journals.
    pub(super) fn open(folder: &Folder) -> Result<Self, LevelDbError> {
        let mut faults = VecDeque::new();
        let (runs, first_journal, previous_journal) = match manifest(folder) {
            Ok(manifest) => (
                runs(folder, &manifest),
                manifest.journal,
                manifest.previous_journal,
            ),
            Err(fault) => {
                faults.push_back(fault);
                // One after the other, which is no order of keys: what was deleted
                // comes back, and a key may come twice.
                let tables = folder.tables.values().map(|table| table.path.clone());
                (vec![Run::of(tables)], 0, 0)
            }
        };
        let too_much = |count, what, limit| too_much(&folder.dir, count, what, limit);
        if runs.len() > MAX_RUNS {
            return Err(too_much(
                runs.len() as u64,
                "tables that overlap",
                MAX_RUNS as u64,
            ));
        }
        let journals: Vec<_> = folder
            .journals
            .iter()
            .filter(|(number, _)| **number >= first_journal || **number == previous_journal)
            .map(|(_, file)| file)
            .collect();
        let bytes: u64 = journals.iter().map(|file| file.bytes).sum();
        if bytes > MAX_JOURNALS {
            return Err(too_much(bytes, "bytes of journals", MAX_JOURNALS));
        }
        let mut waiting = Waiting::default();
        for journal in journals {
            read_journal(journal, &mut waiting, &mut faults).map_err(|_| {
                let what = "bytes or more of what journals say";
                too_much(MAX_JOURNALS + 1, what, MAX_JOURNALS)
            })?;
        }
        let mut merge = Self {
            heap: BinaryHeap::with_capacity(runs.len() + 1),
            runs,
            waiting,
            faults,
            last: None,
            dir: folder.dir.clone(),
            held: 0,
        };
        for run in 0..=merge.runs.len() {
            merge.refill(run)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, run: usize) -> Result<(), LevelDbError> {
        let version = match self.runs.get_mut(run) {
            Some(tables) => {
                self.held -= tables.held();
                let version = tables.next(&mut self.faults);
                self.held += tables.held();
                version
            }
            None => self.waiting.next(),
        };
        if self.held > MAX_OPEN {
            let what = "bytes of tables open at once";
            return Err(too_much(&self.dir, self.held, what, MAX_OPEN));
        }
        if let Some(version) = version {
            self.heap.push(Reverse(Next { version, run }));
        }
        Ok(())
    }

    /// The next entry, or what is damaged before it.
    pub(super) fn next(&mut self) -> Option<Result<Entry, LevelDbError>> {
        loop {
            if let Some(fault) = self.faults.pop_front() {
                return Some(Err(fault));
            }
            let Reverse(Next { version, run }) = self.heap.pop()?;
            if let Err(error) = self.refill(run) {
                self.heap.clear();
                return Some(Err(error));
            }
            if self.last.as_ref() == Some(&version.key) {
                continue;
            }
            self.last = Some(version.key.clone());
            if let Said::Put(value) = version.said {
                let key = version.key;
                return Some(Ok(Entry { key, value }));
            }
        }
    }
}

fn too_much(dir: &Path, count: u64, what: &'static str, limit: u64) -> LevelDbError {
    LevelDbError::TooMuch {
        dir: dir.to_owned(),
        count,
        what,
        limit,
    }
}

/// Reads the manifest that `CURRENT` names.
fn manifest(folder: &Folder) -> Result<Manifest, LevelDbError> {
    let path = folder.dir.join("CURRENT");
    let fault = |path: &PathBuf, source| LevelDbError::Manifest {
        path: path.clone(),
        source,
    };
    let text = fs::read(&path).map_err(|error| fault(&path, error.into()))?;
    let name = current(&text).ok_or_else(|| {
        let what = "it names no manifest";
        fault(&path, ManifestFault::Damaged { offset: 0, what })
    })?;
    let path = folder.dir.join(name);
    File::open(&path)
        .map_err(ManifestFault::from)
        .and_then(|file| Manifest::read(BufReader::new(file)))
        .map_err(|source| fault(&path, source))
}

/// The tables of each level above 0 are one run, each of level 0 is one of its
/// own. Those that the manifest does not name are a run too: what a crash left
/// behind holds nothing else than the rest, but a manifest may have lost its end.
/// Which of both it is cannot be told of one that is not whole, so it is damage.
fn runs(folder: &Folder, manifest: &Manifest) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut levels: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for table in manifest.tables.values() {
        let path = match folder.tables.get(&table.number) {
            Some(file) => file.path.clone(),
            // Said to be missing when it is opened.
            None => folder.dir.join(format!("{:06}.ldb", table.number)),
        };
        match table.level {
            0 => runs.push(Run::of([path])),
            level => levels
                .entry(level)
                .or_default()
                .push((&table.smallest, path)),
        }
    }
    for mut level in levels.into_values() {
        level.sort();
        runs.push(Run::of(level.into_iter().map(|(_, path)| path)));
    }
    let unnamed = folder
        .tables
        .iter()
        .filter(|(number, _)| !manifest.tables.contains_key(*number))
        .map(|(_, file)| file.path.clone());
    runs.push(Run::of(unnamed));
    runs
}

/// Fails where there is no room for what it says.
fn read_journal(
    journal: &Named,
    waiting: &mut Waiting,
    faults: &mut VecDeque<LevelDbError>,
) -> Result<(), BatchFault> {
    let path = &journal.path;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => {
            faults.push_back(LevelDbError::io(path)(error));
            return Ok(());
        }
    };
    // No more than was counted, whatever it is.
    let mut records = Records::new(BufReader::new(file).take(journal.bytes));
    let mut offset = 0;
    loop {
        let damage = match records.next() {
            Ok(None) => return Ok(()),
            Ok(Some(Item::Record(batch))) => match waiting.take(&batch) {
                Ok(()) => None,
                Err(BatchFault::Damaged(what)) => Some((offset, what)),
                Err(full) => return Err(full),
            },
            Ok(Some(Item::Damage { offset, what })) => Some((offset, what)),
            Err(error) => {
                faults.push_back(LevelDbError::io(path)(error));
                return Ok(());
            }
        };
        offset = records.offset();
        if let Some((offset, what)) = damage {
            waiting.note_damage()?;
            let path = path.clone();
            faults.push_back(LevelDbError::Damaged { path, offset, what });
        }
    }
}
