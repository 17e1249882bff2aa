//! What is wanted of one peer, and what it gave.
//!
//! Always true:
//! - At most [`MAX_OPEN`] wants are before the peer; the others wait their turn.
//! - A block counts only where its bytes hash to a CID that was asked for. What
//!   was never asked for proves a peer that errs or lies: so many as would answer
//!   all that it was asked for, or [`MAX_UNASKED`], are a lie.
//! - A want that the peer leaves unanswered ends.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::message::{Kind, Message, Want};
use crate::blocks::{Block, Cid, Codec, Fault, MAX_BLOCK_READ, cid_from_digest, digest_of};

/// Wants before a peer at a time. Blocks of ours have some 32 KiB: a megabyte is
/// under way, and most peers answer it in one message.
pub const MAX_OPEN: usize = 32;

/// Blocks that were not asked for, after which a peer is asked no more, however
/// many it gave that were.
pub const MAX_UNASKED: usize = 16;

/// Wants remembered after they ended, so that what comes late is not taken for a
/// lie.
const REMEMBERED: usize = 16 << 10;

/// How often a want may outlast the time in which a peer has to say something: a
/// slow peer may answer others first, but not for ever.
const TURNS: u32 = 4;

/// The wants before one peer.
#[derive(Debug)]
pub struct Wants {
    queue: VecDeque<Cid>,
    open: HashMap<Cid, Instant>,
    cancelled: HashSet<Cid>,
    asked: HashSet<Cid>,
    asked_in_order: VecDeque<Cid>,
    unasked: usize,
    heard: Option<Instant>,
    idle: Duration,
}

/// What came of a want.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The block, verified.
    Got(Block),
    /// Nothing.
    Not(Cid, Fault),
}

/// What bytes turned out to be.
enum Seen {
    /// A block that is wanted.
    Right(Block),
    /// One that was asked for before, and is of no use now.
    Late,
    /// Nothing that was ever asked for.
    Wrong,
}

impl Wants {
    /// Nothing is wanted; a peer that says nothing of use for `idle` has failed.
    pub fn new(idle: Duration) -> Self {
        Self {
            queue: VecDeque::new(),
            open: HashMap::new(),
            cancelled: HashSet::new(),
            asked: HashSet::new(),
            asked_in_order: VecDeque::new(),
            unasked: 0,
            heard: None,
            idle,
        }
    }

    /// Wants a block; nothing changes where it is wanted already.
    pub fn want(&mut self, cid: Cid) {
        if !self.open.contains_key(&cid) && !self.queue.contains(&cid) {
            self.queue.push_back(cid);
        }
    }

    /// Nobody wants it any more.
    pub fn leave(&mut self, cid: &Cid) {
        self.queue.retain(|queued| queued != cid);
        if self.open.remove(cid).is_some() {
            self.cancelled.insert(*cid);
        }
    }

