//! An archive on Swarm, behind a real Bee node: kept there, read back when whoever
//! kept it is gone, and not to be read otherwise than it was kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gwa::archive::disk::Archive;
use gwa::blocks::BlockSource;
use gwa::config::Password;
use gwa::depot::{Depot, DepotError, DepotSettings, SwarmDepot, testing};
use gwa::rlpx::NodeKey;
use serde_json::Value;

use crate::bee::{Bee, Gateway, Lie};
use crate::running::Running;

/// Exit code where something cannot be had.
const FAILED: i32 = 1;

/// Exit code where something is not what it should be.
const REFUSED: i32 = 20;

fn settings(archive: &Archive) -> DepotSettings {
    let key = std::fs::read_to_string(archive.dir().join("archive.key")).unwrap();
    let key: NodeKey = key.parse().unwrap();
    DepotSettings::new(archive.dir(), *key.public())
}

fn depot(bee: &str, archive: &Archive) -> SwarmDepot {
    let url = format!("{bee}/").parse().unwrap();
    SwarmDepot::new(&url, &settings(archive)).unwrap()
}

/// A folder for an archive, and one for what is nobody's.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, name: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gwa"))
            .arg("--data")
            .arg(self.data(name))
            .args(args)
            .env("XDG_CACHE_HOME", self.data(name).with_extension("cache"))
            .output()
            .unwrap()
    }

    /// Runs `gwa` to its end; gives what it printed.
    fn gwa(&self, name: &str, args: &[&str]) -> String {
        let output = self.run(name, args);
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gwa {args:?}: {out}\n{err}");
        out.trim().to_owned()
    }

    /// Runs `gwa`, which refuses what it is shown; gives what it says of it.
    fn refused(&self, name: &str, args: &[&str]) -> String {
        let output = self.run(name, args);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(REFUSED), "gwa {args:?}: {err}");
        err
    }
}

fn corpus() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("fixtures/corpus/envelopes.rlps");
    path.display().to_string()
}

/// What an archive amounts to, whoever has it.
fn amounts(stats: &str) -> (Value, Value, Value, Value) {
    let stats: Value = serde_json::from_str(stats.lines().next().unwrap()).unwrap();
    let of = |name: &str| stats[name].clone();
    (of("head"), of("state"), of("count"), of("bytes"))
}

#[test]
fn a_bee_node_does_what_every_depot_must() {
    let bee = Bee::start();
    let scratch = tempfile::tempdir().unwrap();
    testing::run(scratch.path(), &|archive, _| {
        Box::new(depot(&bee.url(), archive))
    });
}

#[test]
fn the_history_outlives_whoever_kept_it() {
    let bee = Bee::start();
    let house = House::new();
    house.gwa("mine", &["init"]);
    house.gwa("mine", &["import", &corpus()]);
    house.gwa("mine", &["seal", "--until", &crate::unix_now().to_string()]);
    let archive = Archive::open(&house.data("mine")).unwrap();
    let kept = depot(&bee.url(), &archive);
    testing::carry(&kept, &archive);
    let place = kept.name().to_owned();
    assert_eq!(place, format!("swarm:{}#{}", bee.url(), kept.owner()));
    drop((kept, archive));
    let before = amounts(&house.gwa("mine", &["stats", "--json"]));
    let everything = house.gwa("mine", &["query", "--json"]);
    std::fs::remove_dir_all(house.data("mine")).unwrap();

    // Its feed is a REF, for a query and for a copy.
    assert_eq!(
        amounts(&house.gwa("nobody", &["stats", &place, "--json"])),
        before
    );
    assert_eq!(
        house.gwa("nobody", &["query", &place, "--json"]),
        everything
    );
    house.gwa("copy", &["mirror", &place]);
    assert_eq!(amounts(&house.gwa("copy", &["stats", "--json"])), before);
    assert_eq!(house.gwa("copy", &["query", "--json"]), everything);
    house.gwa("copy", &["verify"]);

    // And it is a source of blocks for a head that is known otherwise.
    let head = before.0.as_str().unwrap();
    house.gwa("other", &["mirror", head, "--from", &place]);
    assert_eq!(amounts(&house.gwa("other", &["stats", "--json"])), before);
}

