//! What is told of the node: how to share it, and what an operator is asked for.

use gwa::config::{P2pSettings, Settings};
use gwa::publish::{Hints, Share};

use crate::house::{House, filled, send, settings};

#[tokio::test]
async fn the_line_to_share_is_the_one_that_the_command_line_prints() {
    let house = House::new().await;
    let told = house.told("/api/v1/share").await;
    let printed = house.cli(&["share"]).await;
    for field in ["share", "head", "key", "dnslink"] {
        assert_eq!(told[field], printed[0][field], "{field}");
    }
    assert_eq!(told["name"], "gate");
    // Of this machine alone, nobody is told.
    assert_eq!((told.get("http"), told.get("enode")), (None, None));
    house.end().await;

    let (folder, archive) = filled();
    let url = "https://archive.example/gwa";
    let public_urls = Hints::new(vec![url.to_owned()], None).expect("a hint");
    // One listens on this machine alone, and is reached at an address that was told.
    let outside = "/ip4/203.0.113.7/tcp/4011";
    let settings = Settings {
        public_urls,
        p2p: P2pSettings {
            listen: "/ip4/127.0.0.1/tcp/0".parse().ok(),
            public: vec![outside.parse().expect("an address")],
            dht: None,
        },
        ..settings(folder.path(), |_| {})
    };
    let house = House::set(folder, archive, &settings).await;
    let told = house.told("/api/v1/share").await;
    let printed = house.cli(&["share"]).await;
    assert_eq!(told["share"], printed[0]["share"]);
    assert_eq!(told["http"], url);
    let p2p = told["p2p"].as_array().expect("a list");
    assert_eq!(p2p.len(), 1, "{p2p:?}");
    let at = p2p[0].as_str().expect("an address");
    assert!(at.starts_with(&format!("{outside}/p2p/")), "{at}");
    let share: Share = told["share"]
        .as_str()
        .and_then(|share| share.parse().ok())
        .expect("a line that others read");
    assert_eq!(share.head, house.cid());
    assert_eq!(share.hints.http(), [url]);
    house.end().await;
}

#[tokio::test]
async fn an_operator_is_told_settings_limits_and_room_and_no_secret() {
    let (folder, archive) = filled();
    let settings = Settings {
        password: "hunter2-mail".parse().expect("a password"),
        ..settings(folder.path(), |http| {
            http.hosts = Some(vec!["archive.example".to_owned()]);
        })
    };
    let house = House::set(folder, archive, &settings).await;
    let told = house.told("/api/v1/diagnostics").await;
    let text = told.to_string();
    let key = std::fs::read_to_string(house.folder.path().join("archive.key"));
    let key = key.expect("a key");
    for secret in ["hunter2-mail", &house.token(), key.trim()] {
        assert!(!text.contains(secret));
    }
    let of = |key: &str| {
        let settings = told["settings"].as_array().expect("a list").iter();
        let mut settings = settings.filter(|setting| setting["key"] == key);
        settings.next().expect("it is told").clone()
    };
    assert_eq!(of("http-hosts")["value"], "archive.example");
    assert_eq!(of("http-hosts")["from"], "flag");
    assert_eq!(of("seal-every")["from"], "default");
    assert_eq!(of("password")["value"], "(set)");
    let files = house.folder.path().join("blocks");
    assert_eq!(told["disk"]["archive"], cars(&files));
    assert!(told["disk"]["free"].as_u64() > Some(0));
    assert!(told["memory"].as_u64() > Some(1 << 20));
    let http = told["listen"]["http"].as_str().expect("an address");
    assert_eq!(format!("http://{http}"), house.url);
    for limit in told["limits"].as_array().expect("a list") {
        assert!(limit["value"].as_u64() > Some(0), "{limit}");
        assert!(!limit["reason"].as_str().expect("a reason").is_empty());
    }
    assert!(told["warnings"].is_array());
    house.end().await;
}

#[tokio::test]
async fn what_names_others_and_this_machine_is_for_this_machine_and_the_token() {
    let house = House::with(|http| http.hosts = Some(vec!["archive.example".to_owned()])).await;
    for path in ["/api/v1/diagnostics", "/api/v1/peers", "/api/v1/mirrors"] {
        assert_eq!(send(house.get(path)).await.status(), 200, "{path}");
        // Through a proxy, by its name or as it says itself.
        let named = send(house.get(path).header("host", "archive.example")).await;
        assert_eq!(named.status(), 401, "{path}");
        assert_eq!(named.headers()["www-authenticate"], "Bearer");
        let handed_on = house.get(path).header("x-forwarded-for", "203.0.113.7");
        assert_eq!(send(handed_on).await.status(), 401, "{path}");
        let token = house.get(path).header("host", "archive.example");
        let token = token.bearer_auth(house.token());
        assert_eq!(send(token).await.status(), 200, "{path}");
    }
    let peers = || {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"admin_peers","params":[]}"#;
        let post = house.client.post(format!("{}/rpc", house.url));
        post.header("content-type", "application/json").body(call)
    };
    for (who, is_told) in [
        (peers(), true),
        (peers().header("host", "archive.example"), false),
        (peers().header("x-forwarded-for", "203.0.113.7"), false),
        (
            peers()
                .header("host", "archive.example")
                .bearer_auth(house.token()),
            true,
        ),
    ] {
        let answer = send(who).await.text().await.expect("a body");
        assert_eq!(answer.contains("\"result\""), is_told, "{answer}");
    }
    // A page of another site that puts one into a picture.
    let foreign = house
        .get("/api/v1/status")
        .header("sec-fetch-site", "cross-site");
    let foreign = foreign.header("sec-fetch-mode", "no-cors");
    assert_eq!(send(foreign).await.status(), 403);
    house.end().await;
}

/// Bytes of the CARs below a folder.
fn cars(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let len = |entry: std::fs::DirEntry| {
        let path = entry.path();
        match path.is_dir() {
            true => cars(&path),
            false if path.extension().is_some_and(|ending| ending == "car") => {
                entry.metadata().expect("a file").len()
            }
            false => 0,
        }
    };
    entries.map(|entry| len(entry.expect("an entry"))).sum()
}
