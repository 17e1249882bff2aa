//! Whole and partial history in files, from any source, and what messages say.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use gwa::archive::disk::Archive;
use gwa::archive::watermark::Watermark;
use gwa::progress::Quiet;
use gwa::time::{DAY, Expiry, HOUR, Ttl, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{MessageRandom, Reader, seal};
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use super::house::{FROM, House};
use super::server::{Server, honest};

/// `gwa` on a machine that has no archive.
fn gwa(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gwa"))
        .env("XDG_CACHE_HOME", dir.join("cache"))
        .arg("--data")
        .arg(dir.join("data"))
        .arg("--json")
        .args(args)
        .output()
        .expect("the program")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", told(output));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect()
}

fn hashes(output: &Output) -> Vec<String> {
    let hash = |object: &Value| object["hash"].as_str().expect("a hash").to_owned();
    objects(output).iter().map(hash).collect()
}

/// What the records of an archive hold of a topic in a range.
fn expected(house: &House, topic: Topic, from: u32, to: u32) -> Vec<String> {
    let mut found: Vec<_> = house
        .records
        .iter()
        .map(|record| record.key)
        .filter(|key| key.topic == topic && (from..=to).contains(&key.sent.0))
        .collect();
    found.sort_by_key(|key| (key.sent, key.hash));
    found.dedup();
    found.iter().map(|key| key.hash.to_string()).collect()
}

#[test]
fn a_partial_file_answers_what_it_was_fetched_for_and_says_what_it_lacks() {
    let house = House::new(1, 2_000);
    let server = Server::gateway(house.blocks());
    let dir = tempfile::tempdir().unwrap();
    let topic = house.records[0].key.topic;
    let other = house.records.iter().find(|r| r.key.topic != topic).unwrap();
    let (from, to) = (FROM + HOUR, FROM + 3 * DAY);
    let (cid, name) = (house.head.cid().to_string(), topic.to_string());
    let range = |from: u32, to: u32| [from.to_string(), to.to_string()];
    let part = dir.path().join("part.car").display().to_string();
    let folder = house.dir().display().to_string();
    let [f, t] = range(from, to);
    let wanted = ["--topic", &name, "--from", &f, "--to", &t];
    for source in [&server.url, &folder] {
        let fetch = ["fetch", &cid, "--source", source, "-o", &part];
        let before = std::fs::read(&part).ok();
        let fetched = gwa(dir.path(), &[&fetch[..], &wanted[..]].concat());
        assert_eq!(objects(&fetched)[0]["whole"], false);
        let bytes = std::fs::read(&part).unwrap();
        assert!(before.is_none_or(|before| before == bytes), "other bytes");
    }
    let spans = [
        (from, to),
        (FROM + DAY, FROM + DAY + 2 * HOUR),
        (FROM + DAY, FROM + 3 * DAY),
    ];
    for (from, to) in spans {
        let [f, t] = range(from, to);
        let asked = gwa(
            dir.path(),
            &["query", &part, "--topic", &name, "--from", &f, "--to", &t],
        );
        assert_eq!(hashes(&asked), expected(&house, topic, from, to));
    }
    let other = other.key.topic.to_string();
    let refused = gwa(dir.path(), &["query", &part, "--topic", &other]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(told(&refused).contains("is missing"), "{}", told(&refused));
    // What it lacks may come from elsewhere.
    let both = ["query", &part, "--topic", &other, "--source", &server.url];
    let all = expected(&house, other.parse().unwrap(), 0, u32::MAX);
    assert_eq!(hashes(&gwa(dir.path(), &both)), all);
    let left: Vec<_> = dir
        .path()
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains(".part")),
        "{left:?}"
    );
}

fn names(dir: &Path) -> Vec<String> {
    let entries = dir.read_dir().expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).display().to_string())
        .collect()
}

#[test]
fn nothing_stands_beside_a_file_while_it_is_fetched() {
    let house = House::new(9, 200);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (blocks, watched, noted) = (house.blocks(), out.clone(), Arc::clone(&seen));
    let server = Server::new(move |asked| {
        noted.lock().unwrap().extend(names(&watched));
        honest(&*blocks, asked)
    });
    let (cid, file) = (house.head.cid().to_string(), out.join("all.car"));
    let file = file.display().to_string();
    let fetch = ["fetch", &cid, "--source", &server.url, "-o", &file];
    assert_eq!(objects(&gwa(dir.path(), &fetch))[0]["whole"], true);
    // Whoever is interrupted leaves nothing, and two do not write to one file.
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new());
    assert_eq!(names(&out), ["all.car"]);
}

