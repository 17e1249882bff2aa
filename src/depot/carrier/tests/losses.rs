//! What is lost, damaged or elsewhere.

use std::collections::BTreeSet;

use super::*;
use crate::blocks::MemoryStore;

/// Keeps all that one archive holds in another's depot.
fn take_over(from: &House, to: &House) {
    let depot = FolderDepot::new(&to.depot);
    testing::carry(&depot, &from.archive);
}

#[test]
fn what_the_depot_loses_is_told_carried_again_and_mended() {
    let house = House::new();
    live_through(&house.archive, 3);
    let copy = House::new();
    take_over(&house, &copy);
    house.round(Keep::Everything);
    // Of what is here too, nobody need do anything.
    fs::remove_dir_all(house.depot.join("blocks/days")).unwrap();
    assert!(house.round(Keep::Everything).files > 0);
    house.assert_whole();
    house.round(Keep::Bytes(0));
    let lost = house.archive.blocks().evicted().remove(0);
    fs::remove_file(house.depot.join("blocks").join(&lost.name)).unwrap();
    let house = house.reopen();
    assert_eq!(house.round(Keep::Bytes(0)).lost, 1);
    let source = FolderDepot::new(&copy.depot);
    let repaired = house
        .archive
        .repair(&source, &Stop::default(), &Quiet)
        .unwrap();
    assert!(repaired.copied.blocks > 0);
    house.round(Keep::Everything);
    house.assert_whole();
}

#[test]
fn days_that_no_note_here_tells_of_any_more_stay_at_the_depot() {
    let house = House::new();
    live_through(&house.archive, 3);
    house.round(Keep::Bytes(0));
    let kept = |house: &House| {
        let names = FolderDepot::new(&house.depot).kept().unwrap();
        let mut days: Vec<_> = names
            .into_iter()
            .filter(|n| n.starts_with("days/"))
            .collect();
        days.sort();
        days
    };
    let before = kept(&house);
    assert!(before.len() >= 3);
    let notes = house.data.join("evicted");
    let note = fs::read_dir(&notes)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&note).unwrap();
    fs::write(&note, &whole[..whole.len() / 2]).unwrap();
    let house = house.reopen();
    house.round(Keep::Bytes(0));
    assert_eq!(kept(&house), before);
    fs::remove_dir_all(&notes).unwrap();
    let house = house.reopen();
    assert!(!house.archive.blocks().has_evicted());
    house.round(Keep::Bytes(0));
    assert_eq!(kept(&house), before);
    house.assert_whole();
    // What is no longer kept goes all the same.
    house
        .archive
        .drop_before(UnixSeconds(FROM + 2 * DAY))
        .unwrap();
    house.round(Keep::Bytes(0));
    assert!(kept(&house).len() < before.len());
}

/// Flips the last byte of a file in the depot.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_day_that_is_damaged_at_the_depot_is_carried_again_before_it_leaves_this_disk() {
    let house = House::new();
    live_through(&house.archive, 2);
    house.round(Keep::Everything);
    let name = house.local_days().remove(0);
    damage(&house.depot.join("blocks").join(&name));
    let carried = house.round(Keep::Bytes(0));
    assert_eq!((carried.files, carried.lost), (1, 0));
    assert_eq!(house.local_days(), [name]);
    house.assert_whole();
    assert_eq!(house.round(Keep::Bytes(0)).evicted, 1);
    assert!(house.local_days().is_empty());
    house.assert_whole();
}

#[test]
fn what_is_damaged_there_is_not_let_go_for_what_is_damaged_here() {
    let house = House::new();
    live_through(&house.archive, 1);
    house.round(Keep::Everything);
    let name = house.local_days().remove(0);
    for folder in [house.depot.join("blocks"), house.data.join("blocks")] {
        damage(&folder.join(&name));
    }
    let carrier = house.carrier(Shaky::new(&house.depot), Keep::Bytes(0));
    let refused = carrier.round(&Stop::default(), NOW, &Quiet).unwrap_err();
    assert!(matches!(refused, CarryError::Damaged { .. }), "{refused}");
    assert!(house.depot.join("blocks").join(&name).is_file());
    assert_eq!(house.local_days(), [name]);
}

