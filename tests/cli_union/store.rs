//! `gwa store`, `gwa serve --store`, and what reads an archive whose days are away.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gwa::time::{DAY, UnixSeconds};
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use crate::house::{Ended, House, envelope, forbidding, hashes};

const FROM: u32 = 1_538_265_600;

/// Three days of envelopes.
fn traffic() -> Vec<Envelope> {
    let at = |n: u32| UnixSeconds(FROM + n * DAY / 20);
    (0..60).map(|n| envelope(Topic([1; 4]), at(n), n)).collect()
}

/// An archive of them, sealed, and an empty folder for its store.
fn archive_and_store(house: &House) -> String {
    house.archive("data", &traffic());
    house.run("data", &["seal"]).expect(0);
    std::fs::create_dir(house.path("store")).expect("a folder");
    format!("folder:{}", house.path("store"))
}

fn carry(house: &House, store: &str, keep: &str) -> Ended {
    let args = ["--json", "store", "carry", "--store", store];
    house.run("data", &[&args[..], &["--store-keep", keep]].concat())
}

fn stored_days(house: &House, at: &str) -> usize {
    let years = std::fs::read_dir(house.path(at)).expect("a folder");
    let days = years.flat_map(|year| std::fs::read_dir(year.expect("a year").path()).expect("it"));
    days.filter(|day| {
        let path = day.as_ref().expect("a file").path();
        path.extension().is_some_and(|ending| ending == "car")
    })
    .count()
}

#[test]
fn days_that_are_at_the_store_are_read_as_if_they_were_here() {
    let house = House::new();
    let store = archive_and_store(&house);
    let all = hashes(&traffic());
    let out = |name: &str| house.path(name);
    house
        .run("data", &["export", "-o", &out("a.car")])
        .expect(0);
    let waiting = house.run("data", &["--json", "store", "--store", &store]);
    let waiting = &waiting.expect(0).objects()[0];
    assert!(waiting["waiting_files"].as_u64() > Some(2) && waiting["head"].is_null());

    let carried = &carry(&house, &store, "0").expect(0).objects()[0];
    assert_eq!(carried["evicted"], 3);
    assert_eq!(stored_days(&house, "data/blocks/days"), 0);
    assert_eq!(stored_days(&house, "store/blocks/days"), 3);
    let nothing = &carry(&house, &store, "0").expect(0).objects()[0];
    assert_eq!(
        (&nothing["files"], &nothing["evicted"]),
        (&0.into(), &0.into())
    );

    // Nobody need say where they are.
    let found = house.run("data", &["--json", "query"]).expect(0);
    assert_eq!(found.hashes(), all);
    house.run("data", &["verify"]).expect(0);
    house
        .run("data", &["export", "-o", &out("b.car")])
        .expect(0);
    let read = |name: &str| std::fs::read(out(name)).expect("a file");
    assert_eq!(read("a.car"), read("b.car"));
    let checked = house.run("data", &["--json", "fsck"]).expect(0);
    assert_eq!(checked.objects()[0]["evicted"], 3);
    // The store is a source for everybody else.
    let head = house.run("data", &["head"]).expect(0).out;
    let args = ["--json", "query", head.trim(), "--source"];
    let elsewhere = house.run("other", &[&args[..], &[&out("store")]].concat());
    assert_eq!(elsewhere.expect(0).hashes(), all);
    let site = house.run("data", &["site", &out("public")]);
    site.expect(1).says("alone");
}

#[test]
fn a_store_that_is_away_is_named_by_what_needs_it() {
    let house = House::new();
    let store = archive_and_store(&house);
    carry(&house, &store, "0").expect(0);
    let (there, gone) = (house.path("store"), house.path("gone"));
    std::fs::rename(&there, &gone).expect("it moves");
    let refused = house.run("data", &["query"]).expect(1);
    assert!(refused.err.contains(&there), "{}", refused.err);
    carry(&house, &store, "0").expect(1).says("it is back");
    // What is new is taken in and sealed all the same.
    let new = envelope(Topic([2; 4]), UnixSeconds(FROM + 40 * DAY), 1);
    std::fs::write(house.path("new.rlps"), new.rlp()).expect("a file");
    house
        .run("data", &["import", &house.path("new.rlps")])
        .expect(0);
    house.run("data", &["seal"]).expect(0);
    std::fs::rename(&gone, &there).expect("it moves");
    let carried = &carry(&house, &store, "0").expect(0).objects()[0];
    assert_eq!(carried["evicted"], 1);
    let found = house.run("data", &["--json", "query"]).expect(0);
    assert_eq!(found.hashes().len(), traffic().len() + 1);
}

