//! How a mirror gets from the head it holds to the one it is offered.
//!
//! Always true:
//! - A head is followed only upwards, along a lineage that leads back to the one
//!   that is held, and only if no envelope is gone. What breaks this is an
//!   [`Alarm`], and both heads are the proof.
//! - A lineage is walked by links that heads sign; its length is bounded.

use serde::Serialize;

use super::ArchiveError;
use super::disk::fetch_head;
use super::head::{Head, Sequence};
use super::key::Key;
use super::watermark::Watermark;
use crate::blocks::{BlockSource, Cid};

/// Most heads followed one by one: three days of five-minute seals. Behind by
/// more, the trees are compared.
pub const MAX_REPLAY: u64 = 864;

/// Most heads fetched to see that one descends from another. Skip links make it
/// some dozens at any distance.
const MAX_STEPS: usize = 4_096;

/// Why a head is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// An earlier head than the one held is offered as the newest.
    #[error("rollback: head {offered} is offered, {held} was there before")]
    Rollback {
        /// Number of the head held.
        held: Sequence,
        /// Number of the head offered.
        offered: Sequence,
    },
    /// Two heads of one number, signed by one key.
    #[error("equivocation: two heads have number {sequence}, {held} and {other}")]
    Equivocation {
        /// Their number.
        sequence: Sequence,
        /// The one held.
        held: Cid,
        /// The other.
        other: Cid,
    },
    /// A later head is sealed up to an earlier time.
    #[error("the head is sealed up to {offered}, one before it up to {held}")]
    Backwards {
        /// Watermark of the head held.
        held: Watermark,
        /// Watermark of the head offered.
        offered: Watermark,
    },
    /// Envelopes of the head held are not in the one offered.
    #[error("{count} envelopes that were there are gone")]
    Dropped {
        /// How many.
        count: u64,
        /// The first of them, for the proof.
        some: Vec<Key>,
    },
}

/// How many dropped envelopes a proof names.
pub const PROOF_KEYS: usize = 1_000;

/// An alarm as it is kept.
#[derive(Debug, Serialize)]
pub struct Proof {
    /// What is wrong, in words.
    pub alarm: String,
    /// The head held: CID, and its block in hex.
    pub held: (String, String),
    /// The head offered.
    pub offered: (String, String),
    /// Hashes of envelopes that are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

impl Proof {
    /// The proof of an alarm.
    pub fn of(alarm: &Alarm, held: &Head, offered: &Head) -> Self {
        let told = |head: &Head| (head.cid().to_string(), hex::encode(head.block().bytes()));
        let dropped = match alarm {
            Alarm::Dropped { some, .. } => some.iter().map(|key| key.hash.to_string()).collect(),
            _ => Vec::new(),
        };
        Self {
            alarm: alarm.to_string(),
            held: told(held),
            offered: told(offered),
            dropped,
        }
    }
}

/// What leads from the head held to the one offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is the one held.
    Here,
    /// Through these, oldest first; the last is the one offered.
    Replay(Vec<Head>),
    /// Too far, or through heads that are not to be had: compare the trees.
    Compare,
}

/// Finds the way; `Ok(Err(_))` where there is none.
pub fn way(
    source: &dyn BlockSource,
    held: &Head,
    offered: &Head,
) -> Result<Result<Way, Alarm>, ArchiveError> {
    let (at, to) = (held.body().sequence, offered.body().sequence);
    if held.cid() == offered.cid() {
        return Ok(Ok(Way::Here));
    }
    if to < at {
        return Ok(Err(Alarm::Rollback {
            held: at,
            offered: to,
        }));
    }
    if to == at {
        return Ok(Err(equivocation(held, offered)));
    }
    let one_by_one = to.0 - at.0 <= MAX_REPLAY;
    let mut steps = vec![offered.clone()];
    let mut last = offered.clone();
    while last.body().sequence > at {
        let next = match before(source, &last, at, one_by_one) {
            Ok(Some(head)) => head,
            // The lineage is not to be had; the trees can still be compared.
            Ok(None) => return Ok(Ok(Way::Compare)),
            Err(error) if error.is_missing() => return Ok(Ok(Way::Compare)),
            Err(error) => return Err(error),
        };
        if last.body().watermark < next.body().watermark {
            return Ok(Err(Alarm::Backwards {
                held: next.body().watermark,
                offered: last.body().watermark,
            }));
        }
        if steps.len() >= MAX_STEPS {
            return Ok(Ok(Way::Compare));
        }
        steps.push(next.clone());
        last = next;
    }
    if last.cid() != held.cid() {
        return Ok(Err(equivocation(held, &last)));
    }
    if !one_by_one {
        return Ok(Ok(Way::Compare));
    }
    steps.pop();
    steps.reverse();
    Ok(Ok(Way::Replay(steps)))
}

fn equivocation(held: &Head, other: &Head) -> Alarm {
    Alarm::Equivocation {
        sequence: held.body().sequence,
        held: *held.cid(),
        other: *other.cid(),
    }
}

/// A head before `head`, not below number `floor`, by the longest step there is;
/// `None` where the lineage has none of the same key.
fn before(
    source: &dyn BlockSource,
    head: &Head,
    floor: Sequence,
    one_by_one: bool,
) -> Result<Option<Head>, ArchiveError> {
    let body = head.body();
    let back = 1u64 << body.sequence.0.trailing_zeros().min(63);
    let skips = !one_by_one
        && body
            .sequence
            .0
            .checked_sub(back)
            .is_some_and(|to| to >= floor.0);
    let (cid, number) = match (body.skip, body.prev) {
        (Some(skip), _) if skips => (skip, body.sequence.0 - back),
        (_, Some(prev)) => (prev, body.sequence.0 - 1),
        (_, None) => return Ok(None),
    };
    let found = fetch_head(source, &cid)?;
    // A lineage that lies about its numbers leads nowhere.
    if found.body().sequence.0 != number {
        return Err(ArchiveError::NotAsLinked { cid });
    }
    Ok((found.key() == head.key()).then_some(found))
}
