//! Names that lead to heads: made, served, looked up, followed, handed over.

use std::io::{Read, Write};
use std::net::TcpStream;

use gwa::archive::disk::Reader;
use gwa::publish::Hints;
use gwa::publish::ipns::folder::{NameFolder, Wish};
use gwa::sources::names::testing::DnsServer;
use gwa::time::UnixSeconds;
use gwa::whisper::Topic;
use serde_json::Value;

use crate::house::{Ended, House, Server, envelope, forbidding, now};

/// A leader's archive and daemon, and readers.
struct World {
    house: House,
    server: Option<Server>,
    sealed: u32,
}

impl World {
    /// An archive in `a` with one head.
    fn new() -> Self {
        let mut world = Self {
            house: House::new(),
            server: None,
            sealed: 0,
        };
        world.house.run("a", &["init"]).expect(0);
        world.seal("a");
        world
    }

    /// Takes in something new, and seals it.
    fn seal(&mut self, data: &str) -> String {
        self.sealed += 1;
        let at = now().saturating_sub(20_000 - self.sealed * 600);
        let rlp = envelope(Topic([7; 4]), at, self.sealed).rlp().to_vec();
        let file = self.house.path("one.rlps");
        std::fs::write(&file, rlp).expect("a file");
        self.house.run(data, &["import", &file]).expect(0);
        let until = at.saturating_add(600).to_string();
        let args = ["--json", "seal", "--until", &until];
        self.house.run(data, &args).expect(0);
        self.head(data)
    }

    fn head(&self, data: &str) -> String {
        let head = self.house.run(data, &["head"]).expect(0);
        head.out.trim().to_owned()
    }

    /// Publishes; gives what was told.
    fn publish(&self, data: &str, args: &[&str]) -> Value {
        let args = [&["--json", "publish"], args].concat();
        let published = self.house.run(data, &args).expect(0);
        published.objects().remove(0)
    }

    /// Serves `a`; gives its address.
    fn serve(&mut self, args: &[&str]) -> String {
        self.server = Some(self.house.serve("a", args));
        address(&self.house, "a")
    }

    /// The head that a reader without an archive is led to.
    fn read(&self, reference: &str, args: &[&str]) -> Ended {
        let args = [&["--json", "log", reference, "--limit", "1"], args].concat();
        self.house.run("reader", &args)
    }
}

fn address(house: &House, data: &str) -> String {
    let run = std::fs::read(house.path(&format!("{data}/run.json"))).expect("it runs");
    let run: Value = serde_json::from_slice(&run).expect("JSON");
    run["http"].as_str().expect("an address").to_owned()
}

fn head_of(ended: &Ended) -> String {
    let told = ended.objects()[0]["head"].as_str().map(str::to_owned);
    told.expect("a head")
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect("a text").to_owned()
}

#[test]
fn a_name_leads_to_the_head_and_to_the_next_one() {
    let mut world = World::new();
    let published = world.publish("a", &["--host", "archive.example"]);
    let name = text(&published, "name");
    assert_eq!(published["sequence"], 0);
    assert_eq!(text(&published, "head"), world.head("a"));
    let link = format!("dnslink=/ipns/{name}");
    assert_eq!(published["dnslink"][0], "_dnslink.archive.example");
    assert_eq!(published["dnslink"][1], link);
    // The same again is the same record.
    assert_eq!(world.publish("a", &[])["record"], published["record"]);

    let url = world.serve(&[]);
    let at = ["--source", &url];
    let reference = format!("ipns://{name}");
    assert_eq!(
        head_of(&world.read(&reference, &at).expect(0)),
        world.head("a")
    );
    let dns = DnsServer::start().expect("a DNS server");
    dns.set("_dnslink.archive.example", &[&link]);
    let server = dns.address().to_string();
    let by_dns = ["--source", &url, "--dns", &server];
    let read = world.read("ipns://archive.example", &by_dns).expect(0);
    assert_eq!(head_of(&read), world.head("a"));
    let shown = [
        "--json",
        "show",
        &format!("/ipns/{name}/state"),
        "--source",
        &url,
    ];
    world.house.run("reader", &shown).expect(0);
    world
        .read("ipns://absent.example", &by_dns)
        .expect(1)
        .says("no TXT record");

    world.server = None;
    let next = world.seal("a");
    assert_eq!(world.publish("a", &[])["sequence"], 1);
    let url = world.serve(&[]);
    let read = world.read(&reference, &["--source", &url]).expect(0);
    assert_eq!(head_of(&read), next);
}

