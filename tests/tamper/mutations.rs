//! Nodes changed at random, encoded again and linked up to the root, with or
//! without sums that follow suit.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use gwa::archive::ArchiveError;
use gwa::archive::builder::{Discard, SegmentRef};
use gwa::archive::calendar::{CalendarNode, Level};
use gwa::archive::fresh::{Pending, Sealed};
use gwa::archive::leaf::{self, Record};
use gwa::archive::merge::{SegmentRun, SortedRecords, unite};
use gwa::archive::pack::{Pack, PackEntry};
use gwa::archive::seal::{SealRequest, seal};
use gwa::archive::sums::Sums;
use gwa::archive::testing::traffic;
use gwa::archive::topics::TopicNode;
use gwa::archive::watermark::Watermark;
use gwa::blocks::{Block, BlockStore, Cid, Codec};
use gwa::progress::Quiet;
use gwa::time::UnixSeconds;
use gwa::whisper::Topic;
use proptest::prelude::*;

use super::source::Source;
use super::{FROM, World, filters, honest_answer, query, verified, world};

/// A node, free to become what no decoder lets pass.
#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<Record>),
    Pack(Pack),
    Topics(TopicNode),
    Calendar(CalendarNode),
}

fn decode(block: &Block) -> Node {
    if Codec::of(block.cid()) == Some(Codec::Raw) {
        return Node::Leaf(leaf::decode(block.bytes()).expect("an honest leaf"));
    }
    if let Ok(pack) = Pack::decode(block.bytes()) {
        return Node::Pack(pack);
    }
    if let Ok(topics) = TopicNode::decode(block.bytes()) {
        return Node::Topics(topics);
    }
    let level = gwa::archive::verify::calendar_level(block.bytes()).expect("a calendar node");
    Node::Calendar(CalendarNode::decode(level, block.bytes()).expect("as just found"))
}

/// Random numbers, one after another.
pub struct Dice<'d>(pub std::slice::Iter<'d, u32>);

impl Dice<'_> {
    fn roll(&mut self) -> u32 {
        self.0.next().copied().unwrap_or(0)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.roll() as usize % bound.max(1)
    }
}

/// Swaps, doubles, drops or moves an item of a list.
fn shuffle<T: Clone>(items: &mut Vec<T>, dice: &mut Dice) {
    let (a, b) = (dice.below(items.len()), dice.below(items.len()));
    if items.is_empty() {
        return;
    }
    match dice.below(12) {
        0 => items.clear(),
        1 | 2 => items.swap(a, b),
        3 => items[b] = items[a].clone(),
        4 => {
            let item = items[a].clone();
            items.insert(b, item);
        }
        // What is left is sorted still, hence sound in itself.
        _ => drop(items.remove(a)),
    }
}

fn bend(sums: &mut Sums, dice: &mut Dice) {
    let by = u64::from(dice.roll());
    match dice.below(5) {
        0 => sums.count = sums.count.wrapping_add(by % 3).wrapping_sub(1),
        1 => sums.bytes = sums.bytes.wrapping_add(by % 3).wrapping_sub(1),
        2 => sums.fingerprint.0[dice.below(32)] ^= 1,
        3 => sums.count = by << 32,
        _ => sums.bytes = u64::MAX - by,
    }
}

fn bend_key(key: &mut gwa::archive::key::Key, dice: &mut Dice) {
    let mut bytes = key.to_bytes();
    bytes[dice.below(40)] ^= 1 << dice.below(8);
    *key = gwa::archive::key::Key::from_bytes(bytes);
}

fn is_empty(node: &Node) -> bool {
    match node {
        Node::Leaf(records) => records.is_empty(),
        Node::Pack(Pack::Leaves(leaves)) => {
            leaves.iter().any(|leaf| leaf.runs.is_empty()) || leaves.is_empty()
        }
        Node::Pack(Pack::Packs { children, .. }) => children.is_empty(),
        Node::Topics(TopicNode::Lines(lines)) => {
            lines.iter().any(|line| line.days.is_empty()) || lines.is_empty()
        }
        Node::Topics(TopicNode::Nodes { children, .. }) => children.is_empty(),
        Node::Calendar(node) => node.children.is_empty(),
    }
}

