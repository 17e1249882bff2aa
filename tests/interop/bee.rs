//! Bee, the node of Swarm, in its dev mode: alone, without a chain, with stamps that
//! cost nothing. It keeps all in memory: killed, it has lost everything.
//!
//! `GWA_BEE` names the binary.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::running::Running;
use crate::scene::{free_address, named_by};

/// A node.
pub struct Bee {
    process: Option<Running>,
    address: String,
    runtime: Runtime,
}

impl Bee {
    /// Starts a node that has one batch of stamps.
    pub fn start() -> Self {
        let mut bee = Self {
            process: None,
            address: free_address(),
            runtime: Runtime::new().expect("threads"),
        };
        bee.restart();
        bee
    }

    /// Kills the node; it takes all that it kept with it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, at the same address and empty, with a new batch of stamps.
    pub fn restart(&mut self) {
        let mut command = Command::new(named_by("GWA_BEE"));
        command.args(["dev", "--api-addr", &self.address, "--verbosity", "info"]);
        let mut process = Running::start(&mut command);
        process.wait_for("starting api server");
        self.process = Some(process);
        self.buy();
    }

    /// Buys one more batch of stamps; gives its id.
    pub fn buy(&self) -> String {
        let bought = self.ask(Method::POST, "stamps/1000000000/24");
        bought["batchID"].as_str().expect("a batch").to_owned()
    }

    /// Where its API answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many references are pinned.
    pub fn pins(&self) -> usize {
        let pins = self.ask(Method::GET, "pins");
        pins["references"].as_array().map_or(0, Vec::len)
    }

    fn ask(&self, method: Method, path: &str) -> Value {
        let client = gwa::tls::http_client().build().expect("a client");
        let url = format!("{}/{path}", self.url());
        self.runtime.block_on(async {
            let answer = client
                .request(method, url)
                .send()
                .await
                .expect("Bee answers");
            answer.json().await.expect("JSON")
        })
    }
}

/// A gateway before a node, which may lie.
pub struct Gateway {
    address: SocketAddr,
    inner: Arc<Inner>,
    _runtime: Runtime,
}

struct Inner {
    node: String,
    client: reqwest::Client,
    lie: Mutex<Lie>,
    /// What it showed of feeds.
    shown: Mutex<HashMap<String, (HeaderMap, Bytes)>>,
}

/// What a gateway does to its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// It changes a byte of what an update of a feed holds.
    InFeeds,
    /// It shows the update that it saw first.
    OldFeeds,
    /// It changes a byte in parts of files.
    InParts,
    /// It changes a byte in whole files and documents.
    InDocuments,
}

impl Gateway {
    /// A gateway before the node at `node`.
    pub fn before(node: String) -> Self {
        let runtime = Runtime::new().expect("threads");
        let inner = Arc::new(Inner {
            node,
            client: gwa::tls::http_client().build().expect("a client"),
            lie: Mutex::new(Lie::None),
            shown: Mutex::default(),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async { axum::serve(listener, router).await });
        Self {
            address,
            inner,
            _runtime: runtime,
        }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lies so from now on.
    pub fn lie(&self, lie: Lie) {
        *self.inner.lie.lock().unwrap() = lie;
    }
}

async fn pass(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let lie = *inner.lie.lock().unwrap();
    let is_feed = uri.path().starts_with("/feeds/");
    if is_feed && lie == Lie::OldFeeds {
        let shown = inner.shown.lock().unwrap();
        let (headers, body) = shown.get(uri.path()).expect("it was shown before");
        return answer(StatusCode::OK, headers, body.clone());
    }
    let mut request = inner.client.request(method, format!("{}{uri}", inner.node));
    if let Some(range) = headers.get("range") {
        request = request.header("range", range);
    }
    let came = request.send().await.expect("Bee answers");
    let (status, headers) = (came.status(), came.headers().clone());
    let mut body = came.bytes().await.expect("a body");
    if is_feed && status.is_success() {
        let mut shown = inner.shown.lock().unwrap();
        let first = shown.entry(uri.path().to_owned());
        first.or_insert_with(|| (headers.clone(), body.clone()));
    }
    let is_part = status == StatusCode::PARTIAL_CONTENT;
    let is_document = status == StatusCode::OK && uri.path().starts_with("/bytes/");
    let lies = match lie {
        Lie::None | Lie::OldFeeds => false,
        Lie::InFeeds => is_feed,
        Lie::InParts => is_part,
        Lie::InDocuments => is_document,
    };
    if lies && !body.is_empty() {
        let mut changed = body.to_vec();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        body = changed.into();
    }
    answer(status, &headers, body)
}

fn answer(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let told = |name: &str| !["transfer-encoding", "connection"].contains(&name);
    for (name, value) in headers {
        if told(name.as_str()) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
