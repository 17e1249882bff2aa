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
async fn a_head_counts_as_verified_once_a_gwa_that_was_told_it_says_so() {
    let house = House::new().await;
    let cid = house.cid();
    let tag = |cid: &str| format!("W/\"{cid}.json\"");
    let verified = async || mirrors(&house.told("/api/v1/mirrors").await)[0]["verified"].clone();
    let ask = |agent, tag: String| {
        let head = house.get("/head").header("user-agent", agent);
        send(head.header("if-none-match", tag))
    };
    // Caches of others say what they have, not that they recomputed it.
    let answer = ask("cache/1", tag(&cid.to_string())).await;
    assert_eq!(answer.status(), 304);
    assert!(verified().await.is_null());
    // Nobody verified here what was never told here.
    let other = house.archive.head().expect("sealed").body().state;
    let answer = ask("gwa/9", tag(&other.expect("a state").to_string())).await;
    assert_eq!(answer.status(), 200);
    assert!(verified().await.is_null());

    house
        .archive
        .append(&[envelope(3, SEALED - 400, 300)])
        .expect("stored");
    seal_due(&house.archive, UnixSeconds(SEALED + 300)).expect("sealed");
    // It is behind by a head, and has verified the one before.
    let answer = ask("gwa/9", tag(&cid.to_string())).await;
    assert_eq!(answer.status(), 200);
    let told = house.told("/api/v1/mirrors").await;
    let mirror = &mirrors(&told)[0];
    assert_eq!(mirror["verified"]["head"], cid.to_string());
    assert_ne!(mirror["head"], cid.to_string());
    let seq = mirror["seq"].as_u64().expect("a number");
    assert_eq!(mirror["verified"]["seq"], seq - 1);
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
