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
        let rewritten = rewrite_calendar(store, &state)?;
        // A sweep that was interrupted has left a file that is this one.
        calendars.retain(|file| Some(&file.name) != rewritten.as_ref().map(|file| &file.name));
        for file in calendars {
            store.remove(&file.name)?;
            freed += file.bytes;
        }
        freed = freed.saturating_sub(rewritten.map_or(0, |file| file.bytes));
    }
    Ok(freed)
}

/// Writes every node of the calendar below `state`, topic indexes included, as
/// one file that stands alone.
fn rewrite_calendar(
    store: &dyn BlockStore,
    state: &Cid,
) -> Result<Option<BlockFile>, ArchiveError> {
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
    Ok(file.commit(state)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::disk::{Archive, sealed_by};
    use crate::archive::testing::envelope;
    use crate::archive::verify::{Sample, verify};
    use crate::archive::watermark::Watermark;
    use crate::blocks::{BlockSource, Codec, MemoryStore};
    use crate::progress::Quiet;
    use crate::time::{Clock, SystemClock};

    fn store(store: &MemoryStore, group: Group, blocks: &[Block]) {
        let mut file = store.begin(group, Reuse::Nothing).unwrap();
        for block in blocks {
            file.put(block).unwrap();
        }
        file.commit(blocks[0].cid()).unwrap();
    }

    #[test]
    fn the_calendar_that_an_interrupted_sweep_rewrote_is_kept_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "").unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        let until = Watermark::new(UnixSeconds(2 * DAY)).unwrap();
        let head = archive.seal(until, until.at(), &Quiet).unwrap().head;
        let head = head.unwrap();
        let memory = MemoryStore::new();
        let folder = archive.blocks().folder();
        for file in folder.files().unwrap() {
            let cids = folder.cids(&file.name).unwrap();
            let blocks: Vec<_> = cids.iter().map(|cid| folder.get(cid).unwrap()).collect();
            store(&memory, file.group, &blocks);
        }

        rewrite_calendar(&memory, &head.body().state.unwrap()).unwrap();
        for n in 0..CALENDAR_FILES {
            let block = Block::new(Codec::Raw, n.to_be_bytes().to_vec());
            store(&memory, Group::Calendar, &[block]);
        }
        let later = SystemClock.now().saturating_add(2 * DAY);
        assert!(sweep(&memory, &head, later).unwrap() > 0);
        let is_calendar = |file: &BlockFile| file.group == Group::Calendar;
        let left = memory.files().unwrap();
        assert_eq!(left.into_iter().filter(is_calendar).count(), 1);
        let sealed = sealed_by(&head);
        let verified = verify(&memory, &sealed, *head.cid(), Sample::EVERYTHING, &Quiet);
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        assert_eq!(verified.envelopes, 1);
    }
}
