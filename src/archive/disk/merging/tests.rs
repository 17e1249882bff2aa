//! Merging on disk: heads, journal, readers, and whatever comes between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::archive::disk::BLOCKS;
use crate::archive::disk::fork::AHEAD;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::testing::traffic;
use crate::archive::verify::{Sample, verify};
use crate::blocks::{Block, BlockError, BlockStore, Group};
use crate::progress::Quiet;
use crate::time::{DAY, HOUR, TimeRange};
use crate::whisper::{Envelope, EnvelopeHash};

/// Midnight of the first day of traffic.
const FROM: u32 = 1_600_041_600;

/// A clock that is behind nobody.
const NOW: UnixSeconds = UnixSeconds(FROM + 30 * DAY);

fn until(seconds: u32) -> Watermark {
    Watermark::at_or_before(UnixSeconds(FROM + seconds))
}

/// Envelopes sent within `span` seconds after `start`.
fn sent(seed: u64, count: usize, start: u32, span: u32) -> Vec<Envelope> {
    let records = traffic(seed, count, 20, FROM + start, FROM + start + span);
    let envelopes = records.iter().map(|r| Envelope::decode(&r.bytes).unwrap());
    envelopes.collect()
}

struct House {
    dir: tempfile::TempDir,
    archive: Archive,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "").unwrap();
        Self { dir, archive }
    }

    fn of(envelopes: &[Envelope], seconds: u32) -> Self {
        let house = Self::new();
        house.add(envelopes, seconds);
        house
    }

    fn add(&self, envelopes: &[Envelope], seconds: u32) -> Head {
        self.archive.append(envelopes).unwrap();
        let report = self.archive.seal(until(seconds), NOW, &Quiet).unwrap();
        report.head.unwrap()
    }

    fn head(&self) -> Head {
        self.archive.head().unwrap()
    }

    fn merge(&self, other: &Self) -> Result<Merged, MergeError> {
        self.merge_from(other, other.archive.blocks())
    }

    fn merge_from(&self, other: &Self, source: &dyn BlockSource) -> Result<Merged, MergeError> {
        self.archive.merge(&[(other.head(), source)], NOW, &Quiet)
    }

    fn hashes(&self) -> BTreeSet<EnvelopeHash> {
        let query = self.archive.query(&self.head(), everything()).unwrap();
        query.map(|record| record.unwrap().key.hash).collect()
    }

    fn assert_sound(&self) {
        let head = self.head();
        let (folder, sealed) = (self.archive.blocks().folder(), sealed_by(&head));
        let verified = verify(folder, &sealed, *head.cid(), Sample::EVERYTHING, &Quiet);
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    }
}

fn everything() -> Filter {
    Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    }
}

fn hashes<'e>(envelopes: impl IntoIterator<Item = &'e Envelope>) -> BTreeSet<EnvelopeHash> {
    envelopes.into_iter().map(Envelope::hash).collect()
}

/// A source that counts, and ends after so many blocks.
struct Counting<'s> {
    source: &'s dyn BlockSource,
    ends_after: u64,
    given: AtomicU64,
}

impl<'s> Counting<'s> {
    fn new(house: &'s House, ends_after: u64) -> Self {
        Self {
            source: house.archive.blocks(),
            ends_after,
            given: AtomicU64::new(0),
        }
    }

    fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }
}

impl BlockSource for Counting<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if self.given() == self.ends_after {
            return Err(BlockError::Missing { cid: *cid });
        }
        self.given.fetch_add(1, Ordering::Relaxed);
        self.source.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }
}

/// A source that does something the first time it is asked for a leaf.
struct Meanwhile<'s, F> {
    source: &'s dyn BlockSource,
    what: Mutex<Option<F>>,
}

impl<F: FnOnce() + Send> BlockSource for Meanwhile<'_, F> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if crate::blocks::Codec::of(cid) == Some(crate::blocks::Codec::Raw) {
            let what = self.what.lock().unwrap().take();
            what.into_iter().for_each(|what| what());
        }
        self.source.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }
}

