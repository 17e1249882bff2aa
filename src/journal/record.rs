//! How records lie in a file.
//!
//! ```text
//! file    "GWAJRNL" | version 1 | salt (4) | CRC-32C of these 12 (4)
//! record  length (4) | CRC-32C (4) | payload
//! seam    FFFFFFFF   | CRC-32C (4) | own offset (8)   what precedes was durable
//! end     FFFFFFFE   | CRC-32C (4) | own offset (8)   nothing follows, ever
//! ```
//! Behind the header lie seams and records. Numbers are big-endian. A CRC goes over the salt, then over its item without
//! the CRC itself: a damaged length is noticed before it is trusted.
//!
//! A group of appends is one write: a seam, then its records. It is written only
//! after the group before it was synced. So a seam found behind a damaged record
//! proves that the record was whole once, and acknowledged; where there is none,
//! the record belongs to the last group, which a crash may have torn. A file that
//! is followed by another has an end, and so cannot lose its tail unnoticed.
//!
//! The salt is random, and each file has its own: records are foreign bytes, and
//! none must pass for a seam or for a record inside another.

/// Largest record: an envelope of 10 MiB, the most any setting allows, and the
/// few bytes of its RLP around it.
pub const MAX_RECORD: usize = (10 << 20) + 64;

/// Bytes before the first item of a file.
pub(super) const HEADER: usize = 16;
/// Bytes before a record's payload.
pub(super) const MAX_PREFIX: usize = 8;
/// Bytes of a seam, and of an end.
pub(super) const SEAM: usize = 16;

const MAGIC: &[u8; 7] = b"GWAJRNL";
const VERSION: u8 = 1;
/// In the place of a length, and above [`MAX_RECORD`].
const SEAM_MARK: [u8; 4] = [0xff; 4];
const END_MARK: [u8; 4] = [0xff, 0xff, 0xff, 0xfe];

/// How the items of one file are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// CRC-32C of the salt.
    seed: u32,
}

/// What stands between groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seam {
    /// More may follow.
    Open,
    /// Nothing follows.
    End,
}

impl Seam {
    const fn mark(self) -> [u8; 4] {
        match self {
            Self::Open => SEAM_MARK,
            Self::End => END_MARK,
        }
    }

    fn of(item: &[u8]) -> Option<Self> {
        [Self::Open, Self::End]
            .into_iter()
            .find(|seam| item.starts_with(&seam.mark()))
    }
}

/// What a frame of eight bytes announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A seam or an end; its offset follows.
    Seam,
    /// A record of so many bytes.
    Record(usize),
    /// Nothing that was ever written.
    Nonsense,
}

impl Format {
    /// The header of a new file, and the format it sets.
    pub(super) fn new_file(salt: [u8; 4]) -> ([u8; HEADER], Self) {
        let mut header = [0; HEADER];
        header[..7].copy_from_slice(MAGIC);
        header[7] = VERSION;
        header[8..12].copy_from_slice(&salt);
        let crc = crc32c::crc32c(&header[..12]);
        header[12..].copy_from_slice(&crc.to_be_bytes());
        (header, Self::salted(salt))
    }

    fn salted(salt: [u8; 4]) -> Self {
        Self {
            seed: crc32c::crc32c(&salt),
        }
    }

    /// Reads a header, or says what is wrong with it.
    pub(super) fn of_file(header: &[u8; HEADER]) -> Result<Self, String> {
        if header[..7] != MAGIC[..] {
            return Err("not the start of a journal file".to_owned());
        }
        if header[7] != VERSION {
            return Err(format!(
                "version {} of the layout, not {VERSION}",
                header[7]
            ));
        }
        // With a wrong salt every item would look torn.
        if header[12..] != crc32c::crc32c(&header[..12]).to_be_bytes() {
            return Err("a header whose checksum is wrong".to_owned());
        }
        let mut salt = [0; 4];
        salt.copy_from_slice(&header[8..12]);
        Ok(Self::salted(salt))
    }

