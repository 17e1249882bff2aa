//! Going through the items of one file.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::JournalError;
use super::file::JournalFile;
use super::record::{Format, Frame, HEADER, MAX_PREFIX, SEAM, Seam};

/// Bytes read ahead: 256 KiB. A longer record widens the window for itself.
const WINDOW: usize = 256 << 10;

/// An intact item of a file.
#[derive(Debug)]
pub(super) enum Item {
    /// What precedes was durable when this was written.
    Seam(Seam),
    /// A record.
    Record(Bytes),
}

/// What stands at the place of the next item.
#[derive(Debug)]
pub(super) enum Step {
    /// An item, and the offset of its first byte.
    Item(u64, Item),
    /// The end of the file, right behind an item.
    End,
    /// No intact item.
    Damage {
        /// Where the item would start.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// A walk over one file, from item to item. Memory: one window.
pub(super) struct Walk<'a> {
    file: &'a dyn JournalFile,
    format: Format,
    len: u64,
    /// Where the next item starts.
    offset: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Walk<'a> {
    /// Starts behind the header.
    pub(super) fn new(file: &'a dyn JournalFile, format: Format) -> io::Result<Self> {
        Ok(Self {
            file,
            format,
            len: file.len()?,
            offset: HEADER as u64,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// Where the next item starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the file when the walk began.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The next item, whole and checked. After damage the walk stays where it
    /// is, until it is moved.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let offset = self.offset;
        if offset == self.len {
            return Ok(Step::End);
        }
        let damage = |what| Ok(Step::Damage { offset, what });
        let frame = Format::frame(self.bytes(offset, MAX_PREFIX)?);
        let len = match frame {
            Frame::Nonsense => return damage("a length no record has"),
            Frame::Seam => SEAM,
            Frame::Record(len) => MAX_PREFIX + len,
        };
        if offset + len as u64 > self.len {
            return damage("the file ends within this record");
        }
        let format = self.format;
        let item = self.bytes(offset, len)?;
        let item = match frame {
            Frame::Record(_) => match format.record(item) {
                Some(payload) => Item::Record(Bytes::copy_from_slice(payload)),
                None => return damage("a record whose checksum is wrong"),
            },
            _ => match format.seam(item, offset) {
                Some(seam) => Item::Seam(seam),
                None => return damage("a seam whose checksum is wrong"),
            },
        };
        self.offset = offset + len as u64;
        Ok(Step::Item(offset, item))
    }

    /// Moves to the item behind the damaged record at hand, where its length
    /// can be believed: an intact item must follow.
    pub(super) fn skip_record(&mut self) -> io::Result<bool> {
        let start = self.offset;
        if let Frame::Record(len) = Format::frame(self.bytes(start, MAX_PREFIX)?) {
            self.offset = start + (MAX_PREFIX + len) as u64;
            if self.offset < self.len
                && let Step::Item(next, _) = self.step()?
            {
                self.offset = next;
                return Ok(true);
            }
        }
        self.offset = start;
        Ok(false)
    }

    /// Where the next intact seam is, from here on. The walk stays where it is.
    pub(super) fn next_seam(&mut self) -> io::Result<Option<u64>> {
        let start = self.offset;
        let found = self.skip_to_seam()?.then_some(self.offset);
        self.offset = start;
        Ok(found)
    }

    /// Moves to the next intact seam, from here on; to the end where none is.
    /// Time grows with the bytes passed, whatever they say.
    pub(super) fn skip_to_seam(&mut self) -> io::Result<bool> {
        let format = self.format;
        let mut at = self.offset;
        while at < self.len {
            let window = self.bytes(at, WINDOW)?;
            let Some(last) = window.len().checked_sub(SEAM) else {
                break;
            };
            let seam = (0..=last).find(|&n| format.seam(&window[n..], at + n as u64).is_some());
            if let Some(n) = seam {
                self.offset = at + n as u64;
                return Ok(true);
            }
            at += last as u64 + 1;
        }
        self.offset = self.len;
        Ok(false)
    }

    /// Up to `len` bytes from `offset`, fewer only where the file ends.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let skip = offset
            .checked_sub(self.window_at)
            .and_then(|skip| usize::try_from(skip).ok());
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        if let Some(skip) = skip
            && skip + len <= self.window.len()
        {
            return Ok(&self.window[skip..skip + len]);
        }
        let mut window = std::mem::take(&mut self.window);
        window.resize(len.max(WINDOW).min(left), 0);
        let read = read_full(self.file, &mut window, offset)?;
        window.truncate(read);
        self.window = window;
        self.window_at = offset;
        Ok(&self.window[..len.min(read)])
    }
}

/// Fills `bytes` from `offset`, short only where the file ends.
pub(super) fn read_full(
    file: &dyn JournalFile,
    bytes: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads the header of the file at `path`.
pub(super) fn read_header(file: &dyn JournalFile, path: &Path) -> Result<Format, JournalError> {
    let mut header = [0; HEADER];
    let read = read_full(file, &mut header, 0).map_err(|error| JournalError::io(path, error))?;
    let format = if read < HEADER {
        Err("the file ends within its header".to_owned())
    } else {
        Format::of_file(&header)
    };
    format.map_err(|what| JournalError::Corrupt {
        path: path.into(),
        offset: 0,
        what,
    })
}
