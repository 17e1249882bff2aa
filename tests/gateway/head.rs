//! The head, as JSON and as its block.

use gwa::archive::disk::Archive;
use gwa::archive::head::Head;
use gwa::blocks::{Block, Codec};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, SEALED, header, send};

#[tokio::test]
async fn the_head_is_told_as_json() {
    let house = House::new().await;
    let head = house.head();
    let body = head.body();
    for path in ["/head", "/head?format=json", "/.well-known/gwa.json"] {
        let answer = send(house.get(path)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "content-type"), "application/json");
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        let told: Value = answer.json().await.expect("JSON");
        let expected = json!({
            "head": head.cid().to_string(),
            "state": body.state.expect("a state").to_string(),
            "seq": 1,
            "watermark": SEALED / 300 * 300 - 300,
            "count": body.totals.count,
            "bytes": body.totals.bytes,
            "key": format!("0x{}", hex::encode(head.key().serialize())),
            "name": "gate",
            "network": "shh/6",
            "signed_at": SEALED,
            "open": body.open.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "added": body.added.expect("something").to_string(),
            "prev": null,
            "skip": null,
            "merged": [],
        });
        assert_eq!(told, expected, "{path}");
    }
    house.end().await;
}

#[tokio::test]
async fn the_head_is_given_as_the_signed_block() {
    let house = House::new().await;
    let head = house.head();
    for (path, accept) in [
        ("/head", "application/vnd.ipld.dag-cbor"),
        ("/head", "application/cbor, application/json;q=0.5"),
        ("/head?format=cbor", "*/*"),
        ("/head?format=cbor", "application/json"),
    ] {
        let answer = send(house.get(path).header("accept", accept)).await;
        assert_eq!(answer.status(), 200);
        let kind = header(&answer, "content-type");
        assert_eq!(kind, "application/vnd.ipld.dag-cbor");
        assert_eq!(header(&answer, "etag"), format!("\"{}\"", head.cid()));
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        let bytes = answer.bytes().await.expect("a body");
        let block = Block::new(Codec::DagCbor, bytes);
        assert_eq!(Head::decode(block).as_ref(), Ok(&head), "{path} {accept}");
    }
    let other = send(house.get("/head?format=xml")).await;
    assert_eq!(other.status(), 406);
    house.end().await;
}

#[tokio::test]
async fn who_has_the_head_is_told_so_in_a_few_bytes() {
    let house = House::new().await;
    let cid = house.cid();
    for (path, of) in [
        ("/head", format!("{cid}.json")),
        ("/head?format=cbor", cid.to_string()),
        ("/.well-known/gwa.json", format!("{cid}.json")),
    ] {
        for tag in [format!("\"{of}\""), format!("W/\"{of}\"")] {
            let answer = send(house.get(path).header("if-none-match", tag)).await;
            assert_eq!(answer.status(), 304, "{path}");
            assert!(answer.bytes().await.expect("no body").is_empty());
        }
        let answer = send(house.get(path).header("if-none-match", "\"other\"")).await;
        assert_eq!(answer.status(), 200, "{path}");
        let answer = send(house.request(Method::HEAD, path)).await;
        assert_eq!(answer.status(), 200);
        assert!(header(&answer, "etag").contains(&cid.to_string()));
        assert!(answer.bytes().await.expect("no body").is_empty());
    }
    house.end().await;
}

#[tokio::test]
async fn a_cache_that_holds_the_head_in_one_form_is_not_told_that_it_has_the_other() {
    let house = House::new().await;
    let forms = ["application/json", "application/vnd.ipld.dag-cbor"];
    let mut tags = Vec::new();
    for accept in forms {
        let answer = send(house.get("/head").header("accept", accept)).await;
        assert_eq!(header(&answer, "vary"), "Accept");
        tags.push(header(&answer, "etag"));
    }
    for (form, accept) in forms.into_iter().enumerate() {
        for (of, tag) in tags.iter().enumerate() {
            let asked = house.get("/head").header("accept", accept);
            let answer = send(asked.header("if-none-match", tag)).await;
            let status = if form == of { 304 } else { 200 };
            assert_eq!(answer.status(), status, "{accept} {tag}");
        }
    }
    house.end().await;
}

#[tokio::test]
async fn before_the_first_seal_there_is_a_hint_and_no_head() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::init(folder.path(), "new").expect("an archive");
    let house = House::over(folder, archive, |_| {}).await;
    for path in [
        "/head",
        "/head?format=cbor",
        "/.well-known/gwa.json",
        "/api/v1/heads",
        "/api/v1/segments",
    ] {
        let answer = send(house.get(path)).await;
        assert_eq!(answer.status(), 404, "{path}");
        let told: Value = answer.json().await.expect("JSON");
        let hint = told["hint"].as_str().expect("a hint");
        assert!(hint.contains("seal"), "{hint}");
    }
    house.end().await;
}

#[tokio::test]
async fn run_json_leads_to_the_head() {
    let house = House::new().await;
    let text = std::fs::read(house.folder.path().join("run.json")).expect("run.json");
    let run: Value = serde_json::from_slice(&text).expect("JSON");
    let http = run["http"].as_str().expect("a URL");
    assert_eq!(http, house.url);
    assert_eq!(run["head"], house.cid().to_string());
    let told = send(house.client.get(format!("{http}/head"))).await;
    let told: Value = told.json().await.expect("JSON");
    assert_eq!(told["head"], run["head"]);
    house.end().await;
}
