//! What is to be announced, and what was.
//!
//! Always true:
//! - Announced is what a node of the DHT was told of, is still wanted, and need not be
//!   told again yet. What nobody could be told of waits.
//! - Each is under way once at most, and of all at most [`AT_ONCE`].

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use libp2p::kad::RecordKey;

/// How often what is announced is announced again. Others forget it after 48 hours.
pub(super) const AGAIN: Duration = Duration::from_secs(22 * 3_600);

/// Announcements under way. Each asks some twenty peers.
const AT_ONCE: usize = 4;

/// Announced at most: the days of twenty years. The newest come first.
pub(super) const MAX_ANNOUNCED: usize = 8_192;

/// All announcements.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    wanted: HashSet<RecordKey>,
    waiting: VecDeque<RecordKey>,
    under_way: HashSet<RecordKey>,
    /// When they were, the first ones first.
    told: VecDeque<(Instant, RecordKey)>,
}

impl Announcements {
    /// Announces these, the first ones first, and what was wanted before no more.
    pub(super) fn replace(&mut self, keys: impl IntoIterator<Item = RecordKey>) {
        let mut wanted = HashSet::new();
        let keys = keys.into_iter().take(MAX_ANNOUNCED);
        let keys: Vec<RecordKey> = keys.filter(|key| wanted.insert(key.clone())).collect();
        self.told.retain(|(_, key)| wanted.contains(key));
        self.wanted = wanted;
        let told: HashSet<&RecordKey> = self.told.iter().map(|(_, key)| key).collect();
        let is_new = |key: &RecordKey| !told.contains(key) && !self.under_way.contains(key);
        self.waiting = keys.into_iter().filter(is_new).collect();
    }

    /// The next one, which is under way from now on.
    pub(super) fn next(&mut self) -> Option<RecordKey> {
        if self.under_way.len() >= AT_ONCE {
            return None;
        }
        let key = self.waiting.pop_front()?;
        self.under_way.insert(key.clone());
        Some(key)
    }

    /// Somebody was told of one.
    pub(super) fn was_told(&mut self, key: RecordKey, now: Instant) {
        if self.under_way.remove(&key) && self.wanted.contains(&key) {
            self.told.push_back((now, key));
        }
    }

    /// Nobody was told of one: it waits until all others had their turn.
    pub(super) fn was_not_told(&mut self, key: RecordKey) {
        if self.under_way.remove(&key) && self.wanted.contains(&key) {
            self.waiting.push_back(key);
        }
    }

    /// What was told long ago is told again.
    pub(super) fn grow_old(&mut self, now: Instant) {
        while let Some((_, key)) = self.told.pop_front_if(|(told, _)| now >= *told + AGAIN) {
            self.waiting.push_back(key);
        }
    }

    /// When something is to be told again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.told.front().map(|(told, _)| *told + AGAIN)
    }

    /// Whether this one is to be had here.
    pub(super) fn wants(&self, key: &RecordKey) -> bool {
        self.wanted.contains(key)
    }

    /// How many are to be announced, the announced ones included.
    pub(super) fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// How many are announced.
    pub(super) fn told(&self) -> usize {
        self.told.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(range: std::ops::Range<u32>) -> impl Iterator<Item = RecordKey> {
        range.map(|n| RecordKey::new(&n.to_be_bytes()))
    }

    fn begun(all: &mut Announcements) -> Vec<RecordKey> {
        std::iter::from_fn(|| all.next()).collect()
    }

    #[test]
    fn the_first_ones_come_first_and_few_at_a_time() {
        let mut all = Announcements::default();
        all.replace(keys(0..10).chain(keys(0..10)));
        assert_eq!((all.wanted(), all.told()), (10, 0));
        let first = begun(&mut all);
        assert_eq!(first, keys(0..4).collect::<Vec<_>>());
        all.was_told(first[1].clone(), Instant::now());
        assert_eq!(begun(&mut all), keys(4..5).collect::<Vec<_>>());
        assert_eq!((all.wanted(), all.told()), (10, 1));
    }

    #[test]
    fn what_nobody_was_told_of_is_not_announced_and_comes_again_after_the_others() {
        let mut all = Announcements::default();
        all.replace(keys(0..6));
        for key in begun(&mut all) {
            all.was_not_told(key);
        }
        assert_eq!(all.told(), 0);
        let again = begun(&mut all);
        let order: Vec<RecordKey> = keys(4..6).chain(keys(0..2)).collect();
        assert_eq!(again, order);
    }

    #[test]
    fn what_is_wanted_no_more_is_not_told_again_whatever_became_of_it() {
        let mut all = Announcements::default();
        all.replace(keys(0..4));
        let first = begun(&mut all);
        all.was_told(first[0].clone(), Instant::now());
        all.replace(keys(3..6));
        assert_eq!((all.wanted(), all.told()), (3, 0));
        all.was_told(first[1].clone(), Instant::now());
        all.was_not_told(first[2].clone());
        // The last one is under way still, and wanted still.
        assert_eq!(begun(&mut all), keys(4..6).collect::<Vec<_>>());
        all.was_told(first[3].clone(), Instant::now());
        assert_eq!(all.told(), 1);
        all.replace(keys(3..6));
        assert_eq!(all.told(), 1, "a new head with the same roots");
    }

    #[test]
    fn what_was_told_is_told_again_before_others_forget_it() {
        let mut all = Announcements::default();
        all.replace(keys(0..2));
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        for (key, told) in begun(&mut all).into_iter().zip([now, later]) {
            all.was_told(key, told);
        }
        assert_eq!(all.deadline(), Some(now + AGAIN));
        all.grow_old(now + AGAIN);
        assert_eq!(all.told(), 1);
        assert_eq!(begun(&mut all), keys(0..1).collect::<Vec<_>>());
        assert_eq!(all.deadline(), Some(later + AGAIN));
    }

    #[test]
    fn no_more_are_wanted_than_the_newest_of_twenty_years() {
        let mut all = Announcements::default();
        all.replace(keys(0..20_000));
        assert_eq!(all.wanted(), MAX_ANNOUNCED);
        assert!(all.wants(&RecordKey::new(&0_u32.to_be_bytes())));
    }
}
