//! CARs: what is in them, in which order, and how they are told.

use std::collections::HashSet;
use std::ops::ControlFlow;

use gwa::archive::disk::{seal_due, sealed_by};
use gwa::archive::testing::envelope;
use gwa::archive::verify::{Sample, verify};
use gwa::blocks::car::CarReader;
use gwa::blocks::links::links;
use gwa::blocks::{BlockSource, BlockStore, Cid, Group, MemoryStore, Reuse};
use gwa::progress::Quiet;
use gwa::time::UnixSeconds;
use reqwest::Method;

use crate::house::{House, SEALED, cids, header, send};

#[tokio::test]
async fn a_head_with_all_below_it_is_the_live_history_and_enough_to_verify_it() {
    let house = House::new().await;
    let first = house.head();
    let late = envelope(9, SEALED - 500, 300);
    house.archive.append(&[late]).expect("stored");
    seal_due(&house.archive, UnixSeconds(SEALED + 600)).expect("sealed");
    let head = house.head();
    assert_eq!(head.body().prev, Some(*first.cid()));
    let found = house.car(&format!("/ipfs/{}?format=car", head.cid())).await;
    assert_eq!(&found[0], head.block());
    let given: HashSet<Cid> = cids(&found).into_iter().collect();
    assert_eq!(given.len(), found.len(), "each block once");
    let mut live = HashSet::new();
    let walked = house
        .archive
        .blocks()
        .get_dag(head.cid(), &|_| false, &mut |block| {
            live.insert(*block.cid());
            ControlFlow::Continue(())
        });
    walked.expect("all is held");
    assert_eq!(given, live);
    assert!(!given.contains(first.cid()), "lineage is no link");

    let store = MemoryStore::default();
    let mut writer = store
        .begin(Group::Calendar, Reuse::Nothing)
        .expect("memory");
    for block in &found {
        writer.put(block).expect("memory");
    }
    writer.commit(head.cid()).expect("memory");
    let verified = verify(
        &store,
        &sealed_by(&head),
        *head.cid(),
        Sample::EVERYTHING,
        &Quiet,
    );
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    assert!(verified.envelopes >= head.body().totals.count);
    house.end().await;
}

#[tokio::test]
async fn blocks_come_depth_first_in_the_order_of_their_links() {
    let house = House::new().await;
    let head = house.head();
    let found = house.car(&format!("/ipfs/{}?format=car", head.cid())).await;
    let mut expected = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![*head.cid()];
    while let Some(cid) = stack.pop() {
        if !seen.insert(cid) {
            continue;
        }
        expected.push(cid);
        stack.extend(links(&house.block(&cid)).expect("a node").into_iter().rev());
    }
    assert_eq!(cids(&found), expected);

    let twice = format!("/ipfs/{}?format=car&car-dups=y", head.cid());
    let twice = cids(&house.car(&twice).await);
    let mut expected = Vec::new();
    let mut stack = vec![*head.cid()];
    while let Some(cid) = stack.pop() {
        expected.push(cid);
        stack.extend(links(&house.block(&cid)).expect("a node").into_iter().rev());
    }
    assert_eq!(twice, expected);
    assert!(twice.len() > found.len(), "state and delta share days");
    house.end().await;
}

