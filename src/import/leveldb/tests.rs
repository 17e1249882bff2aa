//! The reader against databases of goleveldb (`fixtures/leveldb`) and of another
//! implementation, whole and damaged.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A copy of a fixture that a test may spoil.
fn copy_of(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(format!("fixtures/leveldb/{name}")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// The keys that goleveldb found in a fixture.
fn keys_of(name: &str) -> Vec<Vec<u8>> {
    fs::read_to_string(format!("fixtures/leveldb/{name}.keys"))
        .unwrap()
        .lines()
        .map(|line| hex::decode(line).unwrap())
        .collect()
}

fn read(dir: &Path) -> (Vec<Entry>, Vec<LevelDbError>) {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for item in LevelDb::open(dir).unwrap() {
        match item {
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.push(fault),
        }
    }
    (entries, faults)
}

fn keys(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

#[test]
fn what_goleveldb_finds_is_found_in_its_order() {
    for name in ["status", "geth"] {
        let dir = PathBuf::from(format!("fixtures/leveldb/{name}"));
        assert!(is_database(&dir));
        let (entries, faults) = read(&dir);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(keys(&entries), keys_of(name));
        for entry in &entries {
            let hash = crate::keccak::keccak256(&entry.value);
            assert_eq!(entry.key[4..36], hash, "a value is that of its key");
        }
    }
}

#[test]
fn reading_leaves_the_folder_as_it_was() {
    let copy = copy_of("status");
    let state = || -> BTreeMap<_, _> {
        let entries = fs::read_dir(copy.path()).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let metadata = entry.metadata().unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                (entry.file_name(), (bytes, metadata.modified().unwrap()))
            })
            .collect()
    };
    let before = state();
    read(copy.path());
    assert_eq!(state(), before);
}

#[test]
fn a_folder_that_a_node_has_open_is_refused_and_no_node_opens_one_that_is_read() {
    let copy = copy_of("geth");
    let node = File::open(copy.path().join("LOCK")).unwrap();
    node.lock().unwrap();
    let refused = LevelDb::open(copy.path());
    assert!(matches!(refused, Err(LevelDbError::InUse { .. })));
    node.unlock().unwrap();
    let db = LevelDb::open(copy.path()).unwrap();
    assert!(node.try_lock().is_err());
    drop(db);
    assert!(node.try_lock().is_ok());

    // A copy made without its lock file is read too, and gets none.
    node.unlock().unwrap();
    fs::remove_file(copy.path().join("LOCK")).unwrap();
    assert_eq!(read(copy.path()).0.len(), keys_of("geth").len());
    assert!(!copy.path().join("LOCK").exists());
}

#[test]
fn a_block_that_is_damaged_is_named_and_costs_its_entries_alone() {
    let sound = keys_of("status");
    for table in ["000004.ldb", "000005.ldb"] {
        let copy = copy_of("status");
        let path = copy.path().join(table);
        let mut bytes = fs::read(&path).unwrap();
        bytes[5_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (entries, faults) = read(copy.path());
        let [LevelDbError::Damaged { path: named, .. }] = &faults[..] else {
            panic!("{faults:?}");
        };
        assert_eq!(named, &path);
        assert!(faults[0].goes_on());
        let found = keys(&entries);
        let lost = sound.iter().filter(|key| !found.contains(key)).count();
        assert!((1..20).contains(&lost), "{lost}");
    }
}

#[test]
fn a_table_that_is_gone_or_cut_is_named_and_the_others_still_come() {
    let spoils: [fn(&Path); 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"").unwrap(),
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        },
    ];
    for spoil in spoils {
        let copy = copy_of("status");
        spoil(&copy.path().join("000005.ldb"));
        let (entries, faults) = read(copy.path());
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].to_string().contains("000005.ldb"));
        assert!(entries.len() > 50);
    }
}

#[test]
fn without_a_sound_manifest_every_table_is_read_and_it_is_said() {
    let sound = keys_of("status");
    let spoils: [fn(&Path); 3] = [
        |dir| fs::remove_file(dir.join("CURRENT")).unwrap(),
        |dir| fs::remove_file(dir.join("MANIFEST-000007")).unwrap(),
        |dir| fs::write(dir.join("CURRENT"), "MANIFEST-../x\n").unwrap(),
    ];
    for spoil in spoils {
        let copy = copy_of("status");
        spoil(copy.path());
        assert!(is_database(copy.path()));
        let (entries, faults) = read(copy.path());
        assert!(matches!(faults[..], [LevelDbError::Manifest { .. }]));
        let found = keys(&entries);
        assert!(sound.iter().all(|key| found.contains(key)));
    }
}

