//! status-go itself: `statusd` as mailserver and as client, and `node-canary`, with
//! which Status watched over its mailservers.
//!
//! `GWA_STATUSD` and `GWA_NODE_CANARY` name the binaries.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::running::Running;
use crate::scene::{Scene, free_address, named_by};
use crate::unix_now;

/// The password of public Status mailservers.
const PASSWORD: &str = "status-offline-inbox";

/// The topic of the public chat "status".
const TOPIC: &str = "0xcd423760";

/// How long a node may take until its interface answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at what a node has.
const PAUSE: Duration = Duration::from_millis(100);

/// A node of status-go, commanded over JSON-RPC.
struct Statusd {
    process: Running,
    url: String,
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl Statusd {
    fn start(scene: &Scene, name: &str, is_mailserver: bool) -> Self {
        let folder = scene.folder().join(name);
        let (peers, http) = (free_address(), free_address());
        let (host, port) = http.split_once(':').unwrap();
        let config = json!({
            "NoDiscovery": true, "Rendezvous": false, "ListenAddr": peers,
            "HTTPEnabled": true, "HTTPHost": host, "HTTPPort": port.parse::<u16>().unwrap(),
            "APIModules": "shh,shhext,admin",
            "ClusterConfig": {
                "Enabled": false, "StaticNodes": [], "BootNodes": [], "TrustedMailServers": [],
            },
            "WhisperConfig": {
                "Enabled": true, "EnableNTPSync": false, "MinimumPoW": 0.001,
                "EnableMailServer": is_mailserver, "MailServerPassword": PASSWORD,
            },
        });
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(named_by("GWA_STATUSD"));
        command.arg("-c").arg(&file).arg("-dir").arg(&folder);
        let process = Running::start(command.args(["-log", "INFO", "-log-without-color"]));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let http = gwa::tls::http_client().no_proxy().build().unwrap();
        let url = format!("http://{host}:{port}");
        let node = Self {
            process,
            url,
            folder,
            runtime,
            http,
        };
        wait_for("its interface", || node.try_call("shh_version", &json!([])));
        node
    }

    fn try_call(&self, method: &str, params: &Value) -> Option<Value> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.runtime.block_on(async {
            let request = self.http.post(&self.url).json(&call);
            request.send().await.ok()?.json::<Value>().await.ok()
        })?;
        assert!(answer["error"].is_null(), "{method} {params}: {answer}");
        Some(answer["result"].clone())
    }

    fn call(&self, method: &str, params: &Value) -> Value {
        let answer = self.try_call(method, params);
        answer.unwrap_or_else(|| panic!("{method}: no answer"))
    }

    fn enode(&self) -> String {
        let info = self.call("admin_nodeInfo", &json!([]));
        let enode = info["enode"].as_str().unwrap();
        enode.split('?').next().unwrap().to_owned()
    }

    fn key_of(&self, password: &str) -> Value {
        self.call("shh_generateSymKeyFromPassword", &json!([password]))
    }

    /// Posts to the chat "status".
    fn post(&self, text: &str) {
        let message = json!({
            "symKeyID": self.key_of("status"), "topic": TOPIC, "ttl": 60,
            "powTarget": 0.001, "powTime": 2, "payload": format!("0x{}", hex::encode(text)),
        });
        self.call("shh_post", &json!([message]));
    }

    /// Ends it; gives its folder.
    fn end(self) -> PathBuf {
        self.process.terminate();
        self.folder
    }
}

/// Looks again and again until there is something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(PAUSE);
    }
}

/// Runs `node-canary` to its end; gives what it said.
fn canary(scene: &Scene, args: &[&str]) -> Vec<String> {
    let mut command = Command::new(named_by("GWA_NODE_CANARY"));
    command.arg("-home-dir").arg(scene.folder().join("canary"));
    let mut process = Running::start(command.args(["-log-without-color"]).args(args));
    process.wait_until("its verdict", |lines| {
        lines.iter().any(|line| line.contains("correctly"))
    });
    let lines = process.seen().to_vec();
    assert_eq!(process.wait("node-canary"), Some(0));
    lines
}

