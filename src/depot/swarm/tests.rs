//! A depot before a node that finds as little as a test says.

mod node;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;

use self::node::{Feed, Node, Shared, serve};
use super::{Ended, SwarmDepot, take_each};
use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::blocks::{Block, BlockSource, Codec, Fault};
use crate::depot::{Depot, DepotError, DepotSettings, Parcel, testing};
use crate::rlpx::NodeKey;
use crate::sources::HttpSource;
use crate::sources::net::{Net, NetLimits};
use crate::swarm::{Folder, Folders, Index, SwarmAddress, SwarmPlace, decode_list, reference_of};

/// Years of traffic, each with a folder of days: more than a chunk has room for.
const YEARS: u32 = 90;

/// Seconds of a year.
const YEAR: u32 = 31_557_600;

struct Scene {
    _dir: tempfile::TempDir,
    archive: Archive,
    node: Shared,
    url: String,
    _runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(&dir.path().join("archive"), "").unwrap();
        let (node, url, runtime) = serve();
        Self {
            _dir: dir,
            archive,
            node,
            url,
            _runtime: runtime,
        }
    }

    fn depot(&self) -> SwarmDepot {
        open(&self.url, &self.node, &self.archive)
    }

    fn node(&self, change: impl FnOnce(&mut Node)) {
        change(&mut self.node.lock().unwrap());
    }

    /// An archive of some days that is kept whole.
    fn carried() -> (Self, Head, Vec<String>) {
        let scene = Self::new();
        testing::live_through(&scene.archive, 2);
        let depot = scene.depot();
        testing::carry(&depot, &scene.archive);
        let head = scene.archive.head().unwrap();
        (scene, head, sorted(depot.kept().unwrap()))
    }

    /// Lives on for a day and keeps the files that are new, as whoever has let the
    /// others go; gives the head, not shown yet.
    fn live_on(&self, depot: &SwarmDepot) -> Head {
        testing::live_through(&self.archive, 1);
        let kept = depot.kept().unwrap();
        testing::each_parcel(&self.archive, |parcel| {
            if !kept.contains(&parcel.file.name) {
                depot.keep(parcel).unwrap();
            }
        });
        self.archive.head().unwrap()
    }

    /// What another disk finds by the feed alone: the files that readers are led to.
    fn readers_files(&self) -> Vec<String> {
        let last = *self.node.lock().unwrap().updates.keys().last().unwrap();
        self.led_to(last).0
    }

    /// What an update leads to: names of files, and the references of all there is.
    fn led_to(&self, update: u64) -> (Vec<String>, HashSet<String>) {
        let node = self.node.lock().unwrap();
        let (_, payload) = &node.updates[&update];
        let index = Index::decode(payload).unwrap();
        let mut references = HashSet::from([reference_of(payload).to_string()]);
        let folders = match index.folders {
            Folders::Here(folders) => folders,
            Folders::Elsewhere { reference, .. } => {
                references.insert(reference.to_string());
                decode_list(&node.bytes[&reference.to_string()]).unwrap()
            }
        };
        let mut names = Vec::new();
        for at in folders {
            let document = &node.bytes[&at.reference.to_string()];
            references.insert(at.reference.to_string());
            let folder = Folder::decode(document).unwrap();
            for (last, file) in folder.files {
                names.push(format!("{}/{last}", folder.path));
                references.insert(file.reference.to_string());
            }
        }
        (sorted(names), references)
    }

    /// Reads by the feed alone, as anybody may.
    fn reader(&self) -> (Arc<Net>, HttpSource) {
        let limits = NetLimits {
            rest: Duration::ZERO,
            renew_after: Duration::ZERO,
            ..NetLimits::default()
        };
        let net = Net::new(limits).unwrap();
        let address = SwarmAddress {
            base: self.url.parse().unwrap(),
            place: SwarmPlace::Feed(self.depot().owner()),
        };
        let source = HttpSource::on_swarm(Arc::clone(&net), &address);
        (net, source)
    }

    /// Every number was used, and each for one update.
    fn assert_no_gap(&self, updates: u64) {
        let node = self.node.lock().unwrap();
        assert!(!node.signed_twice);
        assert!(node.updates.keys().copied().eq(0..updates));
    }
}

