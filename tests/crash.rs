//! Kills real processes at random points of archiving, sealing and swapping the
//! head, and looks at what they left.
//!
//! The process that is killed is this program itself, started with `child`; it
//! tells on its output what the archive acknowledged. `GWA_CRASH_RUNS` asks for
//! more than the ordinary 50 kills.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use common::World;
use gwa::archive::disk::{Archive, PageRequest, sealed_by};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::testing::{Synthetic, record_of};
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::progress::Quiet;
use gwa::time::{DAY, TimeRange, UnixSeconds};
use gwa::whisper::{Envelope, EnvelopeHash};

/// Kills in the ordinary suite.
const RUNS: u32 = 50;
/// Kills that one archive has to bear before the next begins.
const RUNS_EACH: u32 = 10;
/// 2018-09-29 00:00, so that a month ends on the way.
const FROM: u32 = 1_538_179_200;
/// Envelopes a child can append before it runs out.
const TRAFFIC: u64 = 200_000;

fn traffic() -> Synthetic {
    Synthetic::new(11, TRAFFIC, 200, UnixSeconds(FROM), 4 * DAY)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, child, dir, start] = args.as_slice()
        && child == "child"
    {
        run_child(
            Path::new(dir),
            start.parse().expect("the start is a number"),
        );
        return ExitCode::SUCCESS;
    }
    let asked = std::env::var("GWA_CRASH_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok());
    let runs: u32 = asked.unwrap_or(RUNS);
    let mut seed = 0x5eed_u64;
    let mut survived = 0;
    while survived < runs {
        let batch = RUNS_EACH.min(runs - survived);
        one_archive(batch, &mut seed);
        survived += batch;
        println!("{survived} kills survived");
    }
    println!("{survived} passed, 0 failed");
    ExitCode::SUCCESS
}

/// Appends and seals as fast as it can, and tells what was acknowledged:
/// `a FROM TO` for appended envelopes, `h SEQUENCE CID` for a head.
fn run_child(dir: &Path, start: u64) {
    let traffic = traffic();
    let archive = Archive::open(dir).expect("the archive opens");
    let mut out = std::io::stdout().lock();
    let mut at = start;
    let mut step = start;
    while at + 64 < TRAFFIC {
        step += 1;
        let len = 1 + (step * 7919) % 64;
        let batch: Vec<Envelope> = (at..at + len).map(|n| traffic.envelope(n)).collect();
        archive.append(&batch).expect("the disk takes it");
        writeln!(out, "a {at} {}", at + len)
            .and_then(|()| out.flush())
            .expect("the parent reads");
        at += len;
        if step.is_multiple_of(3) {
            let newest = traffic.envelope(at - 1).sent();
            // At times up to now, at times an hour behind, so that hours close late.
            let lag = if step.is_multiple_of(2) { 0 } else { 3_600 };
            let base = archive
                .head()
                .map(|head| head.body().watermark)
                .unwrap_or_default();
            let until = Watermark::at_or_before(newest.saturating_sub(lag)).max(base);
            let report = archive.seal(until, newest, &Quiet).expect("it seals");
            if let (true, Some(head)) = (report.changed, report.head) {
                writeln!(out, "h {} {}", head.body().sequence, head.cid())
                    .and_then(|()| out.flush())
                    .expect("the parent reads");
            }
        }
        if step.is_multiple_of(11) {
            archive
                .sweep(UnixSeconds::MAX)
                .expect("superseded files go");
        }
    }
}

/// What a killed child had told.
#[derive(Default)]
struct Told {
    /// Envelopes from 0 up to here were acknowledged.
    acknowledged: u64,
    heads: Vec<(u64, String)>,
}

fn one_archive(kills: u32, seed: &mut u64) {
    let dir = tempfile::tempdir().expect("a folder is made");
    let dir = dir.path().join("archive");
    drop(Archive::init(&dir, "crash").expect("an archive is made"));
    let mut told = Told::default();
    for _ in 0..kills {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        kill_one(
            &dir,
            Duration::from_micros(5_000 + *seed % 250_000),
            &mut told,
        );
        check(&dir, &told);
    }
    check_state(&dir);
}

fn kill_one(dir: &Path, after: Duration, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args([
            "child".as_ref(),
            dir.as_os_str(),
            told.acknowledged.to_string().as_ref(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let output = child.stdout.take().expect("its output is piped");
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n');
        lines
            .map_while(Result::ok)
            .map(|l| String::from_utf8_lossy(&l).into_owned())
            .collect()
    });
    std::thread::sleep(after);
    // SIGKILL: the process gets no chance to finish anything.
    child.kill().expect("it is killed");
    child.wait().expect("it has ended");
    let lines: Vec<String> = reader.join().expect("the reader ends with the output");
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["a", _, to] => told.acknowledged = to.parse().unwrap_or(told.acknowledged),
            ["h", sequence, cid] => {
                told.heads
                    .push((sequence.parse().expect("a number"), (*cid).to_owned()));
            }
            _ => panic!("the child said {line:?}"),
        }
    }
}

fn held(archive: &Archive) -> BTreeSet<EnvelopeHash> {
    let filter = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let request = PageRequest {
        filter,
        after: None,
        limit: usize::MAX,
    };
    archive
        .page(&request)
        .expect("everything is read")
        .records
        .iter()
        .map(|r| r.key.hash)
        .collect()
}

fn check(dir: &Path, told: &Told) {
    let archive = Archive::open(dir).expect("what a kill left opens");
    let held = held(&archive);
    let traffic = traffic();
    for n in 0..told.acknowledged {
        let hash = traffic.envelope(n).hash();
        assert!(held.contains(&hash), "acknowledged envelope {n} is gone");
    }
    let mut sequences = BTreeSet::new();
    let heads: Vec<_> = archive
        .blocks()
        .heads()
        .lineage()
        .expect("heads are listed")
        .map(|head| head.expect("every head is whole"))
        .collect();
    for head in &heads {
        assert!(
            sequences.insert(head.body().sequence),
            "two heads share a sequence number"
        );
    }
    for (sequence, cid) in &told.heads {
        let head = heads
            .iter()
            .find(|head| head.body().sequence.0 == *sequence);
        let head = head.expect("an acknowledged head is there");
        assert_eq!(
            head.cid().to_string(),
            *cid,
            "head {sequence} was rewritten"
        );
    }
    if let Some(head) = archive.head() {
        let sealed = sealed_by(&head);
        let verified = verify(
            archive.blocks(),
            &sealed,
            *head.cid(),
            Sample::EVERYTHING,
            &Quiet,
        );
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    }
}

/// Crashes do not show in the state.
fn check_state(dir: &Path) {
    let archive = Archive::open(dir).expect("what kills left opens");
    let held = held(&archive);
    let end = Watermark::at_or_before(UnixSeconds(FROM + 4 * DAY));
    archive.seal(end, end.at(), &Quiet).expect("it seals");
    let mut world = World::new();
    let traffic = traffic();
    world.waiting = (0..TRAFFIC)
        .map(|n| traffic.envelope(n))
        .take_while(|envelope| held.contains(&envelope.hash()))
        .map(|envelope| record_of(&envelope))
        .collect();
    assert_eq!(
        world.waiting.len(),
        held.len(),
        "only a prefix of the traffic was appended"
    );
    world.seal(end);
    let head = archive.head().expect("something was sealed");
    assert_eq!(head.body().state, world.sealed.state);
}
