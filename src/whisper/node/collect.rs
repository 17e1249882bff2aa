//! Batches of many peers on their way to the archive, gathered.
//!
//! Making an append durable takes the disk the same time whether it holds one
//! envelope or a thousand. What comes while appends are under way waits for the
//! next one, together.
//!
//! Always true:
//! - Who waits is answered after the append that holds its envelopes, with that
//!   append's outcome. Where one of several batches fails, each is appended alone:
//!   nobody fails with another's.
//! - Batches with envelopes of old go apart from fresh ones, one append of them at a
//!   time: whether they are new is looked up in days long sealed, which may take
//!   long.
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

/// Envelopes sent longer ago than this, in seconds, are old. What is younger is not
/// sealed yet, or in the hour that is open.
const OLD: u32 = 15 * 60;

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
    fresh: VecDeque<Batch>,
    old: VecDeque<Batch>,
    appending: usize,
    /// Whether one of the appends is of old ones.
    appending_old: bool,
}

struct Batch {
    envelopes: Vec<Envelope>,
    bytes: usize,
    is_old: bool,
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
    let old = shared.clock.now().saturating_sub(OLD);
    let batch = Batch {
        is_old: envelopes.iter().any(|envelope| envelope.sent() < old),
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
        of_old: false,
    };
    while let Some(batches) = place.next() {
        if batches.len() > 1 {
            let of_batches = batches.iter().flat_map(|batch| &batch.envelopes);
            match ingest::try_append(&shared, of_batches.cloned().collect()).await {
                Ok(_) => {
                    for batch in batches {
                        // Who is gone needs no answer.
                        let _ = batch.done.send(Ok(()));
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, cause = %error.source, "each batch is stored alone");
                }
            }
        }
        for Batch {
            envelopes, done, ..
        } in batches
        {
            let outcome = ingest::append(&shared, envelopes).await;
            let _ = done.send(outcome.map(drop).map_err(|_| NotStored));
        }
    }
}

impl Collector {
    /// Whether an append must be started for it.
    fn hand_in(&self, batch: Batch) -> bool {
        let mut waiting = self.lock();
        if batch.is_old {
            waiting.old.push_back(batch);
        } else {
            waiting.fresh.push_back(batch);
        }
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
    /// Its append is of old ones.
    of_old: bool,
}

impl Place<'_> {
    /// The batches of the next append; none, and the place given back, where none
    /// waits.
    fn next(&mut self) -> Option<Vec<Batch>> {
        let mut waiting = self.collector.lock();
        let waiting = &mut *waiting;
        if std::mem::take(&mut self.of_old) {
            waiting.appending_old = false;
        }
        // The other place is for fresh ones then.
        let of_old = !waiting.appending_old && !waiting.old.is_empty();
        let queue = if of_old {
            &mut waiting.old
        } else {
            &mut waiting.fresh
        };
        let Some(first) = queue.pop_front() else {
            waiting.appending -= 1;
            self.held = false;
            return None;
        };
        let mut bytes = first.bytes;
        let mut batches = vec![first];
        while let Some(next) = queue.front()
            && bytes + next.bytes <= MOST_BYTES
        {
            bytes += next.bytes;
            batches.extend(queue.pop_front());
        }
        self.of_old = of_old;
        waiting.appending_old |= of_old;
        Some(batches)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.held {
            let mut waiting = self.collector.lock();
            waiting.appending -= 1;
            if self.of_old {
                waiting.appending_old = false;
            }
            // Those it would have served next must not wait for ever.
            if waiting.appending == 0 {
                waiting.fresh.clear();
                waiting.old.clear();
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
            is_old: false,
            done: oneshot::channel().0,
        }
    }

    fn place(collector: &Collector) -> Place<'_> {
        Place {
            collector,
            held: true,
            of_old: false,
        }
    }

    #[test]
    fn old_ones_hold_up_no_fresh_ones_and_are_not_left_for_ever() {
        let collector = Collector::default();
        let old = || Batch {
            is_old: true,
            ..batch(1)
        };
        let ages = |batches: Option<Vec<Batch>>| {
            let batches = batches.unwrap_or_default();
            batches.iter().map(|batch| batch.is_old).collect::<Vec<_>>()
        };
        assert!(collector.hand_in(old()) && collector.hand_in(batch(1)));
        let (mut first, mut second) = (place(&collector), place(&collector));
        assert_eq!(ages(first.next()), [true]);
        for _ in 0..3 {
            assert!(!collector.hand_in(old()));
            assert!(!collector.hand_in(batch(1)));
        }
        assert_eq!(ages(second.next()), [false; 4]);
        assert!(second.next().is_none(), "one append of old ones at a time");
        assert!(collector.hand_in(batch(1)));
        let mut second = place(&collector);
        assert_eq!(ages(second.next()), [false]);
        assert_eq!(ages(first.next()), [true; 3]);
        assert!(first.next().is_none() && second.next().is_none());
        assert_eq!(collector.lock().appending, 0);
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
        collector.lock().fresh.push_back(late);
        drop((under_way, place));
        let gone = Err(oneshot::error::TryRecvError::Closed);
        assert_eq!(outcome.try_recv().map(drop), gone);
        assert_eq!(collector.lock().appending, 0);
    }
}
