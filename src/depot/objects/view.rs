//! What a bucket is known to hold: its files of blocks, and which block lies where.
//!
//! Always true:
//! - A file is in here with the length that a listing told, and with its blocks by
//!   its catalogue or by the file itself.
//! - What is listed is a hint: bytes are hashed by whoever reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::blocks::catalogue::{Catalogue, Fragment, Listed, file_len, offsets};
use crate::blocks::{Cid, catalogues, group_of};
use crate::depot::KeptFile;
use crate::depot::registry::Version;

/// Bytes between two wanted blocks of a file that are read along with them: a
/// request costs as much as so many bytes do.
const READ_ALONG: u64 = 64 << 10;

/// Most bytes of one range that is read.
const MAX_RUN: u64 = 4 << 20;

/// The blocks of one file, in its order and in that of their fragments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileIndex {
    pub(super) blocks: Vec<Listed>,
    order: Vec<u32>,
}

impl FileIndex {
    pub(super) fn new(blocks: Vec<Listed>) -> Self {
        let mut order: Vec<u32> = (0..).take(blocks.len()).collect();
        order.sort_unstable_by_key(|&at| (blocks[at as usize].fragment, at));
        Self { blocks, order }
    }

    /// Where blocks with this fragment lie: offset and length.
    fn places(&self, fragment: Fragment) -> impl Iterator<Item = (u64, u32)> {
        let of = |at: &u32| self.blocks[*at as usize].fragment;
        let start = self.order.partition_point(|at| of(at) < fragment);
        let found = self.order[start..].iter();
        found.take_while(move |at| of(at) == fragment).map(|&at| {
            let mut offsets = offsets(&self.blocks);
            let offset = offsets.nth(at as usize).expect("a place within the file");
            (offset, self.blocks[at as usize].len)
        })
    }
}

/// A folder of files that has a catalogue, or should have one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folder {
    /// The catalogue as it was read or written last.
    pub(super) version: Option<Version>,
    /// Whether it says something else than the files.
    pub(super) is_stale: bool,
}

/// A file whose blocks are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unlisted {
    pub(super) len: u64,
    pub(super) version: Option<Version>,
    /// Whether it was read through, and is no whole file of ours.
    pub(super) is_broken: bool,
}

/// Where a block may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The file, below the folder of blocks.
    pub(super) file: Arc<str>,
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// What a bucket holds.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) files: BTreeMap<Arc<str>, Arc<FileIndex>>,
    /// Files that no catalogue lists as they are.
    pub(super) unlisted: BTreeMap<Arc<str>, Unlisted>,
    pub(super) folders: BTreeMap<String, Folder>,
    /// The list of folders.
    pub(super) list: Folder,
}

/// The folder of a file, and its name in it.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    group_of(name)?;
    name.rsplit_once('/')
}

impl View {
    /// A file has come.
    pub(super) fn insert(&mut self, name: &str, blocks: Vec<Listed>) {
        let name: Arc<str> = name.into();
        self.unlisted.remove(&name);
        self.touch(&name);
        self.files.insert(name, Arc::new(FileIndex::new(blocks)));
    }

    /// A file has gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.unlisted.remove(name);
        self.files.remove(name);
        self.touch(name);
    }

    fn touch(&mut self, name: &str) {
        let Some((folder, _)) = split(name) else {
            return;
        };
        if !self.folders.contains_key(folder) {
            self.list.is_stale = true;
        }
        self.make_stale(folder);
    }

    /// The catalogue of a folder says something else than its files.
    pub(super) fn make_stale(&mut self, folder: &str) {
        self.folders.entry(folder.to_owned()).or_default().is_stale = true;
    }

    /// Whether a file of this length is here.
    pub(super) fn holds(&self, name: &str, len: u64) -> bool {
        let file = self.files.get(name);
        file.is_some_and(|file| file_len(&file.blocks) == len)
    }

    /// Where a block may lie: first in what is small and asked for most, then in
    /// days, the newest first.
    pub(super) fn candidates(&self, fragment: Fragment) -> Vec<Candidate> {
        let is_day = |name: &str| name.starts_with("days/");
        let small = self.files.iter().filter(|(name, _)| !is_day(name));
        let days = self.files.iter().rev().filter(|(name, _)| is_day(name));
        let of_file = |(name, file): (&Arc<str>, &Arc<FileIndex>)| {
            let places: Vec<_> = file.places(fragment).collect();
            let name = Arc::clone(name);
            places.into_iter().map(move |(offset, len)| Candidate {
                file: Arc::clone(&name),
                offset,
                len,
            })
        };
        small.chain(days).flat_map(of_file).collect()
    }

    /// The catalogue that a folder should have.
    pub(super) fn catalogue(&self, folder: &str) -> Catalogue {
        let within = |name: &Arc<str>| {
            let (of, name) = split(name)?;
            (of == folder).then(|| name.to_owned())
        };
        let files = self.files.iter();
        let files = files.filter_map(|(name, file)| Some((within(name)?, file.blocks.clone())));
        Catalogue {
            files: files.collect(),
        }
    }

    /// The list of folders that there should be.
    pub(super) fn list_text(&self) -> String {
        let folders: Vec<_> = self.folders.keys().map(String::as_str).collect();
        format!("{}\n{}\n", catalogues::FOLDERS, folders.join("\n"))
    }

    /// All files.
    pub(super) fn kept(&self) -> Vec<KeptFile> {
        let files = self.files.iter().map(|(name, file)| KeptFile {
            name: name.to_string(),
            bytes: Some(file_len(&file.blocks)),
        });
        files.collect()
    }
}

