//! What the archive holds, from years down to buckets, and where it is.

use std::collections::BTreeMap;
use std::fs;

use gwa::archive::disk::Archive;
use gwa::time::UnixSeconds;
use gwa::whisper::Envelope;
use serde_json::Value;

use crate::house::{DAY, House, filled, made, send};

fn list<'a>(told: &'a Value, name: &str) -> &'a [Value] {
    told[name].as_array().expect("a list")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Number and bytes of what was sent from `from` to before `until`.
fn amount(envelopes: &[Envelope], from: u32, until: u32) -> (u64, u64) {
    let sent = envelopes
        .iter()
        .filter(|e| (from..until).contains(&e.sent().0));
    sent.fold((0, 0), |(count, bytes), envelope| {
        (count + 1, bytes + envelope.rlp().len() as u64)
    })
}

fn told_amount(told: &Value) -> (u64, u64) {
    (number(&told["count"]), number(&told["bytes"]))
}

#[tokio::test]
async fn years_months_and_days_amount_to_what_was_archived() {
    let house = House::new().await;
    let head = house.head();
    let years = house.told("/api/v1/calendar").await;
    assert_eq!(years["head"], head.cid().to_string());
    assert_eq!(years["seq"], head.body().sequence.0);
    assert_eq!(years["watermark"], head.body().watermark.at().0);
    assert_eq!(list(&years, "years").len(), 1);
    let year = &list(&years, "years")[0];
    assert_eq!(year["year"], "2019");
    let totals = head.body().totals;
    let open = told_amount(&years["open"]);
    let closed = told_amount(year);
    assert!(open.0 > 0);
    assert_eq!(
        (open.0 + closed.0, open.1 + closed.1),
        (totals.count, totals.bytes)
    );

    let months = house.told("/api/v1/calendar?year=2019").await;
    assert_eq!(told_amount(&months), closed);
    assert_eq!(months["cid"], year["cid"]);
    let month = &list(&months, "months")[0];
    assert_eq!(month["month"], "2019-07");
    let mut sums = BTreeMap::new();
    for day in list(month, "days") {
        assert_eq!(
            (&day["held"], &day["where"]),
            (&true.into(), &"here".into())
        );
        sums.insert(day["day"].as_str().expect("a day"), told_amount(day));
    }
    let made = made();
    assert_eq!(sums["2019-07-15"], amount(&made, DAY, DAY + 86_400));
    assert_eq!(
        sums["2019-07-16"],
        amount(&made, DAY + 86_400, DAY + 2 * 86_400)
    );
    assert_eq!(sums.len(), 3);
    let day = house
        .resolve(&format!("/ipfs/{}/state/2019/07/15", head.cid()))
        .await;
    assert_eq!(list(month, "days")[0]["cid"], day.to_string());
    house.end().await;
}

#[tokio::test]
async fn a_day_is_told_in_the_buckets_it_is_kept_in() {
    let house = House::new().await;
    let made = made();
    let watermark = house.head().body().watermark.at().0;
    for (name, start, count) in [
        ("2019-07-15", DAY, 1),
        // Five closed hours, and what came since.
        ("2019-07-17", DAY + 2 * 86_400, 6),
    ] {
        let day = house.told(&format!("/api/v1/days/{name}")).await;
        let windows = list(&day, "windows");
        assert_eq!(windows.len(), count, "{name}");
        assert_eq!(day["where"], "here");
        for window in windows {
            let (from, until) = (number(&window["from"]), number(&window["until"]));
            let bounds = [from, until].map(|at| u32::try_from(at).expect("32 bits"));
            let expected = amount(&made, bounds[0], bounds[1]);
            assert_eq!(told_amount(window), expected, "{window}");
            let is_open = window["open"].as_bool().expect("open or not");
            assert_eq!(is_open, bounds[1] == watermark && count > 1, "{window}");
            let block = format!(
                "/ipfs/{}?format=raw",
                window["cid"].as_str().expect("a CID")
            );
            assert_eq!(send(house.get(&block)).await.status(), 200);
        }
        let until = watermark.min(start + 86_400);
        assert_eq!(told_amount(&day), amount(&made, start, until));
    }
    house.end().await;
}

#[tokio::test]
async fn what_is_no_day_and_what_there_is_nothing_of_is_said() {
    let house = House::new().await;
    for (path, status) in [
        ("days/2019-07-14", 404),
        ("days/2019-7-15", 400),
        ("days/2019-02-30", 400),
        ("days/%00", 400),
        ("days/..%2f..%2fhead", 400),
        ("calendar?year=2018", 404),
        ("calendar?year=-1", 400),
        ("calendar?year=99999", 400),
        ("calendar?year=2019&year=2019", 400),
    ] {
        let answer = send(house.get(&format!("/api/v1/{path}"))).await;
        assert_eq!(answer.status(), status, "{path}");
        let told: Value = answer.json().await.expect("JSON");
        assert!(told["error"].is_string(), "{path}");
    }
    house.end().await;
    let folder = tempfile::tempdir().expect("a folder");
    let empty = Archive::init(folder.path(), "").expect("an archive");
    let house = House::over(folder, empty, |_| {}).await;
    for path in ["calendar", "days/2019-07-15", "query", "share"] {
        let answer = send(house.get(&format!("/api/v1/{path}"))).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    house.end().await;
}

/// Where the first two days are.
async fn places(house: &House) -> Vec<(Value, Value)> {
    let told = house.told("/api/v1/calendar?year=2019").await;
    let days = list(&list(&told, "months")[0], "days").iter().take(2);
    days.map(|day| (day["where"].clone(), day["held"].clone()))
        .collect()
}

#[tokio::test]
async fn days_that_are_not_here_are_told_from_those_that_are() {
    let gone = House::damaged(|folder| {
        let year = folder.join("blocks/days/2019");
        let mut files: Vec<_> = fs::read_dir(year)
            .expect("days")
            .map(|file| file.expect("a file").path())
            .collect();
        files.sort();
        fs::remove_file(&files[0]).expect("a day");
    })
    .await;
    let here: (Value, Value) = ("here".into(), true.into());
    let elsewhere: (Value, Value) = ("elsewhere".into(), false.into());
    assert_eq!(places(&gone).await, [elsewhere, here.clone()]);
    gone.end().await;

    let (folder, archive) = filled();
    archive
        .drop_before(UnixSeconds(DAY + 86_400))
        .expect("dropped");
    let dropped = House::over(folder, archive, |_| {}).await;
    let first: (Value, Value) = ("dropped".into(), false.into());
    assert_eq!(places(&dropped).await, [first, here]);
    let query = dropped.told("/api/v1/query?limit=1000").await;
    assert_eq!(query["kept_from"], DAY + 86_400);
    assert!(
        list(&query, "envelopes")
            .iter()
            .all(|e| number(&e["sent"]) >= u64::from(DAY + 86_400))
    );
    assert!(!list(&query, "envelopes").is_empty());
    dropped.end().await;
}
