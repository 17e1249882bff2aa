//! Reading around damage: for checks and repairs.
//!
//! It changes nothing, needs no lock, and may run beside the writer, whose last
//! group it may then see torn.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::file::{self, JournalFile};
use super::record::HEADER;
use super::walk::{Item, Step, Walk, read_header};
use super::{Entry, FileNumber, JournalError, Location};

/// What a salvage comes across, in order.
#[derive(Debug)]
pub enum Found {
    /// An intact record.
    Record(Entry),
    /// Bytes that hold no intact record.
    Damage {
        /// The file.
        file: FileNumber,
        /// Bytes from its start to the damage.
        offset: u64,
        /// Bytes skipped.
        bytes: u64,
        /// What is wrong.
        what: String,
        /// Whether they are of appends that never ended, as far as can be known:
        /// nothing was written since that waited for them. What a crash leaves
        /// behind is such, and what is being appended right now; none of it was
        /// acknowledged.
        unfinished: bool,
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

/// A journal opened for salvage.
///
/// Always true: what was acknowledged before it was opened is in it, or was
/// removed by its owner before that, who does so only with what is sealed.
#[derive(Debug)]
pub struct Salvage {
    /// Oldest first. Each is open, so that none goes before it is read.
    files: Vec<(FileNumber, PathBuf, File)>,
}

/// How often a folder is listed again because a file went meanwhile: its owner
/// removes some with each seal, and no two seals come as close as two listings.
const MAX_LISTINGS: usize = 16;

impl Salvage {
    /// Opens every file of the journal in `dir`.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let mut listings = 1;
        loop {
            match Self::open_listed(dir) {
                // What was in it and is to be kept stands in a newer file.
                Err(error) if error.is_missing() && listings < MAX_LISTINGS => listings += 1,
                other => return other,
            }
        }
    }

    fn open_listed(dir: &Path) -> Result<Self, JournalError> {
        let numbers = file::numbers(dir).map_err(|error| JournalError::io(dir, error))?;
        let open = |number| {
            let path = file::path(dir, number);
            match File::open(&path) {
                Ok(file) => Ok((number, path, file)),
                Err(error) => Err(JournalError::io(&path, error)),
            }
        };
        let files = numbers.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { files })
    }

    /// Shows every intact record, and every damage between.
    ///
    /// Behind a damaged record the next one is found where the length of the
    /// damaged one leads to it; otherwise reading goes on at the next group of
    /// appends.
    pub fn read(&self, mut each: impl FnMut(Found)) -> Result<Salvaged, JournalError> {
        let mut salvaged = Salvaged::default();
        for (at, (number, path, file)) in self.files.iter().enumerate() {
            salvaged.files += 1;
            let newer = &self.files[at + 1..];
            let is_last = || newer.iter().all(|(_, path, file)| !has_record(file, path));
            let mut show = |found| {
                match &found {
                    Found::Record(_) => salvaged.records += 1,
                    Found::Damage { bytes, .. } => salvaged.skipped += bytes,
                }
                each(found);
            };
            read_items(file, path, *number, &is_last, &mut show)?;
        }
        Ok(salvaged)
    }
}

/// Whether a file starts with a record. Where it cannot be read, that is told in
/// its turn.
fn has_record(file: &dyn JournalFile, path: &Path) -> bool {
    let Ok(mut walk) = read_header(file, path)
        .and_then(|format| Walk::new(file, format).map_err(|error| JournalError::io(path, error)))
    else {
        return false;
    };
    loop {
        match walk.step() {
            Ok(Step::Item(_, Item::Record(_))) => return true,
            Ok(Step::Item(_, Item::Seam(_))) => {}
            Ok(Step::End | Step::Damage { .. }) | Err(_) => return false,
        }
    }
}

/// As [`Salvage::read`], over the bytes of one file; offsets count from their start,
/// and the file's number is 0.
pub fn salvage_bytes(bytes: Bytes, mut each: impl FnMut(Found)) {
    let number = FileNumber::default();
    let path = Path::new("memory");
    read_items(&Image(bytes), path, number, &|| true, &mut each).expect("memory can be read");
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

/// `is_last` tells whether no newer file has a record.
fn read_items(
    file: &dyn JournalFile,
    path: &Path,
    number: FileNumber,
    is_last: &dyn Fn() -> bool,
    each: &mut dyn FnMut(Found),
) -> Result<(), JournalError> {
    let io = |error| JournalError::io(path, error);
    let damage = |offset, bytes, what: &str, unfinished| Found::Damage {
        file: number,
        offset,
        bytes,
        what: what.to_owned(),
        unfinished,
    };
    let format = match read_header(file, path) {
        Ok(format) => format,
        Err(JournalError::Corrupt { what, .. }) => {
            // Without the salt nothing in it can be checked. Records follow only
            // a header that was synced.
            let len = file.len().map_err(io)?;
            each(damage(0, len, &what, len <= HEADER as u64 && is_last()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut walk = Walk::new(file, format).map_err(io)?;
    // Up to here something written later waited for what precedes.
    let mut vouched = 0;
    // Known once the last seam is behind.
    let mut unfinished = None;
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
                if offset >= vouched && unfinished.is_none() {
                    match walk.next_seam().map_err(io)? {
                        Some(seam) => vouched = seam,
                        None => unfinished = Some(is_last()),
                    }
                }
                if !walk.skip_record().map_err(io)? {
                    walk.skip_to_seam().map_err(io)?;
                }
                let bytes = walk.offset() - offset;
                each(damage(offset, bytes, what, unfinished.unwrap_or(false)));
            }
        }
    }
}
