//! Builds the canonical tree of a sorted run of records.
//!
//! Always true:
//! - The root depends on the records alone, not on how they were pushed: leaf by
//!   leaf or one by one.
//! - Memory holds one leaf and one pack for each level, whatever comes.

use bytes::{Bytes, BytesMut};

use super::key::Key;
use super::leaf::{LEAF_MAX, LEAF_UNIT, Record, add_to_entry};
use super::pack::{
    LeafEntry, PACK_MAX_BYTES, PACK_MAX_CHILDREN, PACK_MAX_LEVEL, PACK_UNIT, Pack, PackEntry,
};
use super::splitter::Splitter;
use super::sums::Sums;
use crate::blocks::{Block, BlockError, BlockWriter, Cid, Codec, digest_of};

/// A segment as its parent names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// Root: a raw leaf where one leaf is all there is, else a pack.
    pub cid: Cid,
    /// What the segment holds.
    pub sums: Sums,
}

/// Where finished blocks go.
pub trait BlockSink {
    /// Takes one block.
    fn take(&mut self, block: &Block) -> Result<(), BlockError>;
}

impl BlockSink for dyn BlockWriter + '_ {
    fn take(&mut self, block: &Block) -> Result<(), BlockError> {
        self.put(block).map(drop)
    }
}

/// Keeps nothing: for recomputing a root.
#[derive(Debug, Default)]
pub struct Discard;

impl BlockSink for Discard {
    fn take(&mut self, _: &Block) -> Result<(), BlockError> {
        Ok(())
    }
}

/// Builds one segment. Records must come strictly ascending.
pub struct SegmentBuilder<'s, S: BlockSink + ?Sized> {
    sink: &'s mut S,
    bytes: BytesMut,
    entry: Option<LeafEntry>,
    splitter: Splitter,
    /// A leaf already hashed that is likely to come out again, so that its hash
    /// need not be computed twice.
    likely: Option<Block>,
    leaves: LeafLevel,
    packs: Vec<PackLevel>,
    last: Option<Key>,
}

impl<'s, S: BlockSink + ?Sized> SegmentBuilder<'s, S> {
    /// An empty segment whose blocks go to `sink`.
    pub fn new(sink: &'s mut S) -> Self {
        Self {
            sink,
            bytes: BytesMut::new(),
            entry: None,
            splitter: Splitter::new(LEAF_UNIT, LEAF_MAX),
            likely: None,
            leaves: LeafLevel::default(),
            packs: Vec::new(),
            last: None,
        }
    }

    /// Whether the next record starts a leaf, so that a whole leaf may be
    /// pushed.
    pub fn at_cut(&self) -> bool {
        self.splitter.at_cut()
    }

    /// Names a verified leaf that the records to come probably make up again.
    pub fn expect_leaf(&mut self, leaf: Block) {
        self.likely = Some(leaf);
    }

    /// Adds a record, which must sort after all before it. That it does is this
    /// program's business: what reads foreign segments ([`super::walk`],
    /// [`super::merge`]) refuses records that do not ascend.
    pub fn push(&mut self, record: &Record) -> Result<(), BlockError> {
        assert!(
            self.last < Some(record.key),
            "BUG: records come strictly ascending"
        );
        self.last = Some(record.key);
        let weight = record.bytes.len() as u64;
        if self.splitter.must_cut_before(weight) {
            self.splitter.cut();
            self.close_leaf()?;
        }
        let entry = self.entry.get_or_insert_with(|| LeafEntry {
            first: record.key,
            cid: Cid::default(),
            sums: Sums::default(),
            runs: Vec::new(),
        });
        add_to_entry(entry, record);
        self.bytes.extend_from_slice(&record.bytes);
        let [a, b, c, d, ..] = record.key.hash.0;
        if self
            .splitter
            .cuts_after(weight, u32::from_be_bytes([a, b, c, d]))
        {
            self.close_leaf()?;
        }
        Ok(())
    }

