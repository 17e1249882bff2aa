//! The little numbers LevelDB writes.

/// Takes a varint of at most 64 bits off the front; `None` where there is none.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = unsigned_varint_lenient(bytes)?;
    *bytes = rest;
    Some(number)
}

/// LevelDB's own reader takes spellings that are not minimal, so we do.
fn unsigned_varint_lenient(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * u32::try_from(at).ok()?;
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// A varint that counts bytes in memory.
pub(super) fn length(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(varint(bytes)?).ok()
}

/// Takes `len` bytes off the front.
pub(super) fn take<'b>(bytes: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a string, a varint and as many bytes, off the front.
pub(super) fn string<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let len = length(bytes)?;
    take(bytes, len)
}

/// Takes one byte off the front.
pub(super) fn byte(bytes: &mut &[u8]) -> Option<u8> {
    take(bytes, 1).map(|taken| taken[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_their_last_bit_and_no_further() {
        for (spelt, number) in [
            (&[0][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x80, 1], Some(128)),
            (&[0x80, 0x80, 0], Some(0)),
            (&[0xff; 9], None),
            (&[0xff; 11], None),
            (&[], None),
        ] {
            assert_eq!(varint(&mut &spelt[..]), number, "{spelt:?}");
        }
        let max = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(varint(&mut &max[..]), Some(u64::MAX));
        let above = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(varint(&mut &above[..]), None);
    }

    #[test]
    fn a_string_longer_than_what_is_left_is_none() {
        let mut bytes = &[2, 7, 8, 9][..];
        assert_eq!(string(&mut bytes), Some(&[7, 8][..]));
        assert_eq!(string(&mut bytes), None);
    }
}
