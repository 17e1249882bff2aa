//! What each source did.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::blocks::{Cid, Fault};

/// Lies of one source that are remembered word for word; the rest are counted.
const LIES_KEPT: usize = 8;

/// Failures in a row after which a source is left alone for a while: one may be
/// an accident, and each costs its retries.
const FAILURES_IN_A_ROW: u32 = 3;

/// What one source gave, and what it did instead.
#[derive(Debug)]
pub struct Account {
    name: String,
    requests: AtomicU64,
    blocks: AtomicU64,
    block_bytes: AtomicU64,
    wire_bytes: AtomicU64,
    absent: AtomicU64,
    failed: AtomicU64,
    standing: Mutex<Standing>,
}

/// Whether to ask it again.
#[derive(Debug, Default)]
struct Standing {
    lies: u64,
    told: Vec<Lie>,
    in_a_row: u32,
    last_failure: Option<String>,
    rests_until: Option<Instant>,
    /// Its DAGs in one piece are not worth asking for: it gives none, or some in
    /// a row broke off.
    without_dags: bool,
    dags_failed_in_a_row: u32,
    broken_dags: HashSet<Cid>,
}

/// One lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lie {
    /// The block it was asked for.
    pub cid: String,
    /// What it did.
    pub what: String,
}

/// An account as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// The source, as its user named it.
    pub source: String,
    /// Requests answered, redirects included; 0 where none are needed.
    pub requests: u64,
    /// Blocks it gave, each verified.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of bodies received, whatever they were.
    pub received: u64,
    /// How often it said that it does not have a block.
    pub absent: u64,
    /// How often it could not be reached, or broke off.
    pub failed: u64,
    /// How often it lied.
    pub lies: u64,
    /// The first lies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lied: Vec<Lie>,
    /// Why it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

