mod losses;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::archive::disk::{PageRequest, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::verify::{Sample, verify};
use crate::archive::watermark::Day;
use crate::blocks::{Block, BlockSource, Cid};
use crate::depot::testing::{self, FROM, live_through, seal, take_in};
use crate::depot::{FolderDepot, KeptFile, Parcel};
use crate::progress::Quiet;
use crate::time::{DAY, HOUR, TimeRange};

const NOW: UnixSeconds = UnixSeconds(FROM + 90 * DAY);

/// What is done once.
type Once = Box<dyn FnOnce() + Send>;

/// A depot in a folder whose calls can be made to fail, and are counted.
struct Shaky {
    inner: FolderDepot,
    /// Calls until one fails; below 0 none does.
    left: AtomicI64,
    /// Whether the call that fails has done its work.
    done: bool,
    read: AtomicU64,
    /// What happens while blocks are read next.
    meanwhile: Mutex<Option<Once>>,
}

impl Shaky {
    fn new(dir: &Path) -> Self {
        Self {
            inner: FolderDepot::new(dir),
            left: AtomicI64::new(-1),
            done: false,
            read: AtomicU64::new(0),
            meanwhile: Mutex::default(),
        }
    }

    fn failing_at(dir: &Path, call: i64, done: bool) -> Self {
        Self {
            left: AtomicI64::new(call),
            done,
            ..Self::new(dir)
        }
    }

    fn call<T>(&self, work: impl FnOnce() -> Result<T, DepotError>) -> Result<T, DepotError> {
        if self.left.fetch_sub(1, Ordering::Relaxed) != 0 {
            return work();
        }
        if self.done {
            work()?;
        }
        Err(DepotError::Away {
            depot: self.name().to_owned(),
            what: "the line broke".to_owned(),
        })
    }
}

impl BlockSource for Shaky {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.inner.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.inner.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.read.fetch_add(cids.len() as u64, Ordering::Relaxed);
        if let Some(happens) = self.meanwhile.lock().unwrap().take() {
            happens();
        }
        self.inner.get_each(cids, take)
    }
}

impl Depot for Shaky {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        self.call(|| self.inner.keep(parcel))
    }

    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError> {
        self.call(|| self.inner.kept_files())
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        self.call(|| self.inner.release(name))
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        self.call(|| self.inner.keep_head(head, before))
    }

    fn keep_lineage(&self, heads: &[Head]) -> Result<(), DepotError> {
        self.call(|| self.inner.keep_lineage(heads))
    }

    fn say_dropped(&self, before: Day) -> Result<(), DepotError> {
        self.call(|| self.inner.say_dropped(before))
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        self.call(|| self.inner.newest_head())
    }
}

/// An archive, and the folder of its depot.
struct House {
    _scratch: tempfile::TempDir,
    archive: Arc<Archive>,
    data: PathBuf,
    depot: PathBuf,
}

