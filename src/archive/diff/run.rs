//! One segment of a bucket, opened from its front as far as a comparison needs.
//!
//! Always true:
//! - Items ascend strictly by key and each ends where the next begins, so that a
//!   subtree linked twice is refused before it is read twice.
//! - A node is what its parent says, or the block is refused; everything in it
//!   lies in the bucket's time.

use std::collections::VecDeque;

use super::calendar::Part;
use crate::archive::ArchiveError;
use crate::archive::filter::Filter;
use crate::archive::key::Key;
use crate::archive::leaf::Record;
use crate::archive::pack::{LeafEntry, Pack};
use crate::archive::walk::{Expected, decode_leaf_as};
use crate::blocks::{Block, Cid, Codec};
use crate::time::TimeRange;

/// How deep an item lies: records below leaves, leaves below packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    Record,
    Leaf,
    Pack(u8),
    /// A root nobody has read: it may be anything.
    Root,
}

/// What stands at one place of the order of keys.
#[derive(Clone, Debug)]
pub(super) enum What {
    Node(Expected),
    Leaf(Box<LeafEntry>),
    Record(Record),
}

/// A subtree or a record, and the keys it covers.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its first key; `None` for a root nobody has read.
    pub first: Option<Key>,
    /// The first key that may follow; `None` where any may.
    pub end: Option<Key>,
    pub what: What,
}

impl Item {
    pub fn depth(&self) -> Depth {
        match &self.what {
            What::Record(_) => Depth::Record,
            What::Leaf(_) => Depth::Leaf,
            What::Node(node) => node.level.map_or(Depth::Root, Depth::Pack),
        }
    }

    /// Its block, but for a record.
    pub fn cid(&self) -> Option<Cid> {
        match &self.what {
            What::Record(_) => None,
            What::Leaf(leaf) => Some(leaf.cid),
            What::Node(node) => Some(node.cid),
        }
    }

    /// Whether it holds exactly what an item of another segment does.
    pub fn equals(&self, other: &Self) -> bool {
        self.first == other.first
            && match (&self.what, &other.what) {
                (What::Record(_), What::Record(_)) => true,
                _ => self.depth() == other.depth() && self.cid() == other.cid(),
            }
    }

    /// Whether all of it sorts before all of `other`.
    pub fn is_before(&self, other: &Self) -> bool {
        match (&self.what, self.end) {
            (What::Record(_), _) => self.first < other.first,
            (_, Some(end)) => other.first.is_some_and(|first| end <= first),
            (_, None) => false,
        }
    }

    /// Bytes it takes to open it, as its parent says.
    pub fn bytes(&self) -> u64 {
        match &self.what {
            What::Record(record) => record.bytes.len() as u64,
            What::Leaf(leaf) => leaf.sums.bytes,
            What::Node(_) => 0,
        }
    }
}

/// A segment being opened.
#[derive(Debug)]
pub(super) struct Run {
    pub items: VecDeque<Item>,
    bounds: TimeRange,
    /// What is wanted of it.
    filter: Filter,
    /// Blocks that have come, until [`Self::settle`] puts them in their places.
    opened: Vec<(Option<Key>, Vec<Item>)>,
}

impl Run {
    /// A run over what `filter` wants of a part; `None` where that is nothing.
    pub fn new(part: &Part, filter: &Filter) -> Option<Self> {
        let root = Item {
            first: None,
            end: None,
            what: What::Node(part.segment.into()),
        };
        Some(Self {
            items: [root].into(),
            bounds: part.bounds,
            filter: filter.within(part.counts)?,
            opened: Vec::new(),
        })
    }

    /// Opens the item that starts at `first` with its verified block.
    pub fn open(&mut self, first: Option<Key>, block: &Block) -> Result<(), ArchiveError> {
        let at = self.items.partition_point(|item| item.first < first);
        let Some(item) = self.items.get(at).filter(|item| item.first == first) else {
            return Ok(());
        };
        let opened = match &item.what {
            What::Record(_) => return Ok(()),
            What::Leaf(entry) => self.open_leaf(entry, item.end, block)?,
            What::Node(node) if Codec::of(&node.cid) == Some(Codec::Raw) => {
                let entry = node.only_leaf(block)?;
                self.check_times(&entry)?;
                self.open_leaf(&entry, item.end, block)?
            }
            What::Node(node) => self.open_pack(node, item.end, block)?,
        };
        self.opened.push((first, opened));
        Ok(())
    }

