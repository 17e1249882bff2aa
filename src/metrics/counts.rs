//! Numbers that only rise, alone or one for each of a few words.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of a few words, each of which is counted by itself.
pub trait Word: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// As a label has it.
    fn word(self) -> &'static str;

    /// Where it stands among all.
    fn place(self) -> usize {
        let at = Self::ALL.iter().position(|one| *one == self);
        at.expect("every word is among all")
    }
}

/// A number for each of a few words.
pub struct Counts<W> {
    counters: Box<[Counter]>,
    of: PhantomData<W>,
}

impl<W: Word> Default for Counts<W> {
    fn default() -> Self {
        Self {
            counters: W::ALL.iter().map(|_| Counter::default()).collect(),
            of: PhantomData,
        }
    }
}

impl<W: Word> Counts<W> {
    /// One more of this word.
    pub fn count(&self, word: W) {
        self.counters[word.place()].count();
    }

    /// Each word, and how many so far; those that never were, too.
    pub fn each(&self) -> impl Iterator<Item = (W, u64)> {
        let words = W::ALL.iter().copied();
        words.zip(self.counters.iter().map(Counter::get))
    }

    /// How many there were of this word.
    pub fn get(&self, word: W) -> u64 {
        self.counters[word.place()].get()
    }
}

impl<W> fmt::Debug for Counts<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.counters.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Way {
        In,
        Out,
    }

    impl Word for Way {
        const ALL: &'static [Self] = &[Self::In, Self::Out];

        fn word(self) -> &'static str {
            match self {
                Self::In => "in",
                Self::Out => "out",
            }
        }
    }

    #[test]
    fn every_word_is_told_also_one_that_never_was() {
        let counts = Counts::default();
        counts.count(Way::Out);
        counts.count(Way::Out);
        let told: Vec<_> = counts
            .each()
            .map(|(way, count)| (way.word(), count))
            .collect();
        assert_eq!(told, [("in", 0), ("out", 2)]);
        assert_eq!(counts.get(Way::Out), 2);
    }
}
