//! A source behind a URL, whatever stands there: a trustless gateway, or a public
//! folder on a plain web server.
//!
//! Which it is shows at the first block: who has no `/ipfs/` is asked for the
//! catalogues of a folder.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, Semaphore};
use url::Url;

use super::Account;
use super::gateway::{self, fault_of, fault_of_bytes};
use super::net::{Net, NetError};
use super::remote::{Fetching, Remote, Stopped, Streamed, Wanted};
use super::site::{Server, Site};
use crate::archive::head::Head;
use crate::blocks::{Block, Cid, Fault};
use crate::swarm::{SwarmAddress, SwarmPlace};

/// A source behind a URL.
#[derive(Debug)]
pub struct HttpSource {
    net: Arc<Net>,
    base: Url,
    account: Arc<Account>,
    /// Requests that may be under way.
    permits: Semaphore,
    /// The folder of files that was found there; `None` where there is none.
    site: OnceCell<Option<Site>>,
    /// Where on Swarm the archive is, where this is a node or gateway of it. The
    /// base has it behind a `#`.
    swarm: Option<SwarmPlace>,
    /// Its newest head that is copied and recomputed.
    verified: Arc<Mutex<Option<Head>>>,
}

impl HttpSource {
    /// The source at `base`, which ends with a slash; nothing is asked yet.
    pub fn new(net: Arc<Net>, base: Url) -> Self {
        let name = base.as_str().trim_end_matches('/').to_owned();
        Self::with_account(net, base, None, Arc::new(Account::new(name)))
    }

    /// An archive on Swarm; nothing is asked yet.
    pub fn on_swarm(net: Arc<Net>, address: &SwarmAddress) -> Self {
        let account = Arc::new(Account::new(address.to_string()));
        Self::with_account(net, address.url(), Some(address.place), account)
    }

    /// The same source, with the same account, that looks anew for what is there:
    /// a folder that was brought up to date has other files.
    pub fn anew(&self) -> Self {
        let account = Arc::clone(&self.account);
        let net = Arc::clone(&self.net);
        Self {
            verified: Arc::clone(&self.verified),
            ..Self::with_account(net, self.base.clone(), self.swarm, account)
        }
    }

    /// `head`, which it told, is copied and recomputed: its server is told so when it is
    /// asked for the next one, and answers in a few bytes where that is still the newest.
    pub fn is_verified(&self, head: &Head) {
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.clone());
    }

    pub(super) fn verified(&self) -> Option<Head> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.clone()
    }

    fn with_account(
        net: Arc<Net>,
        base: Url,
        swarm: Option<SwarmPlace>,
        account: Arc<Account>,
    ) -> Self {
        let permits = Semaphore::new(net.limits().in_flight);
        Self {
            net,
            base,
            account,
            permits,
            site: OnceCell::new(),
            swarm,
            verified: Arc::default(),
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

    pub(super) fn server(&self) -> Server<'_> {
        Server {
            net: &self.net,
            base: &self.base,
            account: &self.account,
            swarm: self.swarm.as_ref(),
        }
    }

    /// Where on Swarm it is, where it is there.
    pub(super) fn swarm(&self) -> Option<&SwarmPlace> {
        self.swarm.as_ref()
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
            return site.block(self.server(), cid).await;
        }
        if self.swarm.is_some() {
            let site = self.find_site().await?.ok_or(Fault::Absent)?;
            return site.block(self.server(), cid).await;
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
            return site.block(self.server(), cid).await;
        }
        Err(fault_of(&error))
    }

    /// Looks for a folder's catalogues, once.
    async fn find_site(&self) -> Result<Option<&Site>, Fault> {
        let found = self
            .site
            .get_or_try_init(|| Site::find(self.server()))
            .await?;
        Ok(found.as_ref())
    }
}

impl Remote for HttpSource {
    fn account(&self) -> &Account {
        &self.account
    }

    fn net(&self) -> &Arc<Net> {
        &self.net
    }

    fn fetch<'a>(&'a self, cid: &'a Cid) -> Fetching<'a> {
        Box::pin(Self::fetch(self, cid))
    }

    fn may_stream(&self, root: &Cid) -> bool {
        let is_a_folder = self.swarm.is_some() || matches!(self.site.get(), Some(Some(_)));
        !is_a_folder && self.account.may_stream(root) && self.account.is_out().is_none()
    }

    fn stream(&self, wanted: &mut Wanted<'_, '_>) -> Result<Streamed, Stopped> {
        let root = wanted.root;
        if !self.may_stream(root) {
            return Ok(Streamed::Short);
        }
        let streamed = gateway::dag(&self.net, &self.base, &self.account, wanted);
        let rest = self.net.limits().rest;
        match &streamed {
            Ok(Streamed::Enough) => self.account.streamed(),
            Ok(Streamed::Short) => self.account.broke_off(root),
            Err(Stopped::Dag(_) | Stopped::Silent(_)) => {}
            Err(Stopped::Lied(fault)) => self.account.gave_none(root, fault, rest),
            Err(Stopped::Net(error)) => match says_of_dags(error) {
                OfDags::GivesNone => self.account.streams_none(),
                // The blocks are asked for one by one, and it is told then.
                OfDags::NotThisOne => self.account.broke_off(root),
                OfDags::Failed => self.account.failed_dag(root, &fault_of(error), rest),
            },
        }
        streamed
    }
}

/// What an answer without a CAR says of those to come.
enum OfDags {
    /// There are none.
    GivesNone,
    /// There may be others.
    NotThisOne,
    /// Nothing: the source failed.
    Failed,
}

fn says_of_dags(error: &NetError) -> OfDags {
    match error {
        NetError::Status {
            code: 400 | 405 | 406 | 415 | 501,
            ..
        }
        | NetError::Unexpected(_) => OfDags::GivesNone,
        error if error.is_transient() => OfDags::Failed,
        NetError::Status { .. } => OfDags::NotThisOne,
        _ => OfDags::Failed,
    }
}
