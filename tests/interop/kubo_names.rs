//! Names between this program and Kubo: records of one that the other makes, takes,
//! looks up and refuses.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::testing::envelope;
use gwa::time::UnixSeconds;
use serde_json::Value;
use tempfile::TempDir;

use crate::kubo::Kubo;
use crate::running::Running;

/// How long anything may take on a busy machine; a daemon tries a node again after
/// half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// Midnight before the first envelope: 2019-07-15.
const DAY: u32 = 1_563_148_800;

/// Folders of archives, and the program over them.
struct House {
    folder: TempDir,
    sealed: u32,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, sealed: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Seals another hour of the archive in `data`; gives its head.
    fn seal(&mut self, data: &str) -> String {
        let dir = self.path(data);
        let archive = match self.sealed {
            0 => Archive::init(&dir, "named").unwrap(),
            _ => Archive::open(&dir).unwrap(),
        };
        let at = DAY + self.sealed * 3_600;
        self.sealed += 1;
        let envelopes: Vec<_> = (0..50).map(|n| envelope(1, at + n * 60, 200)).collect();
        archive.append(&envelopes).unwrap();
        seal_due(&archive, UnixSeconds(at + 7_200)).unwrap();
        archive.head_cid().unwrap().to_string()
    }

    fn gwa(&self, data: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
        command
            .stdin(Stdio::null())
            .env("XDG_CACHE_HOME", self.folder.path())
            .arg("--data")
            .arg(self.path(data))
            .arg("--json")
            .args(args);
        command
    }

    /// Runs it; demands an exit code, and gives the first object and stderr.
    fn run(&self, data: &str, args: &[&str], code: i32) -> (Value, String) {
        let output = self.gwa(data, args).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        let out = String::from_utf8(output.stdout).unwrap();
        let first = out
            .lines()
            .next()
            .map(|line| serde_json::from_str(line).unwrap());
        (first.unwrap_or_default(), err)
    }

