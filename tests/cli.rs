//! The command line as its users and their scripts see it.
//!
//! Length: one archive and one set of helpers serve every command shown here.

#[path = "common/started.rs"]
mod started;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gwa::blocks::BlockSource;
use gwa::blocks::car::{CarReader, CarWriter};
use serde_json::Value;
use tempfile::TempDir;

use started::started;

/// Envelopes of the corpus that these tests archive: a day and a half of it.
const ENVELOPES: usize = 1_000;

/// A folder for one test, and the data folder in it.
struct House {
    folder: TempDir,
}

/// How a command ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// The objects of `--json`, one a line.
    fn objects(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

fn gwa() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.stdin(Stdio::null());
    command
}

impl House {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// A house with the corpus imported and sealed.
    fn sealed() -> Self {
        let house = Self::new();
        house.ok(&["init"]);
        let corpus = house.file("corpus.rlps", &corpus());
        house.ok(&["import", &corpus]);
        house.ok(&["seal"]);
        house
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn run(&self, args: &[&str]) -> Ended {
        let output = gwa().arg("--data").arg(self.data()).args(args).output();
        output.expect("gwa runs").into()
    }

    /// Runs a command that must succeed; gives what it printed.
    fn ok(&self, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "gwa {args:?}: {}\n{}", ended.out, ended.err);
        ended
    }

    /// Runs a command that must fail with this exit code, and say so in style.
    fn fails(&self, code: i32, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(
            ended.code, code,
            "gwa {args:?}: {}\n{}",
            ended.out, ended.err
        );
        assert!(ended.err.contains("Error: "), "gwa {args:?}: {}", ended.err);
        ended
    }
}

/// The first envelopes of the corpus, as they lie in its file.
fn corpus() -> Vec<u8> {
    let mut bytes = fs::read("fixtures/corpus/envelopes.rlps").expect("the corpus");
    let last = lines().pop().expect("lines");
    let end =
        last["offset"].as_u64().expect("a number") + last["length"].as_u64().expect("a number");
    bytes.truncate(usize::try_from(end).expect("fits"));
    bytes
}

/// What the corpus says of them.
fn lines() -> Vec<Value> {
    let text = fs::read_to_string("fixtures/corpus/corpus.jsonl").expect("the corpus");
    let lines: Vec<Value> = text
        .lines()
        .take(ENVELOPES)
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), ENVELOPES);
    lines
}

/// The different envelopes among them, by hash.
fn different() -> BTreeMap<String, Value> {
    lines()
        .into_iter()
        .map(|line| (text(&line, "hash"), line))
        .collect()
}

fn text(value: &Value, field: &str) -> String {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} of {value}"))
        .to_owned()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} of {value}"))
}

/// The root of the calendar below the own head.
fn state(house: &House) -> Value {
    house.ok(&["--json", "head"]).objects().remove(0)["state"].clone()
}

fn hashes(ended: &Ended) -> BTreeSet<String> {
    ended
        .objects()
        .iter()
        .map(|row| text(row, "hash"))
        .collect()
}

#[test]
fn a_wrong_command_line_exits_2_and_says_what_is_right() {
    let house = House::new();
    for (args, said) in [
        (&[][..], "Usage: gwa"),
        (&["nonsense"], "unrecognized subcommand"),
        (&["head", "--nonsense"], "unexpected argument"),
        (&["query", "ftp://example.org"], "ipfs://CID"),
        (&["query", "--topic", "0x12"], "8 hex digits"),
        (&["query", "--from", "yesterday"], "RFC 3339"),
        (&["query", "--from", "2", "--to", "1"], "from > to"),
        (&["verify", "--sample", "5"], "5%"),
        (&["serve", "--seal-every", "0"], "span of time"),
        (&["serve", "--min-pow", "-1"], "proof of work"),
        (&["serve", "--peer", "enode://x"], "enode"),
        (&["serve", "--nat", "stun"], "extip:IP"),
        (&["init", "--name", &"x".repeat(33)], "limit of 32"),
        (&["import"], "<FILE>"),
        (&["--quiet", "-v", "head"], "cannot be used with"),
    ] {
        let ended = house.run(args);
        assert_eq!(ended.code, 2, "gwa {args:?}: {}", ended.err);
        assert!(ended.err.contains(said), "gwa {args:?}: {}", ended.err);
        assert_eq!(ended.out, "");
    }
}

#[test]
fn help_and_version_are_results() {
    let house = House::new();
    let help = house.ok(&["--help"]);
    for command in [
        "serve", "init", "import", "seal", "head", "log", "stats", "show", "query", "request",
        "verify", "fsck", "demo", "post", "canary", "gaps",
    ] {
        assert!(help.out.contains(command), "{command}: {}", help.out);
        assert!(house.ok(&[command, "--help"]).out.contains("Usage"));
    }
    assert!(house.ok(&["--version"]).out.starts_with("gwa "));
}

