//! What a mailserver counts of its answers, by the names of status-go's.

use std::time::Duration;

use super::histogram::{Histogram, growing};
use super::{Counter, Counts, Word};

/// Bounds of the bytes of an answer: status-go's.
const ANSWERS: &[u64] = &growing::<10>(1_024, 4);

/// Why a request for mail was not answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// It could not be opened, or asks for what cannot be.
    Validation,
    /// It came too soon.
    PeerLimit,
    /// The peer left while envelopes were sent.
    Process,
    /// The archive could not be read.
    Iterator,
    /// The peer left before it was told of the end.
    Response,
}

impl Word for DeliveryFailure {
    const ALL: &'static [Self] = &[
        Self::Validation,
        Self::PeerLimit,
        Self::Process,
        Self::Iterator,
        Self::Response,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::PeerLimit => "peer_req_limit",
            Self::Process => "process",
            Self::Iterator => "iterator",
            Self::Response => "historic_msg_resp",
        }
    }
}

/// Why another mailserver was not answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFailure {
    /// It came too soon.
    PeerLimit,
    /// It asks for what is not offered.
    Invalid,
    /// The archive could not be read.
    Iterator,
    /// The peer left while envelopes were sent.
    Routine,
    /// The peer left before it was told of the end.
    Response,
}

impl Word for SyncFailure {
    const ALL: &'static [Self] = &[
        Self::PeerLimit,
        Self::Invalid,
        Self::Iterator,
        Self::Routine,
        Self::Response,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::PeerLimit => "req_per_sec_limit",
            Self::Invalid => "req_invalid",
            Self::Iterator => "iterator",
            Self::Routine => "routine",
            Self::Response => "response_send",
        }
    }
}

/// What a mailserver counts of its answers.
#[derive(Debug)]
pub struct MailMeters {
    /// Requests for mail that were looked at.
    pub attempts: Counter,
    /// Those of them that asked for many envelopes in a packet.
    pub batched: Counter,
    /// Those that failed.
    pub failures: Counts<DeliveryFailure>,
    /// Requests of other mailservers that were looked at.
    pub sync_attempts: Counter,
    /// Those that failed.
    pub sync_failures: Counts<SyncFailure>,
    /// Envelopes sent in answers of both kinds.
    pub envelopes: Counter,
    /// Time of a whole answer, in status-go's buckets.
    pub deliveries: Histogram,
    /// The same, from 1 ms to 5 min.
    pub wide_deliveries: Histogram,
    /// Time in which envelopes of an answer were read and sent.
    pub bundles: Histogram,
    /// Time in which the link took one packet of envelopes.
    pub sends: Histogram,
    /// Bytes of the envelopes of an answer.
    pub answers: Histogram,
}

impl Default for MailMeters {
    fn default() -> Self {
        Self {
            attempts: Counter::default(),
            batched: Counter::default(),
            failures: Counts::default(),
            sync_attempts: Counter::default(),
            sync_failures: Counts::default(),
            envelopes: Counter::default(),
            deliveries: Histogram::of_durations(),
            wide_deliveries: Histogram::of_wide_durations(),
            bundles: Histogram::of_durations(),
            sends: Histogram::of_durations(),
            answers: Histogram::of_bytes(ANSWERS),
        }
    }
}

impl MailMeters {
    /// A request for mail was dealt with.
    pub fn delivered(&self, took: Duration) {
        self.deliveries.took(took);
        self.wide_deliveries.took(took);
    }

    /// The envelopes of an answer were sent: so many, of so many bytes.
    pub fn answered(&self, took: Duration, envelopes: u64, bytes: u64) {
        self.bundles.took(took);
        self.envelopes.add(envelopes);
        self.answers.observe(bytes);
    }
}
