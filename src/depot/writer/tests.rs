use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::archive::disk::Stop;
use crate::archive::testing::envelope;
use crate::archive::watermark::{Day, Watermark};
use crate::blocks::{Block, BlockError, BlockSource, Group};
use crate::depot::objects::ObjectsDepot;
use crate::depot::registry::{Entry, Version};
use crate::depot::{Carrier, Keep, KeptFile, Parcel, testing};
use crate::progress::Quiet;
use crate::time::{DAY, HOUR};
use crate::whisper::Envelope;

mod turns;

/// What becomes of the next calls of a depot, the last first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It never gets there.
    Lost,
    /// It is done, and nobody is told.
    Untold,
}

/// What is done once.
type Once = Box<dyn FnOnce() + Send>;

/// A depot on a line that fails.
struct Line {
    depot: ObjectsDepot,
    fates: Mutex<Vec<Option<Fate>>>,
    /// Claims are written, and nobody is told.
    claims_untold: AtomicBool,
    /// Conditions are passed over: what is there is written over.
    is_heedless: AtomicBool,
    /// What happens while a file is kept next.
    while_kept: Mutex<Option<Once>>,
    /// What happens while blocks are read next.
    while_read: Mutex<Option<Once>>,
}

/// Does what was to happen, once.
fn happen(what: &Mutex<Option<Once>>) {
    let what = what.lock().unwrap().take();
    if let Some(what) = what {
        what();
    }
}

impl Line {
    fn to(store: &Arc<InMemory>) -> Arc<Self> {
        Arc::new(Self {
            depot: ObjectsDepot::in_memory(store, "a"),
            fates: Mutex::default(),
            claims_untold: AtomicBool::new(false),
            is_heedless: AtomicBool::new(false),
            while_kept: Mutex::default(),
            while_read: Mutex::default(),
        })
    }

    /// Writes over whatever is there.
    fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<Option<Version>, DepotError> {
        match self.depot.entry(name)? {
            Some(there) => self.depot.replace(name, bytes, &there.version),
            None => self.depot.create(name, bytes),
        }
    }

    fn call<T>(&self, work: impl FnOnce() -> Result<T, DepotError>) -> Result<T, DepotError> {
        let fate = self.fates.lock().unwrap().pop().flatten();
        let away = || DepotError::Away {
            depot: "line".to_owned(),
            what: "it broke off".to_owned(),
        };
        match fate {
            None => work(),
            Some(Fate::Lost) => Err(away()),
            Some(Fate::Untold) => work().and_then(|_| Err(away())),
        }
    }
}

impl BlockSource for Line {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.depot.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.depot.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        happen(&self.while_read);
        self.depot.get_each(cids, take)
    }
}

impl Depot for Line {
    fn name(&self) -> &str {
        self.depot.name()
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        happen(&self.while_kept);
        self.call(|| self.depot.keep(parcel))
    }

    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError> {
        self.call(|| self.depot.kept_files())
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        self.call(|| self.depot.release(name))
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        self.call(|| self.depot.keep_head(head, before))
    }

    fn say_dropped(&self, before: Day) -> Result<(), DepotError> {
        self.call(|| self.depot.say_dropped(before))
    }

    fn dropped_before(&self) -> Result<Option<Day>, DepotError> {
        self.call(|| self.depot.dropped_before())
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        self.call(|| self.depot.newest_head())
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(self)
    }
}

impl Registry for Line {
    fn entry(&self, name: &str) -> Result<Option<Entry>, DepotError> {
        self.call(|| self.depot.entry(name))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Option<Version>, DepotError> {
        if name.starts_with("claims/") && self.claims_untold.load(Ordering::SeqCst) {
            *self.fates.lock().unwrap() = vec![Some(Fate::Untold)];
        }
        if self.is_heedless.load(Ordering::SeqCst) {
            return self.overwrite(name, bytes);
        }
        self.call(|| self.depot.create(name, bytes))
    }

    fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        version: &Version,
    ) -> Result<Option<Version>, DepotError> {
        if self.is_heedless.load(Ordering::SeqCst) {
            return self.overwrite(name, bytes);
        }
        self.call(|| self.depot.replace(name, bytes, version))
    }
}

/// A machine with a copy of an archive's key.
struct Machine {
    archive: Arc<Archive>,
    line: Arc<Line>,
    writer: Arc<Writer>,
}

impl Machine {
    /// Starts over the data folder of one that was stopped anywhere.
    fn start(dir: &Path, store: &Arc<InMemory>) -> Self {
        let archive = Arc::new(Archive::open(dir).unwrap());
        let line = Line::to(store);
        let key = archive.signing_key().public_key();
        let writer = Arc::new(Writer::new(Arc::clone(&line) as _, key).unwrap());
        archive.set_gate(Some(Arc::clone(&writer) as _));
        Self {
            archive,
            line,
            writer,
        }
    }

