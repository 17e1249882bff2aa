//! Which files make up the database: what its manifest amounts to.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::bytes::{string, take, varint};
use super::records::{Item, Records};

/// The order of keys that mailservers use, and the only one read here.
const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";

/// Most tables a manifest may name: at 2 MiB each 2 TiB, and 100 MB of memory.
const MAX_TABLES: usize = 1 << 20;

/// A table of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// 0: may overlap others. Above: disjoint within a level.
    pub(super) level: u64,
    /// The number in its file name.
    pub(super) number: u64,
    /// Its first key.
    pub(super) smallest: Vec<u8>,
}

/// What a manifest amounts to.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    /// Tables by number.
    pub(super) tables: BTreeMap<u64, Table>,
    /// Journals from this number on are not in tables yet.
    pub(super) journal: u64,
    /// One before them that is not either, where there is one.
    pub(super) previous_journal: u64,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// It is damaged.
    #[error("byte {offset}: {what}")]
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// An edit that is none.
    #[error("edit {edit}: {what}")]
    Edit {
        /// Which, counted from 0.
        edit: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Manifest {
    /// Applies every edit of a manifest file.
    pub(super) fn read(input: impl Read) -> Result<Self, ManifestFault> {
        let mut manifest = Self::default();
        let mut records = Records::new(input);
        let mut edit = 0;
        while let Some(item) = records.next()? {
            match item {
                Item::Record(record) => manifest
                    .apply(&record)
                    .map_err(|what| ManifestFault::Edit { edit, what })?,
                Item::Damage { offset, what } => {
                    return Err(ManifestFault::Damaged { offset, what });
                }
            }
            edit += 1;
        }
        if edit == 0 {
            return Err(ManifestFault::Edit {
                edit,
                what: "there is none",
            });
        }
        Ok(manifest)
    }

    /// Applies one edit.
    pub(super) fn apply(&mut self, mut edit: &[u8]) -> Result<(), &'static str> {
        let cut = "it ends too early";
        while !edit.is_empty() {
            match varint(&mut edit).ok_or(cut)? {
                1 => {
                    if string(&mut edit).ok_or(cut)? != COMPARATOR {
                        return Err("its keys are in an order no mailserver uses");
                    }
                }
                2 => self.journal = varint(&mut edit).ok_or(cut)?,
                9 => self.previous_journal = varint(&mut edit).ok_or(cut)?,
                // The next file number, the last sequence number.
                3 | 4 => {
                    varint(&mut edit).ok_or(cut)?;
                }
                // How far a level was compacted.
                5 => {
                    varint(&mut edit).ok_or(cut)?;
                    string(&mut edit).ok_or(cut)?;
                }
                6 => {
                    varint(&mut edit).ok_or(cut)?;
                    let number = varint(&mut edit).ok_or(cut)?;
                    self.tables.remove(&number);
                }
                7 => {
                    let table = table(&mut edit).ok_or(cut)?;
                    if self.tables.len() >= MAX_TABLES {
                        return Err("it names more tables than any mailserver has");
                    }
                    self.tables.insert(table.number, table);
                }
                _ => return Err("it says something that is not known"),
            }
        }
        Ok(())
    }
}

fn table(edit: &mut &[u8]) -> Option<Table> {
    let level = varint(edit)?;
    let number = varint(edit)?;
    // Its length.
    varint(edit)?;
    let smallest = string(edit)?.to_vec();
    // Its last key.
    string(edit)?;
    Some(Table {
        level,
        number,
        smallest,
    })
}

/// The name of the manifest that the file `CURRENT` says; none that leads out of
/// the folder.
pub(super) fn current(mut text: &[u8]) -> Option<String> {
    let name = take(&mut text, b"MANIFEST-".len())?;
    let digits = text.strip_suffix(b"\n")?;
    let sound = name == b"MANIFEST-"
        && !digits.is_empty()
        && digits.len() <= 20
        && digits.iter().all(u8::is_ascii_digit);
    sound.then(|| format!("MANIFEST-{}", String::from_utf8_lossy(digits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_add_and_drop_tables() {
        let manifest = std::fs::File::open("fixtures/leveldb/status/MANIFEST-000007").unwrap();
        let manifest = Manifest::read(manifest).unwrap();
        let tables: Vec<_> = manifest.tables.keys().copied().collect();
        assert_eq!(tables, [4, 5]);
        assert_eq!((manifest.journal, manifest.previous_journal), (6, 0));
        assert_ne!(manifest.tables[&4].level, manifest.tables[&5].level);
    }

    #[test]
    fn a_manifest_that_is_damaged_or_strange_is_refused() {
        let sound = std::fs::read("fixtures/leveldb/status/MANIFEST-000007").unwrap();
        for at in 0..sound.len() {
            let mut bent = sound.clone();
            bent[at] ^= 0x10;
            // It is one record, which is believed only whole.
            assert!(Manifest::read(&bent[..]).is_err(), "{at}");
        }
        let mut manifest = Manifest::default();
        for edit in [&b"\x01\x03abc"[..], b"\x07\x00", b"\x63", b"\x02"] {
            assert!(manifest.apply(edit).is_err());
        }
        assert!(Manifest::read(&[][..]).is_err());
    }

    #[test]
    fn only_a_manifest_of_the_folder_is_followed() {
        assert_eq!(current(b"MANIFEST-000007\n").unwrap(), "MANIFEST-000007");
        for bad in [
            &b""[..],
            b"MANIFEST-000007",
            b"MANIFEST-\n",
            b"MANIFEST-../../x\n",
            b"OTHERFEST-000007\n",
        ] {
            assert_eq!(current(bad), None);
        }
    }
}
