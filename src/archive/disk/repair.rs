//! Fetching again what is damaged or gone.
//!
//! Always true:
//! - A damaged file is taken out only after what is right in it was written to
//!   another, and deleted only after the whole history was found right.
//! - What is fetched is hashed, and the days it belongs to are recomputed.
//! - What is known of where a day was left is forgotten only after the day is here.
//! - Interrupted anywhere, it is done again from where it was.

use std::collections::{BTreeSet, HashSet};
use std::sync::PoisonError;

use super::{Archive, DiskError, Stop};
use crate::archive::copy::Copied;
use crate::blocks::{BlockSource, Group};
use crate::progress::Progress;

/// What a repair came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Files that were damaged.
    pub files: u64,
    /// Blocks of theirs that were right.
    pub kept: u64,
    /// What was fetched, and written.
    pub copied: Copied,
}

impl Archive {
    /// Fetches from `source` what of the current head's history is damaged or
    /// missing on this disk.
    pub fn repair(
        &self,
        source: &dyn BlockSource,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<Repaired, DiskError> {
        let mut repaired = Repaired::default();
        let mut damaged = BTreeSet::new();
        {
            // No seal builds on a file that is about to go.
            let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
            let folder = self.blocks.folder();
            folder.check(progress, |finding| {
                damaged.insert(finding.file);
            })?;
            for name in &damaged {
                repaired.kept += folder.salvage(name)?;
                repaired.files += 1;
            }
        }
        let lost = self.lost_files();
        let evicted = &self.blocks.evicted;
        // Where fetching fails the notes still say where the days were left.
        evicted.pass_over(lost.clone());
        let completed = self.complete(source, stop, progress);
        evicted.pass_over(HashSet::new());
        repaired.copied = completed?;
        for name in &lost {
            evicted.forget(name)?;
        }
        // Those of repairs that were cut off are among them.
        self.blocks.folder().discard_salvaged()?;
        Ok(repaired)
    }

    /// The files that were evicted and are to be fetched again: what the store that is
    /// named does not have is missing like any other block. One that does not answer says
    /// nothing about it. A day may lie in several files, of which the last leads to the
    /// others: where one is lost, all are fetched again.
    fn lost_files(&self) -> HashSet<String> {
        let files = self.blocks.evicted.files();
        let lost = files.iter().filter(|file| {
            let is_lost = self.blocks.is_lacked(file.root());
            if is_lost {
                let (name, to) = (&file.file.name, &file.store);
                tracing::warn!(
                    file = name,
                    evicted_to = to,
                    "not at the store that is named"
                );
            }
            is_lost
        });
        let days: HashSet<Group> = lost.map(|file| file.file.group).collect();
        let files = files.iter().filter(|file| days.contains(&file.file.group));
        files.map(|file| file.file.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::archive::disk::sealed_by;
    use crate::archive::testing::traffic;
    use crate::archive::verify::{Sample, verify};
    use crate::archive::watermark::Watermark;
    use crate::blocks::{BlockStore, MemoryStore};
    use crate::progress::Quiet;
    use crate::time::{DAY, UnixSeconds};
    use crate::whisper::Envelope;

    fn archive(dir: &std::path::Path) -> Archive {
        let archive = Archive::init(dir, "").unwrap();
        let envelopes: Vec<Envelope> = traffic(3, 900, 20, 0, 3 * DAY)
            .iter()
            .map(|record| Envelope::decode(&record.bytes).unwrap())
            .collect();
        archive.append(&envelopes).unwrap();
        let until = Watermark::new(UnixSeconds(4 * DAY)).unwrap();
        archive.seal(until, until.at(), &Quiet).unwrap();
        archive
    }

    fn is_sound(archive: &Archive) -> bool {
        let head = archive.head().unwrap();
        let sealed = sealed_by(&head);
        let blocks = archive.blocks().folder();
        let verified = verify(blocks, &sealed, *head.cid(), Sample::EVERYTHING, &Quiet);
        verified.faults.is_empty() && verified.envelopes > 0
    }

    /// Flips a byte in the middle of one file, and deletes another.
    fn damage(dir: &std::path::Path, archive: &Archive) {
        let files = archive.blocks().folder().files().unwrap();
        let path = |at: usize| dir.join("blocks").join(&files[at].name);
        let mut bytes = fs::read(path(0)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path(0), bytes).unwrap();
        fs::remove_file(path(1)).unwrap();
    }

    #[test]
    fn what_is_damaged_or_gone_is_fetched_again() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = archive(other.path());
        let broken = archive(one.path());
        damage(one.path(), &broken);
        drop(broken);
        let broken = Archive::open(one.path()).unwrap();
        assert!(!is_sound(&broken));
        let repaired = broken
            .repair(source.blocks(), &Stop::default(), &Quiet)
            .unwrap();
        assert_eq!(repaired.files, 1);
        assert!(repaired.copied.blocks > 0);
        assert!(is_sound(&broken));
        let left = broken
            .blocks()
            .folder()
            .check(&Quiet, |finding| panic!("{}", finding.what))
            .unwrap();
        assert_eq!(left.findings, 0);
        // Nothing is left to do.
        let again = broken.repair(source.blocks(), &Stop::default(), &Quiet);
        assert_eq!(again.unwrap().copied, Copied::default());
    }

    #[test]
    fn days_that_were_dropped_are_not_fetched_again() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = archive(other.path());
        let pruned = archive(one.path());
        assert!(pruned.drop_before(UnixSeconds(2 * DAY)).unwrap().days > 0);
        let repaired = pruned.repair(source.blocks(), &Stop::default(), &Quiet);
        assert_eq!(repaired.unwrap(), Repaired::default());
    }

    #[test]
    fn a_repair_without_a_source_loses_nothing_and_is_done_later() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = archive(other.path());
        let broken = archive(one.path());
        damage(one.path(), &broken);
        drop(broken);
        let broken = Archive::open(one.path()).unwrap();
        let nobody = MemoryStore::new();
        assert!(broken.repair(&nobody, &Stop::default(), &Quiet).is_err());
        let aside = || {
            let folders = ["calendar", "deltas", "hours", "days/1970"];
            let folders = folders.map(|name| one.path().join("blocks").join(name));
            let files = folders
                .iter()
                .filter_map(|folder| fs::read_dir(folder).ok());
            let names = files.flatten().map(|file| file.unwrap().file_name());
            names
                .filter(|name| name.to_str().unwrap().ends_with(".damaged"))
                .count()
        };
        assert_eq!(aside(), 1);
        broken
            .repair(source.blocks(), &Stop::default(), &Quiet)
            .unwrap();
        assert!(is_sound(&broken));
        assert_eq!(aside(), 0);
    }
}
