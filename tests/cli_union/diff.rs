//! `gwa diff`.

use gwa::time::UnixSeconds;
use gwa::whisper::{Envelope, Topic};

use crate::house::{House, envelope, hashes};

/// 2018-09-30 00:00.
const FROM: u32 = 1_538_265_600;
const ONE: Topic = Topic([1; 4]);
const TWO: Topic = Topic([2; 4]);

/// Three envelopes of a day in the first head, four more of it and of the next
/// in the second.
fn two_heads(house: &House) -> (String, Vec<Envelope>) {
    let sent = |topic, after: u32| envelope(topic, UnixSeconds(FROM + after), after);
    house.archive("data", &[10, 20, 30].map(|after| sent(ONE, after)));
    let first = house.run("data", &["seal"]).expect(0).out;
    let later = [(ONE, 40), (TWO, 50), (TWO, 90_000), (TWO, 90_001)];
    let later = later.map(|(topic, after)| sent(topic, after)).to_vec();
    house.archive("other", &later);
    house
        .run("data", &["import", &house.path("other.rlps")])
        .expect(0);
    house.run("data", &["seal"]).expect(0);
    let cid = first.split_whitespace().next().expect("a CID").to_owned();
    (cid, later)
}

#[test]
fn what_differs_is_printed_with_the_side_it_is_in() {
    let house = House::new();
    let (first, later) = two_heads(&house);
    let head = house.run("data", &["head"]).expect(0).out;
    for (args, side) in [
        (&["--json", "diff", &first, head.trim()][..], "b"),
        // One head alone is compared with the own.
        (&["--json", "diff", &first], "a"),
    ] {
        let ended = house.run("data", args).expect(0);
        assert_eq!(ended.hashes(), hashes(&later));
        assert!(ended.objects().iter().all(|row| row["in"] == side));
    }
    let plain = house.run("data", &["diff", &first, head.trim()]).expect(0);
    assert!(plain.out.lines().all(|line| line.starts_with("b  2018-")));
    plain.says("only in b: 4 envelopes");
}

#[test]
fn topics_and_times_narrow_it_down() {
    let house = House::new();
    let (first, later) = two_heads(&house);
    let two = house.run("data", &["--json", "diff", &first, "--topic", "02020202"]);
    assert_eq!(two.expect(0).hashes(), hashes(&later[1..]));
    let day = ["--from", "2018-09-30", "--to", "2018-09-30T23:59:59Z"];
    let args = [&["--json", "diff", &first][..], &day].concat();
    let day = house.run("data", &args).expect(0);
    assert_eq!(day.hashes(), hashes(&later[..2]));
}

#[test]
fn it_is_counted_by_side_by_day_and_by_topic() {
    let house = House::new();
    let (first, later) = two_heads(&house);
    let bytes = |some: &[Envelope]| some.iter().map(|e| e.rlp().len()).sum::<usize>();
    let count = house.run("data", &["--json", "diff", &first, "--count"]);
    let count = count.expect(0).objects();
    assert_eq!(count[0]["a"]["count"], 4);
    assert_eq!(count[0]["a"]["bytes"], bytes(&later));
    assert_eq!(count[0]["b"]["count"], 0);
    let stat = house.run("data", &["--json", "diff", &first, "--stat", "--explain"]);
    let stat = stat.expect(0).objects();
    assert_eq!(stat[0]["day"], "2018-09-30");
    assert_eq!(stat[0]["a"]["count"], 2);
    assert_eq!(stat[0]["a"]["bytes"], bytes(&later[..2]));
    assert_eq!(stat[1]["day"], "2018-10-01");
    assert_eq!(stat[2]["topic"], "0x02020202");
    assert_eq!((&stat[2]["a"], &stat[2]["b"]), (&3.into(), &0.into()));
    assert_eq!(stat[3]["topic"], "0x01010101");
    assert!(stat[4]["blocks"].as_u64() > Some(0));
}

#[test]
fn the_exit_code_tells_of_differences_where_that_is_asked() {
    let house = House::new();
    let (first, _) = two_heads(&house);
    let told = house.run("data", &["diff", &first, "--exit-code"]);
    assert!(!told.expect(22).err.contains("Error"));
    house.run("data", &["diff", &first]).expect(0);
    let same = house.run("data", &["diff", &first, &first, "--exit-code"]);
    assert_eq!(same.expect(0).out, "");
}

#[test]
fn a_head_that_is_not_there_is_named() {
    let house = House::new();
    two_heads(&house);
    let absent = "bafyreiaggytjrisr4mesze6v777gldctw654yfic46gsm23r226cwdnbum";
    house.run("data", &["diff", absent]).expect(1).says(absent);
    house.run("data", &["diff"]).expect(2).says("<REF>");
}
