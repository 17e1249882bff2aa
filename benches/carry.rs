//! What carrying an archive on costs: mirroring it over HTTP beside copying its CAR
//! over the same link and beside mirroring it by bitswap, asking it over HTTP with
//! nothing cached, forking it, and following a day of its traffic from seal to seal.
//!
//! `cargo bench --bench carry` takes 100,000 envelopes; `GWA_BENCH_ENVELOPES=1000000`
//! asks for more. One JSON object a line.

#[path = "../tests/common/started.rs"]
mod started;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use gwa::archive::disk::{Archive, Blocks};
use gwa::archive::head::Head;
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::progress::Quiet;
use gwa::time::{DAY, UnixSeconds};
use gwa::whisper::Envelope;
use serde_json::Value;

use started::started;

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
/// Days of the synthetic month.
const DAYS: u32 = 30;
/// Seconds between the heads that are followed.
const STEP: u32 = 300;

fn main() {
    let count = std::env::var("GWA_BENCH_ENVELOPES")
        .ok()
        .and_then(|n| n.parse().ok());
    let count: u64 = count.unwrap_or(100_000);
    // A folder on a real disk: the system's temporary one may be memory.
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    let dir = root.path().join("archive");
    let traffic = Synthetic::new(1, count, 2_000, UnixSeconds(FROM), DAYS * DAY);
    let head = {
        let archive = Archive::init(&dir, "").expect("an archive is made");
        let mut next = 0;
        for day in 1..=DAYS {
            let end = FROM + day * DAY;
            bring(&archive, &traffic, count, &mut next, end);
            seal(&archive, end);
        }
        forking(&archive, count, &root.path().join("fork"));
        archive.head().expect("it was sealed")
    };

    let daemon = Daemon::start(&dir);
    asking(&daemon, &traffic, count, root.path());
    mirroring(&daemon, &head, count, root.path());
    drop(daemon);

    let archive = Archive::open(&dir).expect("it is there");
    let mirror =
        Archive::mirror(&root.path().join("mirror"), &head, Vec::new()).expect("it is there");
    following(&archive, &mirror, count);
}

/// Appends what was sent before `end`, in batches.
fn bring(archive: &Archive, traffic: &Synthetic, count: u64, next: &mut u64, end: u32) -> u64 {
    let mut bytes = 0;
    loop {
        let mut batch: Vec<Envelope> = Vec::new();
        while batch.len() < 5_000 && *next < count {
            let envelope = traffic.envelope(*next);
            if envelope.sent().0 >= end {
                break;
            }
            bytes += envelope.rlp().len() as u64;
            batch.push(envelope);
            *next += 1;
        }
        if batch.is_empty() {
            return bytes;
        }
        archive.append(&batch).expect("the disk takes it");
    }
}

fn seal(archive: &Archive, end: u32) {
    let end = UnixSeconds(end);
    archive
        .seal(Watermark::at_or_before(end), end, &Quiet)
        .expect("it seals");
}

/// A fork in an empty folder, until its first head is on the disk.
fn forking(archive: &Archive, count: u64, dir: &Path) {
    let head = archive.head().expect("it was sealed");
    let now = UnixSeconds(FROM + DAYS * DAY + 600);
    let start = Instant::now();
    let blocks = archive.blocks();
    let forked = Archive::fork(dir, "", &head, blocks, Vec::new(), now, &Quiet);
    let (fork, _) = forked.expect("a fork is made");
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let own = fork.head().expect("it signed one");
    let new = own.block().bytes().len();
    println!(
        r#"{{"what":"fork","envelopes":{count},"ms":{ms:.1},"new_block_bytes":{new},"block_files_bytes":{}}}"#,
        folder_bytes(&dir.join("blocks/days")) + folder_bytes(&dir.join("blocks/calendar")),
    );
}

/// One day of topics of each kind, and one topic over all days, each with an empty
/// cache.
fn asking(daemon: &Daemon, traffic: &Synthetic, count: u64, root: &Path) {
    let day = [
        "--from",
        "2018-09-15T00:00:00Z",
        "--to",
        "2018-09-15T23:59:59Z",
    ];
    for (name, rank, range) in [
        ("hot topic, 24 h", 0, &day[..]),
        ("mid topic, 24 h", 30, &day[..]),
        ("warm topic, 24 h", 300, &day[..]),
        ("rare topic, 24 h", 1_900, &day[..]),
        ("warm topic, 30 days", 300, &[]),
        ("rare topic, 30 days", 1_900, &[]),
    ] {
        let topic = format!("0x{}", hex::encode(traffic.topic(rank).0));
        let folder = root.join(format!("asked-{rank}-{}", range.len()));
        let args = [
            &[
                "query",
                &daemon.http,
                "--topic",
                &topic,
                "--count",
                "--explain",
            ],
            range,
        ]
        .concat();
        let start = Instant::now();
        let cost = gwa(&folder, &args);
        let ms = start.elapsed().as_secs_f64() * 1e3;
        println!(
            r#"{{"what":"query over HTTP, {name}","envelopes":{count},"ms":{ms:.0},"cost":{cost}}}"#
        );
    }
}

