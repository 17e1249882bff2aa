//! Reading every file whole, to name what is damaged.

use std::fs::File;
use std::io;

use super::{BlockError, CarFolder, listing};
use crate::blocks::Cid;
use crate::blocks::car::{CarError, CarReader};
use crate::progress::Progress;

/// One thing wrong with one file.
#[derive(Debug)]
pub struct Finding {
    /// The file's name within the store.
    pub file: String,
    /// Bytes from its start to the section concerned.
    pub offset: u64,
    /// The block that should have been there, where its CID can be read. What
    /// follows a tail cut off, or a damaged length, cannot be named.
    pub cid: Option<Cid>,
    /// What is wrong.
    pub what: CarError,
}

/// What a check went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Files read.
    pub files: u64,
    /// Blocks found right.
    pub blocks: u64,
    /// Their bytes, framing excluded.
    pub bytes: u64,
    /// Findings reported.
    pub findings: u64,
}

impl CarFolder {
    /// Hashes every block of every file, and reports each that is not right.
    /// Errors are only those that keep the folder from being listed. Memory:
    /// one block.
    pub fn check(
        &self,
        progress: &dyn Progress,
        mut report: impl FnMut(Finding),
    ) -> Result<Checked, BlockError> {
        let files = listing::files(&self.dir)?;
        let bytes = files.iter().map(|file| file.mark.len).sum();
        progress.phase("check files of blocks", None, Some(bytes));
        let mut checked = Checked::default();
        for found in files {
            let finding = |what: CarError| Finding {
                file: found.name.clone(),
                offset: what.offset(),
                cid: what.cid(),
                what,
            };
            let opened = File::open(self.path(&found.name));
            let reader = match opened {
                // Removed by the writing process since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => Err(CarError::Io { offset: 0, source }),
                Ok(file) => CarReader::new(file),
            };
            checked.files += 1;
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(what) => {
                    checked.findings += 1;
                    report(finding(what));
                    continue;
                }
            };
            let mut at = 0;
            while let Some(block) = reader.next() {
                progress.advance(1, reader.offset() - at);
                at = reader.offset();
                match block {
                    Ok(block) => {
                        checked.blocks += 1;
                        checked.bytes += block.bytes().len() as u64;
                    }
                    Err(what) => {
                        checked.findings += 1;
                        report(finding(what));
                    }
                }
            }
        }
        Ok(checked)
    }
}
