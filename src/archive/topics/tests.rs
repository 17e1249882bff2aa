//! The topic index.

use super::*;
use crate::archive::leaf::Record;
use crate::archive::testing::{store_segment, traffic};
use crate::blocks::MemoryStore;
use crate::blocks::{BlockStore, Group, Reuse};

fn month(blocks: &MemoryStore, per_day: usize) -> (Vec<(u8, SegmentRef)>, Vec<Vec<Record>>) {
    let mut closed = Vec::new();
    let mut days = Vec::new();
    for day in 1..=5u8 {
        let mut records = traffic(u64::from(day), per_day, 300, 0, 86_400);
        records.sort_by_key(|r| r.key);
        let segment = store_segment(&records, blocks, Group::Day(day.into()))
            .unwrap()
            .unwrap();
        closed.push((day, segment));
        days.push(records);
    }
    (closed, days)
}

fn lines(blocks: &MemoryStore, cid: Cid, level: Option<u8>) -> Vec<TopicLine> {
    match TopicNode::read(&blocks.get(&cid).unwrap(), level, None).unwrap() {
        TopicNode::Lines(lines) => lines,
        TopicNode::Nodes { level, children } => children
            .into_iter()
            .flat_map(|(_, child)| lines(blocks, child, Some(level - 1)))
            .collect(),
    }
}

#[test]
fn every_topic_of_every_day_has_its_line_and_count() {
    for per_day in [3, 2_000] {
        let blocks = MemoryStore::default();
        let (closed, days) = month(&blocks, per_day);
        let mut writer = blocks.begin(Group::Calendar, Reuse::SameGroup).unwrap();
        let root = build_index(&blocks, &closed, &mut *writer)
            .unwrap()
            .unwrap();
        writer.commit(&root).unwrap();
        let mut expected: BTreeMap<Topic, BTreeMap<u8, u32>> = BTreeMap::new();
        for (records, day) in days.iter().zip(1u8..) {
            for record in records {
                *expected
                    .entry(record.key.topic)
                    .or_default()
                    .entry(day)
                    .or_default() += 1;
            }
        }
        let found: BTreeMap<Topic, BTreeMap<u8, u32>> = lines(&blocks, root, None)
            .into_iter()
            .map(|l| (l.topic, l.days.iter().map(|d| (d.day, d.count)).collect()))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_named_leaf_holds_all_of_the_topics_envelopes_of_that_day() {
    let blocks = MemoryStore::default();
    let (closed, days) = month(&blocks, 500);
    let mut writer = blocks.begin(Group::Calendar, Reuse::SameGroup).unwrap();
    let root = build_index(&blocks, &closed, &mut *writer)
        .unwrap()
        .unwrap();
    writer.commit(&root).unwrap();
    let mut named = 0;
    for line in lines(&blocks, root, None) {
        for day in line.days {
            let Some(leaf) = day.leaf else { continue };
            let records = super::super::leaf::decode(blocks.get(&leaf).unwrap().bytes()).unwrap();
            let of =
                |records: &[Record]| records.iter().filter(|r| r.key.topic == line.topic).count();
            assert_eq!(of(&records), of(&days[usize::from(day.day) - 1]));
            named += 1;
        }
    }
    assert!(named > 100);
}

#[test]
fn an_index_brought_up_to_date_is_the_one_built_anew() {
    for per_day in [3, 2_000] {
        let blocks = MemoryStore::default();
        let (closed, _) = month(&blocks, per_day);
        let index = |closed: &[(u8, SegmentRef)]| {
            let mut writer = blocks.begin(Group::Calendar, Reuse::SameGroup).unwrap();
            let root = build_index(&blocks, closed, &mut *writer).unwrap();
            writer.commit(&root.unwrap()).unwrap();
            root
        };
        let whole = index(&closed);
        // Day 2 was another one, and day 5 was not there.
        let (_, other) = closed[0];
        let before = index(&[closed[0], (2, other), closed[2], closed[3]]);
        let nodes = MemoryStore::default();
        for file in blocks.files().unwrap() {
            if file.group == Group::Calendar || [2, 5].map(Group::Day).contains(&file.group) {
                let mut copy = nodes.begin(file.group, Reuse::Nothing).unwrap();
                let cids = blocks.cids(&file.name).unwrap();
                for cid in &cids {
                    copy.put(&blocks.get(cid).unwrap()).unwrap();
                }
                copy.commit(&cids[0]).unwrap();
            }
        }
        // Nothing of the days 1, 3 and 4 is there to be read.
        let changed = [closed[1], closed[4]];
        let mut sink = blocks.begin(Group::Calendar, Reuse::SameGroup).unwrap();
        let updated = update_index(&nodes, before, vec![1, 3, 4], &changed, &mut *sink);
        assert_eq!(updated.unwrap(), whole);
    }
}

#[test]
fn nodes_that_cannot_be_are_refused() {
    let leaf = *Block::new(Codec::Raw, vec![1]).cid();
    let day = |day, count, leaf| TopicDay { day, count, leaf };
    let line = |topic, days| TopicLine {
        topic: Topic([topic; 4]),
        days,
    };
    let sound = TopicNode::Lines(vec![
        line(1, vec![day(1, 5, Some(leaf)), day(2, 5, None)]),
        line(2, vec![day(1, 5, Some(leaf))]),
    ]);
    assert_eq!(TopicNode::decode(sound.encode().bytes()), Ok(sound));
    for lines in [
        vec![],
        vec![
            line(2, vec![day(1, 5, None)]),
            line(1, vec![day(1, 5, None)]),
        ],
        vec![line(1, vec![])],
        vec![line(1, vec![day(1, 0, None)])],
        vec![line(1, vec![day(0, 1, None)])],
        vec![line(1, vec![day(32, 1, None)])],
        vec![line(1, vec![day(2, 1, None), day(1, 1, None)])],
    ] {
        assert!(TopicNode::decode(TopicNode::Lines(lines).encode().bytes()).is_err());
    }
}
