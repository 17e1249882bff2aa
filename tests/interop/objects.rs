//! The archive in a bucket of objects, kept by versitygw.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use gwa::archive::disk::{Archive, Heads};
use gwa::archive::testing::traffic;
use gwa::depot::registry::{Registry, keeps_conditions};
use gwa::depot::{Depot, DepotError, testing};
use serde_json::Value;

use crate::running::Running;
use crate::versitygw::Versitygw;

/// How often two writers race.
const RACES: u32 = 100;

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.arg("--data").arg(data).args(args);
    command
}

fn gwa(data: &Path, args: &[&str]) -> Output {
    command(data, args).arg("--json").output().unwrap()
}

/// Machines with one archive's key, and a folder of a bucket that they share.
struct Shared<'a> {
    server: &'a Versitygw,
    folder: tempfile::TempDir,
}

impl<'a> Shared<'a> {
    fn new(server: &'a Versitygw) -> Self {
        let shared = Self {
            server,
            folder: tempfile::tempdir().unwrap(),
        };
        let [a, b] = ["a", "b"].map(|name| shared.data(name));
        told(&gwa(&a, &["init"]));
        std::fs::create_dir(&b).unwrap();
        for name in ["archive.key", "archive.json"] {
            std::fs::copy(a.join(name), b.join(name)).unwrap();
        }
        shared
    }

    fn data(&self, machine: &str) -> PathBuf {
        self.folder.path().join(machine)
    }

    /// A command on a machine that has the store in its environment.
    fn command(&self, machine: &str, args: &[&str]) -> Command {
        let mut command = command(&self.data(machine), args);
        command
            .envs(self.server.keys())
            .env("GWA_STORE", self.server.store("shared"));
        command
    }

    fn run(&self, machine: &str, args: &[&str]) -> Value {
        told(&self.command(machine, args).arg("--json").output().unwrap())
    }

    fn serve(&self, machine: &str, args: &[&str]) -> Running {
        let mut command = self.command(machine, &["-v", "serve"]);
        command
            .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(args);
        let mut daemon = Running::start(&mut command);
        daemon.wait_for("enode://");
        daemon
    }

    fn http(&self, machine: &str) -> String {
        let run = std::fs::read(self.data(machine).join("run.json")).unwrap();
        let run: Value = serde_json::from_slice(&run).unwrap();
        run["http"].as_str().unwrap().to_owned()
    }

