//! Whether to believe the index where a block is not what it should be.
//!
//! A damaged block is asked for again and again, by whoever likes to. Only where
//! the index may be wrong is its file looked through, which commits wait for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{CarFolder, Failure, listing};
use crate::blocks::Cid;
use crate::blocks::car::section_prefix;
use crate::index::FileMark;

/// The mark of a file that the disk did not give whole. It fits no file, so the
/// next opening of the folder looks through it again.
pub(super) fn doubtful(mark: FileMark) -> FileMark {
    FileMark {
        modified: mark.modified.wrapping_add(1),
        ..mark
    }
}

impl CarFolder {
    /// Whether a file may hold what the index does not know: it is another one than
    /// was indexed, or `cid` is not what it has in that place.
    pub(super) fn is_misled(&self, cid: &Cid, failure: &Failure) -> bool {
        let Some(row) = self.index().file(&failure.name) else {
            return true;
        };
        let file = match File::open(self.path(&failure.name)) {
            Ok(file) => file,
            Err(error) => return error.kind() == io::ErrorKind::NotFound,
        };
        // What the disk does not tell now it would not tell a longer look either.
        let Ok(about) = file.metadata() else {
            return false;
        };
        let mark = listing::mark(&about);
        if row.mark != mark && row.mark != doubtful(mark) {
            return true;
        }
        let at = failure.at;
        let prefix = section_prefix(cid, at.len.into());
        let end = at.offset.checked_add(at.len.into());
        let Some(section) = at.offset.checked_sub(prefix.len() as u64) else {
            return true;
        };
        if end.is_none_or(|end| end > mark.len) {
            return true;
        }
        let mut there = vec![0; prefix.len()];
        let read = file.read_exact_at(&mut there, section);
        read.is_ok() && there != prefix
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;
    use crate::blocks::suite::{commit, raw};
    use crate::blocks::{BlockSource, Group, Reuse};
    use crate::index::Index;

    #[test]
    fn a_damaged_block_is_looked_for_once_and_not_at_every_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = CarFolder::open(dir.path(), Index::in_memory()).unwrap();
        let blocks = [raw("sound"), raw("torn")];
        let file = commit(&folder, Group::Delta(1), Reuse::Nothing, &blocks).unwrap();
        let path = folder.path(&file.name);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        // File systems count in ticks: the change is dated by hand.
        let changed = File::options().append(true).open(&path).unwrap();
        changed.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let indexed = || folder.index().file(&file.name).unwrap().id;
        let before = indexed();
        let read = || folder.get(blocks[1].cid()).unwrap_err();
        assert!(read().is_corrupt());
        let after = indexed();
        assert_ne!(before, after, "the file changed");
        for _ in 0..5 {
            assert!(read().is_corrupt());
            assert_eq!(indexed(), after);
        }
        assert_eq!(folder.get(blocks[0].cid()).unwrap(), blocks[0]);
    }
}
