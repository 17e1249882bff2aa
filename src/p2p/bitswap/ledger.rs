//! What one peer wants of us, and what it is sent.
//!
//! Always true:
//! - A want is answered once, with the block, with word of it, or, where nothing
//!   is held and no word was asked for, with nothing; unless it was cancelled.
//! - At most [`MAX_WANTS`] wait. What comes beyond is answered as what is not held.
//! - No message is longer than [`TARGET`] and one block.
//! - What is not held now is not waited for, and nobody is asked for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::message::{Kind, Message, Payload, Presence, Want};
use crate::blocks::{Block, Cid, MAX_BLOCK_READ};

/// Wants of one peer that wait, at most: four times what Kubo keeps of a peer. Each
/// takes up some 200 bytes.
pub const MAX_WANTS: usize = 4_096;

/// Bytes of a message after which it is sent. Many blocks of ours fit, and a peer
/// that is slow holds up little memory.
pub const TARGET: usize = 512 << 10;

/// Bytes of a presence beside its CID, and of a block beside its data, at most.
const FRAMING: usize = 32;

const _: () = assert!(TARGET + MAX_BLOCK_READ + FRAMING <= super::MAX_MESSAGE);

/// The wants of one peer.
#[derive(Debug, Default)]
pub struct Ledger {
    by_cid: HashMap<Cid, Rank>,
    waiting: BTreeMap<Rank, Want>,
    beyond: BTreeSet<Cid>,
    came: u64,
}

/// The highest priority first, then the first that came.
type Rank = (Reverse<i32>, u64);

/// What is there of a block.
#[derive(Clone, Debug)]
pub enum Found {
    /// The block.
    Block(Block),
    /// It is held.
    Held,
    /// It is not held, or not given.
    Absent,
    /// It is not here, and is answered when it was looked for elsewhere.
    Elsewhere,
}

impl Ledger {
    /// Takes in what a peer wants now, and wants no more.
    pub fn take_in(&mut self, wants: &[Want], full: bool) {
        if full {
            self.by_cid.clear();
            self.waiting.clear();
            self.beyond.clear();
        }
        for want in wants {
            let before = self.by_cid.remove(&want.cid);
            let before = before.and_then(|rank| self.waiting.remove(&rank));
            self.beyond.remove(&want.cid);
            if want.cancel {
                continue;
            }
            if self.waiting.len() >= MAX_WANTS {
                if want.send_dont_have && self.beyond.len() < MAX_WANTS {
                    self.beyond.insert(want.cid);
                }
                continue;
            }
            let mut want = *want;
            if before.is_some_and(|before| before.kind == Kind::Block) {
                // Who wanted the block is not content with word of it.
                want.kind = Kind::Block;
            }
            self.came += 1;
            let rank = (Reverse(want.priority), self.came);
            self.by_cid.insert(want.cid, rank);
            self.waiting.insert(rank, want);
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.beyond.is_empty()
    }

    /// How many wants wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What is to be answered next.
    pub fn pop(&mut self) -> Option<Next> {
        if let Some((_, want)) = self.waiting.pop_first() {
            self.by_cid.remove(&want.cid);
            return Some(Next::LookUp(want));
        }
        self.beyond.pop_first().map(Next::Beyond)
    }
}

/// What is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A want that is looked up.
    LookUp(Want),
    /// One beyond the limit.
    Beyond(Cid),
}

/// What one message is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Wants that were looked up.
    pub looked_up: u64,
    /// Blocks in it.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Makes the next message of what waits: `pop` gives it one by one, and may be told
