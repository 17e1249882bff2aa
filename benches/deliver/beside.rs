//! LevelDB beside ours, in the same run.
//!
//! The baseline reads and bundles without a link, so two ratios are given: pages
//! against reading, and whole answers against reading with what the link takes
//! for the same bytes: one after the other, and, to our disadvantage, as if both
//! were done at once.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Case, Read, Sent};

/// Runs the baseline and prints the ratios.
pub fn run(baseline: &Path, folder: &Path, cases: &[Case], pages: &[Read], sent: &[Sent]) {
    let output = Command::new(baseline).arg(folder).arg("deliver").output();
    let output = output.expect("the baseline runs");
    let lines = String::from_utf8_lossy(&output.stdout);
    print!("{lines}");
    let took: HashMap<String, Duration> = lines.lines().filter_map(median).collect();
    for ((case, read), sent) in cases.iter().zip(pages).zip(sent) {
        let Some(leveldb) = took.get(&format!("leveldb {}", case.name)) else {
            continue;
        };
        let over = |theirs: Duration, ours: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{{\"beside\":\"{}\",\"pages\":{:.2},\"answer\":{:.2},\"answer_at_least\":{:.2},\"share_of_link\":{:.2}}}",
            case.name,
            over(*leveldb, read.took),
            over(*leveldb + sent.link, sent.answer),
            over((*leveldb).max(sent.link), sent.answer),
            over(sent.link, sent.answer),
        );
    }
}

/// What a line is about, and its median.
fn median(line: &str) -> Option<(String, Duration)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let micros = line.get("micros")?.as_u64()?;
    let work = line.get("work")?.as_str()?;
    Some((work.to_owned(), Duration::from_micros(micros)))
}
