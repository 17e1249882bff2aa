use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::blocks::{Block, Codec};

const MARK: FileMark = FileMark {
    len: 1_000,
    modified: 7,
};

fn block(n: u32) -> BlockAt {
    BlockAt {
        cid: *Block::new(Codec::Raw, n.to_be_bytes().to_vec()).cid(),
        offset: u64::from(n) * 10,
        len: n + 1,
    }
}

fn blocks(range: std::ops::Range<u32>) -> Vec<BlockAt> {
    range.map(block).collect()
}

fn key(n: u32, file: u32) -> rows::BlockKey {
    Sought::of(&block(n).cid).unwrap().key(FileId(file))
}

fn places(index: &Index, n: u32) -> Vec<(String, u64, u32)> {
    let found = index.locations(&block(n).cid).unwrap();
    let named = |at: &Location| (index.name(at.file).unwrap().to_string(), at.offset, at.len);
    found.iter().map(named).collect()
}

fn at(name: &str, n: u32) -> (String, u64, u32) {
    (name.to_owned(), block(n).offset, block(n).len)
}

#[test]
fn rows_are_found_before_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let mut index = Index::open(&path).unwrap();
    index.put_file("a", MARK, &blocks(0..100)).unwrap();
    index.put_file("b", MARK, &blocks(50..150)).unwrap();
    for reopen in [false, true] {
        if reopen {
            drop(index);
            index = Index::open(&path).unwrap();
        }
        assert_eq!(places(&index, 10), [at("a", 10)]);
        assert_eq!(places(&index, 70), [at("a", 70), at("b", 70)]);
        assert_eq!(places(&index, 120), [at("b", 120)]);
        assert_eq!(places(&index, 150), []);
        let names: Vec<_> = index.files().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["a".into(), "b".into()]);
        let row = index.file("b").unwrap();
        assert_eq!((row.mark, row.blocks), (MARK, 100));
    }
}

#[test]
fn a_codec_is_part_of_the_key() {
    let index = Index::in_memory();
    index.put_file("a", MARK, &[block(1)]).unwrap();
    let other = Block::new(Codec::DagCbor, 1u32.to_be_bytes().to_vec());
    assert_eq!(index.locations(other.cid()).unwrap(), []);
}

#[test]
fn blocks_whose_keys_meet_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for index in [
        Index::in_memory(),
        Index::open(&dir.path().join("index")).unwrap(),
    ] {
        let cid = |last: u8| {
            let mut digest = [7; 32];
            digest[20] = last;
            crate::blocks::cid_from_digest(Codec::Raw, digest)
        };
        let at = BlockAt {
            cid: cid(1),
            offset: (1 << 40) - 1,
            len: 2 << 20,
        };
        index.put_file("a", MARK, &[at]).unwrap();
        let found = index.locations(&cid(1)).unwrap();
        assert_eq!((found[0].offset, found[0].len), (at.offset, at.len));
        assert_eq!(index.locations(&cid(2)).unwrap(), []);
    }
}

#[test]
fn a_block_twice_in_a_file_counts_once_at_its_first_place() {
    let index = Index::in_memory();
    let mut again = block(1);
    again.offset = 500;
    let row = index.put_file("a", MARK, &[block(1), again]).unwrap();
    assert_eq!(row.blocks, 1);
    assert_eq!(places(&index, 1), [at("a", 1)]);
}

#[test]
fn a_forgotten_file_leads_nowhere_and_its_number_is_not_reused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let index = Index::open(&path).unwrap();
    index.put_file("a", MARK, &blocks(0..10)).unwrap();
    index.put_file("b", MARK, &blocks(0..5)).unwrap();
    // Only some rows are deleted; the others must not come back to life.
    index.forget_file("b", &[block(0).cid]).unwrap();
    index.forget_file("never", &[]).unwrap();
    assert_eq!(places(&index, 3), [at("a", 3)]);
    drop(index);
    let index = Index::open(&path).unwrap();
    index.put_file("c", MARK, &blocks(20..21)).unwrap();
    assert_eq!(places(&index, 3), [at("a", 3)]);
    assert_eq!(index.file("b"), None);
}

#[test]
fn a_file_indexed_again_has_its_new_rows_alone() {
    let index = Index::in_memory();
    index.put_file("a", MARK, &blocks(0..10)).unwrap();
    index
        .put_file("a", FileMark { len: 2, ..MARK }, &blocks(5..6))
        .unwrap();
    assert_eq!(places(&index, 0), []);
    assert_eq!(places(&index, 5), [at("a", 5)]);
    assert_eq!(index.files().len(), 1);
}