    /// As a daemon does: it keeps up while it is another's turn.
    fn round(&self, force: bool, now: u32) -> Result<Standing, WriterError> {
        let ended = self.ask(force, now);
        if let Err(WriterError::Held { .. }) = &ended {
            self.writer.keep_up(&self.archive, UnixSeconds(now), &Quiet);
        }
        ended
    }

    /// As a command does.
    fn ask(&self, force: bool, now: u32) -> Result<Standing, WriterError> {
        self.writer
            .round(&self.archive, force, UnixSeconds(now), &Quiet)
    }

    fn seal(&self, now: u32) -> Result<Head, DiskError> {
        self.try_seal(now).map(Option::unwrap)
    }

    /// The same where there may be nothing to seal.
    fn try_seal(&self, now: u32) -> Result<Option<Head>, DiskError> {
        let until = Watermark::at_or_before(UnixSeconds(now));
        let report = self.archive.seal(until, UnixSeconds(now), &Quiet)?;
        Ok(report.head)
    }

    fn append(&self, envelopes: &[Envelope]) {
        self.archive.append(envelopes).unwrap();
    }

    /// Carries to the end, as its daemon does beside sealing.
    fn carry(&self, keep: Keep) {
        let (archive, line) = (Arc::clone(&self.archive), Arc::clone(&self.line));
        let source: Arc<dyn BlockSource> = Arc::clone(&line) as _;
        archive.blocks().set_depot("the line", source);
        let carrier = Carrier::new(archive, line, "the line", keep);
        carrier.set_writer(Arc::clone(&self.writer));
        let round = carrier.round(&Stop::default(), UnixSeconds::MAX, &Quiet);
        assert_eq!(round.unwrap().lost, 0);
    }
}

/// Data folders of machines with one key.
fn folders(count: usize) -> Vec<tempfile::TempDir> {
    let folders: Vec<_> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
    drop(Archive::init(folders[0].path(), "").unwrap());
    for folder in &folders[1..] {
        for name in ["archive.key", "archive.json"] {
            std::fs::copy(folders[0].path().join(name), folder.path().join(name)).unwrap();
        }
    }
    folders
}

fn machines(folders: &[tempfile::TempDir], store: &Arc<InMemory>) -> Vec<Machine> {
    let start = |folder: &tempfile::TempDir| Machine::start(folder.path(), store);
    folders.iter().map(start).collect()
}

/// Two machines with one key, and the place where both write.
fn two() -> (Vec<tempfile::TempDir>, Arc<InMemory>, [Machine; 2]) {
    let (folders, store) = (folders(2), Arc::new(InMemory::new()));
    let machines = machines(&folders, &store).try_into();
    let machines = machines.unwrap_or_else(|_| unreachable!("there are two"));
    (folders, store, machines)
}

#[test]
fn one_seals_and_the_other_waits_until_the_lease_is_given_back() {
    let (_folders, _store, [a, b]) = two();
    assert!(matches!(a.seal(HOUR), Err(DiskError::Gate(_))));
    a.append(&[envelope(1, 100, 40)]);
    b.append(&[envelope(2, 200, 40)]);
    assert!(a.round(false, HOUR).unwrap().is_new);
    assert!(!a.round(false, HOUR).unwrap().is_new);
    let refused = b.round(false, HOUR).unwrap_err();
    assert!(matches!(refused, WriterError::Held { .. }), "{refused}");
    let first = a.seal(2 * HOUR).unwrap();
    assert!(matches!(b.seal(2 * HOUR), Err(DiskError::Gate(_))));
    assert_eq!(b.archive.waiting(), 1);

    a.writer.give_back().unwrap();
    assert!(matches!(a.seal(3 * HOUR), Err(DiskError::Gate(_))));
    let standing = b.round(false, 2 * HOUR).unwrap();
    assert_eq!(
        standing,
        Standing {
            token: Token(2),
            is_new: true
        }
    );
    assert_eq!(b.archive.head(), Some(first.clone()));
    let second = b.seal(3 * HOUR).unwrap();
    assert_eq!(
        (second.body().sequence.0, second.body().totals.count),
        (2, 2)
    );
    assert_eq!(second.body().prev, Some(*first.cid()));
}

