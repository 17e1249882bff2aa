//! Mail requests under way, and who may be asked.
//!
//! Always true: requests under way are bounded, and the same topics are not
//! asked for again while an answer may still come.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::mailserver::request::RequestId;
use crate::rlpx::NodeId;
use crate::whisper::Topic;

/// How long the same topics are not asked for again while an answer is owed
/// (status-go).
const PATIENCE: Duration = Duration::from_secs(3);

/// Requests under way: each may bring 10,000 envelopes.
const MAX_UNDER_WAY: usize = 64;

/// Peers that were marked as trusted; the first still connected is asked where a
/// request names none.
const MAX_TRUSTED: usize = 64;

/// Why a request is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::api::rpc) enum TooSoon {
    /// The same topics were asked for; the text is status-go's.
    #[error(
        "another request with the same topics was sent less than 3s ago. Please wait for a bit \
         longer, or set `force` to true in request parameters"
    )]
    SameTopics,
    /// [`MAX_UNDER_WAY`] are.
    #[error("too many requests are under way: {MAX_UNDER_WAY}")]
    TooMany,
}

/// Mail requests under way, and who may be asked.
#[derive(Debug, Default)]
pub(in crate::api::rpc) struct Asked(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: HashMap<RequestId, (BTreeSet<Topic>, Instant)>,
    trusted: Vec<NodeId>,
}

impl Asked {
    /// Notes that a request is sent at `now`.
    pub(super) fn begin(
        &self,
        request: RequestId,
        topics: BTreeSet<Topic>,
        force: bool,
        now: Instant,
    ) -> Result<(), TooSoon> {
        let mut state = self.lock();
        if state.under_way.len() >= MAX_UNDER_WAY {
            return Err(TooSoon::TooMany);
        }
        let is_owed = state.under_way.values().any(|(same, since)| {
            *same == topics && now.saturating_duration_since(*since) < PATIENCE
        });
        if is_owed && !force {
            return Err(TooSoon::SameTopics);
        }
        state.under_way.insert(request, (topics, now));
        Ok(())
    }

    /// Notes that a request was answered, or given up.
    pub(super) fn end(&self, request: &RequestId) {
        self.lock().under_way.remove(request);
    }

    /// Notes that a peer was marked as trusted.
    pub(in crate::api::rpc) fn trust(&self, peer: NodeId) {
        let mut state = self.lock();
        state.trusted.retain(|known| *known != peer);
        state.trusted.push(peer);
        if state.trusted.len() > MAX_TRUSTED {
            state.trusted.remove(0);
        }
    }

    /// Peers that were marked as trusted.
    pub(super) fn trusted(&self) -> Vec<NodeId> {
        self.lock().trusted.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u8) -> RequestId {
        RequestId([number; 32])
    }

    #[test]
    fn the_same_topics_wait_until_answered_or_forced() {
        let asked = Asked::default();
        let now = Instant::now();
        let topics: BTreeSet<Topic> = [Topic([1; 4])].into();
        let begin = |number, force, now| asked.begin(request(number), topics.clone(), force, now);
        assert_eq!(begin(1, false, now), Ok(()));
        assert_eq!(begin(2, false, now), Err(TooSoon::SameTopics));
        assert_eq!(
            asked.begin(request(3), [Topic([2; 4])].into(), false, now),
            Ok(())
        );
        assert_eq!(begin(4, true, now), Ok(()));
        assert_eq!(begin(5, false, now + PATIENCE), Ok(()));
        for number in [1, 4, 5] {
            asked.end(&request(number));
        }
        assert_eq!(begin(6, false, now), Ok(()));
    }

    #[test]
    fn requests_under_way_are_bounded() {
        let asked = Asked::default();
        let now = Instant::now();
        for number in 0..64 {
            asked
                .begin(request(number), BTreeSet::new(), true, now)
                .unwrap();
        }
        let more = asked.begin(request(64), BTreeSet::new(), true, now);
        assert_eq!(more, Err(TooSoon::TooMany));
    }
}