#[test]
fn a_file_whose_name_is_taken_by_other_bytes_is_carried_under_another() {
    let house = House::new();
    live_through(&house.archive, 2);
    house.round(Keep::Everything);
    let calendar = |dir: &Path| {
        let files = fs::read_dir(dir.join("blocks/calendar")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".car")).max().unwrap()
    };
    let name = calendar(&house.data);
    let path = house.depot.join("blocks/calendar").join(&name);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let carried = house.round(Keep::Everything);
    assert_eq!((carried.files, carried.released), (1, 1));
    assert!(!path.exists());
    let (stem, _) = name.split_once('.').unwrap();
    for blocks in [&house.data, &house.depot] {
        let renamed = blocks.join(format!("blocks/calendar/{stem}-2.car"));
        assert_eq!(fs::read(renamed).unwrap(), whole);
    }
    house.assert_whole();
    assert_eq!(house.round(Keep::Everything), Carried::default());
    house.reopen().assert_whole();
}

#[test]
fn another_depot_shows_no_head_while_days_are_at_the_first_one_alone() {
    let house = House::new();
    live_through(&house.archive, 3);
    house.round(Keep::Bytes(0));
    let second = house.depot.with_extension("second");
    fs::create_dir(&second).unwrap();
    let archive = Arc::clone(&house.archive);
    let depot = Arc::new(FolderDepot::new(&second));
    let carrier = Carrier::new(
        archive,
        Arc::clone(&depot) as _,
        "the second",
        Keep::Bytes(0),
    );
    let error = carrier.round(&Stop::default(), NOW, &Quiet).unwrap_err();
    let days = house.archive.blocks().evicted().len() as u64;
    assert!(
        matches!(&error, CarryError::Elsewhere { store, files, .. }
            if store == "the depot" && *files == days),
        "{error}"
    );
    assert!(!error.is_transient());
    assert_eq!(
        (depot.newest_head().unwrap(), carrier.status().lost_files),
        (None, 0)
    );
    // Whoever asks for such a day is told where it is.
    let blocks = house.archive.blocks();
    blocks.set_depot("the second", Arc::clone(&depot) as Arc<dyn BlockSource>);
    let error = house.paged(TimeRange::ALL, 10).unwrap_err();
    assert!(error.to_string().contains("the depot"), "{error}");
    // From the first one they are brought, and carried to the second.
    let first = FolderDepot::new(&house.depot);
    house
        .archive
        .repair(&first, &Stop::default(), &Quiet)
        .unwrap();
    carrier.round(&Stop::default(), NOW, &Quiet).unwrap();
    testing::assert_whole(&*depot, &house.head());
    assert!(!first.kept().unwrap().is_empty());
}

#[test]
fn a_day_in_several_files_is_mended_where_one_of_them_is_lost() {
    let house = House::new();
    live_through(&house.archive, 2);
    let before = house.local_days();
    take_in(&house.archive, 99, 5, FROM, FROM + DAY);
    seal(&house.archive, FROM + 3 * DAY);
    let copy = House::new();
    take_over(&house, &copy);
    house.round(Keep::Bytes(0));
    let base = before.first().unwrap();
    assert!(house.archive.blocks().evicted().len() > before.len());
    fs::remove_file(house.depot.join("blocks").join(base)).unwrap();
    let house = house.reopen();
    assert_eq!(house.round(Keep::Bytes(0)).lost, 1);
    let source = FolderDepot::new(&copy.depot);
    house
        .archive
        .repair(&source, &Stop::default(), &Quiet)
        .unwrap();
    house.round(Keep::Bytes(0));
    house.round(Keep::Bytes(0));
    assert!(house.local_days().is_empty());
    house.assert_whole();
}

/// Names of all files at the depot of a house.
fn at_depot(house: &House) -> BTreeSet<String> {
    let names = FolderDepot::new(&house.depot).kept().unwrap();
    names.into_iter().collect()
}

