//! `gwa log`: the lineage of a head.

mod graph;

use std::collections::{BinaryHeap, HashSet};

use clap::Args;

use self::graph::{Graph, Parent};
use crate::archive::disk::fetch_head;
use crate::archive::head::Head;
use crate::blocks::{BlockSource, Cid};
use crate::cli::context::{Context, unreadable};
use crate::cli::error::CliError;
use crate::cli::heads::Row;
use crate::cli::sources::FromArgs;
use crate::sources::Reference;
use crate::time::UnixSeconds;

/// Arguments of `gwa log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The head to start from [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    from: FromArgs,
    /// Print at most so many heads.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Follow the heads that were merged too, and draw how they meet.
    #[arg(long)]
    graph: bool,
}

/// Prints heads from the newest to the first, or to the last that is held.
pub fn run(args: &LogArgs, context: &mut Context) -> Result<(), CliError> {
    context.sources.add_from(&args.from);
    let opened = context.head(&args.reference.clone().unwrap_or_default())?;
    let mut walk = Walk::new(&*opened.source, opened.head, args.graph);
    let mut graph = Graph::default();
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0
        && let Some(found) = walk.next()?
    {
        left -= 1;
        let row = Row::from(&found.head);
        if context.output.is_json() || !args.graph {
            context.output.result(&row, row.in_log())?;
        } else {
            for line in graph.draw(found.head.cid(), &row.in_graph(), &found.parents) {
                context.output.result(&(), line)?;
            }
        }
        for cid in found.not_held() {
            let seq = found.head.body().sequence.0;
            if !args.graph || context.output.is_json() {
                context.output.story(format_args!(
                    "head {cid}, on which head {seq} rests, is not held here"
                ));
            }
        }
    }
    Ok(())
}

/// A head, and those it rests on.
struct Step {
    head: Head,
    parents: Vec<(Cid, Parent)>,
}

impl Step {
    fn not_held(&self) -> impl Iterator<Item = &Cid> {
        let absent = self.parents.iter().filter(|(_, is)| *is == Parent::NotHeld);
        absent.map(|(cid, _)| cid)
    }
}

/// A head that was found, and when it comes.
struct Found {
    /// When it was signed; not after what was signed on top of it, whatever a
    /// skewed clock said.
    at: UnixSeconds,
    /// Of those of one time, who was found first comes first.
    order: std::cmp::Reverse<u64>,
    head: Head,
}

impl Found {
    fn rank(&self) -> (UnixSeconds, std::cmp::Reverse<u64>) {
        (self.at, self.order)
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Goes from a head to those it rests on, the newest first, each once. Reads a head
/// when it is about to be given, so that the newest of many cost little.
struct Walk<'s> {
    source: &'s dyn BlockSource,
    /// Whether merged heads are followed too.
    wide: bool,
    found: BinaryHeap<Found>,
    seen: HashSet<Cid>,
    given: HashSet<Cid>,
    count: u64,
}

impl<'s> Walk<'s> {
    fn new(source: &'s dyn BlockSource, head: Head, wide: bool) -> Self {
        let mut walk = Self {
            source,
            wide,
            found: BinaryHeap::new(),
            seen: HashSet::new(),
            given: HashSet::new(),
            count: 0,
        };
        walk.seen.insert(*head.cid());
        walk.push(head, UnixSeconds::MAX);
        walk
    }

    fn push(&mut self, head: Head, most: UnixSeconds) {
        self.count += 1;
        self.found.push(Found {
            at: head.body().signed_at.min(most),
            order: std::cmp::Reverse(self.count),
            head,
        });
    }

