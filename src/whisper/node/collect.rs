//! Batches of many peers on their way to the archive, gathered.
//!
//! Making an append durable takes the disk the same time whether it holds one
//! envelope or a thousand. What comes while appends are under way waits for the
//! next one, together.
//!
//! Always true:
//! - Who waits is answered after the append that holds its envelopes, with that
//!   append's outcome.
//! - An append holds one batch at least, and more while they stay below
//!   [`MOST_BYTES`]. What may wait is bounded by whoever hands batches in.
//! - Nothing that was handed in is forgotten, whoever handed it in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::whisper::Envelope;
use crate::whisper::node::{Shared, ingest};

/// Appends under way at a time: while the disk makes one durable, the next is
/// looked up and handed on.
const MOST_APPENDS: usize = 2;

/// Bytes gathered into one append, unless one batch alone is larger: the
/// journal's group. More would only make everybody in it wait longer.
const MOST_BYTES: usize = 8 << 20;

/// Envelopes are not durable. Why was logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotStored;

/// The batches that wait.
#[derive(Default)]
pub(super) struct Collector {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    appending: usize,
}

struct Batch {
    envelopes: Vec<Envelope>,
    bytes: usize,
    done: oneshot::Sender<Result<(), NotStored>>,
}

/// Archives `envelopes`, perhaps with those of others; durable on return. They
/// are archived also if nobody waits for it any more.
pub(super) async fn archive(
    shared: &Arc<Shared>,
    envelopes: Vec<Envelope>,
) -> Result<(), NotStored> {
    let (done, outcome) = oneshot::channel();
    let bytes = envelopes.iter().map(|envelope| envelope.rlp().len()).sum();
    let batch = Batch {
        envelopes,
        bytes,
        done,
    };
    if shared.collector.hand_in(batch) {
        tokio::spawn(work_off(Arc::clone(shared)));
    }
    outcome.await.unwrap_or(Err(NotStored))
}

/// Appends until nothing waits.
async fn work_off(shared: Arc<Shared>) {
    let mut place = Place {
        collector: &shared.collector,
        held: true,
    };
    while let Some(batches) = place.next() {
        let mut envelopes = Vec::with_capacity(batches.iter().map(|b| b.envelopes.len()).sum());
        let mut waiting = Vec::with_capacity(batches.len());
        for batch in batches {
            envelopes.extend(batch.envelopes);
            waiting.push(batch.done);
        }
        let outcome = ingest::append(&shared, envelopes).await;
        let outcome = outcome.map(drop).map_err(|_| NotStored);
        for done in waiting {
            // Who is gone needs no answer.
            let _ = done.send(outcome);
        }
    }
}

impl Collector {
    /// Whether an append must be started for it.
    fn hand_in(&self, batch: Batch) -> bool {
        let mut waiting = self.lock();
        waiting.batches.push_back(batch);
        let starts = waiting.appending < MOST_APPENDS;
        waiting.appending += usize::from(starts);
        starts
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that changes it panics half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the appends, given back also where one panics.
struct Place<'a> {
    collector: &'a Collector,
    held: bool,
}

impl Place<'_> {
    /// The batches of the next append; none, and the place given back, where none
    /// waits.
    fn next(&mut self) -> Option<Vec<Batch>> {
        let mut waiting = self.collector.lock();
        let Some(first) = waiting.batches.pop_front() else {
            waiting.appending -= 1;
            self.held = false;
            return None;
        };
        let mut bytes = first.bytes;
        let mut batches = vec![first];
        while let Some(next) = waiting.batches.front()
            && bytes + next.bytes <= MOST_BYTES
        {
            bytes += next.bytes;
            batches.extend(waiting.batches.pop_front());
        }
        Some(batches)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.held {
            let mut waiting = self.collector.lock();
            waiting.appending -= 1;
            // Those it would have served next must not wait for ever.
            if waiting.appending == 0 {
                waiting.batches.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch {
        Batch {
            envelopes: Vec::new(),
            bytes,
            done: oneshot::channel().0,
        }
    }

    fn place(collector: &Collector) -> Place<'_> {
        Place {
            collector,
            held: true,
        }
    }

    #[test]
    fn what_comes_while_appends_are_under_way_waits_and_goes_together() {
        let collector = Collector::default();
        assert!(collector.hand_in(batch(1)) && collector.hand_in(batch(1)));
        let (mut first, mut second) = (place(&collector), place(&collector));
        assert_eq!(first.next().map(|batches| batches.len()), Some(2));
        for _ in 0..5 {
            assert!(!collector.hand_in(batch(1)));
        }
        assert_eq!(second.next().map(|batches| batches.len()), Some(5));
        assert!(first.next().is_none() && second.next().is_none());
        assert!(collector.hand_in(batch(1)), "or nobody would append it");
    }

    #[test]
    fn an_append_stays_below_its_bound_unless_one_batch_does_not() {
        let collector = Collector::default();
        for bytes in [2 * MOST_BYTES, MOST_BYTES, MOST_BYTES - 1, 1, 1] {
            collector.hand_in(batch(bytes));
        }
        let mut place = place(&collector);
        let lens: Vec<_> = std::iter::from_fn(|| place.next())
            .map(|batches| batches.len())
            .collect();
        assert_eq!(lens, [1, 1, 2, 1]);
    }

    #[test]
    fn an_append_that_panics_leaves_nobody_waiting() {
        let collector = Collector::default();
        let (done, mut outcome) = oneshot::channel();
        collector.hand_in(batch(1));
        let mut place = place(&collector);
        let under_way = place.next();
        let late = Batch { done, ..batch(1) };
        collector.lock().batches.push_back(late);
        drop((under_way, place));
        let gone = Err(oneshot::error::TryRecvError::Closed);
        assert_eq!(outcome.try_recv().map(drop), gone);
        assert_eq!(collector.lock().appending, 0);
    }
}