#[test]
fn a_store_that_does_not_say_how_it_stands_is_not_called_empty() {
    let house = House::new();
    house.run("new", &["init"]).expect(0);
    let gone = format!("folder:{}", house.path("gone"));
    // Also before there is anything to carry.
    let asked = house.run("new", &["store", "--store", &gone]).expect(1);
    assert!(
        asked.out.contains("head     unknown\nwaiting  unknown\n"),
        "{}",
        asked.out
    );
    archive_and_store(&house);
    let asked = house
        .run("data", &["--json", "store", "--store", &gone])
        .expect(1);
    let told = &asked.objects()[0];
    assert!(
        told["head"].is_null() && told["waiting_files"].is_null(),
        "{told}"
    );
    let node = format!("kubo:{}", forbidding());
    for args in [&["store"][..], &["store", "carry"]] {
        let refused = house.run("data", &[args, &["--store", &node]].concat());
        refused.expect(1).says("403").says("GWA_STORE_AUTH");
    }
}

#[test]
fn without_a_store_there_is_nothing_to_show() {
    let house = House::new();
    archive_and_store(&house);
    house.run("data", &["store"]).expect(1).says("--store");
    let unknown = house.run("data", &["store", "--store", "ftp:x"]);
    unknown.expect(2).says("is no store");
}

/// A daemon, killed where a test fails before its end.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Starts one over `data`; gives what it tells first.
    fn start(house: &House, data: &str, args: &[&str]) -> (Self, Value) {
        let ports = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let args = [&["--json", "serve"], &ports[..], args].concat();
        let mut command = house.gwa(data, &args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut daemon = Self(child.spawn().expect("gwa runs"));
        let mut line = String::new();
        let stdout = daemon.0.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        (daemon, serde_json::from_str(&line).expect("JSON"))
    }

    /// Ends it; gives all that it said on stderr.
    fn end(mut self) -> String {
        let pid = self.0.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.expect("kill runs").success());
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut said).expect("UTF-8");
        assert!(self.0.wait().expect("it ends").success(), "{said}");
        said
    }
}

/// Starts a daemon, asks for its status, ends it, and waits for that.
fn served(house: &House, args: &[&str]) -> (Value, Value) {
    let (daemon, started) = Daemon::start(house, "data", args);
    // It holds the archive, and is asked.
    let told = house.run("data", &["--json", "store"]).expect(0);
    let said = daemon.end();
    assert!(said.contains("what waits to be sealed is kept"), "{said}");
    (started, told.objects().remove(0))
}

#[test]
fn a_replica_takes_the_key_as_it_is_shown_and_says_out_of_which_store_it_answers() {
    let house = House::new();
    let store = archive_and_store(&house);
    carry(&house, &store, "all").expect(0);
    let head = house.run("data", &["--json", "head"]).expect(0);
    let key = head.objects()[0]["key"].as_str().map(str::to_owned);
    let key = key.expect("a key");
    assert!(key.starts_with("0x"), "{key}");
    let args = ["--replica", &key, "--store", &store];
    let (daemon, started) = Daemon::start(&house, "replica", &args);
    assert_eq!(started["store"], store.as_str());
    // Nothing ever waits at one that takes in nothing.
    let said = daemon.end();
    assert!(
        said.contains("stopped") && !said.contains("waits to be sealed"),
        "{said}"
    );
}

#[test]
fn a_daemon_carries_what_waits_before_it_ends() {
    let house = House::new();
    let store = archive_and_store(&house);
    let (started, told) = served(&house, &["--store", &store, "--store-keep", "all"]);
    assert_eq!(started["store"], store.as_str());
    assert_eq!(told["store"], store.as_str());
    let head = house.run("data", &["head"]).expect(0).out;
    let newest = std::fs::read_to_string(Path::new(&house.path("store")).join("HEAD"));
    assert!(newest.expect("a head").contains(head.trim()));
    assert_eq!(stored_days(&house, "data/blocks/days"), 3);
    // As the configuration says it, with days that go.
    let toml = format!("store = \"{store}\"\nstore-keep = \"0\"\n");
    std::fs::write(house.path("data/gwa.toml"), toml).expect("a file");
    served(&house, &[]);
    assert_eq!(stored_days(&house, "data/blocks/days"), 0);
    let found = house.run("data", &["--json", "query"]).expect(0);
    assert_eq!(found.hashes(), hashes(&traffic()));
}
