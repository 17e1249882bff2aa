//! The figures an archive is held to, measured in one run with their baselines:
//! durable archiving, sealing, verification, bytes live and written, and what
//! queries cost in blocks and bytes.
//!
//! `cargo bench --bench figures` takes 100,000 envelopes;
//! `GWA_BENCH_ENVELOPES=1000000` asks for more. One JSON object a line.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use gwa::archive::disk::{Archive, sealed_by};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::testing::Synthetic;
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::keccak::keccak256;
use gwa::progress::Quiet;
use gwa::time::{DAY, TimeRange, UnixSeconds};
use gwa::whisper::Envelope;
use sha2::{Digest, Sha256};

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
/// Days of the synthetic month.
const DAYS: u32 = 30;
/// Envelopes appended, and made durable, at once.
const BATCH: usize = 500;

fn main() {
    let count = std::env::var("GWA_BENCH_ENVELOPES")
        .ok()
        .and_then(|n| n.parse().ok());
    let count = count.unwrap_or(100_000);
    // A folder on a real disk: the system's temporary one may be memory.
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    month(count, &root.path().join("month"));
    live_traffic(count / 10, &root.path().join("live"));
    year(count, &root.path().join("year"));
}

fn month(count: u64, dir: &Path) {
    let traffic = Synthetic::new(1, count, 2_000, UnixSeconds(FROM), DAYS * DAY);
    let archive = Archive::init(dir, "bench").expect("an archive is made");

    // Archiving, and the same bytes appended to a plain file as plainly.
    let mut plain = File::create(dir.join("plain")).expect("a file is made");
    let (mut archived, mut appended) = (Duration::ZERO, Duration::ZERO);
    let (mut bytes, mut hashing_sha, mut hashing_keccak) = (0u64, Duration::ZERO, Duration::ZERO);
    for start in (0..count).step_by(BATCH) {
        let batch: Vec<Envelope> = (start..count.min(start + BATCH as u64))
            .map(|n| traffic.envelope(n))
            .collect();
        let one: Vec<u8> = batch.iter().flat_map(|e| e.rlp().to_vec()).collect();
        bytes += one.len() as u64;
        archived += timed(|| archive.append(&batch).expect("the disk takes it"));
        appended += timed(|| {
            plain
                .write_all(&one)
                .and_then(|()| plain.sync_data())
                .expect("the disk takes it");
        });
        hashing_sha += timed(|| Sha256::digest(&one));
        hashing_keccak += timed(|| {
            batch
                .iter()
                .fold(0u8, |mix, envelope| mix ^ keccak256(envelope.rlp())[0])
        });
    }
    std::fs::remove_file(dir.join("plain")).expect("it was just made");
    let limit = hashing_sha + hashing_keccak;
    report(
        "archive",
        count,
        archived,
        "plain append + fdatasync",
        appended,
    );

    let end = Watermark::at_or_before(UnixSeconds(FROM + DAYS * DAY));
    let now = UnixSeconds(FROM + DAYS * DAY + 200);
    let mut sealed = None;
    let sealing = timed(|| sealed = Some(archive.seal(end, now, &Quiet).expect("it seals")));
    let sealed = sealed.expect("it was sealed");
    report(
        "seal",
        count,
        sealing,
        "sha2-256 + keccak-256, one core",
        limit,
    );
    peak_memory("archive and seal");

    let head = archive.head().expect("there is a head");
    let verifying = timed(|| {
        let what = sealed_by(&head);
        let verified = verify(
            archive.blocks(),
            &what,
            *head.cid(),
            Sample::EVERYTHING,
            &Quiet,
        );
        assert!(verified.faults.is_empty() && verified.envelopes == count);
    });
    report(
        "verify",
        count,
        verifying,
        "sha2-256 + keccak-256, one core",
        limit,
    );

    let live = folder_bytes(&dir.join("blocks/days")) + folder_bytes(&dir.join("blocks/calendar"));
    ratio("live bytes for each envelope byte, imported", live, bytes);
    ratio(
        "written block bytes for each envelope byte, imported",
        sealed.written,
        bytes,
    );

    let day = |n: u32| range(FROM + n * DAY, FROM + (n + 1) * DAY - 1);
    for (name, rank) in [("hot", 0), ("mid", 30), ("warm", 300), ("rare", 1_900)] {
        query(
            &archive,
            &format!("{name} topic, 24 h"),
            traffic.topic(rank),
            day(14),
        );
        query(
            &archive,
            &format!("{name} topic, 30 days"),
            traffic.topic(rank),
            TimeRange::ALL,
        );
    }
}

