//! What a pool asks of a source on the network, whatever it speaks.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Account;
use super::net::{Net, NetError};
use crate::blocks::dag::DagWalk;
use crate::blocks::{Block, BlockError, Cid, Fault};

/// An answer that is waited for.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Block, Fault>> + Send + 'a>>;

/// A source on the network.
///
/// Whatever it gives was hashed, and what it did is in its account before anybody
/// else hears of it. It bounds by itself what it has under way, and how long it
/// waits.
pub trait Remote: Send + Sync {
    /// What it gave so far, under the name that its user gave it.
    fn account(&self) -> &Account;

    /// What it is reached over: where its work runs, and what ends its waits.
    fn net(&self) -> &Arc<Net>;

    /// Fetches one block, and notes what came of it.
    fn fetch<'a>(&'a self, cid: &'a Cid) -> Fetching<'a>;

    /// Notes that another source gave what this one was asked for first, after it
    /// had said nothing for `silence`.
    fn outrun(&self, cid: &Cid, silence: Duration) {
        let what = format!(
            "said nothing for {} s, while another source gave it",
            silence.as_secs_f64()
        );
        let rest = self.net().limits().rest;
        self.account().gave_none(cid, &Fault::Failed(what), rest);
    }

    /// Whether the DAG under `root` in one piece is worth asking it for.
    fn may_stream(&self, _root: &Cid) -> bool {
        false
    }

    /// Fetches a DAG in one piece where the source gives such; waits for it.
    fn stream(&self, _wanted: &mut Wanted<'_, '_>) -> Result<Streamed, Stopped> {
        Ok(Streamed::Short)
    }
}

/// How the blocks of one DAG ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streamed {
    /// The walk has all that is below the root, or its taker has enough.
    Enough,
    /// It ended before; what is wanted is to be fetched otherwise.
    Short,
}

/// A DAG that is wanted in one piece, and who wants it.
pub struct Wanted<'a, 'w> {
    /// Its root.
    pub root: &'a Cid,
    /// The way through it.
    pub walk: &'a mut DagWalk<'w>,
    /// Whether the walk left something out. What that leads to the walk cannot
    /// know, so a CAR is left there.
    pub skipped: &'a dyn Fn() -> bool,
    /// Takes each block; breaks off where it has enough.
    pub take: &'a mut dyn FnMut(Block) -> ControlFlow<()>,
    /// How long the source may say nothing at first, where there is another one to
    /// ask.
    pub patience: Option<Duration>,
}

/// Why a DAG did not come, or not as it should.
#[derive(Debug)]
pub enum Stopped {
    /// What came is not what it should be.
    Lied(Fault),
    /// The request failed.
    Net(NetError),
    /// The source said nothing for so long, and another one can be asked.
    Silent(Duration),
    /// The DAG itself is none that anybody should walk.
    Dag(BlockError),
}