fn lines_of(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn node_canary_finds_us_sound() {
    let scene = Scene::new(PASSWORD);
    let mut server = scene.serve(&[]);
    let said = ["--chat", "status", "--payload", "hello"];
    scene.run(&[&["post", "--to", &server.enode][..], &said].concat());
    server.wait_stored(1);
    canary(&scene, &["-staticnode", &server.enode]);
    let lines = canary(&scene, &["-mailserver", &server.enode]);
    // Only then did it wait for the message and find it.
    assert!(
        !lines.iter().any(|line| line.contains("No messages")),
        "{lines:#?}"
    );
    server.wait_answer(1);
    server.end();
}

#[test]
fn a_node_of_status_go_reads_its_history_from_us() {
    let scene = Scene::new(PASSWORD);
    let mut server = scene.serve(&[]);
    let texts: BTreeSet<String> = (1..=5).map(|n| format!("message number {n}")).collect();
    for text in &texts {
        let said = ["--chat", "status", "--payload", text];
        scene.run(&[&["post", "--to", &server.enode][..], &said].concat());
    }
    server.wait_stored(5);

    let node = Statusd::start(&scene, "client", false);
    let filter = node.call(
        "shh_newMessageFilter",
        &json!([{"symKeyID": node.key_of("status"), "topics": [TOPIC], "allowP2P": true}]),
    );
    node.call("admin_addPeer", &json!([server.enode]));
    wait_for("the connection", || {
        let peers = node.call("admin_peers", &json!([]));
        (!peers.as_array().unwrap().is_empty()).then_some(())
    });
    // What is posted lives for 50 s, and may be relayed to it as well: mail is what
    // the server says it delivered.
    node.call("shh_markTrustedPeer", &json!([server.enode]));
    node.call(
        "shhext_requestMessages",
        &json!([{
            "mailServerPeer": server.enode, "topic": TOPIC,
            "symKeyID": node.key_of(PASSWORD), "from": unix_now() - 3_600,
        }]),
    );
    let answer = server.wait_answer(1);
    assert!(answer.contains("envelopes: 5"), "{answer}");
    let mut received = BTreeSet::new();
    wait_for("all messages", || {
        let messages = node.call("shh_getFilterMessages", &json!([filter]));
        for message in messages.as_array().unwrap() {
            let payload = message["payload"]
                .as_str()
                .unwrap()
                .trim_start_matches("0x");
            received.insert(String::from_utf8(hex::decode(payload).unwrap()).unwrap());
        }
        (received == texts).then_some(())
    });
    node.end();
    server.end();
}

#[test]
fn a_mailserver_of_status_go_is_read_watched_synced_and_imported() {
    let scene = Scene::new(PASSWORD);
    let node = Statusd::start(&scene, "mailserver", true);
    for n in 1..=5 {
        node.post(&format!("message number {n}"));
    }
    let enode = node.enode();
    let (from, to) = (
        (unix_now() - 3_600).to_string(),
        (unix_now() + 60).to_string(),
    );
    let range = ["--from", &from, "--to", &to];
    let request = ["request", &enode, "--chat", "status", "--json"];
    // Its pages hold what it has stored, which takes it a moment.
    wait_for("five messages", || {
        let got = lines_of(&scene.run(&[&request[..], &range].concat()));
        (got.len() == 5).then_some(())
    });
    let paged = ["--limit", "2", "--all"];
    let got = lines_of(&scene.run(&[&request[..], &range, &paged].concat()));
    let hashes: BTreeSet<&str> = got.iter().map(|e| e["hash"].as_str().unwrap()).collect();
    assert_eq!(hashes.len(), 5);

    scene.run(&["canary", &enode]);
    let synced = scene.run(&[&["sync", &enode, "--json"][..], &range].concat());
    let synced = lines_of(&synced).pop().unwrap();
    // The five, and what the canary posted.
    assert_eq!(synced["stored"], 6, "{synced}");

    let folder = node.end();
    let imported = scene.run(&["import", folder.join("wnode").to_str().unwrap(), "--json"]);
    let imported = lines_of(&imported).pop().unwrap();
    assert_eq!(
        (&imported["stored"], &imported["duplicate"]),
        (&json!(0), &json!(6)),
        "{imported}"
    );
}
