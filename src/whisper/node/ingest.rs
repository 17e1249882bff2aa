//! From a peer's batch to the archive, and then into the pool.
//!
//! Always true: the pool learns of an envelope after the archive said it is
//! durable.

use std::sync::Arc;

use crate::mailserver::{ArchiveError, Archived};
use crate::whisper::admission::Admitted;
use crate::whisper::confirm::EnvelopeFault;
use crate::whisper::node::collect::{self, NotStored};
use crate::whisper::node::{NodeEvent, Shared};
use crate::whisper::pool::{Inserted, Origin};
use crate::whisper::sift::{Sifted, sift};
use crate::whisper::{Envelope, EnvelopeHash, Work};

/// From this weight on, judging a batch gets a thread of its own: about ten
/// milliseconds of hashing, which would hold up every peer on this thread.
const HEAVY_BATCH: usize = 1 << 20;

/// What an envelope weighs beside its bytes: about what it takes in memory, and
/// as many bytes as could be hashed while it is looked up and judged.
const ENVELOPE_WEIGHT: usize = 256;

/// What became of a batch, once all of it that is worth keeping is durable.
#[derive(Debug, Default)]
pub(super) struct TakenIn {
    /// What to tell the sender.
    pub(super) faults: Vec<EnvelopeFault>,
    /// The work that new envelopes showed.
    pub(super) works: Vec<Work>,
}

/// How much a batch weighs, in memory and work: its bytes and a charge for each
/// envelope, so that a packet of tiny ones is not taken for a light one.
pub(super) fn weight(envelopes: &[Envelope]) -> usize {
    let bytes: usize = envelopes.iter().map(|envelope| envelope.rlp().len()).sum();
    bytes + envelopes.len() * ENVELOPE_WEIGHT
}

/// Takes in a batch of envelopes.
pub(super) async fn take_in(
    shared: Arc<Shared>,
    envelopes: Vec<Envelope>,
) -> Result<TakenIn, NotStored> {
    let received = count(envelopes.len());
    shared
        .counters
        .update(|counters| counters.received += received);
    let sifted = if weight(&envelopes) < HEAVY_BATCH {
        judge(&shared, envelopes)
    } else {
        let judging = Arc::clone(&shared);
        tokio::task::spawn_blocking(move || judge(&judging, envelopes))
            .await
            .map_err(|error| {
                tracing::error!(%error, "BUG: judging a batch panicked");
                NotStored
            })?
    };
    shared.counters.update(|counters| {
        counters.duplicate += sifted.known;
        counters.stale += sifted.stale;
        counters.refused.add(&sifted.refusals);
    });
    let works = sifted.new.iter().map(Admitted::work).collect();
    if !sifted.new.is_empty() {
        collect::archive(&shared, envelopes_of(&sifted.new)).await?;
        pool(&shared, sifted.new, Origin::Peer);
    }
    Ok(TakenIn {
        faults: sifted.faults,
        works,
    })
}

/// Stores what this node itself posts.
pub(super) async fn store(
    shared: &Shared,
    admitted: Vec<Admitted>,
) -> Result<Archived, ArchiveError> {
    let received = count(admitted.len());
    shared
        .counters
        .update(|counters| counters.received += received);
    let archived = append(shared, envelopes_of(&admitted)).await?;
    pool(shared, admitted, Origin::Own);
    Ok(archived)
}

fn envelopes_of(admitted: &[Admitted]) -> Vec<Envelope> {
    admitted.iter().map(|one| one.envelope().clone()).collect()
}

fn judge(shared: &Shared, envelopes: Vec<Envelope>) -> Sifted {
    let now = shared.clock.now();
    let held = held_of(shared, &envelopes);
    let policy = shared.rules().policy(now);
    sift(envelopes, &policy, now, |hash| held.contains(hash))
}

/// Which of these the pool holds: asked once, so that hashing does not hold
/// the lock.
fn held_of(shared: &Shared, envelopes: &[Envelope]) -> std::collections::HashSet<EnvelopeHash> {
    let pool = shared.pool();
    envelopes
        .iter()
        .map(Envelope::hash)
        .filter(|hash| pool.contains(hash))
        .collect()
}

/// Archives envelopes at once; durable on return. Counts what became of them,
/// and logs why they could not be stored.
pub(super) async fn append(
    shared: &Shared,
    envelopes: Vec<Envelope>,
) -> Result<Archived, ArchiveError> {
    let len = count(envelopes.len());
    let outcome = try_append(shared, envelopes).await;
    if let Err(error) = &outcome {
        shared.counters.update(|counters| counters.failed += len);
        tracing::error!(%error, cause = %error.source, "envelopes not stored");
    }
    outcome
}

/// As [`append`], for one who tries again where it fails.
pub(super) async fn try_append(
    shared: &Shared,
    envelopes: Vec<Envelope>,
) -> Result<Archived, ArchiveError> {
    let outcome = shared.mail.archive(envelopes).await;
    if let Ok(archived) = &outcome {
        shared.counters.update(|counters| {
            counters.stored += archived.stored;
            counters.duplicate += archived.duplicate;
        });
    }
    outcome
}

/// Gives what is durable to the pool, and tells of what is new.
fn pool(shared: &Shared, admitted: Vec<Admitted>, origin: Origin) {
    let now = shared.clock.now();
    let mut new = vec![false; admitted.len()];
    {
        let mut pool = shared.pool();
        for (one, new) in admitted.iter().zip(&mut new) {
            *new = pool.insert(one, origin, now) != Inserted::Known;
        }
    }
    if shared.events.are_heard() {
        let news: Arc<[Envelope]> = admitted
            .into_iter()
            .zip(new)
            .filter_map(|(one, new)| new.then(|| one.into_envelope()))
            .collect();
        if !news.is_empty() {
            shared.events.tell(NodeEvent::Envelopes(news));
        }
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
