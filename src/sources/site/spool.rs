//! Files fetched whole, kept for the blocks that are still in them.
//!
//! Always true: a spool has no name, so nothing of it is left when the program
//! ends, however it ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::sources::net::NetError;

/// Bytes of files kept at once, and of those that come meanwhile: several days of
/// an archive of a million envelopes each, and no more than a temporary folder has.
pub(super) const SPOOL_BYTES: u64 = 1 << 30;

/// A file without a name.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    file: Arc<File>,
    len: u64,
}

impl Spool {
    pub(super) fn new() -> Result<Self, NetError> {
        let name = format!("gwa-{:032x}.part", rand::random::<u128>());
        let path = std::env::temp_dir().join(name);
        let failed = |error: std::io::Error| {
            NetError::Unexpected(format!("cannot keep it in {}: {error}", path.display()))
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(Self {
            file: Arc::new(file),
            len: 0,
        })
    }

    /// Adds to its end.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), NetError> {
        let mut file: &File = &self.file;
        file.write_all(piece)
            .map_err(|error| NetError::Unexpected(format!("cannot keep it: {error}")))?;
        self.len += piece.len() as u64;
        Ok(())
    }

    /// `len` bytes from `offset`.
    pub(super) fn read(&self, offset: u64, len: u32) -> Result<Bytes, NetError> {
        if offset.saturating_add(len.into()) > self.len {
            return Err(NetError::Broken(format!(
                "sent {} bytes of a file that has more",
                self.len
            )));
        }
        let mut bytes = vec![0; len as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| NetError::Unexpected(format!("cannot read it back: {error}")))?;
        Ok(bytes.into())
    }
}

/// Spools by path; the one used least recently goes when there are too many bytes.
#[derive(Debug, Default)]
pub(super) struct Spools(Mutex<VecDeque<(Arc<str>, Spool)>>);

impl Spools {
    pub(super) fn get(&self, path: &str) -> Option<Spool> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(of, _)| **of == *path)?;
        let found = kept.remove(at)?;
        let spool = found.1.clone();
        kept.push_back(found);
        Some(spool)
    }

    pub(super) fn keep(&self, path: Arc<str>, spool: Spool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((path, spool));
        let bytes = |kept: &VecDeque<(_, Spool)>| kept.iter().map(|(_, s)| s.len).sum::<u64>();
        while kept.len() > 1 && bytes(&kept) > SPOOL_BYTES {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_what_it_was_given_and_no_more() {
        let mut spool = Spool::new().unwrap();
        spool.write(b"some ").unwrap();
        spool.write(b"bytes").unwrap();
        assert_eq!(&spool.read(3, 4).unwrap()[..], b"e by");
        assert!(spool.read(9, 2).is_err());
        assert!(spool.read(u64::MAX, 2).is_err());
    }

    #[test]
    fn the_spool_used_least_recently_goes() {
        let spools = Spools::default();
        let large = || {
            let mut spool = Spool::new().unwrap();
            spool.len = SPOOL_BYTES / 2;
            spool
        };
        spools.keep("a".into(), large());
        spools.keep("b".into(), large());
        assert!(spools.get("a").is_some());
        spools.keep("c".into(), large());
        assert!(spools.get("b").is_none());
        assert!(spools.get("a").is_some() && spools.get("c").is_some());
    }
}
