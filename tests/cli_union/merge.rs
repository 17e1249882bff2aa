//! `gwa merge`.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use gwa::archive::disk::Reader;
use gwa::blocks::car::CarWriter;
use gwa::blocks::{BlockSource, Codec};
use gwa::time::UnixSeconds;
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use crate::house::{House, envelope, hashes};

/// 2018-09-30 00:00.
const FROM: u32 = 1_538_265_600;

/// Envelopes sent so many seconds later.
fn sent(after: &[u32]) -> Vec<Envelope> {
    let of = |after: &u32| envelope(Topic([1; 4]), UnixSeconds(FROM + after), *after);
    after.iter().map(of).collect()
}

/// A sealed archive in `data`.
fn sealed(house: &House, data: &str, envelopes: &[Envelope]) -> Value {
    house.archive(data, envelopes);
    house.run(data, &["--json", "seal"]).expect(0).objects()[0].clone()
}

/// The live history of the archive in `data` as a CAR; without its leaves where
/// they are not wanted.
fn car(house: &House, data: &str, with_leaves: bool) -> String {
    let reader = Reader::open(Path::new(&house.path(data))).expect("an archive");
    let head = reader.head().expect("whole").expect("a head");
    let path = house.path(&format!("{data}.car"));
    let file = File::create(&path).expect("a file");
    let mut writer = CarWriter::new(file, head.cid()).expect("a disk");
    let walked = reader
        .blocks()
        .get_dag(head.cid(), &|_| false, &mut |block| {
            if with_leaves || Codec::of(block.cid()) != Some(Codec::Raw) {
                writer.put(&block).expect("a disk");
            }
            ControlFlow::Continue(())
        });
    walked.expect("an archive is whole");
    path
}

#[test]
fn two_archives_that_merge_each_other_have_one_state() {
    let house = House::new();
    let ours = sent(&[10, 20, 90_000]);
    let theirs = sent(&[20, 30, 200_000, 200_001]);
    let a = sealed(&house, "a", &ours);
    let b = sealed(&house, "b", &theirs);
    let (of_a, of_b) = (car(&house, "a", true), car(&house, "b", true));

    let told = house
        .run("a", &["--json", "merge", &of_b, "--dry-run"])
        .expect(0);
    let told = &told.objects()[0];
    assert_eq!((&told["head"], &told["new"]), (&b["head"], &3.into()));
    let head = house.run("a", &["head"]).expect(0).out;
    assert_eq!(head.trim(), a["head"]);

    let merged = house.run("a", &["--json", "merge", &of_b]).expect(0);
    let row = &merged.objects()[0];
    assert_eq!(
        (&row["new"], &row["heads"], &row["days"]),
        (&3.into(), &1.into(), &1.into())
    );
    assert!(row["blocks"].as_u64() > Some(0) && row["fetched"].as_u64() > Some(0));
    let back = house.run("b", &["--json", "merge", &of_a]).expect(0);
    assert_eq!(back.objects()[0]["state"], row["state"]);
    let all = hashes(ours.iter().chain(&theirs));
    for data in ["a", "b"] {
        assert_eq!(
            house.run(data, &["--json", "query"]).expect(0).hashes(),
            all
        );
        house.run(data, &["verify"]).expect(0);
    }

    let head = house.run("a", &["head"]).expect(0).out;
    let again = house
        .run("a", &["merge", &of_b])
        .expect(0)
        .says("nothing new");
    assert_eq!(again.out, head);
    // The lineage says which head was merged.
    let shown = house.run("a", &["show", head.trim()]).expect(0);
    let shown: Value = serde_json::from_str(&shown.out).expect("DAG-JSON");
    assert_eq!(shown["merged"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_block_that_is_missing_is_named_and_the_head_stays() {
    let house = House::new();
    sealed(&house, "a", &sent(&[10]));
    sealed(&house, "b", &sent(&[20]));
    let head = house.run("a", &["head"]).expect(0).out;
    let thin = car(&house, "b", false);
    let ended = house.run("a", &["merge", &thin]).expect(1);
    ended.says("is missing").says("merging again");
    assert_eq!(house.run("a", &["head"]).expect(0).out, head);
    house.run("a", &["merge"]).expect(2);
    house.run("none", &["merge", &thin]).expect(10);
    house.run("none", &["merge", &thin, "--dry-run"]).expect(10);
}

#[test]
fn while_a_daemon_holds_the_archive_it_says_so() {
    let house = House::new();
    sealed(&house, "b", &sent(&[20]));
    sealed(&house, "a", &sent(&[10]));
    let of_b = car(&house, "b", true);
    let _server = house.serve("a", &[]);
    let ended = house.run("a", &["merge", &of_b]).expect(11);
    ended.says("in use by another process").says("--dry-run");
    house.run("a", &["merge", &of_b, "--dry-run"]).expect(0);
}