impl House {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (data, depot) = (scratch.path().join("data"), scratch.path().join("depot"));
        fs::create_dir(&depot).unwrap();
        let archive = Arc::new(Archive::init(&data, "").unwrap());
        let house = Self {
            archive,
            data,
            depot,
            _scratch: scratch,
        };
        house.attach();
        house
    }

    fn attach(&self) {
        let depot = Arc::new(FolderDepot::new(&self.depot));
        self.archive.blocks().set_depot("the depot", depot);
    }

    /// As if the process had been killed and started again.
    fn reopen(self) -> Self {
        let Self {
            archive,
            _scratch,
            data,
            depot,
        } = self;
        Arc::into_inner(archive).expect("nobody else holds it");
        let archive = Arc::new(Archive::open(&data).unwrap());
        let house = Self {
            _scratch,
            archive,
            data,
            depot,
        };
        house.attach();
        house
    }

    fn carrier(&self, depot: Shaky, keep: Keep) -> Carrier {
        let archive = Arc::clone(&self.archive);
        Carrier::new(archive, Arc::new(depot), "the depot", keep)
    }

    fn round(&self, keep: Keep) -> Carried {
        let carrier = self.carrier(Shaky::new(&self.depot), keep);
        carrier.round(&Stop::default(), NOW, &Quiet).unwrap()
    }

    fn head(&self) -> Head {
        self.archive.head().unwrap()
    }

    /// Nothing of what is kept is missing from disk and depot together, and nothing that
    /// its newest head reaches from the depot alone.
    fn assert_whole(&self) {
        let whole = |source: &dyn BlockSource, head: &Head| {
            let sample = Sample::EVERYTHING.held_from(self.archive.kept_from());
            let verified = verify(source, &sealed_by(head), *head.cid(), sample, &Quiet);
            assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        };
        if let Some(head) = self.archive.head() {
            whole(self.archive.blocks(), &head);
        }
        let depot = FolderDepot::new(&self.depot);
        if let Some(newest) = depot.newest_head().unwrap() {
            whole(&depot, &newest);
        }
        let kept: HashSet<String> = depot.kept().unwrap().into_iter().collect();
        for file in self.archive.blocks().evicted() {
            assert!(kept.contains(&file.name), "{} is nowhere", file.name);
        }
    }

    /// All envelopes, by pages.
    fn paged(&self, range: TimeRange, limit: usize) -> Result<Vec<Vec<u8>>, DiskError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let filter = Filter {
                topics: TopicFilter::All,
                range,
            };
            let page = self.archive.page(&PageRequest {
                filter,
                after,
                limit,
            })?;
            found.extend(page.records.iter().map(|record| record.bytes.to_vec()));
            after = page.records.last().map(|r| (r.key.sent, r.key.hash));
            if !page.more {
                return Ok(found);
            }
        }
    }

    fn local_days(&self) -> Vec<String> {
        let files = self.archive.blocks().folder().files().unwrap();
        let names = files.into_iter().map(|file| file.name);
        names.filter(|name| name.starts_with("days/")).collect()
    }
}

#[test]
fn a_round_brings_everything_and_the_next_finds_nothing_to_do() {
    let house = House::new();
    assert_eq!(house.round(Keep::Everything), Carried::default());
    live_through(&house.archive, 3);
    let carried = house.round(Keep::Everything);
    assert!(carried.head && carried.files > 3 && carried.evicted == 0);
    let depot = FolderDepot::new(&house.depot);
    testing::assert_whole(&depot, &house.head());
    assert_eq!(house.round(Keep::Everything), Carried::default());
    // The lineage came with it.
    for head in house.archive.blocks().heads().lineage().unwrap() {
        assert!(depot.has(head.unwrap().cid()).unwrap());
    }
    house.archive.sweep(UnixSeconds::MAX).unwrap();
    let tidied = house.round(Keep::Everything);
    assert!(tidied.released > 0 && tidied.files == 0);
    house.assert_whole();
}

#[test]
fn days_leave_this_disk_and_are_read_from_the_depot() {
    let house = House::new();
    live_through(&house.archive, 4);
    let before = house.paged(TimeRange::ALL, 7).unwrap();
    let days = house.local_days().len() as u64;
    let carried = house.round(Keep::Bytes(0));
    assert!(carried.evicted == days && carried.evicted_bytes > 0);
    assert!(house.local_days().is_empty());
    house.assert_whole();
    for limit in [7, 50, 1_000] {
        assert_eq!(house.paged(TimeRange::ALL, limit).unwrap(), before);
    }
    // So it is after a restart, and without what was made of the days.
    let house = house.reopen();
    fs::remove_dir_all(house.data.join("times")).ok();
    assert_eq!(house.paged(TimeRange::ALL, 20).unwrap(), before);
    house.assert_whole();
    assert_eq!(house.round(Keep::Bytes(0)), Carried::default());
}

