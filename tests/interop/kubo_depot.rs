//! Kubo as the store of an archive: what is kept, what goes, and what happens where a
//! node is full, slow to forget or has lost something.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use gwa::archive::disk::Archive;
use gwa::blocks::{BlockSource, BlockStore, Cid, Group};
use gwa::depot::{Depot, DepotError, KuboDepot, testing};
use gwa::time::{DAY, UnixSeconds};
use serde_json::json;

use crate::kubo::Kubo;
use crate::kubo_client::client;

/// The depot of the archive `tag` at a node.
pub fn depot(kubo: &Kubo, tag: &str) -> KuboDepot {
    KuboDepot::with(client(kubo), tag.to_owned()).unwrap()
}

/// Names of the pins of a node, with what they are on.
pub fn pins(kubo: &Kubo) -> Vec<(String, String)> {
    let listed = |kind: &str| kubo.ipfs(&["pin", "ls", &format!("--type={kind}"), "--names"]);
    let listed = [listed("recursive"), listed("direct")];
    let mut pins: Vec<_> = listed
        .iter()
        .flat_map(|listed| listed.lines())
        .map(|line| {
            let mut words = line.split_whitespace();
            let cid = words.next().unwrap().to_owned();
            (words.nth(1).unwrap_or_default().to_owned(), cid)
        })
        .collect();
    pins.sort();
    pins
}

fn archive(dir: &Path) -> Archive {
    let archive = Archive::init(dir, "").unwrap();
    testing::live_through(&archive, 2);
    archive
}

#[test]
fn it_does_what_every_depot_must() {
    let kubo = Kubo::start();
    let scratch = tempfile::tempdir().unwrap();
    testing::run(scratch.path(), &|_, dir| {
        let name = dir.file_name().unwrap().to_str().unwrap();
        Box::new(depot(&kubo, name))
    });
    // What was kept is still whole by the node's own judgement.
    let verified = kubo.ipfs(&["pin", "verify", "--verbose"]);
    assert!(!verified.contains("broken"), "{verified}");
    kubo.ipfs(&["repo", "gc"]);
}

#[test]
fn a_head_can_be_walked_pinned_and_exported_with_the_nodes_own_tools() {
    let kubo = Kubo::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = archive(&scratch.path().join("a"));
    testing::carry(&depot(&kubo, "a"), &archive);
    let head = archive.head().unwrap();
    let cid = head.cid().to_string();
    let named = |name: &str| pins(&kubo).into_iter().find(|(of, _)| of == name);
    assert_eq!(named("gwa/a/head").unwrap().1, cid);
    let state = head.body().state.unwrap().to_string();
    assert_eq!(named("gwa/a/state").unwrap().1, state);
    for file in archive.blocks().folder().files().unwrap() {
        let (_, holding) = named(&format!("gwa/a/{}", file.name)).unwrap();
        let shown = kubo.ipfs(&["dag", "get", &format!("/ipfs/{holding}/what")]);
        assert_eq!(shown, format!("\"{}\"", file.name));
    }
    let day = kubo.ipfs(&["dag", "get", &format!("/ipfs/{cid}/state/2018/09/15")]);
    assert!(day.contains('{'), "{day}");

    // A user's own pin is his, whatever becomes of ours.
    kubo.ipfs(&["pin", "add", "--name=mine", &cid]);
    testing::live_through(&archive, 1);
    testing::carry(&depot(&kubo, "a"), &archive);
    assert_eq!(named("mine").unwrap().1, cid);
    assert_eq!(
        named("gwa/a/head").unwrap().1,
        archive.head().unwrap().cid().to_string()
    );
}

#[test]
fn two_archives_with_the_same_days_share_a_node_and_do_not_disturb_each_other() {
    let kubo = Kubo::start();
    let scratch = tempfile::tempdir().unwrap();
    let (a, b) = (
        archive(&scratch.path().join("a")),
        archive(&scratch.path().join("b")),
    );
    testing::carry(&depot(&kubo, "a"), &a);
    testing::carry(&depot(&kubo, "b"), &b);
    for name in depot(&kubo, "a").kept().unwrap() {
        depot(&kubo, "a").release(&name).unwrap();
    }
    kubo.ipfs(&["repo", "gc"]);
    assert_eq!(depot(&kubo, "a").kept().unwrap(), Vec::<String>::new());
    testing::assert_whole(&depot(&kubo, "b"), &b.head().unwrap());
}

#[test]
fn garbage_that_is_collected_all_the_while_takes_nothing_that_is_kept() {
    let kubo = Kubo::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = Archive::init(&scratch.path().join("a"), "").unwrap();
    let depot = depot(&kubo, "a");
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                kubo.ipfs(&["repo", "gc", "--quiet"]);
            }
        });
        let carried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..4 {
                testing::live_through(&archive, 1);
                testing::carry(&depot, &archive);
                testing::assert_whole(&depot, &archive.head().unwrap());
            }
        }));
        over.store(true, Ordering::Relaxed);
        carried.unwrap();
    });
    kubo.ipfs(&["repo", "gc"]);
    testing::assert_whole(&depot, &archive.head().unwrap());
}

