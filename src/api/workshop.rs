//! What it takes to make messages: keys, keys of passwords, and work; one workshop
//! for JSON-RPC and for the bridge.
//!
//! Always true:
//! - No more than [`MINERS`] cores mine at a time, none for longer than [`MAX_TIME`],
//!   and none for a client that has left.
//! - Keys live in memory alone, and go with the daemon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::api::server::REQUEST_TIME;
use crate::whisper::Envelope;
use crate::whisper::keys::SymKey;
use crate::whisper::service::{Composed, KeyStore, PostError, mine_for};

/// Messages mined at a time. One: an archive has other things to do.
const MINERS: usize = 1;

/// The longest anybody may ask for.
pub(super) const MAX_TIME: Duration = Duration::from_secs(60);

/// How long a message waits for its turn at most: with the longest work after it, it is
/// done before whoever asked is told that it took too long.
const MAX_WAIT: Duration = REQUEST_TIME.saturating_sub(MAX_TIME).saturating_sub(SPARE);

/// For what comes before and after: a slow body, the key of a password, the archive.
const SPARE: Duration = Duration::from_secs(25);

/// Messages that wait to be mined; more are refused.
pub(super) const MAX_WAITING: usize = 32;

/// Passwords turned into keys at a time: each takes a core for tens of
/// milliseconds.
const DERIVATIONS: usize = 2;

/// Keys and whoever does the work of messages.
#[derive(Debug)]
pub(super) struct Workshop {
    keys: Mutex<KeyStore>,
    derivations: Arc<Semaphore>,
    mining: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Why a message did not get its nonce.
#[derive(Debug, thiserror::Error)]
pub(super) enum MineError {
    /// It was to be mined for too long.
    #[error("powTime of {asked} seconds is too long: at most {}", MAX_TIME.as_secs())]
    TooLong {
        /// For how many seconds.
        asked: u64,
    },
    /// [`MAX_WAITING`] wait already, or those before it took longer than [`MAX_WAIT`].
    #[error("too many messages wait to be mined")]
    Full,
    /// It could not be composed, or no nonce was found.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The daemon ends.
    #[error("cancelled")]
    Ended,
}

impl Default for Workshop {
    fn default() -> Self {
        Self {
            keys: Mutex::default(),
            derivations: Arc::new(Semaphore::new(DERIVATIONS)),
            mining: Arc::new(Semaphore::new(MINERS)),
            waiting: Arc::new(Semaphore::new(MINERS + MAX_WAITING)),
        }
    }
}

/// Ends mining when whoever waits for it does not any more.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Workshop {
    /// The keys that clients gave or had made.
    pub(super) fn keys(&self) -> MutexGuard<'_, KeyStore> {
        // Nothing that changes the keys panics half way.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a password, once there is a core for it. `None` where the daemon
    /// ends.
    pub(super) async fn derive(&self, password: Zeroizing<String>) -> Option<SymKey> {
        let turn = Arc::clone(&self.derivations).acquire_owned().await.ok()?;
        let derived = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, even if nobody waits for it.
            let _turn = turn;
            SymKey::from_password(&password)
        });
        derived.await.ok()
    }

    /// Gives a message its nonce. It is composed when its turn has come: an envelope
    /// lives from then on, not from when it began to wait.
    pub(super) async fn mine(
        &self,
        compose: impl FnOnce() -> Result<Composed, PostError>,
    ) -> Result<Envelope, MineError> {
        let _place = self.waiting.try_acquire().map_err(|_| MineError::Full)?;
        let turn = Arc::clone(&self.mining).acquire_owned();
        let turn = tokio::time::timeout(MAX_WAIT, turn).await;
        let turn = turn.map_err(|_| MineError::Full)?;
        let turn = turn.map_err(|_| MineError::Ended)?;
        let message = compose()?;
        if message.pow_time > MAX_TIME {
            let asked = message.pow_time.as_secs();
            return Err(MineError::TooLong { asked });
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        let _left = Left(Arc::clone(&cancelled));
        let mined = tokio::task::spawn_blocking(move || {
            // As above.
            let _turn = turn;
            mine_for(&message, &cancelled)
        });
        Ok(mined.await.map_err(|_| MineError::Ended)??)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;
    use crate::whisper::mining::Template;

    /// A message that is never done.
    fn endless() -> Result<Composed, PostError> {
        Ok(Composed {
            template: Template {
                expiry: Expiry(1_600_000_050),
                ttl: Ttl(50),
                topic: Topic([1, 2, 3, 4]),
                data: vec![7; 300],
            },
            pow_time: MAX_TIME,
            pow_target: 1e30,
            target_peer: None,
        })
    }

    fn easy() -> Result<Composed, PostError> {
        Ok(Composed {
            pow_target: 0.0001,
            ..endless()?
        })
    }

    #[tokio::test]
    async fn who_leaves_frees_the_miner_and_those_who_wait_are_bounded() {
        let workshop = Arc::new(Workshop::default());
        let mut mining = Box::pin(workshop.mine(endless));
        assert!(mining.as_mut().now_or_never().is_none());
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            let mut one = Box::pin(workshop.mine(|| unreachable!("it is not its turn")));
            assert!(one.as_mut().now_or_never().is_none());
            waiting.push(one);
        }
        let refused = workshop.mine(easy).await.unwrap_err();
        assert!(matches!(refused, MineError::Full), "{refused}");
        drop(waiting);
        // Without the one who left this would wait for a minute.
        drop(mining);
        assert!(workshop.mine(easy).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_whose_turn_does_not_come_in_time_is_refused() {
        let workshop = Workshop::default();
        let _busy = workshop.mining.acquire().await.unwrap();
        let refused = workshop.mine(|| unreachable!("it is not its turn")).await;
        assert!(matches!(refused, Err(MineError::Full)), "{refused:?}");
    }

    #[tokio::test]
    async fn nobody_is_mined_for_longer_than_is_allowed() {
        let workshop = Workshop::default();
        let too_long = workshop.mine(|| {
            Ok(Composed {
                pow_time: MAX_TIME + Duration::from_secs(1),
                ..easy()?
            })
        });
        let told = too_long.await.unwrap_err().to_string();
        assert_eq!(told, "powTime of 61 seconds is too long: at most 60");
    }
}
