//! Envelopes of several servers on their way to the user: united, sorted.
//!
//! Always true:
//! - Memory holds some hundred bytes for an envelope; the envelopes themselves
//!   lie in a file that has no name any more.
//! - An envelope is in it once, however many servers delivered it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use bytes::Bytes;

use crate::time::UnixSeconds;
use crate::whisper::{Envelope, EnvelopeHash};

/// Most envelopes held: some 200 MB of memory.
pub const MAX_HELD: usize = 2_000_000;

/// Most servers told apart.
pub const MAX_SERVERS: usize = 16;

/// Which servers have an envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders(u16);

impl Holders {
    /// The server at this position, alone.
    pub fn only(at: usize) -> Self {
        debug_assert!(at < MAX_SERVERS);
        Self(1 << at)
    }

    /// Whether the server at this position is one of them.
    pub fn has(self, at: usize) -> bool {
        self.0 & (1 << at) != 0
    }

    fn add(&mut self, at: usize) {
        self.0 |= 1 << at;
    }
}

/// One envelope in the spool.
#[derive(Clone, Copy, Debug)]
struct Held {
    sent: UnixSeconds,
    hash: EnvelopeHash,
    offset: u64,
    len: u32,
    holders: Holders,
}

/// No more envelopes are held.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file cannot be written or read.
    #[error("cannot keep what came: {0}")]
    Io(#[from] io::Error),
    /// As many as are held at a time.
    #[error("more than {MAX_HELD} envelopes")]
    Full,
}

/// The envelopes received so far.
pub struct Spool {
    file: File,
    len: u64,
    held: Vec<Held>,
    by_hash: HashMap<EnvelopeHash, usize>,
}

impl Spool {
    /// An empty one, in the system's folder for temporary files.
    pub fn new() -> io::Result<Self> {
        let random: [u8; 8] = crate::rlpx::random::random_bytes();
        let name = format!("gwa-request-{}", hex::encode(random));
        let path = std::env::temp_dir().join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // Nothing is left of it, however the process ends.
        fs::remove_file(&path)?;
        Ok(Self {
            file,
            len: 0,
            held: Vec::new(),
            by_hash: HashMap::new(),
        })
    }

    /// Takes an envelope that the server at position `from` delivered; tells
    /// whether that is news of this server.
    pub fn take(&mut self, from: usize, envelope: &Envelope) -> Result<bool, SpoolError> {
        let hash = envelope.hash();
        if let Some(at) = self.by_hash.get(&hash) {
            let holders = &mut self.held[*at].holders;
            let is_news = !holders.has(from);
            holders.add(from);
            return Ok(is_news);
        }
        if self.held.len() >= MAX_HELD {
            return Err(SpoolError::Full);
        }
        let rlp = envelope.rlp();
        self.file.write_all(rlp)?;
        let len = u32::try_from(rlp.len()).expect("a packet is below 16 MiB");
        self.by_hash.insert(hash, self.held.len());
        self.held.push(Held {
            sent: envelope.sent(),
            hash,
            offset: self.len,
            len,
            holders: Holders::only(from),
        });
        self.len += u64::from(len);
        Ok(true)
    }

    /// Who holds each envelope.
    pub fn holders(&self) -> impl Iterator<Item = Holders> + '_ {
        self.held.iter().map(|held| held.holders)
    }

    /// Empties it: each envelope, oldest first, and who has it.
    pub fn drain(&mut self) -> Drain<'_> {
        self.by_hash.clear();
        let mut held = std::mem::take(&mut self.held);
        held.sort_unstable_by_key(|held| (held.sent, held.hash));
        Drain {
            spool: self,
            held: held.into_iter(),
        }
    }

    /// Forgets what it holds.
    pub fn clear(&mut self) -> io::Result<()> {
        self.by_hash.clear();
        self.held.clear();
        self.len = 0;
        io::Seek::rewind(&mut self.file)
    }
}

/// What a spool held, oldest first.
pub struct Drain<'s> {
    spool: &'s mut Spool,
    held: std::vec::IntoIter<Held>,
}

impl Iterator for Drain<'_> {
    type Item = io::Result<(Envelope, Holders)>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(held) = self.held.next() else {
            // What follows is written over it.
            return self.spool.clear().err().map(Err);
        };
        let mut rlp = vec![0; held.len as usize];
        if let Err(error) = self.spool.file.read_exact_at(&mut rlp, held.offset) {
            return Some(Err(error));
        }
        let envelope = Envelope::decode(&Bytes::from(rlp)).map_err(io::Error::other);
        Some(envelope.map(|envelope| (envelope, held.holders)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Expiry, Ttl};
    use crate::whisper::Topic;

    fn sent(at: u32) -> Envelope {
        let expiry = Expiry::of(UnixSeconds(at), Ttl(5));
        Envelope::new(expiry, Ttl(5), Topic([1, 2, 3, 4]), &[7; 30], 0)
    }

    #[test]
    fn what_several_servers_deliver_is_united_and_sorted() {
        let mut spool = Spool::new().unwrap();
        for round in 0..2 {
            assert!(spool.take(0, &sent(30)).unwrap());
            assert!(spool.take(0, &sent(10)).unwrap());
            assert!(!spool.take(0, &sent(10)).unwrap());
            assert!(spool.take(1, &sent(10)).unwrap());
            assert!(spool.take(1, &sent(20)).unwrap());
            assert_eq!(spool.holders().count(), 3);
            let all: Vec<_> = spool.drain().map(Result::unwrap).collect();
            let told: Vec<_> = all
                .iter()
                .map(|(e, holders)| (e.sent().0, holders.has(0), holders.has(1)))
                .collect();
            let expected = [(10, true, true), (20, false, true), (30, true, false)];
            assert_eq!(told, expected, "round {round}");
            assert_eq!(all[0].0, sent(10));
        }
    }
}
