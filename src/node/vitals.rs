//! What a running daemon does, for those who look at it: a status line, a service
//! manager.
//!
//! Always true: looking changes nothing and keeps nothing alive but the archive; what
//! a daemon does is read off counters that are kept anyway.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::archive::disk::{Archive, DiskError};
use crate::blocks::Cid;
use crate::limits::Address;
use crate::rlpx::Enode;
use crate::time::UnixSeconds;
use crate::whisper::node::NodeControl;

/// Seconds over which a rate is told: long enough to be read, short enough to follow.
const RATE_OVER: u32 = 10;

/// What is true at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// The moment.
    pub at: UnixSeconds,
    /// Whether it takes in envelopes; a mirror follows another archive instead.
    pub takes_in: bool,
    /// By what peers reach it, if it accepts any.
    pub enode: Option<Enode>,
    /// Peers connected.
    pub peers: usize,
    /// Whether one of them dialled from beyond this machine and its private networks.
    pub is_reached: bool,
    /// Envelopes that were new since the first look, in whatever way they came: from
    /// peers, or from the archives that it follows.
    pub stored: u64,
    /// Envelopes that could not be stored since the start.
    pub failed: u64,
    /// Envelopes that wait to be sealed.
    pub waiting: u64,
    /// The current head and its number, if there is one.
    pub head: Option<(Cid, u64)>,
    /// Mail requests answered since the start.
    pub requests: u64,
}

/// Looks at a daemon; cheap to copy.
#[derive(Clone)]
pub struct Observer {
    node: NodeControl,
    archive: Arc<Archive>,
    /// What the archive had taken in when it was first looked at.
    before: u64,
}

impl Observer {
    /// Looks at `node` and `archive`.
    pub fn new(node: NodeControl, archive: Arc<Archive>) -> Self {
        let before = archive.meters().taken_in();
        Self {
            node,
            archive,
            before,
        }
    }

    /// What is true now.
    pub fn look(&self) -> Vitals {
        let counted = self.node.counters();
        let peers = self.node.activity();
        let is_far = |ip| !Address::from(ip).is_local();
        Vitals {
            at: self.node.now(),
            takes_in: !self.archive.is_mirror(),
            enode: self.node.enode(),
            peers: peers.len(),
            is_reached: peers
                .iter()
                .any(|peer| peer.inbound && is_far(peer.address.ip())),
            stored: self.archive.meters().taken_in() - self.before,
            failed: counted.failed,
            waiting: self.archive.waiting(),
            head: self
                .archive
                .head()
                .map(|head| (*head.cid(), head.body().sequence.0)),
            requests: counted.requests_served,
        }
    }

    /// Waits until the archive has answered, then looks. Where the disk hangs this
    /// never resolves; where the archive can take nothing any more until it is opened
    /// anew it fails, with the reason. A disk that refuses, full or read-only, is no
    /// reason to start anew.
    pub async fn look_at_work(&self) -> Result<Vitals, String> {
        let observer = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            match observer.archive.answers() {
                Err(DiskError::Journal(error)) if !error.is_stopped() => {}
                answered => answered?,
            }
            Ok::<_, DiskError>(observer.look())
        });
        match looked.await {
            Ok(looked) => looked.map_err(|error| error.to_string()),
            Err(panicked) => Err(panicked.to_string()),
        }
    }
}

/// What several looks tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trend {
    /// When, and how many had been stored by then; oldest first.
    seen: VecDeque<(UnixSeconds, u64)>,
    failed: u64,
    /// When an envelope that was new was last stored; none since the first look.
    pub last_stored: Option<UnixSeconds>,
    /// Whether storing failed since then.
    pub is_failing: bool,
}

impl Trend {
    /// Adds a look.
    pub fn add(&mut self, vitals: &Vitals) {
        let before = self.seen.back().map_or(0, |(_, stored)| *stored);
        let is_new = vitals.stored > before;
        if is_new {
            self.last_stored = Some(vitals.at);
        }
        self.is_failing = vitals.failed > self.failed || (self.is_failing && !is_new);
        self.failed = vitals.failed;
        // Several looks in one second count as the last of them: the window has as
        // many as it has seconds, however often somebody looks.
        if self.seen.back().is_some_and(|(at, _)| *at == vitals.at) {
            self.seen.pop_back();
        }
        self.seen.push_back((vitals.at, vitals.stored));
        while let [(_, _), (second, _), ..] = self.seen.make_contiguous()
            && vitals.at.since(*second) >= RATE_OVER
        {
            self.seen.pop_front();
        }
    }

    /// Envelopes stored a second of late, in tenths; none where too little was seen.
    pub fn tenths_a_second(&self) -> Option<u64> {
        let ((from, before), (to, after)) = (self.seen.front()?, self.seen.back()?);
        let seconds = u64::from(to.since(*from));
        (after.saturating_sub(*before) * 10).checked_div(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(at: u32, stored: u64, failed: u64) -> Vitals {
        Vitals {
            at: UnixSeconds(at),
            takes_in: true,
            enode: None,
            peers: 0,
            is_reached: false,
            stored,
            failed,
            waiting: 0,
            head: None,
            requests: 0,
        }
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut trend = Trend::default();
        assert_eq!(trend.tenths_a_second(), None);
        trend.add(&looked(100, 1_000, 0));
        assert_eq!(trend.tenths_a_second(), None);
        trend.add(&looked(102, 1_005, 0));
        assert_eq!(trend.tenths_a_second(), Some(25));
        for second in 103..200 {
            trend.add(&looked(second, 1_005, 0));
        }
        assert_eq!(trend.tenths_a_second(), Some(0));
        assert!(trend.seen.len() <= RATE_OVER as usize + 1);
        // A look after a long time tells of all of it.
        trend.add(&looked(299, 2_005, 0));
        assert_eq!(trend.tenths_a_second(), Some(100));
    }

    #[test]
    fn a_clock_that_goes_back_ends_nothing() {
        let mut trend = Trend::default();
        trend.add(&looked(100, 5, 0));
        trend.add(&looked(90, 6, 0));
        assert_eq!(trend.tenths_a_second(), None);
        assert_eq!(trend.last_stored, Some(UnixSeconds(90)));
    }

    #[test]
    fn storing_fails_from_a_failure_to_the_next_success() {
        let mut trend = Trend::default();
        trend.add(&looked(1, 5, 0));
        assert_eq!(trend.last_stored, Some(UnixSeconds(1)));
        trend.add(&looked(2, 5, 1));
        assert!(trend.is_failing);
        trend.add(&looked(3, 5, 1));
        assert!(trend.is_failing);
        assert_eq!(trend.last_stored, Some(UnixSeconds(1)));
        trend.add(&looked(4, 6, 1));
        assert!(!trend.is_failing);
        assert_eq!(trend.last_stored, Some(UnixSeconds(4)));
    }
}