#[test]
fn a_manifest_that_lost_its_end_hides_no_table() {
    let copy = copy_of("status");
    // An empty database's manifest, as if all later edits were cut off.
    fs::copy(
        "fixtures/leveldb/geth/MANIFEST-000000",
        copy.path().join("MANIFEST-000007"),
    )
    .unwrap();
    let (entries, _) = read(copy.path());
    let found = keys(&entries);
    assert!(keys_of("status").iter().all(|key| found.contains(key)));
}

#[test]
fn a_journal_cut_off_by_a_crash_gives_what_was_whole() {
    let sound = keys_of("geth");
    let whole = fs::read("fixtures/leveldb/geth/000001.log").unwrap();
    for cut in [0, 1, 100, 5_000, whole.len() - 1] {
        let copy = copy_of("geth");
        fs::write(copy.path().join("000001.log"), &whole[..cut]).unwrap();
        let (entries, faults) = read(copy.path());
        assert!(faults.is_empty(), "{faults:?}");
        assert!(entries.len() < sound.len());
        assert!(keys(&entries).iter().all(|key| sound.contains(key)));
    }
}

#[test]
fn too_much_to_hold_in_memory_is_refused_before_it_is_read() {
    let copy = copy_of("geth");
    let journal = File::create(copy.path().join("000009.log")).unwrap();
    // A file of holes takes no room.
    journal.set_len(MAX_JOURNALS + 1).unwrap();
    let refused = LevelDb::open(copy.path());
    assert!(matches!(refused, Err(LevelDbError::TooMuch { .. })));
}

#[test]
fn a_journal_behind_a_link_counts_as_what_it_links_to() {
    let copy = copy_of("geth");
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    elsewhere.as_file().set_len(MAX_JOURNALS + 1).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), copy.path().join("000009.log")).unwrap();
    let refused = LevelDb::open(copy.path());
    assert!(matches!(refused, Err(LevelDbError::TooMuch { .. })));

    // One that leads nowhere is told, and the others are read.
    drop(elsewhere);
    let (entries, faults) = read(copy.path());
    assert!(
        matches!(faults[..], [LevelDbError::Io { .. }]),
        "{faults:?}"
    );
    assert_eq!(keys(&entries), keys_of("geth"));
}

/// The bytes of a table with one block that has `key`; its index is made long.
fn table_of(key: &[u8], index_len: usize) -> Vec<u8> {
    fn block(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = unsigned_varint::encode::usize_buffer();
        for (key, value) in entries {
            bytes.push(0);
            bytes.extend(unsigned_varint::encode::usize(key.len(), &mut buffer));
            bytes.extend(unsigned_varint::encode::usize(value.len(), &mut buffer));
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value);
        }
        bytes.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        bytes
    }
    fn put(table: &mut Vec<u8>, block: &[u8]) -> Vec<u8> {
        let mut handle = Vec::new();
        let mut buffer = unsigned_varint::encode::usize_buffer();
        handle.extend(unsigned_varint::encode::usize(table.len(), &mut buffer));
        handle.extend(unsigned_varint::encode::usize(block.len(), &mut buffer));
        table.extend_from_slice(block);
        table.push(0);
        table.extend(records::checksum(&[block, &[0]]).to_le_bytes());
        handle
    }
    let mut table = Vec::new();
    let internal = [key, &[1, 1, 0, 0, 0, 0, 0, 0]].concat();
    let data = put(&mut table, &block(&[(&internal, b"value")]));
    let long = vec![0xff; index_len];
    let index = put(&mut table, &block(&[(&internal, &data), (&long, &data)]));
    let mut footer = [&[0, 0][..], &index].concat();
    footer.resize(40, 0);
    footer.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    [table, footer].concat()
}

/// A manifest that names tables of level 0.
fn manifest_of(tables: std::ops::Range<u8>) -> Vec<u8> {
    let mut edit = Vec::new();
    for number in tables {
        edit.extend([7, 0, number, 1]);
        edit.extend([1, b'a', 1, b'b']);
    }
    let len = u16::try_from(edit.len()).unwrap();
    let mut file = records::checksum(&[&[1], &edit]).to_le_bytes().to_vec();
    file.extend(len.to_le_bytes());
    file.push(1);
    file.extend(edit);
    file
}

