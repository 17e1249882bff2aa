//! Makes ahead what pages of mail are read with.
//!
//! Always true: one task at a time does it, beside all else, and it ends soon
//! after this is dropped. What it leaves undone the first request does that
//! needs it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::archive::disk::{Archive, DiskError, Stop};

/// Makes time files in the background.
pub(super) struct TimesMaker {
    archive: Arc<Archive>,
    stop: Stop,
    task: Option<JoinHandle<()>>,
}

impl TimesMaker {
    /// Does nothing yet.
    pub(super) fn new(archive: Arc<Archive>) -> Self {
        Self {
            archive,
            stop: Stop::default(),
            task: None,
        }
    }

    /// Begins with what is missing now, unless it is at it already.
    pub(super) fn start(&mut self) {
        if self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (archive, stop) = (Arc::clone(&self.archive), self.stop.clone());
        self.task = Some(tokio::task::spawn_blocking(move || {
            match archive.make_times(&stop) {
                Ok(0) | Err(DiskError::Stopped) => {}
                Ok(made) => tracing::info!(made, "time files made"),
                Err(error) => tracing::warn!(%error, "time files could not be made"),
            }
        }));
    }

    /// Stops, and waits until the archive is let go of.
    pub(super) async fn end(mut self) {
        self.stop.stop();
        if let Some(task) = self.task.take() {
            // It was stopped; whether it panicked before was told already.
            let _ = task.await;
        }
    }
}

impl Drop for TimesMaker {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