    /// A file of envelopes.
    fn envelopes(&self, seed: u64, count: usize) -> String {
        let (from, days) = (testing::FROM, 3 * 86_400);
        let records = traffic(seed, count, 12, from, from + days);
        let bytes: Vec<u8> = records.iter().flat_map(|r| r.bytes.to_vec()).collect();
        let path = self.folder.path().join(format!("{seed}.rlp"));
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn told(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn a_bucket_does_what_every_depot_must() {
    let server = Versitygw::start();
    let scratch = tempfile::tempdir().unwrap();
    testing::run(scratch.path(), &|_: &Archive, dir: &Path| {
        let part = dir.file_name().unwrap().to_str().unwrap();
        Box::new(server.depot(&format!("suite/{part}")))
    });
}

#[test]
fn of_two_that_write_an_entry_at_once_one_wins_each_time() {
    let server = Versitygw::start();
    let depots = [server.depot("race"), server.depot("race")];
    assert!(keeps_conditions(&depots[0]).unwrap());
    assert!(keeps_conditions(&depots[1]).unwrap());
    let barrier = Barrier::new(depots.len());
    let won: Vec<[bool; RACES as usize * 2]> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let mut threads = Vec::new();
        for (who, depot) in depots.iter().enumerate() {
            threads.push(scope.spawn(move || race(who, depot, barrier)));
        }
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    });
    for at in 0..won[0].len() {
        let winners = won.iter().filter(|won| won[at]).count();
        assert_eq!(winners, 1, "race {at}");
    }
}

/// Creates numbers, then replaces one entry over and over, each time at once with
/// another; says which it won.
fn race(who: usize, depot: &dyn Registry, barrier: &Barrier) -> [bool; RACES as usize * 2] {
    let mut won = [false; RACES as usize * 2];
    let (creating, replacing) = won.split_at_mut(RACES as usize);
    for (number, won) in creating.iter_mut().enumerate() {
        barrier.wait();
        let mine = format!("writer {who}");
        let created = depot.create(&format!("claims/{number:010}"), mine.as_bytes());
        *won = created.unwrap().is_some();
    }
    for (number, won) in replacing.iter_mut().enumerate() {
        barrier.wait();
        let version = match depot.entry("POINTER").unwrap() {
            Some(entry) => entry.version,
            None => match depot.create("POINTER", b"begun").unwrap() {
                Some(version) => version,
                None => depot.entry("POINTER").unwrap().unwrap().version,
            },
        };
        // Both have read the same version before either writes.
        barrier.wait();
        let mine = format!("writer {who} in {number}");
        let replaced = depot.replace("POINTER", mine.as_bytes(), &version);
        *won = replaced.unwrap().is_some();
    }
    won
}

#[test]
fn a_server_that_is_killed_in_mid_upload_has_nothing_by_half() {
    let mut server = Versitygw::start();
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "").unwrap();
    // A day of so many bytes goes in parts.
    testing::take_in(&archive, 5, 30_000, testing::FROM, testing::FROM + 86_400);
    testing::seal(&archive, testing::FROM + 90_000);
    let head = archive.head().unwrap();
    let mut larger = 0;
    for kill_after in [0u64, 20, 60, 150] {
        let folder = format!("killed-{kill_after}");
        let depot = server.depot(&folder);
        std::thread::scope(|scope| {
            let carried = scope.spawn(|| {
                let mut failed = None;
                testing::each_parcel(&archive, |parcel| {
                    larger = larger.max(parcel.file.bytes);
                    if failed.is_none() {
                        failed = depot.keep(parcel).err();
                    }
                });
                failed
            });
            // Whatever it is doing then.
            std::thread::sleep(Duration::from_millis(kill_after));
            server.kill();
            if let Some(error) = carried.join().unwrap() {
                assert!(error.is_transient(), "{error}");
            }
        });
        assert!(matches!(depot.newest_head(), Err(DepotError::Away { .. })));
        server.restart();
        testing::carry(&depot, &archive);
        testing::assert_whole(&server.depot(&folder), &head);
    }
    assert!(
        larger > 9 << 20,
        "no file went in parts: {larger} bytes at most"
    );
}

