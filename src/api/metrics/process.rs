//! Figures of the process, by the names that every client of Prometheus has for them.
//!
//! Always true: where the system does not tell, nothing is told.

use std::fs;

use crate::api::diagnostics;
use crate::metrics::Exposition;
use crate::time::UnixSeconds;

/// Ticks of a second in `/proc`: Linux shows programs 100 on every machine, whatever it
/// counts in itself.
const TICKS: f64 = 100.0;

pub(super) fn tell(told: &mut Exposition, since: UnixSeconds) {
    told.gauge(
        "process_start_time_seconds",
        "When the daemon started.",
        since.0.into(),
    );
    told.gauge_if(
        "process_resident_memory_bytes",
        "Bytes of memory that the process has.",
        diagnostics::memory(),
    );
    if let Some(seconds) = cpu() {
        told.amount(
            "process_cpu_seconds_total",
            "Seconds of processor that the process took.",
            seconds,
        );
    }
    told.gauge_if(
        "process_open_fds",
        "Files and sockets that the process has open.",
        fs::read_dir("/proc/self/fd")
            .ok()
            .map(|open| open.count() as u64),
    );
    told.gauge_if(
        "process_max_fds",
        "How many it may have open.",
        most_open(&fs::read_to_string("/proc/self/limits").unwrap_or_default()),
    );
}

fn cpu() -> Option<f64> {
    cpu_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Time in the program and in the system for it. The name of the program stands in
/// parentheses, and may hold anything.
fn cpu_of(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn most_open(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_behind_a_name_of_any_kind() {
        let stat = "7 (a ) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 99";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("nonsense"), None);
        assert!(cpu() >= Some(0.0));
    }

    #[test]
    fn the_most_files_are_the_softer_limit() {
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024    4096   files\n";
        assert_eq!(most_open(limits), Some(1024));
        assert_eq!(
            most_open("Max open files  unlimited unlimited files\n"),
            None
        );
    }
}
