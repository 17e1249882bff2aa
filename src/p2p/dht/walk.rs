//! A walk through the DHT: what it finds, and how it ends.
//!
//! Always true: whoever walks is told of each thing once, of at most [`MAX_FOUND`], and
//! never stops the swarm by not listening.

use std::collections::HashSet;
use std::hash::Hash;

use tokio::sync::{mpsc, oneshot};

/// Told of in a walk, at most: three answers of twenty providers each that nobody else
/// named.
pub const MAX_FOUND: usize = 64;

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All were asked that there was reason to ask.
    Whole,
    /// The same, and more was found than whoever walks was told of.
    Crowded,
    /// It took too long.
    Late,
    /// Nobody answered.
    Alone,
}

impl Ended {
    pub(super) fn of(has_answer: bool, is_late: bool) -> Self {
        match (has_answer, is_late) {
            (false, _) => Self::Alone,
            (true, true) => Self::Late,
            (true, false) => Self::Whole,
        }
    }
}

/// What a walk gives, for whoever walks.
pub struct Walk<T> {
    /// What was found, as it comes.
    pub found: mpsc::Receiver<T>,
    ended: oneshot::Receiver<Ended>,
}

impl<T> Walk<T> {
    /// How it ended, once nothing more comes.
    pub async fn ended(self) -> Ended {
        // Who runs no DHT at all asks nobody.
        self.ended.await.unwrap_or(Ended::Alone)
    }
}

/// Whoever walks, for the DHT.
pub struct Asker<T> {
    seen: HashSet<T>,
    has_more: bool,
    to: mpsc::Sender<T>,
    ended: oneshot::Sender<Ended>,
}

impl<T: Clone + Eq + Hash> Asker<T> {
    /// One, and what it will hear.
    pub fn new() -> (Self, Walk<T>) {
        let (to, found) = mpsc::channel(MAX_FOUND);
        let (end, ended) = oneshot::channel();
        let asker = Self {
            seen: HashSet::new(),
            has_more: false,
            to,
            ended: end,
        };
        (asker, Walk { found, ended })
    }

    pub(super) fn found(&mut self, one: T) {
        if self.seen.len() >= MAX_FOUND {
            self.has_more |= !self.seen.contains(&one);
        } else if self.seen.insert(one.clone()) {
            // There is room for all of them; whoever has gone wants none.
            let _ = self.to.try_send(one);
        }
    }

    pub(super) fn end(self, ended: Ended) {
        let ended = match ended {
            Ended::Whole if self.has_more => Ended::Crowded,
            other => other,
        };
        let _ = self.ended.send(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_whole_set_comes_at_once_and_each_of_it_once() {
        for (most, ended) in [(64, Ended::Whole), (1_000, Ended::Crowded)] {
            let (mut asker, mut walk) = Asker::new();
            for n in (0..20).chain(0..20).chain(0..most).chain(0..64) {
                asker.found(n);
            }
            asker.end(Ended::Whole);
            let mut found = Vec::new();
            while let Some(n) = walk.found.recv().await {
                found.push(n);
            }
            assert_eq!(found, (0..64).collect::<Vec<_>>());
            assert_eq!(walk.ended().await, ended);
        }
    }

    #[tokio::test]
    async fn a_walk_that_nobody_runs_reaches_nobody() {
        let (asker, mut walk) = Asker::<u8>::new();
        drop(asker);
        assert_eq!(walk.found.recv().await, None);
        assert_eq!(walk.ended().await, Ended::Alone);
    }
}
