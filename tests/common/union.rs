//! Merging into an archive in memory.

use bytes::Bytes;
use gwa::archive::diff::Fault;
use gwa::archive::fresh::{Pending, Sealed};
use gwa::archive::leaf::Record;
use gwa::archive::seal::{SealOutcome, SealRequest, seal_with};
use gwa::archive::union::{Step, UnionRequest, find};
use gwa::archive::watermark::Day;
use gwa::blocks::BlockSource;
use gwa::progress::Quiet;

use super::common::World;

/// As much as there is.
pub const AT_ONCE: Step = Step {
    envelopes: usize::MAX,
    bytes: u64::MAX,
};

/// Unites what another archive has sealed with `world`; gives what each step
/// sealed.
pub fn merge(
    world: &mut World,
    other: &Sealed,
    source: &dyn BlockSource,
    step: Step,
) -> Result<Vec<SealOutcome>, Fault> {
    let mut outcomes = Vec::new();
    loop {
        let mut bytes: Vec<Bytes> = Vec::new();
        let request = UnionRequest {
            own: &world.store,
            store: &world.store,
            base: &world.sealed,
            source,
            other,
            from: Day(0),
            step,
        };
        let mut keep = |record: &Record| {
            bytes.push(record.bytes.clone());
            Ok(bytes.len() - 1)
        };
        let gain = find(&request, &mut keep, &Quiet)?;
        let until = gain.until.max(world.sealed.watermark);
        if gain.is_empty() && until == world.sealed.watermark {
            return Ok(outcomes);
        }
        let mut pending = gain.pending.clone();
        let waiting = std::mem::take(&mut world.waiting);
        let (due, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|r| until.covers(r.key.sent));
        world.waiting = later;
        for record in due {
            pending.push(Pending {
                key: record.key,
                len: record.bytes.len(),
                at: bytes.len(),
            });
            bytes.push(record.bytes);
        }
        world.sequence += 1;
        let request = SealRequest {
            store: &world.store,
            base: &world.sealed,
            pending,
            read: &|at: usize| Ok(bytes[at].clone()),
            watermark: until,
            sequence: world.sequence,
            max_open: 3,
        };
        let outcome = seal_with(request, &gain.adopted(), &Quiet).expect("memory does not fail");
        world.sealed = outcome.sealed.clone();
        outcomes.push(outcome);
        if !gain.more {
            return Ok(outcomes);
        }
    }
}
