//! Mining for a user who waits: on every core, with progress, bounded in time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::progress::Progress;
use crate::whisper::Envelope;
use crate::whisper::mining::{Mined, Target, Template, mine};

/// Nonces a thread tries before it looks at the clock and at the others.
const CHUNK: u32 = 1 << 12;

/// Threads that mine at most, whatever the machine has.
const MAX_THREADS: usize = 16;

/// An envelope of `template` that reaches `target`; `None` if none was found in
/// `time`. Blocks for as long.
pub fn mine_for(
    template: &Template,
    target: Target,
    time: Duration,
    progress: &dyn Progress,
) -> Option<Envelope> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let until = Instant::now() + time;
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let found = Mutex::new(None);
    let search = || {
        while !is_over.load(Ordering::Relaxed) {
            let from = next.fetch_add(u64::from(CHUNK), Ordering::Relaxed);
            match mine(template, target, from, CHUNK) {
                Mined::Found(envelope) => {
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(envelope);
                    is_over.store(true, Ordering::Relaxed);
                }
                Mined::Continue(_) => progress.advance(u64::from(CHUNK), 0),
            }
            if Instant::now() >= until {
                is_over.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.min(MAX_THREADS) {
            scope.spawn(search);
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Quiet;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;
    use crate::whisper::pow::{Pow, Work};

    fn template() -> Template {
        Template {
            expiry: Expiry(1_600_000_000),
            ttl: Ttl(50),
            topic: Topic([1, 2, 3, 4]),
            data: vec![7; 300],
        }
    }

    #[test]
    fn what_is_found_shows_the_work_by_both_definitions() {
        let target = Target::Both(Pow::STATUS_DEFAULT);
        let envelope = mine_for(&template(), target, Duration::from_secs(60), &Quiet)
            .expect("some thousand hashes");
        assert!(Work::of(&envelope).least() >= Pow::STATUS_DEFAULT);
    }

    #[test]
    fn a_target_out_of_reach_ends_in_time() {
        let target = Target::Both(Pow::new(1e30).unwrap());
        let found = mine_for(&template(), target, Duration::from_millis(1), &Quiet);
        assert_eq!(found, None);
    }
}