fn mutate(node: &mut Node, others: &[Cid], dice: &mut Dice) {
    if is_empty(node) {
        return;
    }
    let other = others[dice.below(others.len())];
    match node {
        Node::Leaf(records) => match dice.below(3) {
            0 | 1 => shuffle(records, dice),
            _ => {
                let at = dice.below(records.len());
                let cut = dice.below(records[at].bytes.len());
                records[at].bytes = records[at].bytes.slice(..cut);
            }
        },
        Node::Pack(Pack::Leaves(leaves)) => {
            let at = dice.below(leaves.len());
            let run = dice.below(leaves[at].runs.len());
            match dice.below(8) {
                0 | 1 => shuffle(leaves, dice),
                2 => bend(&mut leaves[at].sums, dice),
                3 => bend_key(&mut leaves[at].first, dice),
                4 => shuffle(&mut leaves[at].runs, dice),
                5 => leaves[at].runs[run].topic = Topic(dice.roll().to_be_bytes()),
                6 => {
                    let run = &mut leaves[at].runs[run];
                    let by = dice.roll() % 100;
                    match dice.below(3) {
                        0 => run.count = run.count.wrapping_add(by),
                        1 => run.first.0 = run.first.0.wrapping_sub(by),
                        _ => run.last.0 = run.last.0.wrapping_add(by),
                    }
                }
                _ => leaves[at].cid = other,
            }
        }
        Node::Pack(Pack::Packs { level, children }) => {
            let at = dice.below(children.len());
            match dice.below(5) {
                0 => shuffle(children, dice),
                1 => bend(&mut children[at].sums, dice),
                2 => bend_key(&mut children[at].first, dice),
                3 => *level = u8::try_from(dice.below(12)).unwrap_or(0),
                _ => children[at].cid = other,
            }
        }
        Node::Topics(TopicNode::Lines(lines)) => {
            let at = dice.below(lines.len());
            let day = dice.below(lines[at].days.len());
            match dice.below(6) {
                0 => shuffle(lines, dice),
                1 => shuffle(&mut lines[at].days, dice),
                2 => lines[at].topic = Topic(dice.roll().to_be_bytes()),
                3 => lines[at].days[day].count = dice.roll(),
                4 => lines[at].days[day].day = u8::try_from(dice.below(40)).unwrap_or(0),
                _ => lines[at].days[day].leaf = (dice.below(2) == 0).then_some(other),
            }
        }
        Node::Topics(TopicNode::Nodes { children, .. }) => shuffle(children, dice),
        Node::Calendar(node) => {
            let names: Vec<u16> = node.children.keys().copied().collect();
            let name = names[dice.below(names.len())];
            let moved = u16::try_from(dice.below(34)).unwrap_or(0);
            match dice.below(8) {
                0 => drop(node.children.remove(&name)),
                1 => {
                    let child = node.children[&name];
                    node.children.insert(moved, child);
                }
                2 => {
                    if let Some(child) = node.children.remove(&name) {
                        node.children.insert(moved, child);
                    }
                }
                3 => {
                    node.children.entry(name).and_modify(|c| c.cid = other);
                }
                4 => {
                    node.children
                        .entry(name)
                        .and_modify(|c| bend(&mut c.sums, dice));
                }
                5 => node.open = (dice.below(2) == 0).then_some(moved),
                6 => node.topics = (dice.below(2) == 0).then_some(other),
                _ => node.open = None,
            }
        }
    }
}

/// Encodes a tree again, from the leaves up.
struct Rebuild<'t> {
    tree: &'t HashMap<Cid, Node>,
    /// Whether what parents say follows what their children became.
    honest_sums: bool,
    done: HashMap<Cid, (Cid, Option<Sums>)>,
    out: Source,
}

