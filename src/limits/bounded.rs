//! A map that forgets whom it has not seen for longest.
//!
//! Always true: it holds at most as many entries as it was made for.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A bounded map; using an entry makes it the youngest.
#[derive(Debug)]
pub struct Bounded<K, V> {
    capacity: usize,
    entries: HashMap<K, (u64, V)>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Clone + Eq + Hash, V: Default> Bounded<K, V> {
    /// An empty map for `capacity` entries, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// The entry of `key`, a fresh one if there is none; the one used longest ago
    /// makes room for it.
    pub fn entry(&mut self, key: &K) -> &mut V {
        self.uses += 1;
        let now = self.uses;
        if let Some((used, _)) = self.entries.get_mut(key) {
            self.by_use.remove(used);
            *used = now;
        } else if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.by_use.insert(now, key.clone());
        let (_, value) = self
            .entries
            .entry(key.clone())
            .or_insert_with(|| (now, V::default()));
        value
    }

    /// The entry of `key`, if there is one; looking makes it no younger.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_longest_ago_makes_room() {
        let mut map: Bounded<u8, u32> = Bounded::new(2);
        *map.entry(&1) = 10;
        *map.entry(&2) = 20;
        assert_eq!(*map.entry(&1), 10);
        *map.entry(&3) = 30;
        assert_eq!(map.len(), 2);
        assert_eq!(*map.entry(&1), 10);
        assert_eq!((map.get(&1), map.get(&2)), (Some(&10), None));
        assert_eq!(*map.entry(&2), 0, "forgotten");
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn any_number_of_keys_stays_within_the_bound() {
        let mut map: Bounded<u32, u32> = Bounded::new(100);
        for key in 0..10_000 {
            *map.entry(&key) += 1;
            *map.entry(&(key / 2)) += 1;
        }
        assert_eq!((map.len(), map.by_use.len()), (100, 100));
    }
}
