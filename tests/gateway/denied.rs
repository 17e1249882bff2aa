//! Denylists.

use std::fs;

use gwa::archive::disk::Archive;
use gwa::config::{HttpAddress, HttpPartial, Partial, Settings};
use gwa::node::Daemon;
use gwa::rlpx::NodeKey;
use gwa::time::SystemClock;

use crate::house::{House, eventually, filled, header, send};

#[tokio::test]
async fn what_a_list_denies_is_gone_in_every_form_and_the_list_is_followed() {
    let (folder, archive) = filled();
    let list = folder.path().join("list.deny");
    fs::write(&list, "version: 1\nname: test\n---\n# nothing yet\n").expect("written");
    let house = House::over(folder, archive, |http| {
        http.denylists = Some(vec![list.clone()]);
    })
    .await;
    let cid = house.cid();
    let day = house
        .resolve(&format!("/ipfs/{cid}/state/2019/07/15"))
        .await;
    let month = house.resolve(&format!("/ipfs/{cid}/state/2019/07")).await;
    let status = async |path: &str| send(house.get(path)).await.status().as_u16();
    let raw = format!("/ipfs/{day}?format=raw");
    assert_eq!(status(&raw).await, 200);

    fs::write(&list, format!("/ipfs/{day}\n")).expect("written");
    eventually(async || status(&raw).await == 410).await;
    for path in [
        format!("/ipfs/{day}?format=car"),
        format!("/ipfs/{cid}/state/2019/07/15?format=raw"),
        format!("/ipfs/{cid}/state/2019/07/15?format=car"),
    ] {
        assert_eq!(status(&path).await, 410, "{path}");
    }
    let gone = send(house.get(&raw).header("if-none-match", "*")).await;
    assert_eq!(gone.status(), 410);
    assert_eq!(header(&gone, "cache-control"), "no-store");
    // A CAR that would hold it is cut off; what does not is served.
    let cut = send(house.get(&format!("/ipfs/{cid}?format=car"))).await;
    assert!(cut.bytes().await.is_err());
    assert_eq!(status(&format!("/ipfs/{month}?format=raw")).await, 200);
    assert_eq!(status("/head").await, 200);

    fs::write(
        &list,
        format!("/ipfs/{month}/1*\n!/ipfs/{month}/16\n/ipfs/{cid}\n"),
    )
    .expect("written again");
    eventually(async || status("/head?format=cbor").await == 410).await;
    // What is signed of a head is its block, wherever it is asked for.
    assert_eq!(status("/api/v1/heads?format=car").await, 410);
    assert_eq!(status("/api/v1/heads").await, 200);
    assert_eq!(status(&format!("/ipfs/{month}/15?format=raw")).await, 410);
    assert_eq!(status(&format!("/ipfs/{month}/16?format=raw")).await, 200);
    // By another way to it, and by its own name, it is not denied.
    assert_eq!(status(&raw).await, 200);
    house.end().await;
}

#[tokio::test]
async fn a_daemon_does_not_start_without_the_list_it_was_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let loopback = ([127, 0, 0, 1], 0).into();
    let flags = Partial {
        listen: Some(loopback),
        http: HttpPartial {
            address: Some(HttpAddress::At(loopback)),
            denylists: Some(vec![folder.path().join("none.deny")]),
            ..HttpPartial::default()
        },
        ..Partial::default()
    };
    let settings = Settings::resolve(folder.path(), flags, Partial::default());
    let archive = Archive::init(folder.path(), "gate").expect("an archive");
    let clock = std::sync::Arc::new(SystemClock);
    let started = Daemon::start(archive.into(), NodeKey::generate(), &settings, clock).await;
    let refused = started.err().expect("a refusal").to_string();
    assert!(refused.contains("none.deny"), "{refused}");
}