impl Rebuild<'_> {
    fn new(tree: &HashMap<Cid, Node>, honest_sums: bool) -> Rebuild<'_> {
        Rebuild {
            tree,
            honest_sums,
            done: HashMap::new(),
            out: Source::default(),
        }
    }

    /// The new name of a block and what it holds.
    fn node(&mut self, cid: Cid) -> (Cid, Option<Sums>) {
        if let Some(done) = self.done.get(&cid) {
            return *done;
        }
        // What leads back to itself stays a link to what is not there.
        self.done.insert(cid, (cid, None));
        let Some(node) = self.tree.get(&cid).cloned() else {
            return (cid, None);
        };
        let (block, sums) = match node {
            Node::Leaf(records) => {
                let bytes: Vec<u8> = records.iter().flat_map(|r| r.bytes.to_vec()).collect();
                let sums = records
                    .iter()
                    .map(|r| Sums::of_one(r.bytes.len(), r.key.hash))
                    .sum();
                (Block::new(Codec::Raw, bytes), sums)
            }
            Node::Pack(mut pack) => {
                self.pack(&mut pack);
                (pack.encode(), pack.sums())
            }
            Node::Topics(mut topics) => {
                self.topics(&mut topics);
                (topics.encode(), Sums::default())
            }
            Node::Calendar(mut node) => {
                for child in node.children.values_mut() {
                    self.child(&mut child.cid, &mut child.sums);
                }
                node.topics = node.topics.map(|topics| self.node(topics).0);
                (node.encode(), node.sums())
            }
        };
        self.out.put(&block);
        let done = (*block.cid(), Some(sums));
        self.done.insert(cid, done);
        done
    }

    fn child(&mut self, cid: &mut Cid, sums: &mut Sums) {
        let (new, found) = self.node(*cid);
        *cid = new;
        if self.honest_sums {
            *sums = found.unwrap_or(*sums);
        }
    }

    fn pack(&mut self, pack: &mut Pack) {
        match pack {
            Pack::Leaves(leaves) => {
                for entry in leaves {
                    let old = entry.cid;
                    self.child(&mut entry.cid, &mut entry.sums);
                    if self.honest_sums
                        && let Some(Node::Leaf(records)) = self.tree.get(&old)
                        && let Ok(honest) = leaf::entry_of(entry.cid, records)
                    {
                        *entry = honest;
                    }
                }
            }
            Pack::Packs { children, .. } => {
                for PackEntry { cid, sums, .. } in children {
                    self.child(cid, sums);
                }
            }
        }
    }

    fn topics(&mut self, topics: &mut TopicNode) {
        match topics {
            TopicNode::Lines(lines) => {
                for day in lines.iter_mut().flat_map(|line| &mut line.days) {
                    day.leaf = day.leaf.map(|leaf| self.node(leaf).0);
                }
            }
            TopicNode::Nodes { children, .. } => {
                for (_, cid) in children {
                    *cid = self.node(*cid).0;
                }
            }
        }
    }
}

/// The honest archive's tree, changed as the dice say.
pub fn forge(dice: &mut Dice) -> (Source, Sealed) {
    let (world, source, _) = world();
    let mut tree: HashMap<Cid, Node> = HashMap::new();
    for (cid, bytes) in &source.bytes {
        let block = Block::verify(cid, bytes.clone()).expect("an honest block");
        tree.insert(*cid, decode(&block));
    }
    let all: Vec<Cid> = source.bytes.keys().copied().collect();
    // Nodes rather than leaves, of which there are most.
    let nodes: Vec<Cid> = all
        .iter()
        .filter(|cid| dice_is_node(cid))
        .copied()
        .collect();
    for _ in 0..=dice.below(4) / 3 {
        let among = if dice.below(3) == 0 { &all } else { &nodes };
        let chosen = among[dice.below(among.len())];
        mutate(tree.get_mut(&chosen).expect("in the tree"), &all, dice);
    }
    let mut rebuild = Rebuild::new(&tree, dice.below(4) > 0);
    let (state, sums) = rebuild.node(world.sealed.state.expect("days have closed"));
    let open = world.sealed.open.iter().map(|delta| rebuild.node(*delta).0);
    let open = open.collect();
    let honest = world.sealed.state.map(|state| {
        let root = &source.bytes[&state];
        CalendarNode::decode(Level::State, root)
            .expect("an honest state")
            .sums()
    });
    let mut totals = world.sealed.totals;
    if let (true, Some(before), Some(now)) = (rebuild.honest_sums, honest, sums) {
        totals = totals.minus(before).plus(now);
    }
    let sealed = Sealed {
        watermark: world.sealed.watermark,
        state: Some(state),
        open,
        totals,
    };
    (rebuild.out, sealed)
}

fn dice_is_node(cid: &Cid) -> bool {
    Codec::of(cid) == Some(Codec::DagCbor)
}

/// The state that the same envelopes make, sealed anew.
fn sealed_anew(records: &[Record], watermark: Watermark) -> Option<Cid> {
    let mut world = World::new();
    world.waiting = records.to_vec();
    world.seal(watermark);
    world.sealed.state
}

/// Every segment that a source names somewhere, right or wrong.
fn segments(source: &Source) -> Vec<SegmentRef> {
    let mut segments = BTreeMap::new();
    for (cid, bytes) in &source.bytes {
        let block = Block::verify(cid, bytes.clone()).expect("hashed just now");
        for level in [Level::Month, Level::OpenDay] {
            if let Ok(node) = CalendarNode::decode(level, block.bytes()) {
                segments.extend(node.children.values().map(|child| (child.cid, *child)));
            }
        }
    }
    segments.into_values().collect()
}

