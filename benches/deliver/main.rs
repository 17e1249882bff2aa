//! Mail delivered: pages out of an archive, and answers over real RLPx links.
//!
//! `cargo bench --bench deliver` stores 100,000 envelopes first;
//! `GWA_BENCH_ENVELOPES=1000000` more. With `GWA_BENCH_STREAM` set to a folder,
//! the envelopes and requests are written there for `benches/baseline`, which
//! answers the same ones out of LevelDB as status-go does. `GWA_BENCH_BASELINE`
//! names its binary: it is run at the end, and set beside ours, alone and with
//! what the link takes for the same bytes: `just delivery`. `GWA_BENCH_KEEP`
//! keeps the archive for the next run. One JSON object a line.

mod beside;
mod network;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gwa::archive::disk::{Archive, PageRequest};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::progress::Quiet;
use gwa::time::{DAY, TimeRange, UnixSeconds};
use gwa::whisper::{Bloom, Envelope};

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
/// Days of the synthetic month.
const DAYS: u32 = 30;
/// Topics in it, popular as Zipf's law says.
const TOPICS: u32 = 2_000;
/// Envelopes appended at once.
const BATCH: usize = 500;
/// Envelopes of a page: what the mailserver reads at a time.
const PAGE: usize = 1_000;
/// Envelopes asked for at once, as status clients do at most.
const LIMIT: u32 = 10_000;
/// Times each case is run; the first is reported apart, for it finds nothing
/// verified since the archive was opened.
const RUNS: usize = 5;

/// One question.
#[derive(Clone, Debug)]
pub struct Case {
    name: String,
    /// Rank of its topic; `None` for all topics.
    rank: Option<u32>,
    range: TimeRange,
}

impl Case {
    fn bloom(&self, traffic: &Synthetic) -> Bloom {
        self.rank
            .map_or(Bloom::FULL, |rank| Bloom::of_topic(traffic.topic(rank)))
    }
}

fn main() {
    let count = std::env::var("GWA_BENCH_ENVELOPES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100_000);
    let traffic = Synthetic::new(1, count, TOPICS, UnixSeconds(FROM), DAYS * DAY);
    let keep = std::env::var_os("GWA_BENCH_KEEP").is_some();
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("deliver-{count}"));
    let stream = std::env::var_os("GWA_BENCH_STREAM").map(PathBuf::from);
    let archive = Arc::new(stored(&dir, &traffic, keep, stream.as_deref()));
    let cases = cases();
    if let Some(folder) = &stream {
        write_requests(folder, &cases, &traffic);
    }
    let pages: Vec<Read> = cases
        .iter()
        .map(|case| library(&archive, case, &traffic))
        .collect();
    let sent = network::run(&archive, &traffic, &cases, &pages);
    drop(archive);
    let baseline = std::env::var_os("GWA_BENCH_BASELINE").map(PathBuf::from);
    if let (Some(baseline), Some(folder)) = (baseline, &stream) {
        beside::run(&baseline, folder, &cases, &pages, &sent);
    }
    if !keep {
        std::fs::remove_dir_all(&dir).expect("it was just made");
    }
}

fn cases() -> Vec<Case> {
    let day = days(14, 1);
    let month = days(0, DAYS);
    let of = |name: &str, rank, range| Case {
        name: name.to_owned(),
        rank,
        range,
    };
    vec![
        of("whole-day", None, day),
        of("hot-day", Some(0), day),
        of("mid-day", Some(30), day),
        of("rare-day", Some(1_900), day),
        of("hot-month", Some(0), month),
        of("mid-month", Some(30), month),
        of("rare-month", Some(1_900), month),
    ]
}

fn days(first: u32, count: u32) -> TimeRange {
    let from = FROM + first * DAY;
    TimeRange::new(UnixSeconds(from), UnixSeconds(from + count * DAY - 1))
        .expect("days begin before they end")
}

