mod trouble;

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::archive::disk::fork::AHEAD;
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::head::Sequence;
use crate::archive::testing::traffic;
use crate::archive::verify::{Sample, verify};
use crate::archive::watermark::{Day, Watermark};
use crate::blocks::{Block, BlockError, Cid};
use crate::progress::Quiet;
use crate::time::{DAY, HOUR, TimeRange};
use crate::whisper::Envelope;

/// Midnight of the first day of traffic.
pub(in crate::archive::disk) const FROM: u32 = 1_600_041_600;

pub(in crate::archive::disk) fn at(seconds: u32) -> Watermark {
    Watermark::at_or_before(UnixSeconds(FROM + seconds))
}

/// A clock that is behind nobody.
pub(in crate::archive::disk) const NOW: UnixSeconds = UnixSeconds(FROM + 30 * DAY);

/// Envelopes sent within `span` seconds after `start`.
pub(in crate::archive::disk) fn sent(
    seed: u64,
    count: usize,
    start: u32,
    span: u32,
) -> Vec<Envelope> {
    traffic(seed, count, 20, FROM + start, FROM + start + span)
        .iter()
        .map(|record| Envelope::decode(&record.bytes).unwrap())
        .collect()
}

pub(in crate::archive::disk) struct Folder {
    dir: tempfile::TempDir,
    pub archive: Archive,
}

impl Folder {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "first").unwrap();
        Self { dir, archive }
    }

    pub fn add(&self, envelopes: &[Envelope], until: u32) -> Head {
        self.archive.append(envelopes).unwrap();
        let report = self.archive.seal(at(until), NOW, &Quiet).unwrap();
        report.head.unwrap()
    }

    /// Two and a half days under five heads.
    pub fn with_history() -> Self {
        let folder = Self::new();
        folder.add(&sent(1, 600, 0, DAY), DAY + 600);
        for hour in 0..4 {
            let start = DAY + hour * 9 * HOUR;
            let traffic = sent(2 + u64::from(hour), 150, start, 9 * HOUR);
            folder.add(&traffic, 9 * HOUR + start);
        }
        folder
    }

    /// The same, and an hour that is open, in two deltas.
    pub fn with_open_deltas() -> Self {
        let folder = Self::with_history();
        for (seed, minutes) in [(41, 20), (42, 40)] {
            let start = DAY + 36 * HOUR + (minutes - 20) * 60;
            folder.add(&sent(seed, 30, start, 20 * 60), start + 20 * 60);
        }
        assert_eq!(folder.archive.head().unwrap().body().open.len(), 2);
        folder
    }
}

pub(in crate::archive::disk) fn mirror_of(head: &Head) -> (tempfile::TempDir, Archive) {
    let dir = tempfile::tempdir().unwrap();
    let mirror = Archive::mirror(dir.path(), head, Vec::new()).unwrap();
    (dir, mirror)
}

pub(in crate::archive::disk) fn follow(
    mirror: &Archive,
    head: &Head,
    source: &dyn BlockSource,
) -> Result<Followed, FollowError> {
    mirror.follow(head, source, false, NOW, &Quiet)
}

pub(in crate::archive::disk) fn hashes(archive: &Archive) -> Vec<crate::whisper::EnvelopeHash> {
    let filter = Filter {
        topics: TopicFilter::All,
        range: TimeRange::ALL,
    };
    let query = archive.query(&archive.head().unwrap(), filter).unwrap();
    query.map(|record| record.unwrap().key.hash).collect()
}

pub(in crate::archive::disk) fn assert_sound(archive: &Archive) {
    let head = archive.head().unwrap();
    let verified = verify(
        archive.blocks().folder(),
        &sealed_by(&head),
        *head.cid(),
        Sample::EVERYTHING,
        &Quiet,
    );
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}

/// An archive as another's source.
pub(in crate::archive::disk) struct OfArchive(pub Archive);

impl BlockSource for OfArchive {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.blocks.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.blocks.has(cid)
    }
}

