//! Giving a file another name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{CarFolder, io_error};
use crate::blocks::{BlockError, BlockFile, BlockStore, names};
use crate::durable;

impl CarFolder {
    /// Gives a file another name of its group and root, one that `is_taken` does not say
    /// no to; gives it as it is called then. Its blocks are to be had all the while. A
    /// crash in between leaves it under both names, and the call is made again.
    pub fn rename(
        &self,
        name: &str,
        is_taken: &dyn Fn(&str) -> bool,
    ) -> Result<BlockFile, BlockError> {
        self.writable()?;
        let (path, root) = self.locate(name)?;
        let group = names::group_of(name).ok_or_else(|| BlockError::no_file(name))?;
        let mut free = names::candidates(group, &root).filter(|other| !is_taken(other));
        let other = loop {
            let other = free.next().expect("names::candidates never ends");
            let target = self.path(&other);
            if other != name && link(&path, &target).map_err(io_error(&target))? {
                break other;
            }
        };
        {
            let changing = self.changing();
            self.reindex(&changing, &other)?;
        }
        self.remove(name)?;
        self.about(&self.row(&other)?)
            .ok_or_else(|| BlockError::no_file(&other))
    }
}

/// Gives a file a second name, durably; false where another file has it.
fn link(path: &Path, target: &Path) -> io::Result<bool> {
    match fs::metadata(target) {
        Ok(about) => {
            let file = fs::metadata(path)?;
            return Ok((about.dev(), about.ino()) == (file.dev(), file.ino()));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if fs::hard_link(path, target).is_err() {
        // A disk without links.
        let mut from = File::open(path)?;
        durable::replace_file_with(target, |to| io::copy(&mut from, to).map(drop))?;
    }
    durable::sync_folder(durable::parent_of(target))?;
    Ok(true)
}
