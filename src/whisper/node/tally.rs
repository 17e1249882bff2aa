//! What one connection carried so far.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::limits::Load;

/// The numbers of a connection at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerTraffic {
    /// Bytes received, decompressed.
    pub bytes_in: u64,
    /// Bytes sent, before compression.
    pub bytes_out: u64,
    /// Packets received.
    pub packets_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Envelopes received.
    pub envelopes_in: u64,
    /// Mail requests received.
    pub requests: u64,
    /// Those of them refused for their number or the bytes they cost.
    pub requests_limited: u64,
    /// Bytes sent in answer to mail requests.
    pub answered_bytes: u64,
}

impl PeerTraffic {
    /// Adds what another connection carried.
    pub fn add(&mut self, other: &Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.packets_in += other.packets_in;
        self.packets_out += other.packets_out;
        self.envelopes_in += other.envelopes_in;
        self.requests += other.requests;
        self.requests_limited += other.requests_limited;
        self.answered_bytes += other.answered_bytes;
    }
}

/// The counters of a connection, shared by its tasks. Each number is exact; two
/// of them may be a moment apart.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    envelopes_in: AtomicU64,
    requests: AtomicU64,
    requests_limited: AtomicU64,
    answered_bytes: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Tally {
    pub(super) fn received(&self, load: &Load) {
        add(&self.packets_in, load.packets);
        add(&self.bytes_in, load.bytes);
        add(&self.envelopes_in, load.envelopes);
    }

    pub(super) fn sent(&self, bytes: usize) {
        add(&self.packets_out, 1);
        add(&self.bytes_out, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(super) fn asked(&self) {
        add(&self.requests, 1);
    }

    pub(super) fn limited(&self) {
        add(&self.requests_limited, 1);
    }

    pub(super) fn answered(&self, bytes: u64) {
        add(&self.answered_bytes, bytes);
    }

    pub(super) fn values(&self) -> PeerTraffic {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeerTraffic {
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            packets_in: get(&self.packets_in),
            packets_out: get(&self.packets_out),
            envelopes_in: get(&self.envelopes_in),
            requests: get(&self.requests),
            requests_limited: get(&self.requests_limited),
            answered_bytes: get(&self.answered_bytes),
        }
    }
}
