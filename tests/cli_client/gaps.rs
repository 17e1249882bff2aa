//! `gwa gaps`.

use gwa::time::UnixSeconds;
use gwa::whisper::{Envelope, Topic};
use serde_json::Value;

use crate::house::{Ended, House, envelope, now};

/// One envelope a minute, over four hours that ended an hour ago.
fn traffic() -> Vec<Envelope> {
    let start = now().saturating_sub(5 * 3_600);
    (0..240)
        .map(|n| envelope(Topic([1, 2, 3, 4]), start.saturating_add(60 * n), n))
        .collect()
}

/// The sums of what is missing here, and at each server.
fn missing(ended: &Ended) -> (u64, Vec<u64>) {
    let objects = ended.objects();
    let rows = objects
        .iter()
        .filter(|row| row.get("missing_here").is_some());
    let number = |value: &Value| value.as_u64().expect("a number");
    let mut here = 0;
    let mut there = Vec::new();
    for row in rows {
        assert!(row["from"].as_u64() <= row["to"].as_u64());
        here += number(&row["missing_here"]);
        let at = row["missing_there"].as_array().expect("an array");
        there.resize(at.len(), 0);
        for (sum, count) in there.iter_mut().zip(at) {
            *sum += number(count);
        }
    }
    (here, there)
}

#[test]
fn what_a_server_has_and_the_archive_misses_is_told_and_filled() {
    let house = House::new();
    let traffic = traffic();
    house.archive("mine", &traffic[..160]);
    house.archive("theirs", &[&traffic[..20], &traffic[60..]].concat());
    let server = house.serve("theirs", &[]);
    let gaps = |args: &[&str]| {
        let args = [&["--json", "gaps", &server.enode], args].concat();
        house.run("mine", &args)
    };
    let found = gaps(&[]).expect(21).says("--fill");
    assert_eq!(missing(&found), (80, vec![40]));
    // Looking alone changes nothing.
    assert_eq!(missing(&gaps(&[]).expect(21)), (80, vec![40]));

    let filled = gaps(&["--fill"]).expect(0);
    let tally = filled.objects().pop().expect("a tally");
    assert_eq!(
        (&tally["filled"], &tally["refused"]),
        (&80.into(), &0.into())
    );
    let after = gaps(&[]).expect(21);
    assert_eq!(missing(&after), (0, vec![40]));

    // Of two servers, each is judged by itself.
    house.archive("all", &traffic);
    let other = house.serve("all", &[]);
    let both = gaps(&[&other.enode]).expect(21);
    assert_eq!(missing(&both), (0, vec![40, 0]));
    let args = ["gaps", &other.enode];
    assert_eq!(house.run("mine", &args).expect(0).out, "");
    // Equal archives find that out without a request for mail.
    let args = ["gaps", &other.enode, "--password", "wrong"];
    assert_eq!(house.run("mine", &args).expect(0).out, "");
}

#[test]
fn nothing_is_filled_while_a_daemon_holds_the_archive() {
    let house = House::new();
    let traffic = traffic();
    house.archive("mine", &traffic[..100]);
    house.archive("theirs", &traffic);
    house.run("mine", &["seal"]).expect(0);
    let server = house.serve("theirs", &[]);
    let _daemon = house.serve("mine", &[]);
    house
        .run("mine", &["gaps", &server.enode, "--fill"])
        .expect(11)
        .says("stop the daemon");
    let told = house
        .run("mine", &["--json", "gaps", &server.enode])
        .expect(21)
        .says("only what is sealed");
    assert_eq!(missing(&told), (140, vec![0]));
}

#[test]
fn servers_that_cannot_be_asked_are_no_gaps() {
    let house = House::new();
    house.archive("mine", &traffic()[..200]);
    house.archive("theirs", &traffic());
    let server = house.serve("theirs", &[]);
    house
        .run("mine", &["gaps", &server.enode, "--password", "wrong"])
        .expect(12);
    let gone = server.enode.clone();
    drop(server);
    house.run("mine", &["gaps", &gone]).expect(1);
    house.run("none", &["gaps"]).expect(10);
    house.run("mine", &["gaps", "--fill"]).expect(2);
}

#[test]
fn a_silence_against_the_own_habit_is_a_gap() {
    let house = House::new();
    // Two days of twenty an hour, but for three hours.
    let start = UnixSeconds(1_600_000_200 / 3_600 * 3_600);
    let busy = (0..960)
        .filter(|n| !(400..460).contains(n))
        .map(|n| envelope(Topic([1, 2, 3, 4]), start.saturating_add(180 * n), n));
    house.archive("mine", &busy.collect::<Vec<_>>());
    let to = start.saturating_add(48 * 3_600 - 1).0.to_string();
    let args = [
        "--json",
        "gaps",
        "--from",
        &start.0.to_string(),
        "--to",
        &to,
    ];
    let ended = house.run("mine", &args).expect(21);
    let rows = ended.objects();
    assert_eq!(rows.len(), 1, "{}", ended.out);
    assert_eq!(rows[0]["from"], start.0 + 20 * 3_600);
    assert_eq!(rows[0]["to"], start.0 + 23 * 3_600 - 1);
    assert_eq!(rows[0]["hours"], 3);

    let before = start.saturating_add(20 * 3_600 - 1).0.to_string();
    let args = ["gaps", "--from", &start.0.to_string(), "--to", &before];
    assert_eq!(house.run("mine", &args).expect(0).out, "");
}
