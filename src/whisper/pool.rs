//! Living envelopes, kept for passing on.
//!
//! Always true:
//! - Every envelope here was admitted and is durable: the pool is filled after
//!   the archive answered. Forgetting one loses no history.
//! - Bytes and count stay within [`PoolLimits`]; when full, the envelopes that
//!   show the least work go first.
//! - Each envelope holds its own bytes, not those of the packet it came in.
//! - Sequence numbers rise, so a peer's session resumes where it stopped. An
//!   envelope sent ahead of our clock gets its number when its time has come: a
//!   peer whose clock is behind ours would blame us for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::time::{Expiry, UnixSeconds};
use crate::whisper::admission::Admitted;
use crate::whisper::pow::{Pow, Work};
use crate::whisper::{Envelope, EnvelopeHash};

/// What an entry is charged beside its bytes, for the maps around it.
pub const ENTRY_OVERHEAD: usize = 256;

/// How much a pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Bytes of envelopes, each with [`ENTRY_OVERHEAD`].
    pub bytes: usize,
}

impl Default for PoolLimits {
    /// 64 MiB: some 120,000 messages of usual size, far beyond what a network
    /// with TTLs of seconds keeps alive.
    fn default() -> Self {
        Self { bytes: 64 << 20 }
    }
}

/// Where in the order of arrival an envelope stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

/// Who brought an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node posted it.
    Own,
    /// A peer passed it on.
    Peer,
}

/// An envelope in the pool.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// The envelope, in bytes of its own.
    pub envelope: Envelope,
    /// The work it showed when it was admitted.
    pub work: Work,
    /// Who brought it.
    pub origin: Origin,
    id: u64,
    sequence: Option<Sequence>,
}

impl Pooled {
    fn cost(&self) -> usize {
        self.envelope.rlp().len() + ENTRY_OVERHEAD
    }
}

/// What became of an envelope given to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is in, and this many weaker ones left.
    New {
        /// Envelopes that had to go.
        evicted: usize,
    },
    /// It was in already.
    Known,
    /// All others show more work and there is no room.
    Full,
}

/// The pool.
#[derive(Debug, Default)]
pub struct Pool {
    limits: PoolLimits,
    by_hash: HashMap<EnvelopeHash, Pooled>,
    in_order: BTreeMap<Sequence, EnvelopeHash>,
    by_expiry: BTreeSet<(Expiry, u64, EnvelopeHash)>,
    by_work: BTreeSet<(Pow, u64, EnvelopeHash)>,
    early: BTreeSet<(UnixSeconds, u64, EnvelopeHash)>,
    bytes: usize,
    /// How many of them this node posted itself.
    own: usize,
    last_id: u64,
    last_sequence: Sequence,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// How many envelopes are held.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Bytes charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this envelope is held.
    pub fn contains(&self, hash: &EnvelopeHash) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// Which of these this node posted itself.
    pub fn own_among(&self, envelopes: &[Envelope]) -> Vec<EnvelopeHash> {
        if self.own == 0 {
            return Vec::new();
        }
        let hashes = envelopes.iter().map(Envelope::hash);
        let is_own = |hash: &EnvelopeHash| {
            let pooled = self.by_hash.get(hash);
            pooled.is_some_and(|pooled| pooled.origin == Origin::Own)
        };
        hashes.filter(is_own).collect()
    }

    /// Takes in a durable envelope at `now`.
    pub fn insert(&mut self, admitted: &Admitted, origin: Origin, now: UnixSeconds) -> Inserted {
        let hash = admitted.hash();
        if self.contains(&hash) {
            return Inserted::Known;
        }
        self.last_id += 1;
        let pooled = Pooled {
            envelope: admitted.envelope().detached(),
            work: admitted.work(),
            origin,
            id: self.last_id,
            sequence: None,
        };
        let Some(victims) = self.make_room(&pooled) else {
            return Inserted::Full;
        };
        let evicted = victims.len();
        for victim in victims {
            self.remove(&victim);
        }
        self.bytes += pooled.cost();
        self.own += usize::from(origin == Origin::Own);
        self.by_expiry
            .insert((pooled.envelope.expiry(), pooled.id, hash));
        self.by_work.insert((pooled.work.most(), pooled.id, hash));
        let early = (pooled.envelope.sent(), pooled.id, hash);
        self.by_hash.insert(hash, pooled);
        self.early.insert(early);
        self.release(now);
        Inserted::New { evicted }
    }

