//! What an archive at an IPFS node costs: carrying it there, file by file, beside one
//! `ipfs dag import` of the same CARs into a second node; and mirroring it from the node's RPC, its gateway
//! and a daemon that has the blocks itself.
//!
//! `GWA_KUBO=PROGRAM cargo bench --bench kubo` takes 100,000 envelopes;
//! `GWA_BENCH_ENVELOPES=1000000` asks for more. One JSON object a line.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use gwa::archive::disk::Archive;
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::blocks::BlockStore;
use gwa::depot::{Depot, KuboDepot, testing};
use gwa::kubo::{Kubo, KuboLimits};
use gwa::progress::Quiet;
use gwa::time::{DAY, UnixSeconds};
use serde_json::Value;

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
    let archive = filled(&dir, count);
    let head = archive.head().expect("it was sealed");
    let files = archive.blocks().folder().files().expect("files");
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();

    let (mut carried, mut imported) = (f64::MAX, f64::MAX);
    let mut last = None;
    for round in 0..ROUNDS {
        let own = Node::start(&program, &root.path().join(format!("own{round}")));
        let start = Instant::now();
        let depot = own.depot();
        testing::each_parcel(&archive, |parcel| depot.keep(parcel).expect("it is kept"));
        depot.keep_head(&head, None).expect("it is kept");
        carried = carried.min(start.elapsed().as_secs_f64());

        let other = Node::start(&program, &root.path().join(format!("other{round}")));
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
    let rpc = format!("kubo:{}", node.api());
    for (name, args) in [
        ("Kubo's RPC", vec!["mirror", &cid, "--from", &rpc]),
        (
            "Kubo's gateway",
            vec!["mirror", &cid, "--from", &node.gateway],
        ),
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

/// A month of traffic, sealed day by day.
fn filled(dir: &Path, count: u64) -> Archive {
    let traffic = Synthetic::new(1, count, 2_000, UnixSeconds(FROM), DAYS * DAY);
    let archive = Archive::init(dir, "").expect("an archive is made");
    let mut next = 0;
    for day in 1..=DAYS {
        let end = FROM + day * DAY;
        loop {
            let batch: Vec<_> = (next..count)
                .take(5_000)
                .map(|n| traffic.envelope(n))
                .take_while(|envelope| envelope.sent().0 < end)
                .collect();
            if batch.is_empty() {
                break;
            }
            next += batch.len() as u64;
            archive.append(&batch).expect("the disk takes it");
        }
        let end = UnixSeconds(end);
        let until = Watermark::at_or_before(end);
        archive.seal(until, end, &Quiet).expect("it seals");
    }
    archive
}

/// A node on loopback; killed when dropped.
struct Node {
    program: PathBuf,
    repo: PathBuf,
    child: Option<Child>,
    gateway: String,
}

impl Node {
    fn start(program: &Path, repo: &Path) -> Self {
        let mut node = Self {
            program: program.to_owned(),
            repo: repo.to_owned(),
            child: None,
            gateway: String::new(),
        };
        node.ipfs(&["init", "--profile=test", "--empty-repo"]);
        let port = || {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            free.local_addr().expect("an address").port()
        };
        let (api, gateway) = (port(), port());
        let at = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
        node.ipfs(&["config", "Addresses.API", &at(api)]);
        node.ipfs(&["config", "Addresses.Gateway", &at(gateway)]);
        node.gateway = format!("http://127.0.0.1:{gateway}");
        let mut child = node
            .command()
            .args(["daemon", "--routing=none"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Kubo starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let ready = |line: std::io::Result<String>| line.is_ok_and(|l| l.contains("is ready"));
        assert!(lines.any(ready), "Kubo is never ready");
        // It goes on talking.
        std::thread::spawn(move || lines.for_each(drop));
        node.child = Some(child);
        node
    }

    fn api(&self) -> String {
        let address = fs::read_to_string(self.repo.join("api")).expect("its address");
        let port = address.trim().rsplit('/').next().expect("a port");
        format!("http://127.0.0.1:{port}")
    }

    fn depot(&self) -> KuboDepot {
        let url = self.api().parse().expect("a URL");
        let client = Kubo::new(url, None, KuboLimits::default()).expect("a client");
        KuboDepot::with(client, "bench".to_owned()).expect("threads start")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("IPFS_PATH", &self.repo)
            .env("IPFS_TELEMETRY", "off");
        command
    }

    fn ipfs(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().expect("ipfs runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ipfs {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A `gwa serve` that has the blocks itself.
struct Daemon {
    child: Child,
    http: String,
}

impl Daemon {
    fn start(data: &Path) -> Self {
        let mut child = command(data, &["serve", "--listen", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let run = fs::read(data.join("run.json")).expect("run.json is there");
        let run: Value = serde_json::from_slice(&run).expect("JSON");
        let http = run["http"].as_str().expect("an address").to_owned();
        Self { child, http }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