#[test]
fn one_that_was_taken_for_dead_signs_no_number_again() {
    let (_folders, _store, [a, b]) = two();
    a.round(false, HOUR).unwrap();
    a.append(&[envelope(1, 100, 40)]);
    a.seal(2 * HOUR).unwrap();
    // It believes that it holds the lease while another takes it and seals.
    b.round(true, 2 * HOUR).unwrap();
    b.append(&[envelope(2, 2 * HOUR + 1, 40)]);
    let second = b.seal(3 * HOUR).unwrap();
    a.append(&[envelope(3, 2 * HOUR + 2, 40)]);
    assert!(a.writer.may_seal());
    let refused = a.seal(3 * HOUR).unwrap_err();
    assert!(matches!(refused, DiskError::Gate(_)), "{refused}");
    assert_eq!(a.archive.head().unwrap().body().sequence, Sequence(1));
    assert!(!a.writer.may_seal());
    // It has its turn again, and what it acknowledged is sealed.
    assert!(matches!(
        a.round(false, 3 * HOUR),
        Err(WriterError::Held { .. })
    ));
    b.writer.give_back().unwrap();
    a.round(false, 3 * HOUR).unwrap();
    assert_eq!(a.archive.head(), Some(second));
    assert_eq!(a.seal(4 * HOUR).unwrap().body().totals.count, 3);
}

#[test]
fn a_head_that_was_claimed_and_not_stored_is_gone_on_from() {
    let (_folders, _store, [a, b]) = two();
    a.round(false, HOUR).unwrap();
    a.append(&[envelope(1, 100, 40)]);
    let claimed = |sequence| {
        let claim = claims::claimed("a", &a.line.depot, Sequence(sequence));
        claim.unwrap().map(|(head, _)| head)
    };
    a.line.claims_untold.store(true, Ordering::SeqCst);
    let untold = a.seal(2 * HOUR).unwrap_err();
    assert!(matches!(untold, DiskError::Gate(_)), "{untold}");
    assert_eq!(a.archive.head(), None);
    a.line.claims_untold.store(false, Ordering::SeqCst);
    let first = claimed(1).unwrap();
    // Whoever comes next goes on from it, be it another machine or the same.
    b.round(true, 2 * HOUR).unwrap();
    assert_eq!(b.archive.head().unwrap(), first);
    let second = b.seal(3 * HOUR).unwrap();
    assert_eq!(second.body().totals.count, 1);
    b.writer.give_back().unwrap();
    a.round(false, 3 * HOUR).unwrap();
    assert_eq!(a.archive.head().unwrap(), second);
    assert_eq!(a.archive.waiting(), 0);
}

#[test]
fn whoever_takes_over_leaves_the_whole_history_in_the_depot() {
    let (_folders, store, [a, b]) = two();
    a.round(false, HOUR).unwrap();
    let mut now = 0;
    for day in 0..40u32 {
        now = (day + 1) * DAY + HOUR;
        let seed = u8::try_from(day).unwrap();
        a.append(&[
            envelope(seed, day * DAY + 100, 40),
            envelope(seed, day * DAY + HOUR, 900),
        ]);
        // Some are late for a day that was sealed before.
        a.append(&[envelope(100 + seed, (day / 4) * DAY + 300, 50)]);
        a.seal(now).unwrap();
        if day % 5 == 0 {
            a.carry(Keep::Everything);
        }
    }
    a.carry(Keep::Everything);
    let whole = |head: &Head| {
        testing::assert_whole(&ObjectsDepot::in_memory(&store, "a"), head);
    };
    whole(&a.archive.head().unwrap());
    a.writer.give_back().unwrap();
    b.round(false, now).unwrap();
    assert_eq!(b.archive.head(), a.archive.head());
    let copied = b.archive.blocks();
    copied
        .require_all_but_days(&b.archive.head().unwrap())
        .unwrap();
    // It has copied in few files what lies there in many.
    for keep in [Keep::Everything, Keep::Bytes(0), Keep::Bytes(0)] {
        b.carry(keep);
        whole(&b.archive.head().unwrap());
    }
    let files = b.archive.blocks().folder().files().unwrap();
    assert!(!files.iter().any(|file| matches!(file.group, Group::Day(_))));
    b.append(&[envelope(1, now, 40), envelope(2, 500, 40)]);
    let head = b.seal(now + DAY).unwrap();
    b.carry(Keep::Bytes(0));
    whole(&head);
    assert_eq!(head.body().totals.count, 122);
}

#[test]
fn heads_from_before_there_was_a_depot_are_claimed_and_others_refused() {
    let (folders, store) = (folders(2), Arc::new(InMemory::new()));
    for folder in &folders {
        let archive = Archive::open(folder.path()).unwrap();
        for n in 1..4 {
            archive.append(&[envelope(1, n * HOUR, 40)]).unwrap();
            testing::seal(&archive, (n + 1) * HOUR);
        }
        // The other one has something else under the same numbers.
        if folder.path() == folders[0].path() {
            archive.append(&[envelope(9, 3 * HOUR, 40)]).unwrap();
            testing::seal(&archive, 5 * HOUR);
        } else {
            archive.append(&[envelope(8, 3 * HOUR, 40)]).unwrap();
            testing::seal(&archive, 5 * HOUR + 300);
        }
    }
    let machines = machines(&folders, &store);
    let [a, b] = &machines[..] else {
        unreachable!("there are two")
    };
    a.round(false, 6 * HOUR).unwrap();
    a.append(&[envelope(7, 5 * HOUR, 40)]);
    let fifth = a.seal(6 * HOUR).unwrap();
    assert_eq!(fifth.body().sequence, Sequence(5));
    let refused = b.round(true, 6 * HOUR).unwrap_err();
    assert!(matches!(refused, WriterError::Rejoin(_)), "{refused}");
    assert!(matches!(b.seal(7 * HOUR), Err(DiskError::Gate(_))));
}

