//! Fetching a topic index over days that are not here to make it from.
//!
//! Always true: levels fall, topics ascend from node to node, and lines count no
//! more envelopes than the month has closed. So nothing is read twice, and an index
//! costs no more than the sums of its month promise.

use std::collections::HashSet;

use super::Copy;
use crate::archive::ArchiveError;
use crate::archive::calendar::CalendarNode;
use crate::archive::topics::{TopicLine, TopicNode};
use crate::blocks::{BlockWriter, Cid};
use crate::whisper::Topic;

/// Nodes fetched at a time: 32 MiB, if each is as large as a block may be.
const AT_ONCE: usize = 16;

/// A node to fetch, and what its parent says of it.
struct Next {
    cid: Cid,
    level: u8,
    first: Topic,
}

/// What the lines read so far allow of those to come.
struct Lines {
    last: Option<Topic>,
    /// Envelopes that no line has counted yet.
    left: u64,
}

impl Lines {
    /// Takes the lines of the next node; `None` where they cannot be.
    fn take(&mut self, lines: &[TopicLine]) -> Option<()> {
        for line in lines {
            let count = line.days.iter().map(|day| u64::from(day.count)).sum();
            self.left = self.left.checked_sub(count)?;
            if self.last.replace(line.topic) >= Some(line.topic) {
                return None;
            }
        }
        Some(())
    }
}

impl Copy<'_> {
    /// Fetches the topic index of a month.
    pub(super) fn index(
        &mut self,
        month: &CalendarNode,
        file: &mut dyn BlockWriter,
    ) -> Result<(), ArchiveError> {
        let Some(root) = month.topics else {
            return Ok(());
        };
        let closed = month
            .children
            .iter()
            .filter(|(number, _)| month.open != Some(**number));
        let mut lines = Lines {
            last: None,
            left: closed.fold(0, |sum, (_, day)| sum.saturating_add(day.sums.count)),
        };
        // The next one last.
        let mut todo: Vec<Next> = Vec::new();
        let block = self.nodes(&[root], file)?.remove(0);
        let node = TopicNode::read(&block, None, None)?;
        read(root, node, &mut lines, &mut todo)?;
        todo.reverse();
        while let Some(next) = todo.last() {
            let level = next.level;
            let same = todo.iter().rev().take_while(|next| next.level == level);
            let count = same.take(AT_ONCE).count();
            let mut batch = todo.split_off(todo.len() - count);
            batch.reverse();
            let cids: Vec<Cid> = batch.iter().map(|next| next.cid).collect();
            let mut seen = HashSet::new();
            if let Some(cid) = cids.iter().find(|cid| !seen.insert(**cid)) {
                return Err(ArchiveError::NotAsLinked { cid: *cid });
            }
            let mut below = Vec::new();
            for (next, block) in batch.into_iter().zip(self.nodes(&cids, file)?) {
                let node = TopicNode::read(&block, Some(next.level), Some(next.first))?;
                read(next.cid, node, &mut lines, &mut below)?;
            }
            todo.extend(below.into_iter().rev());
        }
        Ok(())
    }
}