/// meanwhile of wants that come and go. Empty where nothing waited that is answered.
pub fn fill(
    pop: &mut dyn FnMut() -> Option<Next>,
    look_up: &mut dyn FnMut(&Want) -> Found,
) -> (Message, Filled) {
    let mut message = Message::default();
    let mut filled = Filled::default();
    let mut len = 0;
    while len < TARGET
        && let Some(next) = pop()
    {
        let (want, found) = match next {
            Next::LookUp(want) => {
                filled.looked_up += 1;
                (want, look_up(&want))
            }
            Next::Beyond(cid) => {
                len += word(&mut message, cid, false);
                continue;
            }
        };
        match found {
            Found::Block(block) => {
                len += block.bytes().len() + FRAMING;
                filled.blocks += 1;
                filled.bytes += block.bytes().len() as u64;
                message.blocks.push(Payload::from(&block));
            }
            Found::Held => len += word(&mut message, want.cid, true),
            Found::Absent if want.send_dont_have => len += word(&mut message, want.cid, false),
            Found::Absent | Found::Elsewhere => {}
        }
        // What nobody is told costs a look as well.
        if filled.looked_up >= MAX_WANTS as u64 {
            break;
        }
    }
    (message, filled)
}

/// Adds word of a block; gives its length.
fn word(message: &mut Message, cid: Cid, held: bool) -> usize {
    message.presences.push(Presence { cid, held });
    cid.encoded_len() + FRAMING
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::blocks::Codec;
    use crate::p2p::bitswap::{Dialect, MAX_MESSAGE};
    use proptest::prelude::*;

    fn block(n: u32, len: usize) -> Block {
        let mut bytes = vec![0; len];
        bytes.extend_from_slice(&n.to_be_bytes());
        Block::new(Codec::Raw, bytes)
    }

    fn want(cid: Cid, priority: i32) -> Want {
        Want {
            cid,
            priority,
            kind: Kind::Block,
            cancel: false,
            send_dont_have: true,
        }
    }

    /// All messages until nothing waits.
    fn drain(ledger: &mut Ledger, held: &HashMap<Cid, Block>) -> Vec<Message> {
        let mut messages = Vec::new();
        while !ledger.is_empty() {
            let look = &mut |want: &Want| match (held.get(&want.cid), want.kind) {
                (Some(block), Kind::Block) => Found::Block(block.clone()),
                (Some(_), Kind::Have) => Found::Held,
                (None, _) => Found::Absent,
            };
            let (message, _) = fill(&mut || ledger.pop(), look);
            if !message.is_empty() {
                messages.push(message);
            }
        }
        messages
    }

    proptest! {
        #[test]
        fn each_want_is_answered_once_and_messages_keep_their_length(
            asked in prop::collection::vec(
                (0_u32..40, any::<i32>(), any::<[bool; 3]>()), 0..120),
            held in prop::collection::hash_set(0_u32..40, 0..40),
        ) {
            let blocks: Vec<Block> = (0..40).map(|n| block(n, 100_000)).collect();
            let held: HashMap<Cid, Block> = held
                .into_iter()
                .map(|n| (*blocks[n as usize].cid(), blocks[n as usize].clone()))
                .collect();
            let mut ledger = Ledger::default();
            // What is wanted in the end, by rules told in another way.
            let mut wanted: HashMap<Cid, Want> = HashMap::new();
            for (n, priority, [is_have, cancel, tell]) in asked {
                let cid = *blocks[n as usize].cid();
                let new = Want {
                    kind: if is_have { Kind::Have } else { Kind::Block },
                    cancel,
                    send_dont_have: tell,
                    ..want(cid, priority)
                };
                ledger.take_in(&[new], false);
                let was_block = wanted.remove(&cid).is_some_and(|old| old.kind == Kind::Block);
                if !cancel {
                    let kind = if was_block { Kind::Block } else { new.kind };
                    wanted.insert(cid, Want { kind, ..new });
                }
            }
            let messages = drain(&mut ledger, &held);
            let mut answered: HashMap<Cid, &str> = HashMap::new();
            for message in &messages {
                prop_assert!(message.encode(Dialect::V1_2).len() <= TARGET + 101_000);
                for payload in &message.blocks {
                    let cid = *Block::new(Codec::Raw, payload.data.clone()).cid();
                    prop_assert!(answered.insert(cid, "block").is_none());
                }
                for presence in &message.presences {
                    let word = if presence.held { "have" } else { "lack" };
                    prop_assert!(answered.insert(presence.cid, word).is_none());
                }
            }
            let expected: HashMap<Cid, &str> = wanted
                .values()
                .filter_map(|want| match (held.contains_key(&want.cid), want.kind) {
                    (true, Kind::Block) => Some((want.cid, "block")),
                    (true, Kind::Have) => Some((want.cid, "have")),
                    (false, _) => want.send_dont_have.then_some((want.cid, "lack")),
                })
                .collect();
            prop_assert_eq!(answered, expected);
        }
    }

    #[test]
    fn what_matters_most_is_sent_first() {
        let blocks = [block(0, 10), block(1, 10), block(2, 10)];
        let held = HashMap::from_iter(blocks.iter().map(|b| (*b.cid(), b.clone())));
        let mut ledger = Ledger::default();
        for (block, priority) in blocks.iter().zip([1, 3, 1]) {
            ledger.take_in(&[want(*block.cid(), priority)], false);
        }
        let messages = drain(&mut ledger, &held);
        let sent: Vec<_> = messages[0].blocks.iter().map(|b| b.data.clone()).collect();
        assert_eq!(sent, [1, 0, 2].map(|n: usize| blocks[n].bytes().clone()));
    }

    #[test]
    fn a_full_list_takes_the_place_of_what_was_wanted() {
        let mut ledger = Ledger::default();
        ledger.take_in(&[want(*block(0, 1).cid(), 1)], false);
        ledger.take_in(&[want(*block(1, 1).cid(), 1)], true);
        let messages = drain(&mut ledger, &HashMap::new());
        let told: HashSet<Cid> = messages[0].presences.iter().map(|p| p.cid).collect();
        assert_eq!(told, HashSet::from([*block(1, 1).cid()]));
    }

    #[test]
    fn wants_beyond_the_limit_are_answered_as_not_held() {
        let most = u32::try_from(MAX_WANTS).unwrap();
        let mut ledger = Ledger::default();
        for n in 0..3 * most {
            ledger.take_in(&[want(*block(n, 1).cid(), 1)], false);
            assert!(ledger.len() <= MAX_WANTS && ledger.beyond.len() <= MAX_WANTS);
        }
        let held = (0..3 * most).map(|n| block(n, 1));
        let held = HashMap::from_iter(held.map(|b| (*b.cid(), b)));
        let messages = drain(&mut ledger, &held);
        let blocks: usize = messages.iter().map(|m| m.blocks.len()).sum();
        let words: usize = messages.iter().map(|m| m.presences.len()).sum();
        assert_eq!((blocks, words), (MAX_WANTS, MAX_WANTS));
    }

    #[test]
    fn what_is_beyond_the_limit_is_told_once_and_not_when_it_was_cancelled() {
        let most = u32::try_from(MAX_WANTS).unwrap();
        let mut ledger = Ledger::default();
        for n in 0..most {
            ledger.take_in(&[want(*block(n, 1).cid(), 1)], false);
        }
        let [twice, never] = [most, most + 1].map(|n| want(*block(n, 1).cid(), 1));
        ledger.take_in(&[twice, never, twice], false);
        let cancel = Want {
            cancel: true,
            ..never
        };
        ledger.take_in(&[cancel], false);
        let messages = drain(&mut ledger, &HashMap::new());
        let told = messages.iter().flat_map(|m| &m.presences).map(|p| p.cid);
        let told: Vec<Cid> = told.collect();
        assert_eq!(told.len(), MAX_WANTS + 1);
        assert!(told.contains(&twice.cid) && !told.contains(&never.cid));
    }

    #[test]
    fn the_largest_blocks_fit_a_message() {
        let large = Block::new(Codec::Raw, vec![1; MAX_BLOCK_READ]);
        let small = block(0, TARGET - 100);
        let held = HashMap::from_iter([&large, &small].map(|b| (*b.cid(), b.clone())));
        let mut ledger = Ledger::default();
        ledger.take_in(&[want(*small.cid(), 2), want(*large.cid(), 1)], false);
        for message in drain(&mut ledger, &held) {
            assert!(message.encode(Dialect::V1_2).len() <= MAX_MESSAGE);
        }
    }
}