    /// Forgets what died before `now` and numbers what is no longer early.
    /// Returns how many were forgotten.
    pub fn tick(&mut self, now: UnixSeconds) -> usize {
        let mut dead = 0;
        while let Some((expiry, _, hash)) = self.by_expiry.first().copied() {
            if UnixSeconds(expiry.0) >= now {
                break;
            }
            self.remove(&hash);
            dead += 1;
        }
        self.release(now);
        dead
    }

    /// Envelopes numbered after `seen`, in order. `Sequence::default()` sees
    /// all.
    pub fn after(&self, seen: Sequence) -> impl Iterator<Item = (Sequence, &Pooled)> {
        self.in_order
            .range(Sequence(seen.0 + 1)..)
            .filter_map(|(sequence, hash)| Some((*sequence, self.by_hash.get(hash)?)))
    }

    /// The envelopes that must go for `newcomer`, weakest first; none if it is
    /// itself too weak.
    fn make_room(&self, newcomer: &Pooled) -> Option<Vec<EnvelopeHash>> {
        let mut room = self.limits.bytes.saturating_sub(self.bytes);
        let mut victims = Vec::new();
        let mut weakest = self.by_work.iter();
        while room < newcomer.cost() {
            let (work, _, hash) = weakest.next()?;
            if *work >= newcomer.work.most() {
                return None;
            }
            room += self.by_hash.get(hash)?.cost();
            victims.push(*hash);
        }
        Some(victims)
    }

    fn remove(&mut self, hash: &EnvelopeHash) {
        let Some(gone) = self.by_hash.remove(hash) else {
            return;
        };
        self.bytes -= gone.cost();
        self.own -= usize::from(gone.origin == Origin::Own);
        self.by_expiry
            .remove(&(gone.envelope.expiry(), gone.id, *hash));
        self.by_work.remove(&(gone.work.most(), gone.id, *hash));
        match gone.sequence {
            Some(sequence) => {
                self.in_order.remove(&sequence);
            }
            None => {
                self.early.remove(&(gone.envelope.sent(), gone.id, *hash));
            }
        }
    }

