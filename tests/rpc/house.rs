//! A daemon in this process, and a client of its HTTP interface.

use std::sync::Arc;
use std::time::Duration;

use gwa::archive::disk::Archive;
use gwa::config::{HttpAddress, HttpPartial, Partial, Settings};
use gwa::node::Daemon;
use gwa::rlpx::NodeKey;
use gwa::time::SystemClock;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running daemon in a folder of its own.
pub struct House {
    pub folder: TempDir,
    pub url: String,
    pub enode: gwa::rlpx::Enode,
    pub client: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl House {
    /// A daemon with the HTTP settings that `change` makes of the usual ones:
    /// any port of loopback, a token needed.
    pub async fn with(change: impl FnOnce(&mut HttpPartial)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let loopback = ([127, 0, 0, 1], 0).into();
        let mut http = HttpPartial {
            address: Some(HttpAddress::At(loopback)),
            ..HttpPartial::default()
        };
        change(&mut http);
        let flags = Partial {
            listen: Some(loopback),
            http,
            ..Partial::default()
        };
        let settings = Settings::resolve(folder.path(), flags, Partial::default());
        let archive = Arc::new(Archive::init(folder.path(), "rpc").expect("an archive"));
        let key = NodeKey::generate();
        let daemon = Daemon::start(archive, key, &settings, Arc::new(SystemClock))
            .await
            .expect("a daemon");
        let (stop, stopped) = oneshot::channel();
        let url = daemon.http_url().expect("HTTP is on");
        let enode = daemon.enode();
        let running = tokio::spawn(daemon.run_until(async {
            let _ = stopped.await;
        }));
        Self {
            folder,
            url,
            enode,
            client: gwa::tls::http_client().build().expect("a client"),
            stop,
            running,
        }
    }

    /// A daemon that wants a token.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The token.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("rpc.token"));
        text.expect("a token file").trim().to_owned()
    }

    /// A request for `path`.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    /// Ends the daemon.
    pub async fn end(self) {
        let _ = self.stop.send(());
        self.running.await.expect("a clean end");
    }
}

/// The answer to a request.
pub async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

impl House {
    /// A daemon whose every method is open to all of this machine.
    pub async fn open() -> Self {
        Self::with(|http| http.open = Some(true)).await
    }

    /// The answer to a JSON-RPC body, whatever it is.
    pub async fn rpc(&self, body: &Value) -> Value {
        let request = self.client.post(format!("{}/rpc", self.url)).json(body);
        let answer = send(request).await;
        assert_eq!(answer.status(), 200, "{body}");
        answer.json().await.expect("JSON")
    }

    /// The answer to a call: its result, or its error.
    pub async fn try_call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let mut answer = self.rpc(&call).await;
        assert_eq!(answer["jsonrpc"], "2.0");
        assert_eq!(answer["id"], 7, "{answer}");
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }

    /// The result of a call that succeeds.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        match self.try_call(method, params).await {
            Ok(result) => result,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// A symmetric key that both ends derive.
    pub async fn shared_key(&self) -> Value {
        self.call("shh_generateSymKeyFromPassword", json!(["test"]))
            .await
    }

    /// Waits until `other` is a peer of this one.
    pub async fn meet(&self, other: &House) {
        let enode = other.enode.to_string();
        self.call("admin_addPeer", json!([enode])).await;
        eventually(async || {
            let peers = self.call("admin_peers", json!([])).await;
            peers
                .as_array()
                .is_some_and(|peers| !peers.is_empty())
                // The peer is one of Whisper only after its status came.
                && self
                    .try_call("shh_markTrustedPeer", json!([enode]))
                    .await
                    .is_ok()
        })
        .await;
    }
}

/// Waits until something holds; fails the test where it never does.
pub async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never happened");
}

/// A message that costs little work.
pub fn hello(sym_key: &Value, payload: &str) -> Value {
    json!({
        "symKeyID": sym_key,
        "ttl": 10,
        "topic": "0x01020304",
        "payload": payload,
        "powTime": 30,
        "powTarget": 0.001,
    })
}