#[test]
fn whoever_may_not_write_and_a_bucket_that_is_not_there_are_told() {
    let mut server = Versitygw::start();
    let wrong = [
        ("AWS_ACCESS_KEY_ID", "whoever-may-write"),
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
    ];
    let stranger = [
        ("AWS_ACCESS_KEY_ID", "stranger"),
        ("AWS_SECRET_ACCESS_KEY", "stranger"),
    ];
    for keys in [&wrong[..], &stranger, &[]] {
        let refused = server.depot_as("a", keys).newest_head().unwrap_err();
        assert!(
            matches!(refused, DepotError::Refused { .. }),
            "{keys:?}: {refused}"
        );
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
    let elsewhere = server.depot("../another-bucket").newest_head().unwrap_err();
    assert!(
        matches!(elsewhere, DepotError::Refused { .. }),
        "{elsewhere}"
    );
    server.kill();
    let away = server.depot("a").newest_head().unwrap_err();
    assert!(matches!(away, DepotError::Away { .. }), "{away}");
}

#[test]
fn a_bucket_that_anybody_may_read_is_a_source_as_it_is() {
    let server = Versitygw::start();
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::init(dir.path(), "in a bucket").unwrap();
    testing::live_through(&archive, 3);
    testing::carry(&server.depot("public"), &archive);
    server.show();
    let head = archive.head().unwrap();
    let mirror = tempfile::tempdir().unwrap();
    told(&gwa(mirror.path(), &["mirror", &server.url("public")]));
    let verified = told(&gwa(mirror.path(), &["verify"]));
    assert_eq!(verified["head"], head.cid().to_string());
}

/// Rounds of a writer that is killed, and another that takes its turn.
const TURNS: u64 = 6;

/// Envelopes that each takes in, in each round.
const ENVELOPES: usize = 400;

#[test]
fn a_writer_that_is_killed_is_taken_over_from_and_no_number_is_signed_twice() {
    let server = Versitygw::start();
    let shared = Shared::new(&server);
    for turn in 0..TURNS {
        let [mine, theirs] = [2 * turn + 1, 2 * turn + 2];
        let mine = shared.envelopes(mine, ENVELOPES);
        shared.run("a", &["import", &mine]);
        let mut writer = shared.command("a", &["seal"]);
        let mut writer = writer
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Whatever it is doing then: from before it has the lease to after its seal.
        std::thread::sleep(Duration::from_millis(150 * turn));
        writer.kill().unwrap();
        writer.wait().unwrap();

        let mut other = shared.serve("b", &["--take-over"]);
        other.wait_for("this machine seals");
        assert_eq!(other.terminate(), Some(0));
        let theirs = shared.envelopes(theirs, ENVELOPES);
        shared.run("b", &["import", &theirs]);
        shared.run("b", &["seal"]);
    }
    // What each acknowledged and had no turn for is sealed now.
    let [_, _, last, ended] = ["a", "b", "a", "b"].map(|machine| shared.run(machine, &["seal"]));
    assert_eq!(ended["head"], last["head"]);
    let totals = shared.run("a", &["head"]);
    assert_eq!(totals["count"], TURNS * 2 * ENVELOPES as u64);
    for machine in ["a", "b"] {
        let verified = shared.run(machine, &["verify"]);
        assert_eq!(verified["head"], ended["head"]);
    }
    let mut numbers = BTreeMap::new();
    for machine in ["a", "b"] {
        let heads = Heads::new(&shared.data(machine));
        for head in heads.lineage().unwrap() {
            let head = head.unwrap();
            let first = *numbers.entry(head.body().sequence).or_insert(*head.cid());
            assert_eq!(
                first,
                *head.cid(),
                "two heads have number {}",
                head.body().sequence
            );
        }
    }
}

#[test]
fn whoever_waits_for_its_turn_follows_and_neither_carries_nor_signs() {
    let server = Versitygw::start();
    let shared = Shared::new(&server);
    shared.run("a", &["import", &shared.envelopes(1, ENVELOPES)]);
    let mut writer = shared.serve("a", &["--seal-every", "1s"]);
    writer.wait_for("carried");
    let mut waiting = shared.serve("b", &[]);
    waiting.wait_for("went over to a head");
    let [a, b] = ["a", "b"].map(|machine| shared.run(machine, &["head"]));
    assert_eq!((&a["head"], &a["count"]), (&b["head"], &(ENVELOPES).into()));
    assert_eq!(waiting.terminate(), Some(0));
    let refused = shared.command("b", &["store", "carry"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("another machine seals"),
        "{said}"
    );
    // The store is known where nobody names it.
    assert_eq!(writer.terminate(), Some(0));
    let mut unnamed = command(&shared.data("a"), &["seal", "--json"]);
    told(&unnamed.envs(server.keys()).output().unwrap());
    let mut alone = command(&shared.data("a"), &["serve"]);
    let alone = alone.envs(server.keys()).output().unwrap();
    let said = String::from_utf8_lossy(&alone.stderr);
    assert!(
        !alone.status.success() && said.contains("--store s3:"),
        "{said}"
    );
}

#[test]
fn a_replica_answers_as_the_writer_does_while_the_writer_goes_on() {
    let server = Versitygw::start();
    let shared = Shared::new(&server);
    shared.run("a", &["import", &shared.envelopes(1, ENVELOPES)]);
    shared.run("a", &["seal"]);
    shared.run("a", &["store", "carry"]);
    let mut replica = shared.serve("replica", &["--replica", "--follow-every", "1s"]);
    for seed in 2..5 {
        shared.run("a", &["import", &shared.envelopes(seed, ENVELOPES)]);
        shared.run("a", &["seal"]);
        shared.run("a", &["store", "carry"]);
        let head = shared.run("a", &["head"])["head"]
            .as_str()
            .unwrap()
            .to_owned();
        replica.wait_for(&head);
        let url = shared.http("replica");
        let answers = |data: &str, reference: &[&str]| {
            let mut command = shared.command(data, &["query", "--json"]);
            let output = command.args(reference).output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(str::to_owned)
                .collect();
            lines.sort();
            lines
        };
        let own = answers("a", &[]);
        assert_eq!(own.len(), ENVELOPES * (usize::try_from(seed).unwrap()));
        assert_eq!(answers("reader", &[&url]), own);
    }
    let posted = shared.command("replica", &["seal"]).output().unwrap();
    assert!(!posted.status.success());
    assert_eq!(replica.terminate(), Some(0));
    // Nothing of the archive came to rest there.
    let blocks = shared.data("replica").join("blocks");
    let days = std::fs::read_dir(blocks.join("days")).map_or(0, Iterator::count);
    assert_eq!(days, 0);
}
