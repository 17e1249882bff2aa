//! Nodes as a gateway sees them: names that lead on, and links.
//!
//! Always true: links come in the order in which they stand in the block, which
//! is the order every IPFS implementation walks them in.

use ipld_core::ipld::Ipld;

use crate::archive::cbor::{self, CborError};
use crate::blocks::{Block, Cid, Codec};

/// The data of a node; a leaf is opaque and has none.
pub(super) fn data(block: &Block) -> Result<Option<Ipld>, CborError> {
    match Codec::of(block.cid()) {
        Some(Codec::DagCbor) => cbor::decode(block.bytes()).map(Some),
        _ => Ok(None),
    }
}

/// What `name` leads to: a field of a map, or an item of a list by its number.
pub(super) fn step(value: Ipld, name: &str) -> Option<Ipld> {
    match value {
        Ipld::Map(mut map) => map.remove(name),
        Ipld::List(mut list) => {
            let at: usize = name.parse().ok()?;
            (at < list.len() && at.to_string() == name).then(|| list.swap_remove(at))
        }
        _ => None,
    }
}

/// Every link in `value`, in its order. The decoder bounds how deep it is nested.
pub(super) fn links(value: &Ipld) -> Vec<Cid> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Ipld, found: &mut Vec<Cid>) {
    match value {
        Ipld::Link(cid) => found.push(*cid),
        Ipld::List(items) => items.iter().for_each(|item| collect(item, found)),
        Ipld::Map(fields) => {
            // DAG-CBOR sorts shorter names before longer ones.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| (name.len(), *name));
            fields.iter().for_each(|(_, item)| collect(item, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn link(n: u8) -> Cid {
        *Block::new(Codec::Raw, vec![n]).cid()
    }

    #[test]
    fn links_come_in_the_order_of_the_block() {
        let fields = [
            ("b".to_owned(), Ipld::Link(link(2))),
            (
                "aa".to_owned(),
                Ipld::List(vec![Ipld::Link(link(3)), Ipld::Link(link(1))]),
            ),
            ("a".to_owned(), Ipld::Null),
        ];
        let node = Ipld::Map(BTreeMap::from(fields));
        assert_eq!(links(&node), [link(2), link(3), link(1)]);
        // As the encoded bytes have them.
        let bytes = cbor::encode(&node).into_bytes();
        let at = |cid: Cid| {
            let cid = cid.to_bytes();
            bytes.windows(cid.len()).position(|window| window == cid)
        };
        assert!(at(link(2)) < at(link(3)) && at(link(3)) < at(link(1)));
    }

    #[test]
    fn names_lead_through_maps_and_lists() {
        let list = Ipld::List(vec![Ipld::Integer(7)]);
        let node = Ipld::Map(BTreeMap::from([("open".to_owned(), list)]));
        let found = step(node.clone(), "open").and_then(|list| step(list, "0"));
        assert_eq!(found, Some(Ipld::Integer(7)));
        for wrong in ["1", "00", "-1", "+0", ""] {
            let list = step(node.clone(), "open").unwrap();
            assert_eq!(step(list, wrong), None, "{wrong}");
        }
        assert_eq!(step(node, "shut"), None);
    }
}
