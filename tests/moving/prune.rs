//! `gwa prune`, and what is told of days that are gone.

use std::fs;

use crate::house::{House, corpus, number, text};

/// An archive of three days and a piece, all closed.
fn sealed() -> House {
    let house = House::new();
    let file = house.file("corpus.rlps", &corpus(3_000));
    house.import(&[&file]);
    house
}

fn days(house: &House) -> Vec<(String, u64)> {
    let stats = house.run(&["--json", "stats"]).objects();
    let days = stats.iter().filter(|row| row.get("day").is_some());
    days.map(|row| {
        let day = row["day"].as_str().expect("a day").to_owned();
        (day, number(row, "count"))
    })
    .collect()
}

/// Files of days.
fn files(house: &House) -> usize {
    let entries = fs::read_dir(house.data().join("blocks/days/2018")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "car"))
        .count()
}

#[test]
fn nothing_goes_before_it_was_agreed_to() {
    let house = sealed();
    let held = files(&house);
    let before = ["prune", "--before", "2018-09-03"];
    for agreed in [&["--dry-run"][..], &[]] {
        let ended = house.ok(&[&["--json"], &before[..], agreed].concat());
        let rows = ended.objects();
        assert_eq!(rows.len(), 3, "two days and what they come to");
        assert_eq!(rows[0]["day"], "2018-09-01");
        let summary = ended.last();
        assert_eq!(number(&summary, "days"), 2);
        assert_eq!(summary["dropped"], false);
        assert_eq!(summary["kept_from"], "2018-09-03");
        assert!(
            ended.err.contains("2018-09-01 to 2018-09-02"),
            "{}",
            ended.err
        );
        assert!(ended.err.contains("no other place"), "{}", ended.err);
        assert_eq!(files(&house), held);
    }
    let summary = house
        .ok(&[&["--json"], &before[..], &["--yes"]].concat())
        .last();
    assert_eq!(summary["dropped"], true);
    assert_eq!(files(&house), held - 2);
    let again = house
        .ok(&[&["--json"], &before[..], &["--yes"]].concat())
        .last();
    assert_eq!(number(&again, "days"), 0);
}

#[test]
fn what_is_left_verifies_and_what_is_gone_is_named() {
    let house = sealed();
    let whole = text(&house.path().join("whole.car"));
    house.ok(&["export", "-o", &whole]);
    let head = house.ok(&["head"]).out;
    let (state, all) = (house.state(), days(&house));
    let count = |house: &House, args: &[&str]| {
        let told = house.ok(&[&["query", "--count"], args].concat()).out;
        told.trim().parse::<u64>().expect("a number")
    };
    let kept = ["--from", "2018-09-03"];
    let before = count(&house, &kept);
    house.ok(&["prune", "--before", "2018-09-03", "--yes"]);

    // The tree is the same; what is asked of held days is answered.
    assert_eq!((house.ok(&["head"]).out, house.state()), (head, state));
    assert_eq!(count(&house, &kept), before);

    let verified = house.ends(3, &["--json", "verify"]);
    let row = verified.last();
    assert_eq!(number(&row, "faults"), 0);
    assert_eq!(number(&row, "envelopes"), before);
    let gone = serde_json::json!([["2018-09-01", "2018-09-02"]]);
    assert_eq!(row["not_held"], gone);

    for args in [&["query", "--count"][..], &["export", "--format", "rlp"]] {
        let ended = house.ends(3, args);
        assert!(
            ended.err.contains("2018-09-01 to 2018-09-02"),
            "{}",
            ended.err
        );
        assert!(ended.err.contains("--from 2018-09-03"), "{}", ended.err);
    }

    // Sums of days are told still.
    assert_eq!(days(&house), all);
    let stats = house.ends(3, &["--json", "stats"]).objects();
    let held: Vec<_> = stats
        .iter()
        .filter_map(|row| row["held"].as_bool())
        .collect();
    assert_eq!(held[..3], [false, false, true]);

    // Whoever has them can be checked against the head that named them.
    house.ok(&["verify", &whole]);
}

#[test]
fn days_go_by_age_and_by_what_they_take() {
    let house = sealed();
    let rows = house
        .ok(&["--json", "prune", "--before", "2019-01-01", "--dry-run"])
        .objects();
    let first = number(&rows[0], "bytes");
    let blocks: u64 = {
        let checked = house.ok(&["--json", "fsck"]).last();
        number(&checked, "bytes")
    };
    let most = (blocks - 1).to_string();
    let plan = house
        .ok(&["--json", "prune", "--max-bytes", &most, "--dry-run"])
        .last();
    assert_eq!((number(&plan, "days"), number(&plan, "bytes")), (1, first));
    let nothing = house
        .ok(&["--json", "prune", "--max-bytes", "1T", "--yes"])
        .last();
    assert_eq!(number(&nothing, "days"), 0);
    let ended = house.ends(1, &["prune", "--max-bytes", "1", "--yes"]);
    assert!(ended.err.contains("would be left"), "{}", ended.err);
    // All of the corpus is years old.
    let old = house
        .ok(&["--json", "prune", "--keep", "30d", "--yes"])
        .last();
    assert_eq!(number(&old, "days"), rows.len() as u64 - 1);
    assert_eq!(files(&house), 0);
    house.ends(2, &["prune"]);
    house.ends(2, &["prune", "--keep", "1d", "--before", "2018-09-03"]);
}

#[test]
fn dropped_days_are_missing_by_name_when_another_imports_the_folder() {
    let house = sealed();
    house.ok(&["prune", "--before", "2018-09-03", "--yes"]);
    let to = House::new();
    let ended = to.ends(3, &["--json", "import", &text(&house.data())]);
    let report = ended.last();
    assert_eq!(number(&report["refusals"], "not-held"), 2);
    assert!(ended.err.contains("2018-09-01"), "{}", ended.err);
    assert!(number(&report, "stored") > 0);
}
