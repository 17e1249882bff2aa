//! What journals say that is in no table yet.
//!
//! Always true: of each key the latest version alone is kept, and all of them
//! together cost no more than [`MAX_JOURNALS`] bytes of memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use super::MAX_JOURNALS;
use super::bytes::{byte, string};
use super::table::{Said, Version};

/// Bytes of memory that a key costs besides its own and those of its value, and
/// that damage costs which is still to be told: an entry of a map, half of whose
/// room may be free, and two allocations.
const EACH: u64 = 256;

/// The latest version of each key.
#[derive(Debug)]
pub(super) struct Waiting {
    versions: BTreeMap<Vec<u8>, (u64, Said)>,
    /// Bytes of memory that may still be used.
    left: u64,
}

/// Why a batch was not taken, or not whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BatchFault {
    /// It is none.
    Damaged(&'static str),
    /// There is no more room.
    TooMuch,
}

impl From<&'static str> for BatchFault {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self::with_room(MAX_JOURNALS)
    }
}

impl Waiting {
    fn with_room(left: u64) -> Self {
        Self {
            versions: BTreeMap::new(),
            left,
        }
    }

    fn charge(&mut self, bytes: u64) -> Result<(), BatchFault> {
        self.left = self.left.checked_sub(bytes).ok_or(BatchFault::TooMuch)?;
        Ok(())
    }

    /// Makes room for damage that is still to be told.
    pub(super) fn note_damage(&mut self) -> Result<(), BatchFault> {
        self.charge(EACH)
    }

    fn put(&mut self, key: &[u8], sequence: u64, said: Said) -> Result<(), BatchFault> {
        let len = |said: &Said| match said {
            Said::Put(value) => value.len() as u64,
            Said::Deleted => 0,
        };
        let is_new = match self.versions.get(key) {
            Some((held, _)) if *held > sequence => return Ok(()),
            Some((_, old)) => {
                self.left += len(old);
                false
            }
            None => true,
        };
        let own = if is_new { EACH + key.len() as u64 } else { 0 };
        self.charge(own + len(&said))?;
        match self.versions.entry(key.to_vec()) {
            Entry::Occupied(mut held) => {
                held.insert((sequence, said));
            }
            Entry::Vacant(room) => {
                room.insert((sequence, said));
            }
        }
        Ok(())
    }

    /// Takes what one record of a journal says: a batch.
    pub(super) fn take(&mut self, batch: &[u8]) -> Result<(), BatchFault> {
        const CUT: &str = "a batch that ends too early";
        let (sequence, rest) = batch.split_first_chunk::<8>().ok_or(CUT)?;
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let first = u64::from_le_bytes(*sequence);
        let mut said = 0;
        while !rest.is_empty() {
            let (key, what) = match byte(&mut rest).ok_or(CUT)? {
                0 => (string(&mut rest).ok_or(CUT)?, Said::Deleted),
                1 => {
                    let key = string(&mut rest).ok_or(CUT)?;
                    let value = string(&mut rest).ok_or(CUT)?;
                    (key, Said::Put(Bytes::copy_from_slice(value)))
                }
                _ => return Err("a batch that says something not known".into()),
            };
            self.put(key, first.saturating_add(said), what)?;
            said += 1;
        }
        if said == u64::from(u32::from_le_bytes(*count)) {
            Ok(())
        } else {
            Err("a batch that says less or more than it counts".into())
        }
    }

    /// The next version in order of keys.
    pub(super) fn next(&mut self) -> Option<Version> {
        let (key, (sequence, said)) = self.versions.pop_first()?;
        Some(Version {
            key,
            sequence,
            said,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: u64, said: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
        let mut bytes = first.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(said.len()).unwrap().to_le_bytes());
        for (key, value) in said {
            bytes.push(u8::from(value.is_some()));
            for text in std::iter::once(key).chain(value) {
                bytes.push(u8::try_from(text.len()).unwrap());
                bytes.extend_from_slice(text);
            }
        }
        bytes
    }

    #[test]
    fn keys_come_in_order_each_with_its_latest_version() {
        let mut waiting = Waiting::default();
        waiting
            .take(&batch(5, &[(b"b", Some(b"1")), (b"a", Some(b"2"))]))
            .unwrap();
        waiting.take(&batch(7, &[(b"b", None)])).unwrap();
        // Of an older journal that is read later.
        waiting.take(&batch(3, &[(b"b", Some(b"3"))])).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| waiting.next())
            .map(|version| (version.key, version.sequence))
            .collect();
        assert_eq!(order, [(b"a".to_vec(), 6), (b"b".to_vec(), 7)]);
    }

    #[test]
    fn what_is_said_of_one_key_costs_once_and_of_many_keys_only_so_much() {
        let mut waiting = Waiting::with_room(10 * (EACH + 100));
        let value = [7; 90];
        for sequence in 0..1_000 {
            let again = batch(sequence, &[(b"", None), (b"k", Some(&value))]);
            waiting.take(&again).unwrap();
        }
        assert_eq!(waiting.versions.len(), 2);
        let taken = (0..100u8)
            .map(|n| waiting.take(&batch(2_000, &[(&[n, n], Some(&value))])))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(taken, 8);
        let full = waiting.take(&batch(3_000, &[(b"more", Some(&value))]));
        assert_eq!(full, Err(BatchFault::TooMuch));
        assert_eq!(waiting.note_damage(), Err(BatchFault::TooMuch));
    }

    #[test]
    fn a_batch_that_does_not_add_up_is_refused() {
        let sound = batch(1, &[(b"key", Some(b"value"))]);
        for cut in 0..sound.len() {
            assert!(Waiting::default().take(&sound[..cut]).is_err(), "{cut}");
        }
        let mut strange = sound;
        strange[12] = 2;
        assert!(Waiting::default().take(&strange).is_err());
    }
}