    /// Serves the archive in `data`; gives where it is.
    fn serve(&self, data: &str, args: &[&str]) -> (Running, String) {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let args = [&serve[..], args].concat();
        let mut running = Running::start(&mut self.gwa(data, &args));
        let started = |line: &String| serde_json::from_str::<Value>(line).ok();
        running.wait_until("gwa", |lines| lines.iter().any(|l| started(l).is_some()));
        let started = running.seen().iter().find_map(started).unwrap();
        (running, started["http"].as_str().unwrap().to_owned())
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

/// Asks again until it holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} took too long");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Two nodes of one hash table.
fn pair() -> (Kubo, Kubo) {
    let (a, b) = (Kubo::start_in_dht(), Kubo::start_in_dht());
    b.connect(&a.address());
    (a, b)
}

#[test]
fn a_name_that_is_published_through_one_node_is_resolved_by_another() {
    let mut house = House::new();
    let head = house.seal("a");
    let (a, b) = pair();
    let to = format!("kubo:{}", a.api());
    let (published, _) = house.run("a", &["publish", "--to", &to], 0);
    let path = format!("/ipns/{}", text(&published, "name"));
    let resolve = ["name", "resolve", "--nocache", &path];
    assert_eq!(b.ipfs(&resolve), format!("/ipfs/{head}"));

    // Kubo checks the record, and shows the fields of ours.
    let file = house.path(&format!("a/ipns/{}.record", text(&published, "name")));
    let verify = format!("--verify={}", text(&published, "name"));
    let inspect = [
        "name",
        "inspect",
        &verify,
        "--enc=json",
        file.to_str().unwrap(),
    ];
    let inspected: Value = serde_json::from_str(&a.ipfs(&inspect)).unwrap();
    assert_eq!(inspected["Validation"]["Valid"], true, "{inspected}");
    assert_eq!(inspected["Entry"]["Value"], format!("/ipfs/{head}"));
    assert_eq!(inspected["SignatureType"], "V1+V2");

    // By the second node's gateway, and by our own HTTP, where no node is asked.
    let (_served, url) = house.serve("a", &[]);
    let reference = format!("ipns://{}", text(&published, "name"));
    for (reader, sources) in [
        ("r1", vec![b.gateway(), url.clone()]),
        ("r2", vec![url.clone()]),
    ] {
        let mut args = vec!["log", &reference];
        sources
            .iter()
            .for_each(|source| args.extend(["--source", source]));
        let (told, _) = house.run(reader, &args, 0);
        assert_eq!(text(&told, "head"), head);
    }

    // By the node's RPC; and out of the hash table, which alone has it there.
    let (node, table) = (format!("kubo:{}", b.api()), format!("dht:{}", b.address()));
    for (reader, source) in [("r3", &node), ("r4", &table)] {
        let args = ["log", &reference, "--source", source];
        let (told, _) = house.run(reader, &args, 0);
        assert_eq!(text(&told, "head"), head, "{source}");
    }

    // The next head, the next record: whoever is behind takes nothing from it.
    drop(_served);
    let old = std::fs::read(&file).unwrap();
    let next = house.seal("a");
    house.run("a", &["publish", "--to", &to], 0);
    assert_eq!(b.ipfs(&resolve), format!("/ipfs/{next}"));
    let (_served, url) = house.serve("a", &[]);
    let sources = ["log", &reference, "--source", &url];
    assert_eq!(text(&house.run("r1", &sources, 0).0, "head"), next);
    let (behind, _other) = pair();
    let stale = house.path("stale");
    std::fs::write(&stale, old).unwrap();
    behind.ipfs(&[
        "routing",
        "put",
        "--allow-offline",
        &path,
        stale.to_str().unwrap(),
    ]);
    let gateway = behind.gateway();
    let read = ["log", &reference, "--source", &gateway];
    let (read, told) = house.run("r1", &read, 0);
    assert_eq!(text(&read, "head"), next);
    assert!(told.contains("was seen before"), "{told}");
}

#[test]
fn a_record_that_kubo_makes_leads_to_our_head() {
    let mut house = House::new();
    let head = house.seal("a");
    let (node, _other) = pair();
    let name = node.ipfs(&["key", "gen", "--ipns-base=base36", "theirs"]);
    let publish = [
        "name",
        "publish",
        "--allow-offline",
        "--key=theirs",
        "--resolve=false",
    ];
    let path = format!("/ipfs/{head}");
    node.ipfs(&[&publish[..], &[&path]].concat());
    // Their gateway has the record; the blocks are with us.
    let (_served, url) = house.serve("a", &[]);
    let gateway = node.gateway();
    let reference = format!("ipns://{name}");
    let args = ["log", &reference, "--source", &gateway, "--source", &url];
    let (told, _) = house.run("reader", &args, 0);
    assert_eq!(text(&told, "head"), head);
    // In the older form of the name too.
    let legacy = node.ipfs(&["key", "list", "-l", "--ipns-base=b58mh"]);
    let line = legacy.lines().find(|line| line.contains("theirs")).unwrap();
    let legacy = format!("/ipns/{}", line.split_whitespace().next().unwrap());
    let args = ["log", &legacy, "--source", &gateway, "--source", &url];
    assert_eq!(text(&house.run("reader", &args, 0).0, "head"), head);
}

#[test]
fn keys_are_carried_to_kubo_and_back() {
    let mut house = House::new();
    let head = house.seal("a");
    let (published, _) = house.run("a", &["publish"], 0);
    let (node, _other) = pair();
    let file = house.path("ours.key");
    let file = file.to_str().unwrap();
    house.run("a", &["publish", "export", "archive", file], 0);
    let import = ["key", "import", "--ipns-base=base36", "ours", file];
    assert_eq!(node.ipfs(&import), text(&published, "name"));

    node.ipfs(&["key", "gen", "theirs"]);
    let exported = house.path("theirs.key");
    let exported = exported.to_str().unwrap();
    node.ipfs(&["key", "export", &format!("--output={exported}"), "theirs"]);
    let (taken, _) = house.run("a", &["publish", "import", "theirs", exported], 0);
    let list = node.ipfs(&["key", "list", "-l", "--ipns-base=base36"]);
    assert!(list.contains(&text(&taken, "name")), "{list}");
    // With their key, above the number that their node has of it.
    let publish = [
        "name",
        "publish",
        "--allow-offline",
        "--key=theirs",
        "--resolve=false",
    ];
    let path = format!("/ipfs/{head}");
    node.ipfs(&[&publish[..], &["--sequence=7", &path]].concat());
    let to = format!("kubo:{}", node.api());
    let (named, _) = house.run("a", &["publish", "--key", "theirs", "--to", &to], 0);
    assert_eq!(named["sequence"], 8);
    // Of RSA there are none.
    node.ipfs(&["key", "gen", "--type=rsa", "old"]);
    let old = house.path("old.key");
    let old = old.to_str().unwrap();
    node.ipfs(&["key", "export", &format!("--output={old}"), "old"]);
    let (_, told) = house.run("a", &["publish", "import", "old", old], 12);
    assert!(told.contains("RSA"), "{told}");
}

#[test]
fn a_name_that_was_handed_over_leads_kubo_and_us_to_the_new_one() {
    let mut house = House::new();
    let head = house.seal("a");
    let (a, b) = pair();
    let to = format!("kubo:{}", a.api());
    let published = |key: &str| {
        let args = ["publish", "--key", key, "--to", &to];
        text(&house.run("a", &args, 0).0, "name")
    };
    let (old, new) = (published("old"), published("new"));
    let over = ["publish", "--key", "old", "--hand-over", "new", "--to", &to];
    let (last, _) = house.run("a", &over, 0);
    assert_eq!(text(&last, "value"), format!("/ipns/{new}"));
    let resolve = ["name", "resolve", "--nocache", &format!("/ipns/{old}")];
    assert_eq!(b.ipfs(&resolve), format!("/ipfs/{head}"));
    let (_served, url) = house.serve("a", &[]);
    let (reference, gateway) = (format!("ipns://{old}"), b.gateway());
    let args = ["log", &reference, "--source", &gateway, "--source", &url];
    assert_eq!(text(&house.run("reader", &args, 0).0, "head"), head);
}

#[test]
fn a_daemon_hands_its_records_to_a_node_that_comes_late() {
    let mut house = House::new();
    let head = house.seal("a");
    let (mut node, other) = pair();
    node.kill();
    let to = format!("kubo:{}", node.api());
    let (_served, url) = house.serve("a", &["--publish", "--publish-to", &to]);
    let keys = || house.run("a", &["publish", "keys"], 0).0;
    until("the record", || keys()["sequence"].is_number());
    node.restart();
    node.connect(&other.address());
    let path = format!("/ipns/{}", text(&keys(), "name"));
    let resolve = ["name", "resolve", "--nocache", &path];
    until("the node has it", || {
        node.try_ipfs(&resolve).status.success()
    });
    assert_eq!(node.ipfs(&resolve), format!("/ipfs/{head}"));
    assert!(url.starts_with("http://"));
}

#[test]
fn a_name_leads_to_what_the_store_keeps_and_all_of_it_is_there() {
    let mut house = House::new();
    house.seal("a");
    // The first days close, and leave this disk.
    let closed = (DAY + 3 * 86_400).to_string();
    house.run("a", &["seal", "--until", &closed], 0);
    let (mut node, other) = pair();
    let store = format!("kubo:{}", node.api());
    let carry = ["store", "carry", "--store", &store, "--store-keep", "0"];
    let (carried, _) = house.run("a", &carry, 0);
    assert!(carried["evicted"].as_u64() > Some(0), "{carried}");
    let kept = text(&carried, "head");
    house.sealed = 100;
    let next = house.seal("a");
    assert_ne!(kept, next);

    // Nobody says where the store is, but that the day went there.
    let to = ["publish", "--to", &store];
    let (published, told) = house.run("a", &to, 0);
    assert_eq!(text(&published, "head"), kept);
    assert!(told.contains("the store keeps head"), "{told}");
    let path = format!("/ipns/{}", text(&published, "name"));
    let resolve = ["name", "resolve", "--nocache", &path];
    assert_eq!(other.ipfs(&resolve), format!("/ipfs/{kept}"));
    // With `gwa` gone and the day on no disk of its own.
    let day = other.ipfs(&["dag", "get", &format!("/ipfs/{kept}/state/2019/07/15")]);
    assert!(day.starts_with('{') || day.starts_with('['), "{day}");

    house.run("a", &carry, 0);
    let (published, _) = house.run("a", &to, 0);
    assert_eq!(text(&published, "head"), next);
    assert_eq!(published["sequence"], 1);
    assert_eq!(other.ipfs(&resolve), format!("/ipfs/{next}"));

    // Away, it says nothing, and the name stays where it is.
    node.kill();
    let (_, told) = house.run("a", &["publish"], 1);
    assert!(
        told.contains("does not say which head it keeps") && told.contains("gwa store carry"),
        "{told}"
    );
    node.restart();
    assert_eq!(house.run("a", &["publish"], 0).0["sequence"], 1);
}

#[test]
fn a_name_waits_for_the_store_of_the_daemon_that_runs() {
    let mut house = House::new();
    let head = house.seal("a");
    let mut node = Kubo::start();
    node.kill();
    let store = format!("kubo:{}", node.api());
    let (_served, _) = house.serve("a", &["--store", &store, "--store-keep", "all"]);
    let (_, told) = house.run("a", &["publish"], 1);
    assert!(told.contains("keeps no head yet"), "{told}");
    node.restart();
    until("a head at the store", || {
        let output = house.gwa("a", &["publish"]).output().unwrap();
        output.status.success()
    });
    let (published, _) = house.run("a", &["publish"], 0);
    assert_eq!(text(&published, "head"), head);
    let shown = node.ipfs(&["dag", "get", &format!("/ipfs/{head}/state")]);
    assert!(!shown.is_empty());
}
