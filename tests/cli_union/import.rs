//! `gwa import` and `gwa export`, and the files they name.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;

use gwa::time::UnixSeconds;
use gwa::whisper::{Envelope, Topic};

use crate::house::{House, envelope};

/// 2018-09-30 00:00.
const FROM: u32 = 1_538_265_600;

fn sent(after: u32) -> Envelope {
    envelope(Topic([1; 4]), UnixSeconds(FROM + after), after)
}

fn stream(house: &House, name: &str, pieces: &[&[u8]]) -> String {
    let path = house.path(name);
    fs::write(&path, pieces.concat()).expect("a file");
    path
}

#[test]
fn damage_is_named_though_many_envelopes_were_too_old_before_it() {
    let house = House::new();
    let kept = sent(10 * 86_400);
    house.archive("a", &[sent(0), kept]);
    house.run("a", &["seal"]).expect(0);
    house
        .run("a", &["prune", "--before", "2018-10-08", "--yes"])
        .expect(0);
    let old: Vec<u8> = (0..1_100).flat_map(|n| sent(n).rlp().to_vec()).collect();
    let file = stream(&house, "old.rlps", &[&old, b"garbage"]);
    let ended = house.run("a", &["--json", "import", &file]).expect(3);
    assert_eq!(ended.objects()[0]["refusals"]["no-longer-kept"], 1_100);
    ended.says(&format!("byte {}", old.len()));
}

#[test]
fn sources_behind_one_that_fails_are_said_not_to_be_read() {
    let house = House::new();
    house.run("a", &["init"]).expect(0);
    let bad = stream(&house, "bad.rlps", &[b"garbage"]);
    let good = stream(&house, "good.rlps", &[sent(1).rlp()]);
    let ended = house.run("a", &["--json", "import", &bad, &good]).expect(3);
    let report = &ended.objects()[0];
    assert_eq!(report["sources"][0]["source"], bad);
    assert_eq!(report["not_read"], serde_json::json!([good]));
    let none = house.path("none.rlps");
    let ended = house
        .run("a", &["--json", "import", &none, &good])
        .expect(1);
    assert_eq!(
        ended.objects()[0]["not_read"],
        serde_json::json!([none, good])
    );
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_read() {
    let house = House::new();
    house.run("a", &["init"]).expect(0);
    let good = stream(&house, "good.rlps", &[sent(1).rlp()]);
    let nowhere = house.path("no/such/folder.json");
    let args = ["--json", "import", &good, "--report", &nowhere];
    let ended = house.run("a", &args).expect(1);
    assert_eq!(ended.objects().len(), 0);
    let report = house.path("report.json");
    let ended = house.run("a", &["--json", "import", &good, "--report", &report]);
    let told = &ended.expect(0).objects()[0];
    assert_eq!(told["stored"], 1);
    let kept: serde_json::Value =
        serde_json::from_slice(&fs::read(&report).expect("a report")).expect("JSON");
    assert_eq!(&kept, told);

    // The disk is full: what the import itself came to decides the exit code.
    let bad = stream(&house, "bad.rlps", &[b"garbage"]);
    let args = ["import", &bad, "--report", "/dev/full"];
    house
        .run("a", &args)
        .expect(3)
        .says("cannot write the report");
    house
        .run("a", &["import", &good, "--report", "/dev/full"])
        .expect(1)
        .says("cannot write the report");
    assert!(
        Path::new("/dev/full")
            .metadata()
            .expect("a device")
            .file_type()
            .is_char_device()
    );
}

#[test]
fn an_export_goes_through_a_pipe_and_a_link_and_leaves_both() {
    let house = House::new();
    house.archive("a", &[sent(1), sent(2)]);
    house.run("a", &["seal"]).expect(0);
    let (file, pipe, link) = (house.path("f"), house.path("pipe"), house.path("link"));
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    fs::write(&file, b"before").expect("a file");
    let export = |to: &str| {
        house
            .run("a", &["export", "--format", "rlp", "-o", to])
            .expect(0);
    };
    let expected = [&sent(1).rlp()[..], sent(2).rlp()].concat();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&pipe).expect("a pipe"));
        export(&pipe);
        assert_eq!(reader.join().expect("it reads"), expected);
    });
    export(&link);
    assert!(Path::new(&link).is_symlink());
    assert_eq!(fs::read(&file).expect("a file"), expected);
    assert!(!house.exists("pipe.new") && !house.exists("link.new"));
}