#[test]
fn a_source_that_is_behind_takes_nothing_from_a_name() {
    let mut world = World::new();
    let name = text(&world.publish("a", &[]), "name");
    let file = world.house.path(&format!("a/ipns/{name}.record"));
    let old = std::fs::read(&file).expect("a record");
    let next = world.seal("a");
    world.publish("a", &[]);
    let url = world.serve(&[]);
    let reference = format!("ipns://{name}");
    let at = ["--source", &url];
    world.read(&reference, &at).expect(0);
    std::fs::write(&file, old).expect("a file");
    let read = world.read(&reference, &at).expect(0);
    assert_eq!(head_of(&read), next);
    read.says("was seen before");
}

#[test]
fn two_records_of_one_number_are_refused_and_kept() {
    let mut world = World::new();
    let name = text(&world.publish("a", &[]), "name");
    let file = world.house.path(&format!("a/ipns/{name}.record"));
    let url = world.serve(&[]);
    let reference = format!("ipns://{name}");
    let at = ["--source", &url];
    world.read(&reference, &at).expect(0);
    world.server = None;
    world.seal("a");
    // Whoever loses the newest record begins anew.
    std::fs::remove_file(&file).expect("a record");
    assert_eq!(world.publish("a", &[])["sequence"], 0);
    let url = world.serve(&[]);
    let at = ["--source", &url];
    let refused = world.read(&reference, &at).expect(20);
    refused.says("two records").says("--accept-rewrite");
    let kept = std::fs::read_dir(world.house.path("gwa/seen")).expect("a memory");
    let is_proof = |file: &std::fs::DirEntry| {
        let name = file.file_name().into_string().expect("a name");
        name.ends_with(".ipns-proof")
    };
    assert_eq!(kept.filter_map(Result::ok).filter(is_proof).count(), 2);
    let accepted = ["--source", &url, "--accept-rewrite"];
    world.read(&reference, &accepted).expect(0);
}

#[test]
fn a_disk_that_remembers_nothing_is_no_broken_signature() {
    let mut world = World::new();
    let name = text(&world.publish("a", &[]), "name");
    let url = world.serve(&[]);
    let reference = format!("ipns://{name}");
    let at = ["--source", &url];
    // A folder where the lock is written: as on a disk that is full or read-only.
    let lock = world.house.path("gwa/seen/lock");
    std::fs::create_dir_all(lock).expect("a folder");
    let read = world.read(&reference, &at).expect(0);
    assert_eq!(head_of(&read), world.head("a"));
    read.says("cannot remember");
    let seen = world.house.path(&format!("gwa/seen/{name}.ipns"));
    std::fs::create_dir(seen).expect("a folder");
    let unread = world.read(&reference, &at).expect(1);
    unread.says("cannot be read");
}

#[test]
fn a_name_keeps_the_archive_it_led_to_first() {
    let mut world = World::new();
    let name = text(&world.publish("a", &[]), "name");
    let url = world.serve(&[]);
    let reference = format!("ipns://{name}");
    world.read(&reference, &["--source", &url]).expect(0);

    // The same name over another archive, by its key carried there.
    let key = world.house.path("the.key");
    world
        .house
        .run("a", &["publish", "export", "archive", &key])
        .expect(0);
    world
        .house
        .run("a", &["publish", "export", "archive", &key])
        .expect(2);
    world.house.run("b", &["init"]).expect(0);
    world.seal("b");
    world
        .house
        .run("b", &["publish", "import", "carried", &key])
        .expect(0);
    world
        .house
        .run("b", &["publish", "import", "carried", &key])
        .expect(2);
    let args = ["--key", "carried", "--source", &url];
    let published = world.publish("b", &args);
    assert_eq!(text(&published, "name"), name);
    assert_eq!(
        published["sequence"], 1,
        "it goes on from what the other told"
    );
    let _other = world.house.serve("b", &[]);
    let there = address(&world.house, "b");
    let refused = world.read(&reference, &["--source", &there]).expect(20);
    refused.says("another key");
}

