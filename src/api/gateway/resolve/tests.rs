use std::collections::BTreeMap;

use super::*;
use crate::archive::cbor;
use crate::blocks::{Block, BlockStore, Codec, Group, MemoryStore, Reuse};

fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Ipld::Map(BTreeMap::from(fields))
}

fn names(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `root {a: {b: [leaf, inner]}, n: 7}`, `inner {leaf: leaf}`.
struct Tree {
    store: MemoryStore,
    root: Cid,
    inner: Cid,
    leaf: Cid,
}

fn tree() -> Tree {
    let leaf = Block::new(Codec::Raw, &b"leaf"[..]);
    let inner = cbor::encode(&map([("leaf", Ipld::Link(*leaf.cid()))]));
    let list = Ipld::List(vec![Ipld::Link(*leaf.cid()), Ipld::Link(*inner.cid())]);
    let root = cbor::encode(&map([("a", map([("b", list)])), ("n", Ipld::Integer(7))]));
    let store = MemoryStore::default();
    let mut writer = store.begin(Group::Calendar, Reuse::Nothing).unwrap();
    for block in [&root, &inner, &leaf] {
        writer.put(block).unwrap();
    }
    writer.commit(root.cid()).unwrap();
    Tree {
        root: *root.cid(),
        inner: *inner.cid(),
        leaf: *leaf.cid(),
        store,
    }
}

#[test]
fn a_path_leads_through_blocks_and_what_is_in_them() {
    let tree = tree();
    let at = |path: &str| resolve(&tree.store, &Rules::default(), tree.root, &names(path)).unwrap();
    let end = at("");
    assert_eq!((end.end, end.passed), (End::Block(tree.root), vec![]));
    let end = at("a/b/1/leaf");
    assert_eq!(end.end, End::Block(tree.leaf));
    assert_eq!(end.passed, [tree.root, tree.inner]);
    assert_eq!(end.roots, [tree.root, tree.inner, tree.leaf]);
    let end = at("a/b");
    assert_eq!(end.end, End::Within(vec![tree.leaf, tree.inner]));
    assert_eq!((end.last(), end.passed), (tree.root, vec![tree.root]));
    assert_eq!(at("n").end, End::Within(vec![]));
}

#[test]
fn a_name_that_leads_nowhere_is_told_with_the_block() {
    let tree = tree();
    for (path, block) in [
        ("b", tree.root),
        ("a/b/2", tree.root),
        ("n/x", tree.root),
        ("a/b/1/nothing", tree.inner),
        ("a/b/0/x", tree.leaf),
    ] {
        let refused = resolve(&tree.store, &Rules::default(), tree.root, &names(path));
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Refusal::NoSuchName { cid } if cid == block),
            "{path}"
        );
    }
}

#[test]
fn what_is_denied_is_not_looked_into() {
    let tree = tree();
    let denied = |rule: String, path: &str| {
        let mut rules = Rules::default();
        assert_eq!(rules.add(rule.as_bytes()).unwrap().rules, 1);
        let resolved = resolve(&tree.store, &rules, tree.root, &names(path));
        matches!(resolved, Err(Refusal::Denied))
    };
    // The block at the end is for whoever reads it.
    assert!(!denied(format!("/ipfs/{}", tree.leaf), "a/b/1/leaf"));
    assert!(denied(format!("/ipfs/{}", tree.inner), "a/b/1/leaf"));
    assert!(denied(
        format!("/ipfs/{}/a/b/1/leaf", tree.root),
        "a/b/1/leaf"
    ));
    assert!(denied(format!("/ipfs/{}/leaf", tree.inner), "a/b/1/leaf"));
    assert!(!denied(format!("/ipfs/{}/a/b/1/leaf", tree.root), "a/b/1"));
    assert!(denied(format!("/ipfs/{}/a/*", tree.root), "a/b/1"));
}
