//! A daemon over a small archive of known content, and clients of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gwa::archive::disk::{Archive, seal_due};
use gwa::archive::head::Head;
use gwa::archive::testing::envelope;
use gwa::blocks::car::CarReader;
use gwa::blocks::{Block, BlockSource, Cid};
use gwa::config::{HttpAddress, HttpPartial, Partial, Settings};
use gwa::limits::Limits;
use gwa::node::Daemon;
use gwa::rlpx::NodeKey;
use gwa::time::{SystemClock, UnixSeconds};
use gwa::whisper::Envelope;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
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

/// Some topics over two days and some hours.
pub fn made() -> Vec<Envelope> {
    (0..700u32)
        .map(|n| {
            let topic = u8::try_from(n % 7).expect("small");
            envelope(topic, DAY + n * 300, 200 + (n as usize % 90) * 20)
        })
        .collect()
}

/// Seals what was made; what is younger waits.
pub fn fill(archive: &Archive) {
    archive.append(&made()).expect("stored");
    seal_due(archive, UnixSeconds(SEALED)).expect("sealed");
}

/// A new archive, filled, and its folder.
pub fn filled() -> (TempDir, Archive) {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::init(folder.path(), "gate").expect("an archive");
    fill(&archive);
    (folder, archive)
}

impl House {
    /// A daemon over an archive, with the settings that `change` makes of the
    /// usual ones.
    pub async fn over(
        folder: TempDir,
        archive: Archive,
        change: impl FnOnce(&mut HttpPartial),
    ) -> Self {
        let settings = settings(folder.path(), change);
        Self::set(folder, archive, &settings).await
    }

    /// A daemon over the usual archive, with limits that hold for this machine too.
    pub async fn limited(limits: Limits) -> Self {
        let (folder, archive) = filled();
        let settings = Settings {
            limits: Limits {
                exempt_local: false,
                ..limits
            },
            ..settings(folder.path(), |_| {})
        };
        Self::set(folder, archive, &settings).await
    }

    /// A daemon over an archive, with these settings.
    pub async fn set(folder: TempDir, archive: Archive, settings: &Settings) -> Self {
        let archive = Arc::new(archive);
        let key = NodeKey::generate();
        let daemon = Daemon::start(Arc::clone(&archive), key, settings, Arc::new(SystemClock))
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
            client: gwa::tls::http_client().build().expect("a client"),
            stop,
            running,
        }
    }

    /// A daemon over the usual archive, with other settings.
    pub async fn with(change: impl FnOnce(&mut HttpPartial)) -> Self {
        let (folder, archive) = filled();
        Self::over(folder, archive, change).await
    }

    /// A daemon over the usual archive.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A daemon over an archive whose files `damage` changed.
    pub async fn damaged(damage: impl FnOnce(&Path)) -> Self {
        let (folder, archive) = filled();
        // The next to open it knows nothing of what the files held.
        drop(archive);
        damage(folder.path());
        std::fs::remove_dir_all(folder.path().join("index")).expect("an index");
        let archive = Archive::open(folder.path()).expect("an archive");
        Self::over(folder, archive, |_| {}).await
    }

    /// The current head.
    pub fn head(&self) -> Head {
        self.archive.head().expect("something was sealed")
    }

    /// The current head CID.
    pub fn cid(&self) -> Cid {
        *self.head().cid()
    }

    /// A block of the archive.
    pub fn block(&self, cid: &Cid) -> Block {
        self.archive.blocks().get(cid).expect("it is held")
    }

    /// The CID that a path leads to, as the gateway tells.
    pub async fn resolve(&self, path: &str) -> Cid {
        let answer = send(self.get(&format!("{path}?format=raw"))).await;
        assert_eq!(answer.status(), 200, "{path}");
        let roots = header(&answer, "x-ipfs-roots");
        let last = roots.rsplit(',').next().expect("a root");
        last.parse().expect("a CID")
    }

    /// What is told at `path`.
    pub async fn told(&self, path: &str) -> Value {
        let answer = send(self.get(path)).await;
        let status = answer.status();
        let told = answer.text().await.expect("a body");
        assert_eq!(status, 200, "{path}: {told}");
        serde_json::from_str(&told).expect("JSON")
    }

    /// The token that opens more than reading.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("rpc.token"));
        text.expect("a token file").trim().to_owned()
    }

    /// What a command prints with `--json` about the same archive, one object a line.
    pub async fn cli(&self, args: &[&str]) -> Vec<Value> {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gwa"));
        command.arg("--json").arg("--data").arg(self.folder.path());
        command.args(args);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("no panic").expect("gwa runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// A request for `path`.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A request of any kind for `path`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// The blocks of the CAR at `path`, in order.
    pub async fn car(&self, path: &str) -> Vec<Block> {
        let answer = send(self.get(path)).await;
        assert_eq!(answer.status(), 200, "{path}");
        blocks(&answer.bytes().await.expect("a whole body"))
    }

    /// A connection on which nothing was said yet, with a small window: what is
    /// not read is soon not sent either.
    pub async fn connect(&self) -> TcpStream {
        let address: SocketAddr = self.url["http://".len()..].parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a window");
        socket.connect(address).await.expect("a connection")
    }

    /// All that comes back for `text`, until the other end hangs up.
    pub async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Ends the daemon.
    pub async fn end(self) {
        let _ = self.stop.send(());
        self.running.await.expect("a clean end");
    }
}

/// Settings that listen on loopback, with what `change` makes of those of HTTP.
pub fn settings(folder: &Path, change: impl FnOnce(&mut HttpPartial)) -> Settings {
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
    Settings::resolve(folder, flags, Partial::default())
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

/// The CIDs of blocks, in order.
pub fn cids(blocks: &[Block]) -> Vec<Cid> {
    blocks.iter().map(|block| *block.cid()).collect()
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
