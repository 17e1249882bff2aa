//! Which envelopes a node takes in.
//!
//! Always true:
//! - An [`Admitted`] passed every check at the instant it was made; nothing
//!   else makes one.
//! - The verdict depends on the envelope, the policy and `now` alone.
//!
//! The checks and their order are those of geth and status-go, with two
//! differences: work is enough if either definition says so, because the sender
//! knew only one of them; and a lifetime of 0 is charged as one of a second. By
//! the letter it divides by zero and shows infinite work, so that anybody could
//! fill an archive for nothing.

use crate::time::UnixSeconds;
use crate::whisper::bloom::Bloom;
use crate::whisper::pow::{Pow, Work};
use crate::whisper::{Envelope, EnvelopeHash, Topic};

/// How far ahead of us a sender's clock may be, in seconds (geth's
/// `DefaultSyncAllowance`).
pub const CLOCK_ALLOWANCE: u32 = 10;

/// How long after its end an envelope is dropped without blame, in seconds:
/// twice the clock allowance, as in geth.
pub const EXPIRY_GRACE: u32 = 2 * CLOCK_ALLOWANCE;

/// The size (20 + data) that nodes accept unless told otherwise: 1 MiB.
pub const DEFAULT_MAX_MESSAGE_SIZE: usize = 1 << 20;

/// The size no node accepts, whatever it was told: geth's 10 MiB.
pub const MAX_MESSAGE_SIZE: usize = 10 << 20;

/// What a node asks of envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionPolicy {
    /// The least work, by either definition.
    pub min_pow: Pow,
    /// The largest size (20 + data) in bytes.
    pub max_message_size: usize,
    /// Topics wanted.
    pub bloom: Bloom,
}

impl Default for AdmissionPolicy {
    fn default() -> Self {
        Self {
            min_pow: Pow::STATUS_DEFAULT,
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
            bloom: Bloom::FULL,
        }
    }
}

/// An envelope that passed, and the work it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    envelope: Envelope,
    work: Work,
}

impl Admitted {
    /// The envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The envelope alone.
    pub fn into_envelope(self) -> Envelope {
        self.envelope
    }

    /// Its work, already charged for a sender ahead of our clock. Finite.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Its identity.
    pub fn hash(&self) -> EnvelopeHash {
        self.envelope.hash()
    }
}

/// What becomes of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    Admitted(Admitted),
    /// It died moments ago: drop it, nobody is to blame.
    Stale,
    /// Drop it and say why.
    Refused(Refusal),
}

/// Why an envelope is refused. The first three texts are the reference's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Sent further ahead of our clock than allowed.
    #[error("envelope from future")]
    Future {
        /// When it says it was sent.
        sent: UnixSeconds,
    },
    /// Dead for longer than the grace.
    #[error("very old envelope")]
    VeryOld {
        /// When it died.
        expired: UnixSeconds,
    },
    /// Not enough work by either definition.
    #[error("envelope with low PoW received: PoW={:.6}, hash=[{hash}]", pow.get())]
    LowPow {
        /// The better of the two amounts.
        pow: Pow,
        /// What was asked for.
        min: Pow,
        /// The envelope.
        hash: EnvelopeHash,
    },
    /// Larger than this node takes.
    #[error("envelope of {size} bytes is larger than {max}")]
    TooLarge {
        /// Its size, 20 + data.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Of a topic this node does not want.
    #[error("envelope of topic {topic} does not match the bloom filter")]
    UnwantedTopic {
        /// Its topic.
        topic: Topic,
    },
}

impl Refusal {
    /// Whether the two clocks disagree, which is not the envelope's making.
    pub fn is_about_time(&self) -> bool {
        matches!(self, Self::Future { .. } | Self::VeryOld { .. })
    }
}

