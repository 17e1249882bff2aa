//! Keeping the catalogues of a folder in step with its files.
//!
//! A folder holds `CATALOGUE`, which names the folders that have one, and one
//! catalogue in each of these. They are written behind the files: one that lags
//! after a crash is put right by the next writer, and misleads nobody.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{CarFolder, io_error, listing};
use crate::blocks::BlockError;
use crate::blocks::car::{ONE_ROOT_HEADER, Scan};
use crate::blocks::catalogue::{self, Catalogue, FILE, Listed, file_len, fragment_of};
use crate::durable;

/// First line of the file that names the folders with a catalogue.
pub const FOLDERS: &str = "gwa catalogues 1";

impl CarFolder {
    /// Writes the catalogues anew where files have come or gone. Files that were
    /// listed before are not looked at again.
    pub fn write_catalogues(&self) -> Result<(), BlockError> {
        self.writable()?;
        let _changing = self.changing();
        write(&self.dir)
    }
}

/// As [`CarFolder::write_catalogues`], for a folder that nobody else writes to.
pub fn write(dir: &Path) -> Result<(), BlockError> {
    let mut folders = listing::folders(dir)?;
    folders.retain(|folder| dir.join(folder).is_dir());
    folders.sort();
    let found = listing::files(dir)?;
    for folder in &folders {
        let path = dir.join(folder).join(FILE);
        let old_bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(io_error(&path))?,
        };
        // What is not a catalogue is as good as none.
        let mut old = Catalogue::decode(&old_bytes).unwrap_or_default();
        let mut new = Catalogue::default();
        for file in &found {
            let Some((of, name)) = file.name.rsplit_once('/') else {
                continue;
            };
            if of != folder {
                continue;
            }
            let known = old.files.remove(name);
            let blocks = match known.filter(|blocks| file_len(blocks) == file.mark.len) {
                Some(blocks) => blocks,
                None => blocks_of(&dir.join(&file.name))?,
            };
            new.files.insert(name.to_owned(), blocks);
        }
        replace(&path, &old_bytes, &new.encode())?;
    }
    let path = dir.join(FILE);
    let text = format!("{FOLDERS}\n{}\n", folders.join("\n"));
    let old = fs::read(&path).unwrap_or_default();
    replace(&path, &old, text.as_bytes())
}

fn replace(path: &Path, old: &[u8], new: &[u8]) -> Result<(), BlockError> {
    if old == new {
        return Ok(());
    }
    durable::replace_file(path, new).map_err(io_error(path))
}

/// The blocks of a file, up to the first place where it is not as we write it:
/// behind that no offset could be told.
pub fn blocks_of(path: &Path) -> Result<Vec<Listed>, BlockError> {
    let file = match File::open(path) {
        // Removed since the folder was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io_error(path))?,
    };
    let mut blocks = Vec::new();
    let mut section = ONE_ROOT_HEADER as u64;
    let Ok(scan) = Scan::new(&file) else {
        return Ok(blocks);
    };
    for entry in scan {
        let Ok(entry) = entry else {
            break;
        };
        let Some(fragment) = fragment_of(&entry.cid) else {
            break;
        };
        let len = entry.len;
        if catalogue::body_of(section, len) != entry.offset {
            break;
        }
        section = entry.offset + u64::from(len);
        blocks.push(Listed { fragment, len });
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Block, BlockStore, Codec, Group, Reuse};
    use crate::index::Index;

    fn put(folder: &CarFolder, group: Group, text: &str) -> String {
        let block = Block::new(Codec::Raw, text.as_bytes().to_vec());
        let mut writer = folder.begin(group, Reuse::Nothing).unwrap();
        writer.put(&block).unwrap();
        writer.commit(block.cid()).unwrap().unwrap().name
    }

    fn catalogue(dir: &Path, folder: &str) -> Catalogue {
        Catalogue::decode(&fs::read(dir.join(folder).join(FILE)).unwrap()).unwrap()
    }

    #[test]
    fn catalogues_follow_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let folder = CarFolder::open(dir.path(), Index::in_memory()).unwrap();
        put(&folder, Group::Day(17_789), "a day");
        let gone = put(&folder, Group::Calendar, "a calendar");
        folder.write_catalogues().unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text, format!("{FOLDERS}\ncalendar\ndays/2018\n"));
        let days = catalogue(dir.path(), "days/2018");
        assert_eq!(days.files.len(), 1);
        for blocks in days.files.values() {
            assert_eq!(blocks.len(), 1);
            assert_eq!(blocks[0].len, 5);
        }
        folder.remove(&gone).unwrap();
        put(&folder, Group::Calendar, "another");
        put(&folder, Group::Calendar, "and another");
        folder.write_catalogues().unwrap();
        let calendar = catalogue(dir.path(), "calendar");
        assert_eq!(calendar.files.len(), 2);
        assert!(!calendar.files.contains_key(gone.split_once('/').unwrap().1));
        // A catalogue that is damaged is written anew, as is one that is gone.
        let right = fs::read(dir.path().join("calendar").join(FILE)).unwrap();
        fs::write(dir.path().join("calendar").join(FILE), b"nonsense").unwrap();
        fs::remove_file(dir.path().join("days/2018").join(FILE)).unwrap();
        folder.write_catalogues().unwrap();
        assert_eq!(
            fs::read(dir.path().join("calendar").join(FILE)).unwrap(),
            right
        );
        assert_eq!(catalogue(dir.path(), "days/2018"), days);
    }

    #[test]
    fn a_damaged_file_is_listed_as_far_as_it_can_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = CarFolder::open(dir.path(), Index::in_memory()).unwrap();
        let name = put(&folder, Group::Day(1), "a day");
        let bytes = fs::read(dir.path().join(&name)).unwrap();
        fs::write(dir.path().join(&name), &bytes[..bytes.len() - 1]).unwrap();
        folder.write_catalogues().unwrap();
        let listed = catalogue(dir.path(), "days/1970");
        assert!(listed.files.values().all(Vec::is_empty));
        fs::write(dir.path().join(&name), &bytes).unwrap();
        folder.write_catalogues().unwrap();
        let listed = catalogue(dir.path(), "days/1970");
        assert!(listed.files.values().all(|blocks| blocks.len() == 1));
    }
}
