//! What a node has lost, and what others do to it: heads go on, nothing else is lost by
//! it, and the store gets well by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gwa::archive::disk::{Archive, Stop};
use gwa::blocks::{Block, BlockSource, BlockStore, Cid, Group};
use gwa::depot::kubo::holding::Holding;
use gwa::depot::{Carried, Carrier, CarryError, Depot, Keep, KuboDepot, testing};
use gwa::kubo::{Kubo as Client, KuboLimits};
use gwa::progress::Quiet;
use gwa::time::{DAY, HOUR, UnixSeconds};
use serde_json::json;

use crate::kubo::Kubo;
use crate::kubo_depot::{block_file, depot, pins};

/// An archive whose store is a node.
struct House {
    kubo: Kubo,
    archive: Arc<Archive>,
    depot: Arc<KuboDepot>,
    carrier: Carrier,
    _scratch: tempfile::TempDir,
}

impl House {
    fn new(keep: Keep) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let kubo = Kubo::start();
        let archive = Arc::new(Archive::init(&scratch.path().join("a"), "").unwrap());
        testing::live_through(&archive, 2);
        let depot = Arc::new(depot(&kubo, "a"));
        let source: Arc<dyn Depot> = depot.clone();
        archive.blocks().set_depot("kubo:a", Arc::new(source));
        let carrier = Carrier::new(Arc::clone(&archive), depot.clone(), "kubo:a", keep);
        let house = Self {
            kubo,
            archive,
            depot,
            carrier,
            _scratch: scratch,
        };
        house.carry().unwrap();
        house
    }

    fn carry(&self) -> Result<Carried, CarryError> {
        let now = UnixSeconds(testing::FROM + 90 * DAY);
        self.carrier.round(&Stop::default(), now, &Quiet)
    }

    /// A pin by its name.
    fn pin(&self, name: &str) -> Option<Cid> {
        let found = pins(&self.kubo).into_iter().find(|(of, _)| of == name);
        found.map(|(_, cid)| cid.parse().unwrap())
    }

    /// Takes a block from the node's disk, behind its back.
    fn lose(&mut self, cid: &Cid) {
        std::fs::remove_file(block_file(&self.kubo, cid)).unwrap();
        // What it remembers of its disk is forgotten.
        self.kubo.kill();
        self.kubo.restart();
    }

    fn head_and_state(&self) -> (Cid, Cid) {
        let head = self.archive.head().unwrap();
        (*head.cid(), head.body().state.unwrap())
    }

    /// The node has the newest head, shows it, and holds every head before it, also after
    /// it collected its garbage.
    fn assert_heads(&self) {
        let (head, state) = self.head_and_state();
        assert_eq!(self.pin("gwa/a/head"), Some(head));
        assert_eq!(self.pin("gwa/a/state"), Some(state));
        self.kubo.ipfs(&["repo", "gc"]);
        assert_eq!(self.depot.newest_head().unwrap().unwrap().cid(), &head);
        for head in self.archive.blocks().heads().lineage().unwrap() {
            assert!(self.depot.has(head.unwrap().cid()).unwrap());
        }
    }
}

/// The file of the first day of an archive, its blocks and the last of them.
fn first_day(archive: &Archive) -> (String, Vec<Cid>, Block) {
    let folder = archive.blocks().folder();
    let days = folder.files().unwrap().into_iter();
    let days = days.filter(|file| matches!(file.group, Group::Day(_)));
    let name = days.min_by_key(|file| file.group).unwrap().name;
    let cids = folder.cids(&name).unwrap();
    let last = folder.get(cids.last().unwrap()).unwrap();
    (name, cids, last)
}

#[test]
fn a_head_goes_on_over_the_end_of_an_hour_without_a_look_at_days_of_old() {
    let mut house = House::new(Keep::Everything);
    let (name, _, leaf) = first_day(&house.archive);
    house.lose(leaf.cid());
    // Hours close one by one, and open deltas go with them.
    let from = house.archive.watermark().at().0;
    for n in 1..6 {
        let until = from + n * 1_200;
        testing::take_in(&house.archive, u64::from(n), 20, until - 1_200, until);
        testing::seal(&house.archive, until);
        assert!(house.carry().unwrap().head);
    }
    let (head, state) = house.head_and_state();
    assert_eq!(house.pin("gwa/a/head"), Some(head));
    assert_eq!(house.pin("gwa/a/state"), Some(state));
    assert!(house.pin(&format!("gwa/a/{name}")).is_some());
    assert!(!house.depot.has(leaf.cid()).unwrap());
}

