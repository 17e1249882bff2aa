//! Several sources as one.
//!
//! Always true:
//! - A block is given only when it was verified, whoever it came from.
//! - What is on this machine is looked through first, then the cache, where there
//!   is one; sources on the network are asked in the order given, the next one
//!   where one has not the block, fails, lies, or keeps silent for a while.
//! - The cache keeps what came over the network, and nothing else.
//! - A liar is not asked again. A block is missing only when every source was
//!   asked and says so; any other failure names who did what.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::account::{Account, Balance};
use super::cache::{BlockCache, Cache};
use super::net::Net;
use super::remote::{Remote, Stopped, Wanted};
use crate::blocks::dag::{self, DagWalk};
use crate::blocks::{Block, BlockError, BlockSource, Cid, Fault, Refusal, has_by_getting};

/// Blocks under way from all sources together: two sources' worth. Where each has
/// the 2 MiB that a block may have, that is 128 MiB.
const UNDER_WAY: usize = 64;

/// Blocks that may wait to be taken.
const WAITING: usize = 16;

/// Sources as one.
#[derive(Default)]
pub struct Pool {
    locals: Vec<Local>,
    cache: Option<Cache>,
    remotes: Arc<Remotes>,
}

struct Local {
    source: Box<dyn BlockSource>,
    account: Account,
}

#[derive(Default)]
struct Remotes {
    members: Vec<Arc<dyn Remote>>,
    net: Option<Arc<Net>>,
}

impl Pool {
    /// Adds a source on this machine, under a name that messages tell.
    pub fn add_local(&mut self, name: impl Into<String>, source: Box<dyn BlockSource>) {
        self.locals.push(Local {
            source,
            account: Account::new(name),
        });
    }

    /// Adds a source on the network; one that is there already is not added.
    pub fn add_remote(&mut self, source: Arc<dyn Remote>) {
        let known = |member: &Arc<dyn Remote>| member.account().name() == source.account().name();
        if self.remotes.members.iter().any(known) {
            return;
        }
        let mut members = self.remotes.members.clone();
        let net = Some(Arc::clone(source.net()));
        members.push(source);
        self.remotes = Arc::new(Remotes { members, net });
    }

    /// Keeps in `cache` what comes over the network, and looks there first.
    pub fn set_cache(&mut self, cache: BlockCache) {
        self.cache = Some(Cache::new(cache));
    }

    /// What each source did, in the order in which they are asked.
    pub fn balances(&self) -> Vec<Balance> {
        let locals = self.locals.iter().map(|local| local.account.balance());
        let remotes = self.remotes.members.iter();
        locals
            .chain(self.cache.iter().map(Cache::balance))
            .chain(remotes.map(|member| member.account().balance()))
            .collect()
    }

    /// Whether anything is fetched over the network.
    pub fn is_remote(&self) -> bool {
        !self.remotes.members.is_empty()
    }

    /// Whether there is nobody to ask.
    pub fn is_empty(&self) -> bool {
        self.locals.is_empty() && !self.is_remote()
    }

    /// The block from this machine, or why not.
    fn find(&self, cid: &Cid) -> Result<Block, BlockError> {
        let mut by = Vec::new();
        for local in &self.locals {
            let error = match local.source.get(cid) {
                Ok(block) => {
                    local.account.gave(block.bytes().len() as u64);
                    return Ok(block);
                }
                Err(error) => error,
            };
            if self.locals.len() == 1 && !self.is_remote() {
                // There is nobody else whose failure could be told.
                return Err(error);
            }
            let fault = match &error {
                BlockError::ForeignCid { .. } => return Err(error),
                error if error.is_missing() => Fault::Absent,
                error if error.is_corrupt() => Fault::Lied(error.to_string()),
                error => Fault::Failed(error.to_string()),
            };
            local
                .account
                .gave_none(cid, &fault, std::time::Duration::ZERO);
            by.push(Refusal {
                source: local.account.name().to_owned(),
                fault,
            });
        }
        Err(BlockError::Unavailable { cid: *cid, by })
    }

