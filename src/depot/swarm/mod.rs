//! A depot on Swarm, behind a Bee node.
//!
//! Each file is uploaded whole and pinned, and so are the documents that say what
//! lies where ([`crate::swarm`]); the newest head is an update of a feed that a key
//! of its own signs, `swarm.key` in the data folder.
//!
//! Always true:
//! - What is kept is pinned at the node: no collector of garbage takes it there. In
//!   the network it stays as long as the batch of stamps that paid for it.
//! - A file that is not pinned is not called kept, whatever a document says. It is
//!   named to readers all the same, until it is released: nothing but these
//!   documents says where its blocks are.
//! - What the node does not find now may be there: the newer of the feed and this
//!   disk says what was shown, and an update has a number that none had before. A
//!   feed that neither knows is empty only where its key was made here and is new.
//! - The feed is shown last: what its index names was uploaded before.
//! - Swarm has no conditional writes. Two writers with one key are noticed after the
//!   fact at best: one archive has one writer.

mod bee;
mod inner;
mod key;
mod map;
mod notes;
mod shelf;
mod show;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinError, JoinSet};
use url::Url;

use self::bee::Bee;
pub(super) use self::bee::{NoBatch, batch_digits};
use self::inner::Inner;
use self::map::Map;
use self::notes::Notes;
use super::{Depot, DepotError, DepotSettings, KeptFile, Parcel};
use crate::archive::head::Head;
use crate::blocks::catalogue::file_len;
use crate::blocks::{
    Block, BlockError, BlockSource, Cid, Fault, Refusal, catalogues, group_of, has_by_getting,
};
use crate::sources::net::{Net, NetLimits};
use crate::swarm::{FileAt, Owner, Reference, SwarmAddress, SwarmPlace};

/// Blocks under way at once: a node fetches each chunk of theirs on its own.
const IN_FLIGHT: usize = 16;

/// Blocks that may wait to be taken.
const WAITING: usize = 16;

/// A depot on Swarm.
pub struct SwarmDepot {
    inner: Arc<Inner>,
    net: Arc<Net>,
}

impl SwarmDepot {
    /// The depot at the Bee node at `base`; nothing is asked yet. Where `settings`
    /// name a batch of postage stamps it pays, else the only one that the node has.
    pub fn new(base: &Url, settings: &DepotSettings) -> Result<Self, DepotError> {
        let map = Map::new(&settings.data);
        let secret = key::load_or_create(&settings.data, &map)?;
        let owner = Owner::of(&secret.public_key());
        // With its feed, so that it can be given to readers as it is.
        let name = SwarmAddress {
            base: base.clone(),
            place: SwarmPlace::Feed(owner),
        }
        .to_string();
        let batch = settings.auth.as_ref();
        let batch = batch.map(|batch| batch.expose().trim());
        let net = Net::new(NetLimits::default()).map_err(|source| DepotError::Io {
            path: settings.data.clone(),
            source,
        })?;
        let inner = Inner {
            bee: Bee::new(name.clone(), base.clone(), batch)?,
            name,
            owner,
            secret,
            archive: settings.key,
            notes: Notes::new(&settings.data),
            data: settings.data.clone(),
            map,
            state: Mutex::default(),
            showing: Mutex::default(),
        };
        tracing::info!(
            feed = inner.name,
            "readers of the archive ask for this feed"
        );
        Ok(Self {
            inner: Arc::new(inner),
            net,
        })
    }

    /// Whose feed shows the newest head.
    pub fn owner(&self) -> Owner {
        self.inner.owner
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.net.handle().block_on(work)
    }
}

