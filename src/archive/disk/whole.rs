//! Whether a disk has what a head reaches outside days.
//!
//! Always true: only this disk is asked, never a depot. Of a leaf it is enough that the
//! index of a file names it; a node is read and hashed, and one that is damaged counts as
//! missing.

use super::Blocks;
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarNode, Level};
use crate::archive::head::Head;
use crate::archive::topics::TopicNode;
use crate::archive::watermark::{Day, Month};
use crate::blocks::links::links;
use crate::blocks::{BlockError, BlockSource, Cid, Codec};

impl Blocks {
    /// Demands that this disk has all that `head` reaches outside days: the calendar with
    /// its topic indexes, the hours of the open day, and this day's part of the deltas.
    /// The error names what is missing.
    pub fn require_all_but_days(&self, head: &Head) -> Result<(), ArchiveError> {
        let body = head.body();
        if let Some(state) = body.state {
            self.require_calendar(state)?;
        }
        let open_day = body.watermark.open_hour().day();
        for delta in body.open.iter().chain(&body.added) {
            self.require_delta(delta, open_day)?;
        }
        Ok(())
    }

    fn require_calendar(&self, state: Cid) -> Result<(), ArchiveError> {
        let here = self.here();
        let mut nodes = vec![(Level::State, state)];
        while let Some((level, cid)) = nodes.pop() {
            let node = CalendarNode::read(level, &here.get(&cid)?, None)?;
            let below = match level {
                Level::State => Level::Year,
                Level::Year => Level::Month,
                Level::Month => {
                    let open = node.open.and_then(|day| node.children.get(&day));
                    nodes.extend(open.map(|open| (Level::OpenDay, open.cid)));
                    self.require_index(node.topics)?;
                    continue;
                }
                Level::OpenDay => {
                    for hour in node.children.values() {
                        self.require_segment(hour.cid)?;
                    }
                    continue;
                }
            };
            nodes.extend(node.children.values().map(|child| (below, child.cid)));
        }
        Ok(())
    }

    fn require_index(&self, root: Option<Cid>) -> Result<(), ArchiveError> {
        let mut nodes: Vec<Cid> = root.into_iter().collect();
        while let Some(cid) = nodes.pop() {
            let block = self.here().get(&cid)?;
            if let TopicNode::Nodes { children, .. } = TopicNode::read(&block, None, None)? {
                nodes.extend(children.into_iter().map(|(_, child)| child));
            }
        }
        Ok(())
    }

    /// The nodes of a delta, and its segment of `open_day`: what it holds of closed days
    /// lies in these too, and whoever copied a history left it out.
    fn require_delta(&self, root: &Cid, open_day: Day) -> Result<(), ArchiveError> {
        let here = self.here();
        let read = |level, cid: &Cid| CalendarNode::read(level, &here.get(cid)?, None);
        let node = read(Level::State, root)?;
        for (year, child) in node.children {
            for (number, child) in read(Level::Year, &child.cid)?.children {
                let month = u8::try_from(number).expect("a decoded month is 1 to 12");
                let month = Month { year, month };
                for (number, segment) in read(Level::Month, &child.cid)?.children {
                    let number = u8::try_from(number).expect("a decoded day is 1 to 31");
                    if Day::from_date(month, number) == Some(open_day) {
                        self.require_segment(segment.cid)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn require_segment(&self, root: Cid) -> Result<(), BlockError> {
        let mut blocks = vec![root];
        while let Some(cid) = blocks.pop() {
            if Codec::of(&cid) == Some(Codec::DagCbor) {
                blocks.extend(links(&self.here().get(&cid)?)?);
            } else if !self.here().has(&cid)? {
                return Err(BlockError::Missing { cid });
            }
        }
        Ok(())
    }
}
