//! What every store must do, whatever it keeps blocks in.
//!
//! A store's own tests call [`run`] with a way to make an empty one.

use super::*;

pub(super) fn raw(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec())
}

/// Commits `blocks` as one file headed by the last of them.
pub(super) fn commit(
    store: &dyn BlockStore,
    group: Group,
    reuse: Reuse,
    blocks: &[Block],
) -> Option<BlockFile> {
    let mut writer = store.begin(group, reuse).unwrap();
    for block in blocks {
        writer.put(block).unwrap();
    }
    writer.commit(blocks.last().unwrap().cid()).unwrap()
}

/// Runs the whole suite, each part on a store of its own.
pub(super) fn run<S: BlockStore>(fresh: impl Fn() -> S) {
    for part in [
        committed_blocks_are_read_back,
        nothing_shows_before_commit,
        an_abandoned_writer_leaves_nothing,
        an_empty_file_is_not_kept,
        a_group_shares_blocks_where_it_may,
        groups_never_share,
        files_and_their_blocks_are_listed_in_order,
        removing_a_file_keeps_what_others_hold,
        the_same_file_twice_is_one_file,
        one_root_may_head_several_files,
        what_no_reader_accepts_is_not_written,
        foreign_cids_are_refused,
        writers_work_side_by_side,
    ] {
        part(&fresh());
    }
}

fn committed_blocks_are_read_back(store: &dyn BlockStore) {
    let blocks = [
        raw("leaf"),
        raw(""),
        Block::new(Codec::DagCbor, &b"\xa0"[..]),
        Block::new(Codec::Raw, vec![7; MAX_BLOCK_READ]),
        // The same bytes under another codec are another block.
        Block::new(Codec::DagCbor, &b"leaf"[..]),
    ];
    let file = commit(store, Group::Day(17_789), Reuse::Nothing, &blocks).unwrap();
    assert_eq!(file.blocks, 5);
    assert!(file.bytes >= MAX_BLOCK_READ as u64);
    for block in &blocks {
        assert!(store.has(block.cid()).unwrap());
        assert_eq!(store.get(block.cid()).unwrap(), *block);
    }
    let absent = raw("never written");
    assert!(!store.has(absent.cid()).unwrap());
    assert!(store.get(absent.cid()).unwrap_err().is_missing());
}

fn nothing_shows_before_commit(store: &dyn BlockStore) {
    let old = raw("old");
    commit(
        store,
        Group::Calendar,
        Reuse::Nothing,
        std::slice::from_ref(&old),
    );
    let new = raw("new");
    let mut writer = store.begin(Group::Delta(1), Reuse::Nothing).unwrap();
    assert!(!writer.has(new.cid()).unwrap());
    assert!(writer.put(&new).unwrap());
    // The writer sees its own blocks and the store's; the store only its own.
    assert_eq!(writer.get(new.cid()).unwrap(), new);
    assert_eq!(writer.get(old.cid()).unwrap(), old);
    assert!(writer.has(new.cid()).unwrap() && writer.has(old.cid()).unwrap());
    assert!(writer.get(raw("neither").cid()).unwrap_err().is_missing());
    assert!(!store.has(new.cid()).unwrap());
    assert!(store.get(new.cid()).unwrap_err().is_missing());
    assert_eq!(store.files().unwrap().len(), 1);
    writer.commit(new.cid()).unwrap();
    assert_eq!(store.get(new.cid()).unwrap(), new);
    assert_eq!(store.files().unwrap().len(), 2);
}

fn an_abandoned_writer_leaves_nothing(store: &dyn BlockStore) {
    let block = raw("abandoned");
    let mut writer = store.begin(Group::Hour(3), Reuse::SameGroup).unwrap();
    writer.put(&block).unwrap();
    drop(writer);
    assert!(!store.has(block.cid()).unwrap());
    assert!(store.files().unwrap().is_empty());
    // Nor does it stand in the way of a second attempt.
    assert!(commit(store, Group::Hour(3), Reuse::SameGroup, &[block]).is_some());
}

fn an_empty_file_is_not_kept(store: &dyn BlockStore) {
    let block = raw("only");
    let writer = store.begin(Group::Day(1), Reuse::Nothing).unwrap();
    assert_eq!(writer.commit(block.cid()).unwrap(), None);
    assert!(store.files().unwrap().is_empty());
    let one = [block];
    assert!(commit(store, Group::Day(1), Reuse::SameGroup, &one).is_some());
    assert_eq!(commit(store, Group::Day(1), Reuse::SameGroup, &one), None);
    assert_eq!(store.files().unwrap().len(), 1);
}

fn a_group_shares_blocks_where_it_may(store: &dyn BlockStore) {
    let (a, b, c) = (raw("a"), raw("b"), raw("c"));
    commit(
        store,
        Group::Day(9),
        Reuse::SameGroup,
        &[a.clone(), b.clone()],
    );
    let mut patch = store.begin(Group::Day(9), Reuse::SameGroup).unwrap();
    assert!(!patch.put(&a).unwrap());
    assert!(patch.put(&c).unwrap());
    assert!(!patch.put(&c).unwrap());
    let patch = patch.commit(c.cid()).unwrap().unwrap();
    assert_eq!(store.cids(&patch.name).unwrap(), [*c.cid()]);

    let mut alone = store.begin(Group::Day(9), Reuse::Nothing).unwrap();
    assert!(alone.put(&a).unwrap());
    assert!(!alone.put(&a).unwrap());
    assert!(alone.put(&c).unwrap());
    let alone = alone.commit(c.cid()).unwrap().unwrap();
    assert_eq!(store.cids(&alone.name).unwrap(), [*a.cid(), *c.cid()]);
}

