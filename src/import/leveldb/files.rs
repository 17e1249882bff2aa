//! The files of a database folder, told by their names.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file of the folder.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// What lies in the folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    /// Tables by number.
    pub(super) tables: BTreeMap<u64, Named>,
    /// Journals by number.
    pub(super) journals: BTreeMap<u64, Named>,
    has_current: bool,
    has_manifest: bool,
}

impl Folder {
    /// Lists `dir`.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut folder = Self {
            dir: dir.to_owned(),
            tables: BTreeMap::new(),
            journals: BTreeMap::new(),
            has_current: false,
            has_manifest: false,
        };
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            folder.has_current |= name == "CURRENT";
            folder.has_manifest |= name.starts_with("MANIFEST-");
            let Some((number, extension)) = name.split_once('.') else {
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            let files = match extension {
                "ldb" | "sst" => &mut folder.tables,
                "log" => &mut folder.journals,
                _ => continue,
            };
            let path = entry.path();
            // Of what a link leads to; one that leads nowhere is told when it is
            // read.
            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let named = Named { path, bytes };
            files.insert(number, named);
        }
        Ok(folder)
    }

    /// Whether it is a LevelDB folder: what else has such files has no manifest.
    pub(super) fn is_database(&self) -> bool {
        self.has_current
            || self.has_manifest
            || self.tables.values().any(|table| {
                table
                    .path
                    .extension()
                    .is_some_and(|extension| extension == "ldb")
            })
    }

    /// The bytes of tables and journals.
    pub(super) fn bytes(&self) -> u64 {
        let files = self.tables.values().chain(self.journals.values());
        files.map(|file| file.bytes).sum()
    }
}
