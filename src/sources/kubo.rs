//! A Kubo node as a source: its blocks by its RPC, DAGs as the CAR that it exports.
//!
//! What it lacks it looks for in the network, where it may. A block that it does not
//! find in time it does not have.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::Account;
use super::gateway::{PIECES_WAITING, fault_of_bytes, read_pieces};
use super::net::{Net, NetError};
use super::remote::{Fetching, Remote, Stopped, Streamed, Wanted};
use crate::blocks::{Block, Cid, Fault};
use crate::kubo::{Kubo, KuboError};

/// A Kubo node as a source.
#[derive(Debug)]
pub struct KuboSource {
    net: Arc<Net>,
    client: Kubo,
    account: Account,
    offline: bool,
    /// Requests that may be under way.
    permits: Semaphore,
}

impl KuboSource {
    /// A node that may look in the network for what it lacks.
    pub fn new(net: Arc<Net>, client: Kubo) -> Self {
        Self::asked(net, client, false)
    }

    /// A node that gives what it has.
    pub fn offline(net: Arc<Net>, client: Kubo) -> Self {
        Self::asked(net, client, true)
    }

    fn asked(net: Arc<Net>, client: Kubo, offline: bool) -> Self {
        Self {
            net,
            account: Account::new(client.name()),
            offline,
            permits: Semaphore::new(client.limits().in_flight),
            client,
        }
    }

    async fn fetch_noted(&self, cid: &Cid) -> Result<Block, Fault> {
        let _permit = self.permits.acquire().await.map_err(|closed| {
            // Never closed as long as this lives.
            Fault::Failed(closed.to_string())
        })?;
        // While this one waited, others may have found the source out.
        if let Some(out) = self.account.is_out() {
            return Err(out);
        }
        let fetched = match self.block(cid).await {
            Ok(bytes) => Block::verify(cid, bytes).map_err(|error| fault_of_bytes(&error)),
            Err(error) => Err(fault_of(&error)),
        };
        match &fetched {
            Ok(block) => self.account.gave(block.bytes().len() as u64),
            Err(fault) => self.account.gave_none(cid, fault, self.net.limits().rest),
        }
        fetched
    }

    async fn block(&self, cid: &Cid) -> Result<Bytes, KuboError> {
        // What it has it gives at once, whatever its network is like.
        match self.block_tried(cid, true).await {
            Err(error) if error.is_missing() && !self.offline => self.block_tried(cid, false).await,
            other => other,
        }
    }

    async fn block_tried(&self, cid: &Cid, offline: bool) -> Result<Bytes, KuboError> {
        let mut tried = 0;
        loop {
            let answer = self.client.block_get(cid, offline).await;
            self.account.request();
            match answer {
                Err(error)
                    if self
                        .net
                        .again(&self.account, &mut tried, &told(&error))
                        .await => {}
                Ok(bytes) => {
                    self.account.received(bytes.len() as u64);
                    return Ok(bytes);
                }
                other => return other,
            }
        }
    }

    /// Sends on the pieces of a CAR as they come.
    async fn pump(
        &self,
        root: &Cid,
        patience: Option<std::time::Duration>,
        pieces: mpsc::Sender<Bytes>,
    ) -> Result<(), Failed> {
        let begin = async {
            let mut answer = self.client.dag_export(root, self.offline).await?;
            self.account.request();
            let first = answer.chunk().await?;
            Ok::<_, KuboError>((answer, first))
        };
        let (mut answer, mut next) = match patience {
            None => begin.await,
            Some(patience) => match timeout(patience, begin).await {
                Err(_) => return Err(Failed::Silent(patience)),
                Ok(begun) => begun,
            },
        }?;
        while let Some(piece) = next {
            self.account.received(piece.len() as u64);
            if pieces.send(piece).await.is_err() {
                return Ok(());
            }
            // A reader that has enough waits for nothing more.
            next = tokio::select! {
                () = pieces.closed() => return Ok(()),
                piece = answer.chunk() => piece?,
            };
        }
        Ok(())
    }
}

/// Why a CAR did not come.
enum Failed {
    Silent(std::time::Duration),
    Kubo(KuboError),
}

impl From<KuboError> for Failed {
    fn from(error: KuboError) -> Self {
        Self::Kubo(error)
    }
}

impl Remote for KuboSource {
    fn account(&self) -> &Account {
        &self.account
    }

    fn net(&self) -> &Arc<Net> {
        &self.net
    }

    fn fetch<'a>(&'a self, cid: &'a Cid) -> Fetching<'a> {
        Box::pin(self.fetch_noted(cid))
    }

    fn may_stream(&self, root: &Cid) -> bool {
        self.account.may_stream(root) && self.account.is_out().is_none()
    }

    fn stream(&self, wanted: &mut Wanted<'_, '_>) -> Result<Streamed, Stopped> {
        let root = *wanted.root;
        if !self.may_stream(&root) {
            return Ok(Streamed::Short);
        }
        let patience = wanted.patience;
        let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
        let (read, pumped) = std::thread::scope(|threads| {
            // The request lives on the threads of `net`; this one reads what comes.
            let fetch = threads.spawn(|| {
                let handle = self.net.handle();
                handle.block_on(self.pump(&root, patience, pieces))
            });
            let read = read_pieces(waiting, &self.account, wanted);
            match fetch.join() {
                Ok(pumped) => (read, pumped),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        let rest = self.net.limits().rest;
        match (&read, pumped) {
            (Ok(Streamed::Enough), _) => self.account.streamed(),
            (Ok(Streamed::Short), Err(Failed::Silent(silence))) => {
                return Err(Stopped::Silent(silence));
            }
            (Ok(Streamed::Short), Err(Failed::Kubo(error))) => {
                match &error {
                    // The blocks are asked for one by one, and it is told then.
                    KuboError::Missing(_) | KuboError::Failed(_) => self.account.broke_off(&root),
                    error => self.account.failed_dag(&root, &fault_of(error), rest),
                }
                return Err(Stopped::Net(told(&error)));
            }
            (Ok(Streamed::Short), Ok(())) => self.account.broke_off(&root),
            (Err(Stopped::Lied(fault)), _) => self.account.gave_none(&root, fault, rest),
            (Err(_), _) => {}
        }
        read
    }
}

fn fault_of(error: &KuboError) -> Fault {
    match error {
        error if error.is_missing() => Fault::Absent,
        // It looked in the network for as long as it was let.
        KuboError::Failed(text) if text.contains("deadline exceeded") => Fault::Absent,
        other => Fault::Failed(other.to_string()),
    }
}

/// The same failure, as a way to sources tells of it.
fn told(error: &KuboError) -> NetError {
    match error {
        KuboError::Away(text) => NetError::Broken(text.clone()),
        KuboError::NotUnderstood(_) => NetError::Unexpected(error.to_string()),
        other => NetError::Refused(other.to_string()),
    }
}
