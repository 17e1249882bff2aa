//! Taking a damaged file out of the folder, and keeping of it what is right.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::{CarFolder, io_error, listing};
use crate::blocks::car::Scan;
use crate::blocks::{Block, BlockError, BlockStore, BlockWriter, Reuse, names};
use crate::durable;

/// Ending of a file that was taken out.
pub const ASIDE: &str = ".damaged";

/// Fills the bytes from an offset of a file.
type ReadAt<'a> = &'a dyn Fn(&File, &mut [u8], u64) -> io::Result<()>;

impl CarFolder {
    /// Writes what is right in a file into a new one of its group, then takes the
    /// file out under a name that says so; gives how many blocks were kept. A crash
    /// in between leaves both files, and the call is made again.
    pub fn salvage(&self, name: &str) -> Result<u64, BlockError> {
        self.salvage_by(name, &|file, bytes, offset| {
            file.read_exact_at(bytes, offset)
        })
    }

    /// As [`Self::salvage`]; the bytes of blocks are read by `read`.
    fn salvage_by(&self, name: &str, read: ReadAt<'_>) -> Result<u64, BlockError> {
        self.writable()?;
        let path = self.path(name);
        let group = names::group_of(name).ok_or_else(|| BlockError::no_file(name))?;
        let file = File::open(&path).map_err(io_error(&path))?;
        let mut kept = 0;
        // Of a file whose header is damaged nothing can be told apart.
        if let Ok(scan) = Scan::new(&file) {
            let root = scan.roots().first().copied();
            let mut writer: Box<dyn BlockWriter + '_> = self.begin(group, Reuse::Nothing)?;
            let mut last = None;
            // Each block is read where it lies: one that the disk cannot give
            // hides no other.
            for at in scan.flatten() {
                let mut bytes = vec![0; at.len as usize];
                if let Err(failure) = read(&file, &mut bytes, at.offset) {
                    tracing::warn!(file = %path.display(), block = %at.cid, %failure, "unreadable");
                    continue;
                }
                let Ok(block) = Block::verify(&at.cid, bytes) else {
                    continue;
                };
                writer.put(&block)?;
                last = Some(at.cid);
                kept += 1;
            }
            if let Some(root) = root.or(last) {
                writer.commit(&root)?;
            }
        }
        let changing = self.changing();
        let mut aside = path.clone().into_os_string();
        aside.push(ASIDE);
        fs::rename(&path, &aside).map_err(io_error(&path))?;
        durable::sync_folder(durable::parent_of(&path)).map_err(io_error(&path))?;
        self.reindex(&changing, name)?;
        Ok(kept)
    }

    /// Deletes every file that [`Self::salvage`] took out.
    pub fn discard_salvaged(&self) -> Result<(), BlockError> {
        self.writable()?;
        for folder in listing::folders(&self.dir)? {
            for entry in listing::entries(&self.path(&folder))? {
                let name = entry.file_name();
                let of = name.to_str().and_then(|name| name.strip_suffix(ASIDE));
                let is_ours =
                    of.is_some_and(|of| names::group_of(&format!("{folder}/{of}")).is_some());
                if is_ours {
                    fs::remove_file(entry.path()).map_err(io_error(&entry.path()))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::CarFolder;
    use super::*;
    use crate::blocks::suite::{commit, raw};
    use crate::blocks::{BlockSource, Group};
    use crate::index::Index;

    #[test]
    fn one_bad_sector_costs_the_block_it_lies_in() {
        let dir = tempfile::tempdir().unwrap();
        let folder = CarFolder::open(dir.path(), Index::in_memory()).unwrap();
        let blocks: Vec<_> = (0..9).map(|n| raw(&format!("block {n}"))).collect();
        let file = commit(&folder, Group::Delta(1), Reuse::Nothing, &blocks).unwrap();
        let kept = folder.salvage_by(&file.name, &|file, bytes, offset| {
            file.read_exact_at(bytes, offset)?;
            match bytes == blocks[4].bytes() {
                true => Err(io::Error::other("a bad sector")),
                false => Ok(()),
            }
        });
        assert_eq!(kept.unwrap(), 8);
        for (n, block) in blocks.iter().enumerate() {
            assert_eq!(folder.has(block.cid()).unwrap(), n != 4, "{n}");
        }
        // What could not be read is not lost before it was fetched again.
        let mut aside = folder.path(&file.name).into_os_string();
        aside.push(ASIDE);
        assert!(fs::exists(&aside).unwrap());
    }
}
