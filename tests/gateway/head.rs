//! The head, as JSON and as its block.

use serde_json::Value;

use crate::house::{House, header, send};

#[tokio::test]
async fn the_head_is_told_as_json() {
    let house = House::new().await;
    let head = house.head();
    let answer = send(house.get("/head")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "cache-control"), "no-cache");
    let told: Value = answer.json().await.expect("JSON");
    assert_eq!(told["head"], head.cid().to_string());
    assert_eq!(told["seq"], 1);
    assert_eq!(told["count"], 600);
    house.end().await;
}

#[tokio::test]
async fn run_json_leads_to_the_head() {
    let house = House::new().await;
    let text = std::fs::read(house.folder.path().join("run.json")).expect("run.json");
    let run: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(run["http"], house.url);
    assert_eq!(run["head"], house.head().cid().to_string());
    house.end().await;
}