impl AdmissionPolicy {
    /// Judges `envelope` at `now`.
    pub fn judge(&self, envelope: Envelope, now: UnixSeconds) -> Verdict {
        let sent = envelope.sent();
        let ahead = sent.since(now);
        if ahead > CLOCK_ALLOWANCE {
            return Verdict::Refused(Refusal::Future { sent });
        }
        let expired = UnixSeconds(envelope.expiry().0);
        let dead_for = now.since(expired);
        if dead_for > EXPIRY_GRACE {
            return Verdict::Refused(Refusal::VeryOld { expired });
        }
        if dead_for > 0 {
            return Verdict::Stale;
        }
        if envelope.size() > self.max_message_size {
            return Verdict::Refused(Refusal::TooLarge {
                size: envelope.size(),
                max: self.max_message_size,
            });
        }
        // Sent ahead of our clock: it must have worked for that time too.
        let extra = match (ahead, envelope.ttl().0) {
            (0, 0) => 1,
            (0, _) => 0,
            (ahead, _) => ahead + 1,
        };
        let work = Work::with_extra_lifetime(&envelope, extra);
        if work.most() < self.min_pow {
            return Verdict::Refused(Refusal::LowPow {
                pow: work.most(),
                min: self.min_pow,
                hash: envelope.hash(),
            });
        }
        if !self.bloom.matches(envelope.topic()) {
            return Verdict::Refused(Refusal::UnwantedTopic {
                topic: envelope.topic(),
            });
        }
        Verdict::Admitted(Admitted { envelope, work })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};

    const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

    fn sent_at(sent: u32, ttl: u32) -> Envelope {
        Envelope::new(
            Expiry(sent + ttl),
            Ttl(ttl),
            Topic([1, 2, 3, 4]),
            &[7; 30],
            0,
        )
    }

    fn anything() -> AdmissionPolicy {
        AdmissionPolicy {
            min_pow: Pow::ZERO,
            ..AdmissionPolicy::default()
        }
    }

    #[test]
    fn a_clock_ten_seconds_ahead_is_forgiven_and_eleven_is_not() {
        let at = |sent| anything().judge(sent_at(sent, 50), NOW);
        assert!(matches!(at(NOW.0 + 10), Verdict::Admitted(_)));
        assert_eq!(
            at(NOW.0 + 11),
            Verdict::Refused(Refusal::Future {
                sent: UnixSeconds(NOW.0 + 11)
            })
        );
    }

    #[test]
    fn the_dead_are_dropped_for_twenty_seconds_and_blamed_after() {
        let expired = |ago: u32| anything().judge(sent_at(NOW.0 - ago - 10, 10), NOW);
        assert!(matches!(expired(0), Verdict::Admitted(_)));
        assert_eq!(expired(1), Verdict::Stale);
        assert_eq!(expired(20), Verdict::Stale);
        assert!(matches!(
            expired(21),
            Verdict::Refused(Refusal::VeryOld { .. })
        ));
    }

    #[test]
    fn a_ttl_above_the_expiry_comes_from_the_future() {
        let wrapped = Envelope::new(Expiry(5), Ttl(6), Topic::default(), &[], 0);
        assert!(matches!(
            anything().judge(wrapped, NOW),
            Verdict::Refused(Refusal::Future { .. })
        ));
    }

    #[test]
    fn either_definition_of_work_is_enough() {
        let envelope = sent_at(NOW.0, 50);
        let work = Work::of(&envelope);
        assert_ne!(work.most(), work.least());
        let asking = |min_pow| AdmissionPolicy {
            min_pow,
            ..AdmissionPolicy::default()
        };
        assert!(matches!(
            asking(work.most()).judge(envelope.clone(), NOW),
            Verdict::Admitted(_)
        ));
        let more = Pow::new(work.most().get() * 1.01).unwrap();
        assert!(matches!(
            asking(more).judge(envelope, NOW),
            Verdict::Refused(Refusal::LowPow { .. })
        ));
    }

    #[test]
    fn an_envelope_without_lifetime_is_not_free() {
        let policy = AdmissionPolicy {
            min_pow: Pow::new(100.0).unwrap(),
            ..AdmissionPolicy::default()
        };
        assert!(matches!(
            policy.judge(sent_at(NOW.0, 0), NOW),
            Verdict::Refused(Refusal::LowPow { .. })
        ));
        match anything().judge(sent_at(NOW.0, 0), NOW) {
            Verdict::Admitted(admitted) => assert!(admitted.work().most() < Pow::INFINITE),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn size_counts_twenty_bytes_beside_the_data() {
        let policy = AdmissionPolicy {
            max_message_size: 49,
            ..anything()
        };
        assert_eq!(
            policy.judge(sent_at(NOW.0, 50), NOW),
            Verdict::Refused(Refusal::TooLarge { size: 50, max: 49 })
        );
    }

    #[test]
    fn topics_nobody_asked_for_are_refused() {
        let policy = AdmissionPolicy {
            bloom: Bloom::of_topic(Topic([9, 9, 9, 9])),
            ..anything()
        };
        assert!(matches!(
            policy.judge(sent_at(NOW.0, 50), NOW),
            Verdict::Refused(Refusal::UnwantedTopic { .. })
        ));
    }
}
