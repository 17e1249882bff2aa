//! Which closed days of a month hold a topic, and in which leaf.
//!
//! Always true:
//! - Lines are sorted by topic; every topic of every closed day has its line. So
//!   the absence of a topic in a month is proven by its sorted neighbours.
//! - A day names the leaf where one leaf holds all of the topic's envelopes of
//!   that day; else it names none, and the day's packs say where to look.
//! - The index is a function of the month's closed segments.

mod carried;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use self::carried::Carried;
use super::ArchiveError;
use super::builder::{BlockSink, SegmentRef};
use super::cbor::{self, CborError};
use super::pack::{LeafEntry, PACK_MAX_CHILDREN, PACK_UNIT, is_width, links_to};
use super::splitter::Splitter;
use super::walk::LeafWalk;
use crate::blocks::{Block, BlockError, BlockSource, Cid, Codec, digest_of};
use crate::keccak::keccak256;
use crate::whisper::Topic;

/// Weight of one unit of the splitter of lines: 1 KiB as [`TopicLine::weight`]
/// counts.
pub const LINES_UNIT: u64 = 1 << 10;

/// Most weight of a node's lines.
pub const LINES_MAX: u64 = 128 << 10;

/// Highest level of a node. Whoever grinds hashes can make nodes of 73 lines
/// and of 20 children, no smaller: more levels would take more topics than
/// there are.
pub const TOPICS_MAX_LEVEL: u8 = 6;

/// One topic's envelopes on one closed day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicDay {
    /// Day of the month, from 1.
    pub day: u8,
    /// How many envelopes.
    pub count: u32,
    /// The leaf that holds them all, if one does.
    pub leaf: Option<Cid>,
}

/// One topic of a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLine {
    /// The topic.
    pub topic: Topic,
    /// Its days, in order.
    pub days: Vec<TopicDay>,
}

impl TopicLine {
    /// Bytes the line counts for in its node: 8, and 48 for each day, which is
    /// what it takes if no link is shared.
    pub fn weight(&self) -> u64 {
        8 + 48 * self.days.len() as u64
    }
}

/// A decoded node of a topic index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicNode {
    /// Level 0: lines.
    Lines(Vec<TopicLine>),
    /// Above: nodes one level down, by first topic.
    Nodes {
        /// This node's level.
        level: u8,
        /// First topic and link of each child.
        children: Vec<(Topic, Cid)>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeCbor {
    level: u8,
    /// Links that lines name by position, each once, in order of first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaves: Option<Vec<Cid>>,
    /// `[topic, [day, count, leaf + 1 or 0, day, count, ..]]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topics: Option<Vec<(ByteArray<4>, Vec<u32>)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<(ByteArray<4>, Cid)>>,
}

impl TopicNode {
    /// The node's level, 0 for lines.
    pub fn level(&self) -> u8 {
        match self {
            Self::Lines(_) => 0,
            Self::Nodes { level, .. } => *level,
        }
    }

    /// The first topic in it.
    pub fn first(&self) -> Topic {
        match self {
            Self::Lines(lines) => lines[0].topic,
            Self::Nodes { children, .. } => children[0].0,
        }
    }

    /// The line of a topic; `None` proves its absence from this node.
    pub fn line(&self, topic: Topic) -> Option<&TopicLine> {
        let Self::Lines(lines) = self else {
            return None;
        };
        let at = lines.binary_search_by_key(&topic, |line| line.topic).ok()?;
        lines.get(at)
    }

    /// The child that would hold a topic; `None` where the topic sorts before
    /// the node, or the node has lines.
    pub fn child_for(&self, topic: Topic) -> Option<(Topic, Cid)> {
        let Self::Nodes { children, .. } = self else {
            return None;
        };
        let after = children.partition_point(|(first, _)| *first <= topic);
        children.get(after.checked_sub(1)?).copied()
    }

    /// Encodes the node as a block.
    pub fn encode(&self) -> Block {
        cbor::encode(&match self {
            Self::Lines(lines) => {
                let mut leaves = Vec::new();
                let mut numbers = BTreeMap::new();
                let topics = lines.iter().map(|line| {
                    let mut fields = Vec::with_capacity(3 * line.days.len());
                    for day in &line.days {
                        let number = day.leaf.map_or(0, |leaf| {
                            *numbers.entry(leaf).or_insert_with(|| {
                                leaves.push(leaf);
                                u32::try_from(leaves.len()).expect("a node names few leaves")
                            })
                        });
                        fields.extend([u32::from(day.day), day.count, number]);
                    }
                    (ByteArray::new(line.topic.0), fields)
                });
                let topics = topics.collect();
                NodeCbor {
                    level: 0,
                    leaves: Some(leaves),
                    topics: Some(topics),
                    nodes: None,
                }
            }
            Self::Nodes { level, children } => NodeCbor {
                level: *level,
                leaves: None,
                topics: None,
                nodes: Some(
                    children
                        .iter()
                        .map(|(topic, cid)| (ByteArray::new(topic.0), *cid))
                        .collect(),
                ),
            },
        })
    }

    /// Decodes a node, refusing whatever breaks what is always true of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let shape = |what: &str| CborError::Shape(what.to_owned());
        let node = match cbor::decode::<NodeCbor>(bytes)? {
            NodeCbor {
                level: 0,
                leaves: Some(leaves),
                topics: Some(topics),
                nodes: None,
            } => {
                let lines = topics
                    .into_iter()
                    .map(|(topic, fields)| {
                        line_from_cbor(Topic(topic.into_array()), &fields, &leaves)
                    })
                    .collect::<Option<_>>();
                Self::Lines(lines.ok_or_else(|| shape("a topic's days are wrong"))?)
            }
            NodeCbor {
                level: level @ 1..=TOPICS_MAX_LEVEL,
                leaves: None,
                topics: None,
                nodes: Some(nodes),
            } => {
                let children = nodes
                    .into_iter()
                    .map(|(t, cid)| (Topic(t.into_array()), cid));
                Self::Nodes {
                    level,
                    children: children.collect(),
                }
            }
            _ => return Err(shape("level does not fit the children")),
        };
        let sound = match &node {
            Self::Lines(lines) => {
                !lines.is_empty()
                    && lines.iter().map(TopicLine::weight).sum::<u64>() <= LINES_MAX
                    && lines.windows(2).all(|pair| pair[0].topic < pair[1].topic)
            }
            Self::Nodes { children, .. } => {
                is_width(children.len())
                    && children.windows(2).all(|pair| pair[0].0 < pair[1].0)
                    && children
                        .iter()
                        .all(|(_, cid)| links_to(cid, Codec::DagCbor))
            }
        };
        // Links out of order of first use, or unused, are another spelling.
        if sound && node.encode().bytes() == bytes {
            Ok(node)
        } else {
            Err(shape(
                "topic index node is empty, too wide, unsorted or not canonical",
            ))
        }
    }

    /// Reads a verified block as the node its parent says it is.
    pub fn read(
        block: &Block,
        level: Option<u8>,
        first: Option<Topic>,
    ) -> Result<Self, ArchiveError> {
        let cid = *block.cid();
        if Codec::of(&cid) != Some(Codec::DagCbor) {
            return Err(ArchiveError::NotAsLinked { cid });
        }
        let node =
            Self::decode(block.bytes()).map_err(|source| ArchiveError::Node { cid, source })?;
        let fits = level.is_none_or(|level| node.level() == level)
            && first.is_none_or(|first| node.first() == first);
        if fits {
            Ok(node)
        } else {
            Err(ArchiveError::NotAsLinked { cid })
        }
    }
}

