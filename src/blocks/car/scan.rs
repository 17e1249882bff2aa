//! Finding the blocks of a CAR without reading them.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{CarError, MAX_HEADER, MAX_PREFIX, MAX_VARINT, parse_header, parse_prefix};
use crate::blocks::Cid;
use crate::index::BlockAt;

/// The blocks that the sections of a CAR file claim to hold, in file order: one
/// short read for each, and none of their bytes.
///
/// As with [`CarReader`](super::CarReader), it goes on after an error that
/// leaves the next section known, and ends after any other.
#[derive(Debug)]
pub struct Scan<'a> {
    file: &'a File,
    len: u64,
    roots: Vec<Cid>,
    offset: u64,
    ended: bool,
}

impl<'a> Scan<'a> {
    /// Reads the header of `file`. Its cursor is neither used nor moved.
    pub fn new(file: &'a File) -> Result<Self, CarError> {
        let io = |source| CarError::Io { offset: 0, source };
        let refused = |what: String| CarError::Header { what };
        let len = file.metadata().map_err(io)?.len();
        let mut head = [0; MAX_VARINT];
        let read = read_at(file, &mut head, 0)?;
        let (header, rest) = unsigned_varint::decode::usize(&head[..read])
            .map_err(|error| refused(format!("length: {error}")))?;
        if header > MAX_HEADER {
            return Err(refused(format!("{header} bytes, above {MAX_HEADER}")));
        }
        let start = read - rest.len();
        let mut body = vec![0; header];
        if read_at(file, &mut body, start as u64)? < header {
            return Err(refused("the file ends within it".to_owned()));
        }
        Ok(Self {
            file,
            len,
            roots: parse_header(&body)?,
            offset: (start + header) as u64,
            ended: false,
        })
    }

    /// The roots the header names.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Where the next section starts, in bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn section(&mut self) -> Result<Option<BlockAt>, CarError> {
        let offset = self.offset;
        if offset >= self.len {
            return Ok(None);
        }
        let mut head = [0; MAX_PREFIX];
        let read = read_at(self.file, &mut head, offset)?;
        let prefix = parse_prefix(&head[..read], offset)?;
        let body = offset + prefix.len as u64;
        let end = body + prefix.body as u64;
        if end > self.len {
            return Err(CarError::Truncated { offset });
        }
        self.offset = end;
        Ok(Some(BlockAt {
            cid: prefix.cid?,
            offset: body,
            len: u32::try_from(prefix.body).expect("a section is at most 2 MiB"),
        }))
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<BlockAt, CarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let section = self.section().transpose();
        self.ended = match &section {
            Some(Ok(_)) => false,
            Some(Err(error)) => !error.next_section_is_known(),
            None => true,
        };
        section
    }
}

/// Fills `bytes` from `offset`, short only where the file ends.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> Result<usize, CarError> {
    let mut filled = 0;
    while filled < bytes.len() {
        let at = offset + filled as u64;
        match file.read_at(&mut bytes[filled..], at) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(CarError::Io { offset: at, source }),
        }
    }
    Ok(filled)
}
