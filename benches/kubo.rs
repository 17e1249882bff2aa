//! What an archive at an IPFS node costs: carrying it there, file by file, beside one
//! `ipfs dag import` of the same CARs into a second node; and mirroring it from the node's RPC, its gateway
//! and a daemon that has the blocks itself.
//!
//! `GWA_KUBO=PROGRAM cargo bench --bench kubo` takes 100,000 envelopes;
//! `GWA_BENCH_ENVELOPES=1000000` asks for more. One JSON object a line.

#[path = "nodes/month.rs"]
mod month;
#[path = "nodes/kubo.rs"]
mod nodes;
#[path = "nodes/running.rs"]
mod running;
#[path = "../tests/common/started.rs"]
mod started;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gwa::archive::testing::Synthetic;
use gwa::blocks::BlockStore;
use gwa::depot::{Depot, KuboDepot, testing};
use gwa::kubo::{Kubo, KuboLimits};
use gwa::time::{DAY, UnixSeconds};
use serde_json::Value;

use month::sealed_by_day;
use nodes::KuboNode;
use running::Running;
use started::started;

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
/// Days of the synthetic month.
const DAYS: u32 = 30;
/// Each measurement is made this often, in turns; the best of both counts.
const ROUNDS: u32 = 3;

fn main() {
    let Some(program) = std::env::var_os("GWA_KUBO").map(PathBuf::from) else {
        println!("GWA_KUBO names no program: nothing is measured");
        return;
    };
    let count = std::env::var("GWA_BENCH_ENVELOPES").ok();
    let count: u64 = count.and_then(|n| n.parse().ok()).unwrap_or(100_000);
    // A folder on a real disk: the system's temporary one may be memory.
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    let dir = root.path().join("archive");
    let traffic = Synthetic::new(1, count, 2_000, UnixSeconds(FROM), DAYS * DAY);
    let archive = sealed_by_day(&dir, &traffic, FROM, DAYS);
    let head = archive.head().expect("it was sealed");
    let files = archive.blocks().folder().files().expect("files");
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();

    let (mut carried, mut imported) = (f64::MAX, f64::MAX);
    let mut last = None;
    for round in 0..ROUNDS {
        let own = KuboNode::start(&program, &root.path().join(format!("own{round}")), "none");
        let start = Instant::now();
        let depot = depot(&own);
        testing::each_parcel(&archive, |parcel| depot.keep(parcel).expect("it is kept"));
        depot.keep_head(&head, None).expect("it is kept");
        carried = carried.min(start.elapsed().as_secs_f64());

        let other = KuboNode::start(&program, &root.path().join(format!("other{round}")), "none");
        let start = Instant::now();
        let mut import = vec!["dag".to_owned(), "import".to_owned()];
        testing::each_parcel(&archive, |parcel| {
            import.push(parcel.car.to_str().expect("a path").to_owned());
        });
        // All in one command, roots pinned, as it does by itself.
        other.ipfs(&import.iter().map(String::as_str).collect::<Vec<_>>());
        imported = imported.min(start.elapsed().as_secs_f64());
        last = Some(own);
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of one archive")]
    let mib = |s: f64| bytes as f64 / s / f64::from(1 << 20);
    println!(
        r#"{{"what":"carry to Kubo","envelopes":{count},"files":{},"bytes":{bytes},"s":{carried:.2},"mib_s":{:.1},"dag_import_s":{imported:.2},"dag_import_mib_s":{:.1},"share":{:.2},"own_peak_rss_mib":{:.0}}}"#,
        files.len(),
        mib(carried),
        mib(imported),
        imported / carried,
        peak_rss_mib(),
    );

    let node = last.expect("at least one round");
    drop(archive);
    let daemon = Daemon::start(&dir);
    let cid = head.cid().to_string();
    let rpc = format!("kubo:{}", api(&node));
    let gateway = gateway(&node);
    for (name, args) in [
        ("Kubo's RPC", vec!["mirror", &cid, "--from", &rpc]),
        ("Kubo's gateway", vec!["mirror", &cid, "--from", &gateway]),
        ("gwa over HTTP", vec!["mirror", &daemon.http]),
    ] {
        let start = Instant::now();
        let copy = root.path().join(name);
        let mirrored = gwa(&copy, &args);
        let s = start.elapsed().as_secs_f64();
        let fetched = mirrored["fetched"].as_u64().expect("a number of bytes");
        println!(
            r#"{{"what":"mirror from {name}","envelopes":{count},"bytes":{fetched},"s":{s:.2}}}"#,
        );
    }
}

/// Where a node's RPC is.
fn api(node: &KuboNode) -> String {
    let address = fs::read_to_string(node.repo.join("api")).expect("its address");
    url(&address)
}

/// Where a node's gateway is.
fn gateway(node: &KuboNode) -> String {
    url(&node.ipfs(&["config", "Addresses.Gateway"]))
}

/// The URL of a multiaddress on loopback.
fn url(address: &str) -> String {
    let port = address.trim().rsplit('/').next().expect("a port");
    format!("http://127.0.0.1:{port}")
}

fn depot(node: &KuboNode) -> KuboDepot {
    let url = api(node).parse().expect("a URL");
    let client = Kubo::new(url, None, KuboLimits::default()).expect("a client");
    KuboDepot::with(client, "bench".to_owned()).expect("threads start")
}

/// A `gwa serve` that has the blocks itself.
struct Daemon {
    _running: Running,
    http: String,
}

impl Daemon {
    fn start(data: &Path) -> Self {
        let mut child = command(data, &["serve", "--listen", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Running)
            .expect("it starts");
        let run = started(&mut child.0);
        let http = run["http"].as_str().expect("an address").to_owned();
        Self {
            _running: child,
            http,
        }
    }
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command.arg("--json").arg("--data").arg(data).args(args);
    command
}

/// What `gwa` prints as its last JSON line.
fn gwa(data: &Path, args: &[&str]) -> Value {
    let output = command(data, args).output().expect("gwa runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gwa {args:?}: {said}");
    let text = String::from_utf8(output.stdout).expect("text");
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

/// The most memory this process had so far.
fn peak_rss_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