    fn holds(&self, cid: &Cid) -> bool {
        let mut locals = self.locals.iter();
        locals.any(|local| local.source.has(cid).unwrap_or(false))
    }

    /// Each block from this machine, out of `cache`, or from far.
    fn each(
        &self,
        cids: &[Cid],
        cache: Option<&Cache>,
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let mut far = Vec::new();
        for cid in cids {
            let near = match self.find(cid) {
                Err(BlockError::Unavailable { cid, by }) if self.is_remote() => {
                    let kept = cache.and_then(|cache| cache.find(&cid));
                    kept.ok_or((cid, by))
                }
                found => Ok(found?),
            };
            match near {
                Ok(block) => {
                    if take(block).is_break() {
                        return Ok(());
                    }
                }
                Err(wanted) => far.push(wanted),
            }
        }
        let Some(net) = self.remotes.net.as_ref().filter(|_| !far.is_empty()) else {
            return Ok(());
        };
        let (out, mut blocks) = mpsc::channel(WAITING);
        let driver = net.handle().spawn(Arc::clone(&self.remotes).each(far, out));
        while let Some(fetched) = blocks.blocking_recv() {
            let block = fetched?;
            if let Some(cache) = cache {
                cache.keep(&block);
            }
            if take(block).is_break() {
                return Ok(());
            }
        }
        match net.handle().block_on(driver) {
            Err(error) => std::panic::resume_unwind(error.into_panic()),
            Ok(()) => Ok(()),
        }
    }

    fn one(&self, cid: &Cid, cache: Option<&Cache>) -> Result<Block, BlockError> {
        let mut found = Err(BlockError::Missing { cid: *cid });
        self.each(&[*cid], cache, &mut |block| {
            found = Ok(block);
            ControlFlow::Break(())
        })?;
        found
    }

    /// Asks for a DAG in one piece, one source after another, until one gave its
    /// root. One that gave nothing was no use; what one began is finished block by
    /// block, from whoever has them.
    fn stream(
        &self,
        wanted: &mut Wanted<'_, '_>,
        enough: &dyn Fn() -> bool,
    ) -> Result<(), BlockError> {
        let members = &self.remotes.members;
        let root = wanted.root;
        let mut silent = Vec::new();
        for (at, member) in members.iter().enumerate() {
            let mut others = members[at + 1..].iter();
            let is_last = !others.any(|next| next.may_stream(root));
            wanted.patience = (!is_last).then(|| self.remotes.hedge_after());
            match member.stream(wanted) {
                Err(Stopped::Dag(error)) => return Err(error),
                Err(Stopped::Silent(silence)) => silent.push((member, silence)),
                _ => {}
            }
            if enough() || wanted.walk.has_passed(root) {
                for (slower, silence) in silent {
                    slower.outrun(root, silence);
                }
                break;
            }
        }
        Ok(())
    }
}

/// The sources of a pool without its cache: a whole DAG is more than a cache is
/// for, so its blocks are neither looked for there nor kept.
struct Uncached<'p>(&'p Pool);

impl BlockSource for Uncached<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.0.one(cid, None)
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        self.0.has(cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.0.each(cids, None, take)
    }
}

impl BlockSource for Pool {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        self.one(cid, self.cache.as_ref())
    }

    /// On the network it costs as much as to get it.
    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        if self.holds(cid) {
            return Ok(true);
        }
        if !self.is_remote() {
            return Ok(false);
        }
        if self.cache.as_ref().is_some_and(|cache| cache.holds(cid)) {
            return Ok(true);
        }
        has_by_getting(self, cid)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        self.each(cids, self.cache.as_ref(), take)
    }

    fn get_dag(
        &self,
        root: &Cid,
        skip: &dyn Fn(&Cid) -> bool,
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let skipped = Cell::new(false);
        let noting = |cid: &Cid| {
            let yes = skip(cid);
            skipped.set(skipped.get() || yes);
            yes
        };
        let mut walk = DagWalk::new(root, &noting)?;
        let enough = Cell::new(false);
        let mut take = |block: Block| {
            let flow = take(block);
            enough.set(enough.get() || flow.is_break());
            flow
        };
        if !walk.is_finished() && !self.holds(root) {
            let mut wanted = Wanted {
                root,
                walk: &mut walk,
                skipped: &|| skipped.get(),
                take: &mut take,
                patience: None,
            };
            self.stream(&mut wanted, &|| enough.get())?;
        }
        if enough.get() || walk.is_finished() {
            return Ok(());
        }
        dag::walk_on(&Uncached(self), &mut walk, &mut take)
    }
}

