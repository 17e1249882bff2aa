//! Whether anybody in the DHT answers, and when that is tried again.

use std::time::{Duration, Instant};

/// After how long somebody is looked for again where nobody answered, the first
/// time; each next pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: what goes through the DHT in a while costs nobody anything.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whether somebody answers.
#[derive(Debug)]
pub(super) struct Contact {
    is_there: bool,
    again_at: Option<Instant>,
    pause: Duration,
}

impl Default for Contact {
    /// Nobody was asked yet.
    fn default() -> Self {
        Self {
            is_there: false,
            again_at: None,
            pause: FIRST_PAUSE,
        }
    }
}

impl Contact {
    /// Whether somebody answered when it was last tried.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Somebody answered.
    pub(super) fn answered(&mut self) {
        *self = Self {
            is_there: true,
            ..Self::default()
        };
    }

    /// Nobody of those that were asked did.
    pub(super) fn was_silent(&mut self, now: Instant) {
        self.is_there = false;
        if self.again_at.is_none() {
            self.again_at = Some(now + self.pause);
            self.pause = LONGEST_PAUSE.min(2 * self.pause);
        }
    }

    /// Whether it is time to look for somebody; said once.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.again_at.take_if(|at| now >= *at).is_some()
    }

    /// When that is.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_is_tried_again_ever_more_seldom_until_somebody_answers() {
        let mut contact = Contact::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            contact.was_silent(now);
            // Others that were asked meanwhile change nothing.
            contact.was_silent(now);
            let at = contact.deadline().unwrap();
            assert!(!contact.is_due(now) && contact.is_due(at) && !contact.is_due(at));
            pauses.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!(pauses[11], 300);
        assert!(!contact.is_there());
        contact.answered();
        assert!(contact.is_there() && contact.deadline().is_none());
        contact.was_silent(now);
        assert_eq!(contact.deadline(), Some(now + FIRST_PAUSE));
    }
}
