//! `gwa import`.

use std::fs::{self, File};
use std::path::Path;

use crate::house::{House, corpus, number, text};

const STATUS: &str = "fixtures/leveldb/status";
const GETH: &str = "fixtures/leveldb/geth";

/// How many entries goleveldb finds in a fixture.
fn keys(name: &str) -> u64 {
    let keys = fs::read_to_string(format!("{name}.keys")).expect("a fixture");
    keys.lines().count() as u64
}

/// Copies a fixture to where a test may spoil it.
fn copy(name: &str, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(name).expect("a fixture") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[test]
fn a_mailservers_leveldb_is_taken_in_whole_and_again_as_duplicates() {
    let house = House::new();
    for folder in [STATUS, GETH] {
        let held = keys(folder);
        for (stored, duplicate) in [(held, 0), (0, held)] {
            let report = house.ok(&["--json", "import", folder]).last();
            assert_eq!(number(&report, "read"), held);
            assert_eq!(number(&report, "stored"), stored);
            assert_eq!(number(&report, "duplicate"), duplicate);
            assert_eq!(number(&report, "refused"), 0);
            assert_eq!(number(&report["mismatches"], "envelopes"), 0);
            assert_eq!(report["sources"][0]["kind"], "LevelDB");
        }
    }
    house.ok(&["seal"]);
    let count = house.ok(&["query", "--count"]).out;
    assert_eq!(
        count.trim().parse::<u64>().unwrap(),
        keys(STATUS) + keys(GETH)
    );
}

#[test]
fn what_they_come_from_never_shows_in_the_state() {
    let from_leveldb = House::new();
    from_leveldb.import(&[GETH, STATUS]);
    let rlp = text(&from_leveldb.path().join("all.rlps"));
    from_leveldb.ok(&["query", "--rlp", &rlp]);
    let from_stream = House::new();
    from_stream.import(&[&rlp]);
    let from_archive = House::new();
    from_archive.import(&[&text(&from_stream.data())]);
    assert_eq!(from_stream.state(), from_leveldb.state());
    assert_eq!(from_archive.state(), from_leveldb.state());
}

#[test]
fn the_report_tells_times_work_and_sources_and_may_be_kept() {
    let house = House::new();
    let file = house.file("corpus.rlps", &corpus(500));
    let kept = text(&house.path().join("report.json"));
    let ended = house.ok(&["--json", "import", "--report", &kept, &file, GETH]);
    let report = ended.last();
    let again: serde_json::Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    assert_eq!(again, report);
    assert_eq!(report["sources"].as_array().unwrap().len(), 2);
    let by_source: u64 = report["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| number(source, "read"))
        .sum();
    assert_eq!(by_source, number(&report, "read"));
    // The corpus shows 0.002 by both definitions.
    for row in report["pow"].as_array().unwrap() {
        if row["at_least"].as_f64().unwrap() <= 0.002 {
            assert_eq!(number(row, "count"), number(&report, "read"), "{row}");
        }
    }
    assert!(number(&report, "first_sent") >= 1_535_809_212);
    assert!(number(&report, "last_sent") <= 1_538_395_121);
    let told = house.ok(&["import", GETH]).out;
    assert!(told.contains("sent from 2018-09-0"), "{told}");
    assert!(told.contains("work by eip-627: 60 show 0.001"), "{told}");
}

#[test]
fn damage_is_told_and_the_rest_is_stored() {
    let house = House::new();
    let folder = house.path().join("mailserver");
    copy(STATUS, &folder);
    let table = folder.join("000004.ldb");
    let mut bytes = fs::read(&table).unwrap();
    bytes[9_000] ^= 1;
    fs::write(&table, bytes).unwrap();
    let ended = house.ends(3, &["--json", "import", &text(&folder)]);
    let report = ended.last();
    assert_eq!(number(&report["refusals"], "damaged"), 1);
    assert!(number(&report, "stored") > 150);
    assert!(ended.err.contains("000004.ldb: byte "), "{}", ended.err);
}

#[test]
fn a_folder_that_cannot_be_read_says_what_helps() {
    let house = House::new();
    let node = house.path().join("node");
    copy(GETH, &node.join("wnode"));
    let ended = house.ends(1, &["import", &text(&node)]);
    assert!(ended.err.contains("did you mean"), "{}", ended.err);
    assert!(ended.err.contains("wnode"), "{}", ended.err);

    let lock = File::open(node.join("wnode/LOCK")).unwrap();
    lock.lock().unwrap();
    let ended = house.ends(11, &["import", &text(&node.join("wnode"))]);
    assert!(ended.err.contains("stop the node"), "{}", ended.err);

    let ended = house.ends(1, &["import", &text(&house.path().join("nothing"))]);
    assert!(ended.err.contains("nothing"), "{}", ended.err);
}

#[test]
fn another_archive_gives_what_it_sealed_and_what_waits_there() {
    let from = House::new();
    let (first, second) = (corpus(300), corpus(400));
    from.import(&[&from.file("first.rlps", &first)]);
    from.ok(&["import", &from.file("second.rlps", &second)]);
    let to = House::new();
    let report = to.ok(&["--json", "import", &text(&from.data())]).last();
    to.ok(&["seal"]);
    from.ok(&["seal"]);
    assert_eq!(to.state(), from.state());
    assert_eq!(report["sources"][0]["kind"], "archive");
    assert_eq!(number(&report, "refused"), 0);
}
