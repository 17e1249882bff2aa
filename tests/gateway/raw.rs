//! Single blocks: headers, paths, ranges, refusals.

use reqwest::Method;

use crate::house::{House, header, send};

/// A CID that nobody here holds.
const UNKNOWN: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

#[tokio::test]
async fn a_block_comes_with_all_its_headers() {
    let house = House::new().await;
    let head = house.head();
    let cid = head.cid().to_string();
    let answer = send(house.get(&format!("/ipfs/{cid}?format=raw"))).await;
    assert_eq!(answer.status(), 200);
    for (name, value) in [
        ("content-type", "application/vnd.ipld.raw".to_owned()),
        ("content-length", head.block().bytes().len().to_string()),
        (
            "content-disposition",
            format!("attachment; filename=\"{cid}.bin\""),
        ),
        (
            "cache-control",
            "public, max-age=29030400, immutable".to_owned(),
        ),
        ("etag", format!("\"{cid}.raw\"")),
        ("accept-ranges", "bytes".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-ipfs-path", format!("/ipfs/{cid}")),
        ("x-ipfs-roots", cid.clone()),
        ("content-encoding", String::new()),
        ("content-location", String::new()),
    ] {
        assert_eq!(header(&answer, name), value, "{name}");
    }
    assert_eq!(answer.bytes().await.expect("a body"), head.block().bytes());
    house.end().await;
}

#[tokio::test]
async fn head_tells_all_but_the_body() {
    let house = House::new().await;
    let path = format!("/ipfs/{}?format=raw", house.cid());
    let whole = send(house.get(&path)).await;
    let answer = send(house.request(Method::HEAD, &path)).await;
    assert_eq!(answer.status(), 200);
    for name in ["content-length", "content-type", "etag", "x-ipfs-roots"] {
        assert_eq!(header(&answer, name), header(&whole, name), "{name}");
    }
    assert!(answer.bytes().await.expect("no body").is_empty());
    let missing = house.request(Method::HEAD, &format!("/ipfs/{UNKNOWN}?format=raw"));
    assert_eq!(send(missing).await.status(), 404);
    house.end().await;
}

#[tokio::test]
async fn a_path_leads_through_the_calendar_to_a_block() {
    let house = House::new().await;
    let head = house.head();
    let cid = head.cid();
    let answer = send(house.get(&format!("/ipfs/{cid}/state/2019/07/15?format=raw"))).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        header(&answer, "x-ipfs-path"),
        format!("/ipfs/{cid}/state/2019/07/15")
    );
    let roots = header(&answer, "x-ipfs-roots");
    let roots: Vec<_> = roots.split(',').collect();
    assert_eq!(roots.len(), 5);
    assert_eq!(roots[0], cid.to_string());
    assert_eq!(roots[1], head.body().state.expect("a state").to_string());
    let day = house.block(&roots[4].parse().expect("a CID"));
    assert_eq!(header(&answer, "etag"), format!("\"{}.raw\"", day.cid()));
    assert_eq!(answer.bytes().await.expect("a body"), day.bytes());
    for (path, status) in [
        ("state/2019/08", 404),
        ("state/2019/7", 404),
        ("state/2019/07/15/sums/nothing", 404),
        // Not a block of its own.
        ("open", 404),
        ("totals/0", 404),
        ("%ff", 400),
    ] {
        let answer = send(house.get(&format!("/ipfs/{cid}/{path}?format=raw"))).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    house.end().await;
}

#[tokio::test]
async fn who_has_a_block_is_not_sent_it_again() {
    let house = House::new().await;
    let cid = house.cid();
    let path = format!("/ipfs/{cid}?format=raw");
    for (given, status) in [
        (format!("\"{cid}.raw\""), 304),
        (format!("W/\"{cid}.raw\""), 304),
        (format!("\"other\", \"{cid}.raw\""), 304),
        ("*".to_owned(), 304),
        (format!("\"{cid}\""), 200),
        (format!("\"{cid}.car\""), 200),
    ] {
        let answer = send(house.get(&path).header("if-none-match", &given)).await;
        assert_eq!(answer.status(), status, "{given}");
        assert_eq!(header(&answer, "etag"), format!("\"{cid}.raw\""));
        let body = answer.bytes().await.expect("a body");
        assert_eq!(body.is_empty(), status == 304);
    }
    let unknown = house.get(&format!("/ipfs/{UNKNOWN}?format=raw"));
    let unknown = send(unknown.header("if-none-match", "*")).await;
    assert_eq!(unknown.status(), 404);
    house.end().await;
}

#[tokio::test]
async fn a_part_of_a_block_may_be_asked_for() {
    let house = House::new().await;
    let head = house.head();
    let bytes = head.block().bytes();
    let path = format!("/ipfs/{}?format=raw", head.cid());
    let answer = send(house.get(&path).header("range", "bytes=10-19")).await;
    assert_eq!(answer.status(), 206);
    let told = format!("bytes 10-19/{}", bytes.len());
    assert_eq!(header(&answer, "content-range"), told);
    assert_eq!(answer.bytes().await.expect("a part"), bytes[10..20]);
    let answer = send(house.get(&path).header("range", "bytes=9999-")).await;
    assert_eq!(answer.status(), 416);
    assert_eq!(
        header(&answer, "content-range"),
        format!("bytes */{}", bytes.len())
    );
    let stale = house.get(&path).header("range", "bytes=10-19");
    let answer = send(stale.header("if-range", "\"old\"")).await;
    assert_eq!(answer.status(), 200);
    house.end().await;
}

#[tokio::test]
async fn what_is_not_here_is_not_found_and_not_fetched() {
    let house = House::new().await;
    for cid in [
        UNKNOWN,
        // Other codecs, versions and hashes are no blocks of an archive.
        "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
        "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        "bafk2bzacecvgkdyqs2xtbsb4mblgacnyfdfbgqymjhzd7ekw5ljmk4bqvnjlk",
    ] {
        for format in ["raw", "car"] {
            let path = format!("/ipfs/{cid}?format={format}");
            let answer = send(house.get(&path)).await;
            assert_eq!(answer.status(), 404, "{path}");
            assert_eq!(header(&answer, "cache-control"), "no-store");
            let cached = house.get(&path).header("cache-control", "only-if-cached");
            assert_eq!(send(cached).await.status(), 412, "{path}");
        }
    }
    let held = house.get(&format!("/ipfs/{}?format=raw", house.cid()));
    let held = held.header("cache-control", "only-if-cached");
    assert_eq!(send(held).await.status(), 200);
    house.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_or_is_not_served_says_so() {
    let house = House::new().await;
    let cid = house.cid();
    for (path, accept, status) in [
        ("/ipfs/notacid?format=raw".to_owned(), "*/*", 400),
        ("/ipfs/?format=raw".to_owned(), "*/*", 400),
        (format!("/ipfs/{cid}"), "*/*", 400),
        (format!("/ipfs/{cid}"), "text/html", 406),
        (format!("/ipfs/{cid}?format=tar"), "*/*", 406),
        (format!("/ipfs/{cid}?format=dag-json"), "*/*", 406),
        (
            format!("/ipfs/{cid}"),
            "application/vnd.ipfs.ipns-record",
            406,
        ),
        (format!("/ipfs/{cid}?format=car&car-version=2"), "*/*", 400),
        (format!("/ipfs/{cid}?format=car&dag-scope=x"), "*/*", 400),
        (
            format!("/ipfs/{cid}"),
            "application/vnd.ipld.car;version=2",
            400,
        ),
    ] {
        let answer = send(house.get(&path).header("accept", accept)).await;
        assert_eq!(answer.status(), status, "{path} {accept}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        assert!(!answer.text().await.expect("a reason").is_empty());
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = send(house.request(method, &format!("/ipfs/{cid}?format=raw"))).await;
        assert_eq!(answer.status(), 405);
        assert_eq!(header(&answer, "allow"), "GET, HEAD, OPTIONS");
    }
    let worker = house.get(&format!("/ipfs/{cid}?format=raw"));
    let worker = send(worker.header("service-worker", "script")).await;
    assert_eq!(worker.status(), 400);
    house.end().await;
}

#[tokio::test]
async fn a_name_is_repeated_only_as_far_as_a_header_takes_it() {
    let house = House::new().await;
    let cid = house.cid();
    for (name, told) in [
        ("foobar.bin", "attachment; filename=\"foobar.bin\""),
        (
            "a%22%0d%0aX-Evil%3A1",
            "attachment; filename=\"a___X-Evil:1\"",
        ),
        (
            "%D1%82.bin",
            "attachment; filename=\"_.bin\"; filename*=UTF-8''%D1%82.bin",
        ),
    ] {
        let path = format!("/ipfs/{cid}?format=raw&filename={name}&download=true");
        let answer = send(house.get(&path)).await;
        assert_eq!(header(&answer, "content-disposition"), told);
        assert_eq!(header(&answer, "x-evil"), "");
    }
    house.end().await;
}

#[tokio::test]
async fn a_form_that_a_header_chose_has_a_url() {
    let house = House::new().await;
    let path = format!("/ipfs/{}/state", house.cid());
    let raw = house
        .get(&path)
        .header("accept", "application/vnd.ipld.raw");
    let answer = send(raw).await;
    let location = header(&answer, "content-location");
    assert_eq!(location, format!("{path}?format=raw"));
    assert_eq!(header(&answer, "vary"), "Accept");
    let again = send(house.get(&location)).await;
    assert_eq!(
        again.bytes().await.expect("a body"),
        answer.bytes().await.expect("a body")
    );
    house.end().await;
}