/// Counts what it gives, and fails from some block on.
struct Counting<'s> {
    source: &'s dyn BlockSource,
    fails_after: u64,
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl<'s> Counting<'s> {
    fn new(source: &'s dyn BlockSource, fails_after: u64) -> Self {
        Self {
            source,
            fails_after,
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl BlockSource for Counting<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if self.blocks.fetch_add(1, Ordering::Relaxed) >= self.fails_after {
            return Err(BlockError::Io {
                path: "cable".into(),
                source: std::io::ErrorKind::ConnectionReset.into(),
            });
        }
        let block = self.source.get(cid)?;
        let len = block.bytes().len() as u64;
        self.bytes.fetch_add(len, Ordering::Relaxed);
        Ok(block)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.source.has(cid)
    }
}

#[test]
fn a_mirror_holds_what_its_source_holds() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let (_dir, mirror) = mirror_of(&head);
    let followed = follow(&mirror, &head, source.archive.blocks()).unwrap();
    assert_eq!(followed.route, Route::Copied);
    assert_eq!(mirror.head().as_ref(), Some(&head));
    assert_eq!(hashes(&mirror), hashes(&source.archive));
    assert_sound(&mirror);
    // Nothing is fetched twice.
    let again = follow(&mirror, &head, source.archive.blocks()).unwrap();
    assert_eq!(
        (again.route, again.copied),
        (Route::Here, Copied::default())
    );
}

#[test]
fn a_copy_fetches_hardly_more_than_there_is() {
    let source = Folder::new();
    let head = source.add(&sent(1, 4_000, 0, 3 * DAY), 4 * DAY);
    let (_dir, mirror) = mirror_of(&head);
    let counting = Counting::new(source.archive.blocks(), u64::MAX);
    follow(&mirror, &head, &counting).unwrap();
    let (fetched, there) = (counting.bytes.into_inner(), head.body().totals.bytes);
    assert!(
        fetched * 100 <= there * 102,
        "{fetched} bytes fetched for {there}"
    );
}

#[test]
fn following_fetches_what_is_new_and_little_else() {
    let source = Folder::new();
    let first = source.add(&sent(1, 3_000, 0, DAY), DAY + 600);
    let (_dir, mirror) = mirror_of(&first);
    follow(&mirror, &first, source.archive.blocks()).unwrap();
    let before = first.body().totals.bytes;
    // Hours and a day close under way, and some envelopes come late.
    let mut head = first;
    for part in 0..6 {
        let start = DAY + part * 5 * HOUR;
        let mut new = sent(10 + u64::from(part), 800, start, 5 * HOUR);
        new.extend(sent(50 + u64::from(part), 20, 0, DAY));
        head = source.add(&new, start + 5 * HOUR + 300);
    }
    let counting = Counting::new(source.archive.blocks(), u64::MAX);
    let followed = follow(&mirror, &head, &counting).unwrap();
    assert_eq!(followed.route, Route::Replayed(6));
    assert_eq!(mirror.head().as_ref(), Some(&head));
    assert_eq!(hashes(&mirror), hashes(&source.archive));
    assert_sound(&mirror);
    let (fetched, new) = (
        counting.bytes.into_inner(),
        head.body().totals.bytes - before,
    );
    assert!(
        fetched * 100 <= new * 105,
        "{fetched} bytes fetched for {new}"
    );
}

