use std::collections::BTreeSet;

use object_store::memory::InMemory;

use super::*;
use crate::archive::disk::Archive;
use crate::blocks::catalogue::{FILE, MAX_CATALOGUE};
use crate::depot::testing;

fn over(store: &Arc<InMemory>, folder: &str) -> ObjectsDepot {
    ObjectsDepot::in_memory(store, folder)
}

#[test]
fn it_does_what_every_depot_must() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    testing::run(scratch.path(), &|_: &Archive, dir: &Path| {
        let part = dir.file_name().unwrap().to_str().unwrap();
        Box::new(over(&store, &format!("archives/{part}")))
    });
}

fn objects(depot: &ObjectsDepot, folder: &str) -> BTreeSet<String> {
    let listed = depot.bucket().wait(depot.bucket().list(folder)).unwrap();
    listed.into_iter().map(|listed| listed.name).collect()
}

#[test]
fn files_that_no_catalogue_lists_are_found_after_a_writer_was_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    testing::live_through(&archive, 2);
    let store = Arc::new(InMemory::new());
    let mut names = BTreeSet::new();
    let depot = over(&store, "a");
    testing::each_parcel(&archive, |parcel| {
        depot.keep(parcel).unwrap();
        names.insert(parcel.file.name.clone());
    });
    drop(depot);
    let depot = over(&store, "a");
    assert!(!objects(&depot, "blocks").contains(FILE));
    let kept: BTreeSet<_> = depot.kept().unwrap().into_iter().collect();
    assert_eq!(kept, names);
    // One that was cut short is none, and is carried again.
    let cut = kept.iter().find(|name| name.starts_with("days/")).unwrap();
    let path = object(cut);
    depot.bucket().wait(async {
        let bytes = depot.bucket().part(&path, 0..100).await.unwrap().unwrap();
        depot.bucket().delete(&path).await.unwrap();
        depot.bucket().create(&path, &bytes).await.unwrap();
    });
    let depot = over(&store, "a");
    assert!(!depot.kept().unwrap().contains(cut));
    testing::carry(&depot, &archive);
    testing::assert_whole(&over(&store, "a"), &archive.head().unwrap());
}

#[test]
fn two_holds_that_swap_the_head_at_once_do_not_both_win() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    testing::live_through(&archive, 1);
    let store = Arc::new(InMemory::new());
    testing::carry(&over(&store, "a"), &archive);
    let first = archive.head().unwrap();
    let mut heads = vec![];
    for _ in 0..2 {
        testing::live_through(&archive, 1);
        heads.push(archive.head().unwrap());
    }
    testing::each_parcel(&archive, |parcel| over(&store, "a").keep(parcel).unwrap());
    let results: Vec<_> = std::thread::scope(|scope| {
        let swap = |head| {
            let (store, first) = (&store, &first);
            scope.spawn(move || over(store, "a").keep_head(head, Some(first)))
        };
        let threads: Vec<_> = heads.iter().map(swap).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results
            .iter()
            .any(|result| matches!(result, Err(DepotError::Overtaken { .. })))
    );
}

#[test]
fn lists_are_written_of_folders_that_changed_and_of_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    testing::live_through(&archive, 2);
    let store = Arc::new(InMemory::new());
    let depot = over(&store, "a");
    testing::carry(&depot, &archive);
    let version = |name: &str| {
        let read = depot.bucket().small(name, MAX_CATALOGUE as u64);
        depot.bucket().wait(read).unwrap().unwrap().version
    };
    let lists = ["blocks/CATALOGUE", "blocks/days/2018/CATALOGUE"].map(version);
    let calendar = version("blocks/calendar/CATALOGUE");
    // Two hours later: no day has closed.
    let until = archive.watermark().at().0 + 2 * crate::time::HOUR;
    testing::take_in(&archive, 77, 20, until - crate::time::HOUR, until - 600);
    testing::seal(&archive, until);
    testing::carry(&depot, &archive);
    assert_eq!(
        ["blocks/CATALOGUE", "blocks/days/2018/CATALOGUE"].map(version),
        lists
    );
    assert_ne!(version("blocks/calendar/CATALOGUE"), calendar);
}

#[test]
fn a_reader_finds_what_was_carried_after_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    testing::live_through(&archive, 1);
    let store = Arc::new(InMemory::new());
    let (writer, reader) = (over(&store, "a"), over(&store, "a"));
    testing::carry(&writer, &archive);
    let first = reader.newest_head().unwrap().unwrap();
    testing::assert_whole(&reader, &first);
    testing::live_through(&archive, 1);
    testing::carry(&writer, &archive);
    let second = reader.newest_head().unwrap().unwrap();
    assert_ne!(first, second);
    testing::assert_whole(&reader, &second);
}

#[test]
fn an_entry_is_created_and_replaced_once() {
    let store = Arc::new(InMemory::new());
    let depots = [over(&store, "a"), over(&store, "a")];
    assert_eq!(depots[0].entry("X").unwrap(), None);
    let one = depots[0].create("X", b"one").unwrap().unwrap();
    assert_eq!(depots[1].create("X", b"other").unwrap(), None);
    let two = depots[1].replace("X", b"two", &one).unwrap().unwrap();
    assert_eq!(depots[0].replace("X", b"three", &one).unwrap(), None);
    let entry = depots[0].entry("X").unwrap().unwrap();
    assert_eq!((&*entry.bytes, entry.version), (&b"two"[..], two));
}