/// Seals on top of a forged base: an error or a head, no panic.
fn seal_upon(
    source: &Source,
    sealed: &Sealed,
    records: &[Record],
    watermark: Watermark,
) -> Result<Sealed, ArchiveError> {
    let store = source.to_store();
    let read = |at: usize| -> Result<Bytes, ArchiveError> { Ok(records[at].bytes.clone()) };
    let due = records.iter().enumerate();
    let due = due.filter(|(_, record)| watermark.covers(record.key.sent));
    let pending = due.map(|(at, record)| Pending {
        key: record.key,
        len: record.bytes.len(),
        at,
    });
    let request = SealRequest {
        store: &store as &dyn BlockStore,
        base: sealed,
        pending: pending.collect(),
        read: &read,
        watermark,
        sequence: 9,
        max_open: 1,
    };
    seal(request, &Quiet).map(|outcome| outcome.sealed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_forged_tree_never_panics_and_what_verifies_is_canonical(
        rolls in proptest::collection::vec(any::<u32>(), 24),
        seed: u64,
    ) {
        let (source, sealed) = forge(&mut Dice(rolls.iter()));
        let [everything, by_topic] = filters();
        let answer = query(&source, &sealed, &everything);
        let of_topics = query(&source, &sealed, &by_topic);
        let faults = verified(&source, &sealed).faults;
        for error in answer.as_ref().err().into_iter().chain(of_topics.as_ref().err()) {
            prop_assert!(error.cid().is_some(), "{}", error);
        }
        if faults.is_empty() {
            let found = answer.expect("what verifies can be read");
            prop_assert_eq!(&found, &of_topics.expect("what verifies can be read"));
            prop_assert_eq!(found.len() as u64, sealed.totals.count);
            prop_assert_eq!(sealed_anew(&found, sealed.watermark), sealed.state);
        } else {
            let (world, ..) = world();
            prop_assert!(sealed != world.sealed);
        }

        // Nothing that was not verified may bring a seal or a merge down.
        let records = traffic(seed, 60, 12, FROM, FROM + 64 * 3_600);
        for seconds in [61 * 3_600 + 2_700, 63 * 3_600 + 600] {
            let watermark = Watermark::at_or_before(UnixSeconds(FROM + seconds));
            let _ = seal_upon(&source, &sealed, &records, watermark);
        }
        let segments = segments(&source);
        let mut runs: Vec<Box<dyn SortedRecords>> = Vec::new();
        for segment in &segments {
            runs.push(Box::new(SegmentRun::new(&source, *segment)));
        }
        let _ = unite(&mut runs, &mut Discard);
    }
}

#[test]
fn open_deltas_that_hold_nothing_of_the_hour_are_folded_away() {
    let (world, source, _) = world();
    let mut honest = World::new();
    honest.waiting = traffic(5, 40, 3, FROM, FROM + 3_600);
    let added = honest
        .seal(Watermark::at_or_before(UnixSeconds(FROM + 86_400)))
        .added
        .expect("forty envelopes are new");
    let mut sealed = world.sealed.clone();
    let mut source = source.clone();
    let of_added = Sealed {
        open: vec![added],
        ..Sealed::default()
    };
    let blocks = Source::reached(&honest.store, &of_added);
    source.bytes.extend(blocks.bytes);
    sealed.open = vec![added; 3];
    let next = seal_upon(&source, &sealed, &[], sealed.watermark).expect("nothing is missing");
    assert_eq!(next.open, []);
}

#[test]
fn a_tree_rebuilt_unchanged_is_the_same() {
    let (world, source, _) = world();
    let mut tree = HashMap::new();
    for (cid, bytes) in &source.bytes {
        let block = Block::verify(cid, bytes.clone()).expect("an honest block");
        tree.insert(*cid, decode(&block));
    }
    for honest_sums in [false, true] {
        let mut rebuild = Rebuild::new(&tree, honest_sums);
        for root in world.sealed.state.iter().chain(&world.sealed.open) {
            assert_eq!(rebuild.node(*root).0, *root);
        }
        assert_eq!(rebuild.out.bytes, source.bytes);
        let found = query(&rebuild.out, &world.sealed, &filters()[0]);
        assert_eq!(found.expect("nothing changed"), honest_answer());
    }
}
