//! Deletes files of blocks that the current head has left behind.
//!
//! Always true: no file goes that holds a block the current head reaches and no
//! other file holds. Segments and deltas that followers may be reading stay for
//! the grace.
//!
//! - An hour's file goes when its day has closed: the day's file stands alone.
//! - A delta's file goes when the head names none of its roots.
//! - Calendar files are rewritten as one when there are many; a head before the
//!   current one may then lack nodes that only the old files held.

use std::collections::HashSet;

use super::DiskError;
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarNode, CalendarReader, Level};
use crate::archive::head::Head;
use crate::archive::topics::TopicNode;
use crate::archive::watermark::Hour;
use crate::blocks::{Block, BlockFile, BlockStore, Cid, Group, Reuse};
use crate::time::{DAY, UnixSeconds};

/// How long superseded files are kept: a mirror that asks once a day still finds
/// every delta since it last asked.
pub const GRACE: u32 = DAY;

/// From how many calendar files older than the grace on they are rewritten as
/// one: a day of five-minute seals makes 288.
pub const CALENDAR_FILES: usize = 288;

pub(super) fn sweep(
    store: &dyn BlockStore,
    head: &Head,
    now: UnixSeconds,
) -> Result<u64, DiskError> {
    let body = head.body();
    let old = |file: &BlockFile| now.since(file.written) > GRACE;
    let roots: HashSet<Cid> = body.open.iter().chain(&body.added).copied().collect();
    let files: Vec<_> = store.files()?.into_iter().filter(old).collect();
    let mut freed = 0;
    let mut calendars = Vec::new();
    for file in files {
        let left_behind = match file.group {
            Group::Hour(hour) => body.watermark.closes_day(Hour(hour).day()),
            Group::Delta(_) => !store
                .cids(&file.name)?
                .iter()
                .any(|cid| roots.contains(cid)),
            Group::Calendar => {
                calendars.push(file);
                continue;
            }
            Group::Day(_) => false,
        };
        if left_behind {
            store.remove(&file.name)?;
            freed += file.bytes;
        }
    }
    if calendars.len() >= CALENDAR_FILES
        && let Some(state) = body.state
    {
        let written = rewrite_calendar(store, &state)?;
        for file in calendars {
            store.remove(&file.name)?;
            freed += file.bytes;
        }
        freed = freed.saturating_sub(written);
    }
    Ok(freed)
}

/// Writes every node of the calendar below `state`, topic indexes included, as
/// one file that stands alone.
fn rewrite_calendar(store: &dyn BlockStore, state: &Cid) -> Result<u64, ArchiveError> {
    let mut file = store.begin(Group::Calendar, Reuse::Nothing)?;
    let calendar = CalendarReader::new(store, Some(state))?;
    for child in calendar
        .root()
        .iter()
        .flat_map(|root| root.children.values())
    {
        file.put(&store.get(&child.cid)?)?;
    }
    for (_, child) in calendar.months()? {
        let block = store.get(&child.cid)?;
        let month = CalendarNode::read(Level::Month, &block, Some(child.sums))?;
        if let Some(open) = month.open.and_then(|day| month.children.get(&day)) {
            file.put(&store.get(&open.cid)?)?;
        }
        let mut nodes: Vec<Cid> = month.topics.into_iter().collect();
        while let Some(cid) = nodes.pop() {
            let node: Block = store.get(&cid)?;
            if let TopicNode::Nodes { children, .. } = TopicNode::read(&node, None, None)? {
                nodes.extend(children.into_iter().map(|(_, child)| child));
            }
            file.put(&node)?;
        }
        file.put(&block)?;
    }
    file.put(&store.get(state)?)?;
    Ok(file.commit(state)?.map_or(0, |file| file.bytes))
}
