//! Kills real processes in the middle of mirroring and of merging, and looks at
//! what they left.
//!
//! The process that is killed is this program itself, started with `mirror` or
//! `merge`. It waits at every step of its work, which is a block that it was given
//! or a report of progress, until it is told to go on. At a step chosen at random
//! it is killed instead, or at some moment after it: so kills fall all over the
//! work, however fast the machine is. `GWA_CRASH_RUNS` asks for more than the
//! ordinary 15 kills of each.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use gwa::archive::disk::{Archive, PageRequest, open_public, sealed_by};
use gwa::archive::filter::{Filter, TopicFilter};
use gwa::archive::head::Head;
use gwa::archive::sums::Sums;
use gwa::archive::testing::Synthetic;
use gwa::archive::verify::{Sample, verify};
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, BlockError, BlockSource, Cid};
use gwa::progress::{Progress, Quiet};
use gwa::time::{DAY, HOUR, TimeRange, UnixSeconds};
use gwa::whisper::{Envelope, EnvelopeHash};

/// Kills of each kind in the ordinary suite.
const RUNS: u32 = 15;
/// Kills that one archive has to bear before it may come to its end.
const RUNS_EACH: u32 = 3;
/// 2018-09-29 00:00, so that a month ends on the way.
const FROM: u32 = 1_538_179_200;
/// Later than everything.
const NOW: UnixSeconds = UnixSeconds(FROM + 30 * DAY);
/// Heads of the source that is mirrored.
const HEADS: u64 = 9;
/// To these a mirror goes one after the other: it copies, it replays what is new,
/// and, the source having lost a delta, it compares.
const STAGES: [u64; 3] = [1, 5, HEADS];
/// The head whose delta the source has lost.
const LOST: u64 = 7;

/// What `wanted` says yes to of four days of traffic.
fn traffic(wanted: impl Fn(u64) -> bool) -> Vec<Envelope> {
    let traffic = Synthetic::new(17, 2_000, 40, UnixSeconds(FROM), 4 * DAY);
    let numbers = (0..2_000).filter(|n| wanted(*n));
    numbers.map(|n| traffic.envelope(n)).collect()
}

/// What the archive that merges acknowledges itself.
fn own() -> Vec<Envelope> {
    traffic(|n| n % 3 == 0)
}

fn at(seconds: u32) -> Watermark {
    Watermark::at_or_before(UnixSeconds(FROM + seconds))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let paths: Vec<&Path> = args.iter().skip(1).map(Path::new).collect();
    match (args.first().map(String::as_str), paths.as_slice()) {
        (Some("mirror"), [dir, source]) => run_mirror(dir, source),
        (Some("merge"), [dir, others @ ..]) => run_merge(dir, others),
        _ => run_parent(),
    }
    ExitCode::SUCCESS
}

fn run_parent() {
    let asked = std::env::var("GWA_CRASH_RUNS").ok();
    let runs = asked.and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let mut chance = Chance(0x5eed);
    let folder = tempfile::tempdir().expect("a folder");
    kill_mirrors(folder.path(), runs, &mut chance);
    kill_merges(folder.path(), runs, &mut chance);
    println!("2 passed, 0 failed");
}

// The processes that are killed.

/// Waits at every step until the parent says to go on.
struct Steps(Mutex<()>);

impl Steps {
    fn step(&self) {
        let _one_at_a_time = self.0.lock().expect("nobody panicked");
        tell("s");
        let mut go_on = String::new();
        std::io::stdin()
            .read_line(&mut go_on)
            .expect("the parent answers");
    }
}

impl Progress for Steps {
    fn phase(&self, _: &str, _: Option<u64>, _: Option<u64>) {
        self.step();
    }

    fn advance(&self, _: u64, _: u64) {
        self.step();
    }
}

/// A source each of whose blocks is a step.
struct Stepping<'s> {
    source: &'s dyn BlockSource,
    lost: Option<Cid>,
    steps: &'s Steps,
}

impl BlockSource for Stepping<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if self.lost == Some(*cid) {
            return Err(BlockError::Missing { cid: *cid });
        }
        self.steps.step();
        self.source.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the parent reads");
}

/// Brings the mirror in `dir` to the newest head of the archive in `source`.
fn run_mirror(dir: &Path, source: &Path) {
    let steps = Steps(Mutex::new(()));
    let blocks = open_public(source).expect("it opens").expect("an archive");
    let head = |number: u64| {
        let sequence = gwa::archive::head::Sequence(number);
        let head = blocks.heads().by_sequence(sequence).expect("it is read");
        head.expect("the source has it")
    };
    let mirror = Archive::mirror(dir, &head(1), Vec::new()).expect("a mirror");
    let source = Stepping {
        source: &blocks,
        lost: head(LOST).body().added,
        steps: &steps,
    };
    for stage in STAGES {
        let there = mirror.head().map_or(0, |head| head.body().sequence.0);
        if there < stage {
            let followed = mirror.follow(&head(stage), &source, false, NOW, &steps);
            followed.expect("the head is followed");
            tell(&format!("h {stage}"));
        }
    }
}