#[test]
fn a_newer_head_does_not_wait_until_all_days_are_read_back() {
    let house = House::new();
    live_through(&house.archive, 4);
    house.round(Keep::Everything);
    let days = house.local_days().len() as u64;
    let depot = Shaky::new(&house.depot);
    let archive = Arc::clone(&house.archive);
    *depot.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let from = FROM + 4 * DAY + 3 * HOUR;
        take_in(&archive, 77, 5, from, from + HOUR);
        seal(&archive, from + 2 * HOUR);
    }));
    let carrier = house.carrier(depot, Keep::Bytes(0));
    let round = || carrier.round(&Stop::default(), NOW, &Quiet).unwrap();
    let (first, second) = (round(), round());
    assert_eq!((first.head, first.evicted), (false, 1));
    assert_eq!((second.head, second.evicted), (true, days - 1));
    house.assert_whole();
}

#[test]
fn a_leaf_is_fetched_once_for_pages_that_follow_each_other() {
    let house = House::new();
    take_in(&house.archive, 3, 900, FROM, FROM + DAY);
    seal(&house.archive, FROM + DAY + HOUR);
    house.round(Keep::Bytes(0));
    let depot = Arc::new(Shaky::new(&house.depot));
    let source: Arc<dyn BlockSource> = Arc::clone(&depot) as _;
    house.archive.blocks().set_depot("the depot", source);
    let before = house.paged(TimeRange::ALL, 30).unwrap().len();
    let evicted = house.archive.blocks().evicted();
    let blocks: u64 = evicted.iter().map(|file| file.blocks).sum();
    let read = depot.read.load(Ordering::Relaxed);
    assert!(
        before == 900 && blocks > 5,
        "{before} envelopes, {blocks} blocks"
    );
    assert!(read <= blocks, "{read} reads of {blocks} blocks");
}

#[test]
fn while_the_depot_is_away_its_days_fail_and_others_answer() {
    let house = House::new();
    live_through(&house.archive, 3);
    let days: u64 = {
        let files = house.archive.blocks().folder().files().unwrap();
        let days = files.iter().filter(|file| file.name.starts_with("days/"));
        days.map(|file| file.bytes).sum()
    };
    house.round(Keep::Bytes(days / 2));
    assert!(!house.local_days().is_empty() && house.archive.blocks().has_evicted());
    let house = house.reopen();
    let gone = house.depot.with_extension("gone");
    fs::rename(&house.depot, &gone).unwrap();
    fs::remove_dir_all(house.data.join("times")).ok();
    let day = |number: u32| {
        let from = UnixSeconds(FROM + number * DAY);
        TimeRange::new(from, UnixSeconds(from.0 + DAY - 1)).unwrap()
    };
    let error = house.paged(day(0), 10).unwrap_err();
    assert!(error.to_string().contains("folder"), "{error}");
    assert_eq!(house.paged(day(2), 10).unwrap().len(), 60);
    // What arrives is stored all the same, and sealed; what is late for a day that is
    // away waits.
    take_in(&house.archive, 99, 5, FROM, FROM + DAY);
    take_in(&house.archive, 98, 5, FROM + 3 * DAY, FROM + 4 * DAY);
    seal(&house.archive, FROM + 5 * DAY);
    assert_eq!(house.archive.waiting(), 5);
    fs::rename(&gone, &house.depot).unwrap();
    seal(&house.archive, FROM + 5 * DAY + 300);
    assert_eq!(house.archive.waiting(), 0);
    assert_eq!(house.paged(day(0), 10).unwrap().len(), 65);
    house.round(Keep::Bytes(0));
    house.assert_whole();
}

#[test]
fn what_is_held_already_is_known_of_days_that_were_evicted() {
    let house = House::new();
    take_in(&house.archive, 5, 80, FROM, FROM + DAY);
    seal(&house.archive, FROM + 2 * DAY);
    house.round(Keep::Bytes(0));
    let before = house.head();
    take_in(&house.archive, 5, 80, FROM, FROM + DAY);
    assert_eq!(house.archive.waiting(), 0);
    assert_eq!(house.head(), before);
}