#[test]
fn a_name_is_mirrored_followed_and_told_on_by_its_mirror() {
    let mut world = World::new();
    let name = text(&world.publish("a", &[]), "name");
    let url = world.serve(&[]);
    let reference = format!("ipns://{name}");
    let first = world.head("a");
    let args = ["--json", "mirror", &reference, "--source", &url];
    let mirrored = world.house.run("m", &args).expect(0);
    assert_eq!(head_of(&mirrored), first);

    world.server = None;
    let next = world.seal("a");
    world.publish("a", &[]);
    let url = world.serve(&[]);
    // It knows what it mirrors; where the leader is now, it is told.
    let args = ["--json", "mirror", "--source", &url];
    let mirrored = world.house.run("m", &args).expect(0);
    assert_eq!(head_of(&mirrored), next);

    world.server = None;
    let _mirror = world.house.serve("m", &["--follow-every", "1h"]);
    let there = address(&world.house, "m");
    let read = world.read(&reference, &["--source", &there]).expect(0);
    assert_eq!(head_of(&read), next);
    // What nobody has a record of, or nobody can be asked for, is told apart.
    let unknown = "ipns://k51qzi5uqu5dm0t4vbwri4lkg76q03b4x9tsvekgvbu4zli6454ff7w8wdosa4";
    let none = world.read(unknown, &["--source", &there]).expect(1);
    none.says("has none");
}

#[test]
fn heads_are_told_on_after_the_record_has_expired() {
    let mut world = World::new();
    let name = text(&world.publish("a", &[]), "name");
    let url = world.serve(&[]);
    let reference = format!("ipns://{name}");
    world.read(&reference, &["--source", &url]).expect(0);
    world.server = None;

    let data = world.house.path("a");
    let data = std::path::Path::new(&data);
    let next = world.seal("a");
    let head = Reader::open(data).expect("an archive").heads().current();
    let head = head.expect("a disk").expect("a head");
    let folder = NameFolder::new(data);
    let key = folder.key_or_new(&"archive".parse().expect("a name"));
    let wish = Wish::of_head(&head, &Hints::default());
    let then = UnixSeconds(1_500_000_000);
    folder
        .say(&key.expect("a key"), &wish, None, then)
        .expect("a record");
    let url = world.serve(&[]);
    let read = world.read(&reference, &["--source", &url]).expect(0);
    assert_eq!(head_of(&read), next);
    // Whoever never saw the name cannot know whose heads are meant.
    let args = ["--json", "mirror", &reference, "--source", &url];
    let data_of_another = world
        .house
        .gwa("new", &args)
        .env("XDG_CACHE_HOME", world.house.path("x"))
        .output();
    let refused: Ended = data_of_another.expect("gwa runs").into();
    refused.expect(1).says("counts");
}

#[test]
fn a_name_is_handed_over_to_another_key() {
    let mut world = World::new();
    let old = text(&world.publish("a", &["--key", "old"]), "name");
    let new = text(&world.publish("a", &["--key", "new"]), "name");
    let last = world.publish("a", &["--key", "old", "--hand-over", "new"]);
    assert_eq!(text(&last, "value"), format!("/ipns/{new}"));
    assert_eq!(last["sequence"], 1);
    // DNS leads to the new name from now on.
    assert_eq!(last["dnslink"][1], format!("dnslink=/ipns/{new}"));
    world
        .house
        .run("a", &["publish", "--key", "old"])
        .expect(2)
        .says("handed over");
    let keys = world
        .house
        .run("a", &["--json", "publish", "keys"])
        .expect(0);
    let keys: Vec<_> = keys.objects().iter().map(|key| text(key, "key")).collect();
    assert_eq!(keys, ["new", "old"]);
    // Neither to itself, nor round in a circle, nor to whoever owns a host.
    for (key, to) in [("new", "new"), ("new", &*old), ("new", "new.example")] {
        let args = ["publish", "--key", key, "--hand-over", to];
        world.house.run("a", &args).expect(2);
    }
    // Who has the key elsewhere, or an older copy of the folder, is told.
    let record = world.house.path(&format!("a/ipns/{old}.record"));
    let kept = std::fs::read(&record).expect("a record");
    let url = world.serve(&[]);
    let key = world.house.path("old.key");
    let export = ["publish", "export", "old", &key];
    world.house.run("a", &export).expect(0);
    world.house.run("b", &["init"]).expect(0);
    world.seal("b");
    let import = ["publish", "import", "old", &key];
    world.house.run("b", &import).expect(0);
    let again = ["publish", "--key", "old", "--source", &url];
    world.house.run("b", &again).expect(2).says("handed over");
    let there = world.house.path(&format!("b/ipns/{old}.record"));
    assert_eq!(std::fs::read(there).expect("a record"), kept);
    world.server = None;
    // The old key may go; its last record stays.
    std::fs::remove_file(world.house.path("a/ipns/old.key")).expect("a key");
    let url = world.serve(&[]);
    let reference = format!("ipns://{old}");
    let read = world.read(&reference, &["--source", &url]).expect(0);
    assert_eq!(head_of(&read), world.head("a"));
}

