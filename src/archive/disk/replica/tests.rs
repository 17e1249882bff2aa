use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;
use crate::archive::disk::PageRequest;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::leaf::Record;
use crate::archive::testing::envelope;
use crate::blocks::{BlockStore, Cid};
use crate::depot::Depot;
use crate::depot::objects::ObjectsDepot;
use crate::depot::testing;
use crate::time::TimeRange;

const NOW: UnixSeconds = UnixSeconds(testing::FROM + 100 * crate::time::DAY);

/// All that is sealed: what waits, the owner alone has.
fn everything(archive: &Archive) -> Vec<Record> {
    let sealed = archive.head().unwrap().body().watermark.at();
    let last = UnixSeconds(sealed.0 - 1);
    let request = PageRequest {
        filter: Filter {
            topics: TopicFilter::All,
            range: TimeRange::new(UnixSeconds(0), last).unwrap(),
        },
        after: None,
        limit: 10_000,
    };
    let page = archive.page(&request).unwrap();
    assert!(!page.more);
    page.records
}

struct Scene {
    dir: tempfile::TempDir,
    owner: Archive,
    depot: Arc<ObjectsDepot>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let owner = Archive::init(&dir.path().join("owner"), "theirs").unwrap();
        let depot = Arc::new(ObjectsDepot::in_memory(&Arc::new(InMemory::new()), "a"));
        let scene = Self { dir, owner, depot };
        scene.live();
        scene
    }

    /// The owner takes in and carries some more.
    fn live(&self) -> Head {
        testing::live_through(&self.owner, 2);
        testing::carry(&*self.depot, &self.owner);
        let lineage = self.owner.blocks().heads().lineage().unwrap();
        let earlier: Vec<Head> = lineage.skip(1).map(Result::unwrap).collect();
        self.depot.keep_lineage(&earlier).unwrap();
        self.owner.head().unwrap()
    }

    fn replica(&self) -> Archive {
        let head = self.depot.newest_head().unwrap().unwrap();
        let dir = self.dir.path().join("replica");
        let replica = Archive::replica(&dir, &head, "s3:memory".to_owned()).unwrap();
        let source = Arc::clone(&self.depot);
        replica.blocks().set_depot("s3:memory", source);
        replica
    }
}

#[test]
fn a_replica_answers_as_the_archive_does_and_holds_nothing() {
    let scene = Scene::new();
    let replica = scene.replica();
    for (route, until) in [(Route::Copied, 0), (Route::Replayed(3), 1)] {
        for _ in 0..until {
            scene.live();
        }
        let head = scene.depot.newest_head().unwrap().unwrap();
        let shown = replica.show(&head, &*scene.depot, NOW).unwrap();
        assert_eq!(
            std::mem::discriminant(&shown.route),
            std::mem::discriminant(&route)
        );
        assert_eq!(replica.head(), scene.owner.head());
        assert_eq!(everything(&replica), everything(&scene.owner));
        assert!(replica.blocks().folder().files().unwrap().is_empty());
    }
    // Opened again it goes on from there; whatever it has not is absent.
    drop(replica);
    let replica = scene.replica();
    assert_eq!(replica.head(), scene.owner.head());
    assert_eq!(everything(&replica), everything(&scene.owner));
    let absent: Cid = *crate::blocks::Block::new(crate::blocks::Codec::Raw, &b"no"[..]).cid();
    assert!(!replica.blocks().held().has(&absent).unwrap());
    assert!(
        replica
            .blocks()
            .held()
            .has(scene.owner.head().unwrap().cid())
            .unwrap()
    );
}

#[test]
fn a_replica_takes_in_and_signs_nothing() {
    let scene = Scene::new();
    let replica = scene.replica();
    assert!(replica.is_replica() && replica.is_mirror());
    let refused = replica.append(&[envelope(1, 100, 40)]).unwrap_err();
    assert!(matches!(refused, DiskError::Mirror { .. }), "{refused}");
    let until = scene.owner.watermark();
    assert!(replica.seal(until, until.at(), &Quiet).is_err());
    assert!(Archive::mirror(replica.dir(), &scene.live(), Vec::new()).is_err());
}

#[test]
fn a_head_that_goes_back_or_is_anothers_is_not_shown() {
    let scene = Scene::new();
    let replica = scene.replica();
    let first = scene.owner.head().unwrap();
    let second = scene.live();
    replica.show(&second, &*scene.depot, NOW).unwrap();
    let refused = replica.show(&first, &*scene.depot, NOW).unwrap_err();
    assert!(matches!(refused, FollowError::Alarm { .. }), "{refused}");
    let other = tempfile::tempdir().unwrap();
    let other = Archive::init(other.path(), "").unwrap();
    testing::live_through(&other, 9);
    let strange = other.head().unwrap();
    let refused = replica.show(&strange, other.blocks(), NOW).unwrap_err();
    assert!(matches!(refused, FollowError::AnotherKey), "{refused}");
    assert_eq!(replica.head(), Some(second));
}

#[test]
fn what_came_late_is_told_by_positions_as_the_archive_tells_it() {
    let scene = Scene::new();
    let replica = scene.replica();
    let first = scene.owner.head().unwrap();
    replica.show(&first, &*scene.depot, NOW).unwrap();
    testing::take_in(&scene.owner, 5, 7, testing::FROM, testing::FROM + 1_000);
    let until = scene.owner.watermark().at().0 + 300;
    testing::seal(&scene.owner, until);
    testing::carry(&*scene.depot, &scene.owner);
    let second = scene.owner.head().unwrap();
    let late = late_in(&*scene.depot, &first, &second).unwrap();
    assert_eq!(late.len(), 7);
    replica.show(&second, &*scene.depot, NOW).unwrap();
    assert_eq!(everything(&replica), everything(&scene.owner));
}

#[test]
fn days_that_the_owner_dropped_are_told_from_those_that_are_lost() {
    let scene = Scene::new();
    let replica = scene.replica();
    let head = scene.owner.head().unwrap();
    replica.show(&head, &*scene.depot, NOW).unwrap();
    let kept = scene.depot.kept().unwrap();
    let first = kept.iter().filter(|name| name.starts_with("days/")).min();
    scene.depot.release(first.unwrap()).unwrap();
    let request = PageRequest {
        filter: Filter {
            topics: TopicFilter::All,
            range: TimeRange::new(UnixSeconds(0), NOW).unwrap(),
        },
        after: None,
        limit: 10_000,
    };
    // Nobody said that it was to go.
    let lost = replica.page(&request).unwrap_err();
    assert!(lost.to_string().contains("s3:memory"), "{lost}");
    let day = UnixSeconds(testing::FROM + crate::time::DAY);
    let dropped = scene.owner.drop_before(day).unwrap();
    scene.depot.say_dropped(dropped.kept_from).unwrap();
    let said = scene.depot.dropped_before().unwrap().unwrap();
    replica.believe_dropped(said, &head).unwrap();
    assert_eq!(replica.kept_from(), dropped.kept_from);
    let answered = everything(&replica);
    assert_eq!(answered, everything(&scene.owner));
    assert!(!answered.is_empty());
    // It is the store's word, and holds for as long as the store says so; never of what
    // is open.
    replica.believe_dropped(Day(u32::MAX), &head).unwrap();
    assert_eq!(replica.kept_from(), Day::of(head.body().watermark.at()));
    replica.believe_dropped(Day(0), &head).unwrap();
    assert!(replica.page(&request).is_err());
}
