//! The lineage, the totals, the segments.

use gwa::archive::disk::seal_due;
use gwa::archive::head::Head;
use gwa::archive::testing::envelope;
use gwa::time::UnixSeconds;
use serde_json::Value;

use crate::house::{DAY, House, SEALED, blocks, header, send};

/// As many heads as `to`, each with an envelope of its own.
fn seal_to(house: &House, to: u64) {
    for n in house.head().body().sequence.0..to {
        let at = SEALED + u32::try_from(n).expect("few") * 300;
        let new = envelope(3, at - 700, 300 + usize::try_from(n).expect("few"));
        house.archive.append(&[new]).expect("stored");
        seal_due(&house.archive, UnixSeconds(at)).expect("sealed");
    }
    assert_eq!(house.head().body().sequence.0, to);
}

async fn told(house: &House, path: &str) -> Value {
    let answer = send(house.get(path)).await;
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(header(&answer, "cache-control"), "no-cache");
    answer.json().await.expect("JSON")
}

fn numbers(page: &Value) -> Vec<u64> {
    let heads = page["heads"].as_array().expect("a list").iter();
    heads
        .map(|head| head["seq"].as_u64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn the_lineage_is_told_newest_first_page_by_page() {
    let house = House::new().await;
    seal_to(&house, 40);
    let all = told(&house, "/api/v1/heads").await;
    assert_eq!(numbers(&all), (1..=40).rev().collect::<Vec<_>>());
    assert_eq!(all["next"], Value::Null);
    assert_eq!(all["heads"][0]["head"], house.cid().to_string());
    assert_eq!(all["heads"][0]["prev"], all["heads"][1]["head"]);
    let mut seen = Vec::new();
    let mut path = "/api/v1/heads?limit=7".to_owned();
    loop {
        let page = told(&house, &path).await;
        seen.extend(numbers(&page));
        match page["next"].as_u64() {
            Some(next) => path = format!("/api/v1/heads?limit=7&before={next}"),
            None => break,
        }
    }
    assert_eq!(seen, numbers(&all));
    for (query, expected) in [
        ("before=9&after=3", vec![8, 7, 6, 5, 4]),
        ("after=38", vec![40, 39]),
        ("after=40", vec![]),
        ("before=1", vec![]),
        ("before=2&limit=5", vec![1]),
        ("limit=0", vec![40]),
        ("before=99&limit=1", vec![40]),
    ] {
        let page = told(&house, &format!("/api/v1/heads?{query}")).await;
        assert_eq!(numbers(&page), expected, "{query}");
    }
    for wrong in ["limit=x", "before=-1"] {
        let answer = send(house.get(&format!("/api/v1/heads?{wrong}"))).await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    house.end().await;
}

#[tokio::test]
async fn heads_between_two_numbers_come_signed_in_one_request() {
    let house = House::new().await;
    seal_to(&house, 12);
    let path = "/api/v1/heads?after=4&before=10";
    for request in [
        house.get(&format!("{path}&format=car")),
        house.get(path).header("accept", "application/vnd.ipld.car"),
    ] {
        let answer = send(request).await;
        assert_eq!(answer.status(), 200);
        assert!(header(&answer, "content-type").starts_with("application/vnd.ipld.car"));
        let found = blocks(&answer.bytes().await.expect("a body"));
        let heads = found
            .into_iter()
            .map(|block| Head::decode(block).expect("a head"));
        let heads: Vec<_> = heads.collect();
        let numbers: Vec<_> = heads.iter().map(|head| head.body().sequence.0).collect();
        assert_eq!(numbers, [9, 8, 7, 6, 5]);
        assert!(heads.iter().all(|head| head.key() == house.head().key()));
    }
    let none = send(house.get("/api/v1/heads?after=12&format=car")).await;
    assert_eq!(none.status(), 404);
    let other = send(house.get("/api/v1/heads?format=xml")).await;
    assert_eq!(other.status(), 406);
    house.end().await;
}

#[tokio::test]
async fn totals_are_told_by_month() {
    let house = House::new().await;
    let head = house.head();
    let totals = head.body().totals;
    let told = told(&house, "/api/v1/stats").await;
    assert_eq!(told["head"], head.cid().to_string());
    assert_eq!(told["count"], totals.count);
    assert_eq!(told["bytes"], totals.bytes);
    assert_eq!(told["waiting"], house.archive.waiting());
    let months = told["months"].as_array().expect("a list");
    assert_eq!(months.len(), 1);
    assert_eq!(months[0]["month"], "2019-07");
    let month = house
        .resolve(&format!("/ipfs/{}/state/2019/07", head.cid()))
        .await;
    assert_eq!(months[0]["cid"], month.to_string());
    house.end().await;
}

#[tokio::test]
async fn segments_are_told_in_order_of_time() {
    let house = House::new().await;
    let cid = house.cid();
    let all = told(&house, "/api/v1/segments").await;
    let segments = all["segments"].as_array().expect("a list").clone();
    // Two closed days, then the closed hours of the third.
    assert_eq!(segments[0]["from"], DAY);
    assert_eq!(segments[0]["to"], DAY + 86_399);
    assert_eq!(segments[2]["to"], DAY + 2 * 86_400 + 3_599);
    assert!(segments.len() > 3, "{segments:?}");
    let day = house
        .resolve(&format!("/ipfs/{cid}/state/2019/07/15"))
        .await;
    assert_eq!(segments[0]["cid"], day.to_string());
    for segment in &segments {
        let path = format!(
            "/ipfs/{}?format=raw",
            segment["cid"].as_str().expect("a CID")
        );
        assert_eq!(send(house.get(&path)).await.status(), 200);
    }
    let first = told(&house, "/api/v1/segments?limit=1").await;
    assert_eq!(first["segments"].as_array().expect("a list").len(), 1);
    assert_eq!(first["next"], DAY + 86_400);
    let rest = told(&house, &format!("/api/v1/segments?from={}", first["next"])).await;
    assert_eq!(rest["segments"].as_array().expect("a list"), &segments[1..]);
    let none = told(&house, &format!("/api/v1/segments?to={}", DAY - 1)).await;
    assert_eq!(none["segments"].as_array().map(Vec::len), Some(0));
    house.end().await;
}