#[test]
fn without_an_archive_commands_exit_10_and_point_to_init() {
    let house = House::new();
    let file = house.file("none.rlps", b"");
    for args in [
        &["head"][..],
        &["log"],
        &["stats"],
        &["query"],
        &["verify"],
        &["fsck"],
        &["seal"],
        &["import", &file],
    ] {
        let ended = house.fails(10, args);
        assert!(ended.err.contains("Hint: "), "{args:?}: {}", ended.err);
        assert!(ended.err.contains("gwa init"), "{args:?}: {}", ended.err);
    }
}

#[test]
fn an_archive_without_a_head_exits_10_and_points_to_seal() {
    let house = House::new();
    house.ok(&["init"]);
    let ended = house.fails(10, &["head"]);
    assert!(ended.err.contains("gwa seal"), "{}", ended.err);
}

#[test]
fn an_archive_is_not_made_twice() {
    let house = House::new();
    house.ok(&["init"]);
    let ended = house.fails(1, &["init"]);
    assert!(ended.err.contains("already"), "{}", ended.err);
}

#[test]
fn a_name_that_no_head_could_carry_makes_no_archive() {
    let house = House::new();
    assert!(gwa::archive::disk::Archive::init(&house.data(), &"x".repeat(33)).is_err());
    assert!(!house.data().exists());
    house.ok(&["init", "--name", &"x".repeat(32)]);
    let corpus = house.file("corpus.rlps", &corpus());
    house.ok(&["import", &corpus]);
    house.ok(&["seal"]);
}

#[test]
fn a_seal_far_ahead_of_time_is_refused_before_it_is_too_late() {
    let house = House::new();
    house.ok(&["init"]);
    let ended = house.fails(2, &["seal", "--until", "2091-01-01T00:00:00Z"]);
    assert!(ended.err.contains("watermark never falls"));
}

#[test]
fn a_misspelt_setting_is_answered_with_the_nearest() {
    let house = House::new();
    house.ok(&["init"]);
    fs::write(house.data().join("gwa.toml"), "lisen = \"127.0.0.1:0\"").expect("a file");
    let ended = house.fails(2, &["serve"]);
    assert!(ended.err.contains("`lisen`"), "{}", ended.err);
    assert!(ended.err.contains("`listen`"), "{}", ended.err);
}

#[test]
fn an_import_counts_what_is_stored_and_what_was_there() {
    let house = House::new();
    house.ok(&["init"]);
    let corpus = house.file("corpus.rlps", &corpus());
    let stored = different().len() as u64;
    let read = ENVELOPES as u64;
    for (stored, duplicate) in [(stored, read - stored), (0, read)] {
        let ended = house.ok(&["--json", "import", &corpus]);
        let tally = ended.objects().pop().expect("a tally");
        assert_eq!(number(&tally, "read"), read);
        assert_eq!(number(&tally, "stored"), stored);
        assert_eq!(number(&tally, "duplicate"), duplicate);
        assert_eq!(number(&tally, "refused"), 0);
    }
}

#[test]
fn garbage_is_named_by_its_offset_and_what_came_before_is_kept() {
    let house = House::new();
    house.ok(&["init"]);
    let mut bytes = corpus();
    let at = bytes.len();
    bytes.extend(b"garbage");
    let file = house.file("torn.rlps", &bytes);
    let ended = house.fails(3, &["--json", "import", &file]);
    assert!(ended.err.contains(&format!("byte {at}")), "{}", ended.err);
    let tally = ended.objects().pop().expect("a tally");
    assert_eq!(number(&tally, "stored"), different().len() as u64);
    assert_eq!(number(&tally, "refused"), 1);

    house.ok(&["seal"]);
    let count = house.ok(&["query", "--count"]).out;
    assert_eq!(count.trim(), different().len().to_string());
}

#[test]
fn seal_prints_the_head_that_every_command_then_speaks_of() {
    let house = House::sealed();
    let head = house.ok(&["head"]).out.trim().to_owned();
    assert_eq!(
        house.ok(&["seal"]).out.trim(),
        head,
        "nothing new, no new head"
    );

    let row = house.ok(&["--json", "head"]).objects().remove(0);
    assert_eq!(text(&row, "head"), head);
    assert_eq!(number(&row, "count"), different().len() as u64);
    for field in ["seq", "watermark", "bytes"] {
        assert!(number(&row, field) > 0, "{field}");
    }
    let log = house.ok(&["--json", "log"]).objects();
    assert_eq!(text(&log[0], "head"), head);
    let stats = house.ok(&["--json", "stats", &head]).objects();
    assert_eq!(stats[0], row);
    let by_day: u64 = stats
        .iter()
        .filter(|row| row.get("day").is_some())
        .map(|row| number(row, "count"))
        .sum();
    assert_eq!(by_day, different().len() as u64);
}

