//! Folders that take no file, an index that is gone, and envelopes that are ahead
//! of their time.

use std::fs;
use std::path::Path;

use super::*;
use crate::blocks::BlockSource;

fn journal_files(dir: &Path) -> BTreeSet<std::ffi::OsString> {
    let entries = fs::read_dir(dir.join(JOURNAL)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".journal"))
        .collect()
}

#[test]
fn a_seal_that_cannot_write_its_blocks_loses_nothing_and_succeeds_later() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent = envelopes(11, 200);
    let expected = hashes(sent.iter().map(Envelope::hash));
    archive.append(&sent[..100]).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    archive.append(&sent[100..]).unwrap();
    let blocks = dir.path().join(BLOCKS);
    // Files cannot be begun; then not named, days before hours and deltas.
    for folder in ["tmp", "days", "hours", "deltas", "calendar"] {
        let (path, aside) = (blocks.join(folder), blocks.join("aside"));
        let existed = fs::rename(&path, &aside).is_ok();
        fs::write(&path, b"no folder").unwrap();
        let head = archive.head();
        let until = watermark(DAY + DAY / 2 + 600);
        assert!(
            archive.seal(until, now(2 * DAY), &Quiet).is_err(),
            "{folder}"
        );
        fs::remove_file(&path).unwrap();
        if existed {
            fs::rename(&aside, &path).unwrap();
        }
        assert_eq!(archive.head(), head);
        assert_eq!(hashes(paged(&archive, 30)), expected, "{folder}");
    }
    drop(archive);
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(hashes(paged(&archive, 30)), expected);
    archive
        .seal(watermark(2 * DAY), now(2 * DAY), &Quiet)
        .unwrap();
    assert_eq!(sealed_hashes(&archive), expected);
    assert_eq!(archive.head().unwrap().body().totals.count, 200);
}

#[test]
fn without_its_index_or_with_a_broken_one_an_archive_answers_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let sent = envelopes(12, 200);
    archive.append(&sent).unwrap();
    archive.seal(watermark(DAY), now(DAY), &Quiet).unwrap();
    let (pages, head) = (paged(&archive, 40), archive.head());
    drop(archive);
    let index = dir.path().join(INDEX);
    let spoil: [&dyn Fn(); 3] = [
        &|| fs::remove_dir_all(&index).unwrap(),
        &|| fs::write(index.join("db"), [0xa5; 10_000]).unwrap(),
        &|| {
            fs::remove_dir_all(&index).unwrap();
            fs::write(&index, b"no folder").unwrap();
        },
    ];
    for spoil in spoil {
        spoil();
        let archive = Archive::open(dir.path()).unwrap();
        assert_eq!(archive.head(), head);
        assert_eq!(paged(&archive, 40), pages);
        assert_eq!(archive.append(&sent).unwrap().duplicate, 200);
    }
}

#[test]
fn what_is_ahead_of_its_time_is_not_written_again_by_every_seal() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let ahead: Vec<_> = (0..20u32)
        .map(|n| envelope(1, FROM + 9 * DAY + n, 1_000))
        .collect();
    archive.append(&ahead).unwrap();
    let first = journal_files(dir.path());
    let mut sent = ahead.clone();
    let mut seals = 0..40u32;
    // Until what was sealed is as much as what waits, the first file stays.
    let moved = seals.find(|n| {
        let due = envelope(2, FROM + n * 300, 1_000);
        archive.append(std::slice::from_ref(&due)).unwrap();
        sent.push(due);
        let at = (n + 1) * 300;
        archive.seal(watermark(at), now(at), &Quiet).unwrap();
        !journal_files(dir.path()).is_superset(&first)
    });
    let moved = moved.expect("once it pays the journal is trimmed");
    assert!((15..25).contains(&moved), "{moved}");
    assert!(journal_files(dir.path()).len() <= 2);
    drop(archive);
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.waiting(), 20);
    assert_eq!(
        hashes(paged(&archive, 50)),
        hashes(sent.iter().map(Envelope::hash))
    );
}

#[test]
fn a_head_is_found_by_its_cid_also_where_it_came_after_the_last_look() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    for n in 1..4u32 {
        archive.append(&envelopes(n.into(), 5)).unwrap();
        let report = archive.seal(watermark(n * DAY), now(n * DAY), &Quiet);
        let head = report.unwrap().head.unwrap();
        for blocks in [archive.blocks(), reader.blocks()] {
            assert_eq!(fetch_head(blocks, head.cid()).unwrap(), head);
            assert!(blocks.heads().has(head.cid()).unwrap());
        }
        let state = head.body().state.unwrap();
        assert!(!archive.blocks().heads().has(&state).unwrap());
    }
}
