use super::*;
use crate::archive::disk::Archive;
use crate::depot::testing;
use crate::sources::open_folder;

fn settled(scratch: &Path) -> (Archive, FolderDepot) {
    let archive = Archive::init(&scratch.join("archive"), "").unwrap();
    testing::live_through(&archive, 2);
    let dir = scratch.join("depot");
    fs::create_dir(&dir).unwrap();
    let depot = FolderDepot::new(&dir);
    testing::carry(&depot, &archive);
    (archive, depot)
}

#[test]
fn it_does_what_every_depot_must() {
    let scratch = tempfile::tempdir().unwrap();
    testing::run(scratch.path(), &|archive, dir| {
        let dir = dir.join("depot");
        fs::create_dir_all(&dir).unwrap();
        assert_ne!(archive.dir(), dir);
        Box::new(FolderDepot::new(&dir))
    });
}

#[test]
fn a_folder_that_is_not_there_is_away_and_is_not_made() {
    let scratch = tempfile::tempdir().unwrap();
    let (archive, depot) = settled(scratch.path());
    let (there, gone) = (scratch.path().join("depot"), scratch.path().join("gone"));
    fs::rename(&there, &gone).unwrap();
    let head = archive.head().unwrap();
    let away = |error: DepotError| assert!(error.is_transient(), "{error}");
    away(depot.kept().unwrap_err());
    away(depot.newest_head().unwrap_err());
    away(depot.release("calendar/ei66wof36n5e.car").unwrap_err());
    away(depot.keep_head(&head, None).unwrap_err());
    testing::each_parcel(&archive, |parcel| away(depot.keep(parcel).unwrap_err()));
    let state = head.body().state.unwrap();
    let error = depot.get(&state).unwrap_err();
    assert!(!error.is_missing() && !error.is_corrupt(), "{error}");
    assert!(!there.exists());

    fs::rename(&gone, &there).unwrap();
    assert_eq!(depot.newest_head().unwrap().unwrap(), head);
    depot.get(&state).unwrap();
}

#[test]
fn a_file_that_was_cut_short_is_kept_again() {
    let scratch = tempfile::tempdir().unwrap();
    let (archive, depot) = settled(scratch.path());
    let name = depot.kept().unwrap().remove(0);
    let path = depot.path(&name);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    testing::each_parcel(&archive, |parcel| depot.keep(parcel).unwrap());
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn it_is_a_public_folder_and_a_source() {
    let scratch = tempfile::tempdir().unwrap();
    let (archive, _depot) = settled(scratch.path());
    let dir = scratch.path().join("depot");
    assert!(dir.join("HEAD").is_file() && dir.join("blocks/CATALOGUE").is_file());
    let source = open_folder(&dir).unwrap();
    testing::assert_whole(&*source, &archive.head().unwrap());
}

#[test]
fn a_lineage_is_kept_below_the_newest_head() {
    let scratch = tempfile::tempdir().unwrap();
    let (archive, depot) = settled(scratch.path());
    let mut lineage: Vec<_> = archive.blocks().heads().lineage().unwrap().collect();
    lineage.reverse();
    let lineage: Vec<_> = lineage.into_iter().map(Result::unwrap).collect();
    assert!(lineage.len() > 2);
    depot.keep_lineage(&lineage).unwrap();
    assert_eq!(depot.newest_head().unwrap().as_ref(), lineage.last());
    for head in &lineage {
        assert!(depot.has(head.cid()).unwrap());
    }
}

#[test]
fn another_process_that_writes_is_waited_for() {
    let scratch = tempfile::tempdir().unwrap();
    let (archive, depot) = settled(scratch.path());
    let lock = depot.lock().unwrap();
    let other = FolderDepot::new(&scratch.path().join("depot"));
    let head = archive.head().unwrap();
    assert!(other.keep_head(&head, None).unwrap_err().is_transient());
    drop(lock);
    other.keep_head(&head, None).unwrap();
}
