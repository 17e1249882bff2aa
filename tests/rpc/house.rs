//! A daemon in this process, and a client of its HTTP interface.

use std::sync::Arc;

use gwa::archive::disk::Archive;
use gwa::config::{HttpAddress, HttpPartial, Partial, Settings};
use gwa::node::Daemon;
use gwa::rlpx::NodeKey;
use gwa::time::SystemClock;
use reqwest::{Client, RequestBuilder, Response};
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
            client: Client::new(),
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