    /// Puts what was opened in its place.
    pub fn settle(&mut self) {
        if self.opened.is_empty() {
            return;
        }
        let mut opened = std::mem::take(&mut self.opened);
        opened.sort_by_key(|(first, _)| *first);
        let mut opened = opened.into_iter().peekable();
        let items = std::mem::take(&mut self.items);
        for item in items {
            match opened.next_if(|(first, _)| *first == item.first) {
                Some((_, below)) => self.items.extend(below),
                None => self.items.push_back(item),
            }
        }
    }

    fn open_leaf(
        &self,
        entry: &LeafEntry,
        end: Option<Key>,
        block: &Block,
    ) -> Result<Vec<Item>, ArchiveError> {
        let records = decode_leaf_as(block, entry)?;
        let last = records.last().map(|record| record.key);
        if end.is_some() && last >= end {
            return Err(ArchiveError::NotAsLinked { cid: entry.cid });
        }
        let wanted = records
            .into_iter()
            .filter(|record| self.filter.matches(record.key.topic, record.key.sent));
        let item = |record: Record| Item {
            first: Some(record.key),
            end: None,
            what: What::Record(record),
        };
        Ok(wanted.map(item).collect())
    }

    fn open_pack(
        &self,
        node: &Expected,
        end: Option<Key>,
        block: &Block,
    ) -> Result<Vec<Item>, ArchiveError> {
        let wrong = || ArchiveError::NotAsLinked { cid: node.cid };
        let pack = node.pack(block)?;
        let mut items = Vec::new();
        match pack {
            Pack::Leaves(leaves) => {
                let ends = ends(leaves.iter().map(|leaf| leaf.first), end);
                for (entry, end) in leaves.into_iter().zip(ends) {
                    self.check_times(&entry)?;
                    items.push(Item {
                        first: Some(entry.first),
                        end,
                        what: What::Leaf(Box::new(entry)),
                    });
                }
            }
            Pack::Packs { level, children } => {
                let ends = ends(children.iter().map(|child| child.first), end);
                for (child, end) in children.iter().zip(ends) {
                    if !self.bounds.contains(child.first.sent) {
                        return Err(wrong());
                    }
                    items.push(Item {
                        first: Some(child.first),
                        end,
                        what: What::Node(Expected::below(level, child)),
                    });
                }
            }
        }
        let last = items.last().and_then(|item| item.first);
        if end.is_some() && last >= end {
            return Err(wrong());
        }
        items.retain(|item| match (&item.what, item.first) {
            (What::Leaf(entry), _) => self.filter.may_match_leaf(entry),
            (_, Some(first)) => self.filter.may_match_pack(first, item.end),
            (_, None) => true,
        });
        Ok(items)
    }

    fn check_times(&self, entry: &LeafEntry) -> Result<(), ArchiveError> {
        let inside = entry
            .runs
            .iter()
            .all(|run| self.bounds.contains(run.first) && self.bounds.contains(run.last));
        if inside {
            Ok(())
        } else {
            Err(ArchiveError::NotAsLinked { cid: entry.cid })
        }
    }

    /// Whether all of a leaf is wanted.
    pub fn wants_all(&self, leaf: &LeafEntry) -> bool {
        let range = self.filter.range;
        leaf.runs.iter().all(|run| {
            range.contains(run.first)
                && range.contains(run.last)
                && self.filter.topics.matches(run.topic)
        })
    }
}

/// Where each of some siblings ends: where the next one begins, the last where
/// its parent ends.
fn ends(firsts: impl Iterator<Item = Key>, end: Option<Key>) -> Vec<Option<Key>> {
    firsts.skip(1).map(Some).chain([end]).collect()
}
