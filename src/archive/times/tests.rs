use super::*;
use crate::archive::leaf::Record;
use crate::archive::testing::traffic;
use crate::blocks::Block;

fn part(records: &[Record]) -> Vec<u8> {
    let segment = *Block::new(Codec::DagCbor, &b"segment"[..]).cid();
    let mut builder = PartBuilder::new(segment, 0);
    for leaf in records.chunks(7) {
        let bytes: Vec<u8> = leaf.iter().flat_map(|r| r.bytes.to_vec()).collect();
        builder.add_leaf(Block::new(Codec::Raw, bytes).cid(), leaf);
    }
    builder.finish(true)
}

fn sorted(count: usize) -> Vec<Record> {
    let mut records = traffic(3, count, 30, 1_000, 1_500);
    records.sort_unstable_by_key(|record| record.key);
    records
}

fn directory(file: &[u8]) -> Result<Directory, TimesError> {
    let len = directory_len(file, file.len() as u64)?;
    Directory::decode(&file[..len])
}

fn part_of(file: &[u8], start: u64, len: usize) -> &[u8] {
    &file[usize::try_from(start).unwrap()..][..len]
}

fn entry(file: &[u8], directory: &Directory, at: u32) -> Entry {
    let chunk = at / ENTRIES_IN_CHUNK;
    let (start, len) = directory.entry_chunk(chunk);
    let bytes = part_of(file, start, len);
    assert!(directory.vouches_entries(chunk, bytes));
    Entry::in_chunk(bytes, at % ENTRIES_IN_CHUNK).unwrap()
}

#[test]
fn entries_come_by_time_and_say_where_each_envelope_lies() {
    let records = sorted(700);
    let file = part(&records);
    let directory = directory(&file).unwrap();
    let sums: Sums = records
        .iter()
        .map(|r| Sums::of_one(r.bytes.len(), r.key.hash))
        .sum();
    assert_eq!((directory.sums, directory.is_last), (sums, true));
    assert_eq!(directory.encode(), file[..directory.encode().len()]);

    let mut by_time = records.clone();
    by_time.sort_unstable_by_key(|r| (r.key.sent, r.key.hash));
    assert_eq!(directory.first(), by_time[0].key.sent);
    assert_eq!(directory.last, by_time[699].key.sent);
    for (at, record) in (0..).zip(&by_time) {
        let entry = entry(&file, &directory, at);
        assert_eq!(entry.place(), (record.key.sent, record.key.hash));
        assert_eq!(entry.topic, record.key.topic);
        let leaf = &records[entry.leaf as usize * 7..];
        let before: usize = leaf
            .iter()
            .take_while(|r| r.key != record.key)
            .map(|r| r.bytes.len())
            .sum();
        assert_eq!(entry.offset as usize, before);
        assert_eq!(entry.len as usize, record.bytes.len());
        assert_eq!(entry.crc, crc32c(&record.bytes));
        assert!(directory.around(entry.sent).start <= at);
    }
}

#[test]
fn postings_are_each_topics_entries() {
    let records = sorted(700);
    let file = part(&records);
    let directory = directory(&file).unwrap();
    let (start, len) = directory.posting_chunk(0);
    let postings = part_of(&file, start, len);
    assert!(directory.vouches_postings(0, postings));
    let mut seen = 0;
    for (topic, range) in directory.topics() {
        let mut before = None;
        for at in range {
            let position = (&postings[at as usize * POSTING_LEN..]).get_u32();
            assert!(before < Some(position));
            before = Some(position);
            assert_eq!(entry(&file, &directory, position).topic, topic);
            seen += 1;
        }
    }
    assert_eq!(seen, 700);
}

#[test]
fn no_changed_byte_and_no_cut_is_believed() {
    let file = part(&sorted(300));
    let whole = directory(&file).unwrap();
    for byte in 0..file.len() {
        let mut bent = file.clone();
        bent[byte] ^= 0x40;
        let Ok(found) = directory(&bent) else {
            continue;
        };
        assert_eq!(found, whole, "byte {byte}");
        let vouched = [0, 1].iter().all(|chunk| {
            let (start, len) = found.entry_chunk(*chunk);
            found.vouches_entries(*chunk, part_of(&bent, start, len))
        });
        let (start, len) = found.posting_chunk(0);
        let postings = found.vouches_postings(0, part_of(&bent, start, len));
        assert!(!(vouched && postings), "byte {byte}");
    }
    for len in 0..file.len() {
        assert!(directory(&file[..len]).is_err());
    }
}