    fn next(&mut self) -> Result<Option<Step>, CliError> {
        let Some(Found { at, head, .. }) = self.found.pop() else {
            return Ok(None);
        };
        self.given.insert(*head.cid());
        let body = head.body();
        let merged = body.merged.iter().filter(|_| self.wide);
        let cids: Vec<Cid> = body.prev.iter().chain(merged).copied().collect();
        let mut parents = Vec::with_capacity(cids.len());
        for cid in cids {
            let is = if self.given.contains(&cid) {
                Parent::Above
            } else if self.seen.contains(&cid) || self.read(&cid, at)? {
                Parent::Below
            } else {
                Parent::NotHeld
            };
            parents.push((cid, is));
        }
        Ok(Some(Step { head, parents }))
    }

    /// Reads a head that one signed at `at` rests on; false where it is not held.
    fn read(&mut self, cid: &Cid, at: UnixSeconds) -> Result<bool, CliError> {
        match fetch_head(self.source, cid) {
            Ok(head) => {
                self.seen.insert(*cid);
                self.push(head, at);
                Ok(true)
            }
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(unreadable(format!("cannot read head {cid}"), &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;
    use crate::archive::head::{HeadBody, Sequence};
    use crate::archive::sums::Sums;
    use crate::archive::watermark::Watermark;
    use crate::blocks::{BlockStore, Group, MemoryStore, Reuse};

    fn head(seq: u64, at: u32, prev: Option<&Head>, merged: &[&Head]) -> Head {
        let body = HeadBody {
            network: "shh/6".into(),
            name: String::new(),
            sequence: Sequence(seq),
            watermark: Watermark::default(),
            signed_at: UnixSeconds(at),
            state: None,
            open: Vec::new(),
            added: None,
            totals: Sums::default(),
            prev: prev.map(|head| *head.cid()),
            skip: None,
            merged: merged.iter().map(|head| *head.cid()).collect(),
        };
        Head::sign(body, &SecretKey::from_secret_bytes([7; 32]).unwrap()).unwrap()
    }

    fn store(heads: &[&Head]) -> MemoryStore {
        let store = MemoryStore::default();
        let mut writer = store.begin(Group::Calendar, Reuse::Nothing).unwrap();
        for head in heads {
            writer.put(head.block()).unwrap();
        }
        writer.commit(heads[0].cid()).unwrap();
        store
    }

    fn given(store: &MemoryStore, from: &Head, wide: bool) -> Vec<(u32, Vec<Parent>)> {
        let mut walk = Walk::new(store, from.clone(), wide);
        let steps = std::iter::from_fn(|| walk.next().unwrap());
        steps
            .map(|step| {
                let parents = step.parents.iter().map(|(_, is)| *is).collect();
                (step.head.body().signed_at.0, parents)
            })
            .collect()
    }

    #[test]
    fn merged_heads_are_followed_each_head_once_and_after_what_rests_on_it() {
        let base = head(1, 10, None, &[]);
        let ours = head(2, 20, Some(&base), &[]);
        // Signed by a clock ahead of all.
        let theirs = head(2, 90, Some(&base), &[]);
        let merge = head(3, 40, Some(&ours), &[&theirs]);
        let store = store(&[&base, &ours, &theirs, &merge]);
        use Parent::Below;
        let expected = [
            (40, vec![Below, Below]),
            (90, vec![Below]),
            (20, vec![Below]),
            (10, vec![]),
        ];
        assert_eq!(given(&store, &merge, true), expected);
        let narrow = [(40, vec![Below]), (20, vec![Below]), (10, vec![])];
        assert_eq!(given(&store, &merge, false), narrow);
    }

    #[test]
    fn a_lineage_ends_where_a_head_is_not_held() {
        let base = head(1, 10, None, &[]);
        let ours = head(2, 20, Some(&base), &[]);
        let theirs = head(2, 30, Some(&base), &[]);
        let merge = head(3, 40, Some(&ours), &[&theirs]);
        let store = store(&[&ours, &merge]);
        use Parent::{Below, NotHeld};
        let expected = [(40, vec![Below, NotHeld]), (20, vec![NotHeld])];
        assert_eq!(given(&store, &merge, true), expected);
    }
}
