//! Opening a journal: finding its records, and cutting what a crash tore.
//!
//! Always true: a file is cut only behind its last intact item, only where no
//! seam follows, and only where no newer file holds a record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::file::{self, Disk, JournalFile};
use super::record::{Format, HEADER, Seam};
use super::walk::{Item, Step, Walk, read_header};
use super::{Entry, FileNumber, JournalError, Location};

/// What an opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records shown.
    pub records: u64,
    /// Their bytes, framing excluded.
    pub bytes: u64,
    /// The tail that was cut: appends that a crash interrupted, none of them
    /// acknowledged.
    pub torn: Option<Torn>,
}

/// A tail that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: FileNumber,
    /// Its length since.
    pub offset: u64,
    /// Bytes dropped.
    pub bytes: u64,
}

/// A journal ready to be written.
pub(super) struct Opened {
    pub(super) current: Current,
    /// Lengths of all files, the current one included.
    pub(super) files: BTreeMap<FileNumber, u64>,
}

/// The file being written.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) number: FileNumber,
    pub(super) file: Arc<dyn JournalFile>,
    pub(super) format: Format,
    /// Everything before this offset is durable.
    pub(super) durable: u64,
    /// Whether a seam ends it, or nothing was ever written.
    pub(super) sealed: bool,
}

/// Creates file `number`, durably; leaves no part of it on an error.
pub(super) fn create(
    disk: &dyn Disk,
    dir: &Path,
    number: FileNumber,
) -> Result<Current, JournalError> {
    let path = file::path(dir, number);
    let (header, format) = Format::new_file(rand::random());
    let file = disk
        .create(&path)
        .map_err(|error| JournalError::io(&path, error))?;
    let written = file
        .write_all_at(&header, 0)
        .and_then(|()| file.sync())
        .and_then(|()| disk.sync_folder(dir));
    if let Err(error) = written {
        // A file that stays has no record; the next opening makes good use of
        // it, or starts it over.
        let _ = disk.remove(&path);
        return Err(JournalError::io(&path, error));
    }
    Ok(Current {
        number,
        file,
        format,
        durable: HEADER as u64,
        sealed: true,
    })
}

/// One file, gone through.
struct Walked {
    number: FileNumber,
    file: Arc<dyn JournalFile>,
    format: Format,
    /// Length of the file as found.
    len: u64,
    /// Where its last intact item ends.
    end: u64,
    records: u64,
    /// The seam that ends it; the header of a new file counts as one.
    seam: Option<Seam>,
    /// Why `end` is not `len`.
    damage: Option<&'static str>,
}

/// Goes through all files, cuts a torn tail, and opens the newest for writing.
pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    each: &mut dyn FnMut(Entry),
) -> Result<(Opened, Recovery), JournalError> {
    let numbers = file::numbers(dir).map_err(|error| JournalError::io(dir, error))?;
    if let Some(gap) = numbers.windows(2).find(|pair| pair[0].0 + 1 != pair[1].0) {
        let path = file::path(dir, FileNumber(gap[0].0 + 1));
        return Err(JournalError::MissingFile { path });
    }
    // Whoever made the newest file may have been killed before its name was
    // durable, and what is appended to it from now on is acknowledged.
    let synced = disk.sync_folder(dir);
    synced.map_err(|error| JournalError::io(dir, error))?;
    let mut recovery = Recovery {
        torn: drop_unborn(disk, dir, &numbers)?,
        ..Recovery::default()
    };
    let mut files = BTreeMap::new();
    // The last file with a record, unless it was closed.
    let mut open: Option<Walked> = None;
    let mut newest = None;
    for number in numbers {
        let walked = walk(disk, dir, number, &mut recovery, each)?;
        if walked.records > 0
            && let Some(open) = open.take()
        {
            // A newer file has records, and so this one was closed once.
            return Err(JournalError::Corrupt {
                path: file::path(dir, open.number),
                offset: open.end,
                what: open
                    .damage
                    .unwrap_or("the end of the file is missing")
                    .to_owned(),
            });
        }
        files.insert(number, walked.end);
        newest = Some(number);
        let closed = walked.seam == Some(Seam::End) && walked.damage.is_none();
        if !closed && let Some(older) = open.replace(walked) {
            // A rotation failed half-way, and left an empty file behind.
            files.insert(older.number, close(dir, &older, &mut recovery)?);
        }
    }
    let current = match open {
        Some(open) if Some(open.number) == newest => {
            if open.damage.is_some() {
                recovery.torn = Some(cut(dir, &open)?);
            }
            // Whoever wrote the tail may have died before it was synced; the
            // next seam will claim that it was.
            let path = file::path(dir, open.number);
            open.file
                .sync()
                .map_err(|error| JournalError::io(&path, error))?;
            Current {
                number: open.number,
                file: open.file,
                format: open.format,
                durable: open.end,
                sealed: open.seam.is_some(),
            }
        }
        _ => create(disk, dir, FileNumber(newest.unwrap_or_default().0 + 1))?,
    };
    files.insert(current.number, current.durable);
    Ok((Opened { current, files }, recovery))
}

