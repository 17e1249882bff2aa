//! The parts that are no JSON-RPC.

use gwa::config::HttpAddress;
use reqwest::header::{AUTHORIZATION, HOST, ORIGIN};
use serde_json::Value;

use crate::house::{House, send};

#[tokio::test]
async fn a_daemon_tells_how_it_is() {
    let house = House::new().await;
    let answer = send(house.get("/health")).await;
    assert_eq!(answer.status(), 200);
    let health: Value = answer.json().await.expect("JSON");
    assert_eq!(health["ok"], true);
    assert_eq!(health["peers"], 0);
    assert_eq!(health["head"], Value::Null);
    assert_eq!(health["last_envelope_age"], Value::Null);
    assert!(health["since"].as_u64().expect("a time") > 1_700_000_000);

    let status: Value = send(house.get("/api/v1/status"))
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(status["enode"], house.enode.to_string());
    assert_eq!(status["min_pow"], 0.001);

    let peers: Value = send(house.get("/api/v1/peers"))
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(peers["peers"], Value::Array(Vec::new()));
    assert_eq!(send(house.get("/nothing")).await.status(), 404);
    house.end().await;
}

#[tokio::test]
async fn foreign_names_pages_and_tokens_are_turned_away() {
    let house = House::with(|http| {
        http.hosts = Some(vec!["archive.example".to_owned()]);
        http.origins = Some(vec!["https://page.example".to_owned()]);
    })
    .await;
    let good = format!("Bearer {}", house.token());
    for (header, value, status) in [
        (HOST, "archive.example", 200),
        (HOST, "localhost:8547", 200),
        (HOST, "rebound.example", 403),
        (ORIGIN, "https://page.example", 200),
        (ORIGIN, "https://other.example", 403),
        (ORIGIN, "null", 403),
        (AUTHORIZATION, good.as_str(), 200),
        (AUTHORIZATION, "Bearer guess", 401),
    ] {
        let request = house.get("/health").header(header.clone(), value);
        assert_eq!(send(request).await.status(), status, "{header}: {value}");
    }
    house.end().await;
}

#[tokio::test]
async fn run_json_says_where_it_is_while_it_is() {
    let house = House::new().await;
    let path = house.folder.path().join("run.json");
    let text = std::fs::read(&path).expect("run.json");
    let run: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(run["http"], house.url);
    let url = format!("{}/health", house.url);
    let client = house.client.clone();
    house.end().await;
    assert!(!path.exists());
    assert!(client.get(url).send().await.is_err());
}

#[tokio::test]
async fn an_interface_without_token_stays_on_loopback() {
    use std::sync::Arc;

    use gwa::archive::disk::Archive;
    use gwa::config::{HttpPartial, Partial, Settings};
    use gwa::node::Daemon;
    use gwa::rlpx::NodeKey;
    use gwa::time::SystemClock;

    let folder = tempfile::tempdir().expect("a folder");
    let flags = Partial {
        listen: Some(([127, 0, 0, 1], 0).into()),
        http: HttpPartial {
            address: Some(HttpAddress::At(([0, 0, 0, 0], 0).into())),
            open: Some(true),
            ..HttpPartial::default()
        },
        ..Partial::default()
    };
    let settings = Settings::resolve(folder.path(), flags, Partial::default());
    let archive = Arc::new(Archive::init(folder.path(), "rpc").expect("an archive"));
    let started = Daemon::start(
        archive,
        NodeKey::generate(),
        &settings,
        Arc::new(SystemClock),
    )
    .await;
    let refused = started.err().expect("a refusal").to_string();
    assert!(refused.contains("beyond loopback"), "{refused}");
}