/// Takes the lines of a node, or notes what lies below it.
fn read(
    cid: Cid,
    node: TopicNode,
    lines: &mut Lines,
    below: &mut Vec<Next>,
) -> Result<(), ArchiveError> {
    match node {
        TopicNode::Lines(of_node) => lines
            .take(&of_node)
            .ok_or(ArchiveError::NotAsLinked { cid }),
        TopicNode::Nodes { level, children } => {
            below.extend(children.into_iter().map(|(first, cid)| Next {
                cid,
                level: level - 1,
                first,
            }));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::builder::SegmentRef;
    use crate::archive::calendar::Level;
    use crate::archive::copy::CopyRequest;
    use crate::archive::fresh::Sealed;
    use crate::archive::sums::Sums;
    use crate::archive::topics::TopicDay;
    use crate::archive::watermark::Day;
    use crate::blocks::{Block, BlockSource, BlockStore, Codec, Group, MemoryStore, Reuse};
    use crate::progress::Quiet;

    /// A source of hand-made nodes.
    #[derive(Default)]
    struct Made(MemoryStore);

    impl Made {
        fn put(&self, node: &TopicNode) -> (Topic, Cid) {
            let block = node.encode();
            let mut file = self.0.begin(Group::Calendar, Reuse::Nothing).unwrap();
            file.put(&block).unwrap();
            file.commit(block.cid()).unwrap();
            (node.first(), *block.cid())
        }

        fn lines(&self, topics: std::ops::Range<u8>) -> (Topic, Cid) {
            let line = |topic| TopicLine {
                topic: Topic([topic; 4]),
                days: vec![TopicDay {
                    day: 1,
                    count: 2,
                    leaf: None,
                }],
            };
            self.put(&TopicNode::Lines(topics.map(line).collect()))
        }

        fn nodes(&self, level: u8, children: Vec<(Topic, Cid)>) -> (Topic, Cid) {
            self.put(&TopicNode::Nodes { level, children })
        }

        /// Copies the index of a month of so many envelopes; gives how many nodes
        /// came.
        fn copied(&self, (_, root): (Topic, Cid), count: u64) -> Result<u64, ArchiveError> {
            let mut month = CalendarNode::new(Level::Month);
            let sums = Sums {
                count,
                ..Sums::default()
            };
            let cid = *Block::new(Codec::Raw, &b"a day"[..]).cid();
            month.children.insert(1, SegmentRef { cid, sums });
            month.topics = Some(root);
            let store = MemoryStore::new();
            let request = CopyRequest {
                source: &self.0 as &dyn BlockSource,
                store: &store,
                sealed: &Sealed::default(),
                head: cid,
                added: None,
                sequence: 1,
                from: Day(2),
            };
            let mut copy = Copy::new(&request, &Quiet)?;
            let mut file = store.begin(Group::Calendar, Reuse::SameGroup)?;
            copy.index(&month, &mut *file)?;
            Ok(copy.copied.blocks)
        }
    }

    /// Two levels over 60 nodes of three lines.
    fn tree(made: &Made) -> (Topic, Cid) {
        let leaves: Vec<_> = (0..60).map(|n| made.lines(3 * n..3 * n + 3)).collect();
        let middle = leaves.chunks(20).map(|some| made.nodes(1, some.to_vec()));
        let middle = middle.collect();
        made.nodes(2, middle)
    }

    #[test]
    fn an_index_is_copied_whole() {
        let made = Made::default();
        let root = tree(&made);
        assert_eq!(made.copied(root, 360).unwrap(), 64);
        let one = made.lines(0..3);
        assert_eq!(made.copied(one, 6).unwrap(), 1);
    }

    #[test]
    fn an_index_that_counts_more_than_its_month_holds_is_refused() {
        let made = Made::default();
        let root = tree(&made);
        let refused = made.copied(root, 359);
        assert!(matches!(refused, Err(ArchiveError::NotAsLinked { .. })));
    }

    #[test]
    fn levels_that_do_not_fall_are_refused() {
        let made = Made::default();
        let below = made.nodes(2, vec![made.nodes(1, vec![made.lines(0..3)])]);
        let refused = made.copied(made.nodes(2, vec![below]), u64::MAX);
        assert!(matches!(refused, Err(ArchiveError::NotAsLinked { .. })));
    }

    #[test]
    fn topics_that_do_not_ascend_are_refused() {
        let made = Made::default();
        let (first, second) = (made.lines(0..9), made.lines(5..12));
        let refused = made.copied(made.nodes(1, vec![first, second]), u64::MAX);
        assert!(matches!(refused, Err(ArchiveError::NotAsLinked { .. })));
    }

    #[test]
    fn a_node_that_stands_twice_is_refused() {
        let made = Made::default();
        let (first, cid) = made.lines(0..3);
        let twice = vec![(first, cid), (Topic([1; 4]), cid)];
        let refused = made.copied(made.nodes(1, twice), u64::MAX);
        assert!(matches!(refused, Err(ArchiveError::NotAsLinked { .. })));
    }
}
