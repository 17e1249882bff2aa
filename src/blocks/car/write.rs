//! Writing a CAR, block by block.

use std::io::{self, Write};

use super::{ONE_ROOT_HEADER, one_root_header};
use crate::blocks::{Block, BlockError, Cid};

/// Writes blocks in the order they are put: the bytes depend on the root, the
/// blocks and their order alone. Every block put is written; whoever wants each
/// once leaves out the second.
///
/// It writes in small pieces: give it a buffered output.
#[derive(Debug)]
pub struct CarWriter<W> {
    output: W,
    len: u64,
}

impl<W: Write> CarWriter<W> {
    /// Starts a file under `root`.
    pub fn new(output: W, root: &Cid) -> io::Result<Self> {
        let header = one_root_header(root).map_err(io::Error::other)?;
        Self::with_header(output, &header)
    }

    /// Starts a file whose root is not known yet: its header is zeros, which
    /// no reader accepts, until `one_root_header` takes their place.
    pub(in crate::blocks) fn unrooted(output: W) -> io::Result<Self> {
        Self::with_header(output, &[0; ONE_ROOT_HEADER])
    }

    fn with_header(mut output: W, header: &[u8; ONE_ROOT_HEADER]) -> io::Result<Self> {
        output.write_all(header)?;
        let len = header.len() as u64;
        Ok(Self { output, len })
    }

    /// Writes one block; gives the offset of its bytes in the file.
    pub fn put(&mut self, block: &Block) -> io::Result<u64> {
        let len = block.bytes().len() as u64;
        let prefix = section_prefix(block.cid(), len);
        self.output.write_all(&prefix)?;
        self.output.write_all(block.bytes())?;
        let body = self.len + prefix.len() as u64;
        self.len = body + len;
        Ok(body)
    }

    /// Bytes written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no block was put yet.
    pub fn is_empty(&self) -> bool {
        self.len == ONE_ROOT_HEADER as u64
    }

    /// The output as it stands; blocks put are in it, or in its buffer.
    pub fn output(&self) -> &W {
        &self.output
    }

    /// The output, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

/// What stands before the `len` bytes of a block: the length of its section, and
/// its CID.
pub(in crate::blocks) fn section_prefix(cid: &Cid, len: u64) -> Vec<u8> {
    let cid = cid.to_bytes();
    let mut varint = unsigned_varint::encode::u64_buffer();
    let varint = unsigned_varint::encode::u64(cid.len() as u64 + len, &mut varint);
    [varint, &cid].concat()
}

/// Writes `blocks` under `root`; gives the bytes written. Equal blocks in equal
/// order give equal bytes.
pub fn write_car(
    output: impl Write,
    root: &Cid,
    blocks: impl IntoIterator<Item = Result<Block, BlockError>>,
) -> Result<u64, BlockError> {
    let io = |source| BlockError::Io {
        path: "CAR".into(),
        source,
    };
    let mut writer = CarWriter::new(io::BufWriter::new(output), root).map_err(io)?;
    for block in blocks {
        writer.put(&block?).map_err(io)?;
    }
    let len = writer.len();
    writer.finish().map_err(io)?;
    Ok(len)
}