/// Blocks of one file that are read by one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) file: Arc<str>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) blocks: Vec<(Cid, Candidate)>,
}

/// Puts blocks together that lie near each other.
pub(super) fn runs(mut wanted: Vec<(Cid, Candidate)>) -> Vec<Run> {
    wanted.sort_by(|(_, a), (_, b)| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
    let mut runs: Vec<Run> = Vec::new();
    for (cid, candidate) in wanted {
        let (from, to) = (
            candidate.offset,
            candidate.offset + u64::from(candidate.len),
        );
        match runs.last_mut() {
            Some(run)
                if run.file == candidate.file
                    && from <= run.to + READ_ALONG
                    && to.max(run.to) - run.from <= MAX_RUN =>
            {
                run.to = run.to.max(to);
                run.blocks.push((cid, candidate));
            }
            _ => runs.push(Run {
                file: Arc::clone(&candidate.file),
                from,
                to,
                blocks: vec![(cid, candidate)],
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blocks::{Block, Codec};

    const DAY: &str = "days/2018/2018-09-15.zq4x2tkcsb5m.car";
    const LATER: &str = "days/2018/2018-09-16.zq4x2tkcsb5m.car";
    const CALENDAR: &str = "calendar/zq4x2tkcsb5m.car";

    fn listed(n: u8, len: u32) -> Listed {
        Listed {
            fragment: [n; 3],
            len,
        }
    }

    #[test]
    fn blocks_are_looked_for_in_small_files_first_and_in_the_newest_day() {
        let mut view = View::default();
        for name in [DAY, LATER, CALENDAR] {
            view.insert(name, vec![listed(2, 7), listed(1, 10)]);
        }
        let found = view.candidates([1; 3]);
        let files: Vec<_> = found.iter().map(|found| &*found.file).collect();
        assert_eq!(files, [CALENDAR, LATER, DAY]);
        let expected = offsets(&[listed(2, 7), listed(1, 10)]).nth(1).unwrap();
        assert!(found.iter().all(|c| (c.offset, c.len) == (expected, 10)));
        assert!(view.candidates([3; 3]).is_empty());
    }

    #[test]
    fn folders_are_stale_until_their_catalogues_are_written() {
        let mut view = View::default();
        view.insert(DAY, vec![listed(1, 10)]);
        assert!(view.list.is_stale && view.folders["days/2018"].is_stale);
        assert_eq!(view.list_text(), "gwa catalogues 1\ndays/2018\n");
        let names: Vec<_> = view.catalogue("days/2018").files.into_keys().collect();
        assert_eq!(names, ["2018-09-15.zq4x2tkcsb5m.car"]);
        view.list.is_stale = false;
        view.remove(DAY);
        assert!(!view.list.is_stale);
        assert!(view.catalogue("days/2018").files.is_empty());
    }

    proptest! {
        #[test]
        fn every_block_is_in_one_run_and_runs_are_bounded(
            places in proptest::collection::vec((0u8..3, 0u64..10_000_000, 1u32..200_000), 0..60),
        ) {
            let wanted: Vec<_> = places.iter().enumerate().map(|(n, (file, offset, len))| {
                let cid = *Block::new(Codec::Raw, n.to_be_bytes().to_vec()).cid();
                let file: Arc<str> = format!("{file}").into();
                (cid, Candidate { file, offset: *offset, len: *len })
            }).collect();
            let runs = runs(wanted.clone());
            let mut given = 0;
            for run in &runs {
                prop_assert!(run.to - run.from <= MAX_RUN);
                for (cid, candidate) in &run.blocks {
                    given += 1;
                    prop_assert!(wanted.contains(&(*cid, candidate.clone())));
                    prop_assert_eq!(&candidate.file, &run.file);
                    prop_assert!(candidate.offset >= run.from);
                    prop_assert!(candidate.offset + u64::from(candidate.len) <= run.to);
                }
            }
            prop_assert_eq!(given, wanted.len());
        }
    }
}