#[test]
fn a_damaged_file_stays_here_and_no_head_goes_above_it() {
    let house = House::new();
    live_through(&house.archive, 2);
    let name = house.local_days().remove(0);
    let path = house.data.join("blocks").join(&name);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let carrier = house.carrier(Shaky::new(&house.depot), Keep::Bytes(0));
    let refused = carrier.round(&Stop::default(), NOW, &Quiet).unwrap_err();
    assert!(
        matches!(&refused, CarryError::Damaged { file, .. } if *file == name),
        "{refused}"
    );
    let depot = FolderDepot::new(&house.depot);
    assert_eq!(depot.newest_head().unwrap(), None);
    assert!(!depot.kept().unwrap().contains(&name) && !house.archive.blocks().has_evicted());
    let status = carrier.status();
    assert_eq!(status.failing_since, Some(NOW.0));
    assert!(status.error.is_some() && status.waiting_files > Some(0));
}

#[test]
fn what_waits_is_unknown_while_the_depot_does_not_say() {
    let house = House::new();
    let carrier = house.carrier(Shaky::new(&house.depot), Keep::Everything);
    assert_eq!(carrier.status().waiting_files, None);
    // Nothing is sealed yet, and it is asked all the same.
    let moved = house.depot.with_extension("away");
    fs::rename(&house.depot, &moved).unwrap();
    let away = carrier.look(NOW).unwrap_err();
    assert!(away.is_transient());
    assert_eq!(carrier.status().failing_since, Some(NOW.0));
    fs::rename(&moved, &house.depot).unwrap();
    carrier.look(NOW).unwrap();
    assert_eq!(carrier.status().waiting_files, Some(0));

    live_through(&house.archive, 1);
    carrier.look(NOW).unwrap();
    assert!(carrier.status().waiting_bytes > Some(0));
    fs::rename(&house.depot, &moved).unwrap();
    carrier.look(NOW).unwrap_err();
    let status = carrier.status();
    assert_eq!((status.waiting_files, status.waiting_bytes), (None, None));
    fs::rename(&moved, &house.depot).unwrap();
    carrier.round(&Stop::default(), NOW, &Quiet).unwrap();
    let status = carrier.status();
    assert_eq!(
        (status.waiting_files, status.waiting_bytes),
        (Some(0), Some(0))
    );
    assert_eq!(status.failing_since, None);
}

#[test]
fn a_depot_of_another_history_is_left_alone() {
    let (house, other) = (House::new(), House::new());
    live_through(&house.archive, 1);
    live_through(&other.archive, 2);
    other.round(Keep::Everything);
    let kept = FolderDepot::new(&other.depot).kept().unwrap();
    let carrier = house.carrier(Shaky::new(&other.depot), Keep::Bytes(0));
    let refused = carrier.round(&Stop::default(), NOW, &Quiet).unwrap_err();
    assert!(matches!(refused, CarryError::Foreign { .. }) && !refused.is_transient());
    assert_eq!(FolderDepot::new(&other.depot).kept().unwrap(), kept);
}

#[test]
fn days_that_are_dropped_are_dropped_at_the_depot_too() {
    let house = House::new();
    live_through(&house.archive, 3);
    house.round(Keep::Bytes(0));
    let dropped = house
        .archive
        .drop_before(UnixSeconds(FROM + 2 * DAY))
        .unwrap();
    assert_eq!(
        (dropped.kept_from, dropped.days),
        (Day::of(UnixSeconds(FROM + 2 * DAY)), 2)
    );
    let depot = FolderDepot::new(&house.depot);
    assert_eq!(depot.dropped_before().unwrap(), None);
    assert!(house.round(Keep::Bytes(0)).released >= 2);
    // Whoever lacks them there can tell that they are not lost.
    assert_eq!(depot.dropped_before().unwrap(), Some(dropped.kept_from));
    depot.say_dropped(Day(1)).unwrap();
    assert_eq!(depot.dropped_before().unwrap(), Some(dropped.kept_from));
    assert_eq!(house.archive.blocks().evicted().len(), 1);
    house.assert_whole();
    let house = house.reopen();
    live_through(&house.archive, 1);
    house.round(Keep::Bytes(0));
    house.assert_whole();
}