#[test]
fn what_was_released_is_gone_with_the_next_garbage() {
    let kubo = Kubo::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = archive(&scratch.path().join("a"));
    let depot = depot(&kubo, "a");
    testing::carry(&depot, &archive);
    let folder = archive.blocks().folder();
    let days = folder.files().unwrap().into_iter();
    let first = days
        .filter(|file| matches!(file.group, Group::Day(_)))
        .min_by_key(|file| file.group)
        .unwrap();
    let cids = folder.cids(&first.name).unwrap();
    kubo.ipfs(&["repo", "gc"]);
    assert!(cids.iter().all(|cid| depot.has(cid).unwrap()));

    archive
        .drop_before(UnixSeconds(testing::FROM + DAY))
        .unwrap();
    depot.release(&first.name).unwrap();
    kubo.ipfs(&["repo", "gc"]);
    assert!(!cids.iter().any(|cid| depot.has(cid).unwrap()));
    // The heads to come are held all the same, and the collector still works.
    for _ in 0..2 {
        testing::live_through(&archive, 1);
        testing::carry(&depot, &archive);
        kubo.ipfs(&["repo", "gc"]);
    }
    let head = archive.head().unwrap();
    assert_eq!(depot.newest_head().unwrap(), Some(head.clone()));
    let pinned = kubo.ipfs(&["pin", "ls", "--type=direct", "--names"]);
    assert!(
        pinned.contains(&head.cid().to_string()) && pinned.contains("gwa/a/head"),
        "{pinned}"
    );
}

/// Where a node of the usual kind keeps a block.
pub fn block_file(kubo: &Kubo, cid: &Cid) -> PathBuf {
    let name = multibase::Base::Base32Upper.encode(cid.hash().to_bytes());
    let shard = &name[name.len() - 3..name.len() - 1];
    let path = kubo.repo().join("blocks").join(shard);
    path.join(format!("{name}.data"))
}

#[test]
fn what_a_node_has_lost_is_noticed_and_can_be_carried_again() {
    let mut kubo = Kubo::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = archive(&scratch.path().join("a"));
    let folder = archive.blocks().folder();
    let depot = depot(&kubo, "a");
    testing::each_parcel(&archive, |parcel| depot.keep(parcel).unwrap());
    let head = archive.head().unwrap();
    let files = folder.files().unwrap();
    let day = files
        .iter()
        .find(|file| matches!(file.group, Group::Day(_)));
    let name = &day.unwrap().name;
    let lost = *folder.cids(name).unwrap().last().unwrap();
    std::fs::remove_file(block_file(&kubo, &lost)).unwrap();
    // What it remembers of its disk is forgotten.
    kubo.kill();
    kubo.restart();
    let error = depot.keep_head(&head, None).unwrap_err();
    assert!(matches!(error, DepotError::Lost { .. }), "{error}");
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!(depot.newest_head().unwrap(), None);
    assert!(!depot.kept().unwrap().contains(name));
    testing::carry(&depot, &archive);
    testing::assert_whole(&depot, &head);
}

#[test]
fn bytes_that_a_node_keeps_wrongly_are_never_given_and_keep_nobody_from_others() {
    let mut kubo = Kubo::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = archive(&scratch.path().join("a"));
    let depot = depot(&kubo, "a");
    testing::carry(&depot, &archive);
    let head = archive.head().unwrap();
    let state = head.body().state.unwrap();
    std::fs::write(block_file(&kubo, &state), "forged").unwrap();
    kubo.kill();
    kubo.restart();
    let error = depot.get(&state).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    depot.get(head.cid()).unwrap();
}

#[test]
fn a_full_node_says_so_and_takes_the_rest_once_there_is_room() {
    let mut kubo = Kubo::start_with(|config| config["Datastore"]["StorageMax"] = json!("100KB"));
    let scratch = tempfile::tempdir().unwrap();
    let archive = archive(&scratch.path().join("a"));
    testing::take_in(&archive, 9, 1_000, testing::FROM, testing::FROM + DAY);
    testing::live_through(&archive, 1);
    let depot = depot(&kubo, "a");
    let mut full = 0;
    testing::each_parcel(&archive, |parcel| match depot.keep(parcel) {
        Ok(()) => {}
        Err(error) => {
            assert!(matches!(error, DepotError::Full { .. }), "{error}");
            assert!(error.is_transient() && error.to_string().contains("StorageMax"));
            full += 1;
        }
    });
    assert!(full > 0);
    kubo.configure(|config| config["Datastore"]["StorageMax"] = json!("1GB"));
    kubo.kill();
    assert!(depot.kept().unwrap_err().is_transient());
    kubo.restart();
    testing::carry(&depot, &archive);
    testing::assert_whole(&depot, &archive.head().unwrap());
}
