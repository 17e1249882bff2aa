//! Telling by IPNS of the archive's heads: a name that leads to the current one.
//!
//! Always true:
//! - A record is durable in the data folder, and so served over HTTP, before it is
//!   handed to anybody; its number is above those that whoever is handed it has. A name
//!   that was handed over elsewhere is left to its successor.
//! - Each new head makes a record. One that has lost half of its time is made anew,
//!   and every record of the data folder is handed in again each `AGAIN`: routers of
//!   IPFS forget what nobody repeats.
//! - Where the archive has a store, a name leads to the newest head that the store keeps:
//!   whoever reads there finds all that it reaches. The daemon's own interface tells of a
//!   later one before.
//! - A mirror, which has no heads of its own, has no name of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::name_trouble::{NameTrouble, text_of};
use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::depot::Carrier;
use crate::publish::Hints;
use crate::publish::ipns::{KeyName, Name, NameFolder, NameFolderError, Record, Told, Wish};
use crate::sources::names::RecordTaker;
use crate::time::{Clock, UnixSeconds};

/// How often the head is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// After how long a record is handed in again: what Kubo does with its own.
const AGAIN: Duration = Duration::from_secs(4 * 3_600);

/// After how long somebody who could not be handed a record is tried again; twice as long
/// each time.
const RETRY: Duration = Duration::from_secs(30);

/// The longest of these pauses: records are at most that late once he is back, and a node
/// whose DHT takes none is not kept busy with them.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// As whom, and to whom, heads are told.
#[derive(Clone)]
pub struct Publishing {
    /// What its user calls the key whose name it is.
    pub key: KeyName,
    /// The name.
    pub name: Name,
    /// Where the archive is to be had.
    pub hints: Hints,
    /// Who is handed records.
    pub to: Vec<Arc<dyn RecordTaker>>,
}

/// Publishes in the background.
pub(super) struct Publisher {
    stopping: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Begins, unless `publishing` is `None`. `carrier` is what brings the archive to its
    /// store, where it has one; `trouble` is told what fails.
    pub(super) fn start(
        archive: Arc<Archive>,
        publishing: Option<Publishing>,
        carrier: Option<Arc<Carrier>>,
        clock: Arc<dyn Clock>,
        trouble: NameTrouble,
    ) -> Self {
        let stopping = CancellationToken::new();
        let publishing = publishing.filter(|_| !archive.is_mirror());
        let task = publishing.map(|publishing| {
            let work = run(archive, publishing, carrier, clock, trouble);
            let stopping = stopping.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = work => {}
                }
            })
        });
        Self { stopping, task }
    }

    /// Stops, and waits for it.
    pub(super) async fn end(mut self) {
        self.stopping.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: publishing panicked");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// The newest record of the name that somebody else was seen to have.
type Known = Arc<Mutex<Option<Record>>>;

/// Renews the record for good. Whoever is handed records has a task of his own, so
/// that one who is slow keeps nobody waiting.
async fn run(
    archive: Arc<Archive>,
    publishing: Publishing,
    carrier: Option<Arc<Carrier>>,
    clock: Arc<dyn Clock>,
    trouble: NameTrouble,
) {
    let (tell, told) = watch::channel(Vec::new());
    let known = Known::default();
    // They end with this.
    let mut takers = JoinSet::new();
    for taker in publishing.to {
        let handing = Handing {
            taker,
            known: Arc::clone(&known),
            clock: Arc::clone(&clock),
            handed: HashMap::new(),
        };
        takers.spawn(handing.run(told.clone()));
    }
    let naming = Naming {
        folder: NameFolder::new(archive.dir()),
        archive,
        carrier,
        key: publishing.key,
        hints: publishing.hints,
        known,
        clock,
    };
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let (records, failed) = naming.renew().await;
        // One name that fails keeps no other waiting.
        if let Some(records) = records {
            tell.send_replace(records);
        }
        // Once, and again only where it fails otherwise.
        let is_news = trouble.set(failed.clone());
        if let Some(error) = failed.filter(|_| is_news) {
            tracing::error!(error, "a name cannot be brought up to date");
        }
    }
}

/// Makes records.
struct Naming {
    archive: Arc<Archive>,
    carrier: Option<Arc<Carrier>>,
    folder: NameFolder,
    key: KeyName,
    hints: Hints,
    known: Known,
    clock: Arc<dyn Clock>,
}

