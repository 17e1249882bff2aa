//! What announcing costs: how many blocks of an archive are told to a DHT, and how long
//! that takes, among Kubo nodes that serve one on loopback.
//!
//! `GWA_KUBO=PROGRAM cargo bench --bench announce` takes the real envelopes of the
//! fixtures, a synthetic month, and the most that is announced at all. One JSON object a
//! line.

#[path = "nodes/kubo.rs"]
mod nodes;
#[path = "nodes/running.rs"]
mod running;
#[path = "../tests/common/started.rs"]
mod started;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gwa::archive::disk::Archive;
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, Codec};
use gwa::limits::Limits;
use gwa::p2p::{DhtConfig, DhtMode, Node, NodeConfig};
use gwa::progress::Quiet;
use gwa::time::{DAY, UnixSeconds};
use libp2p::identity::Keypair;
use serde_json::Value;

use nodes::KuboNode;
use running::Running;
use started::started;

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
/// Days of the synthetic month.
const DAYS: u32 = 30;
/// Envelopes in it: of how many a day has, its one root says nothing.
const ENVELOPES: u64 = 6_000;
/// Kubo nodes that serve the DHT.
const SERVERS: usize = 3;
/// The most that is announced.
const MOST: u32 = 8_192;
/// The end of the real envelopes.
const END: &str = "2018-10-02T00:00:00Z";

fn main() {
    let Some(program) = std::env::var_os("GWA_KUBO").map(PathBuf::from) else {
        println!("GWA_KUBO names no program: nothing is measured");
        return;
    };
    // A folder on a real disk: the system's temporary one may be memory.
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    let servers: Vec<KuboNode> = (0..SERVERS)
        .map(|n| KuboNode::start(&program, &root.path().join(format!("kubo{n}")), "dhtserver"))
        .collect();
    let first = address(&servers[0]);
    for other in &servers[1..] {
        other.ipfs(&["swarm", "connect", &first]);
    }

    let corpus = root.path().join("corpus");
    let envelopes = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/corpus/envelopes.rlps");
    gwa(&corpus, &["init"]);
    gwa(&corpus, &["import", envelopes.to_str().expect("a path")]);
    gwa(&corpus, &["seal", "--until", END]);
    daemon("the real envelopes", &corpus, &first);
    let month = root.path().join("month");
    fill(&month);
    daemon("a synthetic month", &month, &first);
    most(&first);
}

/// A month of traffic, sealed day by day.
fn fill(dir: &Path) {
    let traffic = Synthetic::new(1, ENVELOPES, 200, UnixSeconds(FROM), DAYS * DAY);
    let archive = Archive::init(dir, "").expect("an archive is made");
    let all: Vec<_> = (0..ENVELOPES).map(|n| traffic.envelope(n)).collect();
    archive.append(&all).expect("the disk takes it");
    for day in 1..=DAYS {
        let end = UnixSeconds(FROM + day * DAY);
        let until = Watermark::at_or_before(end);
        archive.seal(until, end, &Quiet).expect("it seals");
    }
}

/// How long `gwa serve` takes until all roots of an archive are announced.
fn daemon(what: &str, data: &Path, bootstrap: &str) {
    let start = Instant::now();
    let mut child = command(data, &["serve", "--listen", "127.0.0.1:0"])
        .args(["--http", "127.0.0.1:0", "--p2p", "/ip4/127.0.0.1/tcp/0"])
        .args(["--p2p-bootstrap", bootstrap])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Running)
        .expect("it starts");
    let run = started(&mut child.0);
    let http = run["http"].as_str().expect("an address").to_owned();
    let roots = loop {
        let dht = status(&http)["p2p"]["dht"].clone();
        let roots = dht["roots"].as_u64().expect("a number");
        if roots > 0 && dht["announced"] == dht["roots"] {
            break roots;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    told(what, roots, start);
}

/// How long the most takes that is ever announced.
fn most(bootstrap: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("threads start");
    runtime.block_on(async {
        let config = NodeConfig {
            key: Keypair::generate_ed25519(),
            listen: Some("/ip4/127.0.0.1/tcp/0".parse().expect("an address")),
            public: Vec::new(),
            limits: Limits::default(),
            given: None,
            afar: None,
            dht: Some(DhtConfig {
                bootstrap: vec![bootstrap.parse().expect("an address")],
                mode: DhtMode::Client,
            }),
        };
        let start = Instant::now();
        let node = Node::start(config).await.expect("a node");
        let roots = (0..MOST).map(|n| *Block::new(Codec::Raw, n.to_be_bytes().to_vec()).cid());
        node.announce(roots.collect()).await;
        let mut dht = node.dht().expect("it takes part in one");
        let all = dht.wait_for(|dht| dht.announced == MOST as usize).await;
        let roots = all.expect("it runs").roots;
        told("the most there is", roots as u64, start);
    });
}

fn told(what: &str, roots: u64, start: Instant) {
    let s = start.elapsed().as_secs_f64();
    println!(r#"{{"what":"announce {what}","servers":{SERVERS},"roots":{roots},"s":{s:.2}}}"#);
}

/// How peers reach a node.
fn address(node: &KuboNode) -> String {
    let id: Value = serde_json::from_str(&node.ipfs(&["id"])).expect("JSON");
    id["Addresses"][0].as_str().expect("an address").to_owned()
}

/// What a daemon says of itself.
fn status(http: &str) -> Value {
    let host = http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("it listens");
    let request =
        format!("GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let json = &body[body.find('{').expect("JSON")..=body.rfind('}').expect("JSON")];
    serde_json::from_str(json).expect("JSON")
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.arg("--json").arg("--data").arg(data).args(args);
    command
}

fn gwa(data: &Path, args: &[&str]) {
    let output = command(data, args).output().expect("gwa runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gwa {args:?}: {said}");
}