#[test]
fn a_daemon_keeps_its_archive_there_and_its_days_leave_this_disk() {
    let bee = Bee::start();
    let house = House::new();
    house.gwa("mine", &["init"]);
    house.gwa("mine", &["import", &corpus()]);
    house.gwa("mine", &["seal", "--until", &crate::unix_now().to_string()]);
    let everything = house.gwa("mine", &["query", "--json"]);
    let mut daemon = Running::start(
        Command::new(env!("CARGO_BIN_EXE_gwa"))
            .arg("--data")
            .arg(house.data("mine"))
            .args(["-v", "serve", "--listen", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0", "--store-keep", "1K"])
            .args(["--store", &format!("swarm:{}", bee.url())]),
    );
    daemon.wait_for("days left this disk");
    let days = house.data("mine").join("blocks/days");
    let years = std::fs::read_dir(days).unwrap();
    let cars = |year: PathBuf| {
        let files = std::fs::read_dir(year).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "car"))
    };
    let left: usize = years.map(|year| cars(year.unwrap().path()).count()).sum();
    assert_eq!(left, 0, "days on this disk");
    assert_eq!(house.gwa("mine", &["query", "--json"]), everything);
    let feed = daemon.seen().iter().find_map(|line| {
        let feed = line.split("feed=\"").nth(1)?;
        feed.split('"').next().map(str::to_owned)
    });
    // Killed, not ended.
    drop(daemon);
    std::fs::remove_dir_all(house.data("mine")).unwrap();
    let feed = feed.unwrap();
    assert_eq!(house.gwa("nobody", &["query", &feed, "--json"]), everything);
}

#[test]
fn a_node_that_lost_everything_is_given_it_again() {
    let mut bee = Bee::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = Archive::init(scratch.path(), "").unwrap();
    testing::live_through(&archive, 2);
    let kept = depot(&bee.url(), &archive);
    testing::carry(&kept, &archive);
    let first = archive.head().unwrap();

    bee.kill();
    let state = first.body().state.unwrap();
    let away = |error: DepotError| assert!(error.is_transient(), "{error}");
    away(kept.kept().unwrap_err());
    away(kept.newest_head().unwrap_err());
    away(kept.keep_head(&first, Some(&first)).unwrap_err());
    testing::each_parcel(&archive, |parcel| {
        // What is known to be kept is asked for, what is not is sent.
        away(kept.keep(parcel).unwrap_err());
    });
    let error = kept.get(&state).unwrap_err();
    assert!(!error.is_missing() && !error.is_corrupt(), "{error}");

    // It comes back empty, and with other stamps.
    bee.restart();
    let lost = kept.keep_head(&first, Some(&first)).unwrap_err();
    assert!(matches!(lost, DepotError::Lost { .. }), "{lost}");
    assert_eq!(kept.kept().unwrap(), Vec::<String>::new());
    assert_eq!(kept.newest_head().unwrap(), None);
    testing::carry(&kept, &archive);
    testing::assert_whole(&kept, &first);

    // Whoever opens it anew after the same goes on as well.
    bee.kill();
    bee.restart();
    testing::live_through(&archive, 1);
    let anew = depot(&bee.url(), &archive);
    assert_eq!(anew.kept().unwrap(), Vec::<String>::new());
    testing::carry(&anew, &archive);
    testing::assert_whole(&depot(&bee.url(), &archive), &archive.head().unwrap());
}

