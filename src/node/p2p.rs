//! The archive's blocks given to IPFS nodes, and told of in the DHT.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::gateway::denylist::{Denylist, DenylistError};
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarNode, CalendarReader, DayBucket, Level};
use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::archive::watermark::{Day, Month};
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::config::Settings;
use crate::p2p::key::{self, IdentityError};
use crate::p2p::{Afar, Node, NodeConfig, NodeError};

/// Why the peer could not start.
#[derive(Debug, thiserror::Error)]
pub enum P2pError {
    /// It has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It has no network.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A denylist cannot be used.
    #[error(transparent)]
    Denylist(#[from] DenylistError),
}

/// The peer of an archive.
pub(super) struct Peer {
    /// It.
    pub node: Node,
    /// There is a head that the DHT may not know.
    news: Arc<Notify>,
    announcing: JoinHandle<()>,
    /// Announcing ends with it, also where nothing else did.
    _announces: DropGuard,
}

/// Starts the peer, where one is asked for.
pub(super) async fn start(
    archive: &Arc<Archive>,
    settings: &Settings,
) -> Result<Option<Peer>, P2pError> {
    let Some(listen) = settings.p2p.listen.clone() else {
        return Ok(None);
    };
    let denylist = Arc::new(Denylist::open(&settings.http.denylists)?);
    let given = Arc::new(Given {
        archive: Arc::clone(archive),
        denylist: Arc::clone(&denylist),
    });
    let config = NodeConfig {
        key: key::load_or_create(archive.dir())?,
        listen: Some(listen),
        public: settings.p2p.public.clone(),
        limits: settings.limits.clone(),
        given: Some(Arc::clone(&given) as Arc<dyn BlockSource>),
        afar: Some(Arc::clone(&given) as Arc<dyn Afar>),
        dht: settings.p2p.dht.clone(),
    };
    let node = Node::start(config).await?;
    denylist.follow(node.stopped());
    if node.dht().is_some_and(|dht| !dht.borrow().dialable) {
        tracing::warn!(
            "nothing is announced: all addresses of the peer are private, and nobody in the \
             public DHT could dial them (`--p2p-public` names one that they can)"
        );
    }
    let news = Arc::new(Notify::new());
    let ended = node.stopped().child_token();
    Ok(Some(Peer {
        announcing: tokio::spawn(announce(
            node.clone(),
            given,
            Arc::clone(&news),
            ended.clone(),
        )),
        node,
        news,
        _announces: ended.drop_guard(),
    }))
}

impl Peer {
    /// Tells the DHT of the newest head, where the peer takes part in one. Nobody waits
    /// for that: what is told of may have to be read from a store that is far away.
    pub(super) fn announce(&self) {
        self.news.notify_one();
    }

    /// Ends it.
    pub(super) async fn end(self) {
        self.node.stop();
        if let Err(error) = self.announcing.await {
            tracing::error!(%error, "BUG: announcing panicked");
        }
    }
}

/// Tells the DHT of each newest head until `ended`.
async fn announce(node: Node, given: Arc<Given>, news: Arc<Notify>, ended: CancellationToken) {
    while ended.run_until_cancelled(news.notified()).await.is_some() {
        let Some(head) = given.archive.head().filter(|_| node.dht().is_some()) else {
            continue;
        };
        let given = Arc::clone(&given);
        match tokio::task::spawn_blocking(move || given.told(&head)).await {
            Ok(Ok(cids)) => node.announce(cids).await,
            Ok(Err(error)) => tracing::warn!(%error, "the DHT is not told of the head"),
            Err(error) => tracing::error!(%error, "BUG: listing buckets panicked"),
        }
    }
}

/// What the archive holds and no denylist names. Nothing is fetched for whoever
/// asks.
struct Given {
    archive: Arc<Archive>,
    denylist: Arc<Denylist>,
}

impl Given {
    /// Whether it is given to whoever wants it; the depot is not asked.
    fn may_be_given(&self, cid: &Cid) -> bool {
        self.has(cid).unwrap_or(false) || self.may_hold(cid)
    }

