//! Figures of the disk: how full it is, and what of it is the archive's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::archive::disk::Archive;
use crate::blocks::BlockStore;
use crate::metrics::Exposition;

/// How long the count of files is good for: a monitor that scrapes every five seconds
/// must not have an archive of thousands of files counted each time.
const FRESH: Duration = Duration::from_secs(60);

/// The files of blocks, as they were counted last.
#[derive(Debug, Default)]
pub(in crate::api) struct DiskFigures(Mutex<Option<(Instant, Files)>>);

/// How many files of blocks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    count: u64,
    bytes: u64,
}

impl DiskFigures {
    /// What was counted in the last minute; `None` where the folder cannot be read.
    pub(super) async fn now(&self, archive: &Arc<Archive>) -> Option<Files> {
        // One counts at a time; whoever waits is told the same.
        let mut counted = self.0.lock().await;
        if let Some((at, files)) = *counted
            && at.elapsed() < FRESH
        {
            return Some(files);
        }
        let archive = Arc::clone(archive);
        let files = tokio::task::spawn_blocking(move || files(&archive)).await;
        let files = files.ok().flatten()?;
        *counted = Some((Instant::now(), files));
        Some(files)
    }
}

fn files(archive: &Archive) -> Option<Files> {
    match archive.blocks().folder().files() {
        Ok(files) => Some(Files {
            count: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
        }),
        Err(error) => {
            tracing::warn!(%error, "the files of blocks cannot be counted");
            None
        }
    }
}

pub(super) fn tell(told: &mut Exposition, archive: &Archive, files: Option<Files>) {
    told.gauge_if(
        "gwa_archive_files",
        "Files of blocks on this disk, counted once a minute at most.",
        files.map(|files| files.count),
    );
    told.gauge_if(
        "gwa_archive_file_bytes",
        "Bytes of those.",
        files.map(|files| files.bytes),
    );
    // Blocks are counted in fragments.
    let disk = rustix::fs::statvfs(archive.dir()).ok();
    let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
    told.gauge_if(
        "gwa_disk_free_bytes",
        "Bytes that may still be written to the disk of the data folder.",
        disk.as_ref()
            .map(|told| bytes(told.f_bavail, told.f_frsize)),
    );
    told.gauge_if(
        "gwa_disk_size_bytes",
        "Bytes of the disk of the data folder.",
        disk.as_ref()
            .map(|told| bytes(told.f_blocks, told.f_frsize)),
    );
}
