//! Kills real processes that archive and carry to a store, and looks at what they left
//! on the disk and in the store.
//!
//! The process that is killed is this program itself. It appends, seals, carries, and
//! lets nearly every closed day go from its disk; it waits before and after every call
//! to the store until it is told to go on. At a step chosen at random it is killed
//! instead, or at some moment after it. `GWA_CRASH_RUNS` asks for more than the ordinary
//! 20 kills.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use gwa::archive::disk::{Archive, PageRequest, Stop, open_public, sealed_by};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::head::Head;
use gwa::archive::testing::Synthetic;
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, BlockError, BlockSource, Cid};
use gwa::depot::{Carrier, Depot, DepotError, FolderDepot, Keep, KeptFile, Parcel};
use gwa::progress::Quiet;
use gwa::time::{DAY, HOUR, TimeRange, UnixSeconds};
use gwa::whisper::{Envelope, EnvelopeHash};

/// Kills in the ordinary suite.
const RUNS: u32 = 20;
/// Kills that one archive has to bear before the next begins.
const RUNS_EACH: u32 = 5;
/// 2018-09-27 00:00, so that a month ends on the way.
const FROM: u32 = 1_538_006_400;
/// Envelopes a child can append before it runs out, and the days they are sent in.
const TRAFFIC: u64 = 60_000;
const DAYS: u32 = 400;
/// Later than everything.
const NOW: UnixSeconds = UnixSeconds(FROM + 2 * DAYS * DAY);
/// What stays on the disk: about one day.
const KEEP: Keep = Keep::Bytes(150 << 10);
/// Steps after which a process is killed at the latest: some rounds.
const STEPS: u64 = 160;

fn traffic() -> Synthetic {
    Synthetic::new(5, TRAFFIC, 60, UnixSeconds(FROM), DAYS * DAY)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, child, dir, store, start] = args.as_slice()
        && child == "child"
    {
        let start = start.parse().expect("the start is a number");
        run_child(Path::new(dir), Path::new(store), start);
        return ExitCode::SUCCESS;
    }
    let asked = std::env::var("GWA_CRASH_RUNS").ok();
    let runs: u32 = asked.and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let mut chance = Chance(0x5eed);
    let mut survived = 0;
    while survived < runs {
        let batch = RUNS_EACH.min(runs - survived);
        one_archive(batch, &mut chance);
        survived += batch;
        println!("{survived} kills survived");
    }
    println!("{survived} passed, 0 failed");
    ExitCode::SUCCESS
}

// The process that is killed.

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the parent reads");
}

fn step() {
    tell("s");
    let mut go_on = String::new();
    std::io::stdin()
        .read_line(&mut go_on)
        .expect("the parent answers");
}

/// A depot before and after each call to which there is a step.
struct Stepping(FolderDepot);

impl Stepping {
    fn call<T>(work: impl FnOnce() -> T) -> T {
        step();
        let done = work();
        step();
        done
    }
}

impl BlockSource for Stepping {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        Self::call(|| self.0.get(cid))
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        Self::call(|| self.0.get_each(cids, take))
    }
}

impl Depot for Stepping {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        Self::call(|| self.0.keep(parcel))
    }

    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError> {
        self.0.kept_files()
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        Self::call(|| self.0.release(name))
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        Self::call(|| self.0.keep_head(head, before))
    }

    fn keep_lineage(&self, heads: &[Head]) -> Result<(), DepotError> {
        Self::call(|| self.0.keep_lineage(heads))
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        self.0.newest_head()
    }
}

/// Appends, seals, sweeps and carries, and tells what was acknowledged: `a TO` for
/// appended envelopes, `h SEQUENCE` for a head, `c SEQUENCE` for one that was carried.
fn run_child(dir: &Path, store: &Path, start: u64) {
    let traffic = traffic();
    let archive = Arc::new(Archive::open(dir).expect("the archive opens"));
    let source = Arc::new(FolderDepot::new(store));
    archive.blocks().set_depot("the store", source);
    let depot = Arc::new(Stepping(FolderDepot::new(store)));
    let carrier = Carrier::new(Arc::clone(&archive), depot, "the store", KEEP);
    let mut at = start;
    let mut turn = start;
    while at + 64 < TRAFFIC {
        turn += 1;
        let len = 20 + (turn * 7919) % 44;
        let mut batch: Vec<Envelope> = (at..at + len).map(|n| traffic.envelope(n)).collect();
        // Some were late for days that have left the disk.
        batch.extend((0..3).map(|n| traffic.envelope((turn * 31 + n) * 97 % at.max(1))));
        archive.append(&batch).expect("the disk takes it");
        at += len;
        tell(&format!("a {at}"));
        let newest = traffic.envelope(at - 1).sent();
        let until = Watermark::at_or_before(newest).max(archive.watermark());
        let report = archive.seal(until, newest, &Quiet).expect("it seals");
        let sequence = report.head.map_or(0, |head| head.body().sequence.0);
        tell(&format!("h {sequence}"));
        if turn.is_multiple_of(3) {
            archive.sweep(UnixSeconds::MAX).expect("files go");
        }
        let round = carrier.round(&Stop::default(), NOW, &Quiet);
        round.expect("the store takes it");
        tell(&format!("c {sequence}"));
    }
}

