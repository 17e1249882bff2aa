use super::*;
use crate::blocks::{Block, Codec};

fn is_denied(list: &Denylist, text: &str) -> bool {
    let cid = *Block::new(Codec::Raw, text.as_bytes().to_vec()).cid();
    list.rules().check(&cid).is_err()
}

fn write(path: &Path, denied: &[&str]) {
    let lines = denied.iter().map(|text| {
        let block = Block::new(Codec::Raw, text.as_bytes().to_vec());
        format!("/ipfs/{}\n", block.cid())
    });
    fs::write(path, lines.collect::<String>()).unwrap();
}

#[test]
fn files_are_followed_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.deny");
    write(&path, &["a"]);
    let list = Denylist::open(std::slice::from_ref(&path)).unwrap();
    assert!(is_denied(&list, "a") && !is_denied(&list, "b"));
    write(&path, &["a", "b"]);
    list.refresh().unwrap();
    assert!(is_denied(&list, "a") && is_denied(&list, "b"));
    fs::write(&path, "version: 9\n---\n").unwrap();
    assert!(matches!(list.refresh(), Err(DenylistError::Rules { .. })));
    assert!(is_denied(&list, "b"));
    fs::remove_file(&path).unwrap();
    assert!(matches!(list.refresh(), Err(DenylistError::Io { .. })));
    assert!(is_denied(&list, "b"));
    write(&path, &["b"]);
    list.refresh().unwrap();
    assert!(!is_denied(&list, "a") && is_denied(&list, "b"));
}

#[test]
fn a_list_that_could_not_be_read_is_tried_again_though_it_did_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.deny");
    write(&path, &["a"]);
    let list = Denylist::open(std::slice::from_ref(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..3 {
        assert!(matches!(list.refresh(), Err(DenylistError::Io { .. })));
    }
    fs::remove_dir(&path).unwrap();
    write(&path, &["a", "b"]);
    list.refresh().unwrap();
    assert!(is_denied(&list, "b"));
}

#[test]
fn a_list_that_is_not_there_is_an_error_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.deny");
    let error = Denylist::open(&[missing]).unwrap_err();
    assert!(error.to_string().contains("none.deny"));
    assert!(!is_denied(&Denylist::open(&[]).unwrap(), "a"));
}