fn line_from_cbor(topic: Topic, fields: &[u32], leaves: &[Cid]) -> Option<TopicLine> {
    let (days, rest) = fields.as_chunks::<3>();
    let days = days
        .iter()
        .map(|[day, count, leaf]| {
            let leaf = match leaf.checked_sub(1) {
                None => None,
                Some(at) => Some(*leaves.get(usize::try_from(at).ok()?)?),
            };
            let day = u8::try_from(*day)
                .ok()
                .filter(|day| (1..=31).contains(day))?;
            (*count > 0).then_some(TopicDay {
                day,
                count: *count,
                leaf,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let raw = days
        .iter()
        .filter_map(|d| d.leaf)
        .all(|leaf| links_to(&leaf, Codec::Raw));
    let sorted = days.windows(2).all(|pair| pair[0].day < pair[1].day);
    (rest.is_empty() && !days.is_empty() && raw && sorted).then_some(TopicLine { topic, days })
}

/// Builds the index over a month's closed days; `None` where there are none.
/// Reads the packs, not the leaves; memory holds a pack for each day.
pub fn build_index<S: BlockSink + ?Sized>(
    source: &dyn BlockSource,
    closed: &[(u8, SegmentRef)],
    sink: &mut S,
) -> Result<Option<Cid>, ArchiveError> {
    update_index(source, None, Vec::new(), closed, sink)
}

/// Builds the index over the days `unchanged`, whose lines the index `before`
/// has, and the closed days `changed`, of which it may have other lines. Reads
/// nothing of the unchanged days: they need not be there.
pub fn update_index<S: BlockSink + ?Sized>(
    source: &dyn BlockSource,
    before: Option<Cid>,
    unchanged: Vec<u8>,
    changed: &[(u8, SegmentRef)],
    sink: &mut S,
) -> Result<Option<Cid>, ArchiveError> {
    let mut carried = Carried::new(source, before, unchanged)?;
    let mut days = changed
        .iter()
        .map(|(day, segment)| DayTopics::new(*day, LeafWalk::new(source, *segment)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut builder = IndexBuilder::new(sink);
    loop {
        let topics = days.iter().filter_map(DayTopics::topic);
        let Some(topic) = topics.chain(carried.topic()).min() else {
            break;
        };
        let mut line = TopicLine {
            topic,
            days: carried.take(topic)?,
        };
        for day in &mut days {
            if day.topic() == Some(topic) {
                line.days.push(day.take()?);
            }
        }
        line.days.sort_unstable_by_key(|day| day.day);
        builder.push(line)?;
    }
    Ok(builder.finish()?)
}

/// The topics of one day, in order, each once.
struct DayTopics<'s> {
    day: u8,
    walk: LeafWalk<'s>,
    entry: Option<(LeafEntry, usize)>,
}

impl<'s> DayTopics<'s> {
    fn new(day: u8, mut walk: LeafWalk<'s>) -> Result<Self, ArchiveError> {
        let entry = walk.next().transpose()?.map(|entry| (entry, 0));
        Ok(Self { day, walk, entry })
    }

    fn topic(&self) -> Option<Topic> {
        self.entry.as_ref().map(|(entry, at)| entry.runs[*at].topic)
    }

    /// Takes the current topic, through all leaves it spans.
    fn take(&mut self) -> Result<TopicDay, ArchiveError> {
        let topic = self.topic();
        let mut found = TopicDay {
            day: self.day,
            count: 0,
            leaf: None,
        };
        let mut leaves = 0;
        while self.topic() == topic
            && let Some((entry, at)) = &mut self.entry
        {
            found.count = found.count.saturating_add(entry.runs[*at].count);
            found.leaf = Some(entry.cid);
            leaves += 1;
            *at += 1;
            if *at == entry.runs.len() {
                self.entry = self.walk.next().transpose()?.map(|entry| (entry, 0));
            }
        }
        if leaves > 1 {
            found.leaf = None;
        }
        Ok(found)
    }
}

/// Cuts lines into nodes and nodes into higher ones.
struct IndexBuilder<'s, S: BlockSink + ?Sized> {
    sink: &'s mut S,
    lines: Vec<TopicLine>,
    splitter: Splitter,
    /// Index 0 gathers the children of level 1.
    levels: Vec<(Vec<(Topic, Cid)>, Splitter)>,
}

impl<'s, S: BlockSink + ?Sized> IndexBuilder<'s, S> {
    fn new(sink: &'s mut S) -> Self {
        let splitter = Splitter::new(LINES_UNIT, LINES_MAX);
        Self {
            sink,
            lines: Vec::new(),
            splitter,
            levels: Vec::new(),
        }
    }

    fn push(&mut self, line: TopicLine) -> Result<(), BlockError> {
        let weight = line.weight();
        if self.splitter.must_cut_before(weight) {
            self.splitter.cut();
            self.close_lines()?;
        }
        let [a, b, c, d, ..] = keccak256(line.topic.0);
        self.lines.push(line);
        if self
            .splitter
            .cuts_after(weight, u32::from_be_bytes([a, b, c, d]))
        {
            self.close_lines()?;
        }
        Ok(())
    }

    fn close_lines(&mut self) -> Result<(), BlockError> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            Ok(())
        } else {
            self.push_node(0, &TopicNode::Lines(lines))
        }
    }

    /// Stores a node and hands it to the level above it.
    fn push_node(&mut self, above: usize, node: &TopicNode) -> Result<(), BlockError> {
        let block = node.encode();
        self.sink.take(&block)?;
        if self.levels.len() == above {
            self.levels
                .push((Vec::new(), Splitter::new(PACK_UNIT, PACK_MAX_CHILDREN)));
        }
        if self.levels[above].1.must_cut_before(1) {
            self.close_level(above)?;
        }
        let digest = digest_of(block.cid())?;
        let at = 4 * ((above + 1) % 8);
        let hash = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        let (children, splitter) = &mut self.levels[above];
        children.push((node.first(), *block.cid()));
        if splitter.cuts_after(1, hash) {
            self.close_level(above)?;
        }
        Ok(())
    }

    fn close_level(&mut self, index: usize) -> Result<(), BlockError> {
        let (children, splitter) = &mut self.levels[index];
        splitter.cut();
        let children = std::mem::take(children);
        if children.is_empty() {
            return Ok(());
        }
        let level = u8::try_from(index + 1)
            .unwrap_or(u8::MAX)
            .min(TOPICS_MAX_LEVEL);
        self.push_node(index + 1, &TopicNode::Nodes { level, children })
    }

    fn finish(mut self) -> Result<Option<Cid>, BlockError> {
        self.close_lines()?;
        let mut index = 0;
        while index < self.levels.len() {
            let is_top = index + 1 == self.levels.len();
            if let ([(_, only)], true) = (self.levels[index].0.as_slice(), is_top) {
                return Ok(Some(*only));
            }
            self.close_level(index)?;
            index += 1;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
