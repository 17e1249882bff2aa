//! What every depot must do, whatever it is.
//!
//! A depot's own tests call [`run`] with a way to open it; tests against real
//! servers do too. Each part has an archive of its own, with its own key.

#![expect(clippy::unwrap_used, reason = "these are tests that others call")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use super::{Depot, DepotError, Parcel};
use crate::archive::disk::{Archive, sealed_by};
use crate::archive::head::Head;
use crate::archive::testing::traffic;
use crate::archive::verify::{Sample, verify};
use crate::archive::watermark::{Day, Watermark};
use crate::blocks::{Block, BlockSource, BlockStore, Cid, Codec, Group};
use crate::progress::Quiet;
use crate::time::{DAY, HOUR, UnixSeconds};
use crate::whisper::Envelope;

/// 2018-09-14, in seconds.
pub const FROM: u32 = 1_536_883_200;

/// Opens the depot of an archive, empty at first; called again for the same archive
/// it gives another hold of the same place. The folder is the part's own.
pub type Open<'a> = &'a dyn Fn(&Archive, &Path) -> Box<dyn Depot>;

/// Runs the whole suite; `scratch` is an empty folder.
pub fn run(scratch: &Path, open: Open<'_>) {
    let parts: [(&str, Part); 11] = [
        ("empty", an_empty_depot_says_so),
        ("whole", what_was_carried_is_the_whole_archive),
        ("names", files_are_kept_under_their_names_and_once),
        (
            "reads",
            blocks_are_read_one_by_one_many_at_a_time_and_as_a_dag,
        ),
        ("absent", what_is_not_kept_is_missing),
        ("heads", heads_follow_each_other),
        ("others", another_writer_is_noticed),
        ("release", what_is_released_goes_and_what_others_hold_stays),
        ("late", a_day_written_again_is_read_as_it_is_now),
        (
            "dropped",
            later_heads_are_kept_without_days_that_were_dropped,
        ),
        ("large", a_file_of_many_blocks_is_kept_whole),
    ];
    for (name, part) in parts {
        let dir = scratch.join(name);
        std::fs::create_dir(&dir).unwrap();
        let archive = Archive::init(&dir.join("archive"), "").unwrap();
        part(&Scene { dir, archive, open });
    }
}

/// One thing that a depot must do.
type Part = fn(&Scene<'_>);

struct Scene<'a> {
    dir: std::path::PathBuf,
    archive: Archive,
    open: Open<'a>,
}

impl Scene<'_> {
    fn depot(&self) -> Box<dyn Depot> {
        (self.open)(&self.archive, &self.dir)
    }
}

/// Takes in and seals `days` days of traffic, in several heads, the last of them in
/// the middle of an hour of an open day.
pub fn live_through(archive: &Archive, days: u32) {
    let begun = archive.watermark().at().0.max(FROM);
    let from = begun - begun % DAY;
    for day in 0..days {
        let start = from + day * DAY;
        take_in(archive, u64::from(start), 60, start, start + DAY);
        seal(archive, start + 9 * HOUR);
    }
    let open = from + days * DAY;
    take_in(archive, u64::from(open), 40, open, open + 2 * HOUR);
    seal(archive, open + HOUR + 1_200);
}

/// Takes in `count` envelopes sent between two instants.
pub fn take_in(archive: &Archive, seed: u64, count: usize, from: u32, to: u32) {
    let records = traffic(seed, count, 12, from, to);
    let sent: Vec<_> = records
        .iter()
        .map(|record| Envelope::decode(&record.bytes).unwrap())
        .collect();
    archive.append(&sent).unwrap();
}

/// Seals what was sent before an instant.
pub fn seal(archive: &Archive, until: u32) -> Head {
    let until = Watermark::at_or_before(UnixSeconds(until));
    let sealed = archive.seal(until, until.at(), &Quiet).unwrap();
    sealed.head.unwrap()
}