impl BlockSource for SwarmDepot {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        crate::blocks::check_cid(cid)?;
        self.wait(self.inner.block(cid))
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        // Three bytes of a digest are no proof.
        has_by_getting(self, cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let inner = Arc::clone(&self.inner);
        let wanted = cids.to_vec();
        let futures = wanted.into_iter().map(move |cid| {
            let inner = Arc::clone(&inner);
            async move { inner.block(&cid).await }
        });
        let mut left: HashSet<Cid> = cids.iter().copied().collect();
        let ended = take_each(self.net.handle(), futures, &mut |block| {
            left.remove(block.cid());
            take(block)
        })?;
        match left.into_iter().next().filter(|_| ended == Ended::Short) {
            None => Ok(()),
            Some(cid) => Err(BlockError::Unavailable {
                cid,
                by: vec![Refusal {
                    source: self.inner.name.clone(),
                    fault: Fault::Failed("was not waited for: this program is ending".to_owned()),
                }],
            }),
        }
    }
}

/// A block on its way.
trait Fetch: Future<Output = Result<Block, BlockError>> + Send + 'static {}

impl<F: Future<Output = Result<Block, BlockError>> + Send + 'static> Fetch for F {}

/// How taking blocks ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All came, or no more were wanted.
    Well,
    /// The threads that fetch them ended first.
    Short,
}

/// Gives `take` what each future brings, in any order. A panic in one goes on here.
fn take_each<F: Fetch>(
    threads: &Handle,
    futures: impl Iterator<Item = F> + Send + 'static,
    take: &mut dyn FnMut(Block) -> ControlFlow<()>,
) -> Result<Ended, BlockError> {
    let (out, mut blocks) = mpsc::channel(WAITING);
    let driver = threads.spawn(fetch_each(futures, out));
    while let Some(block) = blocks.blocking_recv() {
        let taken = block.map(&mut *take);
        if !matches!(taken, Ok(ControlFlow::Continue(()))) {
            driver.abort();
            return taken.map(|_| Ended::Well);
        }
    }
    // It hung up by itself: it has fetched all, or it died.
    match threads.block_on(driver) {
        Ok(ended) => Ok(ended),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Ok(Ended::Short),
        },
    }
}

/// Sends what each future brings until nobody listens.
async fn fetch_each<F: Fetch>(
    futures: impl Iterator<Item = F> + Send + 'static,
    out: mpsc::Sender<Result<Block, BlockError>>,
) -> Ended {
    let mut futures = futures;
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < IN_FLIGHT
            && let Some(future) = futures.next()
        {
            tasks.spawn(future);
        }
        let Some(fetched) = tasks.join_next().await else {
            return Ended::Well;
        };
        let fetched = match fetched.map_err(JoinError::try_into_panic) {
            Ok(fetched) => fetched,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => return Ended::Short,
        };
        if out.send(fetched).await.is_err() {
            return Ended::Well;
        }
    }
}

impl Depot for SwarmDepot {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn keep(&self, parcel: &Parcel<'_>) -> Result<(), DepotError> {
        let name = &parcel.file.name;
        let io = |source| DepotError::Io {
            path: parcel.car.to_owned(),
            source,
        };
        let listed = catalogues::blocks_of(parcel.car);
        let blocks = listed.map_err(|error| io(std::io::Error::other(error)))?;
        if group_of(name).is_none() || file_len(&blocks) != parcel.file.bytes {
            if !parcel.car.exists() {
                // Swept meanwhile, which is nobody's fault.
                return Err(io(std::io::ErrorKind::NotFound.into()));
            }
            let what = format!("{name} is not a file of blocks as this program writes them");
            return Err(self.inner.bee.refused(what));
        }
        let file = FileAt {
            // Known when it was uploaded.
            reference: Reference([0; 32]),
            root: parcel.root,
            blocks,
        };
        self.wait(self.inner.keep(name, file, parcel.car))
    }

    fn kept_files(&self) -> Result<Vec<KeptFile>, DepotError> {
        self.wait(self.inner.kept())
    }

    fn release(&self, name: &str) -> Result<(), DepotError> {
        self.wait(self.inner.release(name))
    }

    fn keep_head(&self, head: &Head, before: Option<&Head>) -> Result<(), DepotError> {
        self.wait(self.inner.keep_head(head, before))
    }

    fn newest_head(&self) -> Result<Option<Head>, DepotError> {
        self.wait(self.inner.newest_head())
    }
}