#[test]
fn what_was_imported_is_found_by_topic_and_time() {
    let house = House::sealed();
    let expected = different();
    assert_eq!(
        hashes(&house.ok(&["--json", "query"])),
        expected.keys().cloned().collect()
    );

    let mut by_topic: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (hash, line) in &expected {
        by_topic
            .entry(text(line, "topic"))
            .or_default()
            .insert(hash.clone());
    }
    let (topic, of_topic) = by_topic
        .iter()
        .max_by_key(|(_, of)| of.len())
        .expect("topics");
    let found = house.ok(&["--json", "query", "--topic", topic]);
    assert_eq!(&hashes(&found), of_topic);
    let rows = found.objects();
    for row in &rows {
        let line = &expected[&text(row, "hash")];
        for field in ["sent", "size"] {
            assert_eq!(row[field], line[field]);
        }
        assert_eq!(
            number(row, "sent") + number(row, "ttl"),
            number(row, "expiry")
        );
    }
    let times: Vec<u64> = rows.iter().map(|row| number(row, "sent")).collect();
    assert!(times.is_sorted(), "newest last");

    let middle = times[times.len() / 2].to_string();
    let before = house.ok(&["--json", "query", "--topic", topic, "--to", &middle]);
    let after = house.ok(&["--json", "query", "--topic", topic, "--from", &middle]);
    assert_eq!(&(&hashes(&before) | &hashes(&after)), of_topic);

    let newest = house.ok(&["--json", "query", "--topic", topic, "--limit", "3"]);
    let all: Vec<String> = found.out.lines().map(str::to_owned).collect();
    let last: Vec<String> = newest.out.lines().map(str::to_owned).collect();
    assert_eq!(last, all[all.len() - 3..]);
    let private = house.ok(&[
        "--json",
        "query",
        "--topic",
        topic,
        "--limit",
        "3",
        "--private",
    ]);
    assert_eq!(private.out, newest.out);
    assert_eq!(
        house.ok(&["query", "--topic", "00000000", "--count"]).out,
        "0\n"
    );
}

#[test]
fn envelopes_are_written_as_they_were_read() {
    let house = House::sealed();
    let path = house.file("found.rlps", b"");
    house.ok(&["query", "--rlp", &path]);
    let again = House::new();
    again.ok(&["init"]);
    again.ok(&["import", &path]);
    again.ok(&["seal"]);
    assert_eq!(state(&house), state(&again), "equal envelopes, equal state");
}

#[test]
fn explain_ends_with_the_cost() {
    let house = House::sealed();
    let ended = house.ok(&["--json", "query", "--topic", "00000000", "--explain"]);
    let cost = ended.objects().pop().expect("a cost");
    for field in ["blocks", "bytes", "rounds"] {
        assert!(number(&cost, field) > 0, "{field}");
    }
}

#[test]
fn a_path_below_the_head_is_shown() {
    let house = House::sealed();
    let head = house.ok(&["head"]).out.trim().to_owned();
    let shown = house.ok(&["show", &head]).out;
    let node: Value = serde_json::from_str(&shown).expect("JSON");
    assert!(node["state"]["/"].is_string(), "{shown}");
    let year = house.ok(&["show", &format!("/ipfs/{head}/state")]);
    assert!(year.out.contains("2018"), "{}", year.out);
}

#[test]
fn a_changed_byte_is_found_by_verify_and_named_by_fsck() {
    let house = House::sealed();
    assert!(house.ok(&["verify"]).out.contains("faults 0"));
    house.ok(&["verify", "--sample", "50%"]);
    house.ok(&["fsck"]);

    let largest = largest_car(&house.data());
    let mut bytes = fs::read(&largest).expect("a file");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&largest, bytes).expect("a file");

    house.fails(20, &["verify"]);
    let ended = house.run(&["fsck"]);
    assert_eq!(ended.code, 20, "{}\n{}", ended.out, ended.err);
    let name = largest
        .file_name()
        .expect("a name")
        .to_str()
        .expect("UTF-8");
    assert!(ended.out.contains(name), "{}\n{}", ended.out, ended.err);
}

fn largest_car(folder: &Path) -> PathBuf {
    let len = |path: &PathBuf| fs::metadata(path).expect("a file").len();
    cars(folder).into_iter().max_by_key(len).expect("a CAR")
}

