//! What the pages of the explorer cost the daemon: every request that a page makes
//! before it can be used, over an archive of a month that ends now. One JSON object a
//! line: each request the first time (nothing cached in the daemon) and the slowest of
//! five after it, then the sums by page and the memory that the daemon took.
//!
//! `GWA_BENCH_ENVELOPES=1000000` asks for more than 100,000 envelopes.

#[path = "nodes/month.rs"]
mod month;
#[path = "nodes/running.rs"]
mod running;
#[path = "../tests/common/started.rs"]
mod started;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gwa::archive::testing::Synthetic;
use gwa::time::{DAY, UnixSeconds};
use serde_json::Value;

use month::sealed_by_day;
use running::Running;
use started::started;

/// Days of the synthetic traffic.
const DAYS: u32 = 30;
/// Requests of each kind after the first.
const AGAIN: u32 = 5;

fn main() {
    let count = std::env::var("GWA_BENCH_ENVELOPES").ok();
    let count: u64 = count.and_then(|n| n.parse().ok()).unwrap_or(100_000);
    // A folder on a real disk: the system's temporary one may be memory.
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    let dir = root.path().join("archive");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let now = u32::try_from(now).expect("before 2106");
    // The last minutes are left to the daemon: what was sent after its watermark waits.
    let from = now - DAYS * DAY;
    let traffic = Synthetic::new(1, count, 2_000, UnixSeconds(from), DAYS * DAY);
    drop(sealed_by_day(&dir, &traffic, from, DAYS));

    // One connection, kept open, as a browser does.
    let client = gwa::tls::http_client().build().expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let ask_at = |http: &str, path: &str| {
        let start = Instant::now();
        let body = runtime.block_on(async {
            let answer = client.get(format!("{http}{path}")).send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            answer.expect("an answer").bytes().await.expect("whole")
        });
        (start.elapsed().as_secs_f64() * 1e3, body)
    };
    // A daemon makes the times of what it seals. This archive was filled without one:
    // the first makes them all, and the one that is measured finds them.
    let (making, http) = serve(&dir);
    let made = ask_at(&http, "/api/v1/gaps?days=30").0;
    println!(r#"{{"what":"times made for a month","envelopes":{count},"ms":{made:.0}}}"#);
    drop(making);
    let (child, http) = serve(&dir);
    let ask = |path: &str| ask_at(&http, path);

    for (page, requests) in pages(&traffic, now, &ask) {
        let (mut first, mut again, mut bytes) = (0f64, 0f64, 0);
        for request in requests {
            let (cold, body) = ask(&request);
            let warm = (0..AGAIN).map(|_| ask(&request).0).fold(0f64, f64::max);
            println!(
                r#"{{"request":"{request}","first_ms":{cold:.1},"slowest_of_{AGAIN}_ms":{warm:.1},"bytes":{}}}"#,
                body.len()
            );
            (first, again, bytes) = (first + cold, again + warm, bytes + body.len());
        }
        println!(
            r#"{{"page":"{page}","envelopes":{count},"first_ms":{first:.1},"again_ms":{again:.1},"bytes":{bytes}}}"#
        );
    }
    println!(
        r#"{{"what":"daemon","envelopes":{count},"peak_rss_mib":{}}}"#,
        peak_rss_mib(child.0.id())
    );
}

/// A daemon over the archive in `dir`, and where it is asked.
fn serve(dir: &Path) -> (Running, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gwa"))
        .arg("--json")
        .arg("--data")
        .arg(dir)
        .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Running)
        .expect("it starts");
    let run = started(&mut child.0);
    let http = run["http"].as_str().expect("an address").to_owned();
    (child, http)
}

/// Every page, with what it asks before it can be used.
fn pages(
    traffic: &Synthetic,
    now: u32,
    ask: &impl Fn(&str) -> (f64, bytes::Bytes),
) -> Vec<(&'static str, Vec<String>)> {
    let json = |path: &str| -> Value { serde_json::from_slice(&ask(path).1).expect("JSON") };
    // Asked of the head alone, so that no answer below is warm because of it.
    let head = json("/head");
    let cid = head["head"].as_str().expect("a CID");
    let year = jiff::Timestamp::from_second(i64::from(now - 10 * DAY))
        .expect("a time")
        .to_string();
    let (year, day) = (&year[..4], &year[..10]);
    let next = jiff::Timestamp::from_second(i64::from(now - 9 * DAY));
    let next = next.expect("a time").to_string();
    let topic = |rank| format!("0x{}", hex::encode(traffic.topic(rank).0));
    let query = |rest: String| format!("/api/v1/query?{rest}");
    let of = |list: &[&str]| list.iter().map(|&path| path.to_owned()).collect();
    vec![
        (
            "Overview",
            of(&[
                "/health",
                "/api/v1/status",
                "/api/v1/stats",
                "/api/v1/traffic?hours=48",
                "/api/v1/gaps?days=30",
                "/api/v1/share",
            ]),
        ),
        (
            "Archive",
            of(&[
                "/api/v1/calendar",
                &format!("/api/v1/calendar?year={year}"),
                &format!("/api/v1/days/{day}"),
                "/api/v1/heads?limit=50",
            ]),
        ),
        ("Explore, every topic", vec![query("limit=50".to_owned())]),
        (
            "Explore, the hottest topic",
            vec![query(format!("topic={}&limit=50", topic(0)))],
        ),
        (
            "Explore, a rare topic",
            vec![query(format!("topic={}&limit=50", topic(1_900)))],
        ),
        (
            "Explore, a topic on one day",
            vec![query(format!(
                "topic={}&from={day}&to={}&limit=50",
                topic(30),
                &next[..10]
            ))],
        ),
        ("Explore, a block", vec![format!("/ipfs/{cid}?format=raw")]),
        (
            "Read",
            vec![query(format!("data=1&topic={}&limit=100", topic(300)))],
        ),
        ("Mirrors", of(&["/api/v1/mirrors"])),
        ("Peers", of(&["/api/v1/peers"])),
        ("Verify", of(&["/api/v1/verify"])),
        ("Diagnostics", of(&["/api/v1/diagnostics"])),
    ]
}

/// The most memory a process had so far.
fn peak_rss_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
