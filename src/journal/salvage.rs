//! Reading around damage: for checks and repairs.
//!
//! It changes nothing, needs no lock, and may run beside the writer, whose last
//! group it may then see torn.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;

use super::file::{self, JournalFile};
use super::walk::{Item, Step, Walk, read_header};
use super::{Entry, FileNumber, JournalError, Location};

/// What a salvage comes across, in order.
#[derive(Debug)]
pub enum Found {
    /// An intact record.
    Record(Entry),
    /// Bytes that hold no intact record. A torn tail shows as one, too.
    Damage {
        /// The file.
        file: FileNumber,
        /// Bytes from its start to the damage.
        offset: u64,
        /// Bytes skipped.
        bytes: u64,
        /// What is wrong.
        what: String,
    },
}

/// What a salvage went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Files read.
    pub files: u64,
    /// Records found intact.
    pub records: u64,
    /// Bytes skipped.
    pub skipped: u64,
}

/// Shows every intact record of the journal in `dir`, and every damage between.
///
/// Behind a damaged record the next one is found where the length of the damaged
/// one leads to it; otherwise reading goes on at the next group of appends.
pub fn salvage(dir: &Path, mut each: impl FnMut(Found)) -> Result<Salvaged, JournalError> {
    let numbers = file::numbers(dir).map_err(|error| JournalError::io(dir, error))?;
    let mut salvaged = Salvaged::default();
    for number in numbers {
        salvaged.files += 1;
        let path = file::path(dir, number);
        let file = File::open(&path).map_err(|error| JournalError::io(&path, error))?;
        read_items(&file, &path, number, &mut |found| {
            match &found {
                Found::Record(_) => salvaged.records += 1,
                Found::Damage { bytes, .. } => salvaged.skipped += bytes,
            }
            each(found);
        })?;
    }
    Ok(salvaged)
}

/// As [`salvage`], over the bytes of one file; offsets count from their start,
/// and the file's number is 0.
pub fn salvage_bytes(bytes: Bytes, mut each: impl FnMut(Found)) {
    let number = FileNumber::default();
    read_items(&Image(bytes), Path::new("memory"), number, &mut each).expect("memory can be read");
}

struct Image(Bytes);

impl JournalFile for Image {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).map_or(self.0.len(), |at| at.min(self.0.len()));
        let mut rest = &self.0[from..];
        io::Read::read(&mut rest, bytes)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fn read_items(
    file: &dyn JournalFile,
    path: &Path,
    number: FileNumber,
    each: &mut dyn FnMut(Found),
) -> Result<(), JournalError> {
    let io = |error| JournalError::io(path, error);
    let damage = |offset, bytes, what: &str| Found::Damage {
        file: number,
        offset,
        bytes,
        what: what.to_owned(),
    };
    let format = match read_header(file, path) {
        Ok(format) => format,
        Err(JournalError::Corrupt { what, .. }) => {
            // Without the salt nothing in it can be checked.
            each(damage(0, file.len().map_err(io)?, &what));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut walk = Walk::new(file, format).map_err(io)?;
    loop {
        match walk.step().map_err(io)? {
            Step::End => return Ok(()),
            Step::Item(_, Item::Seam(_)) => {}
            Step::Item(offset, Item::Record(bytes)) => {
                let len = u32::try_from(bytes.len()).expect("the walk checked the length");
                let location = Location {
                    file: number,
                    offset,
                    len,
                };
                each(Found::Record(Entry { location, bytes }));
            }
            Step::Damage { offset, what } => {
                if !walk.skip_record().map_err(io)? {
                    walk.skip_to_seam().map_err(io)?;
                }
                each(damage(offset, walk.offset() - offset, what));
            }
        }
    }
}
