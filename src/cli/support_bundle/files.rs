//! What lies in the data folder: names, sizes, times, modes. No file is opened.
//!
//! Always true: links are not followed, and no more than [`MOST`] files of [`DEEPEST`]
//! folders are listed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

/// Files listed: an archive of forty years has as many days, and little beside.
const MOST: usize = 20_000;

/// Folders within folders that are looked into; an archive has three.
const DEEPEST: usize = 6;

/// What lies there.
#[derive(Default, Serialize)]
pub(super) struct Listing {
    /// Why the folder could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Sums by the folder or file at the top.
    totals: BTreeMap<String, Total>,
    /// The files, by path.
    files: BTreeMap<String, About>,
    /// Whether there are more.
    more: bool,
}

#[derive(Default, Serialize)]
struct Total {
    files: u64,
    bytes: u64,
    /// Bytes on the disk, which a sparse file has less of.
    on_disk: u64,
}

#[derive(Serialize)]
struct About {
    bytes: u64,
    /// Unix seconds.
    modified: i64,
    /// In octal.
    mode: String,
}

pub(super) fn told(data: &Path) -> Listing {
    let mut listing = Listing::default();
    if let Err(error) = listing.walk(data, "", 0) {
        listing.error = Some(error.to_string());
    }
    listing
}

impl Listing {
    fn walk(&mut self, folder: &Path, above: &str, depth: usize) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)?.flatten() {
            if self.files.len() >= MOST {
                self.more = true;
                return Ok(());
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match above {
                "" => name,
                above => format!("{above}/{name}"),
            };
            // What is gone since is not there.
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if about.is_dir() {
                match depth < DEEPEST {
                    true => drop(self.walk(&entry.path(), &path, depth + 1)),
                    false => self.more = true,
                }
                continue;
            }
            let top = path.split('/').next().unwrap_or_default().to_owned();
            let total = self.totals.entry(top).or_default();
            total.files += 1;
            total.bytes += about.len();
            // In blocks of 512 bytes, whatever the disk has.
            total.on_disk += about.blocks() * 512;
            let about = About {
                bytes: about.len(),
                modified: about.mtime(),
                mode: format!("{:o}", about.mode() & 0o7777),
            };
            self.files.insert(path, about);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_with_their_sums_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("blocks/days");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("a.car"), [7; 100]).unwrap();
        fs::write(folder.path().join("HEAD"), "1").unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("away")).unwrap();
        let told = told(folder.path());
        let paths: Vec<_> = told.files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["HEAD", "away", "blocks/days/a.car"]);
        assert_eq!(told.totals["blocks"].bytes, 100);
        assert!(!told.more && told.error.is_none());
        assert!(super::told(&inner.join("none")).error.is_some());
    }
}