#[test]
fn tables_that_are_open_at_once_hold_only_so_much() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
    fs::write(dir.path().join("MANIFEST-000001"), manifest_of(2..42)).unwrap();
    let first = dir.path().join("000002.ldb");
    fs::write(&first, table_of(b"key", 10)).unwrap();
    for number in 3..42 {
        fs::hard_link(&first, dir.path().join(format!("{number:06}.ldb"))).unwrap();
    }
    let (entries, faults) = read(dir.path());
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(keys(&entries), [b"key"]);
    // Forty indexes of 15 MiB.
    fs::write(&first, table_of(b"key", 15 << 20)).unwrap();
    let refused = LevelDb::open(dir.path());
    assert!(matches!(refused, Err(LevelDbError::TooMuch { .. })));
}

#[test]
fn a_table_that_no_manifest_names_is_read_where_it_is_whole_and_told_where_not() {
    let copy = copy_of("geth");
    let path = copy.path().join("000077.ldb");
    let whole = table_of(b"key", 10);
    fs::write(&path, &whole).unwrap();
    let (entries, faults) = read(copy.path());
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(entries.len(), keys_of("geth").len() + 1);
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (entries, faults) = read(copy.path());
    assert_eq!(keys(&entries), keys_of("geth"));
    assert!(faults[0].to_string().contains("000077.ldb"), "{faults:?}");
}

/// Whether the byte at `at` is of a length in the last block of a journal: bent,
/// it may look like an end that was torn off.
fn is_length_of_last_block(journal: &[u8], at: usize) -> bool {
    let mut chunk = journal.len() / (32 << 10) * (32 << 10);
    while chunk + 7 <= journal.len() {
        if (chunk + 4..chunk + 6).contains(&at) {
            return true;
        }
        let len = u16::from_le_bytes([journal[chunk + 4], journal[chunk + 5]]);
        chunk += 7 + usize::from(len);
    }
    false
}

/// What is done to a database; keys are few, so that they meet again.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u16),
    Delete(u8),
    Flush,
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), 0..3_000u16).prop_map(|(key, len)| Step::Put(key, len)),
        3 => any::<u8>().prop_map(Step::Delete),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_database_another_implementation_wrote_reads_as_it_was_written(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let options = rusty_leveldb::Options {
                write_buffer_size: 16 << 10,
                ..rusty_leveldb::Options::default()
            };
            rusty_leveldb::DB::open(dir.path(), options).unwrap()
        };
        let mut db = open();
        let mut model = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            match *step {
                Step::Put(key, len) => {
                    let mut value = vec![key; usize::from(len)];
                    value.extend(at.to_le_bytes());
                    db.put(&[key], &value).unwrap();
                    model.insert(vec![key], value);
                }
                Step::Delete(key) => {
                    db.delete(&[key]).unwrap();
                    model.remove(&vec![key]);
                }
                Step::Flush => db.flush().unwrap(),
                Step::Compact => db.compact_range(&[0], &[255]).unwrap(),
                Step::Reopen => {
                    db.close().unwrap();
                    drop(db);
                    db = open();
                }
            }
        }
        db.close().unwrap();
        drop(db);
        let (entries, faults) = read(dir.path());
        prop_assert!(faults.is_empty(), "{faults:?}");
        let found: Vec<_> = entries
            .into_iter()
            .map(|entry| (entry.key, entry.value.to_vec()))
            .collect();
        prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_bent_byte_anywhere_is_read_around_or_told(
        file in 0..4usize, at in any::<prop::sample::Index>(), mask in 1..=255u8,
    ) {
        let names = ["000004.ldb", "000005.ldb", "000006.log", "MANIFEST-000007"];
        let copy = copy_of("status");
        let path = copy.path().join(names[file]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        let looks_torn = names[file].ends_with("log") && is_length_of_last_block(&bytes, at);
        bytes[at] ^= mask;
        fs::write(&path, bytes).unwrap();
        let (entries, faults) = read(copy.path());
        let lost = keys_of("status").len().saturating_sub(entries.len());
        prop_assert!(lost == 0 || !faults.is_empty() || looks_torn);
        for entry in entries {
            let hash = crate::keccak::keccak256(&entry.value);
            prop_assert_eq!(&entry.key[4..36], &hash[..]);
        }
    }
}
