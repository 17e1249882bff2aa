//! Murmur, a Whisper node in JavaScript from npm, and through it devp2p of
//! another hand: `tests/peers/js/murmur.js` drives it.
//!
//! `GWA_NODE_MODULES` names the folder of installed packages.

use gwa::mailserver::response::Completion;
use serde_json::{Value, json};

use crate::running::Running;
use crate::scene::{Scene, Server, node};
use crate::status::Peer;

const PASSWORD: &str = "status-offline-inbox";

/// What murmur mines for is not the work it means: it counts bits of the hash
/// written in hex. Its envelopes show as much as any other.
const NO_WORK: [&str; 2] = ["--min-pow", "0.00001"];

fn murmur(server: &Server) -> Running {
    let mut murmur = Running::start(&mut node("murmur.js"));
    murmur.wait_event("started", &json!({}));
    // Joined later, the news of it overtakes murmur's status, which waits for
    // ours; any node hangs up then.
    murmur.tell(&json!({"do": "chat", "chat": "status"}));
    murmur.wait_event("joined", &json!({"chat": "status"}));
    murmur.tell(&json!({"do": "connect", "enode": server.enode}));
    murmur.wait_event("connected", &json!({}));
    murmur.tell(&json!({"do": "trust"}));
    murmur.wait_event("trusted", &json!({}));
    murmur
}

#[test]
fn murmur_and_a_status_node_talk_through_us() {
    let scene = Scene::new(PASSWORD);
    let mut server = scene.serve(&NO_WORK);
    let mut murmur = murmur(&server);
    let mut status = Peer::of(&server, &["-pow", "0.00001"]);
    status.join("status");

    murmur.tell(&json!({"do": "post", "chat": "status", "text": "from murmur"}));
    status
        .process
        .wait_event("message", &json!({"text": "from murmur"}));
    status.post("status", "from status");
    murmur.wait_event("message", &json!({"text": "from status"}));
    server.wait_stored(2);
    server.end();
}

#[test]
fn murmur_reads_history_from_us() {
    let scene = Scene::new(PASSWORD);
    let mut server = scene.serve(&[]);
    let mut poster = Peer::of(&server, &[]);
    let mut hashes: Vec<Value> = (1..=5)
        .map(|n| poster.post("status", &format!("message number {n}")))
        .collect();
    server.wait_stored(5);
    server.end();

    let server = scene.serve(&NO_WORK);
    let mut murmur = murmur(&server);
    murmur.tell(&json!({
        "do": "request", "password": PASSWORD, "chat": "status", "limit": 100,
    }));
    for n in 1..=5 {
        let text = format!("message number {n}");
        murmur.wait_event("message", &json!({"text": text}));
    }
    let completed = murmur.wait_event("completed", &json!({}));
    let payload = completed["payload"].as_str().unwrap();
    let payload = hex::decode(payload.trim_start_matches("0x")).unwrap();
    let Ok(Completion::Done { last, next, .. }) = Completion::decode(&payload) else {
        panic!("refused: {payload:02x?}");
    };
    hashes.retain(|hash| *hash == json!(last.unwrap().to_string()));
    assert_eq!((hashes.len(), next), (1, None));
    server.end();
}