    /// Whether anything is wanted.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.open.is_empty()
    }

    /// What to tell the peer; `None` where there is nothing new.
    pub fn next_message(&mut self, now: Instant) -> Option<Message> {
        let mut message = Message::default();
        if self.open.is_empty() {
            // It owed nothing until now.
            self.heard = Some(now);
        }
        while self.open.len() < MAX_OPEN
            && let Some(cid) = self.queue.pop_front()
        {
            self.open.insert(cid, now);
            if self.asked.insert(cid) {
                self.asked_in_order.push_back(cid);
            }
            message.wants.push(entry(cid, false));
        }
        // Some programs take a want and a cancellation of one block in one message
        // for a cancellation. What is wanted again needs none.
        let cancelled = self.cancelled.drain();
        let cancelled: Vec<Cid> = cancelled
            .filter(|cid| !self.open.contains_key(cid))
            .collect();
        let cancelled = cancelled.into_iter().map(|cid| entry(cid, true));
        message.wants.extend(cancelled);
        while self.asked_in_order.len() > REMEMBERED
            && let Some(oldest) = self.asked_in_order.pop_front()
        {
            self.asked.remove(&oldest);
        }
        (!message.is_empty()).then_some(message)
    }

    /// Takes in what the peer says. An error is a lie, and ends all there is with
    /// it.
    pub fn take_in(&mut self, message: Message, now: Instant) -> Result<Vec<Outcome>, Fault> {
        let mut outcomes = Vec::new();
        for payload in message.blocks {
            match self.recognise(&payload.data) {
                Seen::Right(block) => {
                    self.heard = Some(now);
                    outcomes.push(Outcome::Got(block));
                }
                Seen::Late => {}
                Seen::Wrong => self.judge()?,
            }
        }
        for presence in message.presences {
            if !presence.held && self.open.remove(&presence.cid).is_some() {
                self.heard = Some(now);
                outcomes.push(Outcome::Not(presence.cid, Fault::Absent));
            }
        }
        Ok(outcomes)
    }

    /// The open want that these bytes answer.
    fn recognise(&mut self, data: &Bytes) -> Seen {
        if data.len() > MAX_BLOCK_READ {
            return Seen::Wrong;
        }
        // The message that they came in is not kept alive by one of its blocks.
        let block = Block::new(Codec::Raw, Bytes::copy_from_slice(data));
        let Ok(digest) = digest_of(block.cid()) else {
            return Seen::Wrong;
        };
        let as_node = cid_from_digest(Codec::DagCbor, digest);
        if self.open.remove(block.cid()).is_some() {
            Seen::Right(block)
        } else if self.open.remove(&as_node).is_some() {
            Seen::Right(Block::new(Codec::DagCbor, block.into_bytes()))
        } else if self.asked.contains(block.cid()) || self.asked.contains(&as_node) {
            Seen::Late
        } else {
            Seen::Wrong
        }
    }

    /// Counts a block that answers nothing.
    fn judge(&mut self) -> Result<(), Fault> {
        self.unasked += 1;
        let most = self.open.len().clamp(1, MAX_UNASKED);
        if self.unasked < most {
            return Ok(());
        }
        let many = if self.unasked == 1 {
            "a block".to_owned()
        } else {
            format!("{} blocks", self.unasked)
        };
        Err(Fault::Lied(format!(
            "sent {many} that hash to nothing it was asked for"
        )))
    }

    /// When [`Self::expired`] is to be asked next.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.open.values().min()?;
        let silent = self.heard.map_or(*oldest, |heard| heard.max(*oldest));
        Some((silent + self.idle).min(*oldest + self.idle * TURNS))
    }

    /// Ends the wants that the peer left unanswered.
    pub fn expired(&mut self, now: Instant) -> Vec<Outcome> {
        let heard = self.heard;
        let idle = self.idle;
        let is_over = |asked: &Instant| {
            let silent_since = heard.map_or(*asked, |heard| heard.max(*asked));
            now >= silent_since + idle || now >= *asked + idle * TURNS
        };
        let over: Vec<Cid> = self
            .open
            .iter()
            .filter(|(_, asked)| is_over(asked))
            .map(|(cid, _)| *cid)
            .collect();
        let what = format!("said nothing of it for {} s", idle.as_secs_f64());
        over.into_iter()
            .map(|cid| {
                self.leave(&cid);
                Outcome::Not(cid, Fault::Failed(what.clone()))
            })
            .collect()
    }

    /// The connection broke: what was asked is to be asked again.
    pub fn ask_again(&mut self) {
        let open: Vec<Cid> = self.open.drain().map(|(cid, _)| cid).collect();
        for cid in open {
            self.queue.push_front(cid);
        }
        self.cancelled.clear();
        self.heard = None;
    }

    /// Gives up all that is wanted.
    pub fn give_up(&mut self) -> Vec<Cid> {
        self.cancelled.clear();
        let open = self.open.drain().map(|(cid, _)| cid);
        open.chain(self.queue.drain(..)).collect()
    }
}