#[test]
fn a_daemon_names_its_heads_by_itself() {
    let mut world = World::new();
    let url = world.serve(&["--publish", "daily"]);
    let keys = world
        .house
        .run("a", &["--json", "publish", "keys"])
        .expect(0);
    let key = &keys.objects()[0];
    assert_eq!(text(key, "key"), "daily");
    let reference = format!("ipns://{}", text(key, "name"));
    let at = ["--source", &url];
    let mut read = world.read(&reference, &at);
    for _ in 0..600 {
        if read.code == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        read = world.read(&reference, &at);
    }
    assert_eq!(head_of(&read.expect(0)), world.head("a"));
}

#[test]
fn a_daemon_whose_name_was_handed_over_says_so() {
    let mut world = World::new();
    world.publish("a", &["--key", "old"]);
    world.publish("a", &["--key", "new"]);
    world.publish("a", &["--key", "old", "--hand-over", "new"]);
    let url = world.serve(&["--publish", "old"]);
    let address = url.strip_prefix("http://").expect("a URL");
    let health = || -> Value {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request =
            format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    };
    let mut told = health();
    for _ in 0..600 {
        if told["name_error"].is_string() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        told = health();
    }
    assert!(text(&told, "name_error").contains("`--publish` names another key"));
    // The archive is none the worse.
    assert_eq!(told["ok"], true);
}

#[test]
fn a_daemon_unites_what_a_name_leads_to() {
    let mut world = World::new();
    let name = text(&world.publish("a", &[]), "name");
    let url = world.serve(&[]);
    world.house.run("b", &["init"]).expect(0);
    let reference = format!("ipns://{name}");
    let follow = [
        "--follow",
        &reference,
        "--source",
        &url,
        "--follow-every",
        "1s",
    ];
    let _follower = world.house.serve("b", &follow);
    let count = || {
        let head = world.house.run("b", &["--json", "head"]);
        (head.code == 0).then(|| head.objects()[0]["count"].clone())
    };
    for _ in 0..600 {
        if count().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(count(), Some(1.into()));
}

#[test]
fn a_record_that_a_node_does_not_take_is_made_all_the_same() {
    let world = World::new();
    let args = ["--json", "publish", "--to", "kubo:http://127.0.0.1:1"];
    let partly = world.house.run("a", &args).expect(3);
    let told = &partly.objects()[0];
    assert!(told["to"][0]["error"].is_string(), "{told}");
    assert_eq!(world.publish("a", &[])["record"], told["record"]);
    let none = world.house.run("empty", &["publish"]).expect(10);
    assert!(!world.house.exists("empty/ipns"), "{}", none.err);
    world
        .house
        .run("a", &["publish", "--to", "http://x"])
        .expect(2);
}

#[test]
fn a_node_that_lets_nobody_in_and_a_key_in_another_form_are_told_with_what_helps() {
    let world = World::new();
    let node = format!("kubo:{}", forbidding());
    let partly = world.house.run("a", &["publish", "--to", &node]);
    partly.expect(3).says("403").says("GWA_KUBO_AUTH");
    let file = world.house.path("pem.key");
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
    std::fs::write(&file, pem).expect("a file");
    let import = ["publish", "import", "pem", &file];
    let refused = world.house.run("a", &import).expect(12);
    refused.says("PEM").says("without `--format`");
}