fn open(url: &str, node: &Shared, archive: &Archive) -> SwarmDepot {
    let key = std::fs::read_to_string(archive.dir().join("archive.key")).unwrap();
    let key: NodeKey = key.parse().unwrap();
    let settings = DepotSettings::new(archive.dir(), *key.public());
    let depot = SwarmDepot::new(&url.parse().unwrap(), &settings).unwrap();
    node.lock().unwrap().owner = Some(depot.owner());
    depot
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn it_does_what_every_depot_must() {
    let scratch = tempfile::tempdir().unwrap();
    // Each part has a node of its own, as each has a key of its own.
    let nodes = Mutex::new(HashMap::new());
    testing::run(scratch.path(), &|archive, _| {
        let mut nodes = nodes.lock().unwrap();
        let made = nodes.entry(archive.dir().to_owned()).or_insert_with(serve);
        Box::new(open(&made.1, &made.0, archive))
    });
}

/// What a node that does not find its feed, or an old update of it, costs.
fn keeps_all_where_the_feed_is(feed: Feed, hides_documents: bool) {
    let (scene, _, _) = Scene::carried();
    let depot = scene.depot();
    let second = scene.live_on(&depot);
    depot
        .keep_head(&second, depot.newest_head().unwrap().as_ref())
        .unwrap();
    let all = sorted(depot.kept().unwrap());
    drop(depot);

    // Whoever opens it now is told less than was shown.
    scene.node(|node| (node.feed, node.hides_documents) = (feed, hides_documents));
    let depot = scene.depot();
    assert_eq!(sorted(depot.kept().unwrap()), all);
    testing::assert_whole(&depot, &second);
    let third = scene.live_on(&depot);
    let before = depot.newest_head().unwrap();
    depot.keep_head(&third, before.as_ref()).unwrap();
    let with_the_new = sorted(depot.kept().unwrap());
    assert!(all.iter().all(|name| with_the_new.contains(name)));
    assert_eq!(scene.readers_files(), with_the_new);
    scene.assert_no_gap(3);

    scene.node(|node| (node.feed, node.hides_documents) = (Feed::Found, false));
    assert_eq!(scene.depot().newest_head().unwrap(), Some(third.clone()));
    testing::assert_whole(&scene.depot(), &third);
}

#[test]
fn nothing_is_left_out_where_the_feed_is_not_found() {
    keeps_all_where_the_feed_is(Feed::NotFound, false);
    keeps_all_where_the_feed_is(Feed::NotFound, true);
}

#[test]
fn nothing_is_left_out_where_the_feed_shows_an_old_update() {
    keeps_all_where_the_feed_is(Feed::Old, false);
    keeps_all_where_the_feed_is(Feed::Old, true);
}

#[test]
fn a_document_that_no_disk_has_and_the_node_does_not_find_is_away() {
    let (scene, head, all) = Scene::carried();
    std::fs::remove_dir_all(scene.archive.dir().join("swarm")).unwrap();
    scene.node(|node| node.hides_documents = true);
    let depot = scene.depot();
    let error = depot.kept().unwrap_err();
    assert!(error.is_transient(), "{error}");
    let error = depot.keep_head(&head, Some(&head)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    scene.node(|node| node.hides_documents = false);
    assert_eq!(sorted(depot.kept().unwrap()), all);
    scene.assert_no_gap(1);
}

#[test]
fn an_update_that_did_not_arrive_is_sent_again_and_leaves_no_gap() {
    let (scene, first, _) = Scene::carried();
    let depot = scene.depot();
    let second = scene.live_on(&depot);
    scene.node(|node| node.refuses_updates = true);
    let error = depot.keep_head(&second, Some(&first)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(depot.newest_head().unwrap(), Some(first.clone()));
    drop(depot);
    // Ended and begun again before the node takes it.
    let depot = scene.depot();
    let third = scene.live_on(&depot);
    scene.node(|node| node.refuses_updates = false);
    depot.keep_head(&third, Some(&first)).unwrap();
    scene.assert_no_gap(3);
    assert_eq!(scene.readers_files(), sorted(depot.kept().unwrap()));
    testing::assert_whole(&scene.depot(), &third);
}

#[test]
fn a_feed_of_another_key_begins_with_all_that_was_kept() {
    let (scene, head, all) = Scene::carried();
    std::fs::remove_file(scene.archive.dir().join("swarm.key")).unwrap();
    scene.node(|node| node.updates.clear());
    let depot = scene.depot();
    assert_eq!(depot.newest_head().unwrap(), None);
    assert_eq!(sorted(depot.kept().unwrap()), all);
    depot.keep_head(&head, None).unwrap();
    assert_eq!(scene.readers_files(), all);
    scene.assert_no_gap(1);
}

#[test]
fn a_feed_that_is_not_found_is_new_only_where_its_key_was_made_here() {
    let (scene, head, all) = Scene::carried();
    // As on a disk that its key was put back on, and nothing else.
    std::fs::remove_dir_all(scene.archive.dir().join("swarm")).unwrap();
    scene.node(|node| node.feed = Feed::NotFound);
    let depot = scene.depot();
    let errors = [
        depot.kept().unwrap_err(),
        depot.keep_head(&head, None).unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("swarm.key"), "{error}");
    }
    let state = head.body().state.unwrap();
    assert!(!depot.get(&state).unwrap_err().is_missing());
    scene.assert_no_gap(1);
    scene.node(|node| node.feed = Feed::Found);
    assert_eq!(sorted(depot.kept().unwrap()), all);

    // One that was made and has shown nothing is new, however often it is opened.
    let scene = Scene::new();
    testing::live_through(&scene.archive, 1);
    for _ in 0..2 {
        assert_eq!(scene.depot().kept().unwrap(), Vec::<String>::new());
    }
    testing::carry(&scene.depot(), &scene.archive);
    scene.assert_no_gap(1);
}

#[test]
fn a_head_is_not_shown_without_the_days_that_left_this_disk() {
    let (scene, head, all) = Scene::carried();
    let mut days = all.iter().filter(|name| name.starts_with("days/"));
    let (here, elsewhere) = (days.next().unwrap(), days.next().unwrap());
    scene.archive.evict(elsewhere, "folder:/elsewhere").unwrap();
    // The key is lost, and with it all that says where the rest is.
    std::fs::remove_file(scene.archive.dir().join("swarm.key")).unwrap();
    let map = scene.archive.dir().join("swarm");
    let away = scene.archive.dir().join("swarm.away");
    std::fs::rename(&map, &away).unwrap();
    scene.node(|node| node.updates.clear());
    let depot = scene.depot();
    testing::carry(&depot, &scene.archive);
    // A day that went to another store is not looked for here.
    assert_eq!(scene.readers_files().len(), all.len() - 1);

    let store = format!("swarm:{}", scene.url);
    scene.archive.evict(here, &store).unwrap();
    std::fs::remove_dir_all(&map).unwrap();
    std::fs::remove_file(scene.archive.dir().join("swarm.key")).unwrap();
    scene.node(|node| node.updates.clear());
    let depot = scene.depot();
    testing::each_parcel(&scene.archive, |parcel| depot.keep(parcel).unwrap());
    let error = depot.keep_head(&head, None).unwrap_err();
    assert!(matches!(error, DepotError::Refused { .. }), "{error}");
    assert!(error.to_string().contains(here), "{error}");
    scene.assert_no_gap(0);
    // What says it is put back: the update of another key will do.
    drop(depot);
    std::fs::rename(away.join("shown"), map.join("shown")).unwrap();
    for document in std::fs::read_dir(away.join("documents")).unwrap() {
        let document = document.unwrap();
        let to = map.join("documents").join(document.file_name());
        std::fs::create_dir_all(map.join("documents")).unwrap();
        std::fs::rename(document.path(), to).unwrap();
    }
    scene.depot().keep_head(&head, None).unwrap();
    assert_eq!(scene.readers_files(), all);
    testing::assert_whole(&scene.depot(), &head);
}

#[test]
fn what_was_let_go_is_unpinned_after_one_more_head_whatever_comes_between() {
    let (scene, first, all) = Scene::carried();
    let gone = all.iter().find(|name| name.starts_with("deltas/")).unwrap();
    let mut newest = first;
    let mut live_on = |depot: &SwarmDepot| {
        testing::live_through(&scene.archive, 1);
        let kept = depot.kept().unwrap();
        testing::each_parcel(&scene.archive, |parcel| {
            let name = &parcel.file.name;
            if name != gone && !kept.contains(name) {
                depot.keep(parcel).unwrap();
            }
        });
        let head = scene.archive.head().unwrap();
        depot.keep_head(&head, Some(&newest)).unwrap();
        newest = head;
    };
    let pinned = || scene.node.lock().unwrap().pinned.clone();
    let depot = scene.depot();
    live_on(&depot);
    depot.release(gone).unwrap();
    assert!(!depot.kept().unwrap().contains(gone));
    // Whoever reads by the head before has all of it yet.
    assert!(scene.led_to(0).1.is_subset(&pinned()));
    drop(depot);

    scene.node(|node| node.refuses_to_unpin = true);
    live_on(&scene.depot());
    assert!(scene.led_to(0).1.is_subset(&pinned()), "nothing could go");
    // Begun again, it is remembered.
    scene.node(|node| node.refuses_to_unpin = false);
    live_on(&scene.depot());
    let (before, now) = (scene.led_to(2).1, scene.led_to(3).1);
    let led_to: HashSet<_> = before.union(&now).cloned().collect();
    assert_eq!(pinned(), led_to);
    assert!(!led_to.is_superset(&scene.led_to(0).1), "nothing went");
}

#[test]
fn a_file_that_goes_while_it_is_carried_is_nobodys_fault() {
    let scene = Scene::new();
    testing::live_through(&scene.archive, 1);
    let depot = scene.depot();
    let car = &scene.archive.dir().join("gone.car");
    testing::each_parcel(&scene.archive, |parcel| {
        let parcel = parcel.clone();
        let error = depot.keep(&Parcel { car, ..parcel }).unwrap_err();
        let is_gone = matches!(&error, DepotError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::NotFound);
        assert!(is_gone, "{error}");
    });
}

#[test]
fn more_folders_than_an_index_names_are_read_by_a_list_of_their_own() {
    let scene = Scene::new();
    for year in 0..YEARS {
        // Well within the year, for years are not equally long.
        let from = year * YEAR + 30 * 86_400;
        testing::take_in(&scene.archive, year.into(), 2, from, from + 3_600);
    }
    let head = testing::seal(&scene.archive, (YEARS + 1) * YEAR);
    testing::carry(&scene.depot(), &scene.archive);
    let all = sorted(scene.depot().kept().unwrap());
    let is_elsewhere = |node: &Node| {
        let index = Index::decode(&node.updates[&0].1).unwrap();
        matches!(index.folders, Folders::Elsewhere { .. })
    };
    assert!(is_elsewhere(&scene.node.lock().unwrap()));
    assert_eq!(scene.readers_files(), all);
    let (net, reader) = scene.reader();
    let state = head.body().state.unwrap();
    let fetched = net.handle().block_on(reader.fetch(&state));
    assert_eq!(fetched.unwrap().cid(), &state);
    std::fs::remove_dir_all(scene.archive.dir().join("swarm")).unwrap();
    let depot = scene.depot();
    assert_eq!(sorted(depot.kept().unwrap()), all);
    testing::assert_whole(&depot, &head);
}

#[test]
fn what_is_not_pinned_now_is_not_kept_and_not_forgotten() {
    let (scene, head, all) = Scene::carried();
    let depot = scene.depot();
    scene.node(|node| node.hides_pins = true);
    assert_eq!(depot.kept().unwrap(), Vec::<String>::new());
    // The blocks are read all the same, from wherever the node has them.
    testing::assert_whole(&depot, &head);
    // Readers of the next head are led to all of it too.
    let third = {
        testing::live_through(&scene.archive, 1);
        scene.archive.head().unwrap()
    };
    depot.keep_head(&third, Some(&head)).unwrap();
    assert_eq!(scene.readers_files(), all);
    scene.node(|node| node.hides_pins = false);
    assert_eq!(sorted(depot.kept().unwrap()), all);
}

#[test]
fn what_is_not_pinned_is_pinned_again_where_the_network_has_it() {
    let (scene, _, all) = Scene::carried();
    scene.node(|node| node.pinned.clear());
    let depot = scene.depot();
    // Some at each look.
    let mut kept = Vec::new();
    for _ in 0..all.len() {
        kept = sorted(depot.kept().unwrap());
    }
    assert_eq!(kept, all);
}

#[test]
fn a_head_is_not_shown_before_it_is_known_what_a_node_has_lost() {
    let (scene, head, all) = Scene::carried();
    scene.node(|node| {
        node.pinned.clear();
        node.bytes.clear();
    });
    let depot = scene.depot();
    let error = depot.keep_head(&head, Some(&head)).unwrap_err();
    assert!(matches!(error, DepotError::Lost { .. }), "{error}");
    assert_eq!(depot.kept().unwrap(), Vec::<String>::new());
    testing::carry(&depot, &scene.archive);
    assert_eq!(sorted(depot.kept().unwrap()), all);
    testing::assert_whole(&depot, &head);
}

#[test]
fn a_panic_while_blocks_are_fetched_is_no_end_like_another() {
    let runtime = Runtime::new().unwrap();
    let block = Block::new(Codec::Raw, b"one".as_slice());
    let fetch = |dies: bool| {
        let block = block.clone();
        async move {
            assert!(!dies, "a bug");
            Ok(block)
        }
    };
    let take = |dies: [bool; 2]| {
        let mut taken = 0;
        let futures = dies.map(fetch).into_iter();
        let ended = take_each(runtime.handle(), futures, &mut |_| {
            taken += 1;
            ControlFlow::Continue(())
        });
        (ended.unwrap(), taken)
    };
    assert_eq!(take([false, false]), (Ended::Well, 2));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take([false, true])));
    assert!(caught.is_err());
}

#[test]
fn a_reader_takes_a_document_that_is_not_found_for_a_failure_and_not_for_an_end() {
    let (scene, head, _) = Scene::carried();
    let (net, reader) = scene.reader();
    let state = head.body().state.unwrap();
    let fetch = || net.handle().block_on(reader.fetch(&state));
    scene.node(|node| node.hides_documents = true);
    // Named by what was signed, it is somewhere.
    assert!(matches!(fetch(), Err(Fault::Failed(_))));
    scene.node(|node| node.hides_documents = false);
    assert_eq!(fetch().unwrap().cid(), &state);
    // What all documents know nothing of is nowhere.
    let absent = Block::new(Codec::Raw, b"never kept".as_slice());
    let asked = net.handle().block_on(reader.fetch(absent.cid()));
    assert_eq!(asked.unwrap_err(), Fault::Absent);
}