    fn crc(self, mark: [u8; 4], body: &[u8]) -> [u8; 4] {
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(self.seed, &mark), body);
        crc.to_be_bytes()
    }

    /// Writes a seam that will lie at `offset`.
    pub(super) fn put_seam(self, into: &mut Vec<u8>, seam: Seam, offset: u64) {
        let body = offset.to_be_bytes();
        into.extend_from_slice(&seam.mark());
        into.extend_from_slice(&self.crc(seam.mark(), &body));
        into.extend_from_slice(&body);
    }

    /// Writes a record, which is at most [`MAX_RECORD`] long; gives its length.
    pub(super) fn put_record(self, into: &mut Vec<u8>, payload: &[u8]) -> u32 {
        let len = u32::try_from(payload.len()).expect("a record is at most 10 MiB");
        let mark = len.to_be_bytes();
        into.extend_from_slice(&mark);
        into.extend_from_slice(&self.crc(mark, payload));
        into.extend_from_slice(payload);
        len
    }

    /// What the eight bytes at `frame` announce; whether it is there, the CRC
    /// tells.
    pub(super) fn frame(frame: &[u8]) -> Frame {
        let Some(mark) = frame.first_chunk::<4>() else {
            return Frame::Nonsense;
        };
        if Seam::of(mark).is_some() {
            return Frame::Seam;
        }
        match usize::try_from(u32::from_be_bytes(*mark)) {
            Ok(len) if len <= MAX_RECORD => Frame::Record(len),
            _ => Frame::Nonsense,
        }
    }

    /// The payload of the record that `item` starts with, if it is intact.
    pub(super) fn record<'a>(&self, item: &'a [u8]) -> Option<&'a [u8]> {
        let Frame::Record(len) = Self::frame(item) else {
            return None;
        };
        let payload = item.get(MAX_PREFIX..MAX_PREFIX + len)?;
        self.checked(item, payload)
    }

    /// The seam of `offset` that `item` starts with, if it is intact.
    pub(super) fn seam(&self, item: &[u8], offset: u64) -> Option<Seam> {
        let seam = Seam::of(item)?;
        let body = item.get(MAX_PREFIX..SEAM)?;
        self.checked(item, body)?;
        (*body == offset.to_be_bytes()).then_some(seam)
    }

    fn checked<'a>(&self, item: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
        let mark = *item.first_chunk::<4>()?;
        (item.get(4..8)? == self.crc(mark, body)).then_some(body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_is_these_bytes() {
        let (header, format) = Format::new_file(*b"salt");
        let mut file = header.to_vec();
        format.put_seam(&mut file, Seam::Open, HEADER as u64);
        format.put_record(&mut file, b"abc");
        let mut expected = b"GWAJRNL\x01salt".to_vec();
        expected.extend_from_slice(&crc32c::crc32c(b"GWAJRNL\x01salt").to_be_bytes());
        expected.extend_from_slice(&[0xff; 4]);
        let crc = crc32c::crc32c(b"salt\xff\xff\xff\xff\0\0\0\0\0\0\0\x10");
        expected.extend_from_slice(&crc.to_be_bytes());
        expected.extend_from_slice(b"\0\0\0\0\0\0\0\x10");
        expected.extend_from_slice(b"\0\0\0\x03");
        expected.extend_from_slice(&crc32c::crc32c(b"salt\0\0\0\x03abc").to_be_bytes());
        expected.extend_from_slice(b"abc");
        format.put_seam(&mut file, Seam::End, 43);
        let crc = crc32c::crc32c(b"salt\xff\xff\xff\xfe\0\0\0\0\0\0\0\x2b");
        expected.extend_from_slice(b"\xff\xff\xff\xfe");
        expected.extend_from_slice(&crc.to_be_bytes());
        expected.extend_from_slice(b"\0\0\0\0\0\0\0\x2b");
        assert_eq!(file, expected);
        assert_eq!(Format::of_file(&header), Ok(format));
    }

    #[test]
    fn other_files_and_other_versions_are_refused() {
        let (header, _) = Format::new_file([7; 4]);
        for at in 0..HEADER {
            let mut header = header;
            header[at] ^= 0x20;
            assert!(Format::of_file(&header).is_err());
        }
    }

    #[test]
    fn zeros_are_no_record() {
        let (_, format) = Format::new_file([0; 4]);
        assert_eq!(format.record(&[0; 64]), None);
        assert_eq!(format.seam(&[0; 64], 0), None);
        assert_eq!(format.record(&[]), None);
        assert_eq!(format.seam(&[], 0), None);
    }

    proptest! {
        #[test]
        fn a_changed_bit_or_salt_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            salt in any::<[u8; 4]>(),
            offset in any::<u64>(),
            at in any::<prop::sample::Index>(),
            bit in 0u32..8,
        ) {
            let (_, format) = Format::new_file(salt);
            let mut record = Vec::new();
            format.put_record(&mut record, &payload);
            let mut seam = Vec::new();
            let kind = if bit % 2 == 0 { Seam::Open } else { Seam::End };
            format.put_seam(&mut seam, kind, offset);
            prop_assert_eq!(format.record(&record), Some(&payload[..]));
            prop_assert_eq!(format.seam(&seam, offset), Some(kind));
            prop_assert_eq!(format.seam(&seam, offset ^ 1), None);

            let (_, other) = Format::new_file(salt.map(|byte| byte ^ 1));
            prop_assert_eq!(other.record(&record), None);
            prop_assert_eq!(other.seam(&seam, offset), None);

            let in_record = at.index(record.len());
            record[in_record] ^= 1 << bit;
            prop_assert_eq!(format.record(&record), None);
            let in_seam = at.index(seam.len());
            seam[in_seam] ^= 1 << bit;
            prop_assert_eq!(format.seam(&seam, offset), None);
        }
    }
}
