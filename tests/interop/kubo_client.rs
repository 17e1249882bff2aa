//! The client of Kubo's RPC beside Kubo.

use std::time::Duration;

use gwa::blocks::{Block, Codec};
use gwa::kubo::{Auth, Depth, Kubo as Client, KuboError, KuboLimits, Part, Update};
use ipld_core::ipld::Ipld;
use serde_json::json;

use crate::kubo::Kubo;

pub fn client(kubo: &Kubo) -> Client {
    let limits = KuboLimits {
        stall: Duration::from_secs(2),
        ..KuboLimits::default()
    };
    Client::new(kubo.api().parse().unwrap(), None, limits).unwrap()
}

fn node(children: &[&Block]) -> Block {
    let links = children.iter().map(|block| Ipld::Link(*block.cid()));
    let bytes = serde_ipld_dagcbor::to_vec(&Ipld::List(links.collect())).unwrap();
    Block::new(Codec::DagCbor, bytes)
}

fn leaf(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec())
}

fn car(root: &Block, blocks: &[&Block]) -> Vec<Part> {
    let mut bytes = Vec::new();
    let blocks = blocks.iter().map(|block| Ok((*block).clone()));
    gwa::blocks::car::write_car(&mut bytes, root.cid(), blocks).unwrap();
    vec![Part::Bytes(bytes.into())]
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_go_in_and_come_out_and_missing_ones_are_told_apart() {
    let kubo = Kubo::start();
    let client = client(&kubo);
    assert_eq!(client.id().await.unwrap().id, kubo.peer_id());
    assert!(client.version().await.unwrap().version.starts_with("0."));
    let (a, b) = (leaf("a"), leaf("b"));
    let root = node(&[&a, &b]);
    let parts = car(&root, &[&root, &a]);
    let imported = client.dag_import(parts, false).await.unwrap();
    assert_eq!(imported.blocks, 2);
    assert_eq!(client.block_get(a.cid(), true).await.unwrap(), a.bytes());
    assert_eq!(client.block_stat(a.cid(), true).await.unwrap().bytes, 1);
    let error = client.block_get(b.cid(), true).await.unwrap_err();
    assert!(error.is_missing(), "{error:?}");
    // A part of a DAG is exported, and then said not to be whole.
    let mut export = client.dag_export(root.cid(), true).await.unwrap();
    let error = loop {
        match export.chunk().await {
            Ok(Some(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    assert!(error.is_missing(), "{error:?}");
    let error = client
        .pin_add(root.cid(), Depth::Recursive, "gwa/x", 1)
        .await;
    assert!(error.unwrap_err().is_missing());
    client.block_put(&b).await.unwrap();
    client
        .pin_add(root.cid(), Depth::Recursive, "gwa/x", 1)
        .await
        .unwrap();
    assert_eq!(client.block_get(b.cid(), false).await.unwrap(), b.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_named_listed_moved_on_and_let_go() {
    let kubo = Kubo::start();
    let client = client(&kubo);
    let (a, b) = (leaf("a"), leaf("b"));
    let (first, second) = (node(&[&a]), node(&[&a, &b]));
    let parts = car(&first, &[&first, &second, &a, &b]);
    client.dag_import(parts, false).await.unwrap();
    let add = |cid| client.pin_add(cid, Depth::Recursive, "gwa/x/head", 1);
    add(first.cid()).await.unwrap();
    client
        .pin_add(b.cid(), Depth::Recursive, "other gwa/x/", 1)
        .await
        .unwrap();
    let listed = async || {
        let pins = client.pin_ls(Depth::Recursive, "gwa/x/").await.unwrap();
        assert!(!pins.of_cluster);
        let pins = pins.pins.into_iter();
        pins.map(|pin| (pin.cid, pin.name.unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [(*first.cid(), "gwa/x/head".to_owned())]);
    let update = |from, to| client.pin_update(from, to);
    assert_eq!(update(first.cid(), second.cid()).await, Ok(Update::Updated));
    assert_eq!(update(first.cid(), second.cid()).await, Ok(Update::NoOld));
    assert_eq!(listed().await, [(*second.cid(), "gwa/x/head".to_owned())]);
    add(first.cid()).await.unwrap();
    assert_eq!(
        update(first.cid(), second.cid()).await,
        Ok(Update::IsPinned)
    );
    assert_eq!(client.pin_rm(first.cid(), Depth::Recursive).await, Ok(true));
    assert_eq!(
        client.pin_rm(first.cid(), Depth::Recursive).await,
        Ok(false)
    );
    assert_eq!(listed().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_car_and_a_file_that_is_not_there_are_told_as_what_they_are() {
    let kubo = Kubo::start();
    let client = client(&kubo);
    let a = leaf("a");
    let Part::Bytes(bytes) = car(&a, &[&a]).remove(0) else {
        panic!("bytes were made");
    };
    let torn = Part::Bytes(bytes.slice(..bytes.len() - 1));
    let error = client.dag_import(vec![torn], true).await.unwrap_err();
    assert!(matches!(error, KuboError::Failed(_)), "{error:?}");
    let gone = Part::File {
        path: kubo.repo().join("gone"),
        from: 0,
    };
    let error = client.dag_import(vec![gone], true).await.unwrap_err();
    assert!(matches!(error, KuboError::Io { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_what_is_closed_to_others() {
    let kubo = Kubo::start();
    kubo.configure(|config| {
        config["API"]["Authorizations"] = json!({
            "ann": {"AuthSecret": "basic:ann:secret", "AllowedPaths": ["/api/v0"]},
            "bot": {"AuthSecret": "bearer:token", "AllowedPaths": ["/api/v0"]},
        });
    });
    let mut kubo = kubo;
    kubo.kill();
    kubo.restart();
    let url = || kubo.api().parse().unwrap();
    let asked = async |auth: Option<&str>| {
        let auth = auth.map(|text| text.parse::<Auth>().unwrap());
        let client = Client::new(url(), auth, KuboLimits::default()).unwrap();
        client.id().await
    };
    for auth in ["basic:ann:secret", "bearer:token"] {
        asked(Some(auth)).await.unwrap();
    }
    for auth in [None, Some("basic:ann:wrong"), Some("bearer:secret")] {
        let error = asked(auth).await.unwrap_err();
        assert!(matches!(error, KuboError::Refused(_)), "{error:?}");
        assert!(!format!("{error:?}{error}").contains("wrong"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_at_the_address_is_no_kubo_and_nobody_is_away() {
    let kubo = Kubo::start();
    let at = |url: String| Client::new(url.parse().unwrap(), None, KuboLimits::default()).unwrap();
    let error = at(kubo.gateway()).id().await.unwrap_err();
    assert!(matches!(error, KuboError::Refused(_)), "{error:?}");
    let error = at("http://127.0.0.1:1".to_owned()).id().await.unwrap_err();
    assert!(matches!(error, KuboError::Away(_)), "{error:?}");
}