    /// What is told of a head.
    fn told(&self, head: &Head) -> Result<Vec<Cid>, ArchiveError> {
        let is_given = |cid: &Cid| self.may_be_given(cid);
        let kept_from = self.archive.kept_from();
        told_of(&self.archive.blocks().held(), head, kept_from, &is_given)
    }
}

impl BlockSource for Given {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if self.denylist.denies(cid) {
            return Err(BlockError::Missing { cid: *cid });
        }
        self.archive.blocks().here().get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(!self.denylist.denies(cid) && self.archive.blocks().here().has(cid)?)
    }
}

impl Afar for Given {
    fn may_hold(&self, cid: &Cid) -> bool {
        !self.denylist.denies(cid) && self.archive.blocks().may_be_evicted(cid)
    }

    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        if self.denylist.denies(cid) {
            return Err(BlockError::Missing { cid: *cid });
        }
        self.archive.blocks().held().get(cid)
    }
}

/// What is told of a head in the DHT: the head, its state, and the roots of its
/// buckets, the newest first, as far as they are given. Months that are not here are
/// left out, and days before `kept_from`: nobody keeps those of this archive.
fn told_of(
    source: &dyn BlockSource,
    head: &Head,
    kept_from: Day,
    is_given: &dyn Fn(&Cid) -> bool,
) -> Result<Vec<Cid>, ArchiveError> {
    let body = head.body();
    let mut told = vec![*head.cid()];
    told.extend(body.state);
    told.extend(body.open.iter().copied());
    let months = match CalendarReader::new(source, body.state.as_ref()) {
        Ok(mut calendar) => buckets(source, &mut calendar, kept_from)?,
        Err(error) if error.is_missing() => Vec::new(),
        Err(error) => return Err(error),
    };
    told.extend(months);
    told.retain(is_given);
    Ok(told)
}

/// The roots of all buckets that are here, the newest first.
fn buckets(
    source: &dyn BlockSource,
    calendar: &mut CalendarReader<'_>,
    kept_from: Day,
) -> Result<Vec<Cid>, ArchiveError> {
    let years = calendar.root().map(|root| root.children.clone());
    let mut roots = Vec::new();
    for (year, child) in years.into_iter().flatten().rev() {
        let Some(node) = here(CalendarNode::fetch(source, Level::Year, child))? else {
            continue;
        };
        for month in node.children.keys().rev() {
            let month = u8::try_from(*month).expect("a decoded month is 1 to 12");
            let month = Month { year, month };
            if let Some(of_month) = here(buckets_of(calendar, month, kept_from))? {
                roots.extend(of_month);
            }
        }
    }
    Ok(roots)
}

/// Those of a month, the newest first.
fn buckets_of(
    calendar: &mut CalendarReader<'_>,
    month: Month,
    kept_from: Day,
) -> Result<Vec<Cid>, ArchiveError> {
    let node = calendar.month(month)?;
    let days = node.map(|node| node.children.keys().rev().copied().collect::<Vec<u16>>());
    let days = days.into_iter().flatten();
    let days = days.filter_map(|day| Day::from_date(month, u8::try_from(day).ok()?));
    let mut roots = Vec::new();
    for day in days.filter(|day| *day >= kept_from) {
        // The hours of an open day are a block of their own.
        match here(calendar.day(day))?.flatten() {
            None => {}
            Some(DayBucket::Closed(segment)) => roots.push(segment.cid),
            Some(DayBucket::Open(hours)) => {
                roots.extend(hours.values().rev().map(|segment| segment.cid));
            }
        }
    }
    Ok(roots)
}

