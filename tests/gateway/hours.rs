//! What was sent in each hour, and where it was silent.

use std::collections::BTreeMap;

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::testing::envelope;
use gwa::time::UnixSeconds;
use serde_json::Value;

use crate::house::{DAY, House, SEALED, made, send};

#[tokio::test]
async fn the_last_hours_are_told_with_what_waits_and_where_nothing_came() {
    let house = House::new().await;
    let waits = house.archive.waiting();
    assert!(waits > 0, "some of it is not sealed");
    let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let until = DAY + 700 * 300;
    let first = u64::from(until / 3_600 * 3_600 - 99 * 3_600);
    for hour in 0..100 {
        expected.insert(first + hour * 3_600, (0, 0));
    }
    for one in made() {
        let hour = u64::from(one.sent().0 / 3_600 * 3_600);
        let (count, bytes) = expected.get_mut(&hour).expect("an hour");
        *count += 1;
        *bytes += one.rlp().len() as u64;
    }
    assert!(expected.values().any(|(count, _)| *count == 0));
    let told = house
        .told(&format!("/api/v1/traffic?hours=100&to={until}"))
        .await;
    let hours = told["hours"].as_array().expect("a list").iter();
    let number = |value: &Value| value.as_u64().expect("a number");
    let hours: BTreeMap<_, _> = hours
        .map(|hour| {
            let amount = (number(&hour["count"]), number(&hour["bytes"]));
            (number(&hour["from"]), amount)
        })
        .collect();
    assert_eq!(hours, expected);
    let now = house.told("/api/v1/traffic").await;
    assert_eq!(now["hours"].as_array().map(Vec::len), Some(48));
    for wrong in ["hours=0", "hours=745", "hours=x", "to=never"] {
        let answer = send(house.get(&format!("/api/v1/traffic?{wrong}"))).await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    house.end().await;
}

#[tokio::test]
async fn silences_are_those_that_the_command_line_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::init(folder.path(), "gaps").expect("an archive");
    // One every two minutes, but for five hours of the first day and four of the second.
    let silent = |hour: u32| (8..13).contains(&hour) || (30..34).contains(&hour);
    let envelopes: Vec<_> = (0..2 * 720u32)
        .filter(|n| !silent(n / 30))
        .map(|n| envelope(1, DAY + n * 120, 100))
        .collect();
    archive.append(&envelopes).expect("stored");
    seal_due(&archive, UnixSeconds(SEALED)).expect("sealed");
    let house = House::over(folder, archive, |_| {}).await;
    let to = house.head().body().watermark.at().0 - 1;
    let told = house.told(&format!("/api/v1/gaps?to={to}&days=5")).await;
    let from = (to - 5 * 86_400).to_string();
    let printed = house
        .cli(&["gaps", "--from", &from, "--to", &to.to_string()])
        .await;
    let gaps = told["gaps"].as_array().expect("a list");
    assert!(gaps.len() >= 2, "{told}");
    assert_eq!(gaps.len(), printed.len());
    for (gap, printed) in gaps.iter().zip(&printed) {
        assert_eq!(gap["from"], printed["from"]);
        let last = printed["to"].as_u64().expect("a time");
        assert_eq!(gap["until"], last + 1);
        assert_eq!(gap["expected"], printed["expected"]);
        assert_eq!(gap["had"], 0);
    }
    assert_eq!(gaps[0]["from"], DAY + 8 * 3_600);
    assert_eq!(told["count"], envelopes.len());
    for wrong in ["days=0", "days=367", "days=1e3"] {
        let answer = send(house.get(&format!("/api/v1/gaps?{wrong}"))).await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    house.end().await;
}
