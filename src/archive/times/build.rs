//! Makes time files.

use bytes::BufMut;
use crc32c::crc32c;

use super::{
    Directory, ENTRIES_IN_CHUNK, ENTRY_LEN, Entry, POSTING_LEN, POSTINGS_IN_CHUNK, leaf_at,
};
use crate::archive::leaf::Record;
use crate::archive::sums::Sums;
use crate::blocks::Cid;

/// A part that is being made, from leaves in the order of their segment.
#[derive(Debug)]
pub struct PartBuilder {
    directory: Directory,
    /// In order of the segment.
    entries: Vec<Entry>,
}

impl PartBuilder {
    /// An empty part of `segment`.
    pub fn new(segment: Cid, part: u32) -> Self {
        Self {
            directory: Directory {
                segment,
                part,
                is_last: false,
                sums: Sums::default(),
                last: crate::time::UnixSeconds::MIN,
                leaves: Vec::new(),
                topics: Vec::new(),
                entry_chunks: Vec::new(),
                posting_chunks: Vec::new(),
            },
            entries: Vec::new(),
        }
    }

    /// How many envelopes it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the records of the next leaf.
    pub fn add_leaf(&mut self, cid: &Cid, records: &[Record]) {
        let leaf = number(self.directory.leaves.len());
        let mut offset = 0;
        for record in records {
            let (key, len) = (record.key, number(record.bytes.len()));
            let sums = Sums::of_one(record.bytes.len(), key.hash);
            self.directory.sums = self.directory.sums.plus(sums);
            self.entries.push(Entry {
                sent: key.sent,
                hash: key.hash,
                topic: key.topic,
                leaf,
                offset,
                len,
                crc: crc32c(&record.bytes),
            });
            offset += len;
        }
        self.directory.leaves.push(leaf_at(cid, offset.into()));
    }

    /// The whole file. The part must not be empty.
    pub fn finish(self, is_last: bool) -> Vec<u8> {
        let Self {
            mut directory,
            entries,
        } = self;
        assert!(!entries.is_empty(), "BUG: a part holds an envelope");
        directory.is_last = is_last;
        // Numbers of entries in the segment's order, by time; and the inverse.
        let mut by_time: Vec<u32> = (0..number(entries.len())).collect();
        let entry = |at: u32| &entries[at as usize];
        by_time.sort_unstable_by_key(|at| entry(*at).place());
        let mut place = vec![0; entries.len()];
        for (position, at) in (0u32..).zip(&by_time) {
            place[*at as usize] = position;
        }
        directory.last = entry(by_time[by_time.len() - 1]).sent;
        for (at, entry) in (0u32..).zip(&entries) {
            if directory
                .topics
                .last()
                .is_none_or(|(t, _)| *t != entry.topic)
            {
                directory.topics.push((entry.topic, at));
            }
        }
        let mut body = Vec::with_capacity(entries.len() * (ENTRY_LEN + POSTING_LEN));
        for chunk in by_time.chunks(ENTRIES_IN_CHUNK as usize) {
            let start = body.len();
            chunk.iter().for_each(|at| entry(*at).put(&mut body));
            let first = entry(chunk[0]).sent;
            directory.entry_chunks.push((first, crc32c(&body[start..])));
        }
        // A topic's envelopes are sorted by time in the segment already.
        for chunk in place.chunks(POSTINGS_IN_CHUNK as usize) {
            let start = body.len();
            chunk.iter().for_each(|position| body.put_u32(*position));
            directory.posting_chunks.push(crc32c(&body[start..]));
        }
        let mut file = directory.encode();
        file.extend_from_slice(&body);
        file
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a part has fewer than 2^32 envelopes and bytes in a leaf")
}
