//! A node of Status's Whisper library, the one that status-go runs, in all its
//! parts: `tests/peers/status` drives it.
//!
//! `GWA_STATUS_PEER` names the binary.

use std::process::Command;
use std::sync::Arc;

use gwa::mailserver::sync::SyncRequest;
use gwa::mailserver::sync::client::SyncClient;
use gwa::rlpx::NodeKey;
use gwa::rlpx::session::LocalNode;
use gwa::time::TimeRange;
use gwa::whisper::Bloom;
use gwa::whisper::node::protocol;
use serde_json::{Value, json};

use crate::running::Running;
use crate::scene::{Scene, Server, free_address, named_by};
use crate::unix_now;

/// The password of public Status mailservers.
const PASSWORD: &str = "status-offline-inbox";

/// A node of Status.
pub struct Peer {
    /// The process.
    pub process: Running,
    enode: String,
}

impl Peer {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(named_by("GWA_STATUS_PEER"));
        let mut process = Running::start(command.args(args));
        let started = process.wait_event("started", &json!({}));
        let enode = started["enode"].as_str().unwrap().to_owned();
        Self { process, enode }
    }

    /// Starts one that is connected to `server`.
    pub fn of(server: &Server, args: &[&str]) -> Self {
        let mut peer = Self::start(args);
        peer.connect(&server.enode);
        peer
    }

    /// How it is reached, if it listens.
    pub fn enode(&self) -> &str {
        &self.enode
    }

    fn connect(&mut self, enode: &str) {
        self.process.tell(&json!({"do": "connect", "enode": enode}));
        self.process.wait_event("connected", &json!({}));
    }

    /// Joins a public chat.
    pub fn join(&mut self, chat: &str) {
        self.process.tell(&json!({"do": "chat", "chat": chat}));
        self.process.wait_event("joined", &json!({"chat": chat}));
    }

    /// Posts a message; gives its hash once the node counts it as sent.
    pub fn post(&mut self, chat: &str, text: &str) -> Value {
        self.process
            .tell(&json!({"do": "post", "chat": chat, "text": text}));
        let posted = self.process.wait_event("posted", &json!({"text": text}));
        let hash = posted["hash"].clone();
        // With confirmations on, that is when it was acknowledged.
        self.process
            .wait_event("envelope.sent", &json!({"hash": hash}));
        hash
    }

    /// Asks for history; gives the request's completion. Of what came before it
    /// nothing else is remembered.
    fn ask(&mut self, command: &Value) -> Value {
        self.process.forget();
        self.process.tell(command);
        let requested = self.process.wait_event("requested", &json!({}));
        let hash = &requested["hash"];
        self.process
            .wait_event("mailserver.request.completed", &json!({"hash": hash}))
    }

    /// The hashes that came since, in order.
    fn available(&self) -> Vec<Value> {
        let lines = self.process.seen().iter();
        lines
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|told| told["event"] == "envelope.available")
            .map(|told| told["hash"].clone())
            .collect()
    }
}

/// A request for what `chat` said lately, encrypted with the password.
fn request(chat: &str) -> Value {
    json!({
        "do": "request", "password": PASSWORD, "chat": chat, "batch": true,
        "from": unix_now() - 3_600, "to": unix_now() + 60,
    })
}

