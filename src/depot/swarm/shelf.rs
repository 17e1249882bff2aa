//! What is kept on Swarm, and where each block lies in it.
//!
//! Always true: a folder is to be described anew as soon as its files differ from
//! those of the document that was shown last.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::blocks::catalogue::{Fragment, fragment_of, offsets};
use crate::blocks::{Cid, group_of};
use crate::swarm::{FileAt, Folder, FolderAt, Reference};

/// Places looked at for one block: the same bound as for a public folder.
const MAX_NAMESAKES: usize = 16;

/// Where a block may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The bytes of the CAR.
    pub(super) reference: Reference,
    /// Where in them the block's bytes start.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) len: u32,
}

/// Where the blocks of a folder are, by their fragment.
#[derive(Debug, Default)]
struct Lookup {
    references: Vec<(Reference, String)>,
    /// Fragment, number of the file, number of the block in it.
    order: Vec<(Fragment, u32, u32)>,
}

/// Folders that differ from what is shown, each with the number of its last change.
pub(super) type Changes = BTreeMap<String, u64>;

/// All files that are kept.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    folders: BTreeMap<String, Folder>,
    /// The documents that were shown last.
    shown: BTreeMap<String, FolderAt>,
    /// Folders that differ from them.
    changed: Changes,
    /// Changes so far.
    revision: u64,
    lookups: HashMap<String, Lookup>,
}

impl Shelf {
    /// Takes a folder as it is described at `at`.
    pub(super) fn load(&mut self, at: FolderAt, folder: Folder) {
        self.shown.insert(at.path.clone(), at);
        self.folders.insert(folder.path.clone(), folder);
    }

    /// Adds a file. False where its name is not one of a file of blocks.
    pub(super) fn insert(&mut self, name: &str, file: FileAt) -> bool {
        let Some((path, last)) = split(name) else {
            return false;
        };
        let empty = || Folder::empty(path);
        let folder = self.folders.entry(path.to_owned()).or_insert_with(empty);
        let last = last.to_owned();
        if folder.files.get(&last) != Some(&file) {
            folder.files.insert(last, file);
            self.touch(path);
        }
        true
    }

    /// Takes a file out.
    pub(super) fn remove(&mut self, name: &str) -> Option<FileAt> {
        let (path, last) = split(name)?;
        let removed = self.folders.get_mut(path)?.files.remove(last)?;
        self.touch(path);
        Some(removed)
    }

    /// The file of a name.
    pub(super) fn get(&self, name: &str) -> Option<&FileAt> {
        let (path, last) = split(name)?;
        self.folders.get(path)?.files.get(last)
    }

    /// Every file, with its whole name.
    pub(super) fn files(&self) -> impl Iterator<Item = (String, &FileAt)> {
        self.folders.values().flat_map(|folder| {
            let named = |(last, file)| (format!("{}/{last}", folder.path), file);
            folder.files.iter().map(named)
        })
    }

    /// Whether a file's name ends so: those of days differ in their last part.
    pub(super) fn has_last(&self, last: &str) -> bool {
        let mut folders = self.folders.values();
        folders.any(|folder| folder.files.contains_key(last))
    }

    /// Whether a file has this reference.
    pub(super) fn refers_to(&self, reference: &Reference) -> bool {
        self.files().any(|(_, file)| file.reference == *reference)
    }

    /// Whether a folder is described there.
    pub(super) fn is_described_at(&self, reference: &Reference) -> bool {
        self.shown.values().any(|at| at.reference == *reference)
    }

    /// Notes that documents may be gone that are not among `pinned`.
    pub(super) fn check_documents(&mut self, pinned: &HashSet<Reference>) {
        let gone = self.shown.values();
        let gone = gone.filter(|at| !pinned.contains(&at.reference));
        let gone: Vec<_> = gone.map(|at| at.path.clone()).collect();
        gone.iter().for_each(|path| self.touch(path));
    }

    /// Folders that are not shown as they are now.
    pub(super) fn changes(&self) -> &Changes {
        &self.changed
    }

    /// Folders that are to be described anew, in order of path; those without a file
    /// are described no more.
    pub(super) fn to_describe(&self) -> Vec<&Folder> {
        let changed = self.changed.keys();
        let changed = changed.filter_map(|path| self.folders.get(path));
        changed.filter(|folder| !folder.files.is_empty()).collect()
    }

    /// What is shown once `changes` are described by `new`: all folders, in order of
    /// path.
    pub(super) fn shown_with(&self, changes: &Changes, new: &[FolderAt]) -> Vec<FolderAt> {
        let mut shown = self.shown.clone();
        shown.retain(|path, _| !changes.contains_key(path));
        shown.extend(new.iter().map(|at| (at.path.clone(), at.clone())));
        shown.into_values().collect()
    }

    /// Notes what is shown now, with `changes`. What changed again since then stays to
    /// be described.
    pub(super) fn show(&mut self, now: Vec<FolderAt>, changes: &Changes) {
        self.shown = now.into_iter().map(|at| (at.path.clone(), at)).collect();
        self.changed
            .retain(|path, revision| changes.get(path) != Some(revision));
    }