impl Account {
    /// The account of a source nobody has asked yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            requests: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            block_bytes: AtomicU64::new(0),
            wire_bytes: AtomicU64::new(0),
            absent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            standing: Mutex::default(),
        }
    }

    /// The source, as its user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request was answered, whatever the answer.
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of a body came.
    pub fn received(&self, bytes: u64) {
        self.wire_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It gave a block that was found right.
    pub fn gave(&self, bytes: u64) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.block_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.standing().in_a_row = 0;
    }

    /// It gave no block; after some failures it rests for `rest`.
    pub fn gave_none(&self, cid: &Cid, fault: &Fault, rest: Duration) {
        let mut standing = self.standing();
        match fault {
            Fault::Absent => {
                self.absent.fetch_add(1, Ordering::Relaxed);
                standing.in_a_row = 0;
            }
            Fault::Failed(what) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                standing.in_a_row += 1;
                standing.last_failure = Some(what.clone());
                if standing.in_a_row >= FAILURES_IN_A_ROW {
                    standing.rests_until = Instant::now().checked_add(rest);
                }
            }
            Fault::Lied(what) => {
                standing.lies += 1;
                tracing::warn!(source = self.name, %cid, "lied: {what}");
                if standing.told.len() < LIES_KEPT {
                    standing.told.push(Lie {
                        cid: cid.to_string(),
                        what: what.clone(),
                    });
                }
            }
        }
    }

    /// Why it is not to be asked now; `None` where it may be. A liar is not asked
    /// again as long as this account lives.
    pub fn is_out(&self) -> Option<Fault> {
        let standing = self.standing();
        if let Some(lie) = standing.told.first() {
            return Some(Fault::Lied(format!("{} (about {})", lie.what, lie.cid)));
        }
        let resting = standing
            .rests_until
            .is_some_and(|until| Instant::now() < until);
        resting.then(|| Fault::Failed(standing.last_failure.clone().unwrap_or_default()))
    }

    /// Whether a DAG under `root` in one piece is worth asking it for.
    pub fn may_stream(&self, root: &Cid) -> bool {
        let standing = self.standing();
        !standing.without_dags && !standing.broken_dags.contains(root)
    }

    /// It gives no DAGs in one piece.
    pub fn streams_none(&self) {
        self.standing().without_dags = true;
    }

    /// It gave a DAG in one piece.
    pub fn streamed(&self) {
        self.standing().dags_failed_in_a_row = 0;
    }

    /// The DAG under `root` did not come, or not all of it.
    pub fn broke_off(&self, root: &Cid) {
        self.standing().broken_dags.insert(*root);
    }

    /// The DAG under `root` did not come because the source failed; after some in
    /// a row none is worth asking for. Blocks between them prove nothing: a source
    /// may give the first one of each DAG, and then keep silent.
    pub fn failed_dag(&self, root: &Cid, fault: &Fault, rest: Duration) {
        self.broke_off(root);
        {
            let mut standing = self.standing();
            standing.dags_failed_in_a_row += 1;
            standing.without_dags |= standing.dags_failed_in_a_row >= FAILURES_IN_A_ROW;
        }
        self.gave_none(root, fault, rest);
    }

    /// How it stands.
    pub fn balance(&self) -> Balance {
        let standing = self.standing();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Balance {
            source: self.name.clone(),
            requests: read(&self.requests),
            blocks: read(&self.blocks),
            bytes: read(&self.block_bytes),
            received: read(&self.wire_bytes),
            absent: read(&self.absent),
            failed: read(&self.failed),
            lies: standing.lies,
            lied: standing.told.clone(),
            last_failure: standing.last_failure.clone(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            requests,
            blocks,
            bytes,
            received,
            absent,
            failed,
            lies,
            ..
        } = self;
        write!(f, "{source}: blocks {blocks} bytes {bytes}")?;
        if *requests > 0 {
            write!(f, " requests {requests} received {received}")?;
        }
        for (what, count) in [("absent", absent), ("failed", failed), ("lies", lies)] {
            if *count > 0 {
                write!(f, " {what} {count}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Block, Codec};

    const REST: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_liar_is_out_for_good_and_says_what_it_did() {
        let account = Account::new("a");
        let cid = *Block::new(Codec::Raw, &b"x"[..]).cid();
        account.gave_none(&cid, &Fault::Lied("forged".to_owned()), REST);
        account.gave(10);
        let Some(Fault::Lied(what)) = account.is_out() else {
            panic!("a liar may be asked again");
        };
        assert!(what.contains("forged") && what.contains(&cid.to_string()));
        let balance = account.balance();
        assert_eq!((balance.lies, balance.blocks, balance.bytes), (1, 1, 10));
    }

    #[test]
    fn failures_in_a_row_earn_a_rest_and_single_ones_do_not() {
        let account = Account::new("a");
        let cid = *Block::new(Codec::Raw, &b"x"[..]).cid();
        let fails = || account.gave_none(&cid, &Fault::Failed("down".to_owned()), REST);
        for _ in 0..10 {
            fails();
            fails();
            account.gave(1);
            assert_eq!(account.is_out(), None);
        }
        fails();
        fails();
        fails();
        assert_eq!(account.is_out(), Some(Fault::Failed("down".to_owned())));
        account.gave_none(&cid, &Fault::Absent, REST);
        assert!(account.is_out().is_some(), "a rest is rested out");
    }

    #[test]
    fn dags_that_fail_in_a_row_are_asked_for_no_more_and_single_ones_are() {
        let account = Account::new("a");
        let root = |n: u32| *Block::new(Codec::Raw, n.to_be_bytes().to_vec()).cid();
        let fails = |n| {
            account.gave(1);
            let fault = Fault::Failed("silent".to_owned());
            account.failed_dag(&root(n), &fault, REST);
        };
        for n in 0..10 {
            fails(2 * n);
            fails(2 * n + 1);
            assert!(!account.may_stream(&root(2 * n)));
            assert!(account.may_stream(&root(99)));
            account.streamed();
        }
        fails(20);
        fails(21);
        fails(22);
        assert!(!account.may_stream(&root(99)));
        assert_eq!(account.is_out(), None, "its blocks may be asked for");
    }
}
