//! Days of traffic in an archive.

use std::path::Path;

use gwa::archive::disk::Archive;
use gwa::archive::testing::Synthetic;
use gwa::archive::watermark::Watermark;
use gwa::progress::Quiet;
use gwa::time::{DAY, UnixSeconds};

/// An archive of `traffic`, which begins at `from`, sealed day by day.
pub fn sealed_by_day(dir: &Path, traffic: &Synthetic, from: u32, days: u32) -> Archive {
    let archive = Archive::init(dir, "").expect("an archive is made");
    let mut next = 0;
    for day in 1..=days {
        let end = from + day * DAY;
        loop {
            let batch: Vec<_> = (next..traffic.count())
                .take(5_000)
                .map(|n| traffic.envelope(n))
                .take_while(|envelope| envelope.sent().0 < end)
                .collect();
            if batch.is_empty() {
                break;
            }
            next += batch.len() as u64;
            archive.append(&batch).expect("the disk takes it");
        }
        let end = UnixSeconds(end);
        let until = Watermark::at_or_before(end);
        archive.seal(until, end, &Quiet).expect("it seals");
    }
    archive
}