/// A mirror of everything, and the CAR of everything written to a file.
fn mirroring(daemon: &Daemon, head: &Head, count: u64, root: &Path) {
    let start = Instant::now();
    let mirrored = gwa(&root.join("mirror"), &["mirror", &daemon.http]);
    let mirroring = start.elapsed().as_secs_f64();

    let car = root.join("all.car");
    let start = Instant::now();
    let copied = daemon.download(&format!("/ipfs/{}?format=car", head.cid()), &car);
    let copying = start.elapsed().as_secs_f64();
    std::fs::remove_file(&car).expect("it was just made");

    let fetched = mirrored["fetched"].as_u64().expect("a number of bytes");
    let bytes = head.body().totals.bytes;
    println!(
        r#"{{"what":"mirror","envelopes":{count},"blocks":{},"bytes":{fetched},"of_envelope_bytes":{:.4},"s":{mirroring:.2},"car_bytes":{copied},"car_s":{copying:.2},"share_of_copying":{:.2}}}"#,
        mirrored["blocks"],
        ratio(fetched, bytes),
        copying / mirroring * ratio(fetched, copied),
    );

    let place = format!("p2p:{}", daemon.p2p);
    let of = head.cid().to_string();
    let start = Instant::now();
    let mirrored = gwa(&root.join("swapped"), &["mirror", &of, "--from", &place]);
    let swapping = start.elapsed().as_secs_f64();
    println!(
        r#"{{"what":"mirror by bitswap","envelopes":{count},"blocks":{},"bytes":{},"s":{swapping:.2},"share_of_http":{:.2}}}"#,
        mirrored["blocks"],
        mirrored["fetched"],
        mirroring / swapping,
    );
}

/// A day more, sealed and followed every five minutes.
fn following(archive: &Archive, mirror: &Archive, count: u64) {
    let a_day = count / u64::from(DAYS);
    let from = FROM + DAYS * DAY;
    let traffic = Synthetic::new(3, a_day, 2_000, UnixSeconds(from), DAY);
    let blocks: &Blocks = archive.blocks();
    // What the daemon published since is fetched before the count begins.
    let caught_up = |now: u32| {
        let head = archive.head().expect("it was sealed");
        mirror
            .follow(&head, blocks, false, UnixSeconds(now), &Quiet)
            .expect("it is followed")
            .copied
    };
    let (mut next, mut bytes, mut fetched, mut read, mut heads) = (0, 0, 0, 0, 0u32);
    let mut slowest = 0f64;
    for end in (from + STEP..=from + DAY).step_by(STEP as usize) {
        bytes += bring(archive, &traffic, a_day, &mut next, end);
        seal(archive, end);
        let start = Instant::now();
        let copied = caught_up(end);
        slowest = slowest.max(start.elapsed().as_secs_f64() * 1e3);
        fetched += copied.bytes;
        read += copied.blocks;
        heads += 1;
    }
    let state = |archive: &Archive| archive.head().map(|head| head.body().state);
    assert_eq!(state(mirror), state(archive));
    println!(
        r#"{{"what":"follow a day","envelopes":{count},"new":{a_day},"heads":{heads},"blocks":{read},"bytes":{fetched},"of_new_bytes":{:.4},"slowest_ms":{slowest:.0}}}"#,
        ratio(fetched, bytes),
    );
}

/// What `gwa` prints as its last JSON line.
fn gwa(data: &Path, args: &[&str]) -> Value {
    let output = command(data, args).output().expect("gwa runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gwa {args:?}: {said}");
    let text = String::from_utf8(output.stdout).expect("text");
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwa"));
    command
        .arg("--json")
        .arg("--data")
        .arg(data)
        .args(args)
        .env_remove("GWA_DATA")
        .env("XDG_CACHE_HOME", data.join("cache"))
        .env("GWA_LOG", "warn");
    command
}

/// A daemon on loopback, killed when it is dropped.
struct Daemon {
    process: Child,
    http: String,
    p2p: String,
}

impl Daemon {
    fn start(data: &Path) -> Self {
        let args = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--p2p",
            "/ip4/127.0.0.1/tcp/0",
        ];
        let mut process = command(data, &args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("gwa serves");
        let started = started(&mut process);
        let http = started["http"].as_str().expect("an address").to_owned();
        let p2p = started["p2p"][0].as_str().expect("an address").to_owned();
        Self { process, http, p2p }
    }

    /// Writes an answer to a file, durably, as plainly as can be: as it comes, with
    /// the marks of its pieces. Returns its bytes.
    fn download(&self, path: &str, to: &Path) -> u64 {
        let address = self.http.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the daemon answers");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .expect("it is asked");
        let mut answer = BufReader::with_capacity(1 << 20, stream);
        let mut line = String::new();
        answer.read_line(&mut line).expect("a status");
        assert!(line.contains(" 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            let read = answer.read_line(&mut line).expect("a header");
            assert!(read > 0, "the answer ends among its headers");
        }
        let mut file = File::create(to).expect("a file is made");
        let bytes = io::copy(&mut answer.by_ref(), &mut file).expect("it comes whole");
        file.sync_data().expect("the disk takes it");
        bytes
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[expect(clippy::cast_precision_loss)]
fn ratio(bytes: u64, of: u64) -> f64 {
    bytes as f64 / of as f64
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
