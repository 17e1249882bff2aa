use std::collections::BTreeSet;

use super::super::car::CarReader;
use super::super::suite::{self, commit, raw};
use super::super::{Codec, MAX_BLOCK_WRITTEN};
use super::*;
use crate::progress::Quiet;

/// A folder with its index beside it, both gone in the end.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn blocks(&self) -> PathBuf {
        self.0.path().join("blocks")
    }

    fn index(&self) -> PathBuf {
        self.0.path().join("index")
    }

    fn open(&self) -> CarFolder {
        CarFolder::open(&self.blocks(), Index::open(&self.index()).unwrap()).unwrap()
    }

    fn read_only(&self) -> CarFolder {
        CarFolder::open_read_only(&self.blocks()).unwrap()
    }

    /// Every path below the folder, directories aside.
    fn paths(&self) -> BTreeSet<PathBuf> {
        fn walk(dir: &Path, into: &mut BTreeSet<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, into);
                } else {
                    into.insert(path);
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(&self.blocks(), &mut found);
        found.remove(&self.blocks().join(LOCK));
        found
    }
}

/// A store whose folder lives as long as it.
struct Owned(
    CarFolder,
    #[expect(dead_code, reason = "removed on drop")] Place,
);

impl BlockSource for Owned {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.has(cid)
    }
}

impl BlockStore for Owned {
    fn begin(&self, group: Group, reuse: Reuse) -> Result<Box<dyn BlockWriter + '_>, BlockError> {
        self.0.begin(group, reuse)
    }

    fn files(&self) -> Result<Vec<BlockFile>, BlockError> {
        self.0.files()
    }

    fn cids(&self, name: &str) -> Result<Vec<Cid>, BlockError> {
        self.0.cids(name)
    }

    fn remove(&self, name: &str) -> Result<(), BlockError> {
        self.0.remove(name)
    }
}

#[test]
fn a_folder_is_a_store_like_every_other() {
    suite::run(|| {
        let place = Place::new();
        Owned(place.open(), place)
    });
}

#[test]
fn a_folder_with_its_index_in_memory_is_one_too() {
    suite::run(|| {
        let place = Place::new();
        Owned(
            CarFolder::open(&place.blocks(), Index::in_memory()).unwrap(),
            place,
        )
    });
}

/// Three files over two groups, sharing a block.
fn filled(place: &Place) -> (CarFolder, Vec<BlockFile>, Vec<Block>) {
    let store = place.open();
    let large = Block::new(Codec::Raw, vec![5; MAX_BLOCK_WRITTEN]);
    let blocks = vec![raw("a"), large, raw("shared"), raw("b"), raw("c"), raw("d")];
    let files = vec![
        commit(&store, Group::Day(17_789), Reuse::SameGroup, &blocks[..3]).unwrap(),
        commit(&store, Group::Day(17_789), Reuse::SameGroup, &blocks[2..4]).unwrap(),
        commit(&store, Group::Hour(5), Reuse::SameGroup, &blocks[2..]).unwrap(),
    ];
    (store, files, blocks)
}

fn assert_holds(store: &CarFolder, files: &[BlockFile], blocks: &[Block]) {
    let mut files = files.to_vec();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(store.files().unwrap(), files);
    for block in blocks {
        assert!(store.has(block.cid()).unwrap());
        assert_eq!(store.get(block.cid()).unwrap(), *block);
    }
    let absent = raw("absent");
    assert!(!store.has(absent.cid()).unwrap());
    assert!(store.get(absent.cid()).unwrap_err().is_missing());
}

#[test]
fn a_file_is_a_car_under_its_root() {
    let place = Place::new();
    let (_store, files, blocks) = filled(&place);
    let bytes = fs::read(place.blocks().join(&files[0].name)).unwrap();
    assert_eq!(files[0].bytes, bytes.len() as u64);
    let reader = CarReader::new(&bytes[..]).unwrap();
    assert_eq!(reader.roots(), [*blocks[2].cid()]);
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(read, blocks[..3]);
}

#[test]
fn a_reopened_folder_holds_what_it_held() {
    let place = Place::new();
    let (store, files, blocks) = filled(&place);
    assert_holds(&store, &files, &blocks);
    drop(store);
    assert_holds(&place.open(), &files, &blocks);
    assert_holds(&place.read_only(), &files, &blocks);
}