impl Remotes {
    /// Sends each block, in any order, until one cannot be had or nobody listens.
    async fn each(
        self: Arc<Self>,
        wanted: Vec<(Cid, Vec<Refusal>)>,
        out: mpsc::Sender<Result<Block, BlockError>>,
    ) {
        let mut wanted = wanted.into_iter();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < UNDER_WAY
                && let Some((cid, by)) = wanted.next()
            {
                tasks.spawn(Arc::clone(&self).fetch(cid, by));
            }
            let fetched = tokio::select! {
                () = out.closed() => return,
                fetched = tasks.join_next() => fetched,
            };
            let Some(fetched) = fetched else {
                return;
            };
            if out.send(joined(fetched)).await.is_err() {
                return;
            }
        }
    }

    /// Asks one source after another, and the next one too where one keeps silent.
    /// One that is then outrun has failed: else each block would wait for it again.
    async fn fetch(self: Arc<Self>, cid: Cid, mut by: Vec<Refusal>) -> Result<Block, BlockError> {
        let mut untried = Vec::new();
        for member in &self.members {
            match member.account().is_out() {
                None => untried.push(Arc::clone(member)),
                Some(fault) => by.push(refusal(&**member, fault)),
            }
        }
        let mut asking = Asking {
            cid,
            untried: untried.into_iter(),
            asked: JoinSet::new(),
            waiting: Vec::new(),
        };
        let hedge = self.hedge_after();
        loop {
            if asking.asked.is_empty() && !asking.ask_next() {
                return Err(BlockError::Unavailable { cid, by });
            }
            let (member, answer) = tokio::select! {
                Some(answer) = asking.asked.join_next() => joined(answer),
                () = tokio::time::sleep(hedge), if asking.untried.len() > 0 => {
                    for (_, is_late) in &mut asking.waiting {
                        *is_late = true;
                    }
                    asking.ask_next();
                    continue;
                }
            };
            asking.waiting.retain(|(of, _)| !Arc::ptr_eq(of, &member));
            match answer {
                Ok(block) => {
                    let late = asking.waiting.iter().filter(|(_, is_late)| *is_late);
                    late.for_each(|(slower, _)| slower.outrun(&cid, hedge));
                    return Ok(block);
                }
                Err(fault) => {
                    by.push(refusal(&*member, fault));
                    asking.ask_next();
                }
            }
        }
    }

    fn hedge_after(&self) -> std::time::Duration {
        let net = self.net.as_ref();
        net.map_or(std::time::Duration::MAX, |net| net.limits().hedge_after)
    }
}

type Asked = (Arc<dyn Remote>, Result<Block, Fault>);

/// One block that sources are asked for, one after another.
struct Asking {
    cid: Cid,
    untried: std::vec::IntoIter<Arc<dyn Remote>>,
    asked: JoinSet<Asked>,
    /// Those who did not answer yet, and whether another one was asked because of
    /// that.
    waiting: Vec<(Arc<dyn Remote>, bool)>,
}

impl Asking {
    /// Asks one more source; false where there is none.
    fn ask_next(&mut self) -> bool {
        let Some(member) = self.untried.next() else {
            return false;
        };
        self.waiting.push((Arc::clone(&member), false));
        let cid = self.cid;
        self.asked.spawn(async move {
            let answer = member.fetch(&cid).await;
            (member, answer)
        });
        true
    }
}

fn refusal(member: &dyn Remote, fault: Fault) -> Refusal {
    Refusal {
        source: member.account().name().to_owned(),
        fault,
    }
}

/// A task's outcome. Tasks are never cancelled while somebody waits for them.
fn joined<T>(outcome: Result<T, JoinError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
