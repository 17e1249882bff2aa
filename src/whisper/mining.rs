//! The search for a nonce that shows enough work.
//!
//! Always true:
//! - A nonce handed out was checked by the same formulas that receivers use.
//! - A step tries a bounded number of nonces and can be resumed; nothing here
//!   knows time.
//!
//! Meeting both definitions costs about the product of the two difficulties:
//! trivial at the 0.001 of Status, minutes at the 0.2 of geth. Whoever knows
//! the peer mines by its definition alone.

use keccak_asm::{Digest, Keccak256};

use crate::time::{Expiry, Ttl};
use crate::whisper::pow::{Formula, Pow, Preimage, TRAILING_GAP, work};
use crate::whisper::{Envelope, Topic};

/// An envelope that lacks only its nonce. The expiry counts as work, so it is
/// fixed before mining and does not move with the time mining takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// When the envelope dies.
    pub expiry: Expiry,
    /// How long it lives.
    pub ttl: Ttl,
    /// Its topic.
    pub topic: Topic,
    /// The ciphertext.
    pub data: Vec<u8>,
}

impl Template {
    /// The envelope with `nonce`.
    pub fn with_nonce(&self, nonce: u64) -> Envelope {
        Envelope::new(self.expiry, self.ttl, self.topic, &self.data, nonce)
    }
}

/// What a nonce has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This much work by both definitions: good for any peer.
    Both(Pow),
    /// This much work by one definition: good for peers known to use it.
    One(Formula, Pow),
}

impl Target {
    fn by(self, formula: Formula) -> Option<Pow> {
        match self {
            Self::Both(pow) => Some(pow),
            Self::One(only, pow) => (only == formula).then_some(pow),
        }
    }
}

/// Where a search stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mined {
    /// This nonce shows the work asked for.
    Found(Envelope),
    /// Not yet: continue from this nonce.
    Continue(u64),
}

/// Tries up to `budget` nonces from `from` upward, the way the reference nodes
/// search: the first that reaches the target wins.
pub fn mine(template: &Template, target: Target, from: u64, budget: u32) -> Mined {
    let blank = template.with_nonce(0);
    let preimage = Preimage::of(&blank);
    let leading_start = preimage.absorbed();
    let trailing_start = Keccak256::new()
        .chain_update(preimage.absorbed().finalize())
        .chain_update(TRAILING_GAP);
    let reached = |formula: Formula, nonce: u64| {
        let Some(wanted) = target.by(formula) else {
            return true;
        };
        let (start, length) = match formula {
            Formula::Trailing => (&trailing_start, blank.size()),
            Formula::Leading => (&leading_start, preimage.len()),
        };
        let hash: [u8; 32] = start
            .clone()
            .chain_update(nonce.to_be_bytes())
            .finalize()
            .into();
        work(formula.zero_bits(&hash), length, template.ttl.0) >= wanted
    };
    let mut nonce = from;
    for _ in 0..budget {
        if reached(Formula::Trailing, nonce) && reached(Formula::Leading, nonce) {
            return Mined::Found(template.with_nonce(nonce));
        }
        nonce = nonce.wrapping_add(1);
    }
    Mined::Continue(nonce)
}

/// Mines to the end, for targets known to be near.
///
/// Gives up after `most` nonces, handing the template's target back as `None`.
pub fn mine_within(template: &Template, target: Target, most: u32) -> Option<Envelope> {
    match mine(template, target, 0, most) {
        Mined::Found(envelope) => Some(envelope),
        Mined::Continue(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whisper::pow::Work;

    fn template() -> Template {
        Template {
            expiry: Expiry(1_600_000_000),
            ttl: Ttl(50),
            topic: Topic([1, 2, 3, 4]),
            data: vec![0xab; 64],
        }
    }

    #[test]
    fn a_mined_envelope_shows_the_work_by_both_definitions() {
        let target = Pow::new(0.002).unwrap();
        let envelope = mine_within(&template(), Target::Both(target), 1 << 20).unwrap();
        assert!(Work::of(&envelope).least() >= target);
    }

    #[test]
    fn one_definition_may_be_enough() {
        for formula in Formula::ALL {
            let target = Pow::new(0.02).unwrap();
            let envelope = mine_within(&template(), Target::One(formula, target), 1 << 20).unwrap();
            assert!(Work::of(&envelope).by(formula) >= target);
        }
    }

    #[test]
    fn a_search_resumed_finds_what_one_search_finds() {
        let target = Target::Both(Pow::new(0.002).unwrap());
        let whole = mine_within(&template(), target, 1 << 20).unwrap();
        let mut from = 0;
        let found = loop {
            match mine(&template(), target, from, 7) {
                Mined::Found(envelope) => break envelope,
                Mined::Continue(next) => {
                    assert_eq!(next, from + 7);
                    from = next;
                }
            }
        };
        assert_eq!(found, whole);
    }

    #[test]
    fn an_endless_target_ends_with_the_budget() {
        let target = Target::Both(Pow::INFINITE);
        assert_eq!(mine(&template(), target, 5, 10), Mined::Continue(15));
    }
}
