//! Paths: from a CID over names to what they lead to.
//!
//! Always true: a block is looked into only if the denylist allows it and its
//! bytes hash to the CID that an already verified block named.

use ipld_core::ipld::Ipld;

use super::denylist::Rules;
use super::links::{data, links, step};
use super::refusal::Refusal;
use crate::blocks::{BlockSource, Cid};

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The blocks that were looked into on the way, in order.
    pub(super) passed: Vec<Cid>,
    /// What each name led to, where that is a block of its own, the root first.
    pub(super) roots: Vec<Cid>,
    /// What it ends at.
    pub(super) end: End,
}

/// What a path ends at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A block.
    Block(Cid),
    /// A place within the last block passed, and the links below it.
    Within(Vec<Cid>),
}

impl Resolved {
    /// The block in which the path ends.
    pub(super) fn last(&self) -> Cid {
        match &self.end {
            End::Block(cid) => *cid,
            End::Within(_) => *self.passed.last().expect("it ends within one passed"),
        }
    }
}

/// Follows `names` from `root`. The block it ends at is not read.
pub(super) fn resolve(
    source: &dyn BlockSource,
    rules: &Rules,
    root: Cid,
    names: &[String],
) -> Result<Resolved, Refusal> {
    let mut resolved = Resolved {
        passed: Vec::new(),
        roots: vec![root],
        end: End::Block(root),
    };
    rules.check_path(&root, names)?;
    let mut at = root;
    let mut rest = names;
    while !rest.is_empty() {
        rules.check(&at)?;
        let block = source.get(&at)?;
        resolved.passed.push(at);
        let value = data(&block).map_err(|_| Refusal::Broken { cid: at })?;
        let Some(mut value) = value else {
            return Err(Refusal::NoSuchName { cid: at });
        };
        let linked = loop {
            let Some((name, others)) = rest.split_first() else {
                break None;
            };
            value = step(value, name).ok_or(Refusal::NoSuchName { cid: at })?;
            rest = others;
            // A link at the end of a path stands for the block it names.
            if let Ipld::Link(cid) = value {
                break Some(cid);
            }
        };
        match linked {
            Some(cid) => {
                at = cid;
                resolved.roots.push(cid);
                resolved.end = End::Block(cid);
                rules.check_path(&cid, rest)?;
            }
            None => resolved.end = End::Within(links(&value)),
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests;
