//! The archive's blocks given to IPFS nodes, and told of in the DHT.

use std::sync::Arc;

use crate::api::gateway::denylist::{Denylist, DenylistError};
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarReader, DayBucket};
use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::archive::watermark::Day;
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

/// Starts the peer, where one is asked for.
pub(super) async fn start(
    archive: &Arc<Archive>,
    settings: &Settings,
) -> Result<Option<Node>, P2pError> {
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
        limits: settings.limits.clone(),
        given: Some(Arc::clone(&given) as Arc<dyn BlockSource>),
        afar: Some(given),
        dht: settings.p2p.dht.clone(),
    };
    let node = Node::start(config).await?;
    denylist.follow(node.stopped());
    Ok(Some(node))
}

/// What the archive holds and no denylist names. Nothing is fetched for whoever
/// asks.
struct Given {
    archive: Arc<Archive>,
    denylist: Arc<Denylist>,
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
/// buckets, the newest first.
pub(super) fn told_of(source: &dyn BlockSource, head: &Head) -> Result<Vec<Cid>, ArchiveError> {
    let body = head.body();
    let mut told = vec![*head.cid()];
    told.extend(body.state);
    told.extend(body.open.iter().copied());
    let mut calendar = CalendarReader::new(source, body.state.as_ref())?;
    let mut months = calendar.months()?;
    months.reverse();
    for (month, _) in months {
        let numbers: Vec<u16> = match calendar.month(month)? {
            Some(node) => node.children.keys().rev().copied().collect(),
            None => continue,
        };
        let days = numbers
            .into_iter()
            .filter_map(|number| Day::from_date(month, u8::try_from(number).ok()?));
        for day in days.collect::<Vec<_>>() {
            match calendar.day(day)? {
                None => {}
                Some(DayBucket::Closed(segment)) => told.push(segment.cid),
                Some(DayBucket::Open(hours)) => {
                    told.extend(hours.values().rev().map(|segment| segment.cid));
                }
            }
        }
    }
    Ok(told)
}
