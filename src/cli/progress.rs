//! Progress of long work on a terminal: phase, count, bytes, rate and time left.
//!
//! Silent where stderr is no terminal, or the user asked for quiet.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::progress::{Progress, Quiet};

/// How often a bar without news redraws itself.
const TICK: Duration = Duration::from_millis(200);

/// Who listens: a bar where a human can see one, else nobody.
pub fn listener(quiet: bool) -> Box<dyn Progress> {
    if quiet || !std::io::stderr().is_terminal() {
        Box::new(Quiet)
    } else {
        Box::new(Bar::new())
    }
}

/// Who listens to work that prints results as it goes: nobody where they go to the
/// terminal themselves, for the two would write over each other.
pub fn listener_beside_results(quiet: bool) -> Box<dyn Progress> {
    listener(quiet || std::io::stdout().is_terminal())
}

/// One bar for each phase; a finished phase leaves its line.
struct Bar {
    current: Mutex<Phase>,
}

/// What the bar measures: the other figure is told beside it.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    Items,
    Bytes,
}

struct Phase {
    bar: ProgressBar,
    measure: Measure,
    items: u64,
    bytes: u64,
}

impl Phase {
    fn new(bar: ProgressBar, measure: Measure) -> Self {
        Self {
            bar,
            measure,
            items: 0,
            bytes: 0,
        }
    }
}

impl Bar {
    fn new() -> Self {
        Self {
            current: Mutex::new(Phase::new(ProgressBar::hidden(), Measure::Items)),
        }
    }

    fn current(&self) -> MutexGuard<'_, Phase> {
        // A bar is only looks: one half drawn by a thread that died still serves.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bar_of(items: Option<u64>, bytes: Option<u64>) -> (ProgressBar, Measure) {
    let (bar, measure, template) = match (items, bytes) {
        // Bytes tell the time left better than items of many sizes.
        (_, Some(bytes)) => (
            ProgressBar::new(bytes),
            Measure::Bytes,
            "{prefix} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {msg} ETA {eta}",
        ),
        (Some(items), None) => (
            ProgressBar::new(items),
            Measure::Items,
            "{prefix} [{wide_bar}] {human_pos}/{human_len} {per_sec} {msg} ETA {eta}",
        ),
        (None, None) => (
            ProgressBar::new_spinner(),
            Measure::Items,
            "{prefix} {spinner} {human_pos} {per_sec} {msg}",
        ),
    };
    let style = ProgressStyle::with_template(template).expect("the templates are well-formed");
    (bar.with_style(style), measure)
}

impl Progress for Bar {
    fn phase(&self, name: &str, items: Option<u64>, bytes: Option<u64>) {
        let (bar, measure) = bar_of(items, bytes);
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(TICK);
        let mut current = self.current();
        current.bar.finish();
        *current = Phase::new(bar, measure);
    }

    fn advance(&self, items: u64, bytes: u64) {
        let mut current = self.current();
        current.items += items;
        current.bytes += bytes;
        match current.measure {
            Measure::Items => {
                current.bar.inc(items);
                current
                    .bar
                    .set_message(HumanBytes(current.bytes).to_string());
            }
            Measure::Bytes => {
                current.bar.inc(bytes);
                current
                    .bar
                    .set_message(HumanCount(current.items).to_string());
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.current().bar.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_measures_what_is_known_of_a_phase() {
        for (items, bytes, measure) in [
            (Some(10), Some(100), Measure::Bytes),
            (None, Some(100), Measure::Bytes),
            (Some(10), None, Measure::Items),
            (None, None, Measure::Items),
        ] {
            assert!(bar_of(items, bytes).1 == measure);
        }
    }

    #[test]
    fn a_bar_adds_up_what_it_is_told() {
        let bar = Bar::new();
        bar.phase("sealing", Some(10), None);
        bar.advance(3, 300);
        bar.advance(4, 400);
        let current = bar.current();
        assert_eq!((current.items, current.bytes), (7, 700));
        assert_eq!(current.bar.position(), 7);
    }
}
