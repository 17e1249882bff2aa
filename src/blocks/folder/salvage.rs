//! Taking a damaged file out of the folder, and keeping of it what is right.

use std::fs::{self, File};
use std::io;

use super::{CarFolder, io_error, listing};
use crate::blocks::car::CarReader;
use crate::blocks::{BlockError, BlockStore, BlockWriter, Reuse, names};
use crate::durable;

/// Ending of a file that was taken out.
pub const ASIDE: &str = ".damaged";

impl CarFolder {
    /// Writes what is right in a file into a new one of its group, then takes the
    /// file out under a name that says so; gives how many blocks were kept. A crash
    /// in between leaves both files, and the call is made again.
    pub fn salvage(&self, name: &str) -> Result<u64, BlockError> {
        self.writable()?;
        let path = self.path(name);
        let group = names::group_of(name).ok_or_else(|| BlockError::no_file(name))?;
        let file = File::open(&path).map_err(io_error(&path))?;
        let mut kept = 0;
        // Of a file whose header is damaged nothing can be told apart.
        if let Ok(reader) = CarReader::new(io::BufReader::new(file)) {
            let root = reader.roots().first().copied();
            let mut writer: Box<dyn BlockWriter + '_> = self.begin(group, Reuse::Nothing)?;
            let mut last = None;
            for block in reader.flatten() {
                writer.put(&block)?;
                last = Some(*block.cid());
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
