use std::sync::Arc;

use ipld_core::ipld::Ipld;

use super::*;
use crate::blocks::{BlockStore, Codec, Group, MemoryStore, Reuse};

fn leaf(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec())
}

fn node(children: &[&Block]) -> Block {
    let links = children.iter().map(|block| Ipld::Link(*block.cid()));
    let bytes = serde_ipld_dagcbor::to_vec(&Ipld::List(links.collect())).unwrap();
    Block::new(Codec::DagCbor, bytes)
}

fn store(blocks: &[&Block]) -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    let mut writer = store.begin(Group::Calendar, Reuse::Nothing).unwrap();
    for block in blocks {
        writer.put(block).unwrap();
    }
    writer.commit(blocks[0].cid()).unwrap();
    Arc::new(store)
}

fn resolved(root: &Block) -> Resolved {
    Resolved {
        passed: Vec::new(),
        roots: vec![*root.cid()],
        end: End::Block(*root.cid()),
    }
}

fn walk(store: &Arc<MemoryStore>, at: &Resolved, all: bool, memory: Option<&Memory>) -> Walk {
    let denylist = Arc::new(Denylist::open(&[]).unwrap());
    Walk::new(Arc::clone(store) as _, denylist, at, all, memory)
}

fn given(mut walk: Walk) -> Result<Vec<Block>, Refusal> {
    std::iter::from_fn(|| walk.next().transpose()).collect()
}

#[test]
fn blocks_come_depth_first_and_once_unless_duplicates_are_wanted() {
    let (a, b, c) = (leaf("a"), leaf("b"), leaf("c"));
    let left = node(&[&a, &b]);
    let right = node(&[&b, &c]);
    let root = node(&[&left, &right, &left, &a]);
    let store = store(&[&root, &left, &right, &a, &b, &c]);
    let at = resolved(&root);
    let once = given(walk(&store, &at, true, Some(&Memory::new()))).unwrap();
    assert_eq!(once, [&root, &left, &a, &b, &right, &c].map(Clone::clone));
    let twice = given(walk(&store, &at, true, None)).unwrap();
    assert_eq!(
        twice,
        [&root, &left, &a, &b, &right, &b, &c, &left, &a, &b, &a].map(Clone::clone)
    );
    let block = given(walk(&store, &at, false, None)).unwrap();
    assert_eq!(block, [root]);
}

#[test]
fn what_was_passed_comes_first_and_alone() {
    let (a, b) = (leaf("a"), leaf("b"));
    let inner = node(&[&a]);
    let root = node(&[&inner, &b]);
    let store = store(&[&root, &inner, &a, &b]);
    let at = Resolved {
        passed: vec![*root.cid()],
        roots: vec![*root.cid(), *inner.cid()],
        end: End::Block(*inner.cid()),
    };
    let all = given(walk(&store, &at, true, Some(&Memory::new()))).unwrap();
    assert_eq!(all, [&root, &inner, &a].map(Clone::clone));
    let within = Resolved {
        end: End::Within(vec![*b.cid()]),
        ..at
    };
    let all = given(walk(&store, &within, true, None)).unwrap();
    assert_eq!(all, [&root, &b].map(Clone::clone));
    let block = given(walk(&store, &within, false, None)).unwrap();
    assert_eq!(block, [root]);
}

#[test]
fn what_is_missing_ends_the_walk_with_its_name() {
    let (a, b) = (leaf("a"), leaf("b"));
    let root = node(&[&a, &b]);
    let store = store(&[&root, &a]);
    let mut walk = walk(&store, &resolved(&root), true, None);
    assert_eq!(walk.next().unwrap(), Some(root));
    assert_eq!(walk.next().unwrap(), Some(a));
    let refused = walk.next().unwrap_err();
    assert!(matches!(refused, Refusal::NotHeld { cid } if cid == *b.cid()));
}

#[test]
fn an_identity_cid_is_no_block_and_another_kind_is_not_held() {
    let identity: Cid = "bafkqaaa".parse().unwrap();
    let foreign: Cid = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
        .parse()
        .unwrap();
    let links = |cid| {
        let list = Ipld::List(vec![Ipld::Link(cid)]);
        Block::new(Codec::DagCbor, serde_ipld_dagcbor::to_vec(&list).unwrap())
    };
    let (virtual_one, other) = (links(identity), links(foreign));
    let store = store(&[&virtual_one, &other]);
    for memory in [None, Some(&Memory::new())] {
        let blocks = given(walk(&store, &resolved(&virtual_one), true, memory)).unwrap();
        assert_eq!(blocks, std::slice::from_ref(&virtual_one));
        let refused = given(walk(&store, &resolved(&other), true, memory)).unwrap_err();
        assert!(matches!(refused, Refusal::NotHeld { cid } if cid == foreign));
    }
}

#[test]
fn a_tree_without_bounds_is_ended_at_ours() {
    let mut below = leaf("bottom");
    let mut blocks = vec![below.clone()];
    for _ in 0..=MAX_DAG_DEPTH {
        below = node(&[&below]);
        blocks.push(below.clone());
    }
    let held: Vec<_> = blocks.iter().collect();
    let deep = store(&held);
    let refused = given(walk(&deep, &resolved(&below), true, None)).unwrap_err();
    assert!(matches!(refused, Refusal::TooLarge));
    // Nine levels of 8,000 links each, of which the first is always the next level.
    let fill: Vec<_> = (0..8_000).map(|n| leaf(&n.to_string())).collect();
    let mut blocks = fill.clone();
    let mut top = leaf("bottom");
    blocks.push(top.clone());
    for _ in 0..9 {
        let children: Vec<_> = std::iter::once(&top).chain(&fill).collect();
        top = node(&children);
        blocks.push(top.clone());
    }
    let wide = store(&blocks.iter().collect::<Vec<_>>());
    let refused = given(walk(&wide, &resolved(&top), true, None)).unwrap_err();
    assert!(matches!(refused, Refusal::TooLarge));
}

#[test]
fn walks_share_what_they_may_remember_and_give_it_back() {
    let fill: Vec<_> = (0..3_000).map(|n| leaf(&n.to_string())).collect();
    let root = node(&fill.iter().collect::<Vec<_>>());
    let blocks: Vec<_> = std::iter::once(&root).chain(&fill).collect();
    let store = store(&blocks);
    let memory = Memory(Arc::new(Semaphore::new(4 * SHARE as usize)));
    let mut first = walk(&store, &resolved(&root), true, Some(&memory));
    for _ in 0..2_000 {
        assert!(first.next().unwrap().is_some());
    }
    let second = walk(&store, &resolved(&root), true, Some(&memory));
    assert!(matches!(given(second), Err(Refusal::TooLarge)));
    drop(first);
    let third = walk(&store, &resolved(&root), true, Some(&memory));
    assert_eq!(given(third).unwrap().len(), blocks.len());
}