#[test]
fn an_index_deleted_broken_or_of_another_time_changes_no_answer() {
    type Damage = fn(&Place);
    let damages: [Damage; 6] = [
        |place| fs::remove_dir_all(place.index()).unwrap(),
        |place| {
            fs::remove_dir_all(place.index()).unwrap();
            fs::write(place.index(), b"not an index").unwrap();
        },
        |place| fs::write(place.index().join("db"), b"").unwrap(),
        |place| {
            let path = place.index().join("db");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        |place| {
            let path = place.index().join("db");
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
            fs::write(path, bytes).unwrap();
        },
        // An index that knows a file that is gone, and lacks one that is here.
        |place| {
            let index = Index::open(&place.index()).unwrap();
            let row = index.files().remove(0);
            index.forget_file(&row.name, &[]).unwrap();
            let at = crate::index::BlockAt {
                cid: *raw("absent").cid(),
                offset: 1,
                len: 1,
            };
            index
                .put_file("days/2018/2018-09-15.aaaaaaaaaaaa.car", row.mark, &[at])
                .unwrap();
        },
    ];
    for damage in damages {
        let place = Place::new();
        let (store, files, blocks) = filled(&place);
        drop(store);
        damage(&place);
        assert_holds(&place.open(), &files, &blocks);
        assert_holds(&place.open(), &files, &blocks);
    }
}

#[test]
fn rows_that_mislead_cost_a_look_through_the_file() {
    let place = Place::new();
    let (store, files, blocks) = filled(&place);
    drop(store);
    let index = Index::open(&place.index()).unwrap();
    for row in index.files() {
        // The right mark, and every block in the wrong place.
        let wrong = |block: &Block, offset, len| crate::index::BlockAt {
            cid: *block.cid(),
            offset,
            len,
        };
        let rows: Vec<_> = blocks
            .iter()
            .zip([
                (3, 1),
                (u64::MAX, 1),
                (0, u32::MAX),
                (60, 0),
                (1 << 40, 5),
                (59, 9),
            ])
            .map(|(block, (offset, len))| wrong(block, offset, len))
            .collect();
        index.put_file(&row.name, row.mark, &rows).unwrap();
    }
    drop(index);
    let store = place.open();
    // Asking once for each block is enough to set every file right.
    for block in &blocks {
        assert_eq!(store.get(block.cid()).unwrap(), *block);
    }
    assert_holds(&store, &files, &blocks);
}

#[test]
fn what_a_crash_left_unfinished_is_swept() {
    let place = Place::new();
    let (store, files, blocks) = filled(&place);
    let mut writer = store.begin(Group::Delta(3), Reuse::Nothing).unwrap();
    writer
        .put(&Block::new(Codec::Raw, vec![1; MAX_BLOCK_WRITTEN]))
        .unwrap();
    let before = place.paths();
    assert_eq!(before.len(), files.len() + 1);
    // A process that dies runs no destructor.
    std::mem::forget(writer);
    drop(store);
    assert_holds(&place.read_only(), &files, &blocks);
    assert_eq!(place.paths(), before);
    assert_holds(&place.open(), &files, &blocks);
    assert_eq!(place.paths().len(), files.len());
}

#[test]
fn an_abandoned_writer_leaves_no_path() {
    let place = Place::new();
    let store = place.open();
    let mut writer = store.begin(Group::Day(1), Reuse::Nothing).unwrap();
    writer.put(&raw("a")).unwrap();
    drop(writer);
    let empty = store.begin(Group::Day(1), Reuse::Nothing).unwrap();
    assert_eq!(empty.commit(raw("a").cid()).unwrap(), None);
    assert!(place.paths().is_empty());
    assert!(!place.blocks().join("days").exists());
}

#[test]
fn a_reader_follows_the_writer() {
    let place = Place::new();
    let (store, mut files, mut blocks) = filled(&place);
    let reader = place.read_only();
    assert_holds(&reader, &files, &blocks);
    for n in 0..3 {
        let new = raw(&format!("new {n}"));
        let mut writer = store.begin(Group::Day(n), Reuse::Nothing).unwrap();
        writer.put(&new).unwrap();
        assert!(!reader.has(new.cid()).unwrap());
        files.push(writer.commit(new.cid()).unwrap().unwrap());
        blocks.push(new);
        assert_holds(&reader, &files, &blocks);
        // What was moved to another file is found there.
        let gone = files.remove(0);
        commit(&store, Group::Delta(n.into()), Reuse::Nothing, &blocks);
        store.remove(&gone.name).unwrap();
        for block in &blocks {
            assert_eq!(reader.get(block.cid()).unwrap(), *block);
        }
        let delta = store.files().unwrap();
        files = delta;
    }
    assert!(matches!(
        reader.begin(Group::Calendar, Reuse::Nothing).err(),
        Some(BlockError::ReadOnly { .. })
    ));
    assert!(matches!(
        reader.remove(&files[0].name),
        Err(BlockError::ReadOnly { .. })
    ));
}

#[test]
fn a_folder_has_one_writer() {
    let place = Place::new();
    let store = place.open();
    let second = CarFolder::open(&place.blocks(), Index::in_memory());
    assert!(matches!(second.err(), Some(BlockError::Locked { .. })));
    drop(store);
    place.open();
    assert!(CarFolder::open_read_only(&place.0.path().join("nowhere")).is_err());
}

#[test]
fn damaged_bytes_are_refused_and_named_with_their_place() {
    let place = Place::new();
    let (store, files, blocks) = filled(&place);
    drop(store);
    let path = place.blocks().join(&files[2].name);
    let good = fs::read(&path).unwrap();
    let body = good
        .windows(6)
        .position(|bytes| bytes == b"shared")
        .unwrap();
    let mut bad = good.clone();
    bad[body] ^= 1;
    fs::write(&path, &bad).unwrap();
    let store = place.open();
    // Another file has the same block; and the rest of this one is well.
    for block in &blocks {
        assert_eq!(store.get(block.cid()).unwrap(), *block);
    }
    let mut findings = Vec::new();
    let checked = store
        .check(&Quiet, |finding| findings.push(finding))
        .unwrap();
    assert_eq!((checked.files, checked.findings), (3, 1));
    assert_eq!(checked.blocks, 3 + 1 + 4 - 1);
    let finding = &findings[0];
    assert_eq!(finding.file, files[2].name);
    assert_eq!(finding.offset, body as u64 - 37);
    assert_eq!(finding.cid, Some(*blocks[2].cid()));

    // Alone, the bad bytes are an error, and not "missing".
    store.remove(&files[0].name).unwrap();
    let error = store.get(blocks[2].cid()).unwrap_err();
    assert!(error.is_corrupt() && !error.is_missing(), "{error}");
    // Written again, it is read from the new file; the bad one stays for fsck.
    commit(&store, Group::Hour(5), Reuse::Nothing, &blocks[2..]).unwrap();
    assert_eq!(store.get(blocks[2].cid()).unwrap(), blocks[2]);
}

#[test]
fn a_file_cut_short_serves_what_is_left() {
    let place = Place::new();
    let (store, files, blocks) = filled(&place);
    drop(store);
    let path = place.blocks().join(&files[2].name);
    let good = fs::read(&path).unwrap();
    let last = good.len() - 38;
    for (len, lost) in [
        (good.len() - 1, 1),
        (last + 3, 1),
        (last, 1),
        (58, 4),
        (0, 4),
    ] {
        fs::write(&path, &good[..len]).unwrap();
        let store = place.open();
        for (n, block) in blocks.iter().enumerate() {
            let elsewhere = n < 4;
            let held = elsewhere || n < 6 - lost;
            assert_eq!(store.has(block.cid()).unwrap(), held, "{len} {n}");
            match store.get(block.cid()) {
                Ok(read) => assert!(held && read == *block),
                Err(error) => assert!(!held && error.is_missing(), "{len} {n}: {error}"),
            }
        }
        let mut findings = Vec::new();
        let checked = store
            .check(&Quiet, |finding| findings.push(finding))
            .unwrap();
        // Cut between two sections, a CAR looks whole: only a walk from its
        // root can tell.
        assert_eq!(findings.len(), usize::from(len != last), "{len}");
        assert_eq!(checked.files, 3);
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let place = Place::new();
    let (store, files, blocks) = filled(&place);
    drop(store);
    let strangers = [
        "note.txt",
        "days/x.car",
        "hours/mine.car",
        "calendar/short.car",
    ];
    for name in strangers {
        let path = place.blocks().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"mine").unwrap();
    }
    fs::create_dir_all(place.blocks().join("deltas/0000000001.aaaaaaaaaaaa.car")).unwrap();
    let store = place.open();
    assert_holds(&store, &files, &blocks);
    for name in strangers {
        assert!(store.remove(name).is_err());
        assert!(store.cids(name).is_err());
        assert!(place.blocks().join(name).exists());
    }
}

#[test]
fn files_bear_the_time_of_the_clock() {
    struct Stopped;
    impl Clock for Stopped {
        fn now(&self) -> UnixSeconds {
            UnixSeconds(1_538_395_200)
        }
    }
    let place = Place::new();
    let index = Index::open(&place.index()).unwrap();
    let store = CarFolder::open_with_clock(&place.blocks(), index, Arc::new(Stopped)).unwrap();
    let file = commit(&store, Group::Delta(7), Reuse::Nothing, &[raw("a")]).unwrap();
    assert_eq!(file.written, UnixSeconds(1_538_395_200));
    drop(store);
    assert_eq!(place.open().files().unwrap(), [file]);
}

#[test]
fn an_index_that_fails_while_open_is_replaced() {
    let place = Place::new();
    let (store, files, blocks) = filled(&place);
    let failure = IndexError::Failed {
        what: "a test".to_owned(),
    };
    let mut writer = store.begin(Group::Day(17_789), Reuse::SameGroup).unwrap();
    assert!(!writer.put(&blocks[0]).unwrap());
    store.rebuild(&store.changing(), &failure).unwrap();
    // Numbers of files changed meanwhile; what the group holds did not.
    assert!(!writer.put(&blocks[1]).unwrap());
    assert!(writer.put(&blocks[5]).unwrap());
    drop(writer);
    assert_holds(&store, &files, &blocks);
}

#[test]
fn more_files_than_are_kept_open_are_read() {
    let place = Place::new();
    let store = place.open();
    let blocks: Vec<_> = (0..150).map(|n| raw(&format!("block {n}"))).collect();
    for (n, block) in (0..).zip(&blocks) {
        commit(
            &store,
            Group::Delta(n),
            Reuse::Nothing,
            std::slice::from_ref(block),
        );
    }
    for _ in 0..2 {
        for block in &blocks {
            assert_eq!(store.get(block.cid()).unwrap(), *block);
        }
    }
}
