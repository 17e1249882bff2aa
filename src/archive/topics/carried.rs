//! The lines of an earlier index that still hold.
//!
//! Always true: lines come in order of topic, each with the days asked for and
//! no other. Levels strictly fall and topics strictly ascend, so a subtree linked
//! twice ends the reading.

use std::vec::IntoIter;

use super::{TopicDay, TopicLine, TopicNode};
use crate::archive::ArchiveError;
use crate::blocks::{BlockSource, Cid};
use crate::whisper::Topic;

/// A node to read, and what its parent says of it.
struct Next {
    cid: Cid,
    level: Option<u8>,
    first: Option<Topic>,
}

/// Days of an earlier index, carried into the next.
pub(super) struct Carried<'s> {
    source: &'s dyn BlockSource,
    days: Vec<u8>,
    /// Nodes not read yet, the next one last.
    nodes: Vec<Next>,
    lines: IntoIter<TopicLine>,
    line: Option<TopicLine>,
}

impl<'s> Carried<'s> {
    /// The lines that the index `root` has of `days`.
    pub(super) fn new(
        source: &'s dyn BlockSource,
        root: Option<Cid>,
        days: Vec<u8>,
    ) -> Result<Self, ArchiveError> {
        let root = root.map(|cid| Next {
            cid,
            level: None,
            first: None,
        });
        let mut carried = Self {
            source,
            days,
            nodes: root.into_iter().collect(),
            lines: Vec::new().into_iter(),
            line: None,
        };
        carried.advance()?;
        Ok(carried)
    }

    /// The topic of the next line.
    pub(super) fn topic(&self) -> Option<Topic> {
        self.line.as_ref().map(|line| line.topic)
    }

    /// The days of the line of `topic`, if that is the next one.
    pub(super) fn take(&mut self, topic: Topic) -> Result<Vec<TopicDay>, ArchiveError> {
        match self.line.take_if(|line| line.topic == topic) {
            None => Ok(Vec::new()),
            Some(line) => {
                self.advance()?;
                Ok(line.days)
            }
        }
    }

    fn advance(&mut self) -> Result<(), ArchiveError> {
        loop {
            for mut line in self.lines.by_ref() {
                line.days.retain(|day| self.days.contains(&day.day));
                if !line.days.is_empty() {
                    self.line = Some(line);
                    return Ok(());
                }
            }
            let Some(Next { cid, level, first }) = self.nodes.pop() else {
                self.line = None;
                return Ok(());
            };
            let block = self.source.get(&cid)?;
            match TopicNode::read(&block, level, first)? {
                TopicNode::Lines(lines) => self.lines = lines.into_iter(),
                TopicNode::Nodes { level, children } => {
                    let below = children.into_iter().rev().map(|(first, cid)| Next {
                        cid,
                        level: Some(level - 1),
                        first: Some(first),
                    });
                    self.nodes.extend(below);
                }
            }
        }
    }
}
