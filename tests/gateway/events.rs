//! What changes, as it changes.

use gwa::archive::disk::seal_due;
use gwa::archive::testing::envelope;
use gwa::limits::Limits;
use gwa::time::UnixSeconds;
use reqwest::Method;
use serde_json::Value;

use crate::house::{House, SEALED, header, send};
use crate::listener::Listener;

const PATH: &str = "/api/v1/events";

#[tokio::test]
async fn a_page_is_told_how_things_stand_and_then_what_changes() {
    let house = House::new().await;
    let mut stream = Listener::of(house.get(PATH)).await;
    let status = stream.wait_for("status").await;
    assert_eq!(status["name"], house.told("/api/v1/status").await["name"]);
    assert_eq!(
        stream.wait_for("head").await["cid"],
        house.cid().to_string()
    );
    let verify = stream.wait_for("verify").await;
    assert_eq!(
        (&verify["running"], &verify["last"]),
        (&Value::Null, &Value::Null)
    );

    let new = envelope(3, SEALED - 400, 300);
    house.archive.append(&[new]).expect("stored");
    seal_due(&house.archive, UnixSeconds(SEALED + 300)).expect("sealed");
    let head = stream.wait_for("head").await;
    assert_eq!(head["cid"], house.cid().to_string());
    assert_eq!(head["seq"], house.head().body().sequence.0);

    let post = house.request(Method::POST, "/api/v1/verify");
    assert_eq!(send(post.bearer_auth(house.token())).await.status(), 202);
    let found = loop {
        let told = stream.wait_for("verify").await;
        if told["last"].is_object() {
            break told;
        }
    };
    assert_eq!(found["last"]["ok"], true);
    // It ends with the daemon, which waits for nobody.
    house.end().await;
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn streams_are_bounded_and_a_place_is_free_again_once_one_is_left() {
    let house = House::limited(Limits::default()).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(Listener::of(house.get(PATH)).await);
    }
    let refused = send(house.get(PATH)).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, "retry-after"), "30");
    drop(streams);
    crate::house::eventually(async || send(house.get(PATH)).await.status() == 200).await;
    house.end().await;
}
