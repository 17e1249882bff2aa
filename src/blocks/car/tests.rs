use std::fs::File;
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::blocks::{Block, Codec};

fn raw(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec())
}

fn car(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let root = *raw("root").cid();
    let len = write_car(&mut bytes, &root, blocks.iter().cloned().map(Ok)).unwrap();
    assert_eq!(len, bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Block>, CarError> {
    CarReader::new(bytes)?.collect()
}

fn on_disk(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A CAR with this header (its length is put before it) and no blocks.
fn with_header(body: &[u8]) -> Vec<u8> {
    let mut buffer = unsigned_varint::encode::usize_buffer();
    let mut bytes = unsigned_varint::encode::usize(body.len(), &mut buffer).to_vec();
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn a_file_is_the_bytes_other_tools_write() {
    // Made with the JavaScript package @ipld/car 5.4.7.
    let expected = "3aa265726f6f747381d82a582500015512204813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b26776657273696f6e0128015512204813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2726f6f742501711220c19a797fa1fd590cd2e5b42d1cf5f246e29b91684e2f87404b81dc345c7a56a0a0";
    let blocks = [raw("root"), Block::new(Codec::DagCbor, &b"\xa0"[..])];
    assert_eq!(hex::encode(car(&blocks)), expected);
    assert_eq!(read(&hex::decode(expected).unwrap()).unwrap(), blocks);
}

#[test]
fn several_roots_or_none_are_read() {
    let (a, b) = (*raw("a").cid(), *raw("b").cid());
    for roots in [vec![], vec![a], vec![a, b, a]] {
        let header = Header {
            roots: roots.clone(),
            version: 1,
        };
        let bytes = with_header(&serde_ipld_dagcbor::to_vec(&header).unwrap());
        let reader = CarReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.roots(), roots);
        assert_eq!(reader.count(), 0);
        assert_eq!(Scan::new(&on_disk(&bytes)).unwrap().roots(), roots);
    }
}

#[test]
fn headers_that_are_not_car_version_1_are_refused() {
    let good = car(&[]);
    let mut cases = vec![
        (Vec::new(), "the file ends within it"),
        (vec![0], "header"),
        (vec![0x80, 0x00], "length"),
        (vec![0xff; 20], "length"),
        (with_header(&vec![0; MAX_HEADER + 1]), "above 65536"),
        // A CARv2 pragma: {version: 2}.
        (
            hex::decode("0aa16776657273696f6e02").unwrap(),
            "version 2 is not supported",
        ),
        (with_header(b"\xa1\x67version\x01"), "roots"),
        // {version: 1, roots: []}: right, but for the order of keys.
        (with_header(b"\xa2\x67version\x01\x65roots\x80"), "header"),
        // {roots: [], version: 1} with an integer spelled in two bytes.
        (
            with_header(b"\xa2\x65roots\x80\x67version\x18\x01"),
            "header",
        ),
        (
            with_header(b"\xa2\x65roots\x80\x67version\x01\x00"),
            "header",
        ),
    ];
    for len in 1..good.len() {
        cases.push((good[..len].to_vec(), "header"));
    }
    for (bytes, says) in cases {
        let error = CarReader::new(&bytes[..]).unwrap_err();
        assert!(error.to_string().contains(says), "{error}: no {says:?}");
        assert!(!error.is_io());
        assert!(Scan::new(&on_disk(&bytes)).is_err());
    }
}

#[test]
fn a_file_that_ends_within_a_section_is_truncated() {
    let (a, b) = (raw("first"), raw("second"));
    let whole = car(&[a.clone(), b]);
    let second = car(std::slice::from_ref(&a)).len();
    for len in second + 1..whole.len() {
        let mut reader = CarReader::new(&whole[..len]).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), a);
        let error = reader.next().unwrap().unwrap_err();
        assert!(
            matches!(error, CarError::Truncated { .. }),
            "{len}: {error}"
        );
        assert_eq!(error.offset(), second as u64);
        assert!(reader.next().is_none());

        let file = on_disk(&whole[..len]);
        let mut scan = Scan::new(&file).unwrap();
        assert_eq!(scan.next().unwrap().unwrap().cid, *a.cid());
        let error = scan.next().unwrap().unwrap_err();
        assert!(
            matches!(error, CarError::Truncated { .. }),
            "{len}: {error}"
        );
        assert!(scan.next().is_none());
    }
}

#[test]
fn a_bad_block_is_named_and_the_next_one_is_read() {
    let (bad, good) = (raw("bad"), raw("good"));
    let mut bytes = car(&[bad.clone(), good.clone()]);
    let at = bytes.windows(3).position(|bytes| bytes == b"bad").unwrap();
    bytes[at] ^= 1;
    let mut reader = CarReader::new(&bytes[..]).unwrap();
    let error = reader.next().unwrap().unwrap_err();
    assert!(error.next_section_is_known());
    assert_eq!(error.offset(), ONE_ROOT_HEADER as u64);
    assert_eq!(error.cid(), Some(*bad.cid()));
    assert_eq!(reader.next().unwrap().unwrap(), good);
    assert!(reader.next().is_none());
}

#[test]
fn sections_of_no_block_of_ours_are_refused() {
    let section = |len: usize, rest: &[u8]| {
        let mut bytes = car(&[]);
        let mut buffer = unsigned_varint::encode::usize_buffer();
        bytes.extend_from_slice(unsigned_varint::encode::usize(len, &mut buffer));
        bytes.extend_from_slice(rest);
        bytes
    };
    let mut non_minimal = car(&[]);
    non_minimal.extend_from_slice(&[0xa4, 0x80, 0x00]);
    let mut sha512 = vec![0x01, 0x55, 0x13, 0x40];
    sha512.resize(68, 9);
    let v0 = Cid::new_v0(*raw("v0").cid().hash()).unwrap().to_bytes();
    let protobuf = Cid::new_v1(0x70, *raw("pb").cid().hash()).to_bytes();
    for (bytes, says, goes_on) in [
        (section(0, &[]), "holds no CID", false),
        (section(35, &[0; 35]), "unreadable CID", true),
        // A block of three bytes that stand in its CID.
        (section(7, b"\x01\x70\x00\x03abc"), "is not a CIDv1", true),
        (
            section(CID_LEN + MAX_BLOCK_READ + 1, &[]),
            "above 2097188",
            false,
        ),
        (section(usize::MAX, &[]), "above 2097188", false),
        (non_minimal, "length", false),
        (section(68, &sha512), "unreadable CID", true),
        (
            section(36, &[v0, vec![1, 2]].concat()),
            "is not a CIDv1",
            true,
        ),
        (section(36, &protobuf), "is not a CIDv1", true),
    ] {
        let mut reader = CarReader::new(&bytes[..]).unwrap();
        let error = reader.next().unwrap().unwrap_err();
        assert!(error.to_string().contains(says), "{error}: no {says:?}");
        assert_eq!(error.next_section_is_known(), goes_on);
        assert!(reader.next().is_none());

        let file = on_disk(&bytes);
        let scanned = Scan::new(&file).unwrap().next().unwrap().unwrap_err();
        assert_eq!(scanned.to_string(), error.to_string());
    }
}

#[test]
fn the_root_may_be_named_last() {
    let (block, root) = (raw("block"), raw("root"));
    let mut writer = CarWriter::unrooted(Vec::new()).unwrap();
    assert!(writer.is_empty());
    writer.put(&block).unwrap();
    let mut bytes = writer.finish().unwrap();
    assert!(read(&bytes).is_err());
    bytes[..ONE_ROOT_HEADER].copy_from_slice(&one_root_header(root.cid()).unwrap());
    assert_eq!(bytes, car(&[block]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_and_scanned(
        bodies in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
    ) {
        let blocks: Vec<_> = bodies
            .into_iter()
            .map(|(cbor, body)| Block::new(if cbor { Codec::DagCbor } else { Codec::Raw }, body))
            .collect();
        let bytes = car(&blocks);
        prop_assert_eq!(&read(&bytes).unwrap(), &blocks);
        let file = on_disk(&bytes);
        let entries: Vec<_> = Scan::new(&file).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(entries.len(), blocks.len());
        for (entry, block) in entries.iter().zip(&blocks) {
            let at = usize::try_from(entry.offset).unwrap();
            prop_assert_eq!(&entry.cid, block.cid());
            prop_assert_eq!(&bytes[at..at + entry.len as usize], &block.bytes()[..]);
        }
    }

    #[test]
    fn changed_bytes_never_pass(
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let blocks = [raw("one"), raw("two"), raw("three")];
        let mut bytes = car(&blocks);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Only the digest of the root may change unseen: it is not a block.
        match read(&bytes) {
            Err(error) => prop_assert!(!error.is_io()),
            Ok(read) => {
                prop_assert!(at < ONE_ROOT_HEADER);
                prop_assert_eq!(&read, &blocks);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = car(&[raw("one")]);
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(read(&bytes).is_ok(), tail.is_empty());
        let _ = read(&tail);
    }
}