/// A day of envelopes sealed every five minutes, as a daemon does.
fn live_traffic(count: u64, dir: &Path) {
    let traffic = Synthetic::new(2, count, 2_000, UnixSeconds(FROM), DAY);
    let archive = Archive::init(dir, "live").expect("an archive is made");
    let (mut bytes, mut written, mut journal) = (0u64, 0u64, 0u64);
    let mut n = 0;
    for at in (FROM + 300..=FROM + DAY).step_by(300) {
        let mut batch = Vec::new();
        while n < count && traffic.envelope(n).sent().0 < at {
            batch.push(traffic.envelope(n));
            n += 1;
        }
        let taken: u64 = batch.iter().map(|e| e.rlp().len() as u64).sum();
        bytes += taken;
        journal += taken;
        archive.append(&batch).expect("the disk takes it");
        let sealed = archive.seal(
            Watermark::at_or_before(UnixSeconds(at)),
            UnixSeconds(at),
            &Quiet,
        );
        written += sealed.expect("it seals").written;
    }
    ratio(
        "written block bytes for each envelope byte, live",
        written,
        bytes,
    );
    ratio(
        "written block and journal bytes, live",
        written + journal,
        bytes,
    );
}

/// The same number of envelopes over a year, for what a rare topic costs.
fn year(count: u64, dir: &Path) {
    let traffic = Synthetic::new(3, count, 2_000, UnixSeconds(FROM), 365 * DAY);
    let archive = Archive::init(dir, "year").expect("an archive is made");
    let rare = gwa::whisper::Topic([0xee, 0xdd, 0xcc, 0x01]);
    let mut bytes = 0u64;
    for start in (0..count).step_by(10_000) {
        let mut batch: Vec<Envelope> = (start..count.min(start + 10_000))
            .map(|n| traffic.envelope(n))
            .collect();
        bytes += batch.iter().map(|e| e.rlp().len() as u64).sum::<u64>();
        // About two a month.
        if (start / 10_000).is_multiple_of((count / 10_000).div_ceil(24)) {
            let like = &batch[0];
            batch.push(Envelope::new(
                like.expiry(),
                like.ttl(),
                rare,
                like.data(),
                1,
            ));
        }
        archive.append(&batch).expect("the disk takes it");
    }
    let end = FROM + 365 * DAY;
    let end = Watermark::at_or_before(UnixSeconds(end - end % DAY));
    archive.seal(end, end.at(), &Quiet).expect("it seals");
    let live = folder_bytes(&dir.join("blocks/days")) + folder_bytes(&dir.join("blocks/calendar"));
    ratio(
        "live bytes for each envelope byte, over a year",
        live,
        bytes,
    );
    query(&archive, "two a month, a year", rare, TimeRange::ALL);
    query(
        &archive,
        "absent topic, a year",
        gwa::whisper::Topic([0xee; 4]),
        TimeRange::ALL,
    );
}

fn query(archive: &Archive, name: &str, topic: gwa::whisper::Topic, range: TimeRange) {
    let head = archive.head().expect("there is a head");
    let filter = Filter {
        topics: TopicFilter::Any([topic].into()),
        range,
    };
    // Making a query reads blocks already.
    let start = Instant::now();
    let mut query = archive.query(&head, filter).expect("all blocks are there");
    let mut found = 0u64;
    for record in query.by_ref() {
        record.expect("all blocks are there");
        found += 1;
    }
    let micros = start.elapsed().as_micros();
    let cost = query.cost();
    println!(
        "{{\"query\":\"{name}\",\"found\":{found},\"blocks\":{},\"bytes\":{},\"rounds\":{},\"micros\":{micros}}}",
        cost.blocks, cost.bytes, cost.rounds
    );
}

fn range(from: u32, to: u32) -> TimeRange {
    TimeRange::new(UnixSeconds(from), UnixSeconds(to)).expect("from is before to")
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

fn report(what: &str, count: u64, took: Duration, baseline: &str, base: Duration) {
    #[expect(clippy::cast_precision_loss)]
    let rate = count as f64 / took.as_secs_f64();
    println!(
        "{{\"work\":\"{what}\",\"per_second\":{rate:.0},\"baseline\":\"{baseline}\",\"share_of_baseline\":{:.2}}}",
        base.as_secs_f64() / took.as_secs_f64()
    );
}

#[expect(clippy::cast_precision_loss)]
fn ratio(what: &str, bytes: u64, of: u64) {
    println!(
        "{{\"measure\":\"{what}\",\"ratio\":{:.4},\"bytes\":{bytes}}}",
        bytes as f64 / of as f64
    );
}

/// The most memory this process has held, where the system says it.
fn peak_memory(after: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if let Some(kib) = peak.and_then(|peak| peak.trim().strip_suffix(" kB")) {
        println!("{{\"measure\":\"peak memory, {after}\",\"kib\":{kib}}}");
    }
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