/// The archive with all of the traffic sealed in it.
fn stored(dir: &Path, traffic: &Synthetic, keep: bool, stream: Option<&Path>) -> Archive {
    let is_wanted = |folder: &&Path| !(keep && folder.join("envelopes.rlps").exists());
    let mut file = stream.filter(is_wanted).map(|folder| {
        std::fs::create_dir_all(folder).expect("the folder is writable");
        let file = std::fs::File::create(folder.join("envelopes.rlps"));
        std::io::BufWriter::new(file.expect("the folder is writable"))
    });
    let is_there = keep && dir.exists();
    if is_there && file.is_none() {
        return Archive::open(dir).expect("it was left whole");
    }
    let archive = if is_there {
        Archive::open(dir).expect("it was left whole")
    } else {
        if dir.exists() {
            std::fs::remove_dir_all(dir).expect("it is ours");
        }
        Archive::init(dir, "bench").expect("an archive is made")
    };
    let count = traffic.count();
    for start in (0..count).step_by(BATCH) {
        let batch: Vec<Envelope> = (start..count.min(start + BATCH as u64))
            .map(|n| traffic.envelope(n))
            .collect();
        if let Some(file) = &mut file {
            for envelope in &batch {
                file.write_all(envelope.rlp()).expect("the disk takes it");
            }
        }
        if !is_there {
            archive.append(&batch).expect("the disk takes it");
        }
    }
    if !is_there {
        let end = Watermark::at_or_before(UnixSeconds(FROM + DAYS * DAY));
        archive.seal(end, end.at(), &Quiet).expect("it seals");
    }
    archive
}

/// One request a line: name, bloom, first and last second.
fn write_requests(folder: &Path, cases: &[Case], traffic: &Synthetic) {
    let mut lines = String::new();
    for case in cases {
        let (bloom, range) = (case.bloom(traffic), case.range);
        let (from, to) = (range.from().0, range.to().0);
        writeln!(lines, "{} {} {from} {to}", case.name, hex::encode(bloom.0))
            .expect("memory takes it");
    }
    std::fs::write(folder.join("requests"), lines).expect("the disk takes it");
}

/// What reading a case's pages gave, and the median of how long it took.
pub struct Read {
    bytes: u64,
    took: Duration,
}

/// What sending a case's answers took, and the same bytes on the link alone.
pub struct Sent {
    answer: Duration,
    link: Duration,
}

/// A case answered page by page, without a network.
fn library(archive: &Archive, case: &Case, traffic: &Synthetic) -> Read {
    let bloom = case.bloom(traffic);
    let topics = if bloom.is_full() {
        TopicFilter::All
    } else {
        TopicFilter::Bloom(Box::new(bloom))
    };
    let mut took = Vec::new();
    let mut pages = Vec::new();
    let (mut found, mut bytes) = (0u64, 0u64);
    for _ in 0..RUNS {
        let mut request = PageRequest {
            filter: Filter {
                topics: topics.clone(),
                range: case.range,
            },
            after: None,
            limit: PAGE,
        };
        (found, bytes) = (0, 0);
        let start = Instant::now();
        loop {
            let asked = Instant::now();
            let page = archive.page(&request).expect("all blocks are there");
            pages.push(asked.elapsed());
            found += page.records.len() as u64;
            bytes += page
                .records
                .iter()
                .map(|r| r.bytes.len() as u64)
                .sum::<u64>();
            if !page.more {
                break;
            }
            let last = page.records.last().expect("more follows something");
            request.after = Some((last.key.sent, last.key.hash));
        }
        took.push(start.elapsed());
    }
    let first = took[0];
    let read = Read {
        bytes,
        took: quantile(&mut took[1..], 50),
    };
    println!(
        "{{\"work\":\"pages {}\",\"found\":{found},\"bytes\":{bytes},\"first_micros\":{},\"micros\":{},\"page_p95_micros\":{}}}",
        case.name,
        first.as_micros(),
        read.took.as_micros(),
        quantile(&mut pages, 95).as_micros(),
    );
    read
}

/// The time that so many percent did not exceed.
pub fn quantile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times[at]
}