fn entry(cid: Cid, cancel: bool) -> Want {
    Want {
        cid,
        priority: 1,
        kind: Kind::Block,
        cancel,
        send_dont_have: !cancel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::p2p::bitswap::message::{Payload, Presence};
    use proptest::prelude::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn block(n: u32) -> Block {
        let codec = if n.is_multiple_of(2) {
            Codec::Raw
        } else {
            Codec::DagCbor
        };
        Block::new(codec, n.to_be_bytes().to_vec())
    }

    fn giving(blocks: &[Block]) -> Message {
        Message {
            blocks: blocks.iter().map(Payload::from).collect(),
            ..Message::default()
        }
    }

    fn lacking(cid: Cid) -> Message {
        Message {
            presences: vec![Presence { cid, held: false }],
            ..Message::default()
        }
    }

    fn got(outcomes: &[Outcome]) -> Vec<Cid> {
        let blocks = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Got(block) => Some(*block.cid()),
            Outcome::Not(..) => None,
        });
        blocks.collect()
    }

    proptest! {
        #[test]
        fn every_want_ends_once_whatever_the_order(
            count in 1_u32..120,
            lacks in prop::collection::hash_set(0_u32..120, 0..60),
            picks in prop::collection::vec(any::<usize>(), 400),
        ) {
            let now = Instant::now();
            let mut wants = Wants::new(IDLE);
            for n in 0..count {
                wants.want(*block(n).cid());
                wants.want(*block(n).cid());
            }
            let mut before: Vec<u32> = Vec::new();
            let mut ended: Vec<Cid> = Vec::new();
            let mut picks = picks.into_iter();
            loop {
                if let Some(message) = wants.next_message(now) {
                    before.extend(message.wants.iter().map(|want| {
                        (0..count).find(|n| *block(*n).cid() == want.cid).unwrap()
                    }));
                }
                prop_assert!(before.len() <= MAX_OPEN);
                if before.is_empty() {
                    break;
                }
                let n = before.swap_remove(picks.next().unwrap() % before.len());
                let message = if lacks.contains(&n) {
                    lacking(*block(n).cid())
                } else {
                    giving(&[block(n)])
                };
                for outcome in wants.take_in(message, now).unwrap() {
                    ended.push(match outcome {
                        Outcome::Got(block) => *block.cid(),
                        Outcome::Not(cid, _) => cid,
                    });
                }
            }
            prop_assert!(wants.is_idle());
            prop_assert_eq!(ended.len(), count as usize);
            let different: HashSet<Cid> = ended.into_iter().collect();
            prop_assert_eq!(different.len(), count as usize);
        }
    }

    #[test]
    fn one_wrong_block_for_one_want_is_a_lie() {
        let now = Instant::now();
        let mut wants = Wants::new(IDLE);
        wants.want(*block(1).cid());
        wants.next_message(now);
        let lie = wants.take_in(giving(&[block(2)]), now).unwrap_err();
        assert!(matches!(lie, Fault::Lied(_)));
    }

    #[test]
    fn wrong_blocks_among_right_ones_add_up() {
        let now = Instant::now();
        let mut wants = Wants::new(IDLE);
        (0..100).for_each(|n| wants.want(*block(n).cid()));
        let mut lied = None;
        for n in 0..100 {
            wants.next_message(now);
            let message = giving(&[block(n), block(1_000 + n)]);
            if wants.take_in(message, now).is_err() {
                lied = Some(n);
                break;
            }
        }
        assert_eq!(lied, Some(u32::try_from(MAX_UNASKED).unwrap() - 1));
    }

    #[test]
    fn what_comes_late_or_twice_is_no_lie() {
        let now = Instant::now();
        let mut wants = Wants::new(IDLE);
        for n in 0..50 {
            wants.want(*block(n).cid());
            wants.next_message(now);
            wants.leave(block(n).cid());
            assert!(got(&wants.take_in(giving(&[block(n)]), now).unwrap()).is_empty());
            wants.want(*block(n).cid());
            wants.next_message(now);
            let twice = giving(&[block(n), block(n)]);
            assert_eq!(got(&wants.take_in(twice, now).unwrap()), [*block(n).cid()]);
        }
    }

    #[test]
    fn no_message_names_a_block_twice() {
        let now = Instant::now();
        let mut wants = Wants::new(IDLE);
        let (one, other) = (*block(1).cid(), *block(2).cid());
        wants.want(one);
        wants.want(other);
        wants.next_message(now);
        // Given up twice, one of them is wanted again each time.
        for _ in 0..2 {
            wants.leave(&one);
            wants.leave(&other);
            wants.want(one);
            let told = wants.next_message(now).unwrap().wants;
            let told: HashMap<Cid, bool> = told.iter().map(|w| (w.cid, w.cancel)).collect();
            assert!(!told[&one]);
            wants.want(other);
            let again = wants.next_message(now).unwrap().wants;
            assert_eq!(
                (again.len(), again[0].cid, again[0].cancel),
                (1, other, false)
            );
        }
    }

    #[test]
    fn a_cancellation_goes_out_where_the_block_waits_for_its_turn() {
        let now = Instant::now();
        let mut wants = Wants::new(IDLE);
        let many = u32::try_from(MAX_OPEN).unwrap();
        (0..=many).for_each(|n| wants.want(*block(n).cid()));
        wants.next_message(now);
        // The last one takes the free place before the first, which is wanted again.
        wants.leave(block(0).cid());
        wants.want(*block(0).cid());
        let told = wants.next_message(now).unwrap().wants;
        let told: HashMap<Cid, bool> = told.iter().map(|w| (w.cid, w.cancel)).collect();
        let expected = [(*block(many).cid(), false), (*block(0).cid(), true)];
        assert_eq!(told, HashMap::from(expected));
    }

    #[test]
    fn silence_ends_what_is_open_and_answers_put_it_off() {
        let start = Instant::now();
        let mut wants = Wants::new(IDLE);
        wants.want(*block(0).cid());
        wants.want(*block(1).cid());
        wants.next_message(start);
        assert_eq!(wants.deadline(), Some(start + IDLE));
        let later = start + IDLE / 2;
        wants.take_in(giving(&[block(0)]), later).unwrap();
        assert!(wants.expired(start + IDLE).is_empty());
        assert_eq!(wants.deadline(), Some(later + IDLE));
        assert_eq!(wants.expired(later + IDLE).len(), 1);
        assert!(wants.is_idle());
        let told = wants.next_message(later + IDLE).unwrap();
        assert!(told.wants[0].cancel);
    }

    #[test]
    fn a_want_that_is_passed_over_ends_though_others_are_answered() {
        let start = Instant::now();
        let mut wants = Wants::new(IDLE);
        wants.want(*block(0).cid());
        let mut now = start;
        let mut n = 1;
        while wants.expired(now).is_empty() {
            wants.want(*block(n).cid());
            wants.next_message(now);
            now += IDLE / 2;
            wants.take_in(giving(&[block(n)]), now).unwrap();
            n += 1;
            assert!(now < start + IDLE * 10);
        }
        assert_eq!(now, start + IDLE * TURNS);
    }

    #[test]
    fn after_a_break_all_is_asked_again() {
        let now = Instant::now();
        let mut wants = Wants::new(IDLE);
        (0..3).for_each(|n| wants.want(*block(n).cid()));
        assert_eq!(wants.next_message(now).unwrap().wants.len(), 3);
        assert!(wants.next_message(now).is_none());
        wants.ask_again();
        assert_eq!(wants.next_message(now).unwrap().wants.len(), 3);
    }
}
