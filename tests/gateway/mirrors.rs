//! Who follows, and which archives were heard of.

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::testing::envelope;
use gwa::publish::{Announcement, Hints};
use gwa::time::{Clock, SystemClock, UnixSeconds};
use gwa::whisper::message::MessageRandom;
use secp256k1::SecretKey;
use serde_json::Value;

use crate::house::{House, SEALED, filled, send};

fn mirrors(told: &Value) -> &[Value] {
    told["mirrors"].as_array().expect("a list")
}

#[tokio::test]
async fn who_asks_for_heads_is_told_of_and_how_far_it_is() {
    let house = House::new().await;
    let cid = house.cid();
    // Who asks for blocks alone, and who browses, follows nothing.
    let block = format!("/ipfs/{cid}?format=raw");
    send(house.get(&block)).await;
    let browsing = house.get("/head").header("sec-fetch-mode", "cors");
    send(browsing).await;
    let browsing = house.get("/head").header("user-agent", "Mozilla/5.0 (X11)");
    send(browsing).await;
    assert!(mirrors(&house.told("/api/v1/mirrors").await).is_empty());

    send(house.get("/head").header("user-agent", "gwa/9 (test)")).await;
    let raw = send(house.get(&block))
        .await
        .bytes()
        .await
        .expect("a block");
    let car = send(house.get(&format!("/ipfs/{cid}?format=car"))).await;
    let car = car.bytes().await.expect("a CAR");
    let told = house.told("/api/v1/mirrors").await;
    let [mirror] = mirrors(&told) else {
        panic!("one follows: {told}");
    };
    assert_eq!(mirror["address"], "127.0.0.1");
    assert_eq!(mirror["agent"], "gwa/9 (test)");
    assert_eq!(mirror["head"], cid.to_string());
    assert_eq!(mirror["behind"], 0);
    assert_eq!(mirror["blocks"], 1);
    assert_eq!(mirror["bytes"], raw.len() + car.len());

    for n in 1..=2u32 {
        let new = envelope(3, SEALED + n * 300 - 700, 300 + n as usize);
        house.archive.append(&[new]).expect("stored");
        seal_due(&house.archive, UnixSeconds(SEALED + n * 300)).expect("sealed");
    }
    assert_eq!(
        mirrors(&house.told("/api/v1/mirrors").await)[0]["behind"],
        2
    );
    // What it has already is told as such, and counts as asking.
    let heads = house
        .get("/api/v1/heads?limit=1")
        .header("user-agent", "other/1");
    send(heads).await;
    let told = house.told("/api/v1/mirrors").await;
    let mirror = &mirrors(&told)[0];
    assert_eq!(
        (&mirror["behind"], &mirror["agent"]),
        (&0.into(), &"other/1".into())
    );
    house.end().await;
}

#[tokio::test]
async fn archives_that_are_announced_are_told_as_the_command_line_tells_them() {
    let (theirs, other) = filled();
    let key = std::fs::read_to_string(theirs.path().join("archive.key"));
    let key: SecretKey = key.expect("a key").trim().parse().expect("a key");
    let announcement = Announcement {
        head: other.head().expect("sealed"),
        hints: Hints::new(vec!["https://other.example".to_owned()], None).expect("a hint"),
    };
    let now = SystemClock.now();
    let sealed = |at| {
        let template = announcement.seal(&key, at, &MessageRandom::draw());
        template.with_nonce(7)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::init(folder.path(), "").expect("an archive");
    archive
        .append(&[sealed(now.saturating_sub(2_000))])
        .expect("stored");
    seal_due(&archive, now).expect("sealed");
    let house = House::over(folder, archive, |_| {}).await;
    let told = house.told("/api/v1/mirrors").await;
    let [heard] = &told["discovered"].as_array().expect("a list")[..] else {
        panic!("one is announced: {told}");
    };
    let printed = house.cli(&["discover"]).await;
    assert_eq!(printed.len(), 1);
    for (ours, theirs) in [
        ("archive", "key"),
        ("name", "name"),
        ("head", "head"),
        ("seq", "seq"),
        ("heard", "announced"),
        ("share", "share"),
        ("endpoints", "http"),
    ] {
        assert_eq!(heard[ours], printed[0][theirs], "{ours}");
    }
    assert_eq!(heard["own"], false);
    house.end().await;
}