#[test]
fn the_depot_of_another_archive_is_left_alone() {
    let store = Arc::new(InMemory::new());
    let (mine, others) = (folders(1), folders(1));
    let mine = Machine::start(mine[0].path(), &store);
    mine.round(false, HOUR).unwrap();
    mine.append(&[envelope(1, 100, 40)]);
    mine.seal(2 * HOUR).unwrap();
    let other = Machine::start(others[0].path(), &store);
    let refused = other.round(true, 2 * HOUR).unwrap_err();
    assert!(
        matches!(refused, WriterError::AnotherKey { .. }),
        "{refused}"
    );
}

/// Machines that stop anywhere, lines that fail, holders taken for dead that are not.
fn live(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (folders, store) = (folders(3), Arc::new(InMemory::new()));
    let mut machines: Vec<_> = machines(&folders, &store).into_iter().map(Some).collect();
    let mut acknowledged: BTreeSet<[u8; 32]> = BTreeSet::new();
    let mut all: Vec<Envelope> = Vec::new();
    let mut now = 10 * HOUR;
    for step in 0..40u32 {
        now += rng.random_range(60..2_000);
        let who = rng.random_range(0..machines.len());
        let machine = machines[who].as_ref().unwrap();
        match if step == 0 {
            0
        } else {
            rng.random_range(0..10)
        } {
            0..4 => {
                let sent = now - rng.random_range(0..3 * HOUR);
                let new = match rng.random_bool(0.2) {
                    // The same reaches several.
                    true => all.last().cloned(),
                    false => None,
                };
                let new = new.unwrap_or_else(|| envelope(u8::try_from(step).unwrap(), sent, 40));
                machine.append(std::slice::from_ref(&new));
                acknowledged.insert(new.hash().0);
                all.push(new);
            }
            4..6 => {
                let fates = (0..rng.random_range(1..12)).map(|_| match rng.random_range(0..6) {
                    0 => Some(Fate::Lost),
                    1 => Some(Fate::Untold),
                    _ => None,
                });
                *machine.line.fates.lock().unwrap() = fates.collect();
            }
            6 => {
                // Killed: it gives nothing back.
                let killed = machines[who].take();
                *killed.as_ref().unwrap().line.fates.lock().unwrap() = vec![Some(Fate::Lost); 9];
                drop(killed);
                machines[who] = Some(Machine::start(folders[who].path(), &store));
            }
            _ => {
                // What fails is done later.
                if machine.round(rng.random_bool(0.5), now).is_ok() || rng.random_bool(0.3) {
                    let _ = machine.try_seal(now);
                }
            }
        }
    }
    let machines: Vec<_> = machines.into_iter().flatten().collect();
    for machine in machines.iter().chain(&machines[..1]) {
        machine.line.fates.lock().unwrap().clear();
        now += HOUR;
        machine.round(true, now).unwrap();
        machine.try_seal(now).unwrap();
    }
    let last = machines[0].archive.head().unwrap();
    assert_eq!(
        last.body().totals.count,
        acknowledged.len() as u64,
        "seed {seed}"
    );
    let mut numbers: BTreeMap<Sequence, Cid> = BTreeMap::new();
    for machine in &machines {
        for head in machine.archive.blocks().heads().lineage().unwrap() {
            let head = head.unwrap();
            let of = *numbers.entry(head.body().sequence).or_insert(*head.cid());
            assert_eq!(of, *head.cid(), "seed {seed}: two heads have one number");
        }
    }
    // The state is that of one archive that took in the same.
    let alone = tempfile::tempdir().unwrap();
    let alone = Archive::init(alone.path(), "").unwrap();
    alone.append(&all).unwrap();
    let watermark = last.body().watermark;
    let report = alone.seal(watermark, watermark.at(), &Quiet).unwrap();
    assert_eq!(
        report.head.unwrap().body().state,
        last.body().state,
        "seed {seed}"
    );
}

#[test]
fn no_number_is_signed_twice_and_nothing_is_lost_whatever_fails() {
    for seed in 0..24 {
        live(seed);
    }
}