    /// Adds a whole leaf that is known to be cut where it is cut, at its start
    /// by [`Self::at_cut`] and at its end by what follows it. The block is read
    /// by `leaf` only where the sink wants it.
    pub fn push_leaf(&mut self, entry: LeafEntry, leaf: Option<&Block>) -> Result<(), BlockError> {
        assert!(self.at_cut(), "BUG: a whole leaf is pushed at a cut");
        assert!(
            self.last < Some(entry.first),
            "BUG: leaves come strictly ascending"
        );
        self.last = Some(entry.first);
        if let Some(leaf) = leaf {
            self.sink.take(leaf)?;
        }
        self.push_entry(entry)
    }

    /// Ends the segment; `None` where nothing was pushed.
    pub fn finish(mut self) -> Result<Option<SegmentRef>, BlockError> {
        self.close_leaf()?;
        if self.packs.is_empty() && self.leaves.entries.len() < 2 {
            let only = self.leaves.entries.pop();
            return Ok(only.map(|leaf| SegmentRef {
                cid: leaf.cid,
                sums: leaf.sums,
            }));
        }
        if let Some(pack) = self.leaves.close() {
            self.push_pack(0, &pack)?;
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.packs.len();
            let children = &self.packs[level].entries;
            if let ([only], true) = (children.as_slice(), is_top) {
                return Ok(Some(SegmentRef {
                    cid: only.cid,
                    sums: only.sums,
                }));
            }
            if let Some(pack) = self.packs[level].close(level) {
                self.push_pack(level + 1, &pack)?;
            }
            level += 1;
        }
    }

    fn close_leaf(&mut self) -> Result<(), BlockError> {
        let Some(mut entry) = self.entry.take() else {
            return Ok(());
        };
        let block = match self.likely.take() {
            Some(likely) if *likely.bytes() == self.bytes => {
                self.bytes.clear();
                likely
            }
            _ => Block::new(Codec::Raw, Bytes::from(self.bytes.split())),
        };
        self.sink.take(&block)?;
        entry.cid = *block.cid();
        self.push_entry(entry)
    }

    fn push_entry(&mut self, entry: LeafEntry) -> Result<(), BlockError> {
        for pack in self.leaves.push(entry)?.into_iter().flatten() {
            self.push_pack(0, &pack)?;
        }
        Ok(())
    }

    /// Stores a pack and hands it to the level above; `above` 0 is level 2.
    fn push_pack(&mut self, above: usize, pack: &Pack) -> Result<(), BlockError> {
        let block = pack.encode();
        self.sink.take(&block)?;
        let entry = PackEntry {
            first: pack.first(),
            cid: *block.cid(),
            sums: pack.sums(),
        };
        if self.packs.len() == above {
            self.packs.push(PackLevel::new());
        }
        for full in self.packs[above].push(entry, above)?.into_iter().flatten() {
            self.push_pack(above + 1, &full)?;
        }
        Ok(())
    }
}

/// The hash that decides a cut above the leaves: four bytes of the child's
/// digest, at four times the level, so that levels cut independently.
fn child_hash(cid: &Cid, level: usize) -> Result<u32, BlockError> {
    let digest = digest_of(cid)?;
    let at = 4 * (level % 8);
    Ok(u32::from_be_bytes([
        digest[at],
        digest[at + 1],
        digest[at + 2],
        digest[at + 3],
    ]))
}

/// Leaves waiting for their pack (level 1).
struct LeafLevel {
    entries: Vec<LeafEntry>,
    bytes: u64,
    splitter: Splitter,
}

impl Default for LeafLevel {
    fn default() -> Self {
        let splitter = Splitter::new(PACK_UNIT, PACK_MAX_CHILDREN);
        Self {
            entries: Vec::new(),
            bytes: 0,
            splitter,
        }
    }
}

impl LeafLevel {
    /// Takes a leaf; gives the pack that had to end before it and the one that
    /// ends with it.
    fn push(&mut self, entry: LeafEntry) -> Result<[Option<Pack>; 2], BlockError> {
        let mut packs = [None, None];
        let too_many = self.splitter.must_cut_before(1);
        if too_many || !self.entries.is_empty() && self.bytes + entry.weight() > PACK_MAX_BYTES {
            packs[0] = self.close();
        }
        let hash = child_hash(&entry.cid, 1)?;
        self.bytes += entry.weight();
        self.entries.push(entry);
        if self.splitter.cuts_after(1, hash) {
            packs[1] = self.close();
        }
        Ok(packs)
    }

