//! `gwa export`, and what an import makes of it.

use std::fs;

use crate::house::{House, corpus, number, text};

fn sealed(envelopes: usize) -> House {
    let house = House::new();
    let file = house.file("corpus.rlps", &corpus(envelopes));
    house.import(&[&file]);
    house
}

#[test]
fn what_is_exported_is_imported_to_the_same_state() {
    let house = sealed(1_000);
    let watermark = number(&house.ok(&["--json", "head"]).last(), "watermark").to_string();
    let count = number(&house.ok(&["--json", "head"]).last(), "count");
    for format in ["car", "rlp", "json"] {
        let file = text(&house.path().join(format!("all.{format}")));
        let row = house
            .ok(&["--json", "export", "--format", format, "-o", &file])
            .last();
        assert_eq!(row["format"], format);
        assert_eq!(
            number(&row, "bytes"),
            fs::metadata(&file).unwrap().len(),
            "{format}"
        );
        let again = House::new();
        let report = again.ok(&["--json", "import", &file]).last();
        assert_eq!(number(&report, "stored"), count, "{format}");
        assert_eq!(number(&report["mismatches"], "envelopes"), 0);
        again.ok(&["seal", "--until", &watermark]);
        assert_eq!(again.state(), house.state(), "{format}");
    }
}

#[test]
fn a_car_is_the_whole_head_the_same_wherever_it_is_made() {
    let house = sealed(1_000);
    let head = house.ok(&["head"]).out.trim().to_owned();
    let car = text(&house.path().join("head.car"));
    house.ok(&["export", "-o", &car]);
    let other = House::new();
    assert_eq!(
        other.ok(&["verify", &car]).out.split(' ').next(),
        Some(&head[..])
    );
    let again = text(&other.path().join("again.car"));
    other.ok(&["export", &car, "-o", &again]);
    assert_eq!(fs::read(&car).unwrap(), fs::read(&again).unwrap());
    let count = other.ok(&["query", &car, "--count"]).out;
    assert_eq!(count, house.ok(&["query", "--count"]).out);
}

#[test]
fn a_part_is_written_by_time_and_topic_and_to_standard_output() {
    let house = sealed(1_000);
    let wanted = ["--chat", "status", "--from", "2018-09-02"];
    let count = house.ok(&[&["query", "--count"][..], &wanted].concat()).out;
    let count: usize = count.trim().parse().unwrap();
    assert!(count > 10);
    let ended = house.ok(&[&["export", "--format", "json"][..], &wanted].concat());
    let lines = ended.objects();
    assert_eq!(lines.len(), count);
    for line in &lines {
        assert_eq!(line["topic"], "0xcd423760");
        assert!(number(line, "sent") >= 1_535_846_400);
        for field in ["hash", "rlp", "ttl", "expiry", "size"] {
            assert!(line.get(field).is_some(), "{field}");
        }
    }
    let sorted = lines.is_sorted_by_key(|line| number(line, "sent"));
    assert!(sorted);
}

#[test]
fn an_export_that_fails_leaves_no_file_behind_and_spoils_none() {
    let house = sealed(300);
    let usage = house.ends(2, &["export", "--chat", "status", "-o", "x.car"]);
    assert!(usage.err.contains("gwa fetch"), "{}", usage.err);

    let car = house.path().join("head.car");
    fs::write(&car, b"what was there").unwrap();
    for entry in fs::read_dir(house.data().join("blocks/deltas")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let days = house.data().join("blocks/days/2018");
    let day = fs::read_dir(days).unwrap().next().unwrap().unwrap();
    fs::remove_file(day.path()).unwrap();
    let ended = house.ends(1, &["export", "-o", &text(&car)]);
    assert!(ended.err.contains("cannot export"), "{}", ended.err);
    assert_eq!(fs::read(&car).unwrap(), b"what was there");
    assert!(!house.path().join("head.car.new").exists());
}