/// Appends to the archive in `dir`, and unites it with others.
fn run_merge(dir: &Path, others: &[&Path]) {
    let steps = Steps(Mutex::new(()));
    let archive = Archive::open(dir).expect("the archive opens");
    let own = own();
    let mut acknowledged = 0;
    for some in own.chunks(150) {
        archive.append(some).expect("the disk takes it");
        acknowledged += some.len();
        tell(&format!("a {acknowledged}"));
        steps.step();
    }
    let until = at(DAY + 600).max(archive.watermark());
    archive.seal(until, NOW, &steps).expect("it seals");
    let blocks: Vec<_> = others
        .iter()
        .map(|other| open_public(other).expect("it opens").expect("an archive"))
        .collect();
    let sources: Vec<_> = blocks
        .iter()
        .map(|source| Stepping {
            source,
            lost: None,
            steps: &steps,
        })
        .collect();
    let others: Vec<(Head, &dyn BlockSource)> = blocks
        .iter()
        .zip(&sources)
        .map(|(blocks, source)| {
            let head = blocks.heads().current().expect("it is read");
            (head.expect("a head"), source as &dyn BlockSource)
        })
        .collect();
    archive
        .merge(&others, NOW, &steps)
        .expect("they are united");
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

    /// When to kill a process that takes about so many steps: as often at one of
    /// the last, behind which heads are stored, as at any other two.
    fn kill(&mut self, steps: u64) -> Kill {
        let at = match self.next() % 3 {
            0 => steps.saturating_sub(self.next() % 6).max(1),
            _ => 1 + self.next() % steps,
        };
        // From a moment after the step to some milliseconds.
        let spins = match self.next() % 4 {
            0 => None,
            _ => Some(self.next() % (2 << (self.next() % 18))),
        };
        Kill { at, spins }
    }
}

#[derive(Clone, Copy, Debug)]
struct Kill {
    /// At which step.
    at: u64,
    /// How long after it; `None`: the step is not left.
    spins: Option<u64>,
}

/// How a process ended.
struct Ran {
    steps: u64,
    told: Vec<String>,
    killed: bool,
}

fn run(args: &[&Path], kill: Option<Kill>) -> Ran {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut answers = child.stdin.take().expect("its input is piped");
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let (mut steps, mut told) = (0, Vec::new());
    let mut killed = false;
    for line in output.lines() {
        let line = line.expect("text");
        if line != "s" {
            told.push(line);
            continue;
        }
        if killed {
            continue;
        }
        steps += 1;
        let kill = kill.filter(|kill| kill.at == steps);
        if kill.is_none_or(|kill| kill.spins.is_some()) {
            writeln!(answers).expect("it waits for it");
        }
        if let Some(kill) = kill {
            for _ in 0..kill.spins.unwrap_or(0) {
                std::hint::spin_loop();
            }
            // SIGKILL: the process gets no chance to finish anything.
            child.kill().expect("it is killed");
            killed = true;
        }
    }
    let status = child.wait().expect("it has ended");
    // It may have come to its end first.
    let killed = killed && status.signal() == Some(9);
    assert!(killed || status.success(), "{status}");
    Ran {
        steps,
        told,
        killed,
    }
}

/// Runs and kills processes on archives made by `begin`, until so many were
/// killed; `check` looks at what a kill left, `end` at what came out.
fn kill_all(
    runs: u32,
    steps: u64,
    chance: &mut Chance,
    mut one: impl FnMut(Option<Kill>) -> Ran,
    check: impl Fn(&Ran),
    mut end: impl FnMut(),
) {
    let mut kills = 0;
    for archive in 0.. {
        assert!(archive < 20 * runs, "processes end before they are killed");
        for _ in 0..RUNS_EACH.min(runs - kills) {
            let ran = one(Some(chance.kill(steps)));
            check(&ran);
            if !ran.killed {
                break;
            }
            kills += 1;
        }
        one(None);
        end();
        if kills >= runs {
            break;
        }
    }
    println!("{kills} kills survived");
}

fn hashes(archive: &Archive) -> BTreeSet<EnvelopeHash> {
    let filter = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let request = PageRequest {
        filter,
        after: None,
        limit: usize::MAX,
    };
    let page = archive.page(&request).expect("everything is read");
    page.records.iter().map(|record| record.key.hash).collect()
}

