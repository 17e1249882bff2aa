//! Deletes files of blocks that the current head has left behind.
//!
//! Always true: no file goes that holds a block the current head reaches and no
//! other file holds. Segments and deltas that followers may be reading stay for
//! the grace.
//!
//! - An hour's file goes when its day has closed: the day's file stands alone.
//! - A delta's files go together, when the head names none of their roots: a copied
//!   one lies in several.
//! - Calendar files are rewritten as one when there are many; a head before the
//!   current one may then lack nodes that only the old files held. Where a node is
//!   missing that should be here they stay as they are: what lies below it may be
//!   in any of them.

use std::collections::HashSet;

use super::DiskError;
use crate::archive::ArchiveError;
use crate::archive::calendar::{CalendarNode, Level};
use crate::archive::head::Head;
use crate::archive::topics::TopicNode;
use crate::archive::watermark::Hour;
use crate::blocks::{Block, BlockError, BlockFile, BlockStore, Cid, Group, Reuse};
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
    held: Calendar,
    now: UnixSeconds,
) -> Result<u64, DiskError> {
    let body = head.body();
    let old = |file: &BlockFile| now.since(file.written) > GRACE;
    let roots: HashSet<Cid> = body.open.iter().chain(&body.added).copied().collect();
    let files = store.files()?;
    let live = live_deltas(store, &files, &roots)?;
    let mut freed = 0;
    let mut calendars = Vec::new();
    for file in files.into_iter().filter(old) {
        let left_behind = match file.group {
            Group::Hour(hour) => body.watermark.closes_day(Hour(hour).day()),
            Group::Delta(_) => !live.contains(&file.group),
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
        let rewritten = match rewrite_calendar(store, &state, held) {
            Err(error) if error.is_missing() => {
                tracing::warn!(%error, "calendar files stay as they are");
                return Ok(freed);
            }
            other => other?,
        };
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

/// Groups of deltas in which one of `roots` lies.
fn live_deltas(
    store: &dyn BlockStore,
    files: &[BlockFile],
    roots: &HashSet<Cid>,
) -> Result<HashSet<Group>, DiskError> {
    let mut live = HashSet::new();
    for file in files {
        if matches!(file.group, Group::Delta(_)) && !live.contains(&file.group) {
            let cids = store.cids(&file.name)?;
            if cids.iter().any(|cid| roots.contains(cid)) {
                live.insert(file.group);
            }
        }
    }
    Ok(live)
}

/// How much of its calendar a disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calendar {
    /// All of it.
    Whole,
    /// A part: that of a fork whose history was not fetched.
    Part,
}

/// Writes every node of the calendar below `state`, topic indexes included, as
/// one file that stands alone; of a part, those that are here.
fn rewrite_calendar(
    store: &dyn BlockStore,
    state: &Cid,
    held: Calendar,
) -> Result<Option<BlockFile>, ArchiveError> {
    let mut file = store.begin(Group::Calendar, Reuse::Nothing)?;
    let mut take = |cid: &Cid| match store.get(cid) {
        Err(error) if error.is_missing() && held == Calendar::Part => Ok(None),
        other => {
            let block = other?;
            file.put(&block)?;
            Ok::<_, BlockError>(Some(block))
        }
    };
    // Without the state everything would seem to be missing.
    store.get(state)?;
    let mut nodes = vec![(Level::State, *state)];
    while let Some((level, cid)) = nodes.pop() {
        let Some(block) = take(&cid)? else { continue };
        let node = CalendarNode::read(level, &block, None)?;
        let below = match level {
            Level::State => Level::Year,
            Level::Year => Level::Month,
            Level::Month => {
                let open = node.open.and_then(|day| node.children.get(&day));
                nodes.extend(open.map(|open| (Level::OpenDay, open.cid)));
                take_index(node.topics, &mut take)?;
                continue;
            }
            Level::OpenDay => continue,
        };
        nodes.extend(node.children.values().map(|child| (below, child.cid)));
    }
    Ok(file.commit(state)?)
}

fn take_index(
    root: Option<Cid>,
    take: &mut impl FnMut(&Cid) -> Result<Option<Block>, BlockError>,
) -> Result<(), ArchiveError> {
    let mut nodes: Vec<Cid> = root.into_iter().collect();
    while let Some(cid) = nodes.pop() {
        if let Some(block) = take(&cid)?
            && let TopicNode::Nodes { children, .. } = TopicNode::read(&block, None, None)?
        {
            nodes.extend(children.into_iter().map(|(_, child)| child));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::calendar::CalendarReader;
    use crate::archive::disk::mirror::tests::{
        FROM, Folder, NOW, assert_sound, at, follow, mirror_of, sent,
    };
    use crate::archive::disk::{Archive, Stop, sealed_by};
    use crate::archive::testing::envelope;
    use crate::archive::verify::{Sample, verify};
    use crate::archive::watermark::{Day, Watermark};
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

        rewrite_calendar(&memory, &head.body().state.unwrap(), Calendar::Whole).unwrap();
        for n in 0..CALENDAR_FILES {
            let block = Block::new(Codec::Raw, n.to_be_bytes().to_vec());
            store(&memory, Group::Calendar, &[block]);
        }
        let later = SystemClock.now().saturating_add(2 * DAY);
        assert!(sweep(&memory, &head, Calendar::Whole, later).unwrap() > 0);
        let is_calendar = |file: &BlockFile| file.group == Group::Calendar;
        let left = memory.files().unwrap();
        assert_eq!(left.into_iter().filter(is_calendar).count(), 1);
        let sealed = sealed_by(&head);
        let verified = verify(&memory, &sealed, *head.cid(), Sample::EVERYTHING, &Quiet);
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        assert_eq!(verified.envelopes, 1);
    }
    fn assert_seals_on(archive: &Archive) {
        archive.append(&sent(77, 50, 2 * DAY, DAY)).unwrap();
        let sealed = archive.seal(at(4 * DAY), NOW, &Quiet).unwrap();
        assert!(sealed.added.count > 0);
        assert_sound(archive);
    }

    #[test]
    fn open_deltas_that_a_mirror_copied_are_kept() {
        let source = Folder::with_open_deltas();
        let head = source.archive.head().unwrap();
        let (_dir, mirror) = mirror_of(&head);
        follow(&mirror, &head, source.archive.blocks()).unwrap();
        mirror.sweep(UnixSeconds::MAX).unwrap();
        assert_sound(&mirror);
        let next = source.add(&sent(5, 20, 3 * DAY, DAY), 4 * DAY);
        follow(&mirror, &next, source.archive.blocks()).unwrap();
        assert_sound(&mirror);
    }

    #[test]
    fn open_deltas_of_a_fork_with_its_whole_history_are_kept() {
        let source = Folder::with_open_deltas();
        let head = source.archive.head().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let blocks = source.archive.blocks();
        let forked = Archive::fork(dir.path(), "", &head, blocks, Vec::new(), NOW, &Quiet);
        let (fork, _) = forked.unwrap();
        fork.complete(blocks, &Stop::default(), &Quiet).unwrap();
        fork.sweep(UnixSeconds::MAX).unwrap();
        assert_sound(&fork);
        assert_seals_on(&fork);
    }

    #[test]
    fn open_deltas_that_a_repair_fetched_again_are_kept() {
        let source = Folder::with_open_deltas();
        let head = source.archive.head().unwrap();
        let (dir, mirror) = mirror_of(&head);
        follow(&mirror, &head, source.archive.blocks()).unwrap();
        mirror.leave_origin(NOW).unwrap();
        let deltas = |archive: &Archive| {
            let files = archive.blocks().folder().files().unwrap().into_iter();
            files.filter(|file| matches!(file.group, Group::Delta(_)))
        };
        for file in deltas(&mirror).step_by(2) {
            let path = dir.path().join("blocks").join(&file.name);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
        drop(mirror);
        let archive = Archive::open(dir.path()).unwrap();
        let blocks = source.archive.blocks();
        let repaired = archive.repair(blocks, &Stop::default(), &Quiet).unwrap();
        assert!(repaired.files > 0 && repaired.copied.blocks > 0);
        archive.sweep(UnixSeconds::MAX).unwrap();
        assert_sound(&archive);
        assert_seals_on(&archive);
    }

    #[test]
    fn deltas_that_a_head_no_longer_names_go_in_all_their_parts() {
        let source = Folder::with_open_deltas();
        let head = source.archive.head().unwrap();
        let (_dir, mirror) = mirror_of(&head);
        follow(&mirror, &head, source.archive.blocks()).unwrap();
        mirror.leave_origin(NOW).unwrap();
        mirror.append(&sent(77, 50, 3 * DAY, DAY)).unwrap();
        let sealed = mirror.seal(at(4 * DAY), NOW, &Quiet).unwrap().head.unwrap();
        mirror.sweep(UnixSeconds::MAX).unwrap();
        let files = mirror.blocks().folder().files().unwrap();
        let deltas = files.iter().map(|file| file.group);
        let deltas: HashSet<_> = deltas.filter(|g| matches!(g, Group::Delta(_))).collect();
        assert_eq!(deltas, [Group::Delta(sealed.body().sequence.0)].into());
    }

    /// Two months, without the first one's node, and many calendar files.
    fn part_of_a_calendar() -> (MemoryStore, Head) {
        let source = Folder::new();
        source.add(&sent(1, 60, 0, DAY), DAY);
        let head = source.add(&sent(2, 60, 20 * DAY, DAY), 21 * DAY);
        let blocks = source.archive.blocks();
        let state = head.body().state.unwrap();
        let calendar = CalendarReader::new(blocks, Some(&state)).unwrap();
        let (_, first) = calendar.months().unwrap()[0];
        let memory = MemoryStore::new();
        for file in blocks.folder().files().unwrap() {
            let cids = blocks.folder().cids(&file.name).unwrap();
            let held = cids.iter().filter(|cid| **cid != first.cid);
            let held: Vec<_> = held.map(|cid| blocks.get(cid).unwrap()).collect();
            store(&memory, file.group, &held);
        }
        for n in 0..CALENDAR_FILES {
            let block = Block::new(Codec::Raw, n.to_be_bytes().to_vec());
            store(&memory, Group::Calendar, &[block]);
        }
        (memory, head)
    }

    #[test]
    fn what_a_fork_holds_of_a_calendar_is_rewritten_and_still_read() {
        let (memory, head) = part_of_a_calendar();
        let later = SystemClock.now().saturating_add(2 * DAY);
        assert!(sweep(&memory, &head, Calendar::Part, later).unwrap() > 0);
        let left = memory.files().unwrap();
        let calendars = left.iter().filter(|file| file.group == Group::Calendar);
        assert_eq!(calendars.count(), 1);
        let state = head.body().state;
        let mut calendar = CalendarReader::new(&memory, state.as_ref()).unwrap();
        let day = Day::of(UnixSeconds(FROM + 20 * DAY));
        assert!(calendar.day(day).unwrap().is_some());
        assert!(calendar.day(Day::of(UnixSeconds(FROM))).is_err());
    }

    #[test]
    fn a_calendar_that_should_be_whole_and_is_not_is_left_as_it_is() {
        let (memory, head) = part_of_a_calendar();
        let calendars = || {
            let files = memory.files().unwrap().into_iter();
            files.filter(|file| file.group == Group::Calendar).count()
        };
        let before = calendars();
        let later = SystemClock.now().saturating_add(2 * DAY);
        sweep(&memory, &head, Calendar::Whole, later).unwrap();
        assert_eq!(calendars(), before);
    }
}
