//! Which head has a number, where several machines have one archive's key.
//!
//! A claim is an entry that is created and never replaced: `claims/<number>` holds the
//! head that has this number. Whoever signs claims first, and stores and shows the
//! head only then.
//!
//! Always true:
//! - A number has one head, whatever clocks, pauses and cut lines do: of several who
//!   create the entry one alone succeeds, and nobody shows a head that it did not
//!   claim.
//! - All that a claimed head reaches was in the depot before: whoever finds the claim
//!   goes on from it, though the machine that made it is gone.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::lease::Token;
use super::registry::Registry;
use super::{Depot, DepotError};
use crate::archive::head::{Head, Sequence};
use crate::blocks::{Block, BlockError, BlockSource, Cid, Codec, Fault, Refusal};

/// First line of a claim.
const FIRST_LINE: &str = "gwa claim 1";

/// Most claims that are walked over from the newest head that was told of: whoever
/// claimed them carried their heads soon after.
const MAX_WALK: u64 = 100_000;

fn name_of(sequence: Sequence) -> String {
    format!("claims/{:010}", sequence.0)
}

fn encode(head: &Head, token: Token) -> Vec<u8> {
    let lines = format!("{FIRST_LINE}\ntoken {}\n", token.0);
    [lines.as_bytes(), head.block().bytes()].concat()
}

fn decode(bytes: &[u8]) -> Option<(Head, Token)> {
    let rest = bytes.strip_prefix(FIRST_LINE.as_bytes())?;
    let rest = rest.strip_prefix(b"\ntoken ")?;
    let end = rest.iter().position(|c| *c == b'\n')?;
    let token = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    let block = Block::new(Codec::DagCbor, rest[end + 1..].to_vec());
    let head = Head::decode(block).ok()?;
    (encode(&head, Token(token)) == bytes).then_some((head, Token(token)))
}

/// The head that has a number, and the token of whoever claimed it; `None` where
/// nobody did.
pub fn claimed(
    depot: &str,
    registry: &dyn Registry,
    sequence: Sequence,
) -> Result<Option<(Head, Token)>, DepotError> {
    let name = name_of(sequence);
    let Some(entry) = registry.entry(&name)? else {
        return Ok(None);
    };
    let claim = decode(&entry.bytes).filter(|(head, _)| head.body().sequence == sequence);
    match claim {
        Some(claim) => Ok(Some(claim)),
        None => Err(DepotError::Refused {
            depot: depot.to_owned(),
            what: format!("{name} is no claim"),
        }),
    }
}

/// Claims the number of `head` for it. All that it reaches is in the depot.
pub fn claim(
    depot: &str,
    registry: &dyn Registry,
    head: &Head,
    token: Token,
) -> Result<(), DepotError> {
    let sequence = head.body().sequence;
    let name = name_of(sequence);
    if registry.create(&name, &encode(head, token))?.is_some() {
        return Ok(());
    }
    match claimed(depot, registry, sequence)? {
        // It was claimed before a crash, or by whoever signed the very same head.
        Some((there, _)) if there.cid() == head.cid() => Ok(()),
        Some((there, _)) => Err(DepotError::Overtaken {
            depot: depot.to_owned(),
            newest: there.body().sequence,
        }),
        None => Err(DepotError::Away {
            depot: depot.to_owned(),
            what: format!("{name} was there, and is not"),
        }),
    }
}

/// The newest head that was claimed, or that the depot shows; `None` where there is
/// none. `told` is the number of one that there was by all that is known.
pub fn newest(
    depot: &dyn Depot,
    registry: &dyn Registry,
    told: u64,
) -> Result<Option<Head>, DepotError> {
    let name = depot.name();
    let mut newest = depot.newest_head()?;
    let number = |head: &Option<Head>| head.as_ref().map_or(0, |head| head.body().sequence.0);
    if told > number(&newest)
        && let Some((head, _)) = claimed(name, registry, Sequence(told))?
    {
        newest = Some(head);
    }
    for _ in 0..MAX_WALK {
        match claimed(name, registry, Sequence(number(&newest) + 1))? {
            Some((head, _)) => newest = Some(head),
            None => return Ok(newest),
        }
    }
    Err(DepotError::Refused {
        depot: name.to_owned(),
        what: format!("its HEAD is more than {MAX_WALK} heads behind"),
    })
}

/// A depot's blocks, and the heads that were claimed there: the newest may be in no
/// other place yet.
pub struct Heads<'a> {
    depot: &'a dyn Depot,
    registry: &'a dyn Registry,
    /// Numbers of heads, by what later heads say of earlier ones.
    numbers: Mutex<HashMap<Cid, Sequence>>,
}

impl<'a> Heads<'a> {
    /// Those that lead back from `head`.
    pub fn new(depot: &'a dyn Depot, registry: &'a dyn Registry, head: &Head) -> Self {
        let numbers = HashMap::from([(*head.cid(), head.body().sequence)]);
        Self {
            depot,
            registry,
            numbers: Mutex::new(numbers),
        }
    }

    /// The head, where it was claimed and its number is known.
    fn claimed(&self, cid: &Cid) -> Result<Option<Block>, BlockError> {
        let numbers = || self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sequence) = numbers().get(cid).copied() else {
            return Ok(None);
        };
        let claim = claimed(self.depot.name(), self.registry, sequence);
        let claim = claim.map_err(|error| BlockError::Unavailable {
            cid: *cid,
            by: vec![Refusal {
                source: self.depot.name().to_owned(),
                fault: Fault::Failed(error.to_string()),
            }],
        })?;
        let Some((head, _)) = claim.filter(|(head, _)| head.cid() == cid) else {
            return Ok(None);
        };
        numbers().extend(head.earlier());
        Ok(Some(head.block().clone()))
    }
}

impl BlockSource for Heads<'_> {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.claimed(cid)? {
            Some(block) => Ok(block),
            None => self.depot.get(cid),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.claimed(cid)?.is_some() || self.depot.has(cid)?)
    }

    fn get_each(
        &self,
        cids: &[Cid],
        take: &mut dyn FnMut(Block) -> ControlFlow<()>,
    ) -> Result<(), BlockError> {
        let mut others = Vec::with_capacity(cids.len());
        for cid in cids {
            match self.claimed(cid)? {
                None => others.push(*cid),
                Some(block) => {
                    if take(block).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        self.depot.get_each(&others, take)
    }
}