    /// Where a block may lie; the files of the newest days first.
    pub(super) fn places(&mut self, cid: &Cid) -> Vec<Place> {
        let Some(fragment) = fragment_of(cid) else {
            return Vec::new();
        };
        let mut places = Vec::new();
        for (path, folder) in self.folders.iter().rev() {
            let lookup = self
                .lookups
                .entry(path.clone())
                .or_insert_with(|| Lookup::of(folder));
            let start = lookup.order.partition_point(|entry| entry.0 < fragment);
            let found = lookup.order[start..].iter();
            for (_, file, at) in found.take_while(|entry| entry.0 == fragment) {
                let (reference, last) = &lookup.references[*file as usize];
                let blocks = &folder.files[last].blocks;
                places.extend(offsets(blocks).nth(*at as usize).map(|offset| Place {
                    reference: *reference,
                    offset,
                    len: blocks[*at as usize].len,
                }));
            }
        }
        places.truncate(MAX_NAMESAKES);
        places
    }

    fn touch(&mut self, path: &str) {
        self.revision += 1;
        self.changed.insert(path.to_owned(), self.revision);
        self.lookups.remove(path);
    }
}

impl Lookup {
    fn of(folder: &Folder) -> Self {
        let mut lookup = Self::default();
        for (number, (last, file)) in (0..).zip(&folder.files) {
            lookup.references.push((file.reference, last.clone()));
            let blocks = (0..).zip(&file.blocks);
            let blocks = blocks.map(|(at, listed)| (listed.fragment, number, at));
            lookup.order.extend(blocks);
        }
        lookup.order.sort_unstable();
        lookup
    }
}

/// Folder and name in it; `None` for a name that no file of blocks has.
fn split(name: &str) -> Option<(&str, &str)> {
    group_of(name)?;
    name.rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::catalogue::Listed;
    use crate::blocks::{Block, Codec};

    fn file(n: u8, texts: &[&'static str]) -> FileAt {
        let listed = |text: &&'static str| {
            let block = Block::new(Codec::Raw, text.as_bytes());
            Listed {
                fragment: fragment_of(block.cid()).unwrap(),
                len: u32::try_from(text.len()).unwrap(),
            }
        };
        FileAt {
            reference: Reference([n; 32]),
            root: *Block::new(Codec::Raw, vec![n]).cid(),
            blocks: texts.iter().map(listed).collect(),
        }
    }

    fn described(path: &str, n: u8) -> FolderAt {
        FolderAt {
            path: path.to_owned(),
            reference: Reference([n; 32]),
            bytes: 1,
        }
    }

    const DAY: &str = "days/2018/2018-09-15.ei66wof36n5e.car";
    const HOUR: &str = "hours/2018-09-15T13.ei66wof36n5e.car";

    #[test]
    fn blocks_are_found_where_they_lie_also_after_changes() {
        let mut shelf = Shelf::default();
        let cid = |text: &'static str| *Block::new(Codec::Raw, text.as_bytes()).cid();
        assert!(shelf.places(&cid("b")).is_empty());
        assert!(shelf.insert(DAY, file(1, &["a", "b"])));
        let found = shelf.places(&cid("b"));
        assert_eq!(found.len(), 1);
        let offset = offsets(&file(1, &["a", "b"]).blocks).nth(1).unwrap();
        let place = Place {
            reference: Reference([1; 32]),
            offset,
            len: 1,
        };
        assert_eq!(found[0], place);
        assert!(shelf.insert(HOUR, file(2, &["b"])));
        assert_eq!(shelf.places(&cid("b")).len(), 2);
        shelf.remove(DAY);
        assert_eq!(shelf.places(&cid("b")).len(), 1);
        assert!(shelf.places(&cid("a")).is_empty());
        assert!(!shelf.insert("../etc/passwd", file(1, &[])));
        assert!(!shelf.insert("days/2018/x.txt", file(1, &[])));
    }

    #[test]
    fn a_folder_is_described_anew_when_its_files_change_and_only_then() {
        let mut shelf = Shelf::default();
        assert!(shelf.changes().is_empty());
        shelf.insert(DAY, file(1, &["a"]));
        shelf.insert(HOUR, file(2, &["a"]));
        let paths = |shelf: &Shelf| {
            let folders = shelf.to_describe().into_iter();
            folders
                .map(|folder| folder.path.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(&shelf), ["days/2018", "hours"]);
        let new = [described("days/2018", 7), described("hours", 8)];
        let changes = shelf.changes().clone();
        let now = shelf.shown_with(&changes, &new);
        assert_eq!(now, new);
        shelf.show(now, &changes);
        assert!(shelf.changes().is_empty() && shelf.is_described_at(&Reference([7; 32])));

        shelf.insert(DAY, file(1, &["a"]));
        assert!(shelf.changes().is_empty(), "nothing is new");
        shelf.remove(HOUR);
        assert!(paths(&shelf).is_empty(), "an empty folder is not described");
        let changes = shelf.changes().clone();
        let now = shelf.shown_with(&changes, &[]);
        assert_eq!(now, [described("days/2018", 7)]);
        // One that comes while these are shown is described the next time.
        shelf.insert(HOUR, file(3, &["c"]));
        shelf.show(now, &changes);
        assert!(!shelf.is_described_at(&Reference([8; 32])));
        assert_eq!(paths(&shelf), ["hours"]);
        let changes = shelf.changes().clone();
        let now = shelf.shown_with(&changes, &[described("hours", 9)]);
        shelf.show(now, &changes);

        // A document that has gone is written again.
        shelf.check_documents(&HashSet::new());
        assert_eq!(paths(&shelf), ["days/2018", "hours"]);
    }
}
