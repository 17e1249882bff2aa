//! Spreads independent work over the machine's cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Applies `work` to every item, on as many threads as there are cores, and
/// gives the results in order of the items. After the first error no further
/// item is begun.
pub fn map<I: Sync, O: Send, E: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<O, E> + Sync,
) -> Result<Vec<O>, E> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = work(item);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    done.lock()
                        .expect("no worker panics with the lock")
                        .push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics with the lock");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_of_the_items() {
        let items: Vec<u32> = (0..500).collect();
        assert_eq!(
            map(&items, |n| Ok::<_, ()>(n * 2)),
            Ok((0..500).map(|n| n * 2).collect())
        );
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<u32> = (0..500).collect();
        assert_eq!(
            map(&items, |n| if *n == 7 { Err("seven") } else { Ok(()) }),
            Err("seven")
        );
    }
}
