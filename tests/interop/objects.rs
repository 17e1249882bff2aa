//! The archive in a bucket of objects, kept by versitygw.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Barrier;

use gwa::archive::disk::Archive;
use gwa::depot::registry::Registry;
use gwa::depot::{Depot, DepotError, testing};
use serde_json::Value;

use crate::versitygw::Versitygw;

/// How often two writers race.
const RACES: u32 = 100;

fn gwa(data: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gwa"))
        .arg("--data")
        .arg(data)
        .arg("--json")
        .args(args)
        .output()
        .unwrap()
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
            std::thread::sleep(std::time::Duration::from_millis(kill_after));
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