#[test]
fn a_mirror_far_behind_a_source_without_its_deltas_compares_the_trees() {
    let source = Folder::with_history();
    let first = source
        .archive
        .blocks()
        .heads()
        .by_sequence(Sequence(1))
        .unwrap()
        .unwrap();
    let (_dir, mirror) = mirror_of(&first);
    follow(&mirror, &first, source.archive.blocks()).unwrap();
    let head = source.archive.head().unwrap();
    struct NoDelta<'s>(&'s dyn BlockSource, Cid);
    impl BlockSource for NoDelta<'_> {
        fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
            match *cid == self.1 {
                true => Err(BlockError::Missing { cid: *cid }),
                false => self.0.get(cid),
            }
        }
        fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
            self.0.has(cid)
        }
    }
    let third = source
        .archive
        .blocks()
        .heads()
        .by_sequence(Sequence(3))
        .unwrap()
        .unwrap();
    let lacking = NoDelta(source.archive.blocks(), third.body().added.unwrap());
    let followed = follow(&mirror, &head, &lacking).unwrap();
    assert_eq!(followed.route, Route::Compared);
    assert_eq!(hashes(&mirror), hashes(&source.archive));
    assert_sound(&mirror);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn wherever_the_line_breaks_the_next_call_goes_on(breaks in proptest::collection::vec(0u64..60, 1..6)) {
        let source = Folder::with_history();
        let first = source.archive.blocks().heads().by_sequence(Sequence(1)).unwrap().unwrap();
        let head = source.archive.head().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut rest = breaks.into_iter().map(Some).chain([None]);
        let mut to = &first;
        loop {
            // Opened anew, as after a crash.
            let mirror = Archive::mirror(dir.path(), to, Vec::new()).unwrap();
            let after = rest.next().flatten().unwrap_or(u64::MAX);
            let counting = Counting::new(source.archive.blocks(), after);
            match follow(&mirror, to, &counting) {
                Ok(_) if to.cid() == head.cid() => {
                    prop_assert_eq!(hashes(&mirror), hashes(&source.archive));
                    assert_sound(&mirror);
                    break;
                }
                Ok(_) => to = &head,
                Err(error) => {
                    let alarmed = matches!(error, FollowError::Alarm { .. });
                    prop_assert!(!alarmed);
                }
            }
        }
    }
}

#[test]
fn a_rollback_is_not_followed_and_its_proof_is_kept() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let earlier = source
        .archive
        .blocks()
        .heads()
        .by_sequence(Sequence(2))
        .unwrap()
        .unwrap();
    let (dir, mirror) = mirror_of(&head);
    follow(&mirror, &head, source.archive.blocks()).unwrap();
    let error = follow(&mirror, &earlier, source.archive.blocks()).unwrap_err();
    let FollowError::Alarm { alarm, proof } = error else {
        panic!("{error}");
    };
    assert!(matches!(*alarm, Alarm::Rollback { .. }));
    assert!(proof.starts_with(dir.path()));
    let text = std::fs::read_to_string(proof).unwrap();
    assert!(text.contains(&head.cid().to_string()) && text.contains(&earlier.cid().to_string()));
    assert_eq!(mirror.head().as_ref(), Some(&head));

    let followed = mirror
        .follow(&earlier, source.archive.blocks(), true, NOW, &Quiet)
        .unwrap();
    assert!(followed.overruled.is_some());
    assert_eq!(mirror.head().as_ref(), Some(&earlier));
    // And on from there as ever.
    follow(&mirror, &head, source.archive.blocks()).unwrap();
    assert_eq!(mirror.head().as_ref(), Some(&head));
}

/// Another history under the key of `folder`, as its owner could sign one.
fn restored(folder: &Folder, change: impl FnOnce(&Archive) -> Head) -> (Archive, Head) {
    let other = tempfile::tempdir().unwrap().keep();
    let secret = std::fs::read(folder.dir.path().join("archive.key")).unwrap();
    drop(Archive::init(&other, "first").unwrap());
    std::fs::write(other.join("archive.key"), secret).unwrap();
    let archive = Archive::open(&other).unwrap();
    let head = change(&archive);
    (archive, head)
}