#[test]
fn the_new_head_names_the_other_and_seals_what_waited_before_its_watermark() {
    let (ours, theirs) = (sent(1, 300, 0, 2 * DAY), sent(2, 300, 0, 2 * DAY));
    let (a, b) = (House::new(), House::of(&theirs, 2 * DAY));
    let (early, late): (Vec<_>, Vec<_>) = ours.iter().cloned().partition(|e| e.sent().0 % 2 == 0);
    let before = a.add(&early, DAY + 7 * HOUR);
    // Some came late, some wait for a seal, and one is sent after both.
    let after = sent(3, 1, 3 * DAY, HOUR);
    a.archive.append(&late).unwrap();
    a.archive.append(&after).unwrap();

    let merged = a.merge(&b).unwrap();
    let head = a.head();
    assert_eq!(merged.head.as_ref(), Some(&head));
    assert_eq!(merged.heads, 1);
    let body = head.body();
    assert_eq!(body.merged, [*b.head().cid()]);
    assert_eq!(body.prev, Some(*before.cid()));
    assert_eq!(body.watermark, until(2 * DAY));
    assert_eq!(
        merged.added.count,
        body.totals.count - before.body().totals.count
    );
    assert_eq!(a.hashes(), hashes(ours.iter().chain(&theirs)));
    assert_eq!(a.archive.waiting(), 1);
    // Each counts once: when it came, or when it was brought.
    let (meters, own) = (a.archive.meters(), ours.len() + after.len());
    assert_eq!(meters.merged.get(), theirs.len() as u64);
    assert_eq!(meters.taken_in(), (own + theirs.len()) as u64);
    a.assert_sound();

    // Opened again it is the same; what waits is still there.
    let House { dir, archive } = a;
    drop(archive);
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.head(), Some(head));
    assert_eq!(archive.waiting(), 1);
}

#[test]
fn merging_again_or_back_again_signs_no_head() {
    let (a, b) = (
        House::of(&sent(1, 300, 0, 2 * DAY), 2 * DAY),
        House::of(&sent(2, 300, 0, DAY + 5 * HOUR), DAY + 5 * HOUR),
    );
    a.merge(&b).unwrap();
    let head = a.head();
    let again = a.merge(&b).unwrap();
    assert_eq!((again.heads, again.added), (0, Sums::default()));
    assert_eq!(again.copied.written, 0);
    assert_eq!(a.head(), head);

    b.merge(&a).unwrap();
    assert_eq!(b.head().body().state, head.body().state);
    assert_eq!(b.head().body().watermark, head.body().watermark);
    let back = b.head();
    assert_eq!(a.merge(&b).unwrap().heads, 0);
    // A head merged with itself, or with one before it.
    assert_eq!(b.merge(&b).unwrap().heads, 0);
    assert_eq!(b.head(), back);
}

#[test]
fn a_later_watermark_alone_is_taken_over() {
    let envelopes = sent(1, 200, 0, DAY);
    let (a, b) = (
        House::of(&envelopes, 2 * DAY),
        House::of(&envelopes, 2 * DAY),
    );
    b.add(&sent(2, 1, 2 * DAY, 10), 2 * DAY + 300);
    a.merge(&b).unwrap();
    // Nothing of the next five minutes is new.
    b.archive.seal(until(2 * DAY + HOUR), NOW, &Quiet).unwrap();
    let merged = a.merge(&b).unwrap();
    assert_eq!((merged.heads, merged.added.count), (1, 0));
    let body = a.head().body().clone();
    assert_eq!(body.watermark, until(2 * DAY + HOUR));
    assert_eq!((body.added, body.merged), (None, vec![*b.head().cid()]));
    assert_eq!(body.state, b.head().body().state);
}

#[test]
fn an_archive_without_a_head_takes_over_all_there_is() {
    let theirs = sent(1, 500, 0, 3 * DAY);
    let (a, b) = (House::new(), House::of(&theirs, 2 * DAY + 9 * HOUR));
    let merged = a.merge(&b).unwrap();
    assert_eq!(merged.days, 2);
    assert_eq!(a.hashes(), b.hashes());
    assert_eq!(a.head().body().state, b.head().body().state);
    a.assert_sound();
}

