//! What the public conformance suite of IPFS gateways asks of trustless ones, as
//! far as it is about forms and headers; `docs/gateway.md` says which of its cases
//! stand where. Its fixtures are UnixFS, which is not served here: the same is
//! asked of an archive's own blocks.

use gwa::blocks::car::CarReader;
use reqwest::Method;

use crate::house::{House, blocks, cids, header, send};

/// The suite's identity CID: "hello", and a line more.
const IDENTITY: &str = "bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa";

#[tokio::test]
async fn order_and_duplicates_are_told_whatever_was_asked() {
    let house = House::new().await;
    let path = format!("/ipfs/{}", house.cid());
    let mut lengths = Vec::new();
    for (query, accept, dups) in [
        (
            "",
            "application/vnd.ipld.car; version=1; order=dfs; dups=y",
            'y',
        ),
        (
            "",
            "application/vnd.ipld.car; version=1; order=dfs; dups=n",
            'n',
        ),
        ("", "application/vnd.ipld.car; version=1; order=unk", 'n'),
        ("", "application/vnd.ipld.car", 'n'),
        // What the header says of the same form counts beside the query.
        (
            "?format=car",
            "application/vnd.ipld.car; version=1; order=dfs; dups=y",
            'y',
        ),
        // What the query says goes first.
        (
            "?format=car&car-dups=n",
            "application/vnd.ipld.car; version=1; order=dfs; dups=y",
            'n',
        ),
        (
            "?format=car&car-version=1&car-order=dfs&car-dups=y",
            "*/*",
            'y',
        ),
    ] {
        let request = house.get(&format!("{path}{query}"));
        let answer = send(request.header("accept", accept)).await;
        assert_eq!(answer.status(), 200, "{query} {accept}");
        let kind = format!("application/vnd.ipld.car; version=1; order=dfs; dups={dups}");
        assert_eq!(header(&answer, "content-type"), kind);
        let found = blocks(&answer.bytes().await.expect("a whole CAR"));
        lengths.push((dups, found.len()));
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert_eq!(lengths.len(), 2, "one length each: {lengths:?}");
    assert!(lengths[0].1 < lengths[1].1, "{lengths:?}");
    house.end().await;
}

#[tokio::test]
async fn an_identity_cid_is_never_a_block_of_a_car() {
    let house = House::new().await;
    for accept in [
        "application/vnd.ipld.car; dups=y",
        "application/vnd.ipld.car; dups=n",
    ] {
        let request = house.get(&format!("/ipfs/{IDENTITY}"));
        let answer = send(request.header("accept", accept)).await;
        assert_eq!(answer.status(), 200);
        let dups = accept.rsplit(' ').next().expect("a parameter");
        assert!(header(&answer, "content-type").ends_with(dups));
        let bytes = answer.bytes().await.expect("a whole CAR");
        assert_eq!(CarReader::new(&bytes[..]).expect("a CAR").count(), 0);
    }
    house.end().await;
}

#[tokio::test]
async fn a_name_that_is_not_there_is_a_404_and_no_short_car() {
    let house = House::new().await;
    for path in ["nothing", "state/2019/07/i-do-not-exist", "state/1969"] {
        let path = format!("/ipfs/{}/{path}?format=car", house.cid());
        assert_eq!(send(house.get(&path)).await.status(), 404, "{path}");
    }
    house.end().await;
}

#[tokio::test]
async fn an_entity_of_dag_cbor_is_the_node_without_what_it_links_to() {
    let house = House::new().await;
    let cid = house.cid();
    let state = house.head().body().state.expect("a state");
    let path = format!("/ipfs/{cid}/state?format=car&dag-scope=entity");
    assert_eq!(cids(&house.car(&path).await), [cid, state]);
    let path = format!("/ipfs/{cid}?format=car&dag-scope=entity");
    assert_eq!(cids(&house.car(&path).await), [cid]);
    house.end().await;
}

#[tokio::test]
async fn pages_may_read_every_answer_and_refusal() {
    let house = House::new().await;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        // No form is named: a refusal, but for `OPTIONS`.
        let answer = send(house.request(method.clone(), "/ipfs/bafkqabtimvwgy3yk/")).await;
        let has = |name: &str, wanted: &[&str]| {
            let told = header(&answer, name).to_ascii_lowercase();
            let told: Vec<_> = told.split(", ").collect();
            for one in wanted {
                assert!(
                    told.contains(&one.to_ascii_lowercase().as_str()),
                    "{method} {name}: {one}"
                );
            }
        };
        has("access-control-allow-origin", &["*"]);
        has("access-control-allow-methods", &["GET", "HEAD", "OPTIONS"]);
        has(
            "access-control-allow-headers",
            &["Content-Type", "Range", "User-Agent", "X-Requested-With"],
        );
        has(
            "access-control-expose-headers",
            &[
                "Content-Range",
                "Content-Length",
                "X-Ipfs-Roots",
                "X-Chunked-Output",
                "X-Stream-Output",
            ],
        );
    }
    house.end().await;
}