#[test]
fn two_heads_of_one_number_are_an_equivocation() {
    let source = Folder::new();
    let head = source.add(&sent(1, 50, 0, DAY), 2 * DAY);
    let (_dir, mirror) = mirror_of(&head);
    follow(&mirror, &head, source.archive.blocks()).unwrap();
    let (other, another) = restored(&source, |archive| {
        archive.append(&sent(2, 50, 0, DAY)).unwrap();
        archive
            .seal(at(2 * DAY), NOW, &Quiet)
            .unwrap()
            .head
            .unwrap()
    });
    let error = follow(&mirror, &another, other.blocks()).unwrap_err();
    assert!(
        matches!(error, FollowError::Alarm { ref alarm, .. } if matches!(**alarm, Alarm::Equivocation { .. }))
    );
    // A later head of that other lineage is no better.
    other.append(&sent(3, 50, DAY, DAY)).unwrap();
    let later = other.seal(at(3 * DAY), NOW, &Quiet).unwrap().head.unwrap();
    let error = follow(&mirror, &later, other.blocks()).unwrap_err();
    assert!(
        matches!(error, FollowError::Alarm { ref alarm, .. } if matches!(**alarm, Alarm::Equivocation { .. }))
    );
    assert_eq!(mirror.head().as_ref(), Some(&head));
}

#[test]
fn a_head_that_drops_an_envelope_is_not_followed() {
    let source = Folder::new();
    let kept = sent(1, 50, 0, DAY);
    let head = source.add(&kept, 2 * DAY);
    let (_dir, mirror) = mirror_of(&head);
    follow(&mirror, &head, source.archive.blocks()).unwrap();
    // The same lineage as far as numbers and links tell, over a smaller state.
    let (other, smaller) = restored(&source, |archive| {
        archive.append(&kept[1..]).unwrap();
        archive
            .seal(at(2 * DAY), NOW, &Quiet)
            .unwrap()
            .head
            .unwrap()
    });
    let forged = crate::archive::head::HeadBody {
        sequence: Sequence(2),
        prev: Some(*head.cid()),
        ..smaller.body().clone()
    };
    let forged = Head::sign(forged, &other.key).unwrap();
    struct Both<'s>(&'s dyn BlockSource, &'s dyn BlockSource);
    impl BlockSource for Both<'_> {
        fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
            self.0.get(cid).or_else(|_| self.1.get(cid))
        }
        fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
            Ok(self.0.has(cid)? || self.1.has(cid)?)
        }
    }
    let both = Both(other.blocks(), source.archive.blocks());
    let error = follow(&mirror, &forged, &both).unwrap_err();
    let FollowError::Alarm { alarm, proof } = error else {
        panic!("{error}");
    };
    let Alarm::Dropped { count: 1, some } = *alarm else {
        panic!("{alarm}");
    };
    assert_eq!(some[0].hash, kept[0].hash());
    let text = std::fs::read_to_string(proof).unwrap();
    assert!(text.contains(&kept[0].hash().to_string()));
    assert_eq!(hashes(&mirror).len(), 50);
}

#[test]
fn a_mirror_takes_in_and_signs_nothing() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let (_dir, mirror) = mirror_of(&head);
    let refused = mirror.append(&sent(1, 1, 0, 10));
    assert!(matches!(refused, Err(DiskError::Mirror { .. })));
    assert!(matches!(
        mirror.seal(at(9 * DAY), NOW, &Quiet),
        Err(DiskError::Mirror { .. })
    ));
}

#[test]
fn heads_of_other_keys_and_from_the_future_are_not_followed() {
    let source = Folder::with_history();
    let head = source.archive.head().unwrap();
    let (_dir, mirror) = mirror_of(&head);
    let stranger = Folder::with_history();
    let other = stranger.archive.head().unwrap();
    assert!(matches!(
        follow(&mirror, &other, stranger.archive.blocks()),
        Err(FollowError::AnotherKey)
    ));
    let early = head.body().watermark.at().saturating_sub(AHEAD + 1);
    assert!(matches!(
        mirror.follow(&head, source.archive.blocks(), false, early, &Quiet),
        Err(FollowError::Disk(DiskError::Ahead { .. }))
    ));
}

#[test]
fn what_is_new_in_a_head_is_written_once() {
    let source = Folder::new();
    let head = source.add(&sent(1, 600, 0, 3 * DAY), 4 * DAY);
    let (_dir, mirror) = mirror_of(&head);
    let copied = follow(&mirror, &head, source.archive.blocks())
        .unwrap()
        .copied;
    assert!(
        copied.written < head.body().totals.bytes * 3 / 2,
        "{copied:?}"
    );
    assert_sound(&mirror);
}
