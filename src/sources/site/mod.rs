//! A public folder on a plain web server: the `HEAD`, `heads/` and `blocks/` of a
//! data folder, copied or linked.
//!
//! The server need know nothing but files. Where it gives parts of them, a block
//! costs its own bytes; where it does not, the file that holds it is fetched
//! whole, once.
//!
//! Always true: the catalogues are believed in nothing. What lies where they say
//! is hashed, and where it is not what they list, the server has lied.

mod files;
mod spool;
mod swarm;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::HeaderMap;
use url::Url;

use self::view::{NotFound, View};
use super::Account;
use super::gateway::{below, fault_of, fault_of_bytes};
use super::net::{Net, NetError};
use crate::archive::head::{Head, Sequence};
use crate::blocks::{Block, Cid, Codec, Fault, MAX_BLOCK_READ};
use crate::swarm::SwarmPlace;

/// Longest text of `HEAD`, bytes.
const MAX_POINTER: u64 = 256;

/// Heads whose file is known at once: a walk along a lineage needs two.
const HEADS_KNOWN: usize = 1_024;

/// A public folder.
#[derive(Debug)]
pub struct Site {
    /// What it listed when it was looked at last.
    view: Mutex<Arc<View>>,
    /// Held by whoever looks again.
    renewing: tokio::sync::Mutex<()>,
    /// The numbers of heads, which their files are named by: of those that were
    /// told as current, and of those before a head that was read.
    heads: Mutex<HashMap<Cid, Sequence>>,
}

/// Who is asked, and over what.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The way there.
    pub net: &'a Net,
    /// Where the folder lies.
    pub base: &'a Url,
    /// What the server gave so far.
    pub account: &'a Account,
    /// Where on Swarm the folder is, where the server is a node of it.
    pub swarm: Option<&'a SwarmPlace>,
}

impl Site {
    /// Looks for the list of folders; `None` where there is none.
    pub async fn find(server: Server<'_>) -> Result<Option<Self>, Fault> {
        let Some(view) = View::find(server).await? else {
            return Ok(None);
        };
        let site = Self {
            view: Mutex::new(Arc::new(view)),
            renewing: tokio::sync::Mutex::default(),
            heads: Mutex::default(),
        };
        // The current head is in no catalogue.
        if server.swarm.is_none()
            && let Ok((sequence, cid)) = pointer(server).await
        {
            site.remember(cid, sequence);
        }
        Ok(Some(site))
    }

    /// The block `cid` names, from whichever file has it.
    pub async fn block(&self, server: Server<'_>, cid: &Cid) -> Result<Block, Fault> {
        let block = match self.number_of(cid) {
            Some(sequence) if server.swarm.is_none() => head_file(server, sequence, cid).await?,
            _ => self.listed(server, cid).await?,
        };
        self.learn(&block);
        Ok(block)
    }

    /// The block from the files that are listed; where one of them is gone, from
    /// those that are listed now.
    async fn listed(&self, server: Server<'_>, cid: &Cid) -> Result<Block, Fault> {
        let view = self.view();
        let mut found = view.block(server, cid).await;
        if matches!(found, Err(NotFound::Outdated))
            && let Some(newer) = self.newer(server, &view).await?
        {
            found = newer.block(server, cid).await;
        }
        found.map_err(|error| match error {
            NotFound::Outdated if server.swarm.is_some() => {
                Fault::Failed(swarm::NOT_FOUND.to_owned())
            }
            NotFound::Absent | NotFound::Outdated => Fault::Absent,
            NotFound::Fault(fault) => fault,
        })
    }

    /// What is listed now, where `old` has had its time.
    async fn newer(&self, server: Server<'_>, old: &Arc<View>) -> Result<Option<Arc<View>>, Fault> {
        let _only_one = self.renewing.lock().await;
        let now = self.view();
        if !Arc::ptr_eq(&now, old) {
            return Ok(Some(now));
        }
        if old.since.elapsed() < server.net.limits().renew_after {
            return Ok(None);
        }
        let newer = View::find(server).await?.map(Arc::new);
        if let Some(newer) = &newer {
            *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(newer);
        }
        Ok(newer)
    }

    fn view(&self) -> Arc<View> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&view)
    }

    /// A head says what the heads before it are numbered.
    fn learn(&self, block: &Block) {
        if Codec::of(block.cid()) != Some(Codec::DagCbor) {
            return;
        }
        let Ok(head) = Head::decode(block.clone()) else {
            return;
        };
        for (cid, sequence) in head.earlier() {
            self.remember(cid, sequence);
        }
    }

    fn remember(&self, cid: Cid, sequence: Sequence) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() >= HEADS_KNOWN {
            heads.clear();
        }
        heads.insert(cid, sequence);
    }

    fn number_of(&self, cid: &Cid) -> Option<Sequence> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.get(cid).copied()
    }
}

/// The head that an index on Swarm shows; `None` where nothing was ever shown.
pub async fn shown_on_swarm(server: Server<'_>, place: &SwarmPlace) -> Result<Option<Head>, Fault> {
    let index = swarm::index(server, place).await?;
    Ok(index.map(|index| index.head))
}

/// Number and CID of the current head, as the pointer file says.
pub async fn pointer(server: Server<'_>) -> Result<(Sequence, Cid), NetError> {
    let bytes = server.small("HEAD", MAX_POINTER).await?;
    let read = || {
        let text = std::str::from_utf8(&bytes).ok()?;
        let (number, cid) = text.trim_end().split_once(' ')?;
        Some((Sequence(number.parse().ok()?), cid.parse().ok()?))
    };
    read().ok_or_else(|| NetError::Unexpected("its HEAD names no head".to_owned()))
}

/// The head with this number and CID, from its file.
pub async fn head_file(server: Server<'_>, sequence: Sequence, cid: &Cid) -> Result<Block, Fault> {
    let path = format!("heads/{:010}.{cid}.head", sequence.0);
    let bytes = server
        .small(&path, MAX_BLOCK_READ as u64)
        .await
        .map_err(|error| fault_of(&error))?;
    Block::verify(cid, bytes).map_err(|error| fault_of_bytes(&error))
}

impl Server<'_> {
    /// A file of at most `most` bytes, whole.
    async fn small(self, path: &str, most: u64) -> Result<bytes::Bytes, NetError> {
        self.small_counted(path, most, &mut 0).await
    }

    /// The same; what came is added to `came`, however it ended.
    async fn small_counted(
        self,
        path: &str,
        most: u64,
        came: &mut u64,
    ) -> Result<bytes::Bytes, NetError> {
        let url = below(self.base, path)?;
        let mut tried = 0;
        loop {
            match self.small_once(&url, most, came).await {
                Err(error) if self.net.again(self.account, &mut tried, &error).await => {}
                other => return other,
            }
        }
    }

    async fn small_once(
        self,
        url: &Url,
        most: u64,
        came: &mut u64,
    ) -> Result<bytes::Bytes, NetError> {
        let Self {
            net, base, account, ..
        } = self;
        let answer = net.get(base, url, &HeaderMap::new(), account, most).await?;
        let mut body = answer.body;
        let whole = body.rest().await;
        *came += body.came();
        whole
    }
}
