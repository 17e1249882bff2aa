//! However long an archive lives, its tree stays shallow and its blocks small.

mod common;

use std::collections::HashMap;

use common::World;
use gwa::archive::testing::{envelope, record_of};
use gwa::archive::watermark::Watermark;
use gwa::blocks::{BlockSource, Cid, Codec, MAX_BLOCK_WRITTEN};
use gwa::time::{DAY, HOUR, UnixSeconds};
use ipld_core::codec::Links;
use serde_ipld_dagcbor::codec::DagCborCodec;

/// Deepest tree below a head, whatever the archive's age.
const MAX_DEPTH: usize = 20;
/// 2009-01-01 00:00.
const FROM: u32 = 1_230_768_000;
/// Ten years, two of them leap years.
const DAYS: u32 = 3_652;

fn depth(world: &World, cid: &Cid, known: &mut HashMap<Cid, usize>) -> usize {
    if let Some(depth) = known.get(cid) {
        return *depth;
    }
    let block = world.store.get(cid).expect("all blocks are there");
    assert!(
        block.bytes().len() <= MAX_BLOCK_WRITTEN,
        "{cid} is too large"
    );
    let links: Vec<Cid> = match Codec::of(cid) {
        Some(Codec::DagCbor) => DagCborCodec::links(block.bytes())
            .expect("our nodes are DAG-CBOR")
            .collect(),
        _ => Vec::new(),
    };
    let below = links
        .iter()
        .map(|link| depth(world, link, known))
        .max()
        .unwrap_or(0);
    known.insert(*cid, below + 1);
    below + 1
}

#[test]
fn ten_years_of_hours_are_twenty_levels_deep_at_most() {
    let mut world = World::new();
    for day in 0..DAYS {
        let start = FROM + day * DAY;
        let hours = (0..24u8)
            .map(|hour| record_of(&envelope(hour, start + u32::from(hour) * HOUR + 7, 40)));
        world.waiting.extend(hours);
        if day % 61 == 60 {
            world.seal(Watermark::at_or_before(UnixSeconds(start + DAY)));
        }
    }
    // End in the middle of a day, with an open delta.
    let end = UnixSeconds(FROM + (DAYS - 1) * DAY + DAY / 2 + 900);
    world.seal(Watermark::at_or_before(end));
    assert_eq!(world.sealed.totals.count, u64::from(DAYS) * 24 - 11);
    let mut known = HashMap::new();
    let roots = world.sealed.state.iter().chain(&world.sealed.open);
    // The head is one level more.
    let deepest = roots.map(|cid| 1 + depth(&world, cid, &mut known)).max();
    assert!(deepest <= Some(MAX_DEPTH), "{deepest:?} levels");
    assert!(known.len() > 3_000, "the whole tree was walked");
}