/// What was read, unless it is not here.
fn here<T>(read: Result<T, ArchiveError>) -> Result<Option<T>, ArchiveError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::traffic;
    use crate::archive::watermark::Watermark;
    use crate::progress::Quiet;
    use crate::time::UnixSeconds;
    use crate::whisper::Envelope;

    /// From 2018-09-28 00:00, into October.
    const FROM: u32 = 1_538_092_800;
    const UNTIL: u32 = FROM + 5 * 86_400;

    fn archive(dir: &std::path::Path) -> (Archive, Head) {
        let archive = Archive::init(dir, "").unwrap();
        let envelopes = traffic(1, 300, 10, FROM, UNTIL);
        let envelopes = envelopes
            .iter()
            .map(|one| Envelope::decode(&one.bytes).unwrap());
        archive.append(&envelopes.collect::<Vec<_>>()).unwrap();
        let until = Watermark::at_or_before(UnixSeconds(UNTIL));
        let sealed = archive.seal(until, until.at(), &Quiet).unwrap();
        (archive, sealed.head.unwrap())
    }

    /// All but one block.
    struct Without<'a>(&'a dyn BlockSource, Cid);

    impl BlockSource for Without<'_> {
        fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
            if *cid == self.1 {
                return Err(BlockError::Missing { cid: *cid });
            }
            self.0.get(cid)
        }

        fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
            Ok(*cid != self.1 && self.0.has(cid)?)
        }
    }

    #[test]
    fn a_head_its_state_and_every_bucket_are_told_the_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, head) = archive(dir.path());
        let blocks = archive.blocks();
        let told = told_of(&blocks.held(), &head, Day(0), &|_| true).unwrap();
        assert_eq!(told[0], *head.cid());
        assert_eq!(Some(told[1]), head.body().state);
        let source = blocks.held();
        let mut calendar = CalendarReader::new(&source, head.body().state.as_ref()).unwrap();
        let mut roots = Vec::new();
        for day in 0..6 {
            let day = calendar.day(Day(FROM / 86_400 + day)).unwrap();
            let segments = day.map(|day| day.segments()).unwrap_or_default();
            roots.extend(segments.into_iter().map(|segment| segment.cid));
        }
        assert!(roots.len() >= 5);
        roots.reverse();
        assert_eq!(told[told.len() - roots.len()..], roots);
        assert_eq!(told.len(), 2 + head.body().open.len() + roots.len());
    }

    /// A store far away: what it has is not asked of it.
    struct Store(Archive);

    impl BlockSource for Store {
        fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
            self.0.blocks().held().get(cid)
        }

        fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
            panic!("the store is asked whether it has {cid}")
        }
    }

    #[test]
    fn a_replica_tells_of_what_its_store_keeps_without_asking_for_each() {
        let dir = tempfile::tempdir().unwrap();
        let (owner, head) = archive(&dir.path().join("owner"));
        let all = told_of(&owner.blocks().held(), &head, Day(0), &|_| true).unwrap();
        let replica = Archive::replica(&dir.path().join("replica"), &head, "s3:a".to_owned());
        let replica = replica.unwrap();
        let store = Arc::new(Store(owner));
        replica.blocks().set_depot("s3:a", store);
        let given = Given {
            archive: Arc::new(replica),
            denylist: Arc::new(Denylist::open(&[]).unwrap()),
        };
        assert_eq!(given.told(&head).unwrap(), all);
        // The owner let the first days go; calendars still tell of them.
        let kept_from = Day(FROM / 86_400 + 2);
        given.archive.believe_dropped(kept_from, &head).unwrap();
        let kept = given.told(&head).unwrap();
        assert!(kept.len() < all.len() && all.starts_with(&kept));
    }

    #[test]
    fn what_is_denied_and_months_that_are_not_here_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, head) = archive(dir.path());
        let source = archive.blocks().held();
        let all = told_of(&source, &head, Day(0), &|_| true).unwrap();
        let denied = *all.last().unwrap();
        let given = told_of(&source, &head, Day(0), &|cid| *cid != denied).unwrap();
        assert_eq!(given, all[..all.len() - 1]);

        let calendar = CalendarReader::new(&source, head.body().state.as_ref()).unwrap();
        let months = calendar.months().unwrap();
        assert_eq!(months.len(), 2);
        let [september, october] = [0, 1].map(|at| {
            let without = Without(&source, months[at].1.cid);
            told_of(&without, &head, Day(0), &|_| true).unwrap()
        });
        let heads = 2 + head.body().open.len();
        assert_eq!(all.len() + heads, september.len() + october.len());
        assert!(september.len() > heads && october.len() > heads);
        assert!(october.ends_with(&[denied]) && !september.contains(&denied));
        let state = Without(&source, head.body().state.unwrap());
        assert_eq!(
            told_of(&state, &head, Day(0), &|_| true).unwrap(),
            all[..heads]
        );
    }
}
