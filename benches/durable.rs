//! Durable archiving in the three ways envelopes arrive, and one topic of one
//! day, for comparison with a LevelDB mailserver (`benches/baseline`).
//!
//! `just figures` runs both in turn. Here `GWA_BENCH_STREAM` names the folder
//! that the baseline reads: the same envelopes, the same queries. Every figure
//! starts from the bytes of an envelope, as the baseline's does: decoding and
//! hashing are part of it. One JSON object a line.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gwa::archive::disk::Archive;
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::progress::Quiet;
use gwa::time::{DAY, TimeRange, UnixSeconds};
use gwa::whisper::Envelope;

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
/// Days of the synthetic month.
const DAYS: u32 = 30;
/// Topics in it, popular as Zipf's law says.
const TOPICS: u32 = 2_000;
/// Envelopes of a peer's packet.
const BATCH: usize = 500;
/// Peers that send one envelope at a time.
const THREADS: usize = 64;
/// Envelopes archived one by one; more would only take longer.
const FEW: usize = 2_000;
/// Queries by name, and their topics' ranks.
const QUERIES: [(&str, u32); 4] = [("hot", 0), ("mid", 30), ("warm", 300), ("rare", 1_900)];

fn main() {
    let count = std::env::var("GWA_BENCH_ENVELOPES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100_000);
    let traffic = Synthetic::new(1, count, TOPICS, UnixSeconds(FROM), DAYS * DAY);
    let records: Vec<Bytes> = (0..count)
        .map(|n| traffic.envelope(n).rlp().clone())
        .collect();
    let days = TimeRange::new(
        UnixSeconds(FROM + 14 * DAY),
        UnixSeconds(FROM + 15 * DAY - 1),
    )
    .expect("a day begins before it ends");
    if let Some(folder) = std::env::var_os("GWA_BENCH_STREAM") {
        write_for_baseline(Path::new(&folder), &records, &traffic, days);
    }
    // A folder on a real disk: the system's temporary one may be memory.
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");

    let few = &records[..FEW.min(records.len())];
    let archive = Archive::init(&root.path().join("one"), "bench").expect("an archive is made");
    let took = timed(|| few.iter().for_each(|record| archive_one(&archive, record)));
    report("archive, one by one", few.len(), took);
    drop(archive);

    let archive = Archive::init(&root.path().join("threads"), "bench").expect("an archive is made");
    let next = AtomicUsize::new(0);
    let many = &records[..(20 * FEW).min(records.len())];
    let took = timed(|| {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(record) = many.get(next.fetch_add(1, Ordering::Relaxed)) {
                        archive_one(&archive, record);
                    }
                });
            }
        });
    });
    assert_eq!(archive.waiting(), many.len() as u64);
    report("archive, 64 threads one by one", many.len(), took);
    drop(archive);

    let archive = Archive::init(&root.path().join("batches"), "bench").expect("an archive is made");
    let took = timed(|| {
        for batch in records.chunks(BATCH) {
            let envelopes: Vec<Envelope> = batch.iter().map(decoded).collect();
            archive.append(&envelopes).expect("the disk takes it");
        }
    });
    assert_eq!(archive.waiting(), count);
    report("archive, batches of 500", records.len(), took);

    let end = Watermark::at_or_before(UnixSeconds(FROM + DAYS * DAY));
    archive.seal(end, end.at(), &Quiet).expect("it seals");
    let head = archive.head().expect("there is a head");
    for (name, rank) in QUERIES {
        let filter = Filter {
            topics: TopicFilter::Any([traffic.topic(rank)].into()),
            range: days,
        };
        let (mut found, mut bytes) = (0u64, 0u64);
        let took = timed(|| {
            for record in archive.query(&head, filter).expect("all blocks are there") {
                bytes += record.expect("all blocks are there").bytes.len() as u64;
                found += 1;
            }
        });
        println!(
            "{{\"work\":\"query {name}\",\"found\":{found},\"bytes\":{bytes},\"micros\":{}}}",
            took.as_micros()
        );
    }
}

fn archive_one(archive: &Archive, record: &Bytes) {
    let envelope = decoded(record);
    archive.append(&[envelope]).expect("the disk takes it");
}

fn decoded(record: &Bytes) -> Envelope {
    Envelope::decode(record).expect("it was just encoded")
}

fn write_for_baseline(folder: &Path, records: &[Bytes], traffic: &Synthetic, days: TimeRange) {
    fs::create_dir_all(folder).expect("the folder is writable");
    fs::write(folder.join("envelopes.rlps"), records.concat()).expect("the disk takes it");
    let mut queries = String::new();
    for (name, rank) in QUERIES {
        let topic = hex::encode(traffic.topic(rank).0);
        let (from, to) = (days.from().0, days.to().0);
        writeln!(queries, "{name} {topic} {from} {to}").expect("memory takes it");
    }
    fs::write(folder.join("queries"), queries).expect("the disk takes it");
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn report(work: &str, count: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss)]
    let rate = count as f64 / took.as_secs_f64();
    println!("{{\"work\":\"{work}\",\"per_second\":{rate:.0}}}");
}