#[tokio::test]
async fn a_car_comes_with_all_its_headers() {
    let house = House::new().await;
    let cid = house.cid();
    let path = format!("/ipfs/{cid}?format=car");
    let answer = send(house.get(&path)).await;
    assert_eq!(answer.status(), 200);
    let told = [
        (
            "content-type",
            "application/vnd.ipld.car; version=1; order=dfs; dups=n".to_owned(),
        ),
        (
            "content-disposition",
            format!("attachment; filename=\"{cid}.car\""),
        ),
        (
            "cache-control",
            "public, max-age=29030400, immutable".to_owned(),
        ),
        ("accept-ranges", "none".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-ipfs-path", format!("/ipfs/{cid}")),
        ("x-ipfs-roots", cid.to_string()),
        ("content-encoding", String::new()),
    ];
    for (name, value) in &told {
        assert_eq!(&header(&answer, name), value, "{name}");
    }
    let tag = header(&answer, "etag");
    assert!(
        tag.starts_with("\"all-") && tag.contains(&cid.to_string()),
        "{tag}"
    );
    let bytes = answer.bytes().await.expect("a body");
    assert_eq!(CarReader::new(&bytes[..]).expect("a CAR").roots(), [cid]);
    let again = send(house.get(&path)).await;
    assert_eq!(again.bytes().await.expect("a body"), bytes);

    let head = send(house.request(Method::HEAD, &path)).await;
    for (name, value) in &told {
        assert_eq!(&header(&head, name), value, "{name}");
    }
    assert!(head.bytes().await.expect("no body").is_empty());
    let known = send(house.get(&path).header("if-none-match", &tag)).await;
    assert_eq!(known.status(), 304);
    assert!(known.bytes().await.expect("no body").is_empty());
    house.end().await;
}

#[tokio::test]
async fn every_way_to_ask_for_something_else_has_a_tag_of_its_own() {
    let house = House::new().await;
    let cid = house.cid();
    let mut tags = HashSet::new();
    for query in [
        "format=raw",
        "format=car",
        "format=car&dag-scope=block",
        "format=car&dag-scope=entity",
        "format=car&entity-bytes=0:9",
        "format=car&entity-bytes=0:*",
        "format=car&car-dups=y",
    ] {
        let answer = send(house.get(&format!("/ipfs/{cid}?{query}"))).await;
        assert_eq!(answer.status(), 200, "{query}");
        assert!(tags.insert(header(&answer, "etag")), "{query}");
    }
    // One end, two ways to it.
    let day = house
        .resolve(&format!("/ipfs/{cid}/state/2019/07/15"))
        .await;
    for path in [format!("{cid}/state/2019/07/15"), day.to_string()] {
        let answer = send(house.get(&format!("/ipfs/{path}?format=car"))).await;
        assert!(tags.insert(header(&answer, "etag")), "{path}");
    }
    house.end().await;
}

#[tokio::test]
async fn a_path_comes_with_what_proves_it() {
    let house = House::new().await;
    let cid = house.cid();
    let day = house
        .resolve(&format!("/ipfs/{cid}/state/2019/07/15"))
        .await;
    let way: Vec<Cid> = {
        let path = format!("/ipfs/{cid}/state/2019/07/15?format=car&dag-scope=block");
        let answer = send(house.get(&path)).await;
        let roots = header(&answer, "x-ipfs-roots");
        roots
            .split(',')
            .map(|root| root.parse().expect("a CID"))
            .collect()
    };
    assert_eq!(way.last(), Some(&day));
    for scope in ["dag-scope=block", "dag-scope=entity", "entity-bytes=0:*"] {
        let path = format!("/ipfs/{cid}/state/2019/07/15?format=car&{scope}");
        assert_eq!(cids(&house.car(&path).await), way, "{scope}");
    }
    let all = house
        .car(&format!("/ipfs/{cid}/state/2019/07/15?format=car"))
        .await;
    let below = cids(&house.car(&format!("/ipfs/{day}?format=car")).await);
    assert_eq!(cids(&all), [&way[..4], &below].concat());
    // A place within a block: the block, and what lies below the place.
    let open = house.head().body().open.clone();
    let within = cids(&house.car(&format!("/ipfs/{cid}/open?format=car")).await);
    assert_eq!(within[..2], [cid, open[0]]);
    assert!(!within.contains(&house.head().body().state.expect("a state")));
    let alone = house
        .car(&format!("/ipfs/{cid}/open?format=car&dag-scope=block"))
        .await;
    assert_eq!(cids(&alone), [cid]);
    house.end().await;
}

#[tokio::test]
async fn bytes_of_a_leaf_are_the_leaf_and_none_of_it_is_refused() {
    let house = House::new().await;
    let all = house
        .car(&format!("/ipfs/{}?format=car", house.cid()))
        .await;
    let leaf = all.iter().find(|block| block.cid().codec() == 0x55);
    let leaf = leaf.expect("a leaf");
    let len = leaf.bytes().len();
    let ask = |bytes: &str| format!("/ipfs/{}?format=car&entity-bytes={bytes}", leaf.cid());
    for bytes in [
        "0:*",
        "0:0",
        "-5:*",
        "-999999999:-3",
        &format!("{}:999999999", len - 1),
    ] {
        assert_eq!(
            house.car(&ask(bytes)).await,
            std::slice::from_ref(leaf),
            "{bytes}"
        );
    }
    for bytes in [format!("{len}:*"), format!("0:-{}", len + 1)] {
        assert_eq!(send(house.get(&ask(&bytes))).await.status(), 400, "{bytes}");
    }
    // A node is no array of bytes.
    let node = format!("/ipfs/{}?format=car&entity-bytes=99999999:*", house.cid());
    assert_eq!(cids(&house.car(&node).await), [house.cid()]);
    house.end().await;
}

#[tokio::test]
async fn the_probe_is_answered_in_both_forms() {
    let house = House::new().await;
    let raw = send(house.get("/ipfs/bafkqaaa?format=raw")).await;
    assert_eq!(raw.status(), 200);
    assert_eq!(header(&raw, "content-length"), "0");
    assert!(raw.bytes().await.expect("no body").is_empty());
    let accept = house.get("/ipfs/bafkqaaa");
    let car = send(accept.header("accept", "application/vnd.ipld.car")).await;
    assert_eq!(car.status(), 200);
    let bytes = car.bytes().await.expect("a body");
    let mut reader = CarReader::new(&bytes[..]).expect("a CAR");
    assert_eq!(reader.roots(), ["bafkqaaa".parse::<Cid>().expect("a CID")]);
    assert!(reader.next().is_none());
    for format in ["raw", "car"] {
        let path = format!("/ipfs/bafkqaaa?format={format}");
        assert_eq!(send(house.request(Method::HEAD, &path)).await.status(), 200);
        let known = house.get(&path).header("if-none-match", "*");
        assert_eq!(send(known).await.status(), 304);
    }
    // "hello": data that is its own CID.
    let hello = send(house.get("/ipfs/bafkqabtimvwgy3yk?format=raw")).await;
    assert_eq!(hello.bytes().await.expect("a body"), "hello\n");
    assert_eq!(
        send(house.get("/ipfs/bafkqaaa/x?format=car"))
            .await
            .status(),
        404
    );
    house.end().await;
}