#[test]
fn an_upload_that_was_cut_off_is_begun_again_and_what_was_kept_is_not() {
    let bee = Bee::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = Archive::init(scratch.path(), "").unwrap();
    testing::live_through(&archive, 2);
    let mut kept = Vec::new();
    // Dropped before any head was shown, as by a kill.
    let first = depot(&bee.url(), &archive);
    testing::each_parcel(&archive, |parcel| {
        if kept.len() < 3 {
            first.keep(parcel).unwrap();
            kept.push(parcel.file.name.clone());
        }
    });
    drop(first);
    let second = depot(&bee.url(), &archive);
    let mut again = second.kept().unwrap();
    again.sort();
    kept.sort();
    assert_eq!(again, kept);
    testing::carry(&second, &archive);
    testing::assert_whole(&second, &archive.head().unwrap());
    // Without the notes too, for the feed shows all by now.
    std::fs::remove_dir_all(scratch.path().join("swarm")).unwrap();
    let third = depot(&bee.url(), &archive);
    testing::assert_whole(&third, &archive.head().unwrap());
    let files = third.kept().unwrap().len();
    // One pin a file, one for each folder's document, one for the index.
    let folders = bee.pins() - files - 1;
    assert!((3..=5).contains(&folders), "{folders} documents of folders");
}

#[test]
fn the_batch_that_was_named_pays_and_none_is_guessed_among_several() {
    let bee = Bee::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = Archive::init(scratch.path(), "").unwrap();
    testing::live_through(&archive, 1);
    let other = bee.buy();
    let with = |batch: Option<&str>| {
        let settings = DepotSettings {
            auth: batch.map(|batch| batch.parse::<Password>().unwrap()),
            ..settings(&archive)
        };
        SwarmDepot::new(&format!("{}/", bee.url()).parse().unwrap(), &settings)
    };
    let refused = |depot: SwarmDepot, why: &str| {
        testing::each_parcel(&archive, |parcel| {
            let error = depot.keep(parcel).unwrap_err();
            assert!(matches!(&error, DepotError::Refused { .. }), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        });
    };
    refused(with(None).unwrap(), "several batches");
    refused(
        with(Some(&"ab".repeat(32))).unwrap(),
        "batch with id not found",
    );
    assert!(with(Some("nonsense")).is_err());
    testing::carry(&with(Some(&other)).unwrap(), &archive);
}

#[test]
fn a_gateway_that_lies_is_found_out() {
    let bee = Bee::start();
    let house = House::new();
    let archive = Archive::init(&house.data("mine"), "").unwrap();
    testing::live_through(&archive, 2);
    let kept = depot(&bee.url(), &archive);
    testing::carry(&kept, &archive);
    let gateway = Gateway::before(bee.url());
    let place = format!("swarm:{}#{}", gateway.url(), kept.owner());
    let honest = house.gwa("reader", &["query", &place, "--json"]);
    assert!(!honest.is_empty());

    gateway.lie(Lie::InFeeds);
    let said = house.refused("feeds", &["query", &place, "--json"]);
    assert!(said.contains("not signed by its owner"), "{said}");
    gateway.lie(Lie::InParts);
    let said = house.refused("parts", &["query", &place, "--json"]);
    assert!(said.contains("lied"), "{said}");
    // Documents are hints: whoever changes them withholds.
    gateway.lie(Lie::InDocuments);
    let output = house.run("documents", &["query", &place, "--json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(FAILED), "{said}");
    assert!(said.contains("bytes that were asked for as"), "{said}");
    assert!(output.stdout.is_empty());

    // An older update is rightly signed, and still is not taken for the newest.
    gateway.lie(Lie::None);
    let before = house.gwa("reader", &["query", &place, "--json"]);
    testing::live_through(&archive, 1);
    testing::carry(&kept, &archive);
    let after = house.gwa("reader", &["query", &place, "--json"]);
    assert!(after.len() > before.len());
    gateway.lie(Lie::OldFeeds);
    let said = house.refused("reader", &["query", &place, "--json"]);
    assert!(said.contains("rewritten, or is behind"), "{said}");
    let accepted = ["query", &place, "--json", "--accept-rewrite"];
    assert_eq!(house.gwa("reader", &accepted), before);
}
