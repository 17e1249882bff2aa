//! How long a node may take.

use std::time::Duration;

/// How long a node may take, and how much is asked of it at once. The defaults are
/// the documented ones; tests inject shorter times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KuboLimits {
    /// How long a connection may take to come about, TLS included.
    pub connect: Duration,
    /// How long a node may neither take nor give a byte while something is under
    /// way.
    pub idle: Duration,
    /// How long the answer to a question may take in which the node has little to
    /// do. One that collects its garbage keeps pins waiting for a while.
    pub answer: Duration,
    /// How long an answer may take from its beginning to its end, unless it is as long
    /// as what was asked for: a million pins over a slow line. Without it whoever sends
    /// a byte now and then would hold a call for ever.
    pub whole: Duration,
    /// How long a value may take on its way into the routing system. In the DHT it is
    /// a look-up, and then twenty peers of whom each may take half a minute.
    pub routing: Duration,
    /// How long a pin may come no further. A node has a block at once or not at all,
    /// and then looks for it in the network, `offline` or not: Kubo's pinner does.
    pub stall: Duration,
    /// Bytes a second that a node is expected to work through, at the least, once
    /// they are there: a hard disk that is busy with others does some MiB.
    pub slowest: u64,
    /// How long a connection is kept for the next call.
    pub keep_idle: Duration,
    /// Blocks that are asked for at once: what fills the way to a node in the same
    /// house. Each is a goroutine and an open file there.
    pub in_flight: usize,
}

impl Default for KuboLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            whole: Duration::from_secs(600),
            routing: Duration::from_secs(300),
            stall: Duration::from_secs(10),
            slowest: 1 << 20,
            // Below the minute after which servers close them.
            keep_idle: Duration::from_secs(30),
            in_flight: 32,
        }
    }
}

impl KuboLimits {
    /// How long the answer may take once the node has `bytes` that it is to look
    /// through.
    pub fn to_settle(&self, bytes: u64) -> Duration {
        let work = Duration::from_secs(bytes / self.slowest.max(1));
        self.answer.saturating_add(work)
    }
}