#[test]
fn a_day_that_is_nowhere_else_keeps_what_is_left_of_it_and_holds_up_no_head() {
    let mut house = House::new(Keep::Bytes(0));
    let (name, cids, leaf) = {
        let scratch = tempfile::tempdir().unwrap();
        let same = Archive::init(&scratch.path().join("same"), "").unwrap();
        testing::live_through(&same, 2);
        first_day(&same)
    };
    let evicted = house.archive.blocks().evicted();
    assert!(evicted.iter().any(|file| file.name == name));
    house.lose(leaf.cid());
    // Whoever goes through all of it finds out.
    let (_, state) = house.head_and_state();
    house.kubo.ipfs(&["pin", "rm", &state.to_string()]);
    testing::live_through(&house.archive, 1);
    let error = house.carry().unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains(&name),
        "{error}"
    );
    let carried = house.carry().unwrap();
    assert!(carried.head && carried.lost == 1);
    assert!(house.pin(&format!("gwa/a/{name}")).is_some());
    house.kubo.ipfs(&["repo", "gc"]);
    for cid in &cids {
        assert_eq!(house.depot.has(cid).unwrap(), cid != leaf.cid(), "{cid}");
    }
    // Whoever has the block brings it back, and nothing is lost any more.
    let path = house.kubo.repo().join("leaf");
    std::fs::write(&path, leaf.bytes()).unwrap();
    let put = [
        "block",
        "put",
        "--cid-codec=dag-cbor",
        path.to_str().unwrap(),
    ];
    let put = house.kubo.ipfs(&put).parse::<Cid>().unwrap();
    assert_eq!(put.hash(), leaf.cid().hash());
    assert_eq!(house.carry().unwrap().lost, 0);
    testing::assert_whole(&*house.depot, &house.archive.head().unwrap());
}

#[test]
fn heads_that_cannot_be_read_any_more_are_passed_over_and_brought_again() {
    let mut house = House::new(Keep::Everything);
    for part in ["holding", "head", "list"] {
        let pin = house.pin("gwa/a/heads").unwrap();
        let holding = house.depot.get(&pin).unwrap();
        let holding = Holding::read(&holding, "a").unwrap();
        let lost = match part {
            "holding" => pin,
            "head" => holding.root,
            _ => holding.lists[0],
        };
        house.lose(&lost);
        testing::live_through(&house.archive, 1);
        house.carry().unwrap();
        // What only the second round hears of.
        house.carry().unwrap();
        assert_ne!(house.pin("gwa/a/heads"), Some(pin), "{part}");
        house.assert_heads();
    }
    testing::assert_whole(&*house.depot, &house.archive.head().unwrap());
}

#[test]
fn a_day_that_was_written_again_takes_no_pin_from_the_state() {
    let house = House::new(Keep::Everything);
    testing::take_in(
        &house.archive,
        77,
        9,
        testing::FROM + HOUR,
        testing::FROM + DAY,
    );
    testing::live_through(&house.archive, 1);
    house.carry().unwrap();
    house.archive.sweep(UnixSeconds::MAX).unwrap();
    assert!(house.carry().unwrap().released > 0);
    house.assert_heads();
}

#[test]
fn a_pin_of_a_user_on_the_head_alone_is_his() {
    let house = House::new(Keep::Everything);
    let (head, _) = house.head_and_state();
    house.kubo.ipfs(&[
        "pin",
        "add",
        "--recursive=false",
        "--name=mine",
        &head.to_string(),
    ]);
    house.carry().unwrap();
    testing::live_through(&house.archive, 1);
    house.carry().unwrap();
    assert_eq!(house.pin("mine"), Some(head));
    house.assert_heads();
    // He was first.
    let before = house.depot.newest_head().unwrap();
    testing::live_through(&house.archive, 1);
    testing::each_parcel(&house.archive, |parcel| house.depot.keep(parcel).unwrap());
    let head = house.archive.head().unwrap();
    let file = house.kubo.repo().join("head");
    std::fs::write(&file, head.block().bytes()).unwrap();
    let put = [
        "block",
        "put",
        "--cid-codec=dag-cbor",
        file.to_str().unwrap(),
    ];
    let cid = house.kubo.ipfs(&put);
    house
        .kubo
        .ipfs(&["pin", "add", "--recursive=false", "--name=first", &cid]);
    house.depot.keep_head(&head, before.as_ref()).unwrap();
    assert_eq!(house.pin("first"), Some(*head.cid()));
    assert_eq!(house.pin("gwa/a/head"), None);
}

#[test]
fn keeping_what_is_kept_asks_for_no_room_and_lets_nothing_go() {
    let mut house = House::new(Keep::Everything);
    house
        .kubo
        .configure(|config| config["Datastore"]["StorageMax"] = json!("1KB"));
    house.kubo.kill();
    house.kubo.restart();
    let before = pins(&house.kubo);
    testing::each_parcel(&house.archive, |parcel| house.depot.keep(parcel).unwrap());
    assert_eq!(pins(&house.kubo), before);
}

fn archive(dir: &Path) -> Archive {
    let archive = Archive::init(dir, "").unwrap();
    testing::live_through(&archive, 1);
    archive
}

#[test]
fn a_node_that_shows_nobody_how_full_it_is_is_a_store_all_the_same() {
    let allowed = ["/api/v0/dag", "/api/v0/pin", "/api/v0/block"];
    let kubo = Kubo::start_with(|config| {
        config["API"]["Authorizations"] = json!({
            "gwa": {"AuthSecret": "bearer:token", "AllowedPaths": allowed},
        });
    });
    let auth = "bearer:token".parse().unwrap();
    let client = Client::new(
        kubo.api().parse().unwrap(),
        Some(auth),
        KuboLimits::default(),
    );
    let depot = KuboDepot::with(client.unwrap(), "a".to_owned()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let dir: PathBuf = scratch.path().join("a");
    let archive = archive(&dir);
    testing::carry(&depot, &archive);
    testing::assert_whole(&depot, &archive.head().unwrap());
}
