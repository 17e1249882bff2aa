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

#[test]
fn a_file_that_is_no_file_of_ours_is_read_through_once() {
    let store = Arc::new(InMemory::new());
    let depot = over(&store, "a");
    let name = "days/2018/2018-09-15.zq4x2tkcsb5m.car";
    let path = object(name);
    let strange = depot.bucket().create(&path, b"no archive");
    depot.bucket().wait(strange).unwrap();
    for _ in 0..2 {
        assert!(depot.kept().unwrap().is_empty());
        let (view, _) = &*depot.inner.view();
        assert!(view.unlisted[name].is_broken);
    }
    // Whatever comes in its place is looked at.
    let other = depot.bucket().overwrite(&path, b"no file of it");
    depot.bucket().wait(other).unwrap();
    depot.bucket().wait(async {
        let _changing = depot.inner.changing.lock().await;
        depot.inner.look_again().await.unwrap();
    });
    assert!(!depot.inner.view().0.unlisted[name].is_broken);
}

#[test]
fn no_more_is_read_of_an_object_than_was_asked_for() {
    let store = Arc::new(InMemory::new());
    let bucket_of = over(&store, "a");
    let bucket = bucket_of.bucket();
    bucket.wait(bucket.create("X", &[7; 100])).unwrap();
    let part = bucket.wait(bucket.part("X", 10..30)).unwrap();
    assert_eq!(part.unwrap(), vec![7; 20]);
    assert!(bucket.wait(bucket.part("Y", 0..1)).unwrap().is_none());
    let long = bucket.wait(bucket.small("X", 99)).unwrap_err();
    assert!(matches!(long, DepotError::Refused { .. }), "{long}");
    assert!(bucket.wait(bucket.small("X", 100)).unwrap().is_some());
}

#[test]
fn a_head_that_the_bucket_lost_or_damaged_is_brought_again() {
    use crate::archive::disk::Stop;
    use crate::depot::{Carrier, Keep};
    use crate::progress::Quiet;
    use crate::time::UnixSeconds;

    let dir = tempfile::tempdir().unwrap();
    let archive = Arc::new(Archive::init(dir.path(), "").unwrap());
    let store = Arc::new(InMemory::new());
    let depot = Arc::new(over(&store, "a"));
    let source = Arc::clone(&depot) as Arc<dyn Depot>;
    let carrier = Carrier::new(Arc::clone(&archive), source, "s3:memory", Keep::Everything);
    let now = UnixSeconds(testing::FROM + 99 * crate::time::DAY);
    let round = || carrier.round(&Stop::default(), now, &Quiet);
    for damage in [None, Some(b"damaged")] {
        testing::live_through(&archive, 1);
        round().unwrap();
        let head = archive.head().unwrap();
        let path = head_object(head.body().sequence, head.cid());
        let bucket = depot.bucket();
        match damage {
            None => bucket.wait(bucket.delete(&path)).unwrap(),
            Some(bytes) => bucket.wait(bucket.overwrite(&path, bytes)).unwrap(),
        }
        let lost = depot.newest_head().unwrap_err();
        assert!(matches!(lost, DepotError::Lost { .. }), "{lost}");
        // With nothing new above it, and with something.
        if damage.is_some() {
            testing::live_through(&archive, 1);
        }
        round().unwrap();
        let newest = depot.newest_head().unwrap();
        assert_eq!(newest, archive.head());
        let whole = bucket.wait(bucket.small(&path, MAX_HEAD_LEN as u64));
        assert_eq!(whole.unwrap().unwrap().bytes, &head.block().bytes()[..]);
    }
}

#[test]
fn the_first_day_that_is_kept_never_falls() {
    let store = Arc::new(InMemory::new());
    let depots = [over(&store, "a"), over(&store, "a")];
    assert_eq!(depots[0].dropped_before().unwrap(), None);
    for (who, (said, kept)) in [(17_000, 17_000), (16_000, 17_000), (17_001, 17_001)]
        .into_iter()
        .enumerate()
    {
        depots[who % 2].say_dropped(Day(said)).unwrap();
        assert_eq!(depots[0].dropped_before().unwrap(), Some(Day(kept)));
    }
    let bucket = depots[0].bucket();
    bucket
        .wait(bucket.overwrite(dropped::NAME, b"<html>"))
        .unwrap();
    let refused = depots[0].dropped_before().unwrap_err();
    assert!(matches!(refused, DepotError::Refused { .. }), "{refused}");
}
