//! The archive recomputed while it serves.

use std::fs;
use std::os::unix::fs::FileExt;

use reqwest::Method;
use serde_json::Value;

use crate::house::{House, eventually, send};

const PATH: &str = "/api/v1/verify";

/// Verifies, and gives what was found.
async fn verified(house: &House) -> Value {
    let begun = house.request(Method::POST, PATH).bearer_auth(house.token());
    let begun = send(begun).await;
    assert_eq!(begun.status(), 202);
    eventually(async || house.told(PATH).await["running"].is_null()).await;
    house.told(PATH).await["last"].clone()
}

#[tokio::test]
async fn only_who_has_the_token_begins_a_verification() {
    let house = House::new().await;
    let post = || house.request(Method::POST, PATH);
    let bare = send(post()).await;
    assert_eq!(bare.status(), 401);
    assert_eq!(crate::house::header(&bare, "www-authenticate"), "Bearer");
    let told: Value = bare.json().await.expect("JSON");
    assert!(
        told["error"].is_string() && told["hint"].is_string(),
        "{told}"
    );
    assert_eq!(send(post().bearer_auth("guess")).await.status(), 401);
    let token = house.token();
    for (name, value) in [
        ("host", "evil.example"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let answer = send(post().bearer_auth(&token).header(name, value)).await;
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    let told = house.told(PATH).await;
    assert_eq!(
        (&told["running"], &told["last"]),
        (&Value::Null, &Value::Null)
    );
    // The explorer's own page says where it is from.
    let own = post().bearer_auth(&token).header("origin", &house.url);
    assert_eq!(send(own).await.status(), 202);
    house.end().await;
}

#[tokio::test]
async fn it_finds_what_the_command_line_finds() {
    let house = House::new().await;
    let last = verified(&house).await;
    let printed = house.cli(&["verify"]).await;
    for field in ["head", "days", "envelopes", "bytes"] {
        assert_eq!(last[field], printed[0][field], "{field}");
    }
    assert_eq!(last["ok"], true);
    assert_eq!(last["fault_count"], printed[0]["faults"]);
    assert!(last["blocks"].as_u64() > Some(3));
    assert!(last["took"].as_f64() >= Some(0.0));
    house.end().await;
}

#[tokio::test]
async fn damage_is_found_and_named_by_block_until_it_is_looked_at_again() {
    let house = House::damaged(|folder| {
        let year = folder.join("blocks/days/2019");
        let mut days: Vec<_> = fs::read_dir(year)
            .expect("days")
            .map(|file| file.expect("a file").path())
            .collect();
        days.sort();
        let file = fs::File::options()
            .write(true)
            .open(&days[0])
            .expect("a day");
        let len = file.metadata().expect("a file").len();
        file.write_all_at(&[0xff; 8], len - 8).expect("written");
    })
    .await;
    let last = verified(&house).await;
    assert_eq!(last["ok"], false);
    let faults = last["faults"].as_array().expect("a list");
    assert_eq!(last["fault_count"], faults.len());
    let printed = house.cli(&["verify"]).await;
    assert_eq!(last["fault_count"], printed[0]["faults"]);
    let cid = faults[0]["cid"].as_str().expect("a block");
    assert!(faults[0]["what"].as_str().expect("words").contains(cid));
    house.end().await;
}
