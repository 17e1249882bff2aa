//! The decoders of archive blocks.

use bytes::Bytes;

use crate::archive::calendar::{CalendarNode, Level};
use crate::archive::head::Head;
use crate::archive::leaf;
use crate::archive::pack::Pack;
use crate::archive::topics::TopicNode;
use crate::blocks::{Block, Codec};

/// A leaf: what decodes is sorted and is its bytes.
pub fn archive_leaf(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let scanned: Result<Vec<_>, _> = leaf::scan(&bytes).collect();
    let Ok(records) = leaf::decode(&bytes) else {
        return;
    };
    assert_eq!(scanned.map(|all| all.len()), Ok(records.len()));
    assert!(records.windows(2).all(|pair| pair[0].key < pair[1].key));
    let again: Vec<u8> = records.iter().flat_map(|r| r.bytes.to_vec()).collect();
    assert_eq!(again, data);
    let block = Block::new(Codec::Raw, bytes);
    let entry = leaf::entry_of(*block.cid(), &records).expect("a decoded leaf is not empty");
    let pack = Pack::Leaves(vec![entry]);
    assert_eq!(Pack::decode(pack.encode().bytes()), Ok(pack));
}

/// A pack.
pub fn archive_pack(data: &[u8]) {
    if let Ok(pack) = Pack::decode(data) {
        assert_eq!(pack.encode().bytes(), data);
        let _ = (pack.first(), pack.sums(), pack.level());
    }
}

/// A node of a topic index.
pub fn archive_topic_node(data: &[u8]) {
    if let Ok(node) = TopicNode::decode(data) {
        assert_eq!(node.encode().bytes(), data);
        let first = node.first();
        assert!(node.line(first).is_some() || node.child_for(first).is_some());
    }
}

/// A calendar node, of whichever level it may be.
pub fn archive_calendar_node(data: &[u8]) {
    for level in [Level::State, Level::Year, Level::Month, Level::OpenDay] {
        if let Ok(node) = CalendarNode::decode(level, data) {
            assert_eq!(node.encode().bytes(), data);
            assert!(node.sums().count > 0 || node.children.len() > 1);
        }
    }
}

/// A head.
pub fn archive_head(data: &[u8]) {
    let block = Block::new(Codec::DagCbor, data.to_vec());
    if let Ok(head) = Head::decode(block.clone()) {
        assert_eq!(head.block(), &block);
        assert!(head.body().sequence.0 > 0);
    }
}
