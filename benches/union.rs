//! What comparing and merging archives costs that differ in little: blocks and
//! bytes fetched, rounds, and time with everything in the system's memory.
//!
//! `cargo bench --bench union` takes 100,000 envelopes;
//! `GWA_BENCH_ENVELOPES=1000000` asks for more. One JSON object a line.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gwa::archive::diff::{Detail, Diff, Sides};
use gwa::archive::disk::{Archive, Blocks, sealed_by};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::head::Head;
use gwa::archive::query::Cost;
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, BlockError, BlockSource, Cid};
use gwa::progress::Quiet;
use gwa::time::{DAY, TimeRange, UnixSeconds};
use gwa::whisper::Envelope;

/// 2018-09-01 00:00.
const FROM: u32 = 1_535_760_000;
/// Days of the synthetic month.
const DAYS: u32 = 30;
/// Envelopes appended at once.
const BATCH: u64 = 5_000;
/// Times a comparison is made; the fastest counts.
const RUNS: usize = 5;
const NOW: UnixSeconds = UnixSeconds(FROM + DAYS * DAY + 600);

fn main() {
    let count = std::env::var("GWA_BENCH_ENVELOPES")
        .ok()
        .and_then(|n| n.parse().ok());
    let count: u64 = count.unwrap_or(100_000);
    // A folder on a real disk: the system's temporary one may be memory.
    let root =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    let archive = Archive::init(&root.path().join("one"), "").expect("an archive is made");
    let archive = Pool(Arc::new(archive));
    let before = add(&archive.0, 1, count);
    let few = add(&archive.0, 4, 10);
    let percent = add(&archive.0, 8, count / 100);

    compare(&archive, count, "the same", &before, &before, 0);
    compare(&archive, count, "10 new", &before, &few, 10);
    compare(&archive, count, "1 % new", &few, &percent, count / 100);
    for (name, base, head, new) in [
        ("10 new", &before, &few, 10),
        ("1 % new", &few, &percent, count / 100),
    ] {
        let dir = root.path().join(name.replace(' ', "-"));
        merge(&archive, count, name, &dir, base, head, new);
    }
}

/// Seals so many more envelopes, spread over the month.
fn add(archive: &Archive, seed: u64, count: u64) -> Head {
    let traffic = Synthetic::new(seed, count, 2_000, UnixSeconds(FROM), DAYS * DAY);
    let mut next = 0;
    while next < count {
        let end = count.min(next + BATCH);
        let batch: Vec<Envelope> = (next..end).map(|n| traffic.envelope(n)).collect();
        archive.append(&batch).expect("the disk takes it");
        next = end;
    }
    let end = Watermark::at_or_before(UnixSeconds(FROM + DAYS * DAY));
    let sealed = archive.seal(end, NOW, &Quiet).expect("it seals");
    sealed.head.expect("something was sealed")
}

fn compare(pool: &Pool, count: u64, name: &str, a: &Head, b: &Head, differ: u64) {
    let everything = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let blocks: &dyn BlockSource = pool.blocks();
    let (a, b) = (sealed_by(a), sealed_by(b));
    for (what, detail) in [("diff", Detail::Envelopes), ("diff --stat", Detail::Counts)] {
        let (mut fastest, mut cost) = (f64::MAX, Cost::default());
        for _ in 0..RUNS {
            let start = Instant::now();
            let sources = Sides {
                a: blocks,
                b: blocks,
            };
            let sealed = Sides { a: &a, b: &b };
            let mut diff = Diff::new(sources, sealed, &everything, detail).expect("it is whole");
            let found = diff.by_ref().map(|found| found.expect("it is whole"));
            let found = found.count() as u64;
            assert!(detail == Detail::Counts || found == differ);
            fastest = fastest.min(start.elapsed().as_secs_f64());
            cost = diff.cost();
        }
        let Cost {
            blocks,
            bytes,
            rounds,
        } = cost;
        println!(
            r#"{{"what":"{what}, {name}","envelopes":{count},"blocks":{blocks},"bytes":{bytes},"rounds":{rounds},"ms":{:.1}}}"#,
            fastest * 1e3
        );
    }
}

/// A fork of one head, which copies next to nothing, merges a later one.
fn merge(pool: &Pool, count: u64, name: &str, dir: &Path, base: &Head, head: &Head, new: u64) {
    let fork = Archive::fork(dir, "", base, pool, Vec::new(), NOW, &Quiet);
    let (fork, _) = fork.expect("a fork is made");
    fork.blocks().set_upstream(Some(Arc::new(pool.clone())));
    let source = Counting {
        source: pool.blocks(),
        blocks: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let start = Instant::now();
    let others: [(Head, &dyn BlockSource); 1] = [(head.clone(), &source)];
    let merged = fork.merge(&others, NOW, &Quiet).expect("it is whole");
    let ms = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(merged.added.count, new);
    let state = merged.head.expect("it has a head").body().state;
    assert_eq!(state, head.body().state);
    println!(
        r#"{{"what":"merge, {name}","envelopes":{count},"blocks":{},"bytes":{},"new bytes":{},"written":{},"ms":{ms:.1}}}"#,
        source.blocks.load(Ordering::Relaxed),
        source.bytes.load(Ordering::Relaxed),
        merged.added.bytes,
        merged.copied.written,
    );
}

/// The one archive's blocks.
#[derive(Clone)]
struct Pool(Arc<Archive>);

impl Pool {
    fn blocks(&self) -> &Blocks {
        self.0.blocks()
    }
}

impl BlockSource for Pool {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.blocks().get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.blocks().has(cid)
    }
}

/// Counts what it gives.
struct Counting<'s> {
    source: &'s dyn BlockSource,
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl BlockSource for Counting<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        let block = self.source.get(cid)?;
        self.blocks.fetch_add(1, Ordering::Relaxed);
        let bytes = block.bytes().len() as u64;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(block)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }
}