#[test]
fn heads_are_refused_before_any_block_is_fetched() {
    let a = House::of(&sent(1, 50, 0, DAY), DAY);
    let b = House::of(&sent(2, 50, 0, DAY), DAY);
    let head = a.head();
    let source = Counting::new(&b, u64::MAX);
    let early = UnixSeconds(FROM + DAY - AHEAD - 1);
    let others: [(Head, &dyn BlockSource); 1] = [(b.head(), &source)];
    assert!(matches!(
        a.archive.merge(&others, early, &Quiet),
        Err(MergeError::Disk(DiskError::Ahead { .. }))
    ));
    let mut foreign = b.head().body().clone();
    foreign.network = "other".to_owned();
    let key = secp256k1::SecretKey::from_secret_bytes([7; 32]).unwrap();
    let foreign = Head::sign(foreign, &key).unwrap();
    // One that is refused keeps those beside it from being merged too.
    let others: [(Head, &dyn BlockSource); 2] = [(b.head(), &source), (foreign, &source)];
    assert!(matches!(
        a.archive.merge(&others, NOW, &Quiet),
        Err(MergeError::Disk(DiskError::Network { .. }))
    ));
    assert_eq!((source.given(), a.head()), (0, head));

    let dir = tempfile::tempdir().unwrap();
    let mirror = Archive::mirror(dir.path(), &b.head(), Vec::new()).unwrap();
    let others: [(Head, &dyn BlockSource); 1] = [(a.head(), a.archive.blocks())];
    assert!(matches!(
        mirror.merge(&others, NOW, &Quiet),
        Err(MergeError::Disk(DiskError::Mirror { .. }))
    ));
}

#[test]
fn days_that_were_copied_before_it_was_cut_off_are_not_fetched_again() {
    let theirs = sent(1, 1_500, 0, 5 * DAY);
    let (a, b) = (
        House::of(&sent(2, 20, 6 * DAY, DAY), 7 * DAY),
        House::of(&theirs, 5 * DAY),
    );
    let whole = {
        let source = Counting::new(&b, u64::MAX);
        let twin = House::new();
        twin.merge_from(&b, &source).unwrap();
        source.given()
    };
    let cut = Counting::new(&b, whole - 2);
    let head = a.head();
    assert!(
        matches!(a.merge_from(&b, &cut), Err(MergeError::Other { head, .. }) if head == *b.head().cid())
    );
    assert_eq!(a.head(), head);
    let days = |house: &House| {
        let files = house.archive.blocks().folder().files().unwrap();
        files
            .iter()
            .filter(|f| matches!(f.group, Group::Day(_)))
            .count()
    };
    // A sweep may come in between, however late.
    let copied = days(&a);
    a.archive.sweep(NOW.saturating_add(40 * DAY)).unwrap();
    assert_eq!(days(&a), copied);
    assert!(copied >= 5);

    let rest = Counting::new(&b, u64::MAX);
    a.merge_from(&b, &rest).unwrap();
    // The calendar and at most the one day.
    assert!(rest.given() * 2 < whole, "{} of {whole}", rest.given());
    assert!(a.hashes().is_superset(&hashes(&theirs)));
    a.assert_sound();
}

#[test]
fn a_seal_that_comes_between_is_taken_into_account() {
    // Days that would be taken over whole are no longer new as a whole.
    let (theirs, ours) = (sent(1, 600, 0, 4 * DAY), sent(2, 40, 0, 4 * DAY));
    let (a, b) = (House::new(), House::of(&theirs, 4 * DAY));
    let source = Meanwhile {
        source: b.archive.blocks(),
        what: Mutex::new(Some(|| drop(a.add(&ours, 3 * DAY)))),
    };
    let merged = a.merge_from(&b, &source).unwrap();
    assert_eq!(a.hashes(), hashes(theirs.iter().chain(&ours)));
    assert_eq!(merged.heads, 1);
    assert_eq!(a.head().body().sequence.0, 2);
    a.assert_sound();
}

#[test]
fn a_large_merge_goes_in_steps_of_which_the_last_names_the_other() {
    let (a, b) = (
        House::of(&sent(1, 400, 0, 4 * DAY), 4 * DAY),
        House::of(&sent(2, 400, 0, 5 * DAY), 4 * DAY + 7 * HOUR),
    );
    let twin = House::of(&sent(1, 400, 0, 4 * DAY), 4 * DAY);
    twin.merge(&b).unwrap();
    let step = Step {
        envelopes: 50,
        bytes: u64::MAX,
    };
    let others: [(Head, &dyn BlockSource); 1] = [(b.head(), b.archive.blocks())];
    let merged = a.archive.merge_by(step, &others, NOW, &Quiet).unwrap();
    assert!(merged.heads >= 4, "{}", merged.heads);
    assert_eq!(a.archive.meters().merged.get(), merged.added.count);
    assert_eq!(a.head().body().state, twin.head().body().state);
    assert_eq!(a.head().body().totals, twin.head().body().totals);
    let lineage = a.archive.blocks().heads().lineage().unwrap();
    let named: Vec<_> = lineage
        .map(|head| head.unwrap().body().merged.len())
        .collect();
    assert_eq!(named[0], 1);
    assert_eq!(named[1..].iter().sum::<usize>(), 0);
    a.assert_sound();
}