    fn close(&mut self) -> Option<Pack> {
        self.splitter.cut();
        self.bytes = 0;
        let leaves = std::mem::take(&mut self.entries);
        (!leaves.is_empty()).then_some(Pack::Leaves(leaves))
    }
}

/// Packs waiting for the pack above them; index 0 builds level 2.
struct PackLevel {
    entries: Vec<PackEntry>,
    splitter: Splitter,
}

impl PackLevel {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            splitter: Splitter::new(PACK_UNIT, PACK_MAX_CHILDREN),
        }
    }

    fn push(&mut self, entry: PackEntry, index: usize) -> Result<[Option<Pack>; 2], BlockError> {
        let before = if self.splitter.must_cut_before(1) {
            self.close(index)
        } else {
            None
        };
        let hash = child_hash(&entry.cid, index + 2)?;
        self.entries.push(entry);
        let after = if self.splitter.cuts_after(1, hash) {
            self.close(index)
        } else {
            None
        };
        Ok([before, after])
    }

    fn close(&mut self, index: usize) -> Option<Pack> {
        self.splitter.cut();
        let children = std::mem::take(&mut self.entries);
        let level = u8::try_from(index + 2)
            .unwrap_or(u8::MAX)
            .min(PACK_MAX_LEVEL);
        (!children.is_empty()).then_some(Pack::Packs { level, children })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::{record, traffic};

    fn build(records: &[Record]) -> Option<SegmentRef> {
        let mut sink = Discard;
        let mut builder = SegmentBuilder::new(&mut sink);
        for record in records {
            builder.push(record).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn nothing_makes_no_segment_and_one_leaf_is_its_own_root() {
        assert_eq!(build(&[]), None);
        let one = record(1, 5, 10);
        let segment = build(std::slice::from_ref(&one)).unwrap();
        assert_eq!(
            segment.cid,
            *Block::new(Codec::Raw, one.bytes.clone()).cid()
        );
        assert_eq!(segment.sums.count, 1);
    }

    #[test]
    fn many_leaves_stand_under_one_pack() {
        let mut records = traffic(1, 600, 50, 0, 86_400);
        records.sort_by_key(|r| r.key);
        let segment = build(&records).unwrap();
        assert_eq!(Codec::of(&segment.cid), Some(Codec::DagCbor));
        assert_eq!(segment.sums.count, 600);
        assert_eq!(
            segment.sums.bytes,
            records.iter().map(|r| r.bytes.len() as u64).sum::<u64>()
        );
    }

    #[test]
    fn records_cut_by_the_table_give_leaves_of_about_its_mean() {
        #[derive(Default)]
        struct Lengths(Vec<usize>);
        impl BlockSink for Lengths {
            fn take(&mut self, block: &Block) -> Result<(), BlockError> {
                if Codec::of(block.cid()) == Some(Codec::Raw) {
                    self.0.push(block.bytes().len());
                }
                Ok(())
            }
        }
        let mut records = traffic(3, 20_000, 500, 0, 86_400);
        records.sort_by_key(|r| r.key);
        let mut lengths = Lengths::default();
        let mut builder = SegmentBuilder::new(&mut lengths);
        records
            .iter()
            .for_each(|record| builder.push(record).unwrap());
        builder.finish().unwrap();
        let mean = lengths.0.iter().sum::<usize>() / lengths.0.len();
        assert!((28 << 10..38 << 10).contains(&mean), "mean leaf {mean}");
        assert!(lengths.0.iter().all(|len| *len <= 128 << 10));
        let [all_but_last @ .., _] = lengths.0.as_slice() else {
            panic!("there are leaves")
        };
        assert!(all_but_last.iter().all(|len| *len >= 4 << 10));
    }
}