#[test]
fn what_this_disk_lost_outside_days_stays_at_the_depot() {
    for group in ["hours/", "deltas/", "calendar/"] {
        let house = House::new();
        live_through(&house.archive, 2);
        house.round(Keep::Everything);
        let before = at_depot(&house);
        let head = house.head();
        let folder = house.archive.blocks().folder();
        let mut names: Vec<String> = folder
            .files()
            .unwrap()
            .into_iter()
            .map(|f| f.name)
            .collect();
        names.retain(|name| name.starts_with(group));
        names.sort();
        if group == "calendar/" {
            let state = head.body().state.unwrap();
            names.retain(|name| folder.cids(name).unwrap().contains(&state));
        }
        // Of hours and deltas the last is the open day's.
        folder.remove(names.last().unwrap()).unwrap();
        let carried = house.round(Keep::Everything);
        assert_eq!((carried.released, at_depot(&house)), (0, before), "{group}");
        house.assert_whole();
        // Once it is here again, what was superseded goes.
        let source = FolderDepot::new(&house.depot);
        let repaired = house.archive.repair(&source, &Stop::default(), &Quiet);
        assert!(repaired.unwrap().copied.blocks > 0, "{group}");
        house.archive.sweep(UnixSeconds::MAX).unwrap();
        assert!(house.round(Keep::Everything).released > 0, "{group}");
        house.assert_whole();
    }
}

#[test]
fn an_hour_that_was_damaged_here_and_could_not_be_fetched_stays_at_the_depot() {
    let house = House::new();
    live_through(&house.archive, 2);
    house.round(Keep::Everything);
    let before = at_depot(&house);
    let hour = before.iter().rfind(|name| name.starts_with("hours/"));
    let path = house.data.join("blocks").join(hour.unwrap());
    let whole = fs::read(&path).unwrap();
    damage(&path);
    let house = house.reopen();
    let nobody = MemoryStore::new();
    let repaired = house.archive.repair(&nobody, &Stop::default(), &Quiet);
    assert!(repaired.is_err());
    assert!(!path.exists());
    let house = house.reopen();
    house.round(Keep::Everything);
    assert!(at_depot(&house).is_superset(&before));
    let kept = house.depot.join("blocks").join(hour.unwrap());
    assert_eq!(fs::read(kept).unwrap(), whole);
    house.assert_whole();
    let source = FolderDepot::new(&house.depot);
    let repaired = house.archive.repair(&source, &Stop::default(), &Quiet);
    assert!(repaired.unwrap().copied.blocks > 0);
    house.round(Keep::Everything);
    house.assert_whole();
}

#[test]
fn a_repair_with_another_store_that_fails_forgets_no_day() {
    let house = House::new();
    live_through(&house.archive, 3);
    house.round(Keep::Bytes(0));
    let evicted = house.archive.blocks().evicted();
    assert!(!evicted.is_empty());
    let second = house.depot.with_extension("second");
    fs::create_dir(&second).unwrap();
    let depot = Arc::new(FolderDepot::new(&second));
    let source: Arc<dyn BlockSource> = Arc::clone(&depot) as _;
    house.archive.blocks().set_depot("the second", source);
    let nobody = MemoryStore::new();
    let repaired = house.archive.repair(&nobody, &Stop::default(), &Quiet);
    assert!(repaired.is_err());
    assert_eq!(house.archive.blocks().evicted(), evicted);
    let archive = Arc::clone(&house.archive);
    let carrier = Carrier::new(
        archive,
        Arc::clone(&depot) as _,
        "the second",
        Keep::Bytes(0),
    );
    let refused = carrier.round(&Stop::default(), NOW, &Quiet).unwrap_err();
    assert!(matches!(refused, CarryError::Elsewhere { .. }), "{refused}");
    assert_eq!(depot.newest_head().unwrap(), None);
    drop(carrier);
    // The first one still has them, and is asked again.
    let house = house.reopen();
    assert_eq!(house.archive.blocks().evicted(), evicted);
    house.assert_whole();
}
