//! `gwa serve --announce`, `gwa discover` and `gwa share`: heads out and in.

use std::time::{Duration, Instant};

use gwa::whisper::Topic;
use serde_json::Value;

use crate::house::{House, envelope, now};

/// How long an announcement may take: a second of mining, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn sealed(house: &House, data: &str) {
    let start = now().saturating_sub(3_600);
    let envelopes: Vec<_> = (0..20)
        .map(|n| envelope(Topic([7; 4]), start.saturating_add(n), n))
        .collect();
    house.archive(data, &envelopes);
    house.run(data, &["seal"]).expect(0);
}

fn one(house: &House, data: &str, args: &[&str]) -> Value {
    let ended = house.run(data, &[&["--json"], args].concat());
    ended.expect(0).objects().remove(0)
}

#[test]
fn an_archive_that_is_announced_is_found_and_carried_on() {
    let house = House::new();
    sealed(&house, "a");
    let head = one(&house, "a", &["head"]);
    // A mirror carries the blocks out to others.
    house.run("b", &["mirror", &house.path("a")]).expect(0);
    let _mirror = house.serve("b", &[]);
    let run = std::fs::read(house.path("b/run.json")).expect("it runs");
    let run: Value = serde_json::from_slice(&run).expect("JSON");
    let http = run["http"].as_str().expect("an address");
    let server = house.serve("a", &["--announce", "--public-url", http]);

    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        let ended = house.run("nobody", &["--json", "discover", &server.enode]);
        let found = ended.expect(0).objects();
        if let Some(found) = found.into_iter().next() {
            break found;
        }
        assert!(Instant::now() < deadline, "nothing is announced");
    };
    assert_eq!(found["head"], head["head"]);
    assert_eq!(found["key"], head["key"]);
    assert_eq!(found["http"], serde_json::json!([http]));

    // The line is all that others need, wherever its address is public.
    // On this machine alone the address has to be named as well.
    let share = found["share"].as_str().expect("a line");
    house
        .run("nobody", &["query", share, "--count"])
        .expect(1)
        .says("no public address");
    let asked = ["query", share, "--count", "--source", http];
    assert_eq!(one(&house, "nobody", &asked)["count"], 20);
    let mirrored = one(&house, "d", &["mirror", share, "--from", http]);
    assert_eq!(mirrored["head"], head["head"]);
    let forked = ["fork", share, "--from", http, "--name", "another"];
    let forked = one(&house, "c", &forked);
    assert_eq!(forked["from"], head["head"]);
    assert_eq!(forked["state"], head["state"]);
}

#[test]
fn a_head_is_shared_in_one_line_and_as_dnslink() {
    let house = House::new();
    sealed(&house, "a");
    let head = one(&house, "a", &["head"])["head"]
        .as_str()
        .expect("a CID")
        .to_owned();
    let from = "https://archive.example";
    let shared = one(&house, "a", &["share", "--from", from]);
    let line = shared["share"].as_str().expect("a line");
    assert!(line.starts_with(&format!("gwa://{head}?key=")), "{line}");
    assert_eq!(shared["dnslink"], format!("dnslink=/ipfs/{head}"));
    house
        .run("a", &["share", "--from", "ftp://archive.example"])
        .expect(2)
        .says("no http:// or https:// address");
    house.run("none", &["share"]).expect(10);
}

#[test]
fn nothing_is_announced_unless_it_is_asked_for() {
    let house = House::new();
    sealed(&house, "a");
    let server = house.serve("a", &[]);
    house
        .run("nobody", &["discover", &server.enode])
        .expect(0)
        .says("no archive is announced");
    house
        .run("nobody", &["discover"])
        .expect(10)
        .says("name a mailserver");
}
