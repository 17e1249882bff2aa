//! Made-up records for the tests of this module.

use super::ArchiveError;
use super::builder::SegmentRef;
use super::key::Key;
use super::leaf::Record;
use super::merge::{PendingRun, SortedRecords, unite};
use crate::blocks::{BlockStore, Group, Reuse};
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::{Envelope, Topic};

/// An envelope of the topic `[topic; 4]` sent at `sent`, with `data` bytes of
/// data that differ by topic and time.
pub fn envelope(topic: u8, sent: u32, data: usize) -> Envelope {
    let fill: Vec<u8> = (0..data)
        .map(|at| u8::try_from(at % 251).unwrap_or(0) ^ topic)
        .collect();
    let ttl = Ttl(50);
    Envelope::new(
        Expiry::of(UnixSeconds(sent), ttl),
        ttl,
        Topic([topic; 4]),
        &fill,
        7,
    )
}

/// The record of [`envelope`].
pub fn record(topic: u8, sent: u32, data: usize) -> Record {
    record_of(&envelope(topic, sent, data))
}

/// The record of any envelope.
pub fn record_of(envelope: &Envelope) -> Record {
    Record {
        key: Key::from(envelope),
        bytes: envelope.rlp().clone(),
    }
}

/// `count` records over `topics` topics and the seconds from `from` to `to`,
/// from a seed, unsorted, with lengths like those of real traffic.
pub fn traffic(seed: u64, count: usize, topics: u32, from: u32, to: u32) -> Vec<Record> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from((state >> 16) & 0xffff_ffff).unwrap_or(0)
    };
    (0..count)
        .map(|at| {
            // Squaring the draw makes low topics popular, as in real traffic.
            let draw = u64::from(next());
            let popular = (draw * draw) >> 32;
            let topic = u32::try_from((popular * u64::from(topics)) >> 32).unwrap_or(0);
            let sent = from + next() % (to - from);
            let len = 100 + (next() % 40) * (next() % 40);
            let mut data = vec![0; len as usize];
            for chunk in data.chunks_mut(4) {
                chunk.copy_from_slice(&next().to_le_bytes()[..chunk.len()]);
            }
            let ttl = Ttl(50);
            record_of(&Envelope::new(
                Expiry::of(UnixSeconds(sent), ttl),
                ttl,
                Topic(topic.wrapping_mul(0x9e37_79b1).to_be_bytes()),
                &data,
                at as u64,
            ))
        })
        .collect()
}

/// Stores the segment of `records`, in any order, as a file of `group`.
pub fn store_segment(
    records: &[Record],
    blocks: &dyn BlockStore,
    group: Group,
) -> Result<Option<SegmentRef>, ArchiveError> {
    let mut pending: Vec<_> = records.iter().map(|r| (r.key, &r.bytes)).collect();
    pending.sort_unstable_by_key(|(key, _)| *key);
    pending.dedup_by_key(|(key, _)| *key);
    let read = |bytes: &bytes::Bytes| Ok(bytes.clone());
    let mut writer = blocks.begin(group, Reuse::Nothing)?;
    let segment = {
        let mut runs: Vec<Box<dyn SortedRecords>> =
            vec![Box::new(PendingRun::new(&pending, &read))];
        unite(&mut runs, &mut *writer)?
    };
    if let Some(segment) = segment {
        writer.commit(&segment.cid)?;
    }
    Ok(segment)
}

/// Traffic as measured on the real network, in order of sending: lengths are
/// log-normal (858 bytes mean), topics follow Zipf's law, times are spread
/// evenly. Envelope `n` is a function of the seed and `n` alone.
#[derive(Clone, Debug)]
pub struct Synthetic {
    seed: u64,
    count: u64,
    from: UnixSeconds,
    span: u32,
    /// Cumulative weight of each topic, up to `u32::MAX`.
    ranks: Vec<u32>,
}

impl Synthetic {
    /// `count` envelopes of `topics` topics over `span` seconds from `from`.
    pub fn new(seed: u64, count: u64, topics: u32, from: UnixSeconds, span: u32) -> Self {
        let total: f64 = (1..=topics).map(|rank| 1.0 / f64::from(rank)).sum();
        let mut sum = 0.0;
        let ranks = (1..=topics).map(|rank| {
            sum += 1.0 / f64::from(rank) / total;
            // Truncation is meant: the last weight is at most the maximum.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let weight = (sum * f64::from(u32::MAX)) as u32;
            weight
        });
        Self {
            seed,
            count,
            from,
            span,
            ranks: ranks.collect(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The topic of a rank, 0 the most popular.
    pub fn topic(&self, rank: u32) -> Topic {
        Topic(rank.wrapping_add(1).wrapping_mul(0x9e37_79b1).to_be_bytes())
    }

    /// Envelope number `n`.
    pub fn envelope(&self, n: u64) -> Envelope {
        let mut state = (self.seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..4 {
            next();
        }
        let word = |value: u64| u32::try_from(value >> 32).unwrap_or(0);
        let draw = word(next());
        let rank = self.ranks.partition_point(|weight| *weight < draw);
        let topic = self.topic(u32::try_from(rank).unwrap_or(u32::MAX));
        let at = n.saturating_mul(self.span.into()) / self.count.max(1);
        let sent = UnixSeconds(self.from.0 + u32::try_from(at).unwrap_or(0));
        // Twelve uniform draws make one that is nearly normal.
        let normal = (0..12)
            .map(|_| f64::from(word(next())) / 4_294_967_296.0)
            .sum::<f64>()
            - 6.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let len = ((6.32 + 0.82 * normal).exp() + 60.0).min(60_000.0) as usize;
        let mut data = vec![0; len];
        for chunk in data.chunks_mut(8) {
            chunk.copy_from_slice(&next().to_le_bytes()[..chunk.len()]);
        }
        let ttl = Ttl(50);
        Envelope::new(Expiry::of(sent, ttl), ttl, topic, &data, n)
    }
}