impl Naming {
    /// Makes the record of the current head where it is not made, and gives every
    /// record there is that can be read, and what failed.
    async fn renew(&self) -> (Option<Vec<Record>>, Option<String>) {
        let head = match &self.carrier {
            None => self.archive.head(),
            Some(carrier) => carrier.kept_head(),
        };
        let known = self.known.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner).clone();
        let (folder, now) = (self.folder.clone(), self.clock.now());
        let (key, hints) = (self.key.clone(), self.hints.clone());
        let made = tokio::task::spawn_blocking(move || {
            let named = name_head(
                &folder,
                &key,
                head.map(|head| (head, hints)),
                known.as_ref(),
                now,
            );
            let (records, unread) = match folder.records() {
                Ok((records, unread)) => (Some(records), unread),
                Err(error) => (None, vec![error]),
            };
            let failures = named.err().into_iter().chain(unread);
            let failures: Vec<_> = failures.map(|error| text_of(&error)).collect();
            let failed = (!failures.is_empty()).then(|| failures.join("; "));
            (records, failed)
        });
        made.await
            .unwrap_or_else(|error| (None, Some(error.to_string())))
    }
}

/// Makes the record of `head` where it is not made.
fn name_head(
    folder: &NameFolder,
    key: &KeyName,
    head: Option<(Head, Hints)>,
    known: Option<&Record>,
    now: UnixSeconds,
) -> Result<(), NameFolderError> {
    let key = folder.key_or_new(key)?;
    let Some((head, hints)) = head else {
        return Ok(());
    };
    let before = folder.record(&key.name())?;
    let head = newest_of(before.as_ref(), head);
    let wish = Wish::of_head(&head, &hints);
    let record = folder.say(&key, &wish, known, now)?;
    if before.as_ref() != Some(&record) {
        let (name, sequence) = (record.name(), record.sequence());
        tracing::info!(%name, sequence, head = %head.cid(), "named");
    }
    Ok(())
}

/// The head that a name is to lead to where `kept` is the newest one that is kept: a name
/// that leads to a later one already goes back to none.
pub fn newest_of(record: Option<&Record>, kept: Head) -> Head {
    match record.map(Told::of) {
        Some(Ok(Told::Head {
            head: Some(named), ..
        })) if named.key() == kept.key() && named.body().sequence > kept.body().sequence => *named,
        _ => kept,
    }
}

/// What became of the record of a name.
struct Handed {
    record: Record,
    at: Instant,
    done: bool,
    /// When it is handed in again, in any case.
    pause: Duration,
}

impl Handed {
    /// Whether `record` is to be handed in after this.
    fn leaves_due(&self, record: &Record) -> bool {
        (self.done && self.record != *record) || self.at.elapsed() >= self.pause
    }

    /// The pause after another try that came to `done`.
    fn pause(before: Option<&Self>, done: bool) -> Duration {
        match before {
            _ if done => AGAIN,
            Some(before) if !before.done => (before.pause * 2).min(LONGEST_RETRY),
            _ => RETRY,
        }
    }
}

/// Hands records to one who takes them.
struct Handing {
    taker: Arc<dyn RecordTaker>,
    known: Known,
    clock: Arc<dyn Clock>,
    handed: HashMap<Name, Handed>,
}