#[test]
fn an_index_in_use_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let first = Index::open(&path).unwrap();
    assert!(matches!(Index::open(&path), Err(IndexError::Locked { .. })));
    drop(first);
    Index::open(&path).unwrap();
    assert_eq!(aside(dir.path()), 0);
}

#[test]
fn rows_lost_bent_or_left_over_cost_the_file_not_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    type Damage = fn(&sled::Db);
    let damages: [(Damage, bool); 5] = [
        (|db| drop(db.remove(key(3, 0))), true),
        (|db| drop(db.insert(key(3, 0), &[0; 12])), true),
        (
            |db| {
                drop(db.insert(key(99, 0), &[0; 22]));
            },
            true,
        ),
        // Rows of no file are swept away; the file they are not of stays.
        (
            |db| {
                drop(db.insert(key(99, 77), &[0; 22]));
            },
            false,
        ),
        (|db| drop(db.insert(b"qnonsense", &[0; 2])), false),
    ];
    for (damage, forgotten) in damages {
        let _ = fs::remove_dir_all(&path);
        let index = Index::open(&path).unwrap();
        index.put_file("a", MARK, &blocks(0..10)).unwrap();
        index.put_file("b", MARK, &blocks(0..10)).unwrap();
        drop(index);
        let db = store::open_engine(&sled::Config::new().path(&path)).unwrap();
        damage(&db);
        drop(db);
        let index = Index::open(&path).unwrap();
        assert_eq!(index.file("a").is_none(), forgotten);
        assert_eq!(places(&index, 5).last().unwrap(), &at("b", 5));
        assert_eq!(places(&index, 99), []);
        // The number 77 was seen in a row: it is not given out again.
        let row = index.put_file("c", MARK, &[]).unwrap();
        assert!(row.id.0 >= 2);
    }
    assert_eq!(aside(dir.path()), 0);
}

#[test]
fn an_index_that_does_not_open_is_set_aside() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |path| {
            fs::remove_dir_all(path).unwrap();
            fs::write(path, b"not a folder").unwrap();
        },
        |path| {
            fs::remove_file(path.join("db")).unwrap();
            fs::create_dir(path.join("db")).unwrap();
        },
        |path| {
            let db = store::open_engine(&sled::Config::new().path(path)).unwrap();
            db.insert(rows::VERSION_KEY, &[99]).unwrap();
        },
        |path| {
            let db = store::open_engine(&sled::Config::new().path(path)).unwrap();
            db.insert(b"fa", b"short").unwrap();
        },
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let index = Index::open(&path).unwrap();
        index.put_file("a", MARK, &blocks(0..10)).unwrap();
        drop(index);
        damage(&path);
        let index = Index::open(&path).unwrap();
        assert_eq!(index.files(), [], "damage {n}");
        assert_eq!(aside(dir.path()), 1, "damage {n}");
        index.put_file("a", MARK, &blocks(0..10)).unwrap();
        drop(index);
        assert_eq!(Index::open(&path).unwrap().files().len(), 1);
    }
}

#[test]
fn broken_indexes_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    for _ in 0..7 {
        let _ = fs::remove_dir_all(&path);
        fs::write(&path, b"not a folder").unwrap();
        drop(Index::open(&path).unwrap());
    }
    assert_eq!(aside(dir.path()), 4);
}

fn aside(dir: &Path) -> usize {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().contains(".bad-"))
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Bytes changed, or cut off, anywhere in the engine's files: what is left
    /// of the index is right, and takes new files.
    #[test]
    fn damage_on_disk_never_gives_a_wrong_place(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..30),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let index = Index::open(&path).unwrap();
        for n in 0..20 {
            index.put_file(&n.to_string(), MARK, &blocks(n * 20..n * 20 + 30)).unwrap();
        }
        drop(index);
        let mut names: Vec<_> = walk(&path);
        names.sort();
        for (file, at, byte) in changes {
            let name = file.get(&names);
            let mut bytes = fs::read(name).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            fs::write(name, bytes).unwrap();
        }
        if let Some(cut) = cut {
            let name = cut.get(&names);
            let bytes = fs::read(name).unwrap();
            fs::write(name, &bytes[..cut.index(bytes.len() + 1)]).unwrap();
        }
        let index = Index::open(&path).unwrap();
        for row in index.files() {
            let n: u32 = row.name.parse().unwrap();
            for block in n * 20..n * 20 + 30 {
                prop_assert!(places(&index, block).contains(&at(&row.name, block)));
            }
        }
        for n in 0..20 {
            index.put_file(&n.to_string(), MARK, &blocks(n * 20..n * 20 + 30)).unwrap();
        }
        prop_assert_eq!(places(&index, 25), [at("0", 25), at("1", 25)]);
    }
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
