//! Work for messages, done beside everything else.
//!
//! Always true: no more than [`MINERS`] cores mine at a time, none for longer
//! than [`MAX_TIME`], and none for a client that has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::api::rpc::fault::Fault;
use crate::whisper::Envelope;
use crate::whisper::service::{Composed, mine_for};

/// Messages mined at a time. One: an archive has other things to do.
const MINERS: usize = 1;

/// The longest anybody may ask for.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Messages that wait to be mined; more are refused.
const MAX_WAITING: usize = 32;

/// Whoever does the work of messages.
#[derive(Debug)]
pub(super) struct Miner {
    mining: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Miner {
    fn default() -> Self {
        Self {
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

impl Miner {
    /// Gives a composed message its nonce.
    pub(super) async fn mine(&self, message: Composed) -> Result<Envelope, Fault> {
        if message.pow_time > MAX_TIME {
            return Err(Fault::because(format!(
                "powTime of {} seconds is too long: at most {}",
                message.pow_time.as_secs(),
                MAX_TIME.as_secs()
            )));
        }
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| Fault::because("too many messages wait to be mined"))?;
        let turn = Arc::clone(&self.mining)
            .acquire_owned()
            .await
            .map_err(Fault::because)?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let _left = Left(Arc::clone(&cancelled));
        let mined = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, even if nobody waits for it.
            let _turn = turn;
            mine_for(&message, &cancelled)
        });
        mined.await.map_err(Fault::because)?.map_err(Fault::because)
    }
}