/// Gives `each` every file of an archive, in the order in which they are carried.
pub fn each_parcel(archive: &Archive, mut each: impl FnMut(&Parcel<'_>)) {
    let folder = archive.blocks().folder();
    let mut files = folder.files().unwrap();
    files.sort_by_key(|file| match file.group {
        Group::Day(_) => 0,
        Group::Hour(_) => 1,
        Group::Calendar => 2,
        Group::Delta(_) => 3,
    });
    for file in &files {
        let (car, root) = folder.locate(&file.name).unwrap();
        let car = &car;
        each(&Parcel { file, root, car });
    }
}

/// Brings all files of an archive to a depot, then its head.
pub fn carry(depot: &dyn Depot, archive: &Archive) {
    each_parcel(archive, |parcel| depot.keep(parcel).unwrap());
    let before = depot.newest_head().unwrap();
    let head = archive.head().unwrap();
    depot.keep_head(&head, before.as_ref()).unwrap();
}

/// Everything that `head` names is there and right.
pub fn assert_whole(source: &dyn BlockSource, head: &Head) {
    let block = source.get(head.cid()).unwrap();
    assert_eq!(&Head::decode(block).unwrap(), head);
    let sealed = sealed_by(head);
    let verified = verify(source, &sealed, *head.cid(), Sample::EVERYTHING, &Quiet);
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    // Those of the delta are hashed where they lie in their hour or day too.
    assert!(verified.envelopes >= head.body().totals.count);
}

fn names_of(archive: &Archive) -> BTreeSet<String> {
    let files = archive.blocks().folder().files().unwrap();
    files.into_iter().map(|file| file.name).collect()
}

fn kept(depot: &dyn Depot) -> BTreeSet<String> {
    let names = depot.kept().unwrap();
    let count = names.len();
    let names: BTreeSet<_> = names.into_iter().collect();
    assert_eq!(names.len(), count, "a name is given twice");
    names
}

fn an_empty_depot_says_so(scene: &Scene<'_>) {
    let depot = scene.depot();
    assert!(!depot.name().is_empty());
    assert_eq!(kept(&*depot), BTreeSet::new());
    assert_eq!(depot.newest_head().unwrap(), None);
}

fn what_was_carried_is_the_whole_archive(scene: &Scene<'_>) {
    live_through(&scene.archive, 3);
    carry(&*scene.depot(), &scene.archive);
    let head = scene.archive.head().unwrap();
    // Whoever opens it afterwards finds it so.
    let depot = scene.depot();
    assert_whole(&*depot, &head);
    assert_eq!(depot.newest_head().unwrap(), Some(head));
}

fn files_are_kept_under_their_names_and_once(scene: &Scene<'_>) {
    live_through(&scene.archive, 2);
    let depot = scene.depot();
    let mut so_far = BTreeSet::new();
    each_parcel(&scene.archive, |parcel| {
        depot.keep(parcel).unwrap();
        so_far.insert(parcel.file.name.clone());
        assert!(kept(&*depot).contains(&parcel.file.name));
    });
    assert_eq!(kept(&*depot), so_far);
    carry(&*depot, &scene.archive);
    carry(&*scene.depot(), &scene.archive);
    assert_eq!(kept(&*scene.depot()), names_of(&scene.archive));
}

fn blocks_are_read_one_by_one_many_at_a_time_and_as_a_dag(scene: &Scene<'_>) {
    live_through(&scene.archive, 2);
    carry(&*scene.depot(), &scene.archive);
    let depot = scene.depot();
    let folder = scene.archive.blocks().folder();
    let mut cids = BTreeSet::new();
    for name in names_of(&scene.archive) {
        cids.extend(folder.cids(&name).unwrap());
    }
    let cids: Vec<Cid> = cids.into_iter().collect();
    let mut given = BTreeSet::new();
    depot
        .get_each(&cids, &mut |block| {
            assert!(given.insert(*block.cid()), "a block is given twice");
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(given.into_iter().collect::<Vec<_>>(), cids);
    let mut some = 0;
    depot
        .get_each(&cids, &mut |_| {
            some += 1;
            if some == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!(some, 3);
    for cid in &cids {
        assert!(depot.has(cid).unwrap());
        assert_eq!(depot.get(cid).unwrap(), folder.get(cid).unwrap());
    }

    let head = scene.archive.head().unwrap();
    let dag = |source: &dyn BlockSource| {
        let mut blocks = BTreeSet::new();
        source
            .get_dag(head.cid(), &|_| false, &mut |block| {
                assert!(blocks.insert(*block.cid()));
                ControlFlow::Continue(())
            })
            .unwrap();
        blocks
    };
    assert_eq!(dag(&*depot), dag(scene.archive.blocks()));
}

fn what_is_not_kept_is_missing(scene: &Scene<'_>) {
    let absent = Block::new(Codec::Raw, scene.archive.meta().name.clone() + "never kept");
    let assert_absent = |depot: &dyn Depot| {
        let error = depot.get(absent.cid()).unwrap_err();
        assert!(error.is_missing(), "{error}");
        assert!(!depot.has(absent.cid()).unwrap());
    };
    assert_absent(&*scene.depot());
    live_through(&scene.archive, 1);
    carry(&*scene.depot(), &scene.archive);
    assert_absent(&*scene.depot());
}

fn heads_follow_each_other(scene: &Scene<'_>) {
    let (archive, depot) = (&scene.archive, scene.depot());
    let mut before = None;
    for days in 1..4 {
        live_through(archive, days);
        each_parcel(archive, |parcel| depot.keep(parcel).unwrap());
        // Until it is told, the one before is the newest.
        assert_eq!(depot.newest_head().unwrap(), before);
        let head = archive.head().unwrap();
        for _ in 0..2 {
            depot.keep_head(&head, before.as_ref()).unwrap();
            assert_eq!(depot.newest_head().unwrap().as_ref(), Some(&head));
        }
        assert_whole(&*depot, &head);
        before = Some(head);
    }
}

fn another_writer_is_noticed(scene: &Scene<'_>) {
    let (archive, depot) = (&scene.archive, scene.depot());
    live_through(archive, 1);
    carry(&*depot, archive);
    let first = archive.head().unwrap();
    live_through(archive, 1);
    carry(&*depot, archive);
    let second = archive.head().unwrap();
    live_through(archive, 1);
    each_parcel(archive, |parcel| depot.keep(parcel).unwrap());
    let third = archive.head().unwrap();
    for before in [None, Some(&first)] {
        let refused = scene.depot().keep_head(&third, before).unwrap_err();
        assert!(
            matches!(refused, DepotError::Overtaken { newest, .. } if newest == second.body().sequence),
            "{refused}"
        );
        assert_eq!(scene.depot().newest_head().unwrap(), Some(second.clone()));
    }
    depot.keep_head(&third, Some(&second)).unwrap();
    assert_eq!(scene.depot().newest_head().unwrap(), Some(third));
}

fn what_is_released_goes_and_what_others_hold_stays(scene: &Scene<'_>) {
    let archive = &scene.archive;
    live_through(archive, 2);
    let depot = scene.depot();
    carry(&*depot, archive);
    // Days have closed since, and their hours' files are of no use any more.
    archive.sweep(UnixSeconds::MAX).unwrap();
    let superseded: Vec<String> = kept(&*depot)
        .difference(&names_of(archive))
        .cloned()
        .collect();
    assert!(!superseded.is_empty());
    for name in &superseded {
        depot.release(name).unwrap();
        assert!(!kept(&*depot).contains(name));
        depot.release(name).unwrap();
    }
    depot.release("calendar/ei66wof36n5e.car").unwrap();
    assert_eq!(kept(&*scene.depot()), names_of(archive));
    assert_whole(&*scene.depot(), &archive.head().unwrap());
}

fn a_day_written_again_is_read_as_it_is_now(scene: &Scene<'_>) {
    let archive = &scene.archive;
    live_through(archive, 2);
    let depot = scene.depot();
    carry(&*depot, archive);
    for seed in 0..3 {
        take_in(archive, 1_000 + seed, 5, FROM + HOUR, FROM + DAY);
        let watermark = archive.watermark().at().0;
        seal(archive, watermark + 300);
        carry(&*depot, archive);
        assert_whole(&*scene.depot(), &archive.head().unwrap());
    }
}

fn later_heads_are_kept_without_days_that_were_dropped(scene: &Scene<'_>) {
    let archive = &scene.archive;
    live_through(archive, 3);
    let depot = scene.depot();
    carry(&*depot, archive);
    archive.drop_before(UnixSeconds(FROM + DAY)).unwrap();
    let left = names_of(archive);
    for name in kept(&*depot).difference(&left) {
        depot.release(name).unwrap();
    }
    live_through(archive, 1);
    carry(&*depot, archive);
    assert_eq!(kept(&*scene.depot()), names_of(archive));
    let head = archive.head().unwrap();
    let verified = verify(
        &*scene.depot(),
        &sealed_by(&head),
        *head.cid(),
        Sample::EVERYTHING.held_from(Day::of(UnixSeconds(FROM + DAY))),
        &Quiet,
    );
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}

fn a_file_of_many_blocks_is_kept_whole(scene: &Scene<'_>) {
    let archive = &scene.archive;
    take_in(archive, 7, 6_000, FROM, FROM + DAY);
    seal(archive, FROM + DAY + HOUR);
    let depot = scene.depot();
    carry(&*depot, archive);
    let mut largest = 0;
    each_parcel(archive, |parcel| largest = largest.max(parcel.file.bytes));
    assert!(largest > 2 << 20, "{largest} bytes");
    assert_whole(&*depot, &archive.head().unwrap());
}