#[test]
fn of_days_that_are_no_longer_kept_nothing_is_taken() {
    let (a, b) = (
        House::of(&sent(1, 300, 0, 4 * DAY), 4 * DAY),
        House::of(&sent(2, 300, 0, 4 * DAY), 4 * DAY),
    );
    a.archive.drop_before(UnixSeconds(FROM + 2 * DAY)).unwrap();
    let merged = a.merge(&b).unwrap();
    assert_eq!(merged.left_out, 2);
    let kept = sent(2, 300, 0, 4 * DAY);
    let kept = kept.iter().filter(|e| e.sent().0 >= FROM + 2 * DAY);
    assert_eq!(merged.added.count, kept.count() as u64);
    assert_eq!(a.merge(&b).unwrap().heads, 0);
}

#[test]
fn a_disk_that_refuses_leaves_the_head_and_the_next_merge_succeeds() {
    let (a, b) = (
        House::of(&sent(1, 200, 0, 2 * DAY), DAY + 9 * HOUR),
        House::of(&sent(2, 300, 0, 3 * DAY), 2 * DAY + 9 * HOUR),
    );
    let blocks = a.dir.path().join(BLOCKS);
    for folder in ["tmp", "days", "hours", "deltas", "calendar"] {
        let (path, aside) = (blocks.join(folder), blocks.join("aside"));
        let existed = fs::rename(&path, &aside).is_ok();
        fs::write(&path, b"no folder").unwrap();
        let head = a.head();
        assert!(a.merge(&b).is_err(), "{folder}");
        fs::remove_file(&path).unwrap();
        if existed {
            fs::rename(&aside, &path).unwrap();
        }
        assert_eq!(a.head(), head);
    }
    a.merge(&b).unwrap();
    let all = [sent(1, 200, 0, 2 * DAY), sent(2, 300, 0, 3 * DAY)].concat();
    let sealed = all
        .iter()
        .filter(|e| e.sent().0 < FROM + 2 * DAY + 9 * HOUR);
    assert_eq!(a.hashes(), hashes(sealed));
    a.assert_sound();
    // No spool is left lying about.
    let names = fs::read_dir(a.dir.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with(".spool")).count(), 0);
}

#[test]
fn readers_are_told_of_what_a_merge_brought() {
    use crate::archive::disk::{Since, Start};
    let (ours, theirs) = (sent(1, 200, 0, 2 * DAY), sent(2, 300, 0, 3 * DAY));
    let (a, b) = (House::of(&ours, 2 * DAY), House::of(&theirs, 3 * DAY));
    // A fresh day that is late as a whole, one that is not, and single envelopes.
    let early = sent(3, 100, 0, DAY);
    let earlier: Vec<Envelope> = early
        .iter()
        .map(|e| {
            let (ttl, topic) = (e.ttl(), e.topic());
            let at = UnixSeconds(e.sent().0 - 9 * DAY);
            Envelope::new(crate::time::Expiry::of(at, ttl), ttl, topic, e.data(), 1)
        })
        .collect();
    b.add(&earlier, 3 * DAY);

    let mut given: BTreeMap<EnvelopeHash, u32> = BTreeMap::new();
    let mut start = Start::Time(UnixSeconds(0));
    let mut catch_up = || loop {
        let since = Since {
            start,
            topics: TopicFilter::All,
            limit: 70,
            max_bytes: 1 << 20,
        };
        let news = a.archive.since(&since).unwrap();
        for record in news.records {
            *given.entry(record.key.hash).or_default() += 1;
        }
        start = Start::Position(news.next);
        if !news.more {
            break;
        }
    };
    catch_up();
    a.merge(&b).unwrap();
    catch_up();
    let all = hashes(ours.iter().chain(&theirs).chain(&earlier));
    assert_eq!(given.keys().copied().collect::<BTreeSet<_>>(), all);
    assert!(given.values().all(|times| *times == 1));
}
