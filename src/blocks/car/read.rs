//! Reading a CAR from anywhere, block by block.

use std::io::{BufRead, BufReader, ErrorKind, Read};

use super::{
    CID_LEN, CarError, MAX_HEADER, MAX_PREFIX, MAX_VARINT, parse_header, parse_length, parse_prefix,
};
use crate::blocks::{Block, Cid};

/// The blocks of a CAR, in file order, each hashed and found right.
///
/// It yields errors in their place. After one that
/// [leaves the next section known](CarError::next_section_is_known) it goes on
/// behind the bad block; after any other it ends. An import stops at the first
/// error, a check of files names them all. Memory: one block.
#[derive(Debug)]
pub struct CarReader<R> {
    input: BufReader<R>,
    roots: Vec<Cid>,
    /// Where the next section starts.
    offset: u64,
    ended: bool,
}

impl<R: Read> CarReader<R> {
    /// Reads the header. A plain file will do: the input is buffered here.
    pub fn new(input: R) -> Result<Self, CarError> {
        let mut input = BufReader::with_capacity(64 << 10, input);
        let mut head = [0; MAX_VARINT];
        let too_short = |error| match error {
            CarError::Truncated { .. } => CarError::Header {
                what: "the file ends within it".to_owned(),
            },
            other => other,
        };
        let varint = read_varint(&mut input, &mut head, 0).map_err(too_short)?;
        let refused = |what: String| CarError::Header { what };
        let (len, _) = unsigned_varint::decode::usize(&head[..varint])
            .map_err(|error| refused(format!("length: {error}")))?;
        if len > MAX_HEADER {
            return Err(refused(format!("{len} bytes, above {MAX_HEADER}")));
        }
        let mut body = vec![0; len];
        fill(&mut input, &mut body, 0).map_err(too_short)?;
        Ok(Self {
            input,
            roots: parse_header(&body)?,
            offset: (varint + len) as u64,
            ended: false,
        })
    }

    /// The roots the header names; they need not be among the blocks.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Where the next section starts, in bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn section(&mut self) -> Result<Option<Block>, CarError> {
        let offset = self.offset;
        let buffered = self.input.fill_buf();
        if buffered
            .map_err(|source| CarError::Io { offset, source })?
            .is_empty()
        {
            return Ok(None);
        }
        let mut head = [0; MAX_PREFIX];
        let varint = read_varint(&mut self.input, &mut head, offset)?;
        // Refused before more is read, so that it is not called truncated.
        let (section, _) = parse_length(&head[..varint], offset)?;
        let end = varint + section.min(CID_LEN);
        fill(&mut self.input, &mut head[varint..end], offset)?;
        let prefix = parse_prefix(&head[..end], offset)?;
        let mut body = vec![0; prefix.body];
        fill(&mut self.input, &mut body, offset)?;
        self.offset += (prefix.len + prefix.body) as u64;
        Block::verify(&prefix.cid?, body)
            .map(Some)
            .map_err(|source| CarError::Block { offset, source })
    }
}

impl<R: Read> Iterator for CarReader<R> {
    type Item = Result<Block, CarError>;

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

/// Reads one varint byte by byte into `head`; gives its length. A varint
/// without an end fills `head`, and its parser refuses it.
fn read_varint(input: &mut impl Read, head: &mut [u8], offset: u64) -> Result<usize, CarError> {
    let mut len = 0;
    while len < MAX_VARINT {
        fill(input, &mut head[len..=len], offset)?;
        len += 1;
        if head[len - 1] & 0x80 == 0 {
            break;
        }
    }
    Ok(len)
}

fn fill(input: &mut impl Read, bytes: &mut [u8], offset: u64) -> Result<(), CarError> {
    input
        .read_exact(bytes)
        .map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => CarError::Truncated { offset },
            _ => CarError::Io { offset, source },
        })
}