#[test]
fn a_whole_file_verifies_alone_and_is_the_same_from_everywhere() {
    let house = House::new(2, 800);
    let gateway = Server::gateway(house.blocks());
    let public = tempfile::tempdir().unwrap();
    gwa::archive::disk::publish_folder(house.dir(), public.path()).unwrap();
    let files = Server::files(public.path(), false);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.car").display().to_string();
    let cid = house.head.cid().to_string();
    let at_gateway = format!("{}/ipfs/{cid}", gateway.url);
    let folder = house.dir().display().to_string();
    let mut bytes = None;
    for reference in [&at_gateway, &files.url, &folder] {
        let fetched = gwa(dir.path(), &["fetch", reference, "-o", &file]);
        assert_eq!(objects(&fetched)[0]["whole"], true);
        let these = std::fs::read(&file).unwrap();
        assert_eq!(
            *bytes.get_or_insert_with(|| these.clone()),
            these,
            "{reference}"
        );
    }
    let verified = gwa(dir.path(), &["verify", &file]);
    assert_eq!(objects(&verified)[0]["faults"], 0);
    let remote = gwa(dir.path(), &["verify", &cid, "--from", &gateway.url]);
    assert_eq!(objects(&remote)[0]["faults"], 0);
    let stats = gwa(dir.path(), &["stats", &files.url]);
    assert_eq!(objects(&stats)[0]["head"], cid);
    let state = gwa(dir.path(), &["show", &format!("{at_gateway}/state")]);
    assert!(objects(&state)[0].is_object());
}

#[test]
fn explaining_says_what_each_source_gave_and_private_asks_for_no_topic() {
    let house = House::new(3, 1_500);
    let dir = tempfile::tempdir().unwrap();
    let cid = house.head.cid().to_string();
    let asked_for = |topic: &str| {
        let server = Server::gateway(house.blocks());
        let (from, to) = ((FROM + DAY).to_string(), (FROM + 2 * DAY).to_string());
        let scratch = tempfile::tempdir().unwrap();
        let private = gwa(
            scratch.path(),
            &[
                "query",
                &cid,
                "--source",
                &server.url,
                "--private",
                "--topic",
                topic,
                "--from",
                &from,
                "--to",
                &to,
                "--explain",
            ],
        );
        let explained = objects(&private).pop().unwrap();
        assert!(explained["blocks"].as_u64() > Some(3) && explained["rounds"].as_u64() > Some(2));
        let sources = explained["sources"].as_array().unwrap();
        let gave = sources
            .iter()
            .find(|s| s["source"] == server.url.as_str())
            .unwrap();
        assert!(gave["blocks"].as_u64() >= explained["blocks"].as_u64());
        let mut paths: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
        paths.sort();
        paths
    };
    let topics: Vec<_> = house
        .records
        .iter()
        .take(2)
        .map(|r| r.key.topic.to_string())
        .collect();
    assert_eq!(asked_for(&topics[0]), asked_for("0xabababab"));
    assert_eq!(asked_for(&topics[1]), asked_for("0xabababab"));
    drop(dir);
}

fn message(key: &SymKey, topic: Topic, sent: u32, text: &str) -> Envelope {
    let random = MessageRandom::draw();
    let sealed = seal(text.as_bytes(), None, Reader::Holders(key), &random).expect("it is short");
    Envelope::new(
        Expiry::of(UnixSeconds(sent), Ttl(50)),
        Ttl(50),
        topic,
        &sealed,
        7,
    )
}

#[test]
fn messages_of_a_chat_are_read_from_any_source() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::init(folder.path(), "").unwrap();
    let topic = Topic::of_public_chat("gwa");
    let (chat, secret) = (
        SymKey::from_password("gwa"),
        SymKey::from_password("secret"),
    );
    archive
        .append(&[
            message(&chat, topic, FROM + 10, "one"),
            message(&secret, topic, FROM + 20, "hidden"),
            message(&chat, topic, FROM + 30, "two"),
        ])
        .unwrap();
    let until = Watermark::at_or_before(UnixSeconds(FROM + 2 * DAY));
    let head = archive
        .seal(until, until.at(), &Quiet)
        .unwrap()
        .head
        .unwrap();
    let blocks = gwa::archive::disk::Reader::open(folder.path()).unwrap();
    let server = Server::gateway(blocks.into_source());
    let dir = tempfile::tempdir().unwrap();
    let reference = format!("{}/ipfs/{}", server.url, head.cid());
    let texts = |args: &[&str]| -> Vec<String> {
        let read = gwa(dir.path(), &[&["read", &reference], args].concat());
        let text = |object: &Value| object["text"].as_str().expect("a text").to_owned();
        objects(&read).iter().map(text).collect()
    };
    assert_eq!(texts(&["--chat", "gwa"]), ["one", "two"]);
    assert_eq!(texts(&["--chat", "gwa", "--limit", "1"]), ["two"]);
    let of_topic = topic.to_string();
    assert_eq!(
        texts(&["--topic", &of_topic, "--password", "secret"]),
        ["hidden"]
    );
    let wrong = gwa(
        dir.path(),
        &["read", &reference, "--topic", &of_topic, "--password", "no"],
    );
    assert_eq!(wrong.status.code(), Some(12), "{}", told(&wrong));
    let keyless = gwa(dir.path(), &["read", &reference, "--topic", &of_topic]);
    assert_eq!(keyless.status.code(), Some(2), "{}", told(&keyless));
}