fn groups_never_share(store: &dyn BlockStore) {
    let block = [raw("shared")];
    for group in [
        Group::Day(9),
        Group::Day(10),
        Group::Hour(9),
        Group::Delta(9),
        Group::Calendar,
    ] {
        let file = commit(store, group, Reuse::SameGroup, &block).unwrap();
        assert_eq!((file.group, file.blocks), (group, 1));
    }
}

fn files_and_their_blocks_are_listed_in_order(store: &dyn BlockStore) {
    let days = [3, 1, 2].map(|day| {
        let blocks = [raw(&format!("z{day}")), raw(&format!("a{day}")), raw("x")];
        let file = commit(store, Group::Day(day), Reuse::Nothing, &blocks).unwrap();
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        assert_eq!(store.cids(&file.name).unwrap(), cids);
        file
    });
    let listed = store.files().unwrap();
    assert_eq!(listed, [days[1].clone(), days[2].clone(), days[0].clone()]);
    assert!(store.cids("days/1970/none.car").is_err());
}

fn removing_a_file_keeps_what_others_hold(store: &dyn BlockStore) {
    let (shared, gone) = (raw("shared"), raw("gone"));
    let day = commit(
        store,
        Group::Day(1),
        Reuse::Nothing,
        &[shared.clone(), gone.clone()],
    );
    let hour = commit(
        store,
        Group::Hour(1),
        Reuse::Nothing,
        std::slice::from_ref(&shared),
    );
    store.remove(&day.unwrap().name).unwrap();
    assert_eq!(store.get(shared.cid()).unwrap(), shared);
    assert!(store.get(gone.cid()).unwrap_err().is_missing());
    assert!(!store.has(gone.cid()).unwrap());
    let hour = hour.unwrap();
    assert_eq!(store.files().unwrap(), std::slice::from_ref(&hour));
    store.remove(&hour.name).unwrap();
    assert!(store.remove(&hour.name).is_err());
    assert!(!store.has(shared.cid()).unwrap());
    assert!(store.files().unwrap().is_empty());
}

fn the_same_file_twice_is_one_file(store: &dyn BlockStore) {
    let blocks = [raw("a"), raw("b")];
    let first = commit(store, Group::Calendar, Reuse::Nothing, &blocks);
    let second = commit(store, Group::Calendar, Reuse::Nothing, &blocks);
    assert!(first.is_some());
    assert_eq!(first, second);
    assert_eq!(store.files().unwrap().len(), 1);
    store.remove(&first.unwrap().name).unwrap();
    assert!(!store.has(blocks[0].cid()).unwrap());
}

fn one_root_may_head_several_files(store: &dyn BlockStore) {
    let (a, b, root) = (raw("a"), raw("b"), raw("root"));
    let mut names = Vec::new();
    for parts in [vec![&a, &root], vec![&b, &root], vec![&root]] {
        let mut writer = store.begin(Group::Day(5), Reuse::Nothing).unwrap();
        for block in parts {
            writer.put(block).unwrap();
        }
        names.push(writer.commit(root.cid()).unwrap().unwrap().name);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    for block in [&a, &b, &root] {
        assert_eq!(store.get(block.cid()).unwrap(), *block);
    }
}

fn what_no_reader_accepts_is_not_written(store: &dyn BlockStore) {
    let large = Block::new(Codec::Raw, vec![0; MAX_BLOCK_READ + 1]);
    let mut writer = store.begin(Group::Day(5), Reuse::Nothing).unwrap();
    assert!(writer.put(&large).unwrap_err().is_corrupt());
    assert_eq!(writer.commit(large.cid()).unwrap(), None);
}

fn foreign_cids_are_refused(store: &dyn BlockStore) {
    let v0 = Cid::new_v0(*raw("a").cid().hash()).unwrap();
    let foreign = |error| matches!(error, BlockError::ForeignCid { .. });
    assert!(foreign(store.get(&v0).unwrap_err()));
    assert!(foreign(store.has(&v0).unwrap_err()));
    let mut writer = store.begin(Group::Day(5), Reuse::Nothing).unwrap();
    assert!(foreign(writer.get(&v0).unwrap_err()));
    writer.put(&raw("a")).unwrap();
    assert!(foreign(writer.commit(&v0).unwrap_err()));
    assert!(store.files().unwrap().is_empty());
}

fn writers_work_side_by_side(store: &dyn BlockStore) {
    std::thread::scope(|threads| {
        for day in 0..4 {
            threads.spawn(move || {
                for part in 0..4 {
                    let blocks = [raw("common"), raw(&format!("{day}/{part}"))];
                    commit(store, Group::Day(day), Reuse::Nothing, &blocks).unwrap();
                    assert_eq!(store.get(blocks[1].cid()).unwrap(), blocks[1]);
                }
            });
        }
    });
    assert_eq!(store.files().unwrap().len(), 16);
    for file in store.files().unwrap() {
        for cid in store.cids(&file.name).unwrap() {
            store.get(&cid).unwrap();
        }
    }
}