/// Every CAR below a folder.
fn cars(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut cars = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "car") {
                cars.push(path);
            }
        }
    }
    cars
}

#[test]
fn another_archives_files_are_taken_in() {
    let house = House::sealed();
    let days = cars(&house.data().join("blocks/days"));
    let days: Vec<&str> = days
        .iter()
        .map(|day| day.to_str().expect("UTF-8"))
        .collect();
    let again = House::new();
    again.ok(&["init"]);
    let tally = again
        .ok(&[&["--json", "import"], &days[..]].concat())
        .objects()
        .remove(0);
    assert_eq!(number(&tally, "stored"), different().len() as u64);
    again.ok(&["seal"]);
    assert_eq!(state(&house), state(&again));
}

#[test]
fn one_car_file_is_an_archive_to_read() {
    let house = House::sealed();
    let head = house.ok(&["head"]).out.trim().parse().expect("a CID");
    let reader = gwa::archive::disk::Reader::open(&house.data()).expect("an archive");
    let mut file = Vec::new();
    let mut car = CarWriter::new(&mut file, &head).expect("a CAR");
    car.put(&reader.blocks().get(&head).expect("the head"))
        .expect("a block");
    for path in cars(&house.data()) {
        for block in CarReader::new(fs::File::open(path).expect("a file")).expect("a CAR") {
            car.put(&block.expect("a block")).expect("a block");
        }
    }
    car.finish().expect("a CAR");
    let file = house.file("archive.car", &file);

    let nobody = House::new();
    let read = |args: &[&str]| nobody.ok(&[args, &[&file]].concat()).out;
    assert_eq!(
        read(&["--json", "query"]),
        house.ok(&["--json", "query"]).out
    );
    assert_eq!(read(&["verify"]), house.ok(&["verify"]).out);
    assert_eq!(read(&["log"]), house.ok(&["log"]).out);
}

#[test]
fn a_reader_who_leaves_early_is_no_failure() {
    let house = House::sealed();
    let mut child = gwa()
        .arg("--data")
        .arg(house.data())
        .args(["--json", "query"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gwa runs");
    let mut first = [0];
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut first).expect("a byte");
    drop(stdout);
    let ended: Ended = child.wait_with_output().expect("gwa ends").into();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn only_one_process_writes() {
    let house = House::new();
    house.ok(&["init"]);
    let _open = gwa::archive::disk::Archive::open(&house.data()).expect("an archive");
    let ended = house.fails(11, &["seal"]);
    let pid = std::process::id().to_string();
    assert!(ended.err.contains(&pid), "{}", ended.err);
}

#[test]
fn a_daemon_makes_its_archive_tells_where_it_is_and_ends_cleanly() {
    let house = House::new();
    let mut daemon = gwa()
        .arg("--data")
        .arg(house.data())
        .args([
            "--json",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--nat",
            "extip:203.0.113.7",
            "--http",
            "127.0.0.1:0",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gwa runs");
    let started = started(&mut daemon);
    // Peers are told the address outside; it listens where it was told to.
    let listen = text(&started, "listen");
    let port = listen.strip_prefix("127.0.0.1:").expect("loopback");
    assert_ne!(port, "0");
    let enode = text(&started, "enode");
    assert!(enode.starts_with("enode://"), "{enode}");
    assert!(enode.ends_with(&format!("@203.0.113.7:{port}")), "{enode}");

    let run = house.data().join("run.json");
    let told: Value = serde_json::from_slice(&fs::read(&run).expect("a file")).expect("JSON");
    assert_eq!(told["enode"], started["enode"]);
    assert_eq!(number(&told, "pid"), u64::from(daemon.id()));
    assert!(told["http"].is_string() && told["head"].is_null());

    // One writes; the others read.
    house.fails(11, &["seal"]);
    house.ok(&["fsck"]);

    let kill = format!("kill -TERM {}", daemon.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.expect("sh runs").success());
    let ended: Ended = daemon.wait_with_output().expect("it ends").into();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!run.exists());
    house.fails(10, &["seal"]);
}

#[test]
fn the_demo_ends_by_itself_with_the_head_and_leaves_nothing_behind() {
    let house = House::new();
    let output = gwa()
        .arg("demo")
        .env("TMPDIR", house.folder.path())
        .output();
    let ended: Ended = output.expect("gwa runs").into();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
    assert!(ended.out.starts_with("bafyrei"), "{}", ended.out);
    assert!(ended.err.contains("Carol"), "{}", ended.err);
    let left = fs::read_dir(house.folder.path()).expect("a folder").count();
    assert_eq!(left, 0);
}
