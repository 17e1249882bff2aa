//! Who may read what: names, pages, tokens.

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HOST, ORIGIN};

use crate::house::{House, header, send};

/// What is public: all of it reads the archive and nothing else.
const PUBLIC: [&str; 10] = [
    "/head",
    "/.well-known/gwa.json",
    "/api/v1/heads",
    "/api/v1/stats",
    "/api/v1/segments",
    "/api/v1/calendar",
    "/api/v1/days/2019-07-15",
    "/api/v1/query",
    "/api/v1/gaps",
    "/ipfs/bafkqaaa?format=raw",
];

/// What is about the node.
const PRIVATE: [&str; 11] = [
    "/health",
    "/api/v1/status",
    "/api/v1/peers",
    "/api/v1/traffic",
    "/api/v1/share",
    "/api/v1/mirrors",
    "/api/v1/verify",
    "/api/v1/diagnostics",
    "/api/v1/events",
    "/api/v1/stream",
    "/api/v1/openapi.json",
];

#[tokio::test]
async fn every_name_and_page_reads_the_archive_and_none_the_node() {
    let house = House::new().await;
    for path in PUBLIC.into_iter().chain(PRIVATE) {
        let is_public = PUBLIC.contains(&path);
        for (name, value) in [
            (HOST, "gateway.example"),
            (ORIGIN, "https://page.example"),
            (ORIGIN, "null"),
        ] {
            let answer = send(house.get(path).header(name.clone(), value)).await;
            let status = if is_public { 200 } else { 403 };
            assert_eq!(answer.status(), status, "{path} {name}: {value}");
            let allowed = header(&answer, "access-control-allow-origin");
            assert_eq!(allowed, if is_public { "*" } else { "" }, "{path}");
        }
        // A token is nothing to what is public, and is checked by the rest.
        let answer = send(house.get(path).header(AUTHORIZATION, "Bearer guess")).await;
        assert_eq!(answer.status(), if is_public { 200 } else { 401 }, "{path}");
    }
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"shh_version"}"#;
    let rpc = |name, value| {
        let rpc = house.request(Method::POST, "/rpc");
        rpc.header("content-type", "application/json")
            .body(call)
            .header(name, value)
    };
    assert_eq!(send(rpc(HOST, "gateway.example")).await.status(), 403);
    assert_eq!(
        send(rpc(ORIGIN, "https://page.example")).await.status(),
        403
    );
    assert_eq!(send(rpc(HOST, "localhost")).await.status(), 200);
    house.end().await;
}

#[tokio::test]
async fn a_page_that_this_very_port_serves_is_answered() {
    let house = House::new().await;
    let port = house.url.rsplit(':').next().expect("a port");
    for (host, origin, status) in [
        (format!("127.0.0.1:{port}"), house.url.clone(), 200),
        (
            format!("localhost:{port}"),
            format!("http://localhost:{port}"),
            200,
        ),
        (format!("localhost:{port}"), house.url.clone(), 403),
        (
            format!("evil.example:{port}"),
            format!("http://evil.example:{port}"),
            403,
        ),
        (
            format!("127.0.0.1:{port}"),
            "http://127.0.0.1:1".to_owned(),
            403,
        ),
    ] {
        let asked = house.get("/api/v1/status");
        let answer = send(asked.header(HOST, &host).header(ORIGIN, &origin)).await;
        assert_eq!(answer.status(), status, "{host} {origin}");
        if status == 403 {
            let told: serde_json::Value = answer.json().await.expect("JSON");
            assert!(told["error"].is_string(), "{told}");
        }
    }
    house.end().await;
}

#[tokio::test]
async fn a_preflight_is_answered_for_what_is_public_alone() {
    let house = House::new().await;
    for path in PUBLIC {
        let asked = house.request(Method::OPTIONS, path);
        let asked = asked
            .header(ORIGIN, "https://page.example")
            .header("access-control-request-private-network", "true");
        let answer = send(asked).await;
        assert_eq!(answer.status(), 204, "{path}");
        let methods = header(&answer, "access-control-allow-methods");
        assert_eq!(methods, "GET, HEAD, OPTIONS");
        // A page of the Internet gets no leave to reach a machine beside the browser.
        assert_eq!(header(&answer, "access-control-allow-private-network"), "");
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
    }
    let rpc = house
        .request(Method::OPTIONS, "/rpc")
        .header(ORIGIN, "https://page.example");
    let answer = send(rpc).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(header(&answer, "access-control-allow-origin"), "");
    house.end().await;
}

#[tokio::test]
async fn a_gateway_that_is_not_public_asks_for_names_and_pages_too() {
    let house = House::with(|http| {
        http.public = Some(false);
        http.hosts = Some(vec!["archive.example".to_owned()]);
    })
    .await;
    for path in PUBLIC {
        for (name, value, status) in [
            (HOST, "archive.example", 200),
            (HOST, "rebound.example", 403),
            (ORIGIN, "https://page.example", 403),
        ] {
            let answer = send(house.get(path).header(name, value)).await;
            assert_eq!(answer.status(), status, "{path} {value}");
            assert_eq!(header(&answer, "access-control-allow-origin"), "");
        }
    }
    house.end().await;
}

#[tokio::test]
async fn nothing_public_changes_anything() {
    let house = House::new().await;
    for path in PUBLIC {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = send(house.request(method.clone(), path).body("x")).await;
            assert_eq!(answer.status(), 405, "{method} {path}");
        }
    }
    house.end().await;
}