    fn release(&mut self, now: UnixSeconds) {
        while let Some((sent, _, hash)) = self.early.first().copied() {
            if sent > now {
                break;
            }
            self.early.pop_first();
            self.last_sequence.0 += 1;
            self.in_order.insert(self.last_sequence, hash);
            if let Some(pooled) = self.by_hash.get_mut(&hash) {
                pooled.sequence = Some(self.last_sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Ttl;
    use crate::whisper::Topic;
    use crate::whisper::admission::{AdmissionPolicy, Verdict};

    const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

    fn admitted(sent: UnixSeconds, ttl: u32, seed: u64) -> Admitted {
        let envelope = Envelope::new(
            Expiry::of(sent, Ttl(ttl)),
            Ttl(ttl),
            Topic([1, 2, 3, 4]),
            &[7; 100],
            seed,
        );
        let policy = AdmissionPolicy {
            min_pow: Pow::ZERO,
            ..AdmissionPolicy::default()
        };
        match policy.judge(envelope, NOW) {
            Verdict::Admitted(admitted) => admitted,
            other => panic!("{other:?}"),
        }
    }

    fn hashes(pool: &Pool, seen: Sequence) -> Vec<EnvelopeHash> {
        pool.after(seen)
            .map(|(_, pooled)| pooled.envelope.hash())
            .collect()
    }

    #[test]
    fn an_envelope_is_held_once_and_until_it_dies() {
        let mut pool = Pool::default();
        let one = admitted(NOW, 10, 1);
        assert_eq!(
            pool.insert(&one, Origin::Peer, NOW),
            Inserted::New { evicted: 0 }
        );
        assert_eq!(pool.insert(&one, Origin::Peer, NOW), Inserted::Known);
        assert_eq!(pool.tick(NOW.saturating_add(10)), 0);
        assert_eq!(pool.tick(NOW.saturating_add(11)), 1);
        assert!(pool.is_empty());
        assert_eq!(
            (pool.bytes(), hashes(&pool, Sequence::default())),
            (0, vec![])
        );
    }

    #[test]
    fn a_session_resumes_where_it_stopped() {
        let mut pool = Pool::default();
        let [a, b] = [1, 2].map(|seed| admitted(NOW, 10, seed));
        pool.insert(&a, Origin::Peer, NOW);
        let (seen, _) = pool.after(Sequence::default()).last().unwrap();
        pool.insert(&b, Origin::Peer, NOW);
        assert_eq!(hashes(&pool, seen), [b.hash()]);
        assert_eq!(hashes(&pool, Sequence::default()), [a.hash(), b.hash()]);
    }

    #[test]
    fn an_envelope_from_the_near_future_waits_for_its_time() {
        let mut pool = Pool::default();
        let early = admitted(NOW.saturating_add(5), 10, 1);
        let on_time = admitted(NOW, 10, 2);
        pool.insert(&early, Origin::Peer, NOW);
        pool.insert(&on_time, Origin::Peer, NOW);
        assert_eq!(hashes(&pool, Sequence::default()), [on_time.hash()]);
        pool.tick(NOW.saturating_add(5));
        assert_eq!(
            hashes(&pool, Sequence::default()),
            [on_time.hash(), early.hash()]
        );
    }

    #[test]
    fn when_full_the_weakest_leave_first() {
        let mut by_work: Vec<Admitted> = (0..8).map(|seed| admitted(NOW, 10, seed)).collect();
        by_work.sort_by_key(|one| (one.work().most(), one.hash()));
        by_work.dedup_by_key(|one| one.work().most());
        let [weak, strong, .., strongest] = by_work.as_slice() else {
            panic!("three different amounts of work");
        };
        let cost = weak.envelope().rlp().len() + ENTRY_OVERHEAD;
        let mut pool = Pool::new(PoolLimits {
            bytes: 2 * cost + 8,
        });
        pool.insert(weak, Origin::Peer, NOW);
        pool.insert(strong, Origin::Peer, NOW);
        assert_eq!(
            pool.insert(strongest, Origin::Peer, NOW),
            Inserted::New { evicted: 1 }
        );
        assert!(!pool.contains(&weak.hash()) && pool.contains(&strong.hash()));
        assert_eq!(pool.insert(weak, Origin::Peer, NOW), Inserted::Full);
        assert_eq!(pool.len(), 2);
        assert!(pool.bytes() <= 2 * cost + 8);
    }

    #[test]
    fn a_pooled_envelope_does_not_keep_its_packet_alive() {
        let one = admitted(NOW, 10, 1);
        let mut packet = vec![0; 1 << 20];
        packet.extend_from_slice(one.envelope().rlp());
        let packet = bytes::Bytes::from(packet);
        let mut tail = packet.slice(1 << 20..);
        let cut_out = Envelope::decode_first(&mut tail).unwrap();
        let Verdict::Admitted(cut_out) = AdmissionPolicy {
            min_pow: Pow::ZERO,
            ..AdmissionPolicy::default()
        }
        .judge(cut_out, NOW) else {
            panic!("admitted before");
        };
        let mut pool = Pool::default();
        pool.insert(&cut_out, Origin::Peer, NOW);
        drop((cut_out, tail));
        assert!(packet.is_unique());
    }
}