/// `request` with other members.
fn with(mut request: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

/// A server with five messages of "status" and one of another chat; their
/// hashes, in the order of the archive. What it holds it tells by request only:
/// it was started anew since.
fn server_with_history(scene: &Scene) -> (Server, Vec<Value>) {
    let mut server = scene.serve(&[]);
    let mut poster = Peer::of(&server, &[]);
    let posted: Vec<Value> = (1..=5)
        .map(|n| poster.post("status", &format!("message number {n}")))
        .collect();
    poster.post("elsewhere", "not for status");
    server.wait_stored(6);
    server.end();
    let server = scene.serve(&[]);
    let rows = posted_in_order(&server, posted.len());
    assert!(posted.iter().all(|hash| rows.contains(hash)));
    (server, rows)
}

/// What a first client is told of "status", which is the order of the archive.
fn posted_in_order(server: &Server, count: usize) -> Vec<Value> {
    let mut client = Peer::of(server, &[]);
    client.ask(&with(request("status"), &json!({"batch": false})));
    let rows = client.available();
    assert_eq!(rows.len(), count);
    rows
}

#[test]
fn what_a_status_node_posts_is_acknowledged_and_relayed() {
    let scene = Scene::new(PASSWORD);
    let mut server = scene.serve(&[]);
    let mut reader = Peer::of(&server, &[]);
    reader.join("status");
    let mut poster = Peer::of(&server, &[]);
    let hash = poster.post("status", "hello");
    poster
        .process
        .wait_event("batch.acknowleged", &json!({"refused": []}));
    server.wait_stored(1);
    let message = reader.process.wait_event("message", &json!({"hash": hash}));
    assert_eq!(message["text"], "hello");
    server.end();
}

#[test]
fn a_status_client_pages_through_history_in_every_form() {
    let scene = Scene::new(PASSWORD);
    let (server, rows) = server_with_history(&scene);
    let mut client = Peer::of(&server, &[]);
    client.join("status");

    let all = client.ask(&request("status"));
    assert_eq!(client.available(), rows);
    assert_eq!(all["last"], rows[4]);
    assert_eq!((&all["cursor"], &all["error"]), (&json!(""), &Value::Null));
    for n in 1..=5 {
        let text = format!("message number {n}");
        client.process.wait_event("message", &json!({"text": text}));
    }

    let page = client.ask(&with(request("status"), &json!({"limit": 3})));
    assert_eq!(client.available(), rows[..3]);
    assert_eq!(page["last"], rows[2]);
    let cursor = &page["cursor"];
    assert_eq!(cursor.as_str().unwrap().len(), 72);
    let rest = client.ask(&with(
        request("status"),
        &json!({"limit": 3, "cursor": cursor}),
    ));
    assert_eq!(client.available(), rows[3..]);
    assert_eq!(rest["cursor"], "");

    // Encrypted to the server's node key, which status-go's own server refuses.
    client.ask(&with(request("status"), &json!({"password": ""})));
    assert_eq!(client.available(), rows);

    let open = with(
        request("status"),
        &json!({"do": "open-request", "limit": 4}),
    );
    let page = client.ask(&open);
    assert_eq!(client.available(), rows[..4]);
    client.ask(&with(open, &json!({"cursor": page["cursor"]})));
    assert_eq!(client.available(), rows[4..]);

    let both = client.ask(&with(request("status"), &json!({"chats": ["elsewhere"]})));
    assert_eq!(client.available().len(), 6);
    assert_eq!(both["error"], Value::Null);
    server.end();
}

#[test]
fn a_status_client_is_told_what_is_wrong_and_stays_connected() {
    let scene = Scene::new(PASSWORD);
    let (server, rows) = server_with_history(&scene);
    let mut client = Peer::of(&server, &[]);
    let now = unix_now();
    let nobody = format!("0x{}", "00".repeat(32));
    for (members, error) in [
        (
            json!({"password": "wrong"}),
            "failed to decrypt p2p request".to_owned(),
        ),
        (
            json!({"from": now, "to": now - 1}),
            format!("query range is invalid: from > to ({now} > {})", now - 1),
        ),
    ] {
        let refused = client.ask(&with(request("status"), &members));
        assert_eq!(refused["error"], error);
        assert_eq!(refused["last"], nobody);
        assert!(client.available().is_empty());
    }
    let nothing = client.ask(&request("nobody was here"));
    assert_eq!(
        (&nothing["error"], &nothing["last"]),
        (&Value::Null, &json!(nobody))
    );
    client.ask(&request("status"));
    assert_eq!(client.available(), rows);
    server.end();
}

/// The steps of status-go's `node-canary -mailserver`, which asks for one
/// envelope of a chat and waits until the one it is told of has come.
#[test]
fn the_canary_of_status_finds_the_mailserver_well() {
    let scene = Scene::new(PASSWORD);
    let (server, rows) = server_with_history(&scene);
    let mut canary = Peer::of(&server, &["-light"]);
    canary.join("status");
    let day = json!({"from": unix_now() - 86_400, "to": unix_now(), "limit": 1});
    let completed = canary.ask(&with(request("status"), &day));
    assert_eq!(completed["error"], Value::Null);
    assert_eq!(completed["last"], rows[0]);
    canary
        .process
        .wait_event("envelope.available", &json!({"hash": rows[0]}));
    server.end();
}

/// A mailserver made of Status's own code takes our history over, page by page.
#[test]
fn a_status_mailserver_syncs_from_us() {
    let scene = Scene::new(PASSWORD);
    let (server, rows) = server_with_history(&scene);
    let mut theirs = Peer::of(&server, &["-server", PASSWORD]);
    let mut cursor = json!("");
    for page in rows.chunks(2) {
        theirs.process.forget();
        theirs.process.tell(&with(
            request("status"),
            &json!({"do": "sync", "limit": 2, "cursor": cursor}),
        ));
        let finished = theirs
            .process
            .wait_event("mailserver.sync.finished", &json!({}));
        assert_eq!(finished["error"], "");
        for hash in page {
            theirs
                .process
                .wait_event("archived", &json!({"hash": hash}));
        }
        cursor = finished["cursor"].clone();
    }
    assert_eq!(cursor, "");
    server.end();
}

/// And ours from such a one.
#[tokio::test]
async fn we_sync_from_a_status_mailserver() {
    let address = free_address();
    let mut theirs = Peer::start(&["-server", PASSWORD, "-listen", &address]);
    let mut poster = Peer::start(&[]);
    poster.connect(&theirs.enode);
    let mut posted = Vec::new();
    for n in 1..=5 {
        let hash = poster.post("status", &format!("message number {n}"));
        theirs
            .process
            .wait_event("archived", &json!({"hash": hash}));
        posted.push(hash.as_str().unwrap().to_owned());
    }
    posted.sort();

    let local = LocalNode::new(NodeKey::generate(), "gwa/test", vec![protocol()], 0);
    let server = theirs.enode.parse().unwrap();
    let mut client = SyncClient::connect(&server, &Arc::new(local))
        .await
        .unwrap();
    let mut synced = Vec::new();
    let mut cursor = None;
    loop {
        let page = client
            .page(SyncRequest {
                range: TimeRange::ALL,
                topics: Bloom::FULL,
                limit: 2,
                cursor,
            })
            .await
            .unwrap();
        synced.extend(page.envelopes.iter().map(|e| e.hash().to_string()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    synced.sort();
    assert_eq!(synced, posted);
    client.close().await;
}

/// `gwa request` reads from a mailserver made of Status's own code.
#[test]
fn a_status_mailserver_is_read_by_our_client() {
    let address = free_address();
    let mut theirs = Peer::start(&["-server", PASSWORD, "-listen", &address]);
    let mut poster = Peer::start(&[]);
    poster.connect(&theirs.enode);
    let mut hashes: Vec<String> = (1..=5)
        .map(|n| poster.post("status", &format!("message number {n}")))
        .map(|hash| hash.as_str().unwrap().to_owned())
        .collect();
    hashes.sort();
    for hash in &hashes {
        theirs
            .process
            .wait_event("archived", &json!({"hash": hash}));
    }

    let scene = Scene::new(PASSWORD);
    let from = (unix_now() - 3_600).to_string();
    for page in ["2", "1000"] {
        let printed = scene.run(&[
            "--json",
            "request",
            &theirs.enode,
            "--chat",
            "status",
            "--from",
            &from,
            "--all",
            "--limit",
            page,
        ]);
        let mut found: Vec<String> = printed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter_map(|row| Some(row["hash"].as_str()?.to_owned()))
            .collect();
        found.sort();
        assert_eq!(found, hashes, "in pages of {page}");
    }
}