impl Handing {
    async fn run(mut self, told: watch::Receiver<Vec<Record>>) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let records = told.borrow().clone();
            let now = self.clock.now();
            for record in records.iter().filter(|record| !record.is_expired(now)) {
                let before = self.handed.get(record.name());
                if before.is_none_or(|handed| handed.leaves_due(record)) {
                    let was_failing = before.is_some_and(|handed| !handed.done);
                    let done = self.hand_in(record, was_failing).await;
                    let pause = Handed::pause(self.handed.get(record.name()), done);
                    let handed = Handed {
                        record: record.clone(),
                        at: Instant::now(),
                        done,
                        pause,
                    };
                    self.handed.insert(*record.name(), handed);
                }
            }
        }
    }

    async fn hand_in(&self, record: &Record, was_failing: bool) -> bool {
        let (name, to) = (record.name(), self.taker.name());
        let Err(error) = self.taker.put(record).await else {
            if was_failing {
                tracing::info!(%name, to, "handed in again");
            }
            return true;
        };
        // It may have a newer one, made elsewhere with the same key.
        let theirs = self.taker.record(name).await.ok().flatten();
        let theirs = theirs.and_then(|bytes| Record::read(name, bytes).ok());
        match theirs.filter(|theirs| theirs.precedence() > record.precedence()) {
            Some(theirs) => {
                let sequence = theirs.sequence();
                tracing::warn!(%name, to, sequence, "has a newer record, made elsewhere");
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let newest = [known.take(), Some(theirs)].into_iter().flatten();
                *known = newest.max_by_key(Record::precedence);
            }
            None if !was_failing => tracing::warn!(%name, to, %error, "not handed in; tried again"),
            None => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::archive::disk::Stop;
    use crate::archive::testing::envelope;
    use crate::archive::watermark::Watermark;
    use crate::depot::{FolderDepot, Keep};
    use crate::kubo::KuboError;
    use crate::progress::Quiet;
    use crate::publish::ipns::{Draft, IpnsKey};
    use crate::sources::names::{Giving, RecordGiver, Taking};
    use crate::time::SystemClock;

    const OTHER_HEAD: &str = "/ipfs/bafyreic5wlgq6a6ibjfx5m73hs4v3g5lv4ibxktyhdf524kl6q6w6dxiqi";

    /// A node that refuses what is older than what it has, and everything while it is
    /// away.
    #[derive(Default)]
    struct Node {
        has: Mutex<Option<Record>>,
        puts: Mutex<u32>,
        away: Mutex<bool>,
    }

    impl RecordGiver for Node {
        fn name(&self) -> &str {
            "node"
        }

        fn record<'a>(&'a self, _: &'a Name) -> Giving<'a> {
            let has = self.has.lock().unwrap();
            let bytes: Option<Bytes> = has.as_ref().map(|record| record.bytes().clone());
            let away = *self.away.lock().unwrap();
            Box::pin(async move {
                if away {
                    Err("away".to_owned())
                } else {
                    Ok(bytes)
                }
            })
        }
    }

    impl RecordTaker for Node {
        fn put<'a>(&'a self, record: &'a Record) -> Taking<'a> {
            *self.puts.lock().unwrap() += 1;
            let mut has = self.has.lock().unwrap();
            let is_older = |has: &Record| has.precedence() > record.precedence();
            let is_refused = *self.away.lock().unwrap() || has.as_ref().is_some_and(is_older);
            if !is_refused {
                *has = Some(record.clone());
            }
            Box::pin(async move {
                if is_refused {
                    Err(KuboError::Failed("no".to_owned()))
                } else {
                    Ok(())
                }
            })
        }
    }

    struct World {
        _dir: tempfile::TempDir,
        archive: Arc<Archive>,
        node: Arc<Node>,
        key: IpnsKey,
        trouble: NameTrouble,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let archive = Arc::new(Archive::init(dir.path(), "").unwrap());
            let key = NameFolder::new(dir.path()).key_or_new(&KeyName::default());
            let world = Self {
                _dir: dir,
                archive,
                node: Arc::default(),
                key: key.unwrap(),
                trouble: NameTrouble::default(),
            };
            world.seal(1);
            world
        }

        fn seal(&self, hour: u32) {
            let sent = 1_538_092_800 + hour * 3_600;
            self.archive.append(&[envelope(1, sent, 20)]).unwrap();
            let until = Watermark::at_or_before(UnixSeconds(sent + 3_600));
            self.archive.seal(until, until.at(), &Quiet).unwrap();
        }

        fn start(&self) -> Publisher {
            self.start_with_store(None)
        }

        fn start_with_store(&self, carrier: Option<Arc<Carrier>>) -> Publisher {
            let publishing = Publishing {
                key: KeyName::default(),
                name: self.key.name(),
                hints: Hints::default(),
                to: vec![self.node.clone()],
            };
            let clock = Arc::new(SystemClock);
            let (archive, trouble) = (Arc::clone(&self.archive), self.trouble.clone());
            Publisher::start(archive, Some(publishing), carrier, clock, trouble)
        }

        /// Waits until the node's record holds what `holds` says; in no time at all,
        /// for the clock of the test goes on while nothing else does.
        async fn until(&self, holds: impl Fn(&Record) -> bool) -> Record {
            for _ in 0..20_000 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let has = self.node.has.lock().unwrap().clone();
                if let Some(record) = has.filter(|record| holds(record)) {
                    return record;
                }
            }
            panic!("it never came");
        }

        /// A record of the name, made elsewhere, with this number.
        fn made_elsewhere(&self, value: &str, sequence: u64) -> Record {
            let draft = Draft {
                value: value.parse().unwrap(),
                sequence,
                until: SystemClock.now().saturating_add(86_400),
                ttl: Duration::from_secs(60),
                extra: std::collections::BTreeMap::new(),
            };
            Record::make(&self.key, &draft).unwrap()
        }

        fn names(&self, record: &Record) -> bool {
            let head = self.archive.head_cid().unwrap();
            record.value() == format!("/ipfs/{head}").as_bytes()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_is_handed_in_once_also_to_who_was_away() {
        let world = World::new();
        *world.node.away.lock().unwrap() = true;
        let publisher = world.start();
        tokio::time::sleep(3 * RETRY).await;
        assert!(world.node.has.lock().unwrap().is_none());
        *world.node.away.lock().unwrap() = false;
        let first = world.until(|record| world.names(record)).await;
        let before = *world.node.puts.lock().unwrap();
        tokio::time::sleep(AGAIN / 2).await;
        assert_eq!(*world.node.puts.lock().unwrap(), before, "handed in twice");
        world.seal(2);
        let second = world.until(|record| world.names(record)).await;
        assert_eq!(second.sequence(), first.sequence() + 1);
        // Routers forget.
        *world.node.has.lock().unwrap() = None;
        assert_eq!(world.until(|_| true).await, second);
        publisher.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_leads_to_what_the_store_keeps_and_never_back() {
        let world = World::new();
        let store = tempfile::tempdir().unwrap();
        let depot = Arc::new(FolderDepot::new(store.path()));
        let archive = Arc::clone(&world.archive);
        let carrier = Carrier::new(archive, depot, "folder:store", Keep::Everything);
        let carrier = Arc::new(carrier);
        let carry = || {
            let carried = carrier.round(&Stop::default(), SystemClock.now(), &Quiet);
            assert!(carried.unwrap().head);
        };
        let publisher = world.start_with_store(Some(Arc::clone(&carrier)));
        tokio::time::sleep(AGAIN).await;
        assert!(world.node.has.lock().unwrap().is_none(), "nothing is kept");
        carry();
        let first = world.until(|record| world.names(record)).await;
        // Sealed, and the store is slow.
        world.seal(2);
        tokio::time::sleep(2 * AGAIN).await;
        assert_eq!(*world.node.has.lock().unwrap(), Some(first.clone()));
        carry();
        let second = world.until(|record| world.names(record)).await;
        publisher.end().await;
        let kept = first.sequence();
        assert_eq!(second.sequence(), kept + 1);

        // A store that has to begin anew is behind the name.
        let again = tempfile::tempdir().unwrap();
        let depot = Arc::new(FolderDepot::new(again.path()));
        let archive = Arc::clone(&world.archive);
        let behind = Carrier::new(archive, depot, "folder:again", Keep::Everything);
        let behind = Arc::new(behind);
        behind
            .round(&Stop::default(), SystemClock.now(), &Quiet)
            .unwrap();
        world.seal(3);
        let publisher = world.start();
        let third = world.until(|record| world.names(record)).await;
        publisher.end().await;
        let publisher = world.start_with_store(Some(behind));
        tokio::time::sleep(2 * AGAIN).await;
        assert_eq!(*world.node.has.lock().unwrap(), Some(third));
        publisher.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_is_asked_less_and_less_often() {
        let world = World::new();
        *world.node.away.lock().unwrap() = true;
        let publisher = world.start();
        tokio::time::sleep(AGAIN).await;
        let puts = *world.node.puts.lock().unwrap();
        let most = u32::try_from(AGAIN.as_secs() / LONGEST_RETRY.as_secs()).unwrap() + 5;
        assert!((5..=most).contains(&puts), "{puts} times");
        publisher.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_record_of_the_same_key_is_outdone() {
        let world = World::new();
        let theirs = world.made_elsewhere(OTHER_HEAD, 42);
        *world.node.has.lock().unwrap() = Some(theirs);
        let publisher = world.start();
        let record = world.until(|record| world.names(record)).await;
        assert_eq!(record.sequence(), 43);
        publisher.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_was_handed_over_elsewhere_is_left_to_its_successor() {
        let world = World::new();
        let to = IpnsKey::generate().name();
        let last = world.made_elsewhere(&format!("/ipns/{to}"), 42);
        *world.node.has.lock().unwrap() = Some(last.clone());
        let publisher = world.start();
        let folder = NameFolder::new(world.archive.dir());
        let is_kept = || folder.record(&world.key.name()).unwrap() == Some(last.clone());
        world.until(|_| is_kept()).await;
        // From then on it is told on here, and outdone by no head.
        world.seal(2);
        *world.node.has.lock().unwrap() = None;
        assert_eq!(world.until(|_| true).await, last);
        tokio::time::sleep(3 * AGAIN).await;
        assert_eq!(world.node.has.lock().unwrap().clone(), Some(last.clone()));
        assert!(is_kept());
        publisher.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_name_that_is_damaged_stops_no_other() {
        let world = World::new();
        let other = IpnsKey::generate().name();
        let damaged = world.archive.dir().join(format!("ipns/{other}.record"));
        std::fs::write(damaged, b"nonsense").unwrap();
        let publisher = world.start();
        world.until(|record| world.names(record)).await;
        publisher.end().await;

        // Nor does the own one, whose last record is there to be told on.
        let world = World::new();
        let other = IpnsKey::generate();
        let folder = NameFolder::new(world.archive.dir());
        let over = Wish::of_hand_over(other.name());
        let last = folder.say(&world.key, &over, None, SystemClock.now());
        let publisher = world.start();
        assert_eq!(world.until(|_| true).await, last.unwrap());
        // Whoever asks is told why it leads to no head.
        let trouble = world.trouble.now().unwrap();
        assert!(
            trouble.contains("`--publish` names another key"),
            "{trouble}"
        );
        publisher.end().await;
    }
}