/// Something that happens to an archive and its depot.
#[derive(Clone, Debug)]
enum Event {
    /// Traffic of some hours and of some day before, sealed.
    Live {
        hours: u32,
        late: u32,
    },
    /// A round that fails at this call, before or after it did its work.
    Failing {
        call: i64,
        done: bool,
        keep: u64,
    },
    /// A round that ends.
    Round {
        keep: u64,
    },
    Sweep,
    Killed,
    Dropped {
        days: u32,
    },
    /// The depot forgets what is on this disk too.
    Emptied,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let keep = prop_oneof![Just(0u64), 0u64..60_000, Just(u64::MAX)];
    let event = prop_oneof![
        5 => (1u32..40, 0u32..4).prop_map(|(hours, late)| Event::Live { hours, late }),
        3 => (0i64..30, any::<bool>(), keep.clone())
            .prop_map(|(call, done, keep)| Event::Failing { call, done, keep }),
        2 => keep.prop_map(|keep| Event::Round { keep }),
        1 => Just(Event::Sweep),
        1 => Just(Event::Killed),
        1 => (0u32..3).prop_map(|days| Event::Dropped { days }),
        1 => Just(Event::Emptied),
    ];
    proptest::collection::vec(event, 1..14)
}

/// Does to an archive what does not touch its depot.
fn live(archive: &Archive, at: &mut u32, seed: u64, hours: u32, late: u32) {
    let from = *at;
    take_in(archive, seed, 12, from, from + hours * HOUR);
    if late > 0 && from > FROM + late * DAY {
        take_in(
            archive,
            seed ^ 77,
            4,
            from - late * DAY,
            from - late * DAY + HOUR,
        );
    }
    *at += hours * HOUR;
    seal(archive, *at - HOUR / 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_lost_and_the_state_is_the_embedded_one(events in events()) {
        let mut house = House::new();
        let embedded = House::new();
        let mut at = FROM;
        for (seed, event) in events.into_iter().enumerate() {
            let seed = seed as u64;
            match event {
                Event::Live { hours, late } => {
                    let mut again = at;
                    live(&house.archive, &mut at, seed, hours, late);
                    live(&embedded.archive, &mut again, seed, hours, late);
                }
                Event::Failing { call, done, keep } => {
                    let depot = Shaky::failing_at(&house.depot, call, done);
                    let carrier = house.carrier(depot, Keep::Bytes(keep));
                    if let Err(error) = carrier.round(&Stop::default(), NOW, &Quiet) {
                        prop_assert!(error.is_transient(), "{error}");
                    }
                }
                Event::Round { keep } => {
                    house.round(Keep::Bytes(keep));
                }
                Event::Sweep => {
                    house.archive.sweep(UnixSeconds::MAX).unwrap();
                }
                Event::Killed => house = house.reopen(),
                Event::Dropped { days } => {
                    let before = UnixSeconds(FROM + days * DAY);
                    house.archive.drop_before(before).unwrap();
                    embedded.archive.drop_before(before).unwrap();
                }
                Event::Emptied => {
                    if !house.archive.blocks().has_evicted() {
                        fs::remove_dir_all(&house.depot).unwrap();
                        fs::create_dir(&house.depot).unwrap();
                    }
                }
            }
            house.assert_whole();
            let state = |house: &House| house.archive.head().map(|head| head.body().state);
            prop_assert_eq!(state(&house), state(&embedded));
        }
        house.round(Keep::Bytes(20_000));
        house.assert_whole();
        let depot = FolderDepot::new(&house.depot);
        prop_assert_eq!(depot.newest_head().unwrap(), house.archive.head());
        let here = house.archive.blocks().folder().files().unwrap();
        let evicted = house.archive.blocks().evicted();
        let all: HashSet<String> = here.into_iter().chain(evicted).map(|f| f.name).collect();
        let kept: HashSet<String> = depot.kept().unwrap().into_iter().collect();
        if house.archive.head().is_some() {
            prop_assert_eq!(kept, all);
        }
    }
}
