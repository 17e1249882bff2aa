//! A daemon over a small archive of known content, and a client of it.

use std::sync::Arc;

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::head::Head;
use gwa::archive::testing::envelope;
use gwa::blocks::car::CarReader;
use gwa::blocks::{Block, BlockSource, Cid};
use gwa::config::{HttpAddress, HttpPartial, Partial, Settings};
use gwa::node::Daemon;
use gwa::rlpx::NodeKey;
use gwa::time::{SystemClock, UnixSeconds};
use reqwest::{Client, Method, RequestBuilder, Response};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Midnight before the first envelope: 2019-07-15.
pub const DAY: u32 = 1_563_148_800;

/// When the archive is sealed: two days and some hours later, so that two days
/// are closed and the third is open.
pub const SEALED: u32 = DAY + 2 * 86_400 + 5 * 3_600 + 700;

/// A running daemon in a folder of its own.
pub struct House {
    pub folder: TempDir,
    pub archive: Arc<Archive>,
    pub url: String,
    pub client: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

/// What is sealed: some topics over two days and a half.
pub fn fill(archive: &Archive) {
    let envelopes: Vec<_> = (0..600u32)
        .map(|n| {
            envelope(
                u8::try_from(n % 7).expect("small"),
                DAY + n * 300,
                200 + (n as usize % 90) * 20,
            )
        })
        .collect();
    archive.append(&envelopes).expect("stored");
    seal_due(archive, UnixSeconds(SEALED)).expect("sealed");
}

impl House {
    /// A daemon over what `prepare` makes of a new archive, with the HTTP settings
    /// that `change` makes of the usual ones.
    pub async fn with(
        prepare: impl FnOnce(&Archive),
        change: impl FnOnce(&mut HttpPartial),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Arc::new(Archive::init(folder.path(), "gate").expect("an archive"));
        prepare(&archive);
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
        let key = NodeKey::generate();
        let daemon = Daemon::start(Arc::clone(&archive), key, &settings, Arc::new(SystemClock))
            .await
            .expect("a daemon");
        let (stop, stopped) = oneshot::channel();
        let url = daemon.http_url().expect("HTTP is on");
        let running = tokio::spawn(daemon.run_until(async {
            let _ = stopped.await;
        }));
        Self {
            folder,
            archive,
            url,
            client: Client::new(),
            stop,
            running,
        }
    }

    /// A daemon over the usual archive.
    pub async fn new() -> Self {
        Self::with(fill, |_| {}).await
    }

    /// The current head.
    pub fn head(&self) -> Head {
        self.archive.head().expect("something was sealed")
    }

    /// A block of the archive.
    pub fn block(&self, cid: &Cid) -> Block {
        self.archive.blocks().get(cid).expect("it is held")
    }

    /// A request for `path`.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A request of any kind for `path`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
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

/// The value of a header; empty where there is none.
pub fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or(String::new(), |value| {
        value.to_str().expect("plain text").to_owned()
    })
}

/// The blocks of a CAR, every one hashed by the reader, in order.
pub fn blocks(car: &[u8]) -> Vec<Block> {
    let reader = CarReader::new(car).expect("a CAR");
    reader.map(|block| block.expect("a whole block")).collect()
}