/// Opens what a kill left; its head must stand for what is there.
fn opened(dir: &Path) -> Archive {
    let archive = Archive::open(dir).expect("what a kill left opens");
    if let Some(head) = archive.head() {
        let (blocks, sealed) = (archive.blocks().folder(), sealed_by(&head));
        let verified = verify(blocks, &sealed, *head.cid(), Sample::EVERYTHING, &Quiet);
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    }
    archive
}

/// `gwa verify` finds nothing.
fn is_verified(dir: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_gwa"))
        .arg("--data")
        .arg(dir)
        .arg("verify")
        .output()
        .expect("gwa runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

/// An archive of what `wanted` says yes to, sealed at these times.
fn archive(dir: &Path, wanted: impl Fn(u64) -> bool, seals: &[u32]) -> PathBuf {
    let archive = Archive::init(dir, "source").expect("an archive is made");
    let envelopes = traffic(wanted);
    let mut before = 0;
    for seal in seals {
        let sent = before..FROM + seal;
        let due = envelopes
            .iter()
            .filter(|envelope| sent.contains(&envelope.sent().0));
        let due: Vec<Envelope> = due.cloned().collect();
        archive.append(&due).expect("the disk takes it");
        archive.seal(at(*seal), NOW, &Quiet).expect("it seals");
        before = FROM + seal;
    }
    dir.to_owned()
}

fn kill_mirrors(folder: &Path, runs: u32, chance: &mut Chance) {
    let seals: Vec<u32> = (0..HEADS)
        .map(|n| DAY + 600 + u32::try_from(n).expect("few") * 7 * HOUR)
        .collect();
    let source = archive(&folder.join("mirrored"), |_| true, &seals);
    let blocks = open_public(&source).expect("it opens").expect("an archive");
    let newest = blocks.heads().current().expect("it is read");
    assert_eq!(
        newest.as_ref().map(|head| head.body().sequence.0),
        Some(HEADS)
    );
    let dir = folder.join("mirror");
    let one = |kill| run(&[Path::new("mirror"), &dir, &source], kill);
    let steps = one(None).steps;
    let end = || {
        assert_eq!(opened(&dir).head(), newest);
        is_verified(&dir);
        std::fs::remove_dir_all(&dir).expect("it goes");
    };
    end();
    let check = |ran: &Ran| {
        let mirror = opened(&dir);
        let there = mirror.head().map_or(0, |head| head.body().sequence.0);
        let told = ran.told.iter().filter_map(|line| line.strip_prefix("h "));
        for head in told {
            assert!(there >= head.parse().expect("a number"));
        }
    };
    kill_all(runs, steps, chance, one, check, end);
}

fn kill_merges(folder: &Path, runs: u32, chance: &mut Chance) {
    let a = archive(&folder.join("a"), |n| n % 2 == 0, &[DAY, 3 * DAY + 900]);
    let b = archive(&folder.join("b"), |n| n % 5 < 2, &[2 * DAY + 300, 4 * DAY]);
    let dir = folder.join("own");
    let begin = || drop(Archive::init(&dir, "own").expect("an archive is made"));
    let own: Vec<EnvelopeHash> = own().iter().map(Envelope::hash).collect();
    let mut union: BTreeSet<EnvelopeHash> = own.iter().copied().collect();
    for other in [&a, &b] {
        union.extend(hashes(&opened(other)));
    }
    let one = |kill| run(&[Path::new("merge"), &dir, &a, &b], kill);
    let end = || -> (Option<Cid>, Sums) {
        let archive = opened(&dir);
        archive.seal(at(5 * DAY), NOW, &Quiet).expect("it seals");
        assert!(hashes(&archive) == union, "it is not the union");
        let body = archive.head().expect("a head").body().clone();
        drop(archive);
        is_verified(&dir);
        std::fs::remove_dir_all(&dir).expect("it goes");
        (body.state, body.totals)
    };
    begin();
    let steps = one(None).steps;
    let expected = end();
    begin();
    let check = |ran: &Ran| {
        let held = hashes(&opened(&dir));
        let told = ran.told.iter().filter_map(|line| line.strip_prefix("a "));
        let told = told.map(|count| count.parse().expect("a number"));
        let acknowledged: usize = told.max().unwrap_or(0);
        let lost = own[..acknowledged].iter().find(|hash| !held.contains(hash));
        assert!(lost.is_none(), "acknowledged envelope {lost:?} is gone");
    };
    kill_all(runs, steps, chance, one, check, || {
        assert_eq!(end(), expected);
        begin();
    });
}