// The process that kills.

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What killed processes had told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: u64,
    head: u64,
    carried: u64,
}

impl Told {
    fn take(&mut self, line: &str) {
        let (kind, number) = line.split_once(' ').expect("two words");
        let number: u64 = number.parse().expect("a number");
        let told = match kind {
            "a" => &mut self.acknowledged,
            "h" => &mut self.head,
            _ => &mut self.carried,
        };
        *told = number.max(*told);
    }
}

fn one_archive(kills: u32, chance: &mut Chance) {
    let folder = tempfile::tempdir().expect("a folder");
    let (dir, store) = (folder.path().join("data"), folder.path().join("store"));
    std::fs::create_dir(&store).expect("a folder");
    drop(Archive::init(&dir, "crash").expect("an archive is made"));
    let mut told = Told::default();
    let mut evicted = 0;
    for kill in 1..=kills {
        let steps = u64::from(kill) * 20 + chance.next() % STEPS;
        kill_one(&dir, &store, steps, chance, &mut told);
        evicted = evicted.max(check(&dir, &store, &told));
    }
    assert!(evicted > 0, "no day left the disk");
}

fn kill_one(dir: &Path, store: &Path, steps: u64, chance: &mut Chance, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg("child")
        .args([dir, store])
        .arg(told.acknowledged.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut answers = child.stdin.take().expect("its input is piped");
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut left = steps;
    for line in output.lines() {
        let line = line.expect("text");
        if line != "s" {
            told.take(&line);
            continue;
        }
        left = left.saturating_sub(1);
        if left > 0 {
            writeln!(answers).expect("it waits for it");
            continue;
        }
        // In the middle of the call, or some moment into what follows.
        if !chance.next().is_multiple_of(4) {
            let _ = writeln!(answers);
            for _ in 0..chance.next() % (2 << (chance.next() % 20)) {
                std::hint::spin_loop();
            }
        }
        // SIGKILL: the process gets no chance to finish anything.
        child.kill().expect("it is killed");
        break;
    }
    drop(answers);
    child.wait().expect("it has ended");
}

fn is_sound(source: &dyn BlockSource, head: &Head) {
    let sealed = sealed_by(head);
    let verified = verify(source, &sealed, *head.cid(), Sample::EVERYTHING, &Quiet);
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}

/// Looks at what a kill left; gives how many files are in the store alone.
fn check(dir: &Path, store: &Path, told: &Told) -> usize {
    let archive = Archive::open(dir).expect("what a kill left opens");
    let depot = FolderDepot::new(store);
    // Nothing left the disk that the store does not keep.
    let kept: BTreeSet<String> = depot.kept().expect("it says").into_iter().collect();
    let evicted = archive.blocks().evicted();
    for file in &evicted {
        assert!(kept.contains(&file.name), "{} is nowhere", file.name);
    }
    // What was carried is whole there, whoever reads it.
    let newest = depot.newest_head().expect("it says");
    let sequence = newest.as_ref().map_or(0, |head| head.body().sequence.0);
    assert!(sequence >= told.carried, "{sequence}, {told:?}");
    if let Some(newest) = &newest {
        let public = open_public(store).expect("it opens").expect("an archive");
        is_sound(&public, newest);
    }
    // And here, with the store beside it, is everything that was acknowledged.
    archive.blocks().set_depot("the store", Arc::new(depot));
    let head = archive.head();
    let sequence = head.as_ref().map_or(0, |head| head.body().sequence.0);
    assert!(sequence >= told.head, "{sequence}, {told:?}");
    if let Some(head) = &head {
        is_sound(archive.blocks(), head);
    }
    let held = records(&archive);
    let hashes: BTreeSet<EnvelopeHash> = held.iter().map(Envelope::hash).collect();
    let traffic = traffic();
    for n in 0..told.acknowledged {
        assert!(hashes.contains(&traffic.envelope(n).hash()), "envelope {n}");
    }
    is_the_embedded_state(&archive, &held);
    evicted.len()
}

fn records(archive: &Archive) -> Vec<Envelope> {
    let filter = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let (mut held, mut after) = (Vec::new(), None);
    loop {
        let request = PageRequest {
            filter: filter.clone(),
            after,
            limit: 1_000,
        };
        let page = archive.page(&request).expect("everything is read");
        after = page.records.last().map(|r| (r.key.sent, r.key.hash));
        let decoded = page.records.iter().map(|record| {
            let decoded = Envelope::decode(&record.bytes);
            decoded.expect("what is held is an envelope")
        });
        held.extend(decoded);
        if !page.more {
            return held;
        }
    }
}

/// An archive that has no store, and was given the same, has the same state.
fn is_the_embedded_state(archive: &Archive, held: &[Envelope]) {
    let (until, dir) = (archive.watermark(), tempfile::tempdir().expect("a folder"));
    if until == Watermark::default() {
        return;
    }
    let until = Watermark::at_or_before(until.at().saturating_add(HOUR));
    archive.seal(until, NOW, &Quiet).expect("it seals");
    let embedded = Archive::init(dir.path(), "embedded").expect("an archive is made");
    embedded.append(held).expect("the disk takes it");
    embedded.seal(until, NOW, &Quiet).expect("it seals");
    let state = |archive: &Archive| archive.head().map(|head| head.body().state);
    assert_eq!(state(archive), state(&embedded));
}
