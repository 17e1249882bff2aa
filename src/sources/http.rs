//! A source behind a URL, whatever stands there: a trustless gateway, or a public
//! folder on a plain web server.
//!
//! Which it is shows at the first block: who has no `/ipfs/` is asked for the
//! catalogues of a folder.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};
use url::Url;

use super::Account;
use super::gateway::{self, Stopped, Streamed, fault_of, fault_of_bytes};
use super::net::{Net, NetError};
use super::site::Site;
use crate::blocks::dag::DagWalk;
use crate::blocks::{Block, Cid, Fault};

/// A source behind a URL.
#[derive(Debug)]
pub struct HttpSource {
    net: Arc<Net>,
    base: Url,
    account: Account,
    /// Requests that may be under way.
    permits: Semaphore,
    /// The folder of files that was found there; `None` where there is none.
    site: OnceCell<Option<Site>>,
}

impl HttpSource {
    /// The source at `base`, which ends with a slash; nothing is asked yet.
    pub fn new(net: Arc<Net>, base: Url) -> Self {
        let name = base.as_str().trim_end_matches('/').to_owned();
        let permits = Semaphore::new(net.limits().in_flight);
        Self {
            net,
            base,
            account: Account::new(name),
            permits,
            site: OnceCell::new(),
        }
    }

    /// What it gave so far.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Where it is.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// What it is reached over.
    pub fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// Fetches one block, and notes what came of it.
    pub async fn fetch(&self, cid: &Cid) -> Result<Block, Fault> {
        let _permit = self.permits.acquire().await.map_err(|closed| {
            // Never closed as long as this lives.
            Fault::Failed(closed.to_string())
        })?;
        // While this one waited, others may have found the source out.
        if let Some(out) = self.account.is_out() {
            return Err(out);
        }
        let fetched = self.fetch_unnoted(cid).await;
        match &fetched {
            Ok(block) => self.account.gave(block.bytes().len() as u64),
            Err(fault) => self.account.gave_none(cid, fault, self.net.limits().rest),
        }
        fetched
    }

    async fn fetch_unnoted(&self, cid: &Cid) -> Result<Block, Fault> {
        if let Some(Some(site)) = self.site.get() {
            return site.block(&self.net, &self.base, &self.account, cid).await;
        }
        let asked = gateway::block(&self.net, &self.base, &self.account, cid).await;
        let error = match asked {
            Ok(bytes) => return Block::verify(cid, bytes).map_err(|e| fault_of_bytes(&e)),
            Err(error) => error,
        };
        // A web server that knows no gateway's paths says that there is nothing,
        // or shows a page; it is a gateway where it never gave a catalogue.
        let may_be_a_folder = error.is_absent() || matches!(error, NetError::Unexpected(_));
        if may_be_a_folder && let Some(site) = self.find_site().await? {
            return site.block(&self.net, &self.base, &self.account, cid).await;
        }
        Err(fault_of(&error))
    }

    /// Looks for a folder's catalogues, once.
    async fn find_site(&self) -> Result<Option<&Site>, Fault> {
        let found = self
            .site
            .get_or_try_init(|| Site::find(&self.net, &self.base, &self.account))
            .await
            .map_err(|error| fault_of(&error))?;
        Ok(found.as_ref())
    }

    /// Fetches the DAG under `root` in one piece where the source gives such.
    pub(super) fn stream(
        &self,
        root: &Cid,
        walk: &mut DagWalk<'_>,
        skipped: &dyn Fn() -> bool,
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<Streamed, Stopped> {
        let is_a_folder = matches!(self.site.get(), Some(Some(_)));
        if is_a_folder || !self.account.may_stream(root) || self.account.is_out().is_some() {
            return Ok(Streamed::Short);
        }
        let streamed = gateway::dag(
            &self.net,
            &self.base,
            &self.account,
            root,
            walk,
            skipped,
            take,
        );
        match &streamed {
            Ok(Streamed::Enough) | Err(Stopped::Dag(_)) => {}
            Ok(Streamed::Short) => self.account.broke_off(root),
            Err(Stopped::Fault(fault @ Fault::Lied(_))) => {
                self.account.gave_none(root, fault, self.net.limits().rest);
            }
            // The blocks are asked for one by one, and it is told then.
            Err(Stopped::Fault(Fault::Absent | Fault::Failed(_))) => {
                self.account.broke_off(root);
            }
        }
        streamed
    }
}
