//! Nodes of a topic index that cannot be.

use gwa::archive::cbor;
use gwa::archive::topics::TopicNode;
use gwa::blocks::{Cid, Codec};
use ipld_core::ipld::Ipld;

use super::{ipld, link, of};
use crate::Vector;

/// A line: topic, fields in threes.
fn line(topic: u8, fields: &[u32]) -> Ipld {
    let fields = fields.iter().map(|n| Ipld::Integer((*n).into())).collect();
    Ipld::List(vec![Ipld::Bytes(vec![topic; 4]), Ipld::List(fields)])
}

fn lines(leaves: &[Cid], lines: Vec<Ipld>) -> Vec<u8> {
    let leaves = leaves.iter().copied().map(Ipld::Link).collect();
    ipld([
        ("level".to_owned(), Ipld::Integer(0)),
        ("leaves".to_owned(), Ipld::List(leaves)),
        ("topics".to_owned(), Ipld::List(lines)),
    ])
}

fn nodes(level: u8, children: &[(u8, Cid)]) -> Vec<u8> {
    let children = children
        .iter()
        .map(|(topic, cid)| Ipld::List(vec![Ipld::Bytes(vec![*topic; 4]), Ipld::Link(*cid)]));
    ipld([
        ("level".to_owned(), Ipld::Integer(level.into())),
        ("nodes".to_owned(), Ipld::List(children.collect())),
    ])
}

pub fn all() -> Vec<Vector> {
    let [a, b] = [1, 2].map(|n| link(Codec::Raw, n));
    let [x, y] = [3, 4].map(|n| link(Codec::DagCbor, n));
    let node = |name, rule, bytes: Vec<u8>| of("topics", name, rule, bytes);
    let sound = || vec![line(1, &[1, 5, 1, 2, 9, 0]), line(2, &[1, 1, 2])];
    assert!(TopicNode::decode(&lines(&[a, b], sound())).is_ok());
    assert!(TopicNode::decode(&nodes(1, &[(1, x), (2, y)])).is_ok());
    let lines_above: Vec<u8> = {
        let Ok(Ipld::Map(mut fields)) = cbor::decode(&lines(&[a, b], sound())) else {
            panic!("a node is a map")
        };
        fields.insert("level".to_owned(), Ipld::Integer(1));
        ipld(fields)
    };
    // 2,341 lines of one day weigh 56 each, which is 24 more than 131,072.
    let many = (0..2_341u32).map(|n| {
        let fields = [1, 1, 0].map(Ipld::Integer).to_vec();
        Ipld::List(vec![
            Ipld::Bytes(n.to_be_bytes().to_vec()),
            Ipld::List(fields),
        ])
    });
    let many: Vec<_> = many.collect();
    assert!(TopicNode::decode(&lines(&[], many[1..].to_vec())).is_ok());
    vec![
        node(
            "topics-empty",
            "a node of lines has a line",
            lines(&[], vec![]),
        ),
        node(
            "topics-unsorted",
            "lines ascend by topic",
            lines(&[a], vec![line(2, &[1, 1, 1]), line(1, &[1, 1, 1])]),
        ),
        node(
            "topics-twice",
            "no topic stands twice",
            lines(&[a], vec![line(1, &[1, 1, 1]), line(1, &[2, 1, 1])]),
        ),
        node(
            "topics-no-days",
            "a line has a day",
            lines(&[], vec![line(1, &[])]),
        ),
        node(
            "topics-not-in-threes",
            "a day has three numbers",
            lines(&[a], vec![line(1, &[1, 5, 1, 2])]),
        ),
        node(
            "topics-day-0",
            "days start at 1",
            lines(&[a], vec![line(1, &[0, 5, 1])]),
        ),
        node(
            "topics-day-32",
            "days end at 31",
            lines(&[a], vec![line(1, &[32, 5, 1])]),
        ),
        node(
            "topics-days-unsorted",
            "days ascend",
            lines(&[a], vec![line(1, &[2, 5, 1, 1, 5, 1])]),
        ),
        node(
            "topics-count-0",
            "a day counts an envelope",
            lines(&[a], vec![line(1, &[1, 0, 1])]),
        ),
        node(
            "topics-leaf-out-of-range",
            "a day's leaf is in the list",
            lines(&[a], vec![line(1, &[1, 5, 2])]),
        ),
        node(
            "topics-leaves-out-of-order",
            "leaves stand in order of first use",
            lines(&[b, a], vec![line(1, &[1, 5, 2]), line(2, &[1, 1, 1])]),
        ),
        node(
            "topics-leaf-unused",
            "every leaf of the list is used",
            lines(&[a, b], vec![line(1, &[1, 5, 1])]),
        ),
        node(
            "topics-leaf-listed-twice",
            "no leaf is listed twice",
            lines(&[a, a], vec![line(1, &[1, 5, 1]), line(2, &[1, 1, 2])]),
        ),
        node(
            "topics-leaf-is-node",
            "leaves are raw",
            lines(&[x], vec![line(1, &[1, 5, 1])]),
        ),
        node(
            "topics-too-heavy",
            "lines weigh at most 128 KiB",
            lines(&[], many),
        ),
        node(
            "topics-lines-at-level-1",
            "lines are at level 0",
            lines_above,
        ),
        node(
            "topics-nodes-at-level-0",
            "nodes are above level 0",
            nodes(0, &[(1, x), (2, y)]),
        ),
        node(
            "topics-level-7",
            "levels end at 6",
            nodes(7, &[(1, x), (2, y)]),
        ),
        node(
            "topics-nodes-empty",
            "a node of nodes has a child",
            nodes(1, &[]),
        ),
        node(
            "topics-nodes-unsorted",
            "nodes ascend by first topic",
            nodes(1, &[(2, x), (1, y)]),
        ),
        node(
            "topics-node-is-raw",
            "nodes are DAG-CBOR",
            nodes(1, &[(1, a)]),
        ),
    ]
}
