//! How a depot stands against the archive that it keeps, for whoever asks.
//!
//! Always true: what the depot did not say when it was asked last is unknown, and is not
//! told as nothing.

use serde::{Deserialize, Serialize};

use crate::archive::head::Head;
use crate::blocks::BlockFile;

/// What is told of trouble to whom its names do not concern.
pub(crate) const WITHOUT_NAMES: &str = "the daemon's log says why";

/// How a depot stands against the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierStatus {
    /// The depot, without passwords.
    pub store: String,
    /// The newest head that it keeps, as far as it said.
    pub head: Option<String>,
    /// Its number.
    pub seq: Option<u64>,
    /// Files that it lacks; `None` where it did not say what it keeps when it was asked
    /// last.
    pub waiting_files: Option<u64>,
    /// Their bytes.
    pub waiting_bytes: Option<u64>,
    /// Files of days that it alone keeps.
    pub evicted_files: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Files that neither it nor this disk has.
    pub lost_files: u64,
    /// Since when nothing could be brought there, Unix seconds.
    pub failing_since: Option<u32>,
    /// Why.
    pub error: Option<String>,
}

impl CarrierStatus {
    /// The same without names of folders and hosts: of what kind the depot is, and
    /// whether anything is wrong.
    #[must_use]
    pub fn without_names(mut self) -> Self {
        if let Some(kind) = self.store.find(':') {
            self.store.truncate(kind);
        }
        self.error = self.error.map(|_| WITHOUT_NAMES.to_owned());
        self
    }

    /// The newest head that it keeps is this one.
    pub(super) fn keeps_head(&mut self, newest: Option<&Head>) {
        self.head = newest.map(|head| head.cid().to_string());
        self.seq = newest.map(|head| head.body().sequence.0);
    }

    /// It lacks these files.
    pub(super) fn waits(&mut self, files: &[BlockFile]) {
        self.waiting_files = Some(files.len() as u64);
        self.waiting_bytes = Some(files.iter().map(|file| file.bytes).sum());
    }

    /// It lacks this file no more.
    pub(super) fn waits_no_more(&mut self, file: &BlockFile) {
        let less = |waiting: Option<u64>, by| waiting.map(|count| count.saturating_sub(by));
        self.waiting_files = less(self.waiting_files, 1);
        self.waiting_bytes = less(self.waiting_bytes, file.bytes);
    }

    /// It does not say what it keeps.
    pub(super) fn does_not_say(&mut self) {
        (self.waiting_files, self.waiting_bytes) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_what_kind_of_store_it_is_and_that_it_fails() {
        let status = CarrierStatus {
            store: "s3:https://minio.inside:9000/bucket".to_owned(),
            error: Some("https://minio.inside:9000/bucket answers nothing".to_owned()),
            failing_since: Some(7),
            ..CarrierStatus::default()
        };
        let told = status.without_names();
        assert_eq!((&*told.store, told.failing_since), ("s3", Some(7)));
        let text = format!("{told:?}");
        assert!(told.error.is_some() && !text.contains("minio"), "{text}");
    }
}