/// Starts over a newest file whose creation a crash interrupted: it is shorter
/// than a header, or its header never reached the disk. Records follow only a
/// header that was synced.
fn drop_unborn(
    disk: &dyn Disk,
    dir: &Path,
    numbers: &[FileNumber],
) -> Result<Option<Torn>, JournalError> {
    let Some(&number) = numbers.last() else {
        return Ok(None);
    };
    let path = file::path(dir, number);
    let io = |error| JournalError::io(&path, error);
    let file = disk.open(&path).map_err(io)?;
    let bytes = file.len().map_err(io)?;
    if bytes > HEADER as u64 || read_header(&*file, &path).is_ok() {
        return Ok(None);
    }
    disk.remove(&path).map_err(io)?;
    create(disk, dir, number)?;
    tracing::warn!(file = %path.display(), bytes, "journal: a file without a header was started over");
    Ok(Some(Torn {
        file: number,
        offset: 0,
        bytes,
    }))
}

fn walk(
    disk: &dyn Disk,
    dir: &Path,
    number: FileNumber,
    recovery: &mut Recovery,
    each: &mut dyn FnMut(Entry),
) -> Result<Walked, JournalError> {
    let path = file::path(dir, number);
    let io = |error| JournalError::io(&path, error);
    let file = disk.open(&path).map_err(io)?;
    let format = read_header(&*file, &path)?;
    let mut walked = Walked {
        number,
        file: Arc::clone(&file),
        format,
        len: 0,
        end: HEADER as u64,
        records: 0,
        seam: Some(Seam::Open),
        damage: None,
    };
    let mut walk = Walk::new(&*file, format).map_err(io)?;
    walked.len = walk.len();
    loop {
        match walk.step().map_err(io)? {
            Step::End => {
                walked.end = walked.len;
                return Ok(walked);
            }
            Step::Item(_, Item::Seam(seam)) => walked.seam = Some(seam),
            Step::Item(offset, Item::Record(bytes)) => {
                let len = u32::try_from(bytes.len()).expect("the walk checked the length");
                walked.seam = None;
                walked.records += 1;
                recovery.records += 1;
                recovery.bytes += u64::from(len);
                let location = Location {
                    file: number,
                    offset,
                    len,
                };
                each(Entry { location, bytes });
            }
            Step::Damage { offset, what } => {
                if walk.skip_to_seam().map_err(io)? {
                    return Err(JournalError::Corrupt {
                        path,
                        offset,
                        what: what.to_owned(),
                    });
                }
                walked.end = offset;
                walked.damage = Some(what);
                return Ok(walked);
            }
        }
    }
}

/// Ends a file that newer ones follow, its torn tail cut; gives its length.
fn close(dir: &Path, open: &Walked, recovery: &mut Recovery) -> Result<u64, JournalError> {
    if open.damage.is_some() {
        recovery.torn = Some(cut(dir, open)?);
    }
    let path = file::path(dir, open.number);
    let io = |error| JournalError::io(&path, error);
    let mut end = Vec::new();
    open.format.put_seam(&mut end, Seam::End, open.end);
    open.file.write_all_at(&end, open.end).map_err(io)?;
    open.file.sync().map_err(io)?;
    Ok(open.end + end.len() as u64)
}

fn cut(dir: &Path, open: &Walked) -> Result<Torn, JournalError> {
    let path = file::path(dir, open.number);
    let io = |error| JournalError::io(&path, error);
    open.file.set_len(open.end).map_err(io)?;
    open.file.sync().map_err(io)?;
    let torn = Torn {
        file: open.number,
        offset: open.end,
        bytes: open.len - open.end,
    };
    tracing::warn!(file = %path.display(), offset = torn.offset, bytes = torn.bytes, "journal: torn tail cut, none of it was acknowledged");
    Ok(torn)
}
