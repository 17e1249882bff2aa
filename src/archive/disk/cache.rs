//! What was read lately, within bounds.
//!
//! Always true: what is kept weighs at most the bound, or is the one value put
//! in last. What is used is kept longer than what is not: values live in two
//! generations, and the older goes as a whole when the younger is half of all.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by key, the least lately used forgotten.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    bound: usize,
    kept: Mutex<Kept<K, V>>,
}

#[derive(Debug)]
struct Kept<K, V> {
    young: HashMap<K, (V, usize)>,
    weight: usize,
    old: HashMap<K, (V, usize)>,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// An empty cache of values that weigh `bound` together.
    pub(super) fn new(bound: usize) -> Self {
        let kept = Kept {
            young: HashMap::new(),
            weight: 0,
            old: HashMap::new(),
        };
        Self {
            bound,
            kept: Mutex::new(kept),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key, if it is kept.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut kept = self.kept();
        if let Some((value, _)) = kept.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = kept.old.remove(key)?;
        self.put(&mut kept, key.clone(), value.clone(), weight);
        Some(value)
    }

    /// Keeps a value.
    pub(super) fn insert(&self, key: K, value: V, weight: usize) {
        let mut kept = self.kept();
        kept.old.remove(&key);
        self.put(&mut kept, key, value, weight);
    }

    fn put(&self, kept: &mut Kept<K, V>, key: K, value: V, weight: usize) {
        if kept.weight + weight > self.bound / 2 {
            kept.old = std::mem::take(&mut kept.young);
            kept.weight = 0;
        }
        if let Some((_, replaced)) = kept.young.insert(key, (value, weight)) {
            kept.weight = kept.weight.saturating_sub(replaced);
        }
        kept.weight += weight;
    }

    /// Forgets every value whose key `is_gone` tells of.
    pub(super) fn forget(&self, is_gone: impl Fn(&K) -> bool) {
        let mut kept = self.kept();
        kept.young.retain(|key, _| !is_gone(key));
        kept.old.retain(|key, _| !is_gone(key));
        kept.weight = kept.young.values().map(|(_, weight)| weight).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let cache = Cache::new(100);
        cache.insert(0, "used", 10);
        for n in 1..1_000 {
            cache.insert(n, "passing", 10);
            assert_eq!(cache.get(&0), Some("used"));
            let kept = cache.kept();
            let weight = |values: &HashMap<i32, (&str, usize)>| -> usize {
                values.values().map(|(_, weight)| weight).sum()
            };
            assert_eq!(kept.weight, weight(&kept.young));
            assert!(kept.weight + weight(&kept.old) <= 100);
        }
        assert_eq!(cache.get(&500), None);
        cache.forget(|key| *key == 0);
        assert_eq!(cache.get(&0), None);
    }
}
